# One dashboard for the stage, top to bottom as one asks: is an alarm on, does the chain move, do services run, do people get in, does data
# hold, do we work ourselves. Made from the same fleet file and table of alarms, so that a new node or database is on it by itself.
# Widgets without x and y are placed by CloudWatch, in this order.

locals {
  # title, statistic, lines of [namespace, metric, dimension, value ...] or of an expression, and lines across (annotations).
  graphs = {
    for section, graphs in {
      "Chain" = concat(
        [for group, nodes in local.nodes_of_group : {
          title   = "Heights of ${group}"
          stat    = "Maximum"
          lines   = [for node in nodes : ["XAI/Chain", "BlockHeight", "Cluster", local.name, "Service", node, { label = node }]]
          markers = {}
        }],
        [for group, nodes in local.nodes_of_group : {
          title = "Blocks behind the tip of ${group}"
          stat  = "Maximum"
          lines = concat(
            [for index, node in nodes : [{ expression = "IF(h${index} > 0, MAX(METRICS()) - h${index})", label = node, id = "lag${index}" }]],
            [for index, node in nodes : ["XAI/Chain", "BlockHeight", "Cluster", local.name, "Service", node, { id = "h${index}", visible = false }]],
          )
          markers = { "more than max_lag_blocks" = local.fleet.groups[group].limits.max_lag_blocks }
        }],
        [for group, nodes in local.nodes_of_group : {
          title   = "Peers of ${group}"
          stat    = "Maximum"
          lines   = [for node in nodes : ["XAI/Chain", "Peers", "Cluster", local.name, "Service", node, { label = node }]]
          markers = length(nodes) > 1 ? { "fewer than min_peers" = local.watch.min_peers } : {}
        }],
        [for group, nodes in local.nodes_of_group : {
          title   = "Free on the volumes of ${group}, %"
          stat    = "Minimum"
          lines   = [for node in nodes : ["XAI/Chain", "DiskFreePercent", "Cluster", local.name, "Service", node, { label = node }]]
          markers = { "less than disk_free_percent" = local.watch.disk_free_percent }
        }],
      )
      "Services" = concat(
        [{
          title = "CPU, %; of a node, its host's"
          stat  = "Average"
          lines = [for service, own in local.cpu_of_service : concat(
            [own.namespace, "CPUUtilization"], flatten([for name, value in own.dimensions : [name, value]]), [{ label = service }],
          )]
          markers = { "more than cpu_percent" = local.watch.cpu_percent }
        }],
        [for own in [
          { title = "Memory, %", namespace = "AWS/ECS", metric = "MemoryUtilization", markers = { "more than memory_percent" = local.watch.memory_percent } },
          { title = "Running tasks", namespace = "ECS/ContainerInsights", metric = "RunningTaskCount", markers = {} },
          ] : {
          title   = own.title
          stat    = "Average"
          lines   = [for service in keys(local.services) : [own.namespace, own.metric, "ClusterName", local.name, "ServiceName", service, { label = service }]]
          markers = own.markers
        }],
        [{
          title   = "Free on the disks of nodes' hosts, %"
          stat    = "Minimum"
          lines   = [for node in keys(local.nodes) : ["XAI/Chain", "RootDiskFreePercent", "Cluster", local.name, "Service", node, { label = node }]]
          markers = { "less than disk_free_percent" = local.watch.disk_free_percent }
        }],
      )
      "Edge" = [
        for own in [
          { title = "Requests", metric = "RequestCount", stat = "Sum", markers = {} },
          { title = "Errors of targets", metric = "HTTPCode_Target_5XX_Count", stat = "Sum", markers = {} },
          { title = "Seconds to answer, p95", metric = "TargetResponseTime", stat = "p95", markers = { "more than latency_seconds" = local.watch.latency_seconds } },
          { title = "Healthy targets", metric = "HealthyHostCount", stat = "Minimum", markers = {} },
          { title = "Unhealthy targets", metric = "UnHealthyHostCount", stat = "Maximum", markers = {} },
          ] : {
          title = own.title
          stat  = own.stat
          lines = [
            for group, of in local.target_dimensions : ["AWS/ApplicationELB", own.metric, "TargetGroup", of.TargetGroup, "LoadBalancer", of.LoadBalancer, { label = group }]
          ]
          markers = own.markers
        }
      ]
      "Data" = concat(
        [for own in [
          { title = "Database CPU, %", metric = "CPUUtilization", markers = { "more than cpu_percent" = local.watch.cpu_percent } },
          { title = "Database connections", metric = "DatabaseConnections", markers = { "all" = coalesce(local.database_connections, 0) } },
          { title = "Database replica lag, ms", metric = "AuroraReplicaLag", markers = {} },
          ] : {
          title   = own.title
          stat    = "Maximum"
          lines   = [for key, instance in aws_rds_cluster_instance.database : ["AWS/RDS", own.metric, "DBInstanceIdentifier", instance.identifier, { label = tostring(key) }]]
          markers = own.markers
        }],
        [for own in [
          { title = "Redis CPU, %", metric = "EngineCPUUtilization", markers = { "more than cpu_percent" = local.watch.cpu_percent } },
          { title = "Redis memory, %", metric = "DatabaseMemoryUsagePercentage", markers = { "more than memory_percent" = local.watch.memory_percent } },
          { title = "Redis evictions", metric = "Evictions", markers = {} },
          ] : {
          title   = own.title
          stat    = "Maximum"
          lines   = [for number, of in local.cache_members : ["AWS/ElastiCache", own.metric, "CacheClusterId", of.CacheClusterId, "CacheNodeId", of.CacheNodeId, { label = number }]]
          markers = own.markers
        }],
        [{
          title = "Backups and copies in an hour"
          stat  = "Sum"
          lines = concat(
            [for each in setproduct(keys(local.backup_plans), ["Completed", "Failed"]) : [
              "AWS/Backup", "NumberOfBackupJobs${each[1]}", "BackupVaultName", local.vault_dimensions[each[0]].BackupVaultName,
              "ResourceType", local.vault_dimensions[each[0]].ResourceType, { label = "${each[0]}: ${lower(each[1])}", period = 3600 },
            ]],
            [for plan, own in local.copied_rules : ["AWS/Events", "Invocations", "RuleName", own.name, { label = "${plan}: copied", period = 3600 }]],
            [for name in keys(local.failed_rules) : ["AWS/Events", "Invocations", "RuleName", name, { label = "copies failed", period = 3600 }] if name == local.copy_failed_rule],
          )
          markers = {}
          }, {
          # Told in the other region, where no alarm of ours can be: here one sees it.
          title = "Seconds that the backup bucket's copy is behind"
          stat  = "Maximum"
          lines = [for copy in aws_s3_bucket.backups_replica : [
            "AWS/S3", "ReplicationLatency", "SourceBucket", local.replication_dimensions.SourceBucket, "DestinationBucket", copy.id,
            "RuleId", local.replication_dimensions.RuleId, { region = var.replica_region },
          ]]
          markers = {}
        }],
      )
      "Ourselves" = concat(
        [for own in [
          { title = "Calls of our functions", metric = "Invocations", stat = "Sum" },
          { title = "Errors of our functions", metric = "Errors", stat = "Sum" },
          { title = "Milliseconds of our functions", metric = "Duration", stat = "Maximum" },
          ] : {
          title   = own.title
          stat    = own.stat
          lines   = [for function, name in local.functions : ["AWS/Lambda", own.metric, "FunctionName", name, { label = function }]]
          markers = {}
        }],
        [{
          title = "Queues"
          stat  = "Maximum"
          lines = [
            ["AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", aws_sqs_queue.ticks.name, { label = "seconds of the oldest tick" }],
            ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", aws_sqs_queue.dead.name, { label = "dead letters" }],
          ]
          markers = {}
          }, {
          title   = "Incidents and rollouts"
          stat    = "Sum"
          lines   = [for metric in ["IncidentStage", "RolloutPhase"] : [{ expression = "SEARCH('Namespace=\"xai-ops\" MetricName=\"${metric}\" environment=\"${var.environment}\"', 'Sum')", label = "", id = lower(metric) }]]
          markers = {}
          }, {
          title   = "What failed for us"
          stat    = "Sum"
          lines   = [for metric in ["HandlerFailed", "ActionFailed", "TicketDeliveryFailed"] : [{ expression = "SEARCH('Namespace=\"xai-ops\" MetricName=\"${metric}\" environment=\"${var.environment}\"', 'Sum')", label = "", id = lower(metric) }]]
          markers = {}
        }],
      )
    } : section => [for graph in graphs : graph if length(graph.lines) > 0]
  }
  sections = ["Chain", "Services", "Edge", "Data", "Ourselves"]

  # A widget shows at most 100 alarms: headlines first, then those that rollouts listen to.
  alarms_shown = slice(
    concat(
      [for alarm in aws_cloudwatch_composite_alarm.headline : alarm.arn],
      [for name in local.bound_alarms : "arn:${local.partition}:cloudwatch:${local.fleet.region}:${local.account_id}:alarm:${name}"],
    ),
    0, min(100, length(local.composites) + length(local.summaries) + length(local.bound_alarms)),
  )
}

resource "aws_cloudwatch_dashboard" "stage" {
  dashboard_name = local.ops_name

  dashboard_body = jsonencode({
    widgets = concat(
      [{
        type       = "alarm"
        width      = 24
        height     = 3
        properties = { title = "${local.name}: headlines, and the alarms that rollouts listen to", alarms = local.alarms_shown }
      }],
      concat([for section in local.sections : concat(
        [{
          type       = "text"
          width      = 24
          height     = 1
          properties = { markdown = "## ${section}" }
        }],
        [for graph in local.graphs[section] : {
          type   = "metric"
          width  = 8
          height = 6
          properties = {
            title       = graph.title
            view        = "timeSeries"
            region      = local.fleet.region
            stat        = graph.stat
            period      = 300
            metrics     = graph.lines
            annotations = { horizontal = [for label, value in graph.markers : { label = label, value = value }] }
          }
        }],
      ) if length(local.graphs[section]) > 0]...),
    )
  })
}
