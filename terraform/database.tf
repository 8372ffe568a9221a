# Aurora PostgreSQL, where a stage has one. No password is known to Terraform: the master's is made, kept and changed by RDS in Secrets
# Manager, and services log in with a token of their role. Nothing here deletes data: protection, prevent_destroy, a last snapshot.

locals {
  database_name = "${local.name}-database"
  # What a service logs in as. It is made once, by hand: CREATE USER app; GRANT rds_iam TO app;
  database_user = "app"
}

resource "aws_db_subnet_group" "database" {
  count = var.database == null ? 0 : 1

  name        = local.database_name
  description = "Private subnets of ${local.name}"
  subnet_ids  = values(local.private_subnets)
  tags        = { Name = local.database_name }
}

resource "aws_rds_cluster_parameter_group" "database" {
  count = var.database == null ? 0 : 1

  name        = "${local.database_name}-${local.database_major}"
  description = "TLS alone; slow statements and changes of the schema are logged"
  family      = "aurora-postgresql${local.database_major}"
  tags        = { Name = local.database_name }

  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }
  parameter {
    name  = "log_min_duration_statement"
    value = "1000" # ms
  }
  parameter {
    name  = "log_statement"
    value = "ddl" # all would log what is written, secrets of users included
  }

  lifecycle {
    create_before_destroy = true # a new major version has a new family, and the cluster uses the old one until it has moved
  }
}

locals {
  database_major = try(split(".", var.database.engine_version)[0], null)
}

# Made before RDS makes it, so that it ends some day and is under our key.
resource "aws_cloudwatch_log_group" "database" {
  #checkov:skip=CKV_AWS_338:how long logs are kept is each stage's choice, log_days
  count = var.database == null ? 0 : 1

  name              = "/aws/rds/cluster/${local.database_name}/postgresql"
  retention_in_days = var.log_days
  kms_key_id        = aws_kms_key.logs.arn
  tags              = { Name = local.database_name }
}

resource "aws_rds_cluster" "database" {
  #checkov:skip=CKV2_AWS_8:the plan in backup.tf takes it by its tag, where the stage keeps backups
  count = var.database == null ? 0 : 1

  cluster_identifier = local.database_name
  engine             = "aurora-postgresql"
  engine_version     = var.database.engine_version
  database_name      = "xai"
  port               = 5432

  master_username                     = "xai_master"
  manage_master_user_password         = true
  master_user_secret_kms_key_id       = aws_kms_key.data.key_id
  iam_database_authentication_enabled = true

  db_subnet_group_name            = aws_db_subnet_group.database[0].name
  vpc_security_group_ids          = [aws_security_group.database.id]
  db_cluster_parameter_group_name = aws_rds_cluster_parameter_group.database[0].name

  storage_encrypted         = true
  kms_key_id                = aws_kms_key.data.arn
  deletion_protection       = var.protect_data
  backup_retention_period   = var.database.backup_days
  copy_tags_to_snapshot     = true
  skip_final_snapshot       = false
  final_snapshot_identifier = "${local.database_name}-final" # the same in every plan; a second one is refused, and the first one kept

  preferred_backup_window         = "03:00-04:00"
  preferred_maintenance_window    = "mon:04:30-mon:05:30"
  apply_immediately               = var.environment != "production"
  enabled_cloudwatch_logs_exports = ["postgresql"]

  tags = {
    Name   = local.database_name
    backup = local.database_name # backup.tf takes what has this
  }

  lifecycle {
    prevent_destroy = true
  }

  depends_on = [aws_cloudwatch_log_group.database]
}

resource "aws_rds_cluster_instance" "database" {
  #checkov:skip=CKV_AWS_226:on where engine_version names a major version alone, as said below
  for_each = toset([for number in range(1, try(var.database.instances, 0) + 1) : tostring(number)])

  identifier          = "${local.database_name}-${each.key}"
  cluster_identifier  = aws_rds_cluster.database[0].id
  engine              = aws_rds_cluster.database[0].engine
  publicly_accessible = false
  instance_class      = var.database.instance_class
  promotion_tier      = tonumber(each.key) - 1 # who takes over: the lowest number that lives

  # "15" moves with AWS' minor versions. "15.10" stays there until it is changed: otherwise the next plan would want to go back.
  auto_minor_version_upgrade = !strcontains(var.database.engine_version, ".")
  apply_immediately          = var.environment != "production"
  copy_tags_to_snapshot      = true

  monitoring_interval                   = 60
  monitoring_role_arn                   = aws_iam_role.database_monitoring[0].arn
  performance_insights_enabled          = true
  performance_insights_kms_key_id       = aws_kms_key.data.arn
  performance_insights_retention_period = 7 # days; what costs nothing

  tags = { Name = "${local.database_name}-${each.key}" }
}

resource "aws_iam_role" "database_monitoring" {
  count = var.database == null ? 0 : 1

  name        = "${local.name}-database-monitoring"
  description = "RDS writes what the operating system under the database does"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "monitoring.rds.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = {
        StringEquals = { "aws:SourceAccount" = local.account_id }
        StringLike   = { "aws:SourceArn" = "arn:${local.partition}:rds:${local.fleet.region}:${local.account_id}:db:${local.database_name}-*" }
      }
    }]
  })
  tags = { Name = "${local.name}-database-monitoring" }
}

resource "aws_iam_role_policy_attachment" "database_monitoring" {
  count = var.database == null ? 0 : 1

  role       = aws_iam_role.database_monitoring[0].name
  policy_arn = "arn:${local.partition}:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole"
}

# Web services are let in by the security group; this is the ticket.
resource "aws_iam_role_policy" "database_login" {
  count = var.database != null && contains(local.role_kinds, "web") ? 1 : 0

  name = "database-login"
  role = aws_iam_role.task["web"].name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = "rds-db:connect"
      Resource = "arn:${local.partition}:rds-db:${local.fleet.region}:${local.account_id}:dbuser:${aws_rds_cluster.database[0].cluster_resource_id}/${local.database_user}"
    }]
  })
}
