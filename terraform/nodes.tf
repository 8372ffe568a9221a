# A node is one process on one volume: two on one volume corrupt the chain. So each has an EBS volume, an instance that alone may hold
# it (an auto scaling group of one, in the volume's zone), a service that is pinned to that instance, and the fence as entryPoint.
# Why EC2 and EBS: docs/decisions/0006-a-node-has-an-instance-and-a-volume.md.

locals {
  node_zones = { for index, service in sort(keys(local.nodes)) : service => var.zones[index % length(var.zones)] }
  # null where the volume is in a zone that the stage has no more: the group below says so.
  subnet_of = { for service in keys(local.nodes) : service => try(local.private_subnets[local.zone_of[aws_ebs_volume.node[service].availability_zone]], null) }
  zone_of   = { for letter, name in local.zone_names : name => letter }

  # How long a node may take to end: ECS, Docker and the load balancer must all wait for it. The longest that a rollout's timing counts on.
  stop_seconds = 120

  # Services exist once their group's first image is named: an ECS service whose image cannot be pulled never starts by itself later.
  started_nodes = { for service, own in local.nodes : service => own if contains(keys(var.first_images), own.group) }
  image_of = {
    for service, own in local.services : service => format(
      startswith(try(var.first_images[own.group], ""), "sha256:") ? "%s@%s" : "%s:%s",
      aws_ecr_repository.image[own.repository].repository_url, try(var.first_images[own.group], "none"),
    )
  }
}

data "aws_ec2_instance_type" "node" {
  instance_type = var.node.instance_type

  lifecycle {
    postcondition {
      condition     = 2 * var.node.memory_mib + 1024 <= self.memory_size && 2 * var.node.cpu_units <= 1024 * self.default_vcpus
      error_message = "${var.node.instance_type} has ${self.memory_size} MiB and ${1024 * self.default_vcpus} CPU units; node asks ${var.node.memory_mib} MiB and ${var.node.cpu_units} units for a node, a smoke task needs the same beside it, and the host a GiB for itself. Ask for less, or name a larger instance type."
    }
    postcondition {
      condition     = self.maximum_network_interfaces >= 3
      error_message = "${var.node.instance_type} takes ${self.maximum_network_interfaces} network interfaces; the host, its node and a smoke task need 3. Name a larger instance type."
    }
    postcondition {
      condition     = alltrue([for own in values(local.nodes) : contains(self.supported_architectures, local.fleet.groups[own.group].architecture == "arm64" ? "arm64" : "x86_64")])
      error_message = "${var.node.instance_type} runs ${join(", ", self.supported_architectures)}, which is not the architecture of every group of nodes in ${local.fleet_file}."
    }
  }
}

resource "aws_ebs_volume" "node" {
  #checkov:skip=CKV2_AWS_9:The plan in backup.tf takes it by its tag, where the stage keeps backups.
  for_each = local.nodes

  availability_zone = local.zone_names[local.node_zones[each.key]]
  type              = "gp3"
  size              = var.node.volume_gib
  iops              = var.node.volume_iops
  throughput        = var.node.volume_mibps
  encrypted         = true
  kms_key_id        = aws_kms_key.volumes.arn
  final_snapshot    = true

  tags = {
    Name   = "${each.key}-data"
    node   = each.key
    backup = local.name
  }

  lifecycle {
    prevent_destroy = true
    # A volume cannot move: a node stays in the zone in which it was made, however many come before it in the alphabet.
    ignore_changes = [availability_zone]
  }
}

