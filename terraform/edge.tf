# How the world reaches the groups of public_hosts: one load balancer, HTTPS only, a host name for each group. The explorer serves
# "/", so paths could not tell groups apart. What WAF keeps out stands in waf.tf.

locals {
  certificate_arn = var.certificate_arn != null ? var.certificate_arn : aws_acm_certificate_validation.edge[0].certificate_arn
  host_names      = { for group in keys(local.public_groups) : group => "${var.public_hosts[group]}.${var.domain}" }
}

resource "aws_lb" "edge" {
  #checkov:skip=CKV2_AWS_76:Log4j is in the known bad inputs of waf.tf's managed_rules, which checkov does not read.
  name                       = "${local.name}-edge"
  load_balancer_type         = "application"
  subnets                    = values(local.public_subnets)
  security_groups            = [aws_security_group.alb.id]
  drop_invalid_header_fields = true
  desync_mitigation_mode     = "defensive"
  enable_deletion_protection = var.protect_data
  idle_timeout               = 60

  access_logs {
    enabled = true
    bucket  = aws_s3_bucket.access_logs.id
    prefix  = "edge"
  }

  tags = { Name = "${local.name}-edge" }

  depends_on = [aws_s3_bucket_policy.access_logs] # AWS writes a trial object when logs are turned on

  lifecycle {
    precondition {
      condition     = length("${local.name}-edge") <= 32
      error_message = "The load balancer would be called ${local.name}-edge, ${length("${local.name}-edge")} characters; AWS allows 32. Give the cluster of ${local.fleet_file} a shorter name."
    }
  }
}

resource "aws_lb_listener" "http" {
  load_balancer_arn = aws_lb.edge.arn
  port              = 80
  protocol          = "HTTP"

  default_action {
    type = "redirect"

    redirect {
      port        = "443"
      protocol    = "HTTPS"
      status_code = "HTTP_301"
    }
  }
}

resource "aws_lb_listener" "https" {
  load_balancer_arn = aws_lb.edge.arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09" # what AWS recommends: TLS 1.3 and 1.2 with forward secrecy
  certificate_arn   = local.certificate_arn

  routing_http_response_server_enabled                         = false
  routing_http_response_strict_transport_security_header_value = "max-age=31536000"

  # A request for no host of ours, as scanners send them.
  default_action {
    type = "fixed-response"

    fixed_response {
      status_code  = "404"
      content_type = "text/plain"
      message_body = "There is nothing under this name."
    }
  }
}

# What a node says to operators alone: they reach it from inside.
resource "aws_lb_listener_rule" "hidden" {
  for_each = { for group, settings in local.public_groups : group => settings if settings.kind == "node" && length(var.hidden_paths) > 0 }

  listener_arn = aws_lb_listener.https.arn

  action {
    type = "fixed-response"

    fixed_response {
      status_code  = "404"
      content_type = "text/plain"
      message_body = "There is nothing under this name."
    }
  }

  condition {
    host_header {
      values = [local.host_names[each.key]]
    }
  }
  condition {
    path_pattern {
      values = var.hidden_paths
    }
  }

  tags = { Name = "${local.name}-${each.key}-hidden" }
}

# Without a priority AWS' next free one is taken: hosts exclude each other, so their order means nothing, and a new group moves no rule.
resource "aws_lb_listener_rule" "group" {
  for_each = local.public_groups

  listener_arn = aws_lb_listener.https.arn

  action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.group[each.key].arn
  }

  condition {
    host_header {
      values = [local.host_names[each.key]]
    }
  }

  tags = { Name = "${local.name}-${each.key}" }

  lifecycle {
    # Another port is another target group, and a rule would hold the old one back.
    replace_triggered_by = [aws_lb_target_group.group[each.key].port]
  }

  depends_on = [aws_lb_listener_rule.hidden] # the earlier rule comes first
}

resource "aws_lb_target_group" "group" {
  #checkov:skip=CKV_AWS_378:Nodes and explorers speak plain HTTP; TLS ends at the load balancer, and only its group may call them.
  for_each = local.public_groups

  name                 = "${local.name}-${each.key}"
  vpc_id               = local.vpc_id
  target_type          = "ip"
  protocol             = "HTTP"
  port                 = each.value.port
  deregistration_delay = 30 # requests here last seconds, and a node is told to stop only when this is over
  # No slow start: with a target or two there is nobody else to take the rest.

  # ECS replaces a task that fails this. So it asks whether the task itself lives, never /health: that is 503 on a node without peers
  # and on an explorer whose node is down, and restarts would make both worse. A node gets two minutes, for it may be busy with a block.
  health_check {
    path                = each.value.liveness
    matcher             = "200"
    interval            = 15
    timeout             = 10
    healthy_threshold   = 2
    unhealthy_threshold = each.value.kind == "node" ? 8 : 4
  }

  tags = { Name = "${local.name}-${each.key}" }

  lifecycle {
    precondition {
      condition     = can(regex("^[A-Za-z0-9-]{1,32}$", "${local.name}-${each.key}"))
      error_message = "The target group of ${each.key} would be called ${local.name}-${each.key}, ${length("${local.name}-${each.key}")} characters; AWS allows 32, of letters, digits and hyphens. Alarms find it by that name: shorten the group's name or the cluster's in ${local.fleet_file}."
    }
  }
}

# ---- certificate

resource "aws_acm_certificate" "edge" {
  count = var.certificate_arn == null ? 1 : 0

  domain_name               = var.domain
  subject_alternative_names = ["*.${var.domain}"]
  validation_method         = "DNS"

  tags = { Name = var.domain }

  lifecycle {
    create_before_destroy = true # a listener holds the old one until it has the new one
  }
}

# The domain and its wildcard are proven by the same record.
resource "aws_route53_record" "certificate" {
  count = var.certificate_arn == null ? 1 : 0

  zone_id         = var.hosted_zone_id
  name            = one([for proof in aws_acm_certificate.edge[0].domain_validation_options : proof.resource_record_name if proof.domain_name == var.domain])
  type            = one([for proof in aws_acm_certificate.edge[0].domain_validation_options : proof.resource_record_type if proof.domain_name == var.domain])
  records         = [one([for proof in aws_acm_certificate.edge[0].domain_validation_options : proof.resource_record_value if proof.domain_name == var.domain])]
  ttl             = 300
  allow_overwrite = true # an earlier certificate of this account and domain left the same record
}

resource "aws_acm_certificate_validation" "edge" {
  count = var.certificate_arn == null ? 1 : 0

  certificate_arn         = aws_acm_certificate.edge[0].arn
  validation_record_fqdns = [aws_route53_record.certificate[0].fqdn]
}

# ---- names

resource "aws_route53_record" "group" {
  for_each = var.hosted_zone_id == null ? {} : local.host_names

  zone_id = var.hosted_zone_id
  name    = each.value
  type    = "A"

  alias {
    name                   = aws_lb.edge.dns_name
    zone_id                = aws_lb.edge.zone_id
    evaluate_target_health = true
  }
}
