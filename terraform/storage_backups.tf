# Backups and their copies in another region, each under its own key and locked.

resource "aws_s3_bucket" "backups" {
  count = var.backup == null ? 0 : 1

  #checkov:skip=CKV_AWS_144:replicated below where backup.copy is true; a stage may go without
  bucket              = "${local.name}-backups-${local.account_id}"
  object_lock_enabled = true
  tags                = { Name = "${local.name}-backups" }

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_ownership_controls" "backups" {
  count = var.backup == null ? 0 : 1

  bucket = aws_s3_bucket.backups[0].id
  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "backups" {
  count = var.backup == null ? 0 : 1

  bucket                  = aws_s3_bucket.backups[0].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_versioning" "backups" {
  count = var.backup == null ? 0 : 1

  bucket = aws_s3_bucket.backups[0].id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "backups" {
  count = var.backup == null ? 0 : 1

  bucket = aws_s3_bucket.backups[0].id
  rule {
    bucket_key_enabled = true
    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.backup[0].arn
    }
  }
}

# Governance, not compliance: a lock that nobody at all can lift would also hold what must go (a secret by mistake, a closed account).
resource "aws_s3_bucket_object_lock_configuration" "backups" {
  count = var.backup != null && var.protect_data ? 1 : 0

  bucket = aws_s3_bucket.backups[0].id
  rule {
    default_retention {
      mode = "GOVERNANCE"
      days = var.backup.lock_days
    }
  }

  depends_on = [aws_s3_bucket_versioning.backups]
}

resource "aws_s3_bucket_policy" "backups" {
  count = var.backup == null ? 0 : 1

  bucket = aws_s3_bucket.backups[0].id
  policy = jsonencode({ Version = "2012-10-17", Statement = concat(
    [local.tls_only["backups"], local.locks_hold["backups"]],
    local.only_under["backups"],
  ) })

  depends_on = [aws_s3_bucket_public_access_block.backups]
}

resource "aws_s3_bucket_lifecycle_configuration" "backups" {
  count = var.backup == null ? 0 : 1

  bucket = aws_s3_bucket.backups[0].id

  rule {
    id     = "keep"
    status = "Enabled"
    filter {}

    # Nothing expires by age: S3 would take the last good backup too, once newer ones stop. Pruning is xai-ops' own, which keeps it.
    expiration {
      expired_object_delete_marker = true
    }

    # What was deleted or overwritten by mistake can be had back for this long; a lock that lasts longer is waited for.
    noncurrent_version_expiration {
      noncurrent_days = 7
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }

    # Infrequent access bills 30 days at least, and S3 moves nothing there sooner than 30 days: below 60 it costs more than it saves.
    dynamic "transition" {
      for_each = var.backup.keep_days >= 60 ? [30] : []
      content {
        days          = transition.value
        storage_class = "STANDARD_IA"
      }
    }
  }

  depends_on = [aws_s3_bucket_versioning.backups]
}

resource "aws_s3_bucket_notification" "backups" {
  count = var.backup == null ? 0 : 1

  bucket      = aws_s3_bucket.backups[0].id
  eventbridge = true # also tells of a copy that failed or is late
}

resource "aws_s3_bucket_logging" "backups" {
  count = var.backup == null ? 0 : 1

  bucket        = aws_s3_bucket.backups[0].id
  target_bucket = aws_s3_bucket.access_logs.id
  target_prefix = "s3/backups/"

  depends_on = [aws_s3_bucket_policy.access_logs]
}

# Their copies.
resource "aws_s3_bucket" "backups_replica" {
  count    = local.copies ? 1 : 0
  provider = aws.replica

  #checkov:skip=CKV_AWS_144:this is the copy
  #checkov:skip=CKV_AWS_18:S3 logs into a bucket of the same region only; S3 itself is all that writes here, and CloudTrail tells who changes it
  #checkov:skip=CKV2_AWS_62:that a copy failed is told by the bucket that is copied
  bucket              = "${local.name}-backups-replica-${local.account_id}"
  object_lock_enabled = true
  tags                = { Name = "${local.name}-backups-replica" }

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_ownership_controls" "backups_replica" {
  count    = local.copies ? 1 : 0
  provider = aws.replica

  bucket = aws_s3_bucket.backups_replica[0].id
  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "backups_replica" {
  count    = local.copies ? 1 : 0
  provider = aws.replica

  bucket                  = aws_s3_bucket.backups_replica[0].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_versioning" "backups_replica" {
  count    = local.copies ? 1 : 0
  provider = aws.replica

  bucket = aws_s3_bucket.backups_replica[0].id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "backups_replica" {
  count    = local.copies ? 1 : 0
  provider = aws.replica

  bucket = aws_s3_bucket.backups_replica[0].id
  rule {
    bucket_key_enabled = true
    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.backup_replica[0].arn
    }
  }
}

resource "aws_s3_bucket_object_lock_configuration" "backups_replica" {
  count    = local.copies && var.protect_data ? 1 : 0
  provider = aws.replica

  bucket = aws_s3_bucket.backups_replica[0].id
  rule {
    default_retention {
      mode = "GOVERNANCE"
      days = var.backup.lock_days
    }
  }

  depends_on = [aws_s3_bucket_versioning.backups_replica]
}

resource "aws_s3_bucket_policy" "backups_replica" {
  count    = local.copies ? 1 : 0
  provider = aws.replica

  bucket = aws_s3_bucket.backups_replica[0].id
  policy = jsonencode({ Version = "2012-10-17", Statement = concat(
    [local.tls_only["backups_replica"], local.locks_hold["backups_replica"]],
    local.only_under["backups_replica"],
  ) })

  depends_on = [aws_s3_bucket_public_access_block.backups_replica]
}

# What is deleted at home is not deleted here, so here age must end it: a month after home would have, which is a month of alarms that
# no backup succeeds before the last good copy goes.
resource "aws_s3_bucket_lifecycle_configuration" "backups_replica" {
  count    = local.copies ? 1 : 0
  provider = aws.replica

  bucket = aws_s3_bucket.backups_replica[0].id

  rule {
    id     = "keep"
    status = "Enabled"
    filter {}

    expiration {
      days = var.backup.keep_days + 30
    }
    noncurrent_version_expiration {
      noncurrent_days = 7
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }

  rule {
    id     = "markers" # S3 allows no age beside this in one rule
    status = "Enabled"
    filter {}

    expiration {
      expired_object_delete_marker = true
    }
  }

  depends_on = [aws_s3_bucket_versioning.backups_replica]
}

resource "aws_s3_bucket_replication_configuration" "backups" {
  count = local.copies ? 1 : 0

  bucket = aws_s3_bucket.backups[0].id
  role   = aws_iam_role.replication[0].arn

  rule {
    id       = "everything"
    priority = 1
    status   = "Enabled"
    filter {}

    # What is deleted here stays there until its own time: the copy is for the day of the mistake.
    delete_marker_replication {
      status = "Disabled"
    }

    source_selection_criteria {
      sse_kms_encrypted_objects {
        status = "Enabled"
      }
    }

    destination {
      bucket = aws_s3_bucket.backups_replica[0].arn
      # Copies are read after a disaster. Infrequent access bills 30 days at least.
      storage_class = var.backup.keep_days >= 30 ? "STANDARD_IA" : "STANDARD"

      encryption_configuration {
        replica_kms_key_id = aws_kms_key.backup_replica[0].arn
      }

      # The loss of a region may cost 15 minutes of backups: promised and measured by S3, and told when it is late.
      replication_time {
        status = "Enabled"
        time {
          minutes = 15
        }
      }
      metrics {
        status = "Enabled"
        event_threshold {
          minutes = 15
        }
      }
    }
  }

  depends_on = [
    aws_s3_bucket_versioning.backups,
    aws_s3_bucket_versioning.backups_replica,
    aws_iam_role_policy.replication,
  ]
}

resource "aws_iam_role" "replication" {
  count = local.copies ? 1 : 0

  name        = "${local.name}-replication"
  description = "S3 copies backups to ${var.replica_region}"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "s3.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = {
        StringEquals = { "aws:SourceAccount" = local.account_id }
        ArnLike      = { "aws:SourceArn" = aws_s3_bucket.backups[0].arn }
      }
    }]
  })
  tags = { Name = "${local.name}-replication" }
}

