# The network: a public and a private subnet in each zone, one way out, and private ways to AWS. With existing_network it is the
# owner's, and nothing of it is changed here: routes, endpoints, flow logs and the default security group stay as they are.

locals {
  makes_network = var.existing_network == null
  new_zones     = local.makes_network ? toset(var.zones) : toset([])

  # By the letter, not by the place in the list: one more zone moves no subnet of another.
  zone_index = { a = 0, b = 1, c = 2, d = 3, e = 4, f = 5 }

  # The first one that is named carries all when there is to be one: put a new zone at the end.
  nat_zones = var.nat_gateway_per_zone ? local.new_zones : toset(slice(sort(var.zones), 0, local.makes_network ? 1 : 0))

  vpc_id     = local.makes_network ? aws_vpc.fleet[0].id : data.aws_vpc.existing[0].id
  vpc_cidr   = local.makes_network ? var.vpc_cidr : data.aws_vpc.existing[0].cidr_block
  zone_names = { for letter in local.makes_network ? var.zones : keys(var.existing_network.private_subnets) : letter => "${local.fleet.region}${letter}" }

  # Read from the associations, so that what runs in a subnet starts after the subnet has its way out, and ends before.
  public_subnets  = local.makes_network ? { for letter, own in aws_route_table_association.public : letter => own.subnet_id } : var.existing_network.public_subnets
  private_subnets = local.makes_network ? { for letter, own in aws_route_table_association.private : letter => own.subnet_id } : var.existing_network.private_subnets
}

# ---- the owner's network

data "aws_vpc" "existing" {
  count = local.makes_network ? 0 : 1

  id = var.existing_network.vpc_id

  lifecycle {
    precondition {
      condition     = length(setsubtract(var.zones, keys(var.existing_network.private_subnets))) == 0
      error_message = "zones is [${join(", ", var.zones)}], and existing_network has subnets in ${join(", ", keys(var.existing_network.private_subnets))}; name in zones only letters that existing_network has."
    }
  }
}

data "aws_subnet" "existing" {
  for_each = local.makes_network ? {} : merge(
    { for letter, id in var.existing_network.public_subnets : "public ${letter}" => id },
    { for letter, id in var.existing_network.private_subnets : "private ${letter}" => id },
  )

  id = each.value

  lifecycle {
    # A node's volume is made in the letter's zone: an instance in another could never attach it.
    postcondition {
      condition     = self.availability_zone == "${local.fleet.region}${split(" ", each.key)[1]}"
      error_message = "existing_network names ${each.value} as its ${each.key} subnet, which is in zone ${self.availability_zone}; name one of ${local.fleet.region}${split(" ", each.key)[1]}."
    }
    postcondition {
      condition     = self.vpc_id == var.existing_network.vpc_id
      error_message = "existing_network names ${each.value} as its ${each.key} subnet, which belongs to ${self.vpc_id}; name one of ${var.existing_network.vpc_id}."
    }
  }
}

# ---- the network made here

resource "aws_vpc" "fleet" {
  count = local.makes_network ? 1 : 0

  cidr_block           = var.vpc_cidr
  enable_dns_support   = true
  enable_dns_hostnames = true # private names of the endpoints and of the nodes

  tags = { Name = local.name }
}

# What is started without naming a security group reaches nothing and is reached by nothing.
resource "aws_default_security_group" "closed" {
  count = local.makes_network ? 1 : 0

  vpc_id = aws_vpc.fleet[0].id

  tags = { Name = "${local.name}-default-closed" }
}

resource "aws_subnet" "public" {
  for_each = local.new_zones

  vpc_id            = aws_vpc.fleet[0].id
  availability_zone = local.zone_names[each.key]
  cidr_block        = cidrsubnet(var.vpc_cidr, 8, local.zone_index[each.key])

  tags = { Name = "${local.name}-public-${each.key}" }
}

resource "aws_subnet" "private" {
  for_each = local.new_zones

  vpc_id            = aws_vpc.fleet[0].id
  availability_zone = local.zone_names[each.key]
  cidr_block        = cidrsubnet(var.vpc_cidr, 8, 100 + local.zone_index[each.key])

  tags = { Name = "${local.name}-private-${each.key}" }
}

resource "aws_internet_gateway" "fleet" {
  count = local.makes_network ? 1 : 0

  vpc_id = aws_vpc.fleet[0].id

  tags = { Name = local.name }
}

resource "aws_eip" "nat" {
  #checkov:skip=CKV2_AWS_19:A NAT gateway holds it, not an instance.
  for_each = local.nat_zones

  domain = "vpc"

  tags = { Name = "${local.name}-nat-${each.key}" }

  depends_on = [aws_internet_gateway.fleet]
}

resource "aws_nat_gateway" "zone" {
  for_each = local.nat_zones

  allocation_id = aws_eip.nat[each.key].id
  subnet_id     = aws_subnet.public[each.key].id

  tags = { Name = "${local.name}-${each.key}" }

  depends_on = [aws_route.internet]
}

resource "aws_route_table" "public" {
  count = local.makes_network ? 1 : 0

  vpc_id = aws_vpc.fleet[0].id

  tags = { Name = "${local.name}-public" }
}

resource "aws_route" "internet" {
  count = local.makes_network ? 1 : 0

  route_table_id         = aws_route_table.public[0].id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.fleet[0].id
}

resource "aws_route_table_association" "public" {
  for_each = local.new_zones

  route_table_id = aws_route_table.public[0].id
  subnet_id      = aws_subnet.public[each.key].id

  depends_on = [aws_route.internet]
}

resource "aws_route_table" "private" {
  for_each = local.new_zones

  vpc_id = aws_vpc.fleet[0].id

  tags = { Name = "${local.name}-private-${each.key}" }
}

