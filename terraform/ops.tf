# What the functions of `chalice deploy` stand on: the table, the queues, their secrets and logs, the events of the last weeks, CI's door.

locals {
  chalice   = jsondecode(file("${path.module}/../.chalice/config.json"))
  functions = { for function in keys(local.chalice.lambda_functions) : function => function == "api_handler" ? local.ops_name : "${local.ops_name}-${function}" }
  # SQS' advice is six times the function's time-out. Source: https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
  tick_visibility = 6 * local.chalice.lambda_functions.rollout_tick.lambda_timeout

  # Tokens of the trackers that the fleet file names. Values are put in by people; Terraform never sees one.
  tracker_secret_names = toset(compact(flatten([
    for tracker in values(local.fleet.incidents.trackers) : [try(tracker.token_secret, null), try(tracker.routing_key_secret, null)]
  ])))
  node_secret_names = toset(flatten([
    for name in values(var.node_secrets) : [for service in keys(local.nodes) : replace(name, "%s", service)]
  ]))
}

resource "aws_dynamodb_table" "ops" {
  name                        = "ops-${var.environment}"
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "pk"
  range_key                   = "sk"
  deletion_protection_enabled = var.protect_data

  dynamic "attribute" {
    for_each = toset(["pk", "sk", "open", "wake_at"])

    content {
      name = attribute.key
      type = "S"
    }
  }

  # Open work by the time at which it is due: what the schedule asks for every minute.
  global_secondary_index {
    name            = "open"
    hash_key        = "open"
    range_key       = "wake_at"
    projection_type = "ALL"
  }

  ttl {
    attribute_name = "ttl"
    enabled        = true
  }

  point_in_time_recovery {
    enabled = true
  }

  server_side_encryption {
    enabled     = true
    kms_key_arn = aws_kms_key.ops.arn
  }

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_sqs_queue" "ticks" {
  name                              = "${local.ops_name}-ticks"
  visibility_timeout_seconds        = local.tick_visibility
  message_retention_seconds         = 86400 # the schedule has looked long before
  kms_master_key_id                 = aws_kms_key.ops.arn
  kms_data_key_reuse_period_seconds = 3600

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead.arn
    maxReceiveCount     = 5
  })
}

resource "aws_sqs_queue" "dead" {
  name                              = "${local.ops_name}-dead"
  message_retention_seconds         = 1209600 # as long as SQS keeps anything: somebody must look
  kms_master_key_id                 = aws_kms_key.ops.arn
  kms_data_key_reuse_period_seconds = 3600
}

resource "aws_sqs_queue_redrive_allow_policy" "dead" {
  queue_url = aws_sqs_queue.dead.id
  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.ticks.arn]
  })
}

data "aws_iam_policy_document" "dead" {
  # What a rule could not deliver. tools/after_deploy.py names this queue in the rules that `chalice deploy` makes.
  statement {
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.dead.arn]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }
    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["arn:${local.partition}:events:${local.fleet.region}:${local.account_id}:rule/${local.ops_name}-*"]
    }
  }
  statement {
    effect    = "Deny"
    actions   = ["sqs:*"]
    resources = [aws_sqs_queue.dead.arn]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_sqs_queue_policy" "dead" {
  queue_url = aws_sqs_queue.dead.id
  policy    = data.aws_iam_policy_document.dead.json
}

# Every event that a function may have missed can be played again for a month.
resource "aws_cloudwatch_event_archive" "events" {
  name             = local.ops_name
  description      = "Events of ECR, ECS and CloudWatch that the functions react to"
  event_source_arn = "arn:${local.partition}:events:${local.fleet.region}:${local.account_id}:event-bus/default"
  retention_days   = 30
  event_pattern = jsonencode({
    source = ["aws.ecr", "aws.ecs", "aws.cloudwatch"]
  })
}

resource "aws_secretsmanager_secret" "tracker" {
  #checkov:skip=CKV2_AWS_57:Trackers give tokens to people, who put them here; no rotation can be written for them.
  for_each = local.tracker_secret_names

  name                    = each.key
  description             = "Token of a tracker that the fleet file names; put in by a person"
  kms_key_id              = aws_kms_key.ops.arn
  recovery_window_in_days = 7
}

resource "aws_secretsmanager_secret" "node" {
  #checkov:skip=CKV2_AWS_57:A node's identity and keys are what its peers know it by.
  for_each = local.node_secret_names

  name                    = each.key
  description             = "Given to a node's container; put in by a person"
  kms_key_id              = aws_kms_key.ops.arn
  recovery_window_in_days = 30

  lifecycle {
    prevent_destroy = true # a node's identity is in here, and nowhere else
  }
}

# Made before the functions, so that no line is kept for ever or unencrypted.
resource "aws_cloudwatch_log_group" "function" {
  #checkov:skip=CKV_AWS_338:How long logs are kept is the stage's own choice, log_days.
  for_each = local.functions

  name              = "/aws/lambda/${each.value}"
  retention_in_days = var.log_days
  kms_key_id        = aws_kms_key.logs.arn
}

# CI's door: GitHub's workflows of one repository, by OpenID Connect, without a key that could leak.
resource "aws_iam_openid_connect_provider" "github" {
  count = var.github_repository != null && var.account_wide ? 1 : 0

  url            = "https://token.actions.githubusercontent.com"
  client_id_list = ["sts.amazonaws.com"]
}

data "aws_iam_policy_document" "ci_assume" {
  #checkov:skip=CKV_AWS_358:The subject is one repository and one environment; checkov does not read the variable.
  count = var.github_repository == null ? 0 : 1

  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]

    principals {
      type        = "Federated"
      identifiers = ["arn:${local.partition}:iam::${local.account_id}:oidc-provider/token.actions.githubusercontent.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "token.actions.githubusercontent.com:aud"
      values   = ["sts.amazonaws.com"]
    }
    # A GitHub environment of the stage's name: its reviewers and branches guard it.
    condition {
      test     = "StringEquals"
      variable = "token.actions.githubusercontent.com:sub"
      values   = ["repo:${var.github_repository}:environment:${var.environment}"]
    }
  }
}

resource "aws_iam_role" "ci" {
  count = var.github_repository == null ? 0 : 1

  name               = "${local.ops_name}-ci"
  assume_role_policy = data.aws_iam_policy_document.ci_assume[0].json
}

data "aws_iam_policy_document" "ci" {
  statement {
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"] # knows no resource
  }
  statement {
    actions = [
      "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:CompleteLayerUpload", "ecr:InitiateLayerUpload", "ecr:PutImage", "ecr:UploadLayerPart",
    ]
    resources = [for repository in aws_ecr_repository.image : repository.arn]
  }
  # The repositories' key: ECR itself uses it. Starting, following and taking back a rollout is our HTTP API, which chalice deploys.
  statement {
    actions   = ["execute-api:Invoke"]
    resources = ["arn:${local.partition}:execute-api:${local.fleet.region}:${local.account_id}:*/${var.environment}/*/rollouts*"]
  }
}

resource "aws_iam_role_policy" "ci" {
  count = var.github_repository == null ? 0 : 1

  name   = "push-and-roll"
  role   = aws_iam_role.ci[0].name
  policy = data.aws_iam_policy_document.ci.json
}
