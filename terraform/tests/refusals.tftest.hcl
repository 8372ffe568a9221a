# Every wrong value of a variable is refused by the check that is meant for it. A run has as many wrong values as there are checks in
# expect_failures: each must fail, and nothing else may. Disagreements with the fleet file, and what the checks say, stand in
# tests/infra/test_module.py.

mock_provider "aws" {
  source = "./tests/mocks"
}

mock_provider "aws" {
  alias  = "replica"
  source = "./tests/mocks"
}

variables {
  environment        = "production"
  domain             = "xai.example.org"
  hosted_zone_id     = "Z0000000000TEST"
  public_hosts       = { nodes = "api", explorers = "explorer" }
  node               = { instance_type = "m6i.large", volume_gib = 20, memory_mib = 3072, cpu_units = 768 }
  web                = { explorers = {}, prometheus = {}, grafana = {} }
  monthly_budget_usd = 1
}

# ---- variables

run "an_unknown_stage" {
  command = plan

  variables {
    environment = "qa"
  }
  expect_failures = [var.environment]
}

run "values_below_what_is_allowed" {
  command = plan

  variables {
    replica_region            = "west"
    vpc_cidr                  = "10.0.0.0/15"
    zones                     = ["a"]
    existing_network          = { vpc_id = "vpc-0aaa", public_subnets = { a = "subnet-0a" }, private_subnets = { a = "subnet-1a" } }
    domain                    = "localhost"
    public_hosts              = {}
    certificate_arn           = "arn:aws:iam::123456789012:server-certificate/old"
    requests_per_five_minutes = 9
    node                      = { instance_type = "m6i.large", volume_gib = 19, memory_mib = 3072, cpu_units = 768 }
    web                       = { explorers = { min = 0 }, prometheus = {}, grafana = {} }
    database                  = { instance_class = "db.r6g.large", instances = 0, backup_days = 7 }
    cache                     = { node_type = "cache.t4g.small", nodes = 0, snapshot_days = 0 }
    backup                    = { keep_days = 7, lock_days = 0, copy = false }
    alert_emails              = ["operations"]
    log_days                  = 2
    monthly_budget_usd        = 0
    github_repository         = "xai-ops"
  }
  expect_failures = [
    var.replica_region, var.vpc_cidr, var.zones, var.existing_network, var.domain, var.public_hosts, var.certificate_arn,
    var.requests_per_five_minutes, var.node, var.web, var.database, var.cache, var.backup, var.alert_emails, var.log_days, var.monthly_budget_usd,
    var.github_repository,
  ]
}

run "values_above_what_is_allowed" {
  command = plan

  variables {
    vpc_cidr                  = "10.0.0.0/17"
    zones                     = ["a", "b", "c", "d", "e", "f", "g"]
    existing_network          = { vpc_id = "vpc-0aaa", public_subnets = { a = "subnet-0a", b = "subnet-0b" }, private_subnets = { a = "subnet-1a", c = "subnet-1c" } }
    domain                    = "XAI.example.org"
    public_hosts              = { nodes = "api", explorers = "api" }
    hosted_zone_id            = "xai.example.org"
    requests_per_five_minutes = 2000000001
    node                      = { instance_type = "m6i.large", volume_gib = 16385, memory_mib = 3072, cpu_units = 768 }
    web                       = { explorers = { min = 3, max = 2 }, prometheus = {}, grafana = {} }
    database                  = { instance_class = "db.r6g.large", instances = 16, backup_days = 7 }
    cache                     = { node_type = "cache.t4g.small", nodes = 7, snapshot_days = 0 }
    backup                    = { keep_days = 7, lock_days = 8, copy = false }
  }
  expect_failures = [
    var.vpc_cidr, var.zones, var.existing_network, var.domain, var.public_hosts, var.hosted_zone_id, var.requests_per_five_minutes,
    var.node, var.web, var.database, var.cache, var.backup,
  ]
}

run "values_that_look_right" {
  command = plan

  variables {
    vpc_cidr     = "10.0.5.0/16"
    zones        = ["a", "b", "b"]
    public_hosts = { nodes = "API" }
    first_images = { nodes = "sha256:abc" }
    database     = { instance_class = "db.r6g.large", instances = 1, backup_days = 36 }
    cache        = { node_type = "cache.t4g.small", nodes = 1, snapshot_days = 36 }
  }
  expect_failures = [var.vpc_cidr, var.zones, var.public_hosts, var.first_images, var.database, var.cache]
}

# ---- variables against the fleet file, and against each other

run "a_host_without_room_for_a_smoke_task" {
  command = plan

  variables {
    node = { instance_type = "m6i.large", volume_gib = 20, memory_mib = 8192, cpu_units = 768 }
  }
  plan_options {
    target = [aws_ebs_volume.node, data.aws_ec2_instance_type.node]
  }
  expect_failures = [data.aws_ec2_instance_type.node]
}

run "a_size_that_fargate_has_not_and_a_disk_that_gp3_has_not" {
  command = plan

  variables {
    web  = { explorers = { cpu_units = 256, memory_mib = 4096 }, prometheus = {}, grafana = {} }
    node = { instance_type = "m6i.large", volume_gib = 20, volume_mibps = 900, memory_mib = 3072, cpu_units = 768 }
  }
  expect_failures = [var.web, var.node]
}