resource "aws_launch_template" "node" {
  for_each = local.nodes

  name          = "${each.key}-host"
  instance_type = var.node.instance_type
  # Looked up when an instance starts, so that a new host has the latest patches and no plan changes because AWS made an image.
  image_id = format("resolve:ssm:/aws/service/ecs/optimized-ami/amazon-linux-2023/%srecommended/image_id",
  local.fleet.groups[each.value.group].architecture == "arm64" ? "arm64/" : "")
  update_default_version               = true
  instance_initiated_shutdown_behavior = "terminate" # a host that cannot get its volume ends itself; another one tries
  vpc_security_group_ids               = [aws_security_group.host.id]

  iam_instance_profile {
    arn = aws_iam_instance_profile.host[each.key].arn
  }

  block_device_mappings {
    device_name = "/dev/xvda"

    ebs {
      volume_size           = 30
      volume_type           = "gp3"
      encrypted             = true
      kms_key_id            = aws_kms_key.volumes.arn
      delete_on_termination = true
    }
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  monitoring {
    enabled = true
  }

  tag_specifications {
    resource_type = "instance"
    tags          = merge(local.tags, { Name = "${each.key}-host", node = each.key, cluster = local.name })
  }

  tag_specifications {
    resource_type = "volume"
    tags          = merge(local.tags, { Name = "${each.key}-root" })
  }

  user_data = base64encode(join("\n", [
    "#!/bin/bash",
    "export CLUSTER='${local.name}' SERVICE='${each.key}' VOLUME_ID='${aws_ebs_volume.node[each.key].id}'",
    "export AWS_DEFAULT_REGION='${local.fleet.region}' API_PORT='${each.value.port}'",
    "export STOP_SECONDS='${local.stop_seconds}' LOG_GROUP='${aws_cloudwatch_log_group.hosts.name}'",
    file("${path.module}/hosts/node-boot.sh"),
  ]))
}

# What a host said that could not get its volume: it ends itself, and its disk with it.
resource "aws_cloudwatch_log_group" "hosts" {
  #checkov:skip=CKV_AWS_338:How long logs are kept is the stage's own choice, log_days.
  name              = "/ecs/${local.name}/hosts"
  retention_in_days = var.log_days
  kms_key_id        = aws_kms_key.logs.arn
}

resource "aws_autoscaling_group" "node" {
  for_each = local.nodes

  name                      = "${each.key}-host"
  min_size                  = 1
  max_size                  = 1
  desired_capacity          = 1
  health_check_type         = "EC2"
  health_check_grace_period = 300
  vpc_zone_identifier       = [local.subnet_of[each.key]]
  wait_for_capacity_timeout = "0" # the alarm on running tasks says what a boot could not do, with more than a time-out

  launch_template {
    id      = aws_launch_template.node[each.key].id
    version = aws_launch_template.node[each.key].latest_version
  }

  dynamic "tag" {
    for_each = merge(local.tags, { Name = "${each.key}-host", node = each.key, cluster = local.name })

    content {
      key                 = tag.key
      value               = tag.value
      propagate_at_launch = false # the launch template tags the instances
    }
  }

  lifecycle {
    precondition {
      condition     = local.subnet_of[each.key] != null
      error_message = "The volume of ${each.key} is in ${aws_ebs_volume.node[each.key].availability_zone}, and zones is [${join(", ", var.zones)}]: keep that zone, or move the node first (docs/infrastructure.md, When something dies)."
    }
  }
}

resource "aws_ecs_task_definition" "node" {
  #checkov:skip=CKV_AWS_336:The node writes beside its data directory too, and upstream's image has its code where it runs.
  for_each = local.started_nodes

  family                   = each.key
  requires_compatibilities = ["EC2"]
  network_mode             = "awsvpc"
  execution_role_arn       = aws_iam_role.execution["node"].arn
  task_role_arn            = aws_iam_role.task["node"].arn
  # A replaced revision would be deregistered, and ECS returns to no inactive one: it is the way back.
  skip_destroy = true

  volume {
    name      = "data"
    host_path = "/var/lib/xai/volume/data"
  }

  # Keys, certificates and wallets lie relative to the working directory and to HOME, and must outlive a task.
  volume {
    name      = "home"
    host_path = "/var/lib/xai/volume/home"
  }

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = local.fleet.groups[each.value.group].architecture == "arm64" ? "ARM64" : "X86_64"
  }

  container_definitions = jsonencode([{
    name      = each.value.container
    image     = local.image_of[each.key]
    essential = true
    cpu       = var.node.cpu_units
    memory    = var.node.memory_mib
    # Docker forgets an image's command when the entryPoint is set, so the command stands here.
    entryPoint       = ["python3", "-c", file("${path.module}/../fence/fence.py")]
    command          = ["python", "-m", "xai.core.node", "--host", "0.0.0.0", "--port", tostring(each.value.port), "--p2p-port", tostring(local.p2p_port), "--data-dir", "/data"]
    workingDirectory = "/home/xai"
    stopTimeout      = local.stop_seconds # the fence turns TERM into the node's INT
    portMappings = [
      { containerPort = each.value.port, hostPort = each.value.port, protocol = "tcp" },
      { containerPort = local.p2p_port, hostPort = local.p2p_port, protocol = "tcp" },
    ]
    mountPoints = [
      { sourceVolume = "data", containerPath = "/data", readOnly = false },
      { sourceVolume = "home", containerPath = "/home/xai", readOnly = false },
    ]
    environment = [for name, value in merge({
      HOME               = "/home/xai"
      XAI_ENV            = var.environment
      XAI_NODE_NAME      = each.key
      XAI_DATA_DIR       = "/data"
      XAI_LOG_DIR        = "/home/xai/logs"
      XAI_DEFAULT_HOST   = "0.0.0.0"
      XAI_API_PORT       = tostring(each.value.port)
      XAI_MINING_ENABLED = tostring(each.value.role == "validator")
      XAI_P2P_DNS_SEEDS  = "${each.value.group}.${local.name}.internal"
      # Behind the load balancer every client would share its addresses, and the limit of 120 a minute.
      XAI_TRUST_PROXY_HEADERS    = "1"
      XAI_TRUSTED_PROXY_NETWORKS = local.vpc_cidr
    }, var.node_environment) : { name = name, value = value }]
    secrets = [for name, secret in var.node_secrets : { name = name, valueFrom = aws_secretsmanager_secret.node[replace(secret, "%s", each.key)].arn }]
    ulimits = [{ name = "nofile", softLimit = 65536, hardLimit = 65536 }]
    logConfiguration = {
      logDriver = "awslogs"
      options   = merge(local.log_options, { awslogs-stream-prefix = each.key })
    }
  }])

  tags = { service = each.key }
}