resource "aws_iam_role_policy" "replication" {
  count = local.copies ? 1 : 0

  name = "copy-backups"
  role = aws_iam_role.replication[0].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "WhatIsCopied"
        Effect   = "Allow"
        Action   = ["s3:GetReplicationConfiguration", "s3:ListBucket"]
        Resource = aws_s3_bucket.backups[0].arn
      },
      {
        Sid    = "ReadWithLocks"
        Effect = "Allow"
        Action = [
          "s3:GetObjectVersionForReplication", "s3:GetObjectVersionAcl", "s3:GetObjectVersionTagging",
          "s3:GetObjectRetention", "s3:GetObjectLegalHold",
        ]
        Resource = "${aws_s3_bucket.backups[0].arn}/*"
      },
      {
        # Without s3:ReplicateDelete: no deletion travels.
        Sid      = "WriteCopies"
        Effect   = "Allow"
        Action   = ["s3:ReplicateObject", "s3:ReplicateTags"]
        Resource = "${aws_s3_bucket.backups_replica[0].arn}/*"
      },
      {
        Sid      = "OpenUnderTheirKey"
        Effect   = "Allow"
        Action   = "kms:Decrypt"
        Resource = aws_kms_key.backup[0].arn
        Condition = {
          StringEquals = { "kms:ViaService" = "s3.${local.fleet.region}.amazonaws.com" }
          StringLike   = { "kms:EncryptionContext:aws:s3:arn" = [aws_s3_bucket.backups[0].arn, "${aws_s3_bucket.backups[0].arn}/*"] }
        }
      },
      {
        Sid      = "CloseUnderTheCopysKey"
        Effect   = "Allow"
        Action   = ["kms:Encrypt", "kms:GenerateDataKey"]
        Resource = aws_kms_key.backup_replica[0].arn
        Condition = {
          StringEquals = { "kms:ViaService" = "s3.${var.replica_region}.amazonaws.com" }
          StringLike   = { "kms:EncryptionContext:aws:s3:arn" = [aws_s3_bucket.backups_replica[0].arn, "${aws_s3_bucket.backups_replica[0].arn}/*"] }
        }
      },
    ]
  })
}
