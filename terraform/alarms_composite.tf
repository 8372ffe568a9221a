# One headline over many alarms, by mail alone. The names do not begin with "<cluster>-", so that no rule of the fleet file takes them:
# each cause has its incident already, and a second one for the sum of them would be told twice.

locals {
  composites = { for name, own in {
    # All nodes of a group at once: the chain stands, and no restart of one node mends it.
    for group, nodes in local.nodes_of_group : "${local.ops_name}-chain-stands-${group}" => {
      says   = "No node of ${group} has a new block: the chain stands"
      kind   = "height_flat"
      alarms = [for node in nodes : "${node}-height-flat"]
      when   = "all"
    } } : name => own if length(own.alarms) > 1
  }
  summaries = { for name, own in {
    "${local.ops_name}-trouble-edge" = {
      says   = "The way in is in trouble: targets, load balancer, WAF, certificate or NAT"
      kind   = "api_errors"
      alarms = keys(merge(local.target_alarms, local.edge_alarms, local.nat_alarms))
      when   = "any"
    }
    "${local.ops_name}-trouble-data" = {
      says = "Database or cache are short of CPU, memory, disk or connections"
      kind = "db_connections"
      alarms = [
        for name in keys(merge(local.database_alarms, local.cache_alarms)) : name
        if can(regex("-(cpu-high|memory-high|disk-low|connections-high)$", name))
      ]
      when = "any"
    }
    "${local.ops_name}-trouble-backups" = {
      says   = "Backups or their copies are missing or fail"
      kind   = "alarm"
      alarms = keys(local.backup_alarms)
      when   = "any"
    }
    # For this one mail is the point: who would open the ticket does not run.
    "${local.ops_name}-unattended" = {
      says = "The fleet is unattended: our own schedule, ticks, handlers or events do not get through"
      kind = "tick_failed"
      alarms = [
        for condition in ["schedule-silent", "sweep-silent", "dead-letters", "ticks-late", "handlers-failing", "incidents-failing", "table-failing"] :
        "${local.ops}-${condition}"
      ]
      when = "any"
    } } : name => own if length(own.alarms) > 0
  }
}

resource "aws_cloudwatch_composite_alarm" "headline" {
  for_each = merge(local.composites, local.summaries)

  alarm_name        = each.key
  alarm_description = "${each.value.says}. ${var.runbooks_url}/${each.value.kind}.md"
  alarm_rule        = join(each.value.when == "all" ? " AND " : " OR ", [for name in sort(each.value.alarms) : "ALARM(\"${name}\")"])
  alarm_actions     = [aws_sns_topic.alerts.arn]
  ok_actions        = [aws_sns_topic.alerts.arn]

  lifecycle {
    precondition {
      condition     = length(each.value.alarms) <= 100
      error_message = "${each.key} would stand over ${length(each.value.alarms)} alarms; CloudWatch allows 100. Split its row in alarms_composite.tf."
    }
  }

  # A rule may only name alarms that exist.
  depends_on = [aws_cloudwatch_metric_alarm.measured, aws_cloudwatch_metric_alarm.computed]
}
