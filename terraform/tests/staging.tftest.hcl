# Staging as its files have it: what follows from them, and what is smaller than in production. The rest is the same code.

mock_provider "aws" {
  source = "./tests/mocks"
}

mock_provider "aws" {
  alias  = "replica"
  source = "./tests/mocks"
}

run "staging_files" {
  command = plan

  variables {
    stage = "staging"
  }

  module {
    source = "./tests/stage"
  }
}

run "staging" {
  command = plan

  variables {
    account_wide         = run.staging_files.given.account_wide
    alert_emails         = run.staging_files.given.alert_emails
    backup               = run.staging_files.given.backup
    cache                = run.staging_files.given.cache
    database             = run.staging_files.given.database
    domain               = run.staging_files.given.domain
    environment          = run.staging_files.given.environment
    github_repository    = run.staging_files.given.github_repository
    hosted_zone_id       = run.staging_files.given.hosted_zone_id
    interface_endpoints  = run.staging_files.given.interface_endpoints
    log_days             = run.staging_files.given.log_days
    monthly_budget_usd   = run.staging_files.given.monthly_budget_usd
    nat_gateway_per_zone = run.staging_files.given.nat_gateway_per_zone
    node                 = run.staging_files.given.node
    node_environment     = run.staging_files.given.node_environment
    node_secrets         = run.staging_files.given.node_secrets
    protect_data         = run.staging_files.given.protect_data
    public_hosts         = run.staging_files.given.public_hosts
    web                  = run.staging_files.given.web
    zones                = run.staging_files.given.zones
    first_images         = run.staging_files.images
  }

  assert {
    condition = alltrue([
      for own in [aws_ebs_volume.node, aws_launch_template.node, aws_autoscaling_group.node] :
      join(", ", keys(own)) == join(", ", run.staging_files.nodes)
    ])
    error_message = "Each node of the fleet file has a volume, a launch template and an auto scaling group, and nothing else has."
  }
  assert {
    condition = (
      join(", ", keys(aws_ecs_service.node)) == join(", ", run.staging_files.nodes) &&
      join(", ", keys(aws_ecs_service.web)) == join(", ", run.staging_files.web)
    )
    error_message = "The services are those of the fleet file."
  }
  assert {
    condition     = join(", ", keys(aws_ecr_repository.image)) == join(", ", run.staging_files.repositories)
    error_message = "The repositories are those of the fleet file."
  }
  assert {
    condition     = length(setsubtract(run.staging_files.bound_alarms, concat(keys(aws_cloudwatch_metric_alarm.measured), keys(aws_cloudwatch_metric_alarm.computed)))) == 0
    error_message = "Each alarm that the fleet file binds to a service is built."
  }
  assert {
    condition     = length(distinct([for own in aws_ebs_volume.node : own.availability_zone])) == min(length(run.staging_files.nodes), length(coalesce(run.staging_files.given.zones, ["a", "b", "c"])))
    error_message = "Nodes are spread over the zones."
  }
  assert {
    condition = alltrue([
      for own in aws_ebs_volume.node :
      own.encrypted &&
      own.type == "gp3" &&
      own.final_snapshot &&
      own.size == run.staging_files.given.node.volume_gib
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
        for name in keys(coalesce(run.staging_files.given.node_secrets, {})) :
        contains([for secret in jsondecode(own.container_definitions)[0].secrets : secret.name], name) &&
        !contains([for entry in jsondecode(own.container_definitions)[0].environment : entry.name], name)
      ])
    ])
    error_message = "What is secret reaches a node as a secret and not as text."
  }
  assert {
    condition = (
      join(", ", keys(aws_appautoscaling_target.web)) == join(", ", run.staging_files.web) &&
      keys(aws_appautoscaling_policy.web) == keys(aws_appautoscaling_target.web) &&
      alltrue([for own in aws_appautoscaling_target.web : own.max_capacity >= own.min_capacity && own.min_capacity >= 1])
    )
    error_message = "Every web service scales, and none to nothing."
  }
  assert {
    condition     = toset(keys(aws_lb_target_group.group)) == toset(keys(run.staging_files.given.public_hosts))
    error_message = "Each public group has a target group."
  }
  assert {
    condition = alltrue([
      for group, own in aws_lb_target_group.group :
      own.health_check[0].path == run.staging_files.groups[group].liveness &&
      (own.health_check[0].path != "/health" || run.staging_files.groups[group].kind != "node") &&
      own.port == run.staging_files.groups[group].port
    ])
    error_message = "ECS replaces what fails this: it must be liveness, never a node's /health."
  }
  assert {
    condition = (
      aws_dynamodb_table.ops.name == "ops-${run.staging_files.given.environment}" &&
      aws_dynamodb_table.ops.hash_key == "pk" &&
      aws_dynamodb_table.ops.range_key == "sk" &&
      aws_dynamodb_table.ops.billing_mode == "PAY_PER_REQUEST"
    )
    error_message = "The table has the keys that docs/aws.md names."
  }
  assert {
    condition = (
      aws_sqs_queue.ticks.name == "xai-ops-${run.staging_files.given.environment}-ticks" &&
      aws_sqs_queue.ticks.visibility_timeout_seconds == 360 &&
      jsondecode(aws_sqs_queue.ticks.redrive_policy).maxReceiveCount == 5 &&
      jsondecode(aws_sqs_queue.ticks.redrive_policy).deadLetterTargetArn == aws_sqs_queue.dead.arn
    )
    error_message = "A tick is hidden for six times the function's time-out, and what fails five times is a dead letter."
  }
  assert {
    condition = (
      aws_sqs_queue.dead.name == "xai-ops-${run.staging_files.given.environment}-dead" &&
      aws_sqs_queue.dead.message_retention_seconds == 1209600
    )
    error_message = "Dead letters are kept as long as SQS keeps anything."
  }
  assert {
    condition     = sort([for own in aws_cloudwatch_log_group.function : own.name]) == run.staging_files.functions
    error_message = "Each function's log group is made before it."
  }
  assert {
    condition = alltrue([
      for own in concat(values(aws_cloudwatch_log_group.function), [aws_cloudwatch_log_group.containers, aws_cloudwatch_log_group.waf], aws_cloudwatch_log_group.flow) :
      own.retention_in_days == coalesce(run.staging_files.given.log_days, 30)
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
      for service in run.staging_files.nodes :
      aws_cloudwatch_metric_alarm.computed["${service}-height-flat"].treat_missing_data == "breaching"
    ])
    error_message = "A node that says nothing is no healthy one."
  }
  assert {
    condition     = keys(aws_nat_gateway.zone) == ["a"] && keys(aws_subnet.private) == ["a", "b"]
    error_message = "Two zones, and one way out."
  }
  assert {
    condition     = length(aws_vpc_endpoint.interface) == 0 && keys(aws_vpc_endpoint.gateway) == ["dynamodb", "s3"]
    error_message = "The endpoints that cost nothing are there, those that cost are not."
  }
  assert {
    condition = (
      aws_lb.edge.enable_deletion_protection &&
      aws_dynamodb_table.ops.deletion_protection_enabled &&
      aws_rds_cluster.database[0].deletion_protection
    )
    error_message = "Load balancer, table and database are protected against deletion."
  }
  assert {
    condition = (
      keys(aws_rds_cluster_instance.database) == ["1"] &&
      aws_rds_cluster.database[0].storage_encrypted &&
      aws_rds_cluster.database[0].manage_master_user_password
    )
    error_message = "One database instance, as safe as production's."
  }
  assert {
    condition = (
      !aws_elasticache_replication_group.cache[0].automatic_failover_enabled &&
      aws_elasticache_replication_group.cache[0].transit_encryption_mode == "required"
    )
    error_message = "One Redis node: nothing to fail over to."
  }
  assert {
    condition     = aws_s3_bucket_object_lock_configuration.backups[0].rule[0].default_retention[0].days == 3
    error_message = "Backups are locked for 3 days."
  }
  assert {
    condition     = length(aws_cloudtrail.account) == 1 && length(aws_iam_role.ci) == 0 && length(aws_iam_openid_connect_provider.github) == 0
    error_message = "An account of its own has a trail, and CI has no role that nobody asked for."
  }
  assert {
    condition     = keys(aws_sns_topic_subscription.alert_email) == ["staging@example.org"]
    error_message = "People hear of what is mailed."
  }
  assert {
    condition     = alltrue([for service in run.staging_files.nodes : aws_cloudwatch_metric_alarm.measured["${service}-peers-low"].threshold == 1])
    error_message = "Two nodes have one peer each, and are told of when they have none."
  }
}
