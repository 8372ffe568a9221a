# Who may speak with whom. Each conversation is one row: from it follow the caller's rule and the listener's, so that neither can be
# forgotten, and no rule names addresses where it can name a group. Ports are those of the fleet file.

resource "aws_security_group" "alb" {
  name        = "${local.name}-alb"
  description = "The load balancer: the world comes in here and nowhere else"
  vpc_id      = local.vpc_id

  tags = { Name = "${local.name}-alb" }
}

resource "aws_security_group" "node" {
  #checkov:skip=CKV2_AWS_5:The nodes' services hold it.
  name        = "${local.name}-node"
  description = "Tasks of the chain nodes"
  vpc_id      = local.vpc_id

  tags = { Name = "${local.name}-node" }
}

# The instances have one of their own: a task's interface is not its host's. No way in, not even SSH: people come by SSM.
resource "aws_security_group" "host" {
  #checkov:skip=CKV2_AWS_5:The nodes' launch templates hold it.
  name        = "${local.name}-host"
  description = "Instances that carry the chain nodes"
  vpc_id      = local.vpc_id

  tags = { Name = "${local.name}-host" }
}

resource "aws_security_group" "web" {
  #checkov:skip=CKV2_AWS_5:The web services hold it.
  for_each = local.web_ports

  name        = "${local.name}-web-${each.key}"
  description = "Tasks of the group ${each.key}"
  vpc_id      = local.vpc_id

  tags = { Name = "${local.name}-web-${each.key}" }
}

resource "aws_security_group" "lambdas" {
  #checkov:skip=CKV2_AWS_5:The functions hold it, which chalice deploys.
  name        = "${local.name}-lambdas"
  description = "The functions of xai-ops"
  vpc_id      = local.vpc_id

  tags = { Name = "${local.name}-lambdas" }
}

resource "aws_security_group" "database" {
  #checkov:skip=CKV2_AWS_5:The Aurora cluster holds it, in stages that have one.
  name        = "${local.name}-database"
  description = "The Aurora cluster"
  vpc_id      = local.vpc_id

  tags = { Name = "${local.name}-database" }
}

resource "aws_security_group" "cache" {
  #checkov:skip=CKV2_AWS_5:The Redis group holds it, in stages that have one.
  name        = "${local.name}-cache"
  description = "The Redis replication group"
  vpc_id      = local.vpc_id

  tags = { Name = "${local.name}-cache" }
}

# Made in an existing network too: its owner may give it to the endpoints there.
resource "aws_security_group" "endpoints" {
  name        = "${local.name}-endpoints"
  description = "Interface endpoints of AWS services"
  vpc_id      = local.vpc_id

  tags = { Name = "${local.name}-endpoints" }
}

locals {
  web_ports  = { for group, settings in local.fleet.groups : group => settings.port if settings.kind == "http" }
  node_ports = distinct([for settings in values(local.fleet.groups) : settings.port if settings.kind == "node"])

  web_groups = { for group in keys(local.web_ports) : group => "web-${group}" }
  callers    = concat(["host", "lambdas", "node"], values(local.web_groups)) # what runs code, and so needs AWS

  security_groups = merge(
    {
      alb       = aws_security_group.alb.id
      cache     = aws_security_group.cache.id
      database  = aws_security_group.database.id
      endpoints = aws_security_group.endpoints.id
      host      = aws_security_group.host.id
      lambdas   = aws_security_group.lambdas.id
      node      = aws_security_group.node.id
    },
    { for group, name in local.web_groups : name => aws_security_group.web[group].id },
  )

  conversations = { for row in distinct(flatten([
    [for group, settings in local.public_groups : { from = "alb", to = lookup(local.web_groups, group, "node"), port = settings.port }],
    # Rollouts and sweeps ask nodes, explorers show them, Prometheus scrapes them, a node asks its peers, and its host publishes its metrics.
    [for port in local.node_ports : [for caller in local.callers : { from = caller, to = "node", port = port }]],
    [{ from = "node", to = "node", port = local.p2p_port }],
    # Liveness of web services, and monitoring: Prometheus scrapes them, Grafana reads Prometheus.
    [for group, port in local.web_ports : { from = "lambdas", to = local.web_groups[group], port = port }],
    [for group, port in local.web_ports : [for caller in values(local.web_groups) : { from = caller, to = local.web_groups[group], port = port } if caller != local.web_groups[group]]],
    # Nodes use neither: their image would only wait for them at its start.
    [for caller in values(local.web_groups) : { from = caller, to = "database", port = 5432 } if var.database != null],
    [for caller in values(local.web_groups) : { from = caller, to = "cache", port = 6379 } if var.cache != null],
    [for caller in local.callers : { from = caller, to = "endpoints", port = 443 }],
  ])) : "${row.from} to ${row.to} on ${row.port}" => row }

  # AWS without an endpoint, ticket systems and registries, by names whose addresses nobody can list; and peers anywhere.
  world_out = merge(
    { for caller in local.callers : "${caller} to the world on 443" => { from = caller, port = 443 } },
    { "node to the world on ${local.p2p_port}" = { from = "node", port = local.p2p_port } },
  )
}

resource "aws_vpc_security_group_egress_rule" "conversation" {
  for_each = local.conversations

  security_group_id            = local.security_groups[each.value.from]
  referenced_security_group_id = local.security_groups[each.value.to]
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
  description                  = each.key
}

resource "aws_vpc_security_group_ingress_rule" "conversation" {
  for_each = local.conversations

  security_group_id            = local.security_groups[each.value.to]
  referenced_security_group_id = local.security_groups[each.value.from]
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
  description                  = each.key
}

resource "aws_vpc_security_group_egress_rule" "world" {
  for_each = local.world_out

  security_group_id = local.security_groups[each.value.from]
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port
  description       = each.key
}

resource "aws_vpc_security_group_ingress_rule" "world" {
  #checkov:skip=CKV_AWS_260:Port 80 answers with a redirect to HTTPS and nothing else.
  for_each = { http = 80, https = 443 }

  security_group_id = aws_security_group.alb.id
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = each.value
  to_port           = each.value
  description       = "the world to alb on ${each.value}"
}
