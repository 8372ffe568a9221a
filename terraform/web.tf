# Services without data of their own: on Fargate, new tasks before old ones, scaled by load.

locals {
  web_size    = { for service, own in local.web : service => var.web[own.group] if contains(keys(var.web), own.group) }
  started_web = { for service, own in local.web : service => own if contains(keys(var.first_images), own.group) && contains(keys(local.web_size), service) }
}

resource "aws_ecs_task_definition" "web" {
  #checkov:skip=CKV_AWS_336:Upstream's images write beside their code.
  for_each = local.started_web

  family                   = each.key
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = local.web_size[each.key].cpu_units
  memory                   = local.web_size[each.key].memory_mib
  execution_role_arn       = aws_iam_role.execution["web"].arn
  task_role_arn            = aws_iam_role.task["web"].arn
  skip_destroy             = true # a replaced revision is the way back

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = local.fleet.groups[each.value.group].architecture == "arm64" ? "ARM64" : "X86_64"
  }

  container_definitions = jsonencode([{
    name         = each.value.container
    image        = local.image_of[each.key]
    essential    = true
    stopTimeout  = 60
    portMappings = [{ containerPort = each.value.port, hostPort = each.value.port, protocol = "tcp" }]
    environment = [for name, value in merge({
      XAI_ENV = var.environment
    }, local.web_size[each.key].environment) : { name = name, value = value }]
    logConfiguration = {
      logDriver = "awslogs"
      options   = merge(local.log_options, { awslogs-stream-prefix = each.key })
    }
  }])

  tags = { service = each.key }
}

resource "aws_ecs_service" "web" {
  for_each = local.started_web

  name                               = each.key
  cluster                            = local.cluster_arn
  task_definition                    = aws_ecs_task_definition.web[each.key].arn
  desired_count                      = local.web_size[each.key].min
  launch_type                        = "FARGATE"
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  availability_zone_rebalancing      = "ENABLED"
  health_check_grace_period_seconds  = contains(keys(local.public_groups), each.value.group) ? local.fleet.groups[each.value.group].limits.start_period_seconds : null
  enable_ecs_managed_tags            = true
  propagate_tags                     = "SERVICE"

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets         = values(local.private_subnets)
    security_groups = [aws_security_group.web[each.value.group].id]
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
    ignore_changes = [task_definition, desired_count] # rollouts own the first, autoscaling the second
  }

  depends_on = [aws_lb_listener_rule.group] # ECS takes no target group that nothing listens for
}

resource "aws_appautoscaling_target" "web" {
  for_each = local.started_web

  service_namespace  = "ecs"
  resource_id        = "service/${local.name}/${aws_ecs_service.web[each.key].name}"
  scalable_dimension = "ecs:service:DesiredCount"
  min_capacity       = local.web_size[each.key].min
  max_capacity       = local.web_size[each.key].max
}

resource "aws_appautoscaling_policy" "web" {
  for_each = aws_appautoscaling_target.web

  name               = "${each.key}-cpu"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = each.value.service_namespace
  resource_id        = each.value.resource_id
  scalable_dimension = each.value.scalable_dimension

  target_tracking_scaling_policy_configuration {
    target_value       = 60 # well below the alarm of the fleet file's watch.cpu_percent
    scale_in_cooldown  = 300
    scale_out_cooldown = 60

    predefined_metric_specification {
      predefined_metric_type = "ECSServiceAverageCPUUtilization"
    }
  }
}
