# What alarms are made of: the topics, and the one table that alarms_*.tf fill, a row for each alarm. Its name is what the fleet file's
# rules (incidents.alarms) and bound alarms (services.*.alarms) know it by; the rule that takes it also says which runbook it links.
#
# says       one sentence with the number, for people
# metric     [namespace, name, statistic], and `of` its dimensions; or an expression over `metrics`, each [namespace, name, statistic, dimensions]
# period     seconds, how many `periods`, and how many of these must be bad (`bad`, unless all)
# over/under the threshold: of the fleet file, where it is one of its numbers
# missing    what no data means (treat_missing_data), each with its reason

locals {
  alarms = merge(
    local.service_alarms, local.chain_alarms, local.peer_alarms, local.tip_alarms, local.host_alarms,
    local.target_alarms, local.edge_alarms, local.nat_alarms,
    local.database_alarms, local.cache_alarms, local.backup_alarms,
    local.own_alarms,
  )
  measured_alarms = { for name, alarm in local.alarms : name => alarm if !contains(keys(alarm), "expression") }
  computed_alarms = { for name, alarm in local.alarms : name => alarm if contains(keys(alarm), "expression") }

  # The first rule that matches decides, as in the functions.
  kinds = { for name in keys(local.alarms) : name => try([for rule in local.fleet.incidents.alarms : rule.kind if can(regex("^(?:${rule.match})$", name))][0], null) }
  descriptions = {
    for name, alarm in local.alarms : name => "${alarm.says}. ${var.runbooks_url}/${coalesce(local.kinds[name], "alarm")}.md"
  }

  bound_alarms   = toset(flatten([for own in values(local.services) : own.alarms]))
  unbuilt_alarms = sort(setsubtract(local.bound_alarms, keys(local.alarms)))
  service_conditions = sort(distinct(flatten([
    for service in keys(local.services) : [for name in keys(local.alarms) : trimprefix(name, "${service}-") if startswith(name, "${service}-")]
  ])))

  # Incidents are opened by EventBridge and our functions, whatever an alarm's actions are. So a mail for each alarm would only say the same
  # again, a hundred times on a bad day: mailed are headlines, and what may keep ourselves from opening incidents.
  topics_of_alarms = { for name in keys(local.alarms) : name => contains(keys(local.own_alarms), name) ? aws_sns_topic.alerts.arn : aws_sns_topic.alarms.arn }

  # A group of one has no peers of ours; what it finds outside is luck.
  crowded_groups = { for group, nodes in local.nodes_of_group : group => length(nodes) if length(nodes) > 1 }

  # A rate of one failure among three calls says nothing, and a floor of *calls* would hide a quiet service that fails all of its few. So
  # the floor is of errors.
  fewest_errors = 5
}

