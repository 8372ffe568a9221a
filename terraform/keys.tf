# A KMS key for each use, so that leave to read one kind of data is no leave to read another. All rotate, and a deletion
# can be taken back for 30 days. Keys under which data that must outlive a mistake is kept cannot be destroyed from here.

locals {
  # Leave for the account's own roles is written in their IAM policies, beside what they do; without this nobody could mend a key.
  key_of_account = {
    Sid       = "AccountByItsIamPolicies"
    Effect    = "Allow"
    Principal = { AWS = "arn:${local.partition}:iam::${local.account_id}:root" }
    Action    = "kms:*"
    Resource  = "*"
  }
}

resource "aws_kms_key" "data" {
  description             = "${local.name}: database, cache, and the database's master password"
  enable_key_rotation     = true
  deletion_window_in_days = 30

  policy = jsonencode({ Version = "2012-10-17", Statement = [local.key_of_account] })
  tags   = { Name = "${local.name}-data" }

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_kms_alias" "data" {
  name          = "alias/${local.name}/data"
  target_key_id = aws_kms_key.data.key_id
}

resource "aws_kms_key" "volumes" {
  #checkov:skip=CKV_AWS_33:the conditions leave the account's auto scaling role alone; as a principal it would have to exist before
  description             = "${local.name}: the nodes' volumes and their hosts' disks"
  enable_key_rotation     = true
  deletion_window_in_days = 30

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      local.key_of_account,
      {
        # Auto Scaling launches instances as itself, and its role has no IAM policy that we could write to.
        Sid       = "AutoScalingOpensInstancesDisks"
        Effect    = "Allow"
        Principal = { AWS = "*" }
        Action    = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
        Resource  = "*"
        Condition = local.by_auto_scaling
      },
      {
        Sid       = "AutoScalingPassesDisksToInstances"
        Effect    = "Allow"
        Principal = { AWS = "*" }
        Action    = "kms:CreateGrant"
        Resource  = "*"
        Condition = merge(local.by_auto_scaling, { Bool = { "kms:GrantIsForAWSResource" = "true" } })
      },
    ]
  })
  tags = { Name = "${local.name}-volumes" }

  lifecycle {
    prevent_destroy = true
  }
}

locals {
  by_auto_scaling = {
    StringEquals = { "kms:CallerAccount" = local.account_id }
    ArnLike = {
      "aws:PrincipalArn" = "arn:${local.partition}:iam::${local.account_id}:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"
    }
  }
}

resource "aws_kms_alias" "volumes" {
  name          = "alias/${local.name}/volumes"
  target_key_id = aws_kms_key.volumes.key_id
}

# A host attaches its node's volume itself, and EC2 opens it by a grant in the name of whoever attaches.
resource "aws_iam_role_policy" "host_volumes_key" {
  for_each = aws_iam_role.host

  name = "open-volumes"
  role = each.value.name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect    = "Allow"
        Action    = "kms:CreateGrant"
        Resource  = aws_kms_key.volumes.arn
        Condition = { Bool = { "kms:GrantIsForAWSResource" = "true" } }
      },
      {
        Effect    = "Allow"
        Action    = ["kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncrypt*"]
        Resource  = aws_kms_key.volumes.arn
        Condition = { StringEquals = { "kms:ViaService" = "ec2.${local.fleet.region}.amazonaws.com" } }
      },
    ]
  })
}

# Backups are under keys of their own: who may read the data need not be able to read, or lose, its backups.
resource "aws_kms_key" "backup" {
  count = var.backup == null ? 0 : 1

  description             = "${local.name}: backup bucket and vault"
  enable_key_rotation     = true
  deletion_window_in_days = 30

  policy = jsonencode({ Version = "2012-10-17", Statement = [local.key_of_account] })
  tags   = { Name = "${local.name}-backup" }

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_kms_alias" "backup" {
  count = var.backup == null ? 0 : 1

  name          = "alias/${local.name}/backup"
  target_key_id = aws_kms_key.backup[0].key_id
}

