# Who did what in this account, in all regions: one trail, made by the stage that owns the account. Its files are signed, locked against
# overwriting by versions, and kept for a year.

locals {
  trail_name = "${local.ops_name}-trail"
  trail_arn  = "arn:${local.partition}:cloudtrail:${local.fleet.region}:${local.account_id}:trail/${local.trail_name}"
  trail_days = 365
}

resource "aws_s3_bucket" "trail" {
  #checkov:skip=CKV_AWS_18:Who reads the trail stands in the trail itself, see its selectors.
  #checkov:skip=CKV_AWS_144:A trail of all regions is written from all regions; a second copy would be an account's of its own, not a region's.
  #checkov:skip=CKV2_AWS_62:Nothing acts on what is written here.
  count = var.account_wide ? 1 : 0

  bucket = "${local.trail_name}-${local.account_id}"
  tags   = { Name = local.trail_name }

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_ownership_controls" "trail" {
  count = var.account_wide ? 1 : 0

  bucket = aws_s3_bucket.trail[0].id
  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "trail" {
  count = var.account_wide ? 1 : 0

  bucket                  = aws_s3_bucket.trail[0].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_versioning" "trail" {
  count = var.account_wide ? 1 : 0

  bucket = aws_s3_bucket.trail[0].id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "trail" {
  count = var.account_wide ? 1 : 0

  bucket = aws_s3_bucket.trail[0].id
  rule {
    bucket_key_enabled = true
    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.logs.arn
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "trail" {
  count = var.account_wide ? 1 : 0

  bucket = aws_s3_bucket.trail[0].id

  rule {
    id     = "keep"
    status = "Enabled"
    filter {}

    expiration {
      days = local.trail_days
    }
    noncurrent_version_expiration {
      noncurrent_days = local.trail_days # what somebody deleted to hide it can be had back for as long
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }

  depends_on = [aws_s3_bucket_versioning.trail]
}

resource "aws_s3_bucket_policy" "trail" {
  count = var.account_wide ? 1 : 0

  bucket = aws_s3_bucket.trail[0].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "OverTlsAlone"
        Effect    = "Deny"
        Principal = { AWS = "*" }
        Action    = "s3:*"
        Resource  = [aws_s3_bucket.trail[0].arn, "${aws_s3_bucket.trail[0].arn}/*"]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
      {
        Sid       = "TrailLooksAtTheBucket"
        Effect    = "Allow"
        Principal = { Service = "cloudtrail.amazonaws.com" }
        Action    = "s3:GetBucketAcl"
        Resource  = aws_s3_bucket.trail[0].arn
        Condition = { StringEquals = { "aws:SourceArn" = local.trail_arn } }
      },
      {
        Sid       = "TrailWrites"
        Effect    = "Allow"
        Principal = { Service = "cloudtrail.amazonaws.com" }
        Action    = "s3:PutObject"
        Resource  = "${aws_s3_bucket.trail[0].arn}/AWSLogs/${local.account_id}/*"
        Condition = { StringEquals = { "aws:SourceArn" = local.trail_arn, "s3:x-amz-acl" = "bucket-owner-full-control" } }
      },
    ]
  })

  depends_on = [aws_s3_bucket_public_access_block.trail]
}

resource "aws_cloudtrail" "account" {
  #checkov:skip=CKV_AWS_252:A message for each file, every few minutes, tells nobody anything.
  #checkov:skip=CKV2_AWS_10:The files are queried where they lie; a second copy in CloudWatch Logs would cost more than the trail.
  count = var.account_wide ? 1 : 0

  name                          = local.trail_name
  s3_bucket_name                = aws_s3_bucket.trail[0].id
  kms_key_id                    = aws_kms_key.logs.arn
  is_multi_region_trail         = true
  include_global_service_events = true
  enable_log_file_validation    = true

  advanced_event_selector {
    name = "What was done in the account"

    field_selector {
      field  = "eventCategory"
      equals = ["Management"]
    }
  }

  # Only reads: what the trail itself writes here would be an event that it writes here.
  advanced_event_selector {
    name = "Who reads the trail"

    field_selector {
      field  = "eventCategory"
      equals = ["Data"]
    }
    field_selector {
      field  = "resources.type"
      equals = ["AWS::S3::Object"]
    }
    field_selector {
      field       = "resources.ARN"
      starts_with = ["${aws_s3_bucket.trail[0].arn}/"]
    }
    field_selector {
      field  = "readOnly"
      equals = ["true"]
    }
  }

  dynamic "advanced_event_selector" {
    for_each = var.backup == null ? [] : [aws_s3_bucket.backups[0].arn]

    content {
      name = "Who reads, writes or deletes a backup"

      field_selector {
        field  = "eventCategory"
        equals = ["Data"]
      }
      field_selector {
        field  = "resources.type"
        equals = ["AWS::S3::Object"]
      }
      field_selector {
        field       = "resources.ARN"
        starts_with = ["${advanced_event_selector.value}/"]
      }
    }
  }

  depends_on = [aws_s3_bucket_policy.trail]
}
