# What the stage may cost in a month, told before it is spent. The stage that owns the account counts all of it; another counts what is
# tagged as its own, which AWS does only after somebody has made `environment` a cost allocation tag in the account's billing.

resource "aws_budgets_budget" "month" {
  name         = "${local.ops_name}-month"
  budget_type  = "COST"
  time_unit    = "MONTHLY"
  limit_amount = tostring(var.monthly_budget_usd)
  limit_unit   = "USD"

  dynamic "cost_filter" {
    for_each = var.account_wide ? [] : [format("user:environment$%s", var.environment)]

    content {
      name   = "TagKeyValue"
      values = [cost_filter.value]
    }
  }

  notification {
    notification_type          = "ACTUAL"
    comparison_operator        = "GREATER_THAN"
    threshold                  = 80
    threshold_type             = "PERCENTAGE"
    subscriber_sns_topic_arns  = [aws_sns_topic.alerts.arn]
    subscriber_email_addresses = [] # those of alert_emails are subscribed to the topic
  }

  notification {
    notification_type         = "FORECASTED"
    comparison_operator       = "GREATER_THAN"
    threshold                 = 100
    threshold_type            = "PERCENTAGE"
    subscriber_sns_topic_arns = [aws_sns_topic.alerts.arn]
  }

  # Budgets asks at once whether it may publish.
  depends_on = [aws_sns_topic_policy.alerts]
}
