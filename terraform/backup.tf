# AWS Backup: it takes the nodes' volumes every few hours, the database (where there is one) once a day, and copies both to another region.
# For volumes this is a second line. Such a snapshot is what a power cut would have left: it needs no co-operation of the node, and
# nothing has looked into it. The archives that are verified, and restored in drills, are the backup function's own, in aws_s3_bucket.backups.

resource "aws_backup_vault" "fleet" {
  count = var.backup == null ? 0 : 1

  name        = local.name
  kms_key_arn = aws_kms_key.backup[0].arn
  tags        = { Name = local.name }

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_backup_vault_policy" "fleet" {
  count = var.backup == null ? 0 : 1

  backup_vault_name = aws_backup_vault.fleet[0].name
  policy            = local.nothing_is_deleted
}

# Governance: without changeable_for_days, which would make a lock that not even AWS lifts.
resource "aws_backup_vault_lock_configuration" "fleet" {
  count = var.backup != null && var.protect_data ? 1 : 0

  backup_vault_name  = aws_backup_vault.fleet[0].name
  min_retention_days = var.backup.lock_days
  max_retention_days = var.backup.keep_days
}

resource "aws_backup_vault" "replica" {
  count    = local.copies ? 1 : 0
  provider = aws.replica

  name        = "${local.name}-replica"
  kms_key_arn = aws_kms_key.backup_replica[0].arn
  tags        = { Name = "${local.name}-replica" }

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_backup_vault_policy" "replica" {
  count    = local.copies ? 1 : 0
  provider = aws.replica

  backup_vault_name = aws_backup_vault.replica[0].name
  policy            = local.nothing_is_deleted
}

resource "aws_backup_vault_lock_configuration" "replica" {
  count    = local.copies && var.protect_data ? 1 : 0
  provider = aws.replica

  backup_vault_name  = aws_backup_vault.replica[0].name
  min_retention_days = var.backup.lock_days
  max_retention_days = var.backup.keep_days
}

locals {
  # Recovery points end by their age, which AWS Backup sees to itself. Whoever must delete one takes this away first, and the trail tells.
  nothing_is_deleted = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "NobodyDeletesOrShortens"
      Effect    = "Deny"
      Principal = { AWS = "*" }
      Action    = ["backup:DeleteRecoveryPoint", "backup:UpdateRecoveryPointLifecycle", "backup:DisassociateRecoveryPoint"]
      Resource  = "*"
    }]
  })
}

locals {
  # The fleet file says how old the last backup may be. AWS Backup starts a job within an hour of its time, and another is left for
  # the job itself and for the alarm, which looks by the hour: so a volume's turn comes two hours or more before the limit.
  hours_between_backups = max(1, [for hours in [2, 3, 4, 6, 8, 12] : hours if hours * 3600 + 7200 <= local.watch.backup_max_age_seconds]...)

  # Aurora keeps every second of backup_days itself; this is the copy that outlives the cluster and the region, and each is a whole one.
  # Its hour is after the cluster's own windows: Aurora takes one snapshot at a time.
  backup_plans = var.backup == null ? {} : merge(
    { volumes = { schedule = "cron(0 0/${local.hours_between_backups} * * ? *)", tag = local.name } },
    var.database == null ? {} : { database = { schedule = "cron(0 6 * * ? *)", tag = local.database_name } },
  )
}

resource "aws_backup_plan" "fleet" {
  for_each = local.backup_plans

  name = "${local.name}-${each.key}"
  tags = { Name = "${local.name}-${each.key}" }

  rule {
    rule_name         = each.key
    target_vault_name = aws_backup_vault.fleet[0].name
    schedule          = each.value.schedule
    start_window      = 60 # minutes, the least
    completion_window = 720

    lifecycle {
      delete_after = var.backup.keep_days
    }

    dynamic "copy_action" {
      for_each = aws_backup_vault.replica
      content {
        destination_vault_arn = copy_action.value.arn
        lifecycle {
          delete_after = var.backup.keep_days
        }
      }
    }
  }

  lifecycle {
    precondition {
      condition     = local.watch.backup_max_age_seconds >= 10800
      error_message = "watch.backup_max_age_seconds of ${local.fleet_file} is ${local.watch.backup_max_age_seconds}; allowed with backups: 10800 or more, as AWS Backup takes one an hour at most and needs up to two for it."
    }
  }
}

# By tag and not by name: a volume that was restored and took another's place is backed up from its first day.
resource "aws_backup_selection" "fleet" {
  for_each = local.backup_plans

  name         = "${local.name}-${each.key}"
  plan_id      = aws_backup_plan.fleet[each.key].id
  iam_role_arn = aws_iam_role.backup[0].arn

  selection_tag {
    type  = "STRINGEQUALS"
    key   = "backup"
    value = each.value.tag
  }
}

resource "aws_iam_role" "backup" {
  count = var.backup == null ? 0 : 1

  name        = "${local.name}-backup"
  description = "AWS Backup takes and copies; it restores nothing under this role"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "backup.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = local.account_id } }
    }]
  })
  tags = { Name = "${local.name}-backup" }
}

resource "aws_iam_role_policy_attachment" "backup" {
  count = var.backup == null ? 0 : 1

  role       = aws_iam_role.backup[0].name
  policy_arn = "arn:${local.partition}:iam::aws:policy/service-role/AWSBackupServiceRolePolicyForBackup"
}

# The policy above has no leave for keys of ours beyond grants; a copy is opened under the one and closed under the other.
resource "aws_iam_role_policy" "backup_keys" {
  count = var.backup == null ? 0 : 1

  name = "keys"
  role = aws_iam_role.backup[0].name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = ["kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey*", "kms:ReEncrypt*"]
        Resource = local.keys_of_backups
      },
      {
        Effect    = "Allow"
        Action    = "kms:CreateGrant"
        Resource  = local.keys_of_backups
        Condition = { Bool = { "kms:GrantIsForAWSResource" = "true" } }
      },
    ]
  })
}

locals {
  keys_of_backups = concat([aws_kms_key.volumes.arn, aws_kms_key.data.arn], aws_kms_key.backup[*].arn, aws_kms_key.backup_replica[*].arn)
}

# Of jobs, vaults tell SNS only that they are over: BACKUP_JOB_FAILED is accepted and never sent any more. So failures come as events, below.
resource "aws_backup_vault_notifications" "fleet" {
  count = var.backup == null ? 0 : 1

  backup_vault_name   = aws_backup_vault.fleet[0].name
  sns_topic_arn       = aws_sns_topic.alerts.arn
  backup_vault_events = ["COPY_JOB_FAILED", "RECOVERY_POINT_MODIFIED", "RESTORE_JOB_COMPLETED"]
}

resource "aws_cloudwatch_event_rule" "backup_failed" {
  count = var.backup == null ? 0 : 1

  name        = "${local.ops_name}-backup-failed"
  description = "A job of AWS Backup did not do all that it should"
  event_pattern = jsonencode({
    source      = ["aws.backup"]
    detail-type = ["Backup Job State Change"]
    detail = {
      state           = ["FAILED", "ABORTED", "EXPIRED", "PARTIAL"]
      backupVaultName = [aws_backup_vault.fleet[0].name]
    }
  })
  tags = { Name = "${local.ops_name}-backup-failed" }
}

resource "aws_cloudwatch_event_target" "backup_failed" {
  count = var.backup == null ? 0 : 1

  rule      = aws_cloudwatch_event_rule.backup_failed[0].name
  target_id = "alerts"
  arn       = aws_sns_topic.alerts.arn

  dead_letter_config {
    arn = aws_sqs_queue.dead.arn
  }
}