# Not a replica of the one above: a multi-region key has the same material everywhere, and one loss would be both.
resource "aws_kms_key" "backup_replica" {
  count    = local.copies ? 1 : 0
  provider = aws.replica

  description             = "${local.name}: copies of backups in ${var.replica_region}"
  enable_key_rotation     = true
  deletion_window_in_days = 30

  policy = jsonencode({ Version = "2012-10-17", Statement = [local.key_of_account] })
  tags   = { Name = "${local.name}-backup-replica" }

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_kms_alias" "backup_replica" {
  count    = local.copies ? 1 : 0
  provider = aws.replica

  name          = "alias/${local.name}/backup-replica"
  target_key_id = aws_kms_key.backup_replica[0].key_id
}

resource "aws_kms_key" "ops" {
  description             = "${local.ops_name}: table, queues, bucket, secrets, topics"
  enable_key_rotation     = true
  deletion_window_in_days = 30

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      local.key_of_account,
      {
        # EventBridge and Backup do not tell SNS for which account they speak (AWS: "not supported for EventBridge-to-encrypted topics").
        # So the topic, which SNS itself puts into the encryption context, is what binds them; the account binds those that tell it.
        Sid       = "PublishersToOurTopics"
        Effect    = "Allow"
        Principal = { Service = ["cloudwatch.amazonaws.com", "events.amazonaws.com", "budgets.amazonaws.com", "backup.amazonaws.com"] }
        Action    = ["kms:Decrypt", "kms:GenerateDataKey*"]
        Resource  = "*"
        Condition = {
          StringLike           = { "kms:EncryptionContext:aws:sns:topicArn" = "arn:${local.partition}:sns:${local.fleet.region}:${local.account_id}:${local.ops_name}-*" }
          StringEqualsIfExists = { "aws:SourceAccount" = local.account_id }
        }
      },
      {
        Sid       = "UndeliverableEventsToOurQueues"
        Effect    = "Allow"
        Principal = { Service = "events.amazonaws.com" }
        Action    = ["kms:Decrypt", "kms:GenerateDataKey*"]
        Resource  = "*"
        Condition = {
          StringLike           = { "kms:EncryptionContext:aws:sqs:arn" = "arn:${local.partition}:sqs:${local.fleet.region}:${local.account_id}:${local.ops_name}-*" }
          StringEqualsIfExists = { "aws:SourceAccount" = local.account_id }
        }
      },
    ]
  })
  tags = { Name = "${local.ops_name}-ops" }

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_kms_alias" "ops" {
  name          = "alias/${local.ops_name}/ops"
  target_key_id = aws_kms_key.ops.key_id
}

resource "aws_kms_key" "logs" {
  description             = "${local.name}: CloudWatch Logs and CloudTrail"
  enable_key_rotation     = true
  deletion_window_in_days = 30

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      local.key_of_account,
      {
        Sid       = "CloudWatchLogsOfThisAccount"
        Effect    = "Allow"
        Principal = { Service = "logs.${local.fleet.region}.amazonaws.com" }
        Action    = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:Describe*"]
        Resource  = "*"
        Condition = {
          ArnLike = { "kms:EncryptionContext:aws:logs:arn" = "arn:${local.partition}:logs:${local.fleet.region}:${local.account_id}:log-group:*" }
        }
      },
      {
        Sid       = "CloudTrailEncrypts"
        Effect    = "Allow"
        Principal = { Service = "cloudtrail.amazonaws.com" }
        Action    = "kms:GenerateDataKey*"
        Resource  = "*"
        Condition = {
          ArnLike    = { "aws:SourceArn" = local.trails }
          StringLike = { "kms:EncryptionContext:aws:cloudtrail:arn" = local.trails }
        }
      },
      {
        # Apart from the one above: a description of a key has no encryption context.
        Sid       = "CloudTrailLooksAtTheKey"
        Effect    = "Allow"
        Principal = { Service = "cloudtrail.amazonaws.com" }
        Action    = "kms:DescribeKey"
        Resource  = "*"
        Condition = {
          ArnLike = { "aws:SourceArn" = local.trails }
        }
      },
    ]
  })
  tags = { Name = "${local.name}-logs" }

  lifecycle {
    prevent_destroy = true
  }
}

locals {
  trails = "arn:${local.partition}:cloudtrail:${local.fleet.region}:${local.account_id}:trail/*"
}

resource "aws_kms_alias" "logs" {
  name          = "alias/${local.name}/logs"
  target_key_id = aws_kms_key.logs.key_id
}
