output "chalice" {
  description = "What `python -m tools.configure` writes into .chalice/config.json: where the functions run, and on what."
  value = {
    environment        = var.environment
    subnet_ids         = [for letter in sort(keys(local.private_subnets)) : local.private_subnets[letter]]
    security_group_ids = [aws_security_group.lambdas.id]
    environment_variables = {
      XAI_OPS_TABLE          = aws_dynamodb_table.ops.name
      XAI_OPS_BUCKET         = aws_s3_bucket.ops.bucket
      XAI_OPS_TICK_QUEUE_ARN = aws_sqs_queue.ticks.arn
      XAI_OPS_TICK_QUEUE_URL = aws_sqs_queue.ticks.url
      XAI_OPS_DEAD_QUEUE_ARN = aws_sqs_queue.dead.arn
    }
  }
}

output "repositories" {
  description = "Where images are pushed, by the name that the fleet file has."
  value       = { for name, repository in aws_ecr_repository.image : name => repository.repository_url }
}

output "vpc_id" {
  description = "The network."
  value       = local.vpc_id
}

output "private_subnets" {
  description = "Zone letter => private subnet."
  value       = local.private_subnets
}

output "public_subnets" {
  description = "Zone letter => public subnet."
  value       = local.public_subnets
}

output "security_groups" {
  description = "By what they are for."
  value = {
    alb      = aws_security_group.alb.id
    node     = aws_security_group.node.id
    host     = aws_security_group.host.id
    lambdas  = aws_security_group.lambdas.id
    database = aws_security_group.database.id
    cache    = aws_security_group.cache.id
    web      = { for group, own in aws_security_group.web : group => own.id }
  }
}

output "cluster_arn" {
  description = "The ECS cluster."
  value       = local.cluster_arn
}

output "load_balancer" {
  description = "The load balancer's name in DNS, and the zone that an alias record of yours needs."
  value       = { dns_name = aws_lb.edge.dns_name, zone_id = aws_lb.edge.zone_id }
}

output "public_addresses" {
  description = "group => where the world reaches it."
  value       = { for group in keys(local.public_groups) : group => "https://${var.public_hosts[group]}.${var.domain}" }
}

output "node_volumes" {
  description = "service => the EBS volume that holds its data."
  value       = { for service, volume in aws_ebs_volume.node : service => { id = volume.id, zone = volume.availability_zone } }
}

output "database" {
  description = "The Aurora cluster's addresses and where its password is kept; null without one."
  value = try({
    writer     = aws_rds_cluster.database[0].endpoint
    reader     = aws_rds_cluster.database[0].reader_endpoint
    port       = aws_rds_cluster.database[0].port
    secret_arn = aws_rds_cluster.database[0].master_user_secret[0].secret_arn
  }, null)
}

output "cache" {
  description = "The Redis replication group's addresses; null without one."
  value = try({
    primary = aws_elasticache_replication_group.cache[0].primary_endpoint_address
    reader  = aws_elasticache_replication_group.cache[0].reader_endpoint_address
  }, null)
}

output "backup_buckets" {
  description = "Where archives go, and where their copies are; null in a stage without backups."
  value       = try({ bucket = aws_s3_bucket.backups[0].bucket, copies = aws_s3_bucket.backups_replica[0].bucket }, null)
}

output "task_roles" {
  description = "ARNs of the execution and task roles, by kind of service."
  value = {
    execution = { for kind, role in aws_iam_role.execution : kind => role.arn }
    task      = { for kind, role in aws_iam_role.task : kind => role.arn }
  }
}

output "ci_role_arn" {
  description = "The role that GitHub's workflows take; null when no repository is named."
  value       = try(aws_iam_role.ci[0].arn, null)
}

output "log_groups" {
  description = "Containers' logs, and the functions'."
  value = {
    containers = aws_cloudwatch_log_group.containers.name
    functions  = { for function, group in aws_cloudwatch_log_group.function : function => group.name }
  }
}

output "topics" {
  description = "SNS topics: each alarm for machines, what people are mailed, and the incidents tracker of type sns."
  value       = { alarms = aws_sns_topic.alarms.arn, alerts = aws_sns_topic.alerts.arn, incidents = aws_sns_topic.incidents.arn }
}
