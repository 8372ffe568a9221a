# What the functions keep: the pictures in tickets.

resource "aws_s3_bucket" "ops" {
  #checkov:skip=CKV_AWS_144:pictures and pages that the next sweep writes anew; what must not be lost is in the backups
  #checkov:skip=CKV2_AWS_62:nothing acts on what is written here
  bucket = "ops-${var.environment}-${local.account_id}"
  tags   = { Name = "ops-${var.environment}" }
}

resource "aws_s3_bucket_ownership_controls" "ops" {
  bucket = aws_s3_bucket.ops.id
  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "ops" {
  bucket                  = aws_s3_bucket.ops.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_versioning" "ops" {
  bucket = aws_s3_bucket.ops.id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "ops" {
  bucket = aws_s3_bucket.ops.id
  rule {
    bucket_key_enabled = true
    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.ops.arn
    }
  }
}

resource "aws_s3_bucket_policy" "ops" {
  bucket = aws_s3_bucket.ops.id
  policy = jsonencode({ Version = "2012-10-17", Statement = concat([local.tls_only["ops"]], local.only_under["ops"]) })

  depends_on = [aws_s3_bucket_public_access_block.ops]
}

resource "aws_s3_bucket_lifecycle_configuration" "ops" {
  bucket = aws_s3_bucket.ops.id

  rule {
    id     = "pictures"
    status = "Enabled"
    filter {
      prefix = "pictures/"
    }

    expiration {
      days = 90
    }
  }

  rule {
    id     = "leftovers"
    status = "Enabled"
    filter {}

    expiration {
      expired_object_delete_marker = true
    }
    noncurrent_version_expiration {
      noncurrent_days = 7
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }

  depends_on = [aws_s3_bucket_versioning.ops]
}

resource "aws_s3_bucket_logging" "ops" {
  bucket        = aws_s3_bucket.ops.id
  target_bucket = aws_s3_bucket.access_logs.id
  target_prefix = "s3/ops/"

  depends_on = [aws_s3_bucket_policy.access_logs]
}
