# Development as its files have it: one node, no data that must be kept, and nothing that waits for it.

mock_provider "aws" {
  source = "./tests/mocks"
}

mock_provider "aws" {
  alias  = "replica"
  source = "./tests/mocks"
}

run "development_files" {
  command = plan

  variables {
    stage = "development"
  }

  module {
    source = "./tests/stage"
  }
}

run "development" {
  command = plan

  variables {
    account_wide         = run.development_files.given.account_wide
    alert_emails         = run.development_files.given.alert_emails
    backup               = run.development_files.given.backup
    cache                = run.development_files.given.cache
    database             = run.development_files.given.database
    domain               = run.development_files.given.domain
    environment          = run.development_files.given.environment
    github_repository    = run.development_files.given.github_repository
    hosted_zone_id       = run.development_files.given.hosted_zone_id
    interface_endpoints  = run.development_files.given.interface_endpoints
    log_days             = run.development_files.given.log_days
    monthly_budget_usd   = run.development_files.given.monthly_budget_usd
    nat_gateway_per_zone = run.development_files.given.nat_gateway_per_zone
    node                 = run.development_files.given.node
    node_environment     = run.development_files.given.node_environment
    node_secrets         = run.development_files.given.node_secrets
    protect_data         = run.development_files.given.protect_data
    public_hosts         = run.development_files.given.public_hosts
    web                  = run.development_files.given.web
    zones                = run.development_files.given.zones
    first_images         = run.development_files.images
  }

  assert {
    condition = alltrue([
      for own in [aws_ebs_volume.node, aws_launch_template.node, aws_autoscaling_group.node] :
      join(", ", keys(own)) == join(", ", run.development_files.nodes)
    ])
    error_message = "Each node of the fleet file has a volume, a launch template and an auto scaling group, and nothing else has."
  }
  assert {
    condition = (
      join(", ", keys(aws_ecs_service.node)) == join(", ", run.development_files.nodes) &&
      join(", ", keys(aws_ecs_service.web)) == join(", ", run.development_files.web)
    )
    error_message = "The services are those of the fleet file."
  }
  assert {
    condition     = join(", ", keys(aws_ecr_repository.image)) == join(", ", run.development_files.repositories)
    error_message = "The repositories are those of the fleet file."
  }
  assert {
    condition     = length(setsubtract(run.development_files.bound_alarms, concat(keys(aws_cloudwatch_metric_alarm.measured), keys(aws_cloudwatch_metric_alarm.computed)))) == 0
    error_message = "Each alarm that the fleet file binds to a service is built."
  }
  assert {
    condition     = length(distinct([for own in aws_ebs_volume.node : own.availability_zone])) == min(length(run.development_files.nodes), length(coalesce(run.development_files.given.zones, ["a", "b", "c"])))
    error_message = "Nodes are spread over the zones."
  }
  assert {
    condition = alltrue([
      for own in aws_ebs_volume.node :
      own.encrypted &&
      own.type == "gp3" &&
      own.final_snapshot &&
      own.size == run.development_files.given.node.volume_gib
    ])
    error_message = "Each volume is encrypted, gp3, of the stage's size, and leaves a snapshot."
  }
  assert {
    condition = alltrue([
      for own in aws_ecs_service.node :
      own.deployment_minimum_healthy_percent == 0 &&
      own.deployment_maximum_percent == 100 &&
      own.desired_count == 1
    ])
    error_message = "A node stops before its successor starts."
  }
  assert {
    condition = alltrue([
      for own in aws_ecs_task_definition.node :
      alltrue([
        for name in keys(coalesce(run.development_files.given.node_secrets, {})) :
        contains([for secret in jsondecode(own.container_definitions)[0].secrets : secret.name], name) &&
        !contains([for entry in jsondecode(own.container_definitions)[0].environment : entry.name], name)
      ])
    ])
    error_message = "What is secret reaches a node as a secret and not as text."
  }
  assert {
    condition = (
      join(", ", keys(aws_appautoscaling_target.web)) == join(", ", run.development_files.web) &&
      keys(aws_appautoscaling_policy.web) == keys(aws_appautoscaling_target.web) &&
      alltrue([for own in aws_appautoscaling_target.web : own.max_capacity >= own.min_capacity && own.min_capacity >= 1])
    )
    error_message = "Every web service scales, and none to nothing."
  }
  assert {
    condition     = toset(keys(aws_lb_target_group.group)) == toset(keys(run.development_files.given.public_hosts))
    error_message = "Each public group has a target group."
  }
  assert {
    condition = alltrue([
      for group, own in aws_lb_target_group.group :
      own.health_check[0].path == run.development_files.groups[group].liveness &&
      (own.health_check[0].path != "/health" || run.development_files.groups[group].kind != "node") &&
      own.port == run.development_files.groups[group].port
    ])
    error_message = "ECS replaces what fails this: it must be liveness, never a node's /health."
  }
  assert {
    condition = (
      aws_dynamodb_table.ops.name == "ops-${run.development_files.given.environment}" &&
      aws_dynamodb_table.ops.hash_key == "pk" &&
      aws_dynamodb_table.ops.range_key == "sk" &&
      aws_dynamodb_table.ops.billing_mode == "PAY_PER_REQUEST"
    )
    error_message = "The table has the keys that docs/aws.md names."
  }
  assert {
    condition = (
      aws_sqs_queue.ticks.name == "xai-ops-${run.development_files.given.environment}-ticks" &&
      aws_sqs_queue.ticks.visibility_timeout_seconds == 360 &&
      jsondecode(aws_sqs_queue.ticks.redrive_policy).maxReceiveCount == 5 &&
      jsondecode(aws_sqs_queue.ticks.redrive_policy).deadLetterTargetArn == aws_sqs_queue.dead.arn
    )
    error_message = "A tick is hidden for six times the function's time-out, and what fails five times is a dead letter."
  }
  assert {
    condition = (
      aws_sqs_queue.dead.name == "xai-ops-${run.development_files.given.environment}-dead" &&
      aws_sqs_queue.dead.message_retention_seconds == 1209600
    )
    error_message = "Dead letters are kept as long as SQS keeps anything."
  }
  assert {
    condition     = sort([for own in aws_cloudwatch_log_group.function : own.name]) == run.development_files.functions
    error_message = "Each function's log group is made before it."
  }
  assert {
    condition = alltrue([
      for own in concat(values(aws_cloudwatch_log_group.function), [aws_cloudwatch_log_group.containers, aws_cloudwatch_log_group.waf], aws_cloudwatch_log_group.flow) :
      own.retention_in_days == coalesce(run.development_files.given.log_days, 30)
    ])
    error_message = "Every log is kept for log_days."
  }
  assert {
    condition = alltrue([
      for own in merge(aws_cloudwatch_metric_alarm.measured, aws_cloudwatch_metric_alarm.computed) :
      length(own.alarm_actions) > 0 &&
      length(own.ok_actions) > 0
    ])
    error_message = "Every alarm says when it begins and when it is over."
  }
  assert {
    condition = alltrue([
      for service in run.development_files.nodes :
      aws_cloudwatch_metric_alarm.computed["${service}-height-flat"].treat_missing_data == "breaching"
    ])
    error_message = "A node that says nothing is no healthy one."
  }
  assert {
    condition = (
      length(aws_rds_cluster.database) == 0 &&
      length(aws_elasticache_replication_group.cache) == 0 &&
      length(aws_iam_role_policy.database_login) == 0
    )
    error_message = "No database and no cache."
  }
  assert {
    condition = (
      length(aws_s3_bucket.backups) == 0 &&
      length(aws_backup_vault.fleet) == 0 &&
      length(aws_kms_key.backup) == 0 &&
      length(aws_backup_plan.fleet) == 0
    )
    error_message = "No backups."
  }
  assert {
    condition     = !aws_lb.edge.enable_deletion_protection && !aws_dynamodb_table.ops.deletion_protection_enabled
    error_message = "Everything may be lost."
  }
  assert {
    condition     = !anytrue([for name in keys(aws_cloudwatch_metric_alarm.computed) : strcontains(name, "-backups-") || endswith(name, "-sync-lag")]) && !anytrue([for name in keys(aws_cloudwatch_metric_alarm.measured) : endswith(name, "-peers-low")])
    error_message = "No alarm waits for backups that are not taken, for a lag behind nobody, or for peers that there are not."
  }
}
