# Who read or asked for what: the load balancer's and the buckets' access logs.

resource "aws_s3_bucket" "access_logs" {
  #checkov:skip=CKV_AWS_18:logs of the logs' own delivery would never end
  #checkov:skip=CKV_AWS_21:each file is written once, under a name of its own, by AWS alone
  #checkov:skip=CKV_AWS_144:logs of 90 days; a lost region's are not needed elsewhere
  #checkov:skip=CKV_AWS_145:load balancers cannot write under a KMS key
  #checkov:skip=CKV2_AWS_62:nothing acts on what is written here
  bucket = "${local.name}-access-logs-${local.account_id}"
  tags   = { Name = "${local.name}-access-logs" }
}

resource "aws_s3_bucket_ownership_controls" "access_logs" {
  bucket = aws_s3_bucket.access_logs.id
  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "access_logs" {
  bucket                  = aws_s3_bucket.access_logs.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "access_logs" {
  bucket = aws_s3_bucket.access_logs.id
  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_policy" "access_logs" {
  bucket = aws_s3_bucket.access_logs.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(local.logged_buckets_write, [
      local.tls_only["access_logs"],
      {
        Sid       = "LoadBalancersWrite"
        Effect    = "Allow"
        Principal = { Service = "logdelivery.elasticloadbalancing.amazonaws.com" }
        Action    = "s3:PutObject"
        Resource  = "${aws_s3_bucket.access_logs.arn}/edge/AWSLogs/${local.account_id}/*"
        Condition = {
          StringEquals = { "aws:SourceAccount" = local.account_id }
          ArnLike      = { "aws:SourceArn" = "arn:${local.partition}:elasticloadbalancing:${local.fleet.region}:${local.account_id}:loadbalancer/*" }
        }
      },
    ])
  })

  depends_on = [aws_s3_bucket_public_access_block.access_logs]
}

resource "aws_s3_bucket_lifecycle_configuration" "access_logs" {
  bucket = aws_s3_bucket.access_logs.id

  rule {
    id     = "keep"
    status = "Enabled"
    filter {}

    expiration {
      days = 90
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }
}
