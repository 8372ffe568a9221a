# Who may do what: tasks, hosts and CI. The functions' roles are Chalice's, their policies tools/policies.py's. Names begin with the
# cluster's: the functions may pass those roles to tasks, and no other.

data "aws_iam_policy_document" "tasks_assume" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }

    # Against the confused deputy. Source: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account_id]
    }
    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["arn:${local.partition}:ecs:${local.fleet.region}:${local.account_id}:*"]
    }
  }
}

locals {
  role_kinds = toset([for own in values(local.services) : own.kind == "node" ? "node" : "web"])
}

# What ECS does to start a container: pull it, read its secrets, open its log.
resource "aws_iam_role" "execution" {
  for_each = local.role_kinds

  name               = "${local.name}-${each.key}-execution"
  assume_role_policy = data.aws_iam_policy_document.tasks_assume.json
}

data "aws_iam_policy_document" "execution" {
  for_each = aws_iam_role.execution

  statement {
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"] # knows no resource
  }
  statement {
    actions = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = distinct([
      for own in values(local.services) : aws_ecr_repository.image[own.repository].arn if(own.kind == "node") == (each.key == "node")
    ])
  }
  statement {
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.containers.arn}:*"]
  }
  dynamic "statement" {
    for_each = each.key == "node" && length(local.node_secret_names) > 0 ? [true] : []

    content {
      actions   = ["secretsmanager:GetSecretValue"]
      resources = [for secret in aws_secretsmanager_secret.node : secret.arn]
    }
  }
  dynamic "statement" {
    for_each = each.key == "node" && length(local.node_secret_names) > 0 ? [true] : []

    content {
      actions   = ["kms:Decrypt"]
      resources = [aws_kms_key.ops.arn]

      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = ["secretsmanager.${local.fleet.region}.amazonaws.com"]
      }
    }
  }
}

resource "aws_iam_role_policy" "execution" {
  for_each = aws_iam_role.execution

  name   = "start-containers"
  role   = each.value.name
  policy = data.aws_iam_policy_document.execution[each.key].json
}

# What a running container may do on AWS: nodes nothing; web services log into the database and the cache, where there are any
# (database.tf, cache.tf).
resource "aws_iam_role" "task" {
  for_each = local.role_kinds

  name               = "${local.name}-${each.key}-task"
  assume_role_policy = data.aws_iam_policy_document.tasks_assume.json
}

# A node's host: joins the cluster, takes the volume, tells CloudWatch how both are, opens a session for people instead of SSH. A role
# for each node: whoever breaks out of one node's container can take no other node's volume.
resource "aws_iam_role" "host" {
  for_each = local.nodes

  name               = "${each.key}-host"
  assume_role_policy = data.aws_iam_policy_document.host_assume.json
}

data "aws_iam_policy_document" "host_assume" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

resource "aws_iam_role_policy_attachment" "host_agent" {
  for_each = aws_iam_role.host

  role       = each.value.name
  policy_arn = "arn:${local.partition}:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"
}

resource "aws_iam_role_policy_attachment" "host_sessions" {
  for_each = aws_iam_role.host

  role       = each.value.name
  policy_arn = "arn:${local.partition}:iam::aws:policy/AmazonSSMManagedInstanceCore"
}

# Written out, not read as a policy document: Terraform reads no document while any volume is to be made, and one more node would then
# change every host's policy in the plan.
resource "aws_iam_role_policy" "host" {
  for_each = aws_iam_role.host

  name = "volume-and-metrics"
  role = each.value.name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = ["ec2:DescribeInstances", "ec2:DescribeVolumes"]
        Resource = "*" # know no resource
      },
      {
        Effect   = "Allow"
        Action   = ["ec2:AttachVolume", "ec2:DetachVolume"]
        Resource = aws_ebs_volume.node[each.key].arn
      },
      {
        # Both ends are asked: the volume above, and this node's own instances, the one before this one too.
        Effect    = "Allow"
        Action    = ["ec2:AttachVolume", "ec2:DetachVolume"]
        Resource  = "arn:${local.partition}:ec2:${local.fleet.region}:${local.account_id}:instance/*"
        Condition = { StringEquals = { "aws:ResourceTag/node" = each.key } }
      },
      {
        Effect    = "Allow"
        Action    = "cloudwatch:PutMetricData"
        Resource  = "*" # knows no resource; the namespace bounds it
        Condition = { StringEquals = { "cloudwatch:namespace" = "XAI/Chain" } }
      },
      {
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = "${aws_cloudwatch_log_group.hosts.arn}:*"
      },
    ]
  })
}

resource "aws_iam_instance_profile" "host" {
  for_each = aws_iam_role.host

  name = each.value.name
  role = each.value.name
}
