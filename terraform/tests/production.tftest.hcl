# Production as its files have it: what the fleet, the load balancer, the data and the alarms must be. One plan, asked often.

mock_provider "aws" {
  source = "./tests/mocks"
}

mock_provider "aws" {
  alias  = "replica"
  source = "./tests/mocks"
}

# Told apart, as they are on AWS.
override_resource {
  target          = aws_sns_topic.alarms
  override_during = plan
  values          = { arn = "arn:aws:sns:us-east-1:123456789012:xai-ops-production-alarms" }
}

run "production_files" {
  command = plan

  variables {
    stage = "production"
  }

  module {
    source = "./tests/stage"
  }
}

run "production" {
  command = plan

  variables {
    account_wide         = run.production_files.given.account_wide
    alert_emails         = run.production_files.given.alert_emails
    backup               = run.production_files.given.backup
    cache                = run.production_files.given.cache
    database             = run.production_files.given.database
    domain               = run.production_files.given.domain
    environment          = run.production_files.given.environment
    github_repository    = run.production_files.given.github_repository
    hosted_zone_id       = run.production_files.given.hosted_zone_id
    interface_endpoints  = run.production_files.given.interface_endpoints
    log_days             = run.production_files.given.log_days
    monthly_budget_usd   = run.production_files.given.monthly_budget_usd
    nat_gateway_per_zone = run.production_files.given.nat_gateway_per_zone
    node                 = run.production_files.given.node
    node_environment     = run.production_files.given.node_environment
    node_secrets         = run.production_files.given.node_secrets
    protect_data         = run.production_files.given.protect_data
    public_hosts         = run.production_files.given.public_hosts
    web                  = run.production_files.given.web
    zones                = run.production_files.given.zones
    first_images         = run.production_files.images
  }

  assert {
    condition = alltrue([
      for own in [aws_ebs_volume.node, aws_launch_template.node, aws_autoscaling_group.node] :
      join(", ", keys(own)) == join(", ", run.production_files.nodes)
    ])
    error_message = "Each node of the fleet file has a volume, a launch template and an auto scaling group, and nothing else has."
  }
  assert {
    condition = (
      join(", ", keys(aws_ecs_service.node)) == join(", ", run.production_files.nodes) &&
      join(", ", keys(aws_ecs_service.web)) == join(", ", run.production_files.web)
    )
    error_message = "The services are those of the fleet file."
  }
  assert {
    condition     = alltrue([for service, own in merge(aws_ecs_service.node, aws_ecs_service.web) : own.name == service])
    error_message = "Each service is called as the fleet file calls it."
  }
  assert {
    condition     = join(", ", keys(aws_ecr_repository.image)) == join(", ", run.production_files.repositories)
    error_message = "The repositories are those of the fleet file."
  }
  assert {
    condition     = length(setsubtract(run.production_files.bound_alarms, concat(keys(aws_cloudwatch_metric_alarm.measured), keys(aws_cloudwatch_metric_alarm.computed)))) == 0
    error_message = "Each alarm that the fleet file binds to a service is built."
  }
  assert {
    condition     = alltrue([for own in aws_autoscaling_group.node : own.min_size == 1 && own.max_size == 1 && own.desired_capacity == 1])
    error_message = "Each node has exactly one host: a second one would find the volume taken."
  }
  assert {
    condition     = length(distinct([for own in aws_ebs_volume.node : own.availability_zone])) == min(length(run.production_files.nodes), length(coalesce(run.production_files.given.zones, ["a", "b", "c"])))
    error_message = "Nodes are spread over the zones."
  }
  assert {
    condition = alltrue([
      for own in aws_ebs_volume.node :
      own.encrypted &&
      own.type == "gp3" &&
      own.final_snapshot &&
      own.size == run.production_files.given.node.volume_gib
    ])
    error_message = "Each volume is encrypted, gp3, of the stage's size, and leaves a snapshot."
  }
  assert {
    condition = alltrue([
      for own in aws_launch_template.node :
      own.metadata_options[0].http_tokens == "required" &&
      own.metadata_options[0].http_put_response_hop_limit == 1 &&
      own.block_device_mappings[0].ebs[0].encrypted == "true"
    ])
    error_message = "Hosts answer for credentials by token and to themselves alone, and their disks are encrypted."
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
      for own in merge(aws_ecs_service.node, aws_ecs_service.web) :
      own.deployment_circuit_breaker[0].enable &&
      own.deployment_circuit_breaker[0].rollback
    ])
    error_message = "The circuit breaker is on, with rollback."
  }
  assert {
    condition     = alltrue([for own in aws_ecs_service.node : own.availability_zone_rebalancing == "DISABLED" && own.launch_type == "EC2"])
    error_message = "ECS moves no node by itself."
  }
  assert {
    condition = alltrue([
      for service, own in aws_ecs_service.node :
      one(own.placement_constraints).type == "memberOf" &&
      one(own.placement_constraints).expression == "attribute:xai.node == ${service}"
    ])
    error_message = "Each node is pinned to the host that holds its volume."
  }
  assert {
    condition = alltrue([
      for own in aws_ecs_service.node :
      one(own.load_balancer).container_name == "node" &&
      one(own.load_balancer).container_port == 8080
    ])
    error_message = "The load balancer finds the nodes."
  }
  assert {
    condition     = alltrue([for own in aws_ecs_task_definition.node : jsondecode(own.container_definitions)[0].stopTimeout == 120])
    error_message = "A node has 120 seconds to stop."
  }
  assert {
    condition = alltrue([
      for own in aws_ecs_task_definition.node :
      jsondecode(own.container_definitions)[0].entryPoint == ["python3", "-c", run.production_files.fence]
    ])
    error_message = "Each node starts inside the fence."
  }
  assert {
    condition = alltrue([
      for own in aws_ecs_task_definition.node :
      contains([for entry in jsondecode(own.container_definitions)[0].environment : "${entry.name}=${entry.value}"], "XAI_DATA_DIR=/data") &&
      contains([for mount in jsondecode(own.container_definitions)[0].mountPoints : mount.containerPath], "/data")
    ])
    error_message = "XAI_DATA_DIR, which the fence locks, is the mounted volume."
  }
  assert {
    condition = alltrue([
      for own in aws_ecs_task_definition.node :
      [for port in jsondecode(own.container_definitions)[0].portMappings : port.containerPort] == [8080, 8333]
    ])
    error_message = "A node listens on its API's port and on its peers'."
  }
  assert {
    condition = alltrue([
      for own in aws_ecs_task_definition.node :
      alltrue([
        for name in keys(coalesce(run.production_files.given.node_secrets, {})) :
        contains([for secret in jsondecode(own.container_definitions)[0].secrets : secret.name], name) &&
        !contains([for entry in jsondecode(own.container_definitions)[0].environment : entry.name], name)
      ])
    ])
    error_message = "What is secret reaches a node as a secret and not as text."
  }
  assert {
    condition = alltrue([
      for own in merge(aws_ecs_task_definition.node, aws_ecs_task_definition.web) :
      own.skip_destroy &&
      own.network_mode == "awsvpc"
    ])
    error_message = "No revision is deregistered: it is the way back."
  }
  assert {
    condition = alltrue([
      for service, own in merge(aws_ecs_task_definition.node, aws_ecs_task_definition.web) :
      own.family == service &&
      jsondecode(own.container_definitions)[0].logConfiguration.options.awslogs-stream-prefix == service
    ])
    error_message = "Logs have a prefix: without it a dead task's tail cannot be found."
  }
  assert {
    condition = alltrue([
      for own in merge(aws_ecs_task_definition.node, aws_ecs_task_definition.web) :
      strcontains(jsondecode(own.container_definitions)[0].image, "@sha256:")
    ])
    error_message = "A first image that is a digest is named by it."
  }
  assert {
    condition = alltrue([
      for own in aws_ecs_service.web :
      own.deployment_minimum_healthy_percent == 100 &&
      own.deployment_maximum_percent == 200 &&
      own.launch_type == "FARGATE"
    ])
    error_message = "Web services start before they stop, on Fargate."
  }
  assert {
    condition = (
      join(", ", keys(aws_appautoscaling_target.web)) == join(", ", run.production_files.web) &&
      keys(aws_appautoscaling_policy.web) == keys(aws_appautoscaling_target.web) &&
      alltrue([for own in aws_appautoscaling_target.web : own.max_capacity >= own.min_capacity && own.min_capacity >= 1])
    )
    error_message = "Every web service scales, and none to nothing."
  }
  assert {
    condition = alltrue([
      for rule in merge(aws_vpc_security_group_ingress_rule.conversation, aws_vpc_security_group_ingress_rule.world, aws_vpc_security_group_egress_rule.conversation, aws_vpc_security_group_egress_rule.world) :
      rule.ip_protocol == "tcp" &&
      rule.from_port == rule.to_port
    ])
    error_message = "No rule opens more than one TCP port."
  }
  assert {
    condition = alltrue([
      for rule in merge(aws_vpc_security_group_ingress_rule.conversation, aws_vpc_security_group_egress_rule.conversation) :
      rule.cidr_ipv4 == null &&
      rule.cidr_ipv6 == null
    ])
    error_message = "Inside, groups are named and no addresses."
  }
  assert {
    condition     = toset([for rule in aws_vpc_security_group_ingress_rule.world : rule.from_port]) == toset([80, 443])
    error_message = "The world comes in on 80 and 443 alone."
  }
  assert {
    condition     = toset([for rule in aws_vpc_security_group_egress_rule.world : rule.from_port]) == toset([443, 8333])
    error_message = "What runs reaches the world on 443, and nodes on their peers' port."
  }
  assert {
    condition = (
      keys(aws_vpc_security_group_ingress_rule.conversation) == keys(aws_vpc_security_group_egress_rule.conversation) &&
      contains(keys(aws_vpc_security_group_ingress_rule.conversation), "lambdas to node on 8080")
    )
    error_message = "Who is let out to somebody is let in there, and our functions reach the nodes."
  }
  assert {
    condition     = aws_flow_log.fleet[0].traffic_type == "REJECT"
    error_message = "Who was turned away is kept."
  }
  assert {
    condition     = toset(keys(aws_lb_target_group.group)) == toset(keys(run.production_files.given.public_hosts))
    error_message = "Each public group has a target group."
  }
  assert {
    condition = alltrue([
      for group, own in aws_lb_target_group.group :
      own.health_check[0].path == run.production_files.groups[group].liveness &&
      (own.health_check[0].path != "/health" || run.production_files.groups[group].kind != "node") &&
      own.port == run.production_files.groups[group].port
    ])
    error_message = "ECS replaces what fails this: it must be liveness, never a node's /health."
  }
  assert {
    condition     = aws_lb_listener.https.protocol == "HTTPS" && strcontains(aws_lb_listener.https.ssl_policy, "TLS13")
    error_message = "HTTPS speaks TLS 1.3."
  }
  assert {
    condition = (
      aws_lb_listener.http.default_action[0].redirect[0].protocol == "HTTPS" &&
      aws_lb_listener.http.default_action[0].redirect[0].status_code == "HTTP_301"
    )
    error_message = "Plain HTTP is sent to HTTPS."
  }
  assert {
    condition     = aws_lb.edge.drop_invalid_header_fields && aws_lb.edge.access_logs[0].enabled
    error_message = "The load balancer drops broken headers and logs who asked."
  }
  assert {
    condition = (
      length([for rule in aws_wafv2_web_acl.edge.rule : rule if length(rule.statement[0].rate_based_statement) == 1]) == 1 &&
      length(aws_wafv2_web_acl.edge.rule) == 4
    )
    error_message = "WAF limits each address, and has AWS' three rule groups."
  }
  assert {
    condition = alltrue([
      for own in [aws_s3_bucket_public_access_block.ops, aws_s3_bucket_public_access_block.access_logs] :
      own.block_public_acls &&
      own.block_public_policy &&
      own.ignore_public_acls &&
      own.restrict_public_buckets
    ])
    error_message = "No bucket can be made public."
  }
  assert {
    condition = (
      aws_dynamodb_table.ops.name == "ops-${run.production_files.given.environment}" &&
      aws_dynamodb_table.ops.hash_key == "pk" &&
      aws_dynamodb_table.ops.range_key == "sk" &&
      aws_dynamodb_table.ops.billing_mode == "PAY_PER_REQUEST"
    )
    error_message = "The table has the keys that docs/aws.md names."
  }
  assert {
    condition = (
      one(aws_dynamodb_table.ops.global_secondary_index).name == "open" &&
      one(aws_dynamodb_table.ops.global_secondary_index).hash_key == "open" &&
      one(aws_dynamodb_table.ops.global_secondary_index).range_key == "wake_at" &&
      one(aws_dynamodb_table.ops.global_secondary_index).projection_type == "ALL"
    )
    error_message = "The schedule finds open work by its index."
  }
  assert {
    condition = (
      aws_dynamodb_table.ops.ttl[0].enabled &&
      aws_dynamodb_table.ops.ttl[0].attribute_name == "ttl" &&
      aws_dynamodb_table.ops.point_in_time_recovery[0].enabled &&
      aws_dynamodb_table.ops.server_side_encryption[0].enabled
    )
    error_message = "The table forgets by ttl, can go back in time, and is under our key."
  }
  assert {
    condition = (
      aws_sqs_queue.ticks.name == "xai-ops-${run.production_files.given.environment}-ticks" &&
      aws_sqs_queue.ticks.visibility_timeout_seconds == 360 &&
      jsondecode(aws_sqs_queue.ticks.redrive_policy).maxReceiveCount == 5 &&
      jsondecode(aws_sqs_queue.ticks.redrive_policy).deadLetterTargetArn == aws_sqs_queue.dead.arn
    )
    error_message = "A tick is hidden for six times the function's time-out, and what fails five times is a dead letter."
  }
  assert {
    condition = (
      aws_sqs_queue.dead.name == "xai-ops-${run.production_files.given.environment}-dead" &&
      aws_sqs_queue.dead.message_retention_seconds == 1209600
    )
    error_message = "Dead letters are kept as long as SQS keeps anything."
  }
  assert {
    condition     = sort([for own in aws_cloudwatch_log_group.function : own.name]) == run.production_files.functions
    error_message = "Each function's log group is made before it."
  }
  assert {
    condition = alltrue([
      for own in concat(values(aws_cloudwatch_log_group.function), [aws_cloudwatch_log_group.containers, aws_cloudwatch_log_group.waf], aws_cloudwatch_log_group.flow) :
      own.retention_in_days == coalesce(run.production_files.given.log_days, 30)
    ])
    error_message = "Every log is kept for log_days."
  }
  assert {
    condition = alltrue([
      for own in concat([aws_kms_key.data, aws_kms_key.logs, aws_kms_key.ops, aws_kms_key.volumes], aws_kms_key.backup, aws_kms_key.backup_replica) :
      own.enable_key_rotation &&
      own.deletion_window_in_days == 30
    ])
    error_message = "Every key rotates, and a deletion can be taken back for 30 days."
  }
  assert {
    condition     = alltrue([for own in aws_ecr_repository.image : own.image_scanning_configuration[0].scan_on_push])
    error_message = "Every push is scanned."
  }
  assert {
    condition = alltrue([
      for own in aws_ecr_lifecycle_policy.image :
      [for rule in jsondecode(own.policy).rules : rule.selection.tagPatternList if rule.rulePriority == 1] == [["keep-*"]]
    ])
    error_message = "What rollouts keep goes before every rule that expires images."
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
      for own in merge(aws_cloudwatch_metric_alarm.measured, aws_cloudwatch_metric_alarm.computed) :
      contains(["breaching", "notBreaching", "ignore", "missing"], own.treat_missing_data)
    ])
    error_message = "Every alarm has decided what missing data means."
  }
  assert {
    condition = alltrue([
      for own in merge(aws_cloudwatch_metric_alarm.measured, aws_cloudwatch_metric_alarm.computed) :
      can(regex("/docs/runbooks/[a-z_]+[.]md$", own.alarm_description))
    ])
    error_message = "Every alarm links its runbook."
  }
  assert {
    condition = alltrue([
      for service in run.production_files.nodes :
      aws_cloudwatch_metric_alarm.computed["${service}-height-flat"].treat_missing_data == "breaching"
    ])
    error_message = "A node that says nothing is no healthy one."
  }
  assert {
    condition = (
      alltrue([for own in merge(aws_cloudwatch_metric_alarm.measured, aws_cloudwatch_metric_alarm.computed) : own.ok_actions == own.alarm_actions]) &&
      alltrue([for name, topic in local.topics_of_alarms : (topic == aws_sns_topic.alerts.arn) == startswith(name, "xai-production-ops-")]) &&
      alltrue([for own in aws_cloudwatch_composite_alarm.headline : own.alarm_actions == toset([aws_sns_topic.alerts.arn])]) &&
      alltrue([for own in merge(aws_sns_topic_subscription.alert_email, aws_sns_topic_subscription.incident_email) : own.topic_arn != aws_sns_topic.alarms.arn])
    )
    error_message = "Headlines and our own operations are mailed, single alarms are not."
  }
  assert {
    condition = { for topic, own in data.aws_iam_policy_document.topic : topic => {
      for statement in own.statement : one(one(statement.principals).identifiers) => [for condition in statement.condition : condition.variable] if statement.sid != "OnlyOverTls"
      } } == {
      alarms    = { "cloudwatch.amazonaws.com" = ["aws:SourceAccount"] }
      alerts    = { "cloudwatch.amazonaws.com" = ["aws:SourceAccount"], "budgets.amazonaws.com" = ["aws:SourceAccount"], "events.amazonaws.com" = [], "backup.amazonaws.com" = [] }
      incidents = {}
    }
    error_message = "EventBridge and Backup publish under no condition, which they could not meet; the others for this account alone."
  }
  assert {
    condition = sort(flatten([
      for function in run.production_files.functions : [for condition in ["errors", "slow", "throttled"] : trimprefix(function, "/aws/lambda/")]
      ])) == sort([
      for name, own in aws_cloudwatch_metric_alarm.measured : own.dimensions.FunctionName if own.namespace == "AWS/Lambda" && can(regex("-(errors|slow|throttled)$", name))
    ])
    error_message = "Each function has its three alarms."
  }
  assert {
    condition = alltrue([
      for service in run.production_files.nodes :
      aws_cloudwatch_metric_alarm.measured["${service}-cpu-high"].namespace == "AWS/EC2" &&
      aws_cloudwatch_metric_alarm.measured["${service}-cpu-high"].dimensions == tomap({ AutoScalingGroupName = "${service}-host" }) &&
      aws_cloudwatch_metric_alarm.measured["${service}-host-disk-low"].metric_name == "RootDiskFreePercent" &&
      aws_cloudwatch_metric_alarm.computed["${service}-agent-gone"].treat_missing_data == "breaching" &&
      aws_cloudwatch_metric_alarm.measured["${service}-boot-failed"].treat_missing_data == "notBreaching"
      ]) && alltrue([
      for service in run.production_files.web :
      aws_cloudwatch_metric_alarm.measured["${service}-cpu-high"].dimensions == tomap({ ClusterName = "xai-production", ServiceName = service })
    ])
    error_message = "A node's CPU is its host's, whose disk, agent and start are watched too; a web service's is of what it pays for."
  }
  assert {
    condition = (
      aws_cloudwatch_metric_alarm.computed["xai-production-backups-missing"].threshold == length(run.production_files.nodes) &&
      [for query in aws_cloudwatch_metric_alarm.computed["xai-production-backups-missing"].metric_query : query.metric[0].period if length(query.metric) > 0] == [25200] &&
      alltrue([
        for name, type in { backups-missing = "EBS", backups-database-missing = "Aurora" } :
        [for query in aws_cloudwatch_metric_alarm.computed["xai-production-${name}"].metric_query : query.metric[0].dimensions if length(query.metric) > 0] ==
        [tomap({ BackupVaultName = "xai-production", ResourceType = type })]
      ]) &&
      aws_cloudwatch_metric_alarm.computed["xai-production-backups-database-missing"].evaluation_periods == 26
    )
    error_message = "As many volumes as nodes are backed up while a backup is young enough, and the database each day."
  }
  assert {
    condition = (
      aws_cloudwatch_metric_alarm.computed["xai-production-backups-copy-missing"].threshold == length(run.production_files.nodes) &&
      alltrue([
        for name, rule in { copy-failed = "copy-failed", copy-missing = "copied-volumes", database-copy-missing = "copied-database" } :
        [for query in aws_cloudwatch_metric_alarm.computed["xai-production-backups-${name}"].metric_query : query.metric[0].dimensions if length(query.metric) > 0] ==
        [tomap({ RuleName = "xai-ops-production-${rule}" })]
      ]) &&
      alltrue([
        for own in concat(values(aws_cloudwatch_event_rule.copied), [aws_cloudwatch_event_rule.backup_failed["xai-ops-production-copy-failed"]]) :
        jsondecode(own.event_pattern).detail.destinationBackupVaultArn == ["arn:aws:backup:us-west-2:123456789012:backup-vault:xai-production-replica"]
      ]) &&
      !anytrue([
        for name in flatten([
          [for own in aws_cloudwatch_metric_alarm.measured : own.metric_name],
          [for own in aws_cloudwatch_metric_alarm.computed : [for query in own.metric_query : [for metric in query.metric : metric.metric_name]]],
          [for graph in local.graphs["Data"] : [for line in graph.lines : line[1]]],
        ]) : startswith(name, "NumberOfCopyJobs")
      ])
    )
    error_message = "Copies are counted by the events of jobs into the other region's vault: its metrics may never be told here."
  }
  assert {
    condition     = length(aws_cloudwatch_metric_alarm.measured) + length(aws_cloudwatch_metric_alarm.computed) >= 30
    error_message = "Production has thirty alarms or more."
  }
  assert {
    condition     = keys(aws_nat_gateway.zone) == ["a", "b", "c"]
    error_message = "Losing a zone leaves the others connected."
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
      aws_rds_cluster.database[0].manage_master_user_password &&
      aws_rds_cluster.database[0].master_password == null &&
      aws_rds_cluster.database[0].iam_database_authentication_enabled
    )
    error_message = "Nobody knows the database's password; services log in by their roles."
  }
  assert {
    condition = (
      aws_rds_cluster.database[0].storage_encrypted &&
      !aws_rds_cluster.database[0].skip_final_snapshot &&
      aws_rds_cluster.database[0].backup_retention_period == 30 &&
      !aws_rds_cluster.database[0].apply_immediately
    )
    error_message = "The database is encrypted, can go back 30 days, and leaves a snapshot."
  }
  assert {
    condition = (
      keys(aws_rds_cluster_instance.database) == ["1", "2"] &&
      alltrue([for own in aws_rds_cluster_instance.database : own.performance_insights_enabled])
    )
    error_message = "A writer and a reader, both measured."
  }
  assert {
    condition     = contains([for parameter in aws_rds_cluster_parameter_group.database[0].parameter : "${parameter.name}=${parameter.value}"], "rds.force_ssl=1")
    error_message = "The database speaks TLS alone."
  }
  assert {
    condition = (
      aws_elasticache_replication_group.cache[0].transit_encryption_enabled &&
      aws_elasticache_replication_group.cache[0].transit_encryption_mode == "required" &&
      tobool(aws_elasticache_replication_group.cache[0].at_rest_encryption_enabled)
    )
    error_message = "Redis speaks TLS alone, and is encrypted where it lies."
  }
  assert {
    condition = (
      aws_elasticache_replication_group.cache[0].num_cache_clusters == 3 &&
      aws_elasticache_replication_group.cache[0].automatic_failover_enabled &&
      aws_elasticache_replication_group.cache[0].multi_az_enabled
    )
    error_message = "Redis fails over."
  }
  assert {
    condition = (
      one(aws_elasticache_user.app[0].authentication_mode).type == "iam" &&
      startswith(aws_elasticache_user.unnamed[0].access_string, "off ")
    )
    error_message = "Redis lets in roles, and nobody without a name."
  }
  assert {
    condition = (
      aws_s3_bucket.backups[0].object_lock_enabled &&
      aws_s3_bucket_versioning.backups[0].versioning_configuration[0].status == "Enabled" &&
      aws_s3_bucket_object_lock_configuration.backups[0].rule[0].default_retention[0].days == 14
    )
    error_message = "Backups are versioned and locked for 14 days."
  }
  assert {
    condition = (
      aws_s3_bucket.backups_replica[0].object_lock_enabled &&
      aws_s3_bucket_versioning.backups_replica[0].versioning_configuration[0].status == "Enabled" &&
      aws_s3_bucket_object_lock_configuration.backups_replica[0].rule[0].default_retention[0].days == 14
    )
    error_message = "So are their copies."
  }
  assert {
    condition = (
      one(aws_s3_bucket_replication_configuration.backups[0].rule).status == "Enabled" &&
      one(aws_s3_bucket_replication_configuration.backups[0].rule).delete_marker_replication[0].status == "Disabled"
    )
    error_message = "What is deleted here stays there."
  }
  assert {
    condition = alltrue([
      for own in concat(aws_s3_bucket_public_access_block.backups, aws_s3_bucket_public_access_block.backups_replica, aws_s3_bucket_public_access_block.trail) :
      own.block_public_acls &&
      own.block_public_policy &&
      own.ignore_public_acls &&
      own.restrict_public_buckets
    ])
    error_message = "No bucket of backups, copies or the trail can be made public."
  }
  assert {
    condition = (
      aws_backup_vault_lock_configuration.fleet[0].min_retention_days == 14 &&
      aws_backup_vault_lock_configuration.fleet[0].changeable_for_days == null &&
      length(aws_backup_vault_lock_configuration.replica) == 1
    )
    error_message = "The vaults are locked, in governance mode."
  }
  assert {
    condition = (
      keys(aws_backup_plan.fleet) == ["database", "volumes"] &&
      alltrue([
        for own in aws_backup_plan.fleet :
        length(one(own.rule).copy_action) == 1 &&
        one(own.rule).lifecycle[0].delete_after == 30
      ])
    )
    error_message = "Volumes and database are backed up, and copied to the other region."
  }
  assert {
    condition = (
      alltrue([for own in aws_ebs_volume.node : own.tags.backup == one(aws_backup_selection.fleet["volumes"].selection_tag).value]) &&
      aws_rds_cluster.database[0].tags.backup == one(aws_backup_selection.fleet["database"].selection_tag).value
    )
    error_message = "The plans take what has their tag: the volumes and the database."
  }
  assert {
    condition = (
      aws_cloudtrail.account[0].is_multi_region_trail &&
      aws_cloudtrail.account[0].enable_log_file_validation &&
      aws_cloudtrail.account[0].include_global_service_events
    )
    error_message = "The trail sees all regions, and its files are signed."
  }
  assert {
    condition     = length(aws_iam_role.ci) == 1 && length(aws_iam_openid_connect_provider.github) == 1
    error_message = "CI has a role, by GitHub's identity provider."
  }
  assert {
    condition     = aws_budgets_budget.month.limit_amount == "5000" && length(aws_budgets_budget.month.notification) == 2
    error_message = "The budget warns twice."
  }
  assert {
    condition     = keys(aws_sns_topic_subscription.alert_email) == ["operations@example.org"]
    error_message = "People hear of alarms by mail."
  }
  assert {
    condition     = output.public_addresses == { nodes = "https://api.xai.example.org", explorers = "https://explorer.xai.example.org" }
    error_message = "Groups are reached by their host names."
  }
  assert {
    condition     = [for service in run.production_files.nodes : service if contains([for entry in jsondecode(aws_ecs_task_definition.node[service].container_definitions)[0].environment : "${entry.name}=${entry.value}"], "XAI_MINING_ENABLED=true")] == ["xai-production-node-1", "xai-production-node-2", "xai-production-node-3"]
    error_message = "Validators mine, and the backup node does not."
  }
}
