# What the policies of all buckets share (storage_*.tf): each is private, encrypted, and spoken to over TLS alone.

locals {
  copies = try(var.backup.copy, false)

  # Each bucket under its own name, and nowhere else.
  logged_buckets_write = [
    for bucket in ["backups", "ops"] : {
      Sid       = "LogsOf${title(bucket)}"
      Effect    = "Allow"
      Principal = { Service = "logging.s3.amazonaws.com" }
      Action    = "s3:PutObject"
      Resource  = "${aws_s3_bucket.access_logs.arn}/s3/${bucket}/*"
      Condition = {
        StringEquals = { "aws:SourceAccount" = local.account_id }
        ArnLike      = { "aws:SourceArn" = local.bucket_arns[bucket] }
      }
    } if contains(keys(local.bucket_arns), bucket)
  ]

  bucket_arns = merge(
    { ops = aws_s3_bucket.ops.arn, access_logs = aws_s3_bucket.access_logs.arn },
    { for bucket in aws_s3_bucket.backups : "backups" => bucket.arn },
    { for bucket in aws_s3_bucket.backups_replica : "backups_replica" => bucket.arn },
  )
  bucket_keys = merge(
    { ops = aws_kms_key.ops.arn },
    { for key in aws_kms_key.backup : "backups" => key.arn },
    { for key in aws_kms_key.backup_replica : "backups_replica" => key.arn },
  )

  tls_only = {
    for bucket, arn in local.bucket_arns : bucket => {
      Sid       = "OverTlsAlone"
      Effect    = "Deny"
      Principal = { AWS = "*" }
      Action    = "s3:*"
      Resource  = [arn, "${arn}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }
  }

  # An upload that names no encryption gets the bucket's own; one that names another is refused. Two conditions, because
  # a comparison with a header that is not there counts as different.
  only_under = {
    for bucket, key in local.bucket_keys : bucket => [
      {
        Sid       = "UnderKmsAlone"
        Effect    = "Deny"
        Principal = { AWS = "*" }
        Action    = "s3:PutObject"
        Resource  = "${local.bucket_arns[bucket]}/*"
        Condition = {
          Null            = { "s3:x-amz-server-side-encryption" = "false" }
          StringNotEquals = { "s3:x-amz-server-side-encryption" = "aws:kms" }
        }
      },
      {
        Sid       = "UnderItsOwnKeyAlone"
        Effect    = "Deny"
        Principal = { AWS = "*" }
        Action    = "s3:PutObject"
        Resource  = "${local.bucket_arns[bucket]}/*"
        Condition = {
          Null            = { "s3:x-amz-server-side-encryption-aws-kms-key-id" = "false" }
          StringNotEquals = { "s3:x-amz-server-side-encryption-aws-kms-key-id" = key }
        }
      },
    ]
  }

  # Governance locks can be lifted by who has leave to. Nobody has: first this statement must go, and the trail tells who took it away.
  locks_hold = {
    for bucket, arn in local.bucket_arns : bucket => {
      Sid       = "LocksHoldForEveryone"
      Effect    = "Deny"
      Principal = { AWS = "*" }
      Action    = "s3:BypassGovernanceRetention"
      Resource  = "${arn}/*"
    }
  }
}
