# What somebody has already is used and left alone: a network, the cluster that the fleet file names, a certificate, and what an account
# has once.

mock_provider "aws" {
  source = "./tests/mocks"
}

mock_provider "aws" {
  alias  = "replica"
  source = "./tests/mocks"
}

variables {
  environment        = "staging"
  domain             = "staging.xai.example.org"
  certificate_arn    = "arn:aws:acm:us-east-1:123456789012:certificate/0b1c2d3e"
  public_hosts       = { nodes = "api", explorers = "explorer" }
  node               = { instance_type = "m6i.large", volume_gib = 20, memory_mib = 3072, cpu_units = 768 }
  web                = { explorers = {} }
  first_images       = { nodes = "1.0.0", explorers = "1.0.0" }
  monthly_budget_usd = 1
  zones              = ["a", "b"]
  existing_network = {
    vpc_id          = "vpc-0aaa"
    public_subnets  = { a = "subnet-0a", b = "subnet-0b" }
    private_subnets = { a = "subnet-1a", b = "subnet-1b" }
  }
}

override_data {
  target = data.aws_vpc.existing
  values = { id = "vpc-0aaa", cidr_block = "172.16.0.0/16" }
}

override_data {
  target = data.aws_subnet.existing["public a"]
  values = { vpc_id = "vpc-0aaa", availability_zone = "us-east-1a" }
}

override_data {
  target = data.aws_subnet.existing["private a"]
  values = { vpc_id = "vpc-0aaa", availability_zone = "us-east-1a" }
}

override_data {
  target = data.aws_subnet.existing["public b"]
  values = { vpc_id = "vpc-0aaa", availability_zone = "us-east-1b" }
}

override_data {
  target = data.aws_subnet.existing["private b"]
  values = { vpc_id = "vpc-0aaa", availability_zone = "us-east-1b" }
}

override_data {
  target = data.aws_ecs_cluster.existing
  values = { arn = "arn:aws:ecs:us-east-1:123456789012:cluster/xai-staging" }
}

run "an_existing_network_is_used" {
  command = plan

  assert {
    condition     = length(concat(aws_vpc.fleet, aws_internet_gateway.fleet, aws_default_security_group.closed, aws_flow_log.fleet)) == 0
    error_message = "No network is made, and the owner's default security group and flow logs stay as they are."
  }
  assert {
    condition     = length(merge(aws_subnet.public, aws_subnet.private, aws_nat_gateway.zone, aws_eip.nat)) == 0
    error_message = "No subnet and no way out is made."
  }
  assert {
    condition     = length(aws_route_table.public) + length(aws_route_table.private) + length(aws_route.internet) + length(aws_route.nat) == 0
    error_message = "No route is made."
  }
  assert {
    condition     = length(aws_vpc_endpoint.gateway) + length(aws_vpc_endpoint.interface) == 0
    error_message = "No endpoint is made."
  }
  assert {
    condition     = alltrue([for group in [aws_security_group.alb, aws_security_group.node, aws_security_group.host, aws_security_group.lambdas] : group.vpc_id == "vpc-0aaa"])
    error_message = "Security groups are made in it."
  }
  assert {
    condition     = aws_lb.edge.subnets == toset(["subnet-0a", "subnet-0b"])
    error_message = "The load balancer stands in its public subnets."
  }
  assert {
    condition     = aws_ecs_service.web["xai-staging-explorer-1"].network_configuration[0].subnets == toset(["subnet-1a", "subnet-1b"])
    error_message = "Web services run in its private subnets."
  }
  assert {
    condition = alltrue([
      for service, volume in aws_ebs_volume.node :
      aws_autoscaling_group.node[service].vpc_zone_identifier == toset([{ us-east-1a = "subnet-1a", us-east-1b = "subnet-1b" }[volume.availability_zone]]) &&
      aws_ecs_service.node[service].network_configuration[0].subnets == aws_autoscaling_group.node[service].vpc_zone_identifier
    ])
    error_message = "A node's host and task have one subnet: that of the zone in which its volume is."
  }
  assert {
    condition     = length(distinct([for volume in aws_ebs_volume.node : volume.availability_zone])) == 2
    error_message = "Nodes are spread over its zones."
  }
  assert {
    condition     = output.vpc_id == "vpc-0aaa" && output.private_subnets == tomap({ a = "subnet-1a", b = "subnet-1b" })
    error_message = "Outputs name it."
  }
  assert {
    condition = alltrue([for own in aws_ecs_task_definition.node : contains(
      [for entry in jsondecode(own.container_definitions)[0].environment : "${entry.name}=${entry.value}"], "XAI_TRUSTED_PROXY_NETWORKS=172.16.0.0/16",
    )])
    error_message = "Nodes trust proxies of its addresses."
  }
  assert {
    condition     = length(aws_acm_certificate.edge) == 0 && length(aws_route53_record.group) == 0 && aws_lb_listener.https.certificate_arn == var.certificate_arn
    error_message = "With a certificate of the owner's and no zone, none is ordered and no name is written."
  }
  assert {
    condition     = length(aws_ecs_cluster.fleet) == 1
    error_message = "The cluster is made here, unless create_cluster is false."
  }
}

run "an_existing_cluster_and_what_an_account_has_once_are_used" {
  command = plan

  variables {
    create_cluster    = false
    account_wide      = false
    github_repository = "xai-blockchain/xai-ops"
  }

  assert {
    condition     = length(aws_ecs_cluster.fleet) == 0
    error_message = "No cluster is made."
  }
  assert {
    condition     = alltrue([for own in merge(aws_ecs_service.node, aws_ecs_service.web) : own.cluster == "arn:aws:ecs:us-east-1:123456789012:cluster/xai-staging"])
    error_message = "Services run in the one that the fleet file names."
  }
  assert {
    condition     = output.cluster_arn == "arn:aws:ecs:us-east-1:123456789012:cluster/xai-staging"
    error_message = "Outputs name it."
  }
  assert {
    condition     = length(aws_cloudtrail.account) == 0 && length(aws_s3_bucket.trail) == 0
    error_message = "No second trail is made."
  }
  assert {
    condition     = length(aws_iam_openid_connect_provider.github) == 0 && length(aws_iam_role.ci) == 1
    error_message = "CI's role uses the identity provider that is there."
  }
  assert {
    condition     = one(aws_budgets_budget.month.cost_filter).values == tolist(["user:environment$staging"])
    error_message = "The budget counts what is tagged as this stage's."
  }
}

run "a_subnet_in_another_zone_than_its_letter_says" {
  command = plan

  override_data {
    target = data.aws_subnet.existing["private b"]
    values = { vpc_id = "vpc-0aaa", availability_zone = "us-east-1c" }
  }
  plan_options {
    target = [data.aws_subnet.existing]
  }
  expect_failures = [data.aws_subnet.existing["private b"]]
}

run "a_subnet_of_another_network" {
  command = plan

  override_data {
    target = data.aws_subnet.existing["public a"]
    values = { vpc_id = "vpc-0bbb", availability_zone = "us-east-1a" }
  }
  plan_options {
    target = [data.aws_subnet.existing]
  }
  expect_failures = [data.aws_subnet.existing["public a"]]
}

run "zones_that_the_network_does_not_have" {
  command = plan

  variables {
    zones = ["a", "b", "c"]
  }
  plan_options {
    target = [data.aws_vpc.existing]
  }
  expect_failures = [data.aws_vpc.existing]
}
