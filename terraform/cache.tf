# Redis, where a stage has one: a cache, whose loss costs time and no data. It fails over where it has more than one node.
#
# Who logs in: an IAM user of the cache, with a token that the service's own role signs and that is valid for 15 minutes. An auth token
# of Redis' own would be a password for ever; the provider has no write-only argument for it, so it would stand in Terraform's state,
# and somebody would have to change it. Redis 7 and TLS are what this needs. How a client signs it:
# https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth-iam.html

locals {
  cache_name = "${local.name}-cache"
}

resource "aws_elasticache_subnet_group" "cache" {
  count = var.cache == null ? 0 : 1

  name        = local.cache_name
  description = "Private subnets of ${local.name}"
  subnet_ids  = values(local.private_subnets)
  tags        = { Name = local.cache_name }
}

resource "aws_elasticache_parameter_group" "cache" {
  count = var.cache == null ? 0 : 1

  name        = "${local.cache_name}-redis${local.cache_major}"
  description = "What was used longest ago makes room"
  family      = "redis${local.cache_major}"
  tags        = { Name = local.cache_name }

  parameter {
    name  = "maxmemory-policy"
    value = "allkeys-lru"
  }

  lifecycle {
    create_before_destroy = true
  }
}

locals {
  cache_major = try(split(".", var.cache.engine_version)[0], null)
}

# Redis needs a user of this name, and lets whoever gives no name be that one. Ours is off.
resource "aws_elasticache_user" "unnamed" {
  count = var.cache == null ? 0 : 1

  user_id       = "${local.cache_name}-default"
  user_name     = "default"
  engine        = "redis"
  access_string = "off ~* -@all"
  tags          = { Name = "${local.cache_name}-default" }

  # Not authentication_mode: AWS answers "no-password" to "no-password-required", and each plan would want to change it.
  no_password_required = true
}

resource "aws_elasticache_user" "app" {
  count = var.cache == null ? 0 : 1

  user_id       = "${local.cache_name}-app"
  user_name     = "${local.cache_name}-app" # IAM wants both the same
  engine        = "redis"
  access_string = "on ~* +@all" # the cache is the services'; ElastiCache itself withholds what would harm the server
  tags          = { Name = "${local.cache_name}-app" }

  authentication_mode {
    type = "iam"
  }
}

resource "aws_elasticache_user_group" "cache" {
  count = var.cache == null ? 0 : 1

  user_group_id = local.cache_name
  engine        = "redis"
  user_ids      = [aws_elasticache_user.unnamed[0].user_id, aws_elasticache_user.app[0].user_id]
  tags          = { Name = local.cache_name }
}

resource "aws_cloudwatch_log_group" "cache" {
  #checkov:skip=CKV_AWS_338:how long logs are kept is each stage's choice, log_days
  count = var.cache == null ? 0 : 1

  name              = "/aws/elasticache/${local.cache_name}/slow"
  retention_in_days = var.log_days
  kms_key_id        = aws_kms_key.logs.arn
  tags              = { Name = local.cache_name }
}

resource "aws_elasticache_replication_group" "cache" {
  #checkov:skip=CKV2_AWS_50:on where there is more than one node
  #checkov:skip=CKV_AWS_31:encrypted on the way, and IAM users in place of an auth token, as said above
  count = var.cache == null ? 0 : 1

  replication_group_id = local.cache_name
  description          = "Cache of ${local.name}"
  engine               = "redis"
  engine_version       = var.cache.engine_version
  node_type            = var.cache.node_type
  port                 = 6379
  parameter_group_name = aws_elasticache_parameter_group.cache[0].name

  num_cache_clusters         = var.cache.nodes
  automatic_failover_enabled = var.cache.nodes > 1
  multi_az_enabled           = var.cache.nodes > 1

  subnet_group_name          = aws_elasticache_subnet_group.cache[0].name
  security_group_ids         = [aws_security_group.cache.id]
  user_group_ids             = [aws_elasticache_user_group.cache[0].user_group_id]
  transit_encryption_enabled = true
  transit_encryption_mode    = "required"
  at_rest_encryption_enabled = true
  kms_key_id                 = aws_kms_key.data.arn

  snapshot_retention_limit   = var.cache.snapshot_days
  snapshot_window            = "03:00-04:00"
  maintenance_window         = "mon:05:30-mon:06:30"
  final_snapshot_identifier  = var.cache.snapshot_days > 0 ? "${local.cache_name}-final" : null
  auto_minor_version_upgrade = true
  apply_immediately          = var.environment != "production"

  log_delivery_configuration {
    log_type         = "slow-log"
    log_format       = "json"
    destination_type = "cloudwatch-logs"
    destination      = aws_cloudwatch_log_group.cache[0].name
  }

  tags = { Name = local.cache_name }

  lifecycle {
    precondition {
      condition     = tonumber(local.cache_major) >= 7
      error_message = "cache.engine_version is ${var.cache.engine_version}; allowed: 7.0 or later, which know users of IAM."
    }
  }
}

# Web services are let in by the security group; this is the ticket.
resource "aws_iam_role_policy" "cache_login" {
  count = var.cache != null && contains(local.role_kinds, "web") ? 1 : 0

  name = "cache-login"
  role = aws_iam_role.task["web"].name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = "elasticache:Connect"
      Resource = [aws_elasticache_replication_group.cache[0].arn, aws_elasticache_user.app[0].arn]
    }]
  })
}