resource "terraform_data" "alarms" {
  lifecycle {
    precondition {
      condition     = length(local.unbuilt_alarms) == 0
      error_message = "${local.fleet_file} binds ${join(", ", local.unbuilt_alarms)} to services, and no such alarm is built: rollouts would wait for it for ever. Allowed: <service>-<condition> with ${join(", ", local.service_conditions)}; ${local.name}-<container>-<condition> with 5xx, latency-high, unhealthy, no-target for the groups of public_hosts (${join(", ", keys(local.public_groups))})."
    }
    precondition {
      condition     = alltrue([for kind in values(local.kinds) : kind != null])
      error_message = "No rule of incidents.alarms in ${local.fleet_file} matches ${join(", ", [for name, kind in local.kinds : name if kind == null])}: these would open no incident. Add a last rule that matches '${local.name}-(?P<resource>.+)'."
    }
    precondition {
      condition     = local.watch.height_flat_seconds % 60 == 0 && local.watch.height_flat_seconds <= 86400
      error_message = "watch.height_flat_seconds of ${local.fleet_file} is ${local.watch.height_flat_seconds}; allowed: a multiple of 60 up to 86400 (CloudWatch's own)."
    }
    precondition {
      condition     = local.watch.backup_max_age_seconds % 60 == 0 && local.watch.backup_max_age_seconds <= 86400
      error_message = "watch.backup_max_age_seconds of ${local.fleet_file} is ${local.watch.backup_max_age_seconds}; allowed: a multiple of 60 up to 86400, the longest in which CloudWatch counts backups together."
    }
    precondition {
      condition     = alltrue([for nodes in values(local.crowded_groups) : local.watch.min_peers < nodes])
      error_message = "watch.min_peers of ${local.fleet_file} is ${local.watch.min_peers}, and a node cannot count on more peers than the others of its group: ${join(", ", [for group, nodes in local.crowded_groups : "${group} has ${nodes} nodes" if local.watch.min_peers >= nodes])}. Allowed: less than the nodes of each group that has more than one."
    }
    precondition {
      condition     = var.database == null || local.database_memory_gib != null
      error_message = "database.instance_class is ${try(var.database.instance_class, "null")}, whose memory is not known here, so neither is how many connections it takes; known: ${join(", ", sort(keys(local.memory_gib_of_class)))}. Add it in alarms_data.tf."
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "measured" {
  for_each = local.measured_alarms

  alarm_name          = each.key
  alarm_description   = local.descriptions[each.key]
  namespace           = each.value.metric[0]
  metric_name         = each.value.metric[1]
  statistic           = startswith(each.value.metric[2], "p") ? null : each.value.metric[2]
  extended_statistic  = startswith(each.value.metric[2], "p") ? each.value.metric[2] : null
  dimensions          = each.value.of
  period              = each.value.period
  evaluation_periods  = each.value.periods
  datapoints_to_alarm = try(each.value.bad, each.value.periods)
  comparison_operator = can(each.value.over) ? "GreaterThanThreshold" : "LessThanThreshold"
  threshold           = try(each.value.over, each.value.under)
  treat_missing_data  = each.value.missing
  # A percentile of a handful of calls is one call.
  evaluate_low_sample_count_percentiles = startswith(each.value.metric[2], "p") ? "ignore" : null
  alarm_actions                         = [local.topics_of_alarms[each.key]]
  ok_actions                            = [local.topics_of_alarms[each.key]]
}

resource "aws_cloudwatch_metric_alarm" "computed" {
  for_each = local.computed_alarms

  alarm_name          = each.key
  alarm_description   = local.descriptions[each.key]
  evaluation_periods  = each.value.periods
  datapoints_to_alarm = try(each.value.bad, each.value.periods)
  comparison_operator = can(each.value.over) ? "GreaterThanThreshold" : "LessThanThreshold"
  threshold           = try(each.value.over, each.value.under)
  treat_missing_data  = each.value.missing
  alarm_actions       = [local.topics_of_alarms[each.key]]
  ok_actions          = [local.topics_of_alarms[each.key]]

  metric_query {
    id          = "watched"
    label       = each.key
    expression  = each.value.expression
    period      = length(each.value.metrics) == 0 ? each.value.period : null # a query over all metrics of a schema has none of its own
    return_data = true
  }

  dynamic "metric_query" {
    for_each = each.value.metrics

    content {
      id = metric_query.key

      metric {
        namespace   = metric_query.value[0]
        metric_name = metric_query.value[1]
        stat        = metric_query.value[2]
        dimensions  = metric_query.value[3]
        period      = each.value.period
      }
    }
  }
}

# ---- who hears of it

# Each single alarm, for machines and for your own subscribers; nobody is mailed.
resource "aws_sns_topic" "alarms" {
  name              = "${local.ops_name}-alarms"
  kms_master_key_id = aws_kms_key.ops.arn
}

# What people are mailed: headlines, our own operations, backups that failed, the budget.
resource "aws_sns_topic" "alerts" {
  name              = "${local.ops_name}-alerts"
  kms_master_key_id = aws_kms_key.ops.arn
}

# What the fleet file's trackers of type sns write to: incidents, not alarms.
resource "aws_sns_topic" "incidents" {
  name              = "${local.ops_name}-incidents"
  kms_master_key_id = aws_kms_key.ops.arn
}

data "aws_iam_policy_document" "topic" {
  for_each = {
    alarms    = { arn = aws_sns_topic.alarms.arn, publishers = ["cloudwatch"] }
    alerts    = { arn = aws_sns_topic.alerts.arn, publishers = ["cloudwatch", "events", "backup", "budgets"] }
    incidents = { arn = aws_sns_topic.incidents.arn, publishers = [] } # the functions' own policies let them publish
  }

  dynamic "statement" {
    for_each = toset(each.value.publishers)

    content {
      sid       = "Publish${title(statement.value)}"
      actions   = ["sns:Publish"]
      resources = [each.value.arn]

      principals {
        type        = "Service"
        identifiers = ["${statement.value}.amazonaws.com"]
      }

      # EventBridge and Backup do not say for which account they speak: a condition would refuse all that they tell.
      # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html
      dynamic "condition" {
        for_each = contains(["events", "backup"], statement.value) ? [] : [local.account_id]

        content {
          test     = "StringEquals"
          variable = "aws:SourceAccount"
          values   = [condition.value]
        }
      }
    }
  }

  statement {
    sid       = "OnlyOverTls"
    effect    = "Deny"
    actions   = ["sns:Publish"]
    resources = [each.value.arn]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_sns_topic_policy" "alarms" {
  arn    = aws_sns_topic.alarms.arn
  policy = data.aws_iam_policy_document.topic["alarms"].json
}

resource "aws_sns_topic_policy" "alerts" {
  arn    = aws_sns_topic.alerts.arn
  policy = data.aws_iam_policy_document.topic["alerts"].json
}

resource "aws_sns_topic_policy" "incidents" {
  arn    = aws_sns_topic.incidents.arn
  policy = data.aws_iam_policy_document.topic["incidents"].json
}

resource "aws_sns_topic_subscription" "alert_email" {
  for_each = var.alert_emails

  topic_arn = aws_sns_topic.alerts.arn
  protocol  = "email"
  endpoint  = each.value
}

# The fallback of the trackers speaks here when they are down: the same people must hear it.
resource "aws_sns_topic_subscription" "incident_email" {
  for_each = var.alert_emails

  topic_arn = aws_sns_topic.incidents.arn
  protocol  = "email"
  endpoint  = each.value
}
