# Alarms on what the fleet file operates: services, the chain as its nodes tell it, and the nodes' hosts. XAI/Chain is what each node's
# host publishes once a minute (hosts/node-boot.sh); BootFailed only when it gives up.

locals {
  service_alarms = merge([
    for service, own in local.services : {
      "${service}-cpu-high" = {
        says    = "CPU of ${service} has been over ${local.watch.cpu_percent} % for 5 minutes"
        metric  = [local.cpu_of_service[service].namespace, "CPUUtilization", "Average"]
        of      = local.cpu_of_service[service].dimensions
        period  = 60
        periods = 5
        over    = local.watch.cpu_percent
        missing = "notBreaching" # what is stopped uses nothing; tasks-missing tells of it, and a rollout that stops it must not wait here
      }
      "${service}-memory-high" = {
        says    = "Memory of ${service} has been over ${local.watch.memory_percent} % for 5 minutes"
        metric  = ["AWS/ECS", "MemoryUtilization", "Average"]
        of      = { ClusterName = local.name, ServiceName = service }
        period  = 60
        periods = 5
        over    = local.watch.memory_percent
        missing = "notBreaching" # as above
      }
      "${service}-tasks-missing" = {
        says       = "${service} has run fewer tasks than it should for 10 minutes"
        expression = "desired - running" # a missing count is 0 in an expression, so no running task at all is told too
        metrics = {
          desired = ["ECS/ContainerInsights", "DesiredTaskCount", "Maximum", { ClusterName = local.name, ServiceName = service }]
          running = ["ECS/ContainerInsights", "RunningTaskCount", "Minimum", { ClusterName = local.name, ServiceName = service }]
        }
        period  = 60
        periods = 10
        over    = 0
        missing = "notBreaching" # neither number: the service does not exist yet, or an existing cluster has no Container Insights
      }
    }
  ]...)

  # On EC2 ECS counts in parts of what the task has reserved, and a node may use all that its host has left: over 100 % would be no trouble.
  cpu_of_service = {
    for service, own in local.services : service => {
      namespace = own.kind == "node" ? "AWS/EC2" : "AWS/ECS"
      dimensions = { for name, value in {
        AutoScalingGroupName = own.kind == "node" ? aws_autoscaling_group.node[service].name : null
        ClusterName          = own.kind == "node" ? null : local.name
        ServiceName          = own.kind == "node" ? null : service
      } : name => value if value != null }
    }
  }

  chain_alarms = merge([
    for service, own in local.nodes : {
      "${service}-height-flat" = {
        says       = "The height of ${service} has not risen, or was not told, for ${local.watch.height_flat_seconds} seconds"
        expression = "FILL(highest, 0) - FILL(lowest, 0)" # FILL: CloudWatch would wait some periods more before it calls data missing
        metrics = {
          highest = ["XAI/Chain", "BlockHeight", "Maximum", { Cluster = local.name, Service = service }]
          lowest  = ["XAI/Chain", "BlockHeight", "Minimum", { Cluster = local.name, Service = service }]
        }
        period  = ceil(local.watch.height_flat_seconds / 60) * 60 # the window slides: CloudWatch looks every minute
        periods = 1
        under   = 1
        missing = "breaching" # a node that says nothing is no healthy one
      }
    }
  ]...)

  peer_alarms = {
    for service, own in local.nodes : "${service}-peers-low" => {
      says    = "${service} has had fewer than ${local.watch.min_peers} peers for 15 minutes; a hint, no proof of trouble"
      metric  = ["XAI/Chain", "Peers", "Maximum"]
      of      = { Cluster = local.name, Service = service }
      period  = 300
      periods = 3
      under   = local.watch.min_peers
      missing = "notBreaching" # a node that says nothing is told by height-flat
    } if contains(keys(local.crowded_groups), own.group)
  }

  # An alarm reads at most ten metrics: itself and nine others, taken in turn, stand for the tip however large the group is.
  # https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-limits.html
  nodes_of_group = { for service, own in local.nodes : own.group => service... }
  nodes_beside = {
    for service, own in local.nodes : service => [
      for step in range(1, min(length(local.nodes_of_group[own.group]), 10)) :
      element(sort(local.nodes_of_group[own.group]), index(sort(local.nodes_of_group[own.group]), service) + step)
    ]
  }

  tip_alarms = {
    for service, own in local.nodes : "${service}-sync-lag" => {
      says = "${service} has been more than ${local.fleet.groups[own.group].limits.max_lag_blocks} blocks behind its group for 5 minutes"
      # Only while it says its own height: a missing number is 0 in an expression, and the lag would be the whole chain.
      expression = "IF(own > 0, MAX([own, ${join(", ", formatlist("other%d", range(length(local.nodes_beside[service]))))}]) - own)"
      metrics = merge(
        { own = ["XAI/Chain", "BlockHeight", "Maximum", { Cluster = local.name, Service = service }] },
        { for index, other in local.nodes_beside[service] : "other${index}" => ["XAI/Chain", "BlockHeight", "Maximum", { Cluster = local.name, Service = other }] },
      )
      period  = 60
      periods = 5
      over    = local.fleet.groups[own.group].limits.max_lag_blocks
      missing = "notBreaching"                   # a node that says nothing is told by height-flat
    } if length(local.nodes_beside[service]) > 0 # a single node has nobody to be behind
  }

  host_alarms = merge([
    for service, own in local.nodes : {
      "${service}-disk-low" = {
        says    = "Less than ${local.watch.disk_free_percent} % of the volume of ${service} has been free for 5 minutes"
        metric  = ["XAI/Chain", "DiskFreePercent", "Minimum"]
        of      = { Cluster = local.name, Service = service }
        period  = 60
        periods = 5
        under   = local.watch.disk_free_percent
        missing = "ignore" # a full volume may silence its host: what was low stays low until it is measured again
      }
      "${service}-host-disk-low" = {
        says    = "Less than ${local.watch.disk_free_percent} % of the disk of the host of ${service}, where its images and logs lie, has been free for 5 minutes"
        metric  = ["XAI/Chain", "RootDiskFreePercent", "Minimum"]
        of      = { Cluster = local.name, Service = service }
        period  = 60
        periods = 5
        under   = local.watch.disk_free_percent
        missing = "ignore" # as above
      }
      "${service}-agent-gone" = {
        says       = "ECS' agent on the host of ${service} has not answered, or the host has told nothing at all, for 5 minutes: no task is started there"
        expression = "FILL(up, 0)" # FILL: CloudWatch would wait some periods more before it calls data missing
        metrics    = { up = ["XAI/Chain", "AgentUp", "Maximum", { Cluster = local.name, Service = service }] }
        period     = 60
        periods    = 5
        under      = 1
        missing    = "breaching" # a host that says nothing is gone
      }
      "${service}-boot-failed" = {
        says    = "A host of ${service} has given up, and another one is started: the volume was held, not its own, or could not be mounted"
        metric  = ["XAI/Chain", "BootFailed", "Maximum"]
        of      = { Cluster = local.name, Service = service }
        period  = 300
        periods = 1
        over    = 0
        missing = "notBreaching" # told only by a host that gives up
      }
      "${service}-host-failing" = {
        says    = "The host of ${service} has failed its status checks for 3 minutes"
        metric  = ["AWS/EC2", "StatusCheckFailed", "Maximum"]
        of      = { AutoScalingGroupName = aws_autoscaling_group.node[service].name }
        period  = 60
        periods = 3
        over    = 0
        missing = "missing" # EC2 leaves out minutes of healthy hosts, and between two hosts there is none: neither trouble nor recovery
      }
      "${service}-volume-stalled" = {
        says    = "The volume of ${service} has completed no I/O for 5 minutes"
        metric  = ["AWS/EBS", "VolumeStalledIOCheck", "Maximum"]
        of      = { VolumeId = aws_ebs_volume.node[service].id }
        period  = 60
        periods = 5
        over    = 0
        missing = "notBreaching" # told only of an attached volume
      }
    }
  ]...)
}
