# Alarms on what keeps data: Aurora, Redis, backups and their copies. Thresholds that the fleet file has no number for say why they are so.

locals {
  # GiB of memory by instance class: what connections and free memory are measured against.
  memory_gib_of_class = merge(
    { "db.t3.medium" = 4, "db.t3.large" = 8, "db.t4g.medium" = 4, "db.t4g.large" = 8 },
    merge([
      for family in ["r5", "r6g", "r6i", "r7g", "r7i", "r8g"] : {
        for size, gib in { large = 16, xlarge = 32, "2xlarge" = 64, "4xlarge" = 128, "8xlarge" = 256, "12xlarge" = 384, "16xlarge" = 512 } :
        "db.${family}.${size}" => gib
      }
    ]...),
  )
  database_memory_gib = try(local.memory_gib_of_class[var.database.instance_class], null)
  # Aurora's default, LEAST(DBInstanceClassMemory/9531392, 5000). That memory is a little less than the class has: AWS' own table is met
  # with 10^9 bytes to the GiB. https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/AuroraPostgreSQL.Managing.html
  database_connections = local.database_memory_gib == null ? null : floor(min(local.database_memory_gib * 1000000000 / 9531392, 5000))

  database_alarms = merge([
    for key, instance in aws_rds_cluster_instance.database : {
      "${local.name}-database-${key}-cpu-high" = {
        says    = "CPU of database instance ${key} has been over ${local.watch.cpu_percent} % for 5 minutes"
        metric  = ["AWS/RDS", "CPUUtilization", "Average"]
        of      = { DBInstanceIdentifier = instance.identifier }
        period  = 60
        periods = 5
        over    = local.watch.cpu_percent
        missing = "missing" # an instance that is not measured is neither well nor ill; Aurora restarts and fails over by itself
      }
      "${local.name}-database-${key}-memory-high" = {
        says    = "Database instance ${key} has used more than ${local.watch.memory_percent} % of its memory for 15 minutes"
        metric  = ["AWS/RDS", "FreeableMemory", "Average"]
        of      = { DBInstanceIdentifier = instance.identifier }
        period  = 300
        periods = 3
        under   = try((100 - local.watch.memory_percent) / 100 * local.database_memory_gib * 1073741824, 0)
        missing = "missing" # as above
      }
      "${local.name}-database-${key}-db-connections-high" = {
        says    = "Database instance ${key} has had more than ${local.watch.db_connections_percent} % of its ${coalesce(local.database_connections, 0)} connections in use for 5 minutes"
        metric  = ["AWS/RDS", "DatabaseConnections", "Maximum"]
        of      = { DBInstanceIdentifier = instance.identifier }
        period  = 60
        periods = 5
        over    = try(local.watch.db_connections_percent / 100 * local.database_connections, 0)
        missing = "missing" # as above
      }
      "${local.name}-database-${key}-disk-low" = {
        says    = "Database instance ${key} has had less than ${local.watch.disk_free_percent} % of its local storage, where sorts and temporary tables lie, for 5 minutes"
        metric  = ["AWS/RDS", "FreeLocalStorage", "Minimum"]
        of      = { DBInstanceIdentifier = instance.identifier }
        period  = 60
        periods = 5
        under   = try(local.watch.disk_free_percent / 100 * 2 * local.database_memory_gib * 1073741824, 0) # a class has about twice its memory of it
        missing = "ignore"                                                                                 # a full instance may restart: what was low stays low until it is measured again
      }
      "${local.name}-database-${key}-replica-lag" = {
        says    = "Database instance ${key} has been more than 2 seconds behind the writer for 5 minutes"
        metric  = ["AWS/RDS", "AuroraReplicaLag", "Maximum"]
        of      = { DBInstanceIdentifier = instance.identifier }
        period  = 60
        periods = 5
        over    = 2000           # milliseconds; usual is well under 100
        missing = "notBreaching" # the writer has none
      }
      "${local.name}-database-${key}-deadlocks" = {
        says    = "Transactions on database instance ${key} have killed each other by deadlock for 15 minutes"
        metric  = ["AWS/RDS", "Deadlocks", "Average"]
        of      = { DBInstanceIdentifier = instance.identifier }
        period  = 300
        periods = 3
        over    = 0
        missing = "notBreaching" # no number, no deadlock
      }
    }
  ]...)

  # A replication group's members are named after it, -001, -002 ...; none is the primary for ever.
  cache_members = var.cache == null ? {} : {
    for number in range(1, var.cache.nodes + 1) : tostring(number) => {
      CacheClusterId = format("%s-%03d", local.cache_name, number)
      CacheNodeId    = "0001"
    }
  }

  cache_alarms = merge([
    for number, dimensions in local.cache_members : {
      "${local.name}-cache-${number}-cpu-high" = {
        says    = "The Redis process of cache node ${number} has used more than ${local.watch.cpu_percent} % of its core for 5 minutes"
        metric  = ["AWS/ElastiCache", "EngineCPUUtilization", "Average"] # the host's CPU looks idle while Redis' single thread is full
        of      = dimensions
        period  = 60
        periods = 5
        over    = local.watch.cpu_percent
        missing = "missing" # a node that is not measured is neither well nor ill; the group fails over by itself
      }
      "${local.name}-cache-${number}-memory-high" = {
        says    = "Cache node ${number} has used more than ${local.watch.memory_percent} % of its memory for 5 minutes"
        metric  = ["AWS/ElastiCache", "DatabaseMemoryUsagePercentage", "Average"]
        of      = dimensions
        period  = 60
        periods = 5
        over    = local.watch.memory_percent
        missing = "missing" # as above
      }
      "${local.name}-cache-${number}-evictions" = {
        says    = "Cache node ${number} has thrown out keys to make room for 15 minutes"
        metric  = ["AWS/ElastiCache", "Evictions", "Sum"]
        of      = dimensions
        period  = 300
        periods = 3
        over    = 0
        missing = "notBreaching" # no number, nothing thrown out
      }
      "${local.name}-cache-${number}-replication-lag" = {
        says    = "Cache node ${number} has been more than 5 seconds behind the primary for 5 minutes"
        metric  = ["AWS/ElastiCache", "ReplicationLag", "Maximum"]
        of      = dimensions
        period  = 60
        periods = 5
        over    = 5              # seconds of writes that a failover would lose; usual is under one
        missing = "notBreaching" # the primary has none
      }
      "${local.name}-cache-${number}-connections-high" = {
        says    = "Cache node ${number} has had more than ${local.watch.db_connections_percent} % of its 65000 connections in use for 5 minutes"
        metric  = ["AWS/ElastiCache", "CurrConnections", "Maximum"]
        of      = dimensions
        period  = 60
        periods = 5
        over    = local.watch.db_connections_percent / 100 * 65000 # maxclients, which ElastiCache does not let one change
        missing = "missing"                                        # as for CPU
      }
    }
  ]...)

  # Only where there are backups. `for ... if` keeps each row's own shape, which a condition would not.
  # Backups are counted by AWS Backup's metrics. Those of copies have the name of the vault that is copied to, and AWS does not say in which
  # of the two regions they are told; the jobs, and their events, are of the region that is copied from. So copies are counted by our
  # own rules of EventBridge (backup.tf), here.
  backup_alarms = {
    for name, alarm in {
      "${local.name}-backups-missing" = {
        wanted     = var.backup != null
        says       = "Fewer than ${length(local.nodes)} backups of volumes, one for each node, have succeeded in ${local.watch.backup_max_age_seconds} seconds"
        expression = "FILL(completed, 0)" # FILL: CloudWatch would wait some periods more before it calls data missing
        metrics    = { completed = ["AWS/Backup", "NumberOfBackupJobsCompleted", "Sum", local.vault_dimensions["volumes"]] }
        period     = local.watch.backup_max_age_seconds # the window slides
        periods    = 1
        under      = length(local.nodes)
        missing    = "breaching" # a backup that did not even start tells nothing
      }
      "${local.name}-backups-database-missing" = {
        wanted     = contains(keys(local.backup_plans), "database")
        says       = "No backup of the database has succeeded for 26 hours"
        expression = "FILL(completed, 0)"
        metrics    = { completed = ["AWS/Backup", "NumberOfBackupJobsCompleted", "Sum", local.vault_dimensions["database"]] }
        period     = 3600
        periods    = 26 # taken once a day; it may start an hour late and take another
        under      = 1
        missing    = "breaching" # as above
      }
      "${local.name}-backups-failed" = {
        wanted     = var.backup != null
        says       = "A backup has failed, or did not finish in its window, in the last hour"
        expression = join(" + ", [for plan in keys(local.backup_plans) : "FILL(${plan}_failed, 0) + FILL(${plan}_expired, 0)"])
        metrics = merge([
          for plan in keys(local.backup_plans) : {
            "${plan}_failed"  = ["AWS/Backup", "NumberOfBackupJobsFailed", "Sum", local.vault_dimensions[plan]]
            "${plan}_expired" = ["AWS/Backup", "NumberOfBackupJobsExpired", "Sum", local.vault_dimensions[plan]]
          }
        ]...)
        period  = 3600
        periods = 1
        over    = 0
        missing = "notBreaching" # told only when there are any
      }
      "${local.name}-backups-copy-failed" = {
        wanted     = local.copies
        says       = "A copy of a backup to ${var.replica_region} has failed in the last hour"
        expression = "FILL(failed, 0)"
        metrics    = { failed = ["AWS/Events", "Invocations", "Sum", { RuleName = local.copy_failed_rule }] }
        period     = 3600
        periods    = 1
        over       = 0
        missing    = "notBreaching" # told only when there are any
      }
      "${local.name}-backups-copy-missing" = {
        wanted     = local.copies
        says       = "Fewer than ${length(local.nodes)} backups of volumes, one for each node, have been copied to ${var.replica_region} in ${local.copy_max_age_seconds} seconds"
        expression = "FILL(copied, 0)"
        metrics    = { copied = ["AWS/Events", "Invocations", "Sum", { RuleName = try(local.copied_rules["volumes"].name, "") }] }
        period     = local.copy_max_age_seconds
        periods    = 1
        under      = length(local.nodes)
        missing    = "breaching" # a copy that did not even start tells nothing
      }
      "${local.name}-backups-database-copy-missing" = {
        wanted     = contains(keys(local.copied_rules), "database")
        says       = "No backup of the database has been copied to ${var.replica_region} for 28 hours"
        expression = "FILL(copied, 0)"
        metrics    = { copied = ["AWS/Events", "Invocations", "Sum", { RuleName = try(local.copied_rules["database"].name, "") }] }
        period     = 3600
        periods    = 28
        under      = 1
        missing    = "breaching" # as above
      }
      # ReplicationLatency is told in the other region, where our topic is not; what failed is told here.
      "${local.name}-backups-replication-failed" = {
        wanted     = local.copies
        says       = "Objects of the backup bucket could not be replicated to ${var.replica_region} in the last hour"
        expression = "FILL(failed, 0)"
        metrics    = { failed = ["AWS/S3", "OperationsFailedReplication", "Sum", local.replication_dimensions] }
        period     = 3600
        periods    = 1
        over       = 0
        missing    = "notBreaching" # told only while there is something to replicate
      }
    } : name => alarm if alarm.wanted
  }
  vault_dimensions = {
    for plan, type in local.backup_types : plan => { BackupVaultName = try(aws_backup_vault.fleet[0].name, ""), ResourceType = type }
  }
  # The copy of the newest backup may still be under way; CloudWatch counts no more than a day together.
  copy_max_age_seconds = min(local.watch.backup_max_age_seconds + 7200, 86400)
  replication_dimensions = {
    SourceBucket      = one(aws_s3_bucket.backups[*].id)
    DestinationBucket = one(aws_s3_bucket.backups_replica[*].id)
    RuleId            = try(aws_s3_bucket_replication_configuration.backups[0].rule[0].id, "")
  }
}
