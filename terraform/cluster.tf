# The cluster and where its containers log. Nodes run on instances of their own, web services on Fargate.

resource "aws_ecs_cluster" "fleet" {
  count = var.create_cluster ? 1 : 0

  name = local.name

  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

data "aws_ecs_cluster" "existing" {
  count = var.create_cluster ? 0 : 1

  cluster_name = local.name
}

locals {
  cluster_arn = var.create_cluster ? aws_ecs_cluster.fleet[0].arn : data.aws_ecs_cluster.existing[0].arn

  # awslogs needs the prefix: without it the tail of a dead task's log cannot be found, and damaged data not be told from a bad version.
  log_options = {
    awslogs-group  = aws_cloudwatch_log_group.containers.name
    awslogs-region = local.fleet.region
  }
}

resource "aws_cloudwatch_log_group" "containers" {
  #checkov:skip=CKV_AWS_338:How long logs are kept is the stage's own choice, log_days.
  name              = "/ecs/${local.name}/containers"
  retention_in_days = var.log_days
  kms_key_id        = aws_kms_key.logs.arn
}

# One name for each group, which answers with the addresses of its running tasks: peers, explorers and Prometheus find the nodes by it,
# and one more node changes nobody else's configuration.
resource "aws_service_discovery_service" "group" {
  for_each = local.fleet.groups

  name = each.key

  dns_config {
    namespace_id   = aws_service_discovery_private_dns_namespace.fleet.id
    routing_policy = "MULTIVALUE"

    dns_records {
      type = "A"
      ttl  = 10
    }
  }

  health_check_custom_config {
    failure_threshold = 1
  }
}
