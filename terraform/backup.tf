# AWS Backup: it takes the nodes' volumes every few hours, the database (where there is one) once a day, and copies both to another region.
# For volumes this is a second line. Such a snapshot is what a power cut would have left: it needs no co-operation of the node, and
# nothing has looked into it. The archives that are verified, and restored in drills, are the backup function's own, in aws_s3_bucket.backups.

resource "aws_backup_vault" "fleet" {
  count = var.backup == null ? 0 : 1

  name        = local.name
  kms_key_arn = aws_kms_key.backup[0].arn
  tags        = { Name = local.name }

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_backup_vault_policy" "fleet" {
  count = var.backup == null ? 0 : 1

  backup_vault_name = aws_backup_vault.fleet[0].name
  policy            = local.nothing_is_deleted
}

# Governance: without changeable_for_days, which would make a lock that not even AWS lifts.
resource "aws_backup_vault_lock_configuration" "fleet" {
  count = var.backup != null && var.protect_data ? 1 : 0

  backup_vault_name  = aws_backup_vault.fleet[0].name
  min_retention_days = var.backup.lock_days
  max_retention_days = var.backup.keep_days
}

resource "aws_backup_vault" "replica" {
  count    = local.copies ? 1 : 0
  provider = aws.replica

  name        = "${local.name}-replica"
  kms_key_arn = aws_kms_key.backup_replica[0].arn
  tags        = { Name = "${local.name}-replica" }

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_backup_vault_policy" "replica" {
  count    = local.copies ? 1 : 0
  provider = aws.replica

  backup_vault_name = aws_backup_vault.replica[0].name
  policy            = local.nothing_is_deleted
}

resource "aws_backup_vault_lock_configuration" "replica" {
  count    = local.copies && var.protect_data ? 1 : 0
  provider = aws.replica

  backup_vault_name  = aws_backup_vault.replica[0].name
  min_retention_days = var.backup.lock_days
  max_retention_days = var.backup.keep_days
}

locals {
  # Recovery points end by their age, which AWS Backup sees to itself. Whoever must delete one takes this away first, and the trail tells.
  nothing_is_deleted = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "NobodyDeletesOrShortens"
      Effect    = "Deny"
      Principal = { AWS = "*" }
      Action    = ["backup:DeleteRecoveryPoint", "backup:UpdateRecoveryPointLifecycle", "backup:DisassociateRecoveryPoint"]
      Resource  = "*"
    }]
  })
}

locals {
  # The fleet file says how old the last backup may be. AWS Backup starts a job within an hour of its time, and another is left for
  # the job itself and for the alarm, which looks by the hour: so a volume's turn comes two hours or more before the limit.
  hours_between_backups = max(1, [for hours in [2, 3, 4, 6, 8, 12] : hours if hours * 3600 + 7200 <= local.watch.backup_max_age_seconds]...)

  # Aurora keeps every second of backup_days itself; this is the copy that outlives the cluster and the region, and each is a whole one.
  # Its hour is after the cluster's own windows: Aurora takes one snapshot at a time.
  backup_types = { volumes = "EBS", database = "Aurora" } # as AWS Backup calls what the plans take
  backup_plans = var.backup == null ? {} : merge(
    { volumes = { schedule = "cron(0 0/${local.hours_between_backups} * * ? *)", tag = local.name } },
    var.database == null ? {} : { database = { schedule = "cron(0 6 * * ? *)", tag = local.database_name } },
  )
}

resource "aws_backup_plan" "fleet" {
  for_each = local.backup_plans

  name = "${local.name}-${each.key}"
  tags = { Name = "${local.name}-${each.key}" }

  rule {
    rule_name         = each.key
    target_vault_name = aws_backup_vault.fleet[0].name
    schedule          = each.value.schedule
    start_window      = 60 # minutes, the least
    completion_window = 720

    lifecycle {
      delete_after = var.backup.keep_days
    }

    dynamic "copy_action" {
      for_each = aws_backup_vault.replica
      content {
        destination_vault_arn = copy_action.value.arn
        lifecycle {
          delete_after = var.backup.keep_days
        }
      }
    }
  }

  lifecycle {
    precondition {
      condition     = local.watch.backup_max_age_seconds >= 10800
      error_message = "watch.backup_max_age_seconds of ${local.fleet_file} is ${local.watch.backup_max_age_seconds}; allowed with backups: 10800 or more, as AWS Backup takes one an hour at most and needs up to two for it."
    }
  }
}

# By tag and not by name: a volume that was restored and took another's place is backed up from its first day.
resource "aws_backup_selection" "fleet" {
  for_each = local.backup_plans

  name         = "${local.name}-${each.key}"
  plan_id      = aws_backup_plan.fleet[each.key].id
  iam_role_arn = aws_iam_role.backup[0].arn

  selection_tag {
    type  = "STRINGEQUALS"
    key   = "backup"
    value = each.value.tag
  }
}

resource "aws_iam_role" "backup" {
  count = var.backup == null ? 0 : 1

  name        = "${local.name}-backup"
  description = "AWS Backup takes and copies; it restores nothing under this role"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "backup.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = local.account_id } }
    }]
  })
  tags = { Name = "${local.name}-backup" }
}