resource "aws_route" "nat" {
  for_each = local.new_zones

  route_table_id         = aws_route_table.private[each.key].id
  destination_cidr_block = "0.0.0.0/0"
  nat_gateway_id         = aws_nat_gateway.zone[var.nat_gateway_per_zone ? each.key : sort(var.zones)[0]].id
}

resource "aws_route_table_association" "private" {
  for_each = local.new_zones

  route_table_id = aws_route_table.private[each.key].id
  subnet_id      = aws_subnet.private[each.key].id

  depends_on = [aws_route.nat]
}

# ---- private ways to AWS

locals {
  # Whoever brings other credentials into this network, or would carry data to a stranger's bucket, finds the endpoints shut.
  own_identities = {
    Effect    = "Allow"
    Principal = { AWS = "*" }
    Action    = "*"
    Resource  = "*"
    Condition = { StringEquals = { "aws:PrincipalAccount" = local.account_id } }
  }
  own_identities_and_data = merge(local.own_identities, {
    Condition = { StringEquals = { "aws:PrincipalAccount" = local.account_id, "aws:ResourceAccount" = local.account_id } }
  })

  # AWS' own buckets: layers of ECR's images (signed by ECR), the hosts' packages, and what the SSM agent updates itself from.
  aws_buckets = [
    "prod-${local.fleet.region}-starport-layer-bucket",
    "al2023-repos-${local.fleet.region}-de612dc2",
    "amazon-ssm-${local.fleet.region}",
    "aws-ssm-${local.fleet.region}",
    "amazon-ssm-packages-${local.fleet.region}",
    "aws-ssm-document-attachments-${local.fleet.region}",
    "patch-baseline-snapshot-${local.fleet.region}",
  ]
  gateway_policies = {
    dynamodb = [local.own_identities_and_data]
    s3 = [local.own_identities_and_data, {
      Effect    = "Allow"
      Principal = { AWS = "*" }
      Action    = "s3:GetObject"
      Resource  = [for bucket in local.aws_buckets : "arn:${local.partition}:s3:::${bucket}/*"]
    }]
  }
}

resource "aws_vpc_endpoint" "gateway" {
  for_each = local.makes_network ? toset(["dynamodb", "s3"]) : toset([])

  vpc_id            = aws_vpc.fleet[0].id
  vpc_endpoint_type = "Gateway"
  service_name      = "com.amazonaws.${local.fleet.region}.${each.key}"
  route_table_ids   = [for table in aws_route_table.private : table.id]
  policy            = jsonencode({ Version = "2012-10-17", Statement = local.gateway_policies[each.key] })

  tags = { Name = "${local.name}-${each.key}" }
}

# AWS says itself in which zones a service has endpoints, and whether they take a policy: not all do (ECS' do not).
data "aws_vpc_endpoint_service" "reached" {
  for_each = local.makes_network ? var.interface_endpoints : toset([])

  service      = each.key
  service_type = "Interface"
}

resource "aws_vpc_endpoint" "interface" {
  for_each = data.aws_vpc_endpoint_service.reached

  vpc_id              = aws_vpc.fleet[0].id
  vpc_endpoint_type   = "Interface"
  service_name        = each.value.service_name
  private_dns_enabled = true
  subnet_ids          = [for letter, subnet in aws_subnet.private : subnet.id if contains(each.value.availability_zones, local.zone_names[letter])]
  security_group_ids  = [aws_security_group.endpoints.id]
  policy              = each.value.vpc_endpoint_policy_supported ? jsonencode({ Version = "2012-10-17", Statement = [local.own_identities] }) : null

  tags = { Name = "${local.name}-${each.key}" }
}

# ---- who spoke with whom

resource "aws_cloudwatch_log_group" "flow" {
  #checkov:skip=CKV_AWS_338:How long logs are kept is the stage's own choice, log_days.
  count = local.makes_network ? 1 : 0

  name              = "/vpc/${local.name}/flow"
  retention_in_days = var.log_days
  kms_key_id        = aws_kms_key.logs.arn
}

resource "aws_iam_role" "flow_logs" {
  count = local.makes_network ? 1 : 0

  name = "${local.name}-flow-logs"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "vpc-flow-logs.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = {
        StringEquals = { "aws:SourceAccount" = local.account_id }
        ArnLike      = { "aws:SourceArn" = "arn:${local.partition}:ec2:${local.fleet.region}:${local.account_id}:vpc-flow-log/*" }
      }
    }]
  })
}

resource "aws_iam_role_policy" "flow_logs" {
  count = local.makes_network ? 1 : 0

  name = "write-flow-logs"
  role = aws_iam_role.flow_logs[0].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
        Resource = "${aws_cloudwatch_log_group.flow[0].arn}:*"
      },
      {
        Effect   = "Allow"
        Action   = "logs:DescribeLogGroups" # takes no single group as its resource
        Resource = "arn:${local.partition}:logs:${local.fleet.region}:${local.account_id}:log-group:*"
      },
    ]
  })
}

resource "aws_flow_log" "fleet" {
  count = local.makes_network ? 1 : 0

  vpc_id               = aws_vpc.fleet[0].id
  traffic_type         = "REJECT" # what was let through is peers, probes and scrapes: the bill without a finding
  log_destination_type = "cloud-watch-logs"
  log_destination      = aws_cloudwatch_log_group.flow[0].arn
  iam_role_arn         = aws_iam_role.flow_logs[0].arn

  tags = { Name = local.name }

  depends_on = [aws_iam_role_policy.flow_logs]
}

# ---- names

# A zone of its own, so that it changes no name that an existing network has.
resource "aws_service_discovery_private_dns_namespace" "fleet" {
  name        = "${local.name}.internal"
  description = "Where the tasks of ${local.name} find each other"
  vpc         = local.vpc_id
}
