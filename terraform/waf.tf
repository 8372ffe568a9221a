# What is kept from the load balancer: addresses that ask too much, addresses of ill repute, and requests that look like attacks.
# Nodes limit each client themselves; this spares them the work, and does it for the explorer, which does not.

locals {
  # In this order after the rate limit. What is named under count is only counted: `*` is the whole group.
  managed_rules = {
    ip-reputation   = { priority = 2, group = "AWSManagedRulesAmazonIpReputationList", count = [] }
    known-bad-input = { priority = 3, group = "AWSManagedRulesKnownBadInputsRuleSet", count = [] }
    # Written for pages and forms. It stops clients without a user agent, contracts that look like scripts and bodies over 8 KB, as our
    # API has them all: the counts say what would be lost, and waf_common_blocks is for whoever has read them.
    common = { priority = 4, group = "AWSManagedRulesCommonRuleSet", count = var.waf_common_blocks ? ["SizeRestrictions_BODY"] : ["*"] }
  }
  secret_headers = ["authorization", "cookie", "x-admin-token", "x-api-key"]
}

resource "aws_wafv2_web_acl" "edge" {
  #checkov:skip=CKV_AWS_192:Log4j is in the known bad inputs of managed_rules, which checkov does not read.
  name        = "${local.name}-edge"
  description = "Before the load balancer of ${local.name}"
  scope       = "REGIONAL"

  default_action {
    allow {}
  }

  rule {
    name     = "requests-by-address"
    priority = 1

    action {
      block {
        custom_response {
          response_code = 429 # a client that behaves well then waits; 403 would tell it to give up
        }
      }
    }

    statement {
      rate_based_statement {
        limit                 = var.requests_per_five_minutes
        evaluation_window_sec = 300
        aggregate_key_type    = "IP"
      }
    }

    visibility_config {
      cloudwatch_metrics_enabled = true
      metric_name                = "requests-by-address"
      sampled_requests_enabled   = true
    }
  }

  dynamic "rule" {
    for_each = local.managed_rules

    content {
      name     = rule.key
      priority = rule.value.priority

      override_action {
        dynamic "none" {
          for_each = contains(rule.value.count, "*") ? [] : [true]
          content {}
        }
        dynamic "count" {
          for_each = contains(rule.value.count, "*") ? [true] : []
          content {}
        }
      }

      statement {
        managed_rule_group_statement {
          vendor_name = "AWS"
          name        = rule.value.group

          dynamic "rule_action_override" {
            for_each = setsubtract(rule.value.count, ["*"])

            content {
              name = rule_action_override.value

              action_to_use {
                count {}
              }
            }
          }
        }
      }

      visibility_config {
        cloudwatch_metrics_enabled = true
        metric_name                = rule.key
        sampled_requests_enabled   = true
      }
    }
  }

  visibility_config {
    cloudwatch_metrics_enabled = true
    metric_name                = "${local.name}-edge"
    sampled_requests_enabled   = true
  }

  tags = { Name = "${local.name}-edge" }
}

resource "aws_wafv2_web_acl_association" "edge" {
  resource_arn = aws_lb.edge.arn
  web_acl_arn  = aws_wafv2_web_acl.edge.arn
}

resource "aws_cloudwatch_log_group" "waf" {
  #checkov:skip=CKV_AWS_338:How long logs are kept is the stage's own choice, log_days.
  name              = "aws-waf-logs-${local.name}" # WAF takes no other beginning
  retention_in_days = var.log_days
  kms_key_id        = aws_kms_key.logs.arn
}

resource "aws_wafv2_web_acl_logging_configuration" "edge" {
  resource_arn            = aws_wafv2_web_acl.edge.arn
  log_destination_configs = [aws_cloudwatch_log_group.waf.arn]

  # What passed stands in the load balancer's access logs.
  logging_filter {
    default_behavior = "DROP"

    filter {
      behavior    = "KEEP"
      requirement = "MEETS_ANY"

      condition {
        action_condition {
          action = "BLOCK"
        }
      }
      condition {
        action_condition {
          action = "COUNT"
        }
      }
    }
  }

  # Keys of callers have no place in a log.
  dynamic "redacted_fields" {
    for_each = local.secret_headers

    content {
      single_header {
        name = redacted_fields.value
      }
    }
  }
}
