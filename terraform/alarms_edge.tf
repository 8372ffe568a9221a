# Alarms on the way in and out: target groups, load balancer, WAF, certificate, NAT. A target group's metrics have both dimensions,
# LoadBalancer and TargetGroup; with one alone there is no data.

locals {
  target_alarms = merge([
    for group, settings in local.public_groups : {
      "${local.name}-${settings.container}-5xx" = {
        says       = "More than ${local.watch.api_error_percent} % of the answers of ${group} have been errors for 5 minutes"
        expression = "IF(errors >= ${local.fewest_errors}, 100 * errors / requests, 0)"
        metrics = {
          errors   = ["AWS/ApplicationELB", "HTTPCode_Target_5XX_Count", "Sum", local.target_dimensions[group]]
          requests = ["AWS/ApplicationELB", "RequestCount", "Sum", local.target_dimensions[group]]
        }
        period  = 300
        periods = 1
        over    = local.watch.api_error_percent
        missing = "notBreaching" # no requests, no errors
      }
      "${local.name}-${settings.container}-latency-high" = {
        says    = "One in twenty answers of ${group} has taken more than ${local.watch.latency_seconds} seconds for 15 minutes"
        metric  = ["AWS/ApplicationELB", "TargetResponseTime", "p95"]
        of      = local.target_dimensions[group]
        period  = 300
        periods = 3
        over    = local.watch.latency_seconds
        missing = "notBreaching" # no requests, no waiting
      }
      "${local.name}-${settings.container}-unhealthy" = {
        says    = "A target of ${group} has failed its health check for 5 minutes"
        metric  = ["AWS/ApplicationELB", "UnHealthyHostCount", "Maximum"]
        of      = local.target_dimensions[group]
        period  = 60
        periods = 5
        over    = 0
        missing = "notBreaching" # no target at all is no-target's to tell
      }
      "${local.name}-${settings.container}-no-target" = {
        says       = "${group} has had no healthy target for 3 minutes: nobody is served"
        expression = "FILL(healthy, 0)" # without any registered target there is no number
        metrics    = { healthy = ["AWS/ApplicationELB", "HealthyHostCount", "Maximum", local.target_dimensions[group]] }
        period     = 60
        periods    = 3
        under      = 1
        missing    = "breaching" # a public group without a target serves nobody
      }
    }
  ]...)
  target_dimensions = {
    for group in keys(local.public_groups) : group => {
      LoadBalancer = aws_lb.edge.arn_suffix
      TargetGroup  = aws_lb_target_group.group[group].arn_suffix
    }
  }

  edge_alarms = {
    "${local.name}-edge-5xx" = {
      says       = "The load balancer itself has answered more than ${local.watch.api_error_percent} % of requests with an error for 5 minutes: no target took them"
      expression = "IF(errors >= ${local.fewest_errors}, 100 * errors / (errors + requests), 0)" # RequestCount leaves out what no target was found for
      metrics = {
        errors   = ["AWS/ApplicationELB", "HTTPCode_ELB_5XX_Count", "Sum", { LoadBalancer = aws_lb.edge.arn_suffix }]
        requests = ["AWS/ApplicationELB", "RequestCount", "Sum", { LoadBalancer = aws_lb.edge.arn_suffix }]
      }
      period  = 300
      periods = 1
      over    = local.watch.api_error_percent
      missing = "notBreaching" # no requests, no errors
    }
    "${local.name}-edge-connections-rejected" = {
      says    = "The load balancer has refused connections, because it had too many, for 5 minutes"
      metric  = ["AWS/ApplicationELB", "RejectedConnectionCount", "Sum"]
      of      = { LoadBalancer = aws_lb.edge.arn_suffix }
      period  = 300
      periods = 1
      over    = 0
      missing = "notBreaching" # told only when there are any
    }
    "${local.name}-edge-flood" = {
      says    = "WAF has blocked more than ${var.requests_per_five_minutes} requests in 5 minutes, what it allows one address"
      metric  = ["AWS/WAFV2", "BlockedRequests", "Sum"]
      of      = { WebACL = aws_wafv2_web_acl.edge.visibility_config[0].metric_name, Rule = "ALL", Region = local.fleet.region }
      period  = 300
      periods = 1
      over    = var.requests_per_five_minutes
      missing = "notBreaching" # told only when there are any
    }
    "${local.name}-edge-certificate-old" = {
      says    = "The certificate of *.${var.domain} ends in less than 30 days, and ACM has not renewed it"
      metric  = ["AWS/CertificateManager", "DaysToExpiry", "Minimum"]
      of      = { CertificateArn = aws_lb_listener.https.certificate_arn }
      period  = 86400
      periods = 1
      under   = 30       # ACM renews 60 days before the end, and then tries for a month
      missing = "ignore" # of an expired certificate nothing more is told: that must not read as recovery
    }
  }

  nat_alarms = merge([
    for zone, gateway in aws_nat_gateway.zone : {
      "${local.name}-nat-${zone}-ports-exhausted" = {
        says    = "The NAT gateway of zone ${zone} has had no free port for new connections for 5 minutes"
        metric  = ["AWS/NATGateway", "ErrorPortAllocation", "Sum"]
        of      = { NatGatewayId = gateway.id }
        period  = 300
        periods = 1
        over    = 0
        missing = "notBreaching" # an idle gateway tells little
      }
      "${local.name}-nat-${zone}-packets-dropped" = {
        says       = "The NAT gateway of zone ${zone} has dropped more than 0.01 % of its packets for 15 minutes"
        expression = "100 * dropped / (inside + outside)"
        metrics = {
          dropped = ["AWS/NATGateway", "PacketsDropCount", "Sum", { NatGatewayId = gateway.id }]
          inside  = ["AWS/NATGateway", "PacketsInFromSource", "Sum", { NatGatewayId = gateway.id }]
          outside = ["AWS/NATGateway", "PacketsInFromDestination", "Sum", { NatGatewayId = gateway.id }]
        }
        period  = 300
        periods = 3
        over    = 0.01           # above it AWS sees a fault of the service: https://docs.aws.amazon.com/vpc/latest/userguide/vpc-nat-gateway-cloudwatch.html
        missing = "notBreaching" # no packets, none dropped
      }
    }
  ]...)
}