resource "aws_iam_role_policy_attachment" "backup" {
  count = var.backup == null ? 0 : 1

  role       = aws_iam_role.backup[0].name
  policy_arn = "arn:${local.partition}:iam::aws:policy/service-role/AWSBackupServiceRolePolicyForBackup"
}

# The policy above has no leave for keys of ours beyond grants; a copy is opened under the one and closed under the other.
resource "aws_iam_role_policy" "backup_keys" {
  count = var.backup == null ? 0 : 1

  name = "keys"
  role = aws_iam_role.backup[0].name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = ["kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey*", "kms:ReEncrypt*"]
        Resource = local.keys_of_backups
      },
      {
        Effect    = "Allow"
        Action    = "kms:CreateGrant"
        Resource  = local.keys_of_backups
        Condition = { Bool = { "kms:GrantIsForAWSResource" = "true" } }
      },
    ]
  })
}

locals {
  keys_of_backups = concat([aws_kms_key.volumes.arn, aws_kms_key.data.arn], aws_kms_key.backup[*].arn, aws_kms_key.backup_replica[*].arn)
}

# Of backups, vaults tell SNS only that they are over: BACKUP_JOB_FAILED is accepted and never sent any more. So what failed comes as an
# event, below; copies too, which would else be mailed twice.
resource "aws_backup_vault_notifications" "fleet" {
  count = var.backup == null ? 0 : 1

  backup_vault_name   = aws_backup_vault.fleet[0].name
  sns_topic_arn       = aws_sns_topic.alerts.arn
  backup_vault_events = ["RECOVERY_POINT_MODIFIED", "RESTORE_JOB_COMPLETED"]
}

locals {
  # A copy is a job of the region that is copied from, and its events come here.
  replica_vault    = "arn:${local.partition}:backup:${var.replica_region}:${local.account_id}:backup-vault:${try(aws_backup_vault.replica[0].name, "")}"
  copy_failed_rule = "${local.ops_name}-copy-failed"

  failed_rules = { for name, own in {
    "${local.ops_name}-backup-failed" = {
      wanted      = var.backup != null
      says        = "A job of AWS Backup did not do all that it should"
      detail_type = "Backup Job State Change"
      detail      = { state = ["FAILED", "ABORTED", "EXPIRED", "PARTIAL"], backupVaultName = aws_backup_vault.fleet[*].name }
    }
    (local.copy_failed_rule) = {
      wanted      = local.copies
      says        = "A backup was not copied to ${var.replica_region}"
      detail_type = "Copy Job State Change"
      detail      = { state = ["FAILED", "PARTIAL"], destinationBackupVaultArn = [local.replica_vault] }
    }
  } : name => own if own.wanted }

  copied_rules = { for plan in keys(local.backup_plans) : plan => {
    name   = "${local.ops_name}-copied-${plan}"
    detail = { state = ["COMPLETED"], destinationBackupVaultArn = [local.replica_vault], resourceType = [local.backup_types[plan]] }
  } if local.copies }
}

resource "aws_cloudwatch_event_rule" "backup_failed" {
  for_each = local.failed_rules

  name          = each.key
  description   = each.value.says
  event_pattern = jsonencode({ source = ["aws.backup"], detail-type = [each.value.detail_type], detail = each.value.detail })
  tags          = { Name = each.key }
}

resource "aws_cloudwatch_event_target" "backup_failed" {
  for_each = aws_cloudwatch_event_rule.backup_failed

  rule      = each.value.name
  target_id = "alerts"
  arn       = aws_sns_topic.alerts.arn

  dead_letter_config {
    arn = aws_sqs_queue.dead.arn
  }
}

# Copies that were made: alarms count how often these rules call their target, a log that people can read back.
resource "aws_cloudwatch_event_rule" "copied" {
  for_each = local.copied_rules

  name          = each.value.name
  description   = "Backups of ${each.key} that were copied to ${var.replica_region}"
  event_pattern = jsonencode({ source = ["aws.backup"], detail-type = ["Copy Job State Change"], detail = each.value.detail })
  tags          = { Name = each.value.name }
}

resource "aws_cloudwatch_event_target" "copied" {
  for_each = aws_cloudwatch_event_rule.copied

  rule      = each.value.name
  target_id = "log"
  arn       = aws_cloudwatch_log_group.copies[0].arn

  # What comes before it may be written would be lost, and the copy be counted all the same.
  depends_on = [aws_cloudwatch_log_resource_policy.copies]
}

resource "aws_cloudwatch_log_group" "copies" {
  #checkov:skip=CKV_AWS_338:How long logs are kept is the stage's own choice, log_days.
  count = local.copies ? 1 : 0

  name              = "/aws/events/${local.ops_name}-copies"
  retention_in_days = var.log_days
  kms_key_id        = aws_kms_key.logs.arn
}

resource "aws_cloudwatch_log_resource_policy" "copies" {
  count = local.copies ? 1 : 0

  policy_name = "${local.ops_name}-copies"
  policy_document = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "EventsOfCopies"
      Effect    = "Allow"
      Principal = { Service = ["events.amazonaws.com", "delivery.logs.amazonaws.com"] }
      Action    = ["logs:CreateLogStream", "logs:PutLogEvents"]
      Resource  = "${aws_cloudwatch_log_group.copies[0].arn}:*"
    }]
  })
}