resource "aws_ecs_service" "node" {
  for_each = local.started_nodes

  name                               = each.key
  cluster                            = local.cluster_arn
  task_definition                    = aws_ecs_task_definition.node[each.key].arn
  desired_count                      = 1
  launch_type                        = "EC2"
  deployment_minimum_healthy_percent = 0 # stops before it starts
  deployment_maximum_percent         = 100
  availability_zone_rebalancing      = "DISABLED"
  enable_ecs_managed_tags            = true
  propagate_tags                     = "SERVICE"
  # It counts from the task's start, and a task that has started may first wait at the fence until the one before it has ended.
  health_check_grace_period_seconds = (contains(keys(local.public_groups), each.value.group)
    ? local.stop_seconds + local.fleet.groups[each.value.group].limits.start_period_seconds + 60
  : null)

  # The safety net for the day our functions are down.
  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  placement_constraints {
    type       = "memberOf"
    expression = "attribute:xai.node == ${each.key}"
  }

  network_configuration {
    subnets         = [local.subnet_of[each.key]]
    security_groups = [aws_security_group.node.id]
  }

  dynamic "load_balancer" {
    for_each = contains(keys(local.public_groups), each.value.group) ? [aws_lb_target_group.group[each.value.group]] : []

    content {
      target_group_arn = load_balancer.value.arn
      container_name   = each.value.container
      container_port   = each.value.port
    }
  }

  service_registries {
    registry_arn = aws_service_discovery_service.group[each.value.group].arn
  }

  tags = { service = each.key }

  lifecycle {
    ignore_changes = [task_definition, desired_count] # rollouts own the first, people and autoscaling the second
  }

  depends_on = [aws_lb_listener_rule.group, aws_autoscaling_group.node] # ECS takes no target group that nothing listens for
}
