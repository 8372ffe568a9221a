# What is operated stands in the fleet file, which the Lambdas and Ansible read too. Nothing of it is said again here.

locals {
  fleet_file = coalesce(var.fleet_file, "${path.module}/../chalicelib/fleet/${var.environment}.yaml")
  fleet_said = yamldecode(file(local.fleet_file))

  # What the file leaves out has the default that the functions' model gives it; its schema, which they write, says which.
  schema = jsondecode(file("${path.module}/../chalicelib/fleet/schema.json"))["$defs"]
  defaults = {
    for part in ["Group", "Limits", "Service", "Incidents"] : part => {
      for key, place in local.schema[part].properties : key => place.default if can(place.default)
    }
  }
  fleet = merge(local.fleet_said, {
    incidents = merge(local.defaults.Incidents, local.fleet_said.incidents)
    groups = {
      for group, settings in local.fleet_said.groups : group => merge(local.defaults.Group, settings, {
        limits   = merge(local.defaults.Limits, settings.limits)
        services = { for service, own in settings.services : service => merge(local.defaults.Service, own) }
      })
    }
  })
  watch = local.fleet.watch

  # Services, families, roles and alarms begin with the cluster's name: the functions' policies rely on it.
  name       = local.fleet.cluster
  ops_name   = "xai-ops-${var.environment}"
  account_id = data.aws_caller_identity.current.account_id
  partition  = data.aws_partition.current.partition

  tags = {
    project     = "xai-ops"
    environment = var.environment
    managed-by  = "terraform"
  }

  # service => its group and what the fleet file says of the service; nodes have a volume each, web services have none.
  services = merge([
    for group, settings in local.fleet.groups : {
      for service, own in settings.services : service => {
        group      = group
        kind       = settings.kind
        container  = settings.container
        repository = settings.repository
        port       = settings.port
        role       = own.role
        alarms     = own.alarms
      }
    }
  ]...)
  nodes = { for service, own in local.services : service => own if own.kind == "node" }
  web   = { for service, own in local.services : service => own if own.kind == "http" }

  # Nodes that are found by a DNS seed are dialled on this port, whatever they listen on.
  p2p_port = 8333

  # Groups whose services stand behind the load balancer: those to which a host name is given.
  public_groups = { for group, settings in local.fleet.groups : group => settings if contains(keys(var.public_hosts), group) }
}

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {
  lifecycle {
    postcondition {
      condition     = self.partition == "aws"
      error_message = "This is AWS' partition ${self.partition}; tools/policies.py writes the functions' permissions for aws alone, and elsewhere they would allow nothing."
    }
  }
}

resource "terraform_data" "fleet" {
  input = local.fleet_file

  lifecycle {
    precondition {
      condition     = local.fleet.environment == var.environment
      error_message = "${local.fleet_file} is the fleet file of ${local.fleet.environment}, and environment is ${var.environment}: name the same one in both."
    }
    precondition {
      condition     = var.replica_region != local.fleet.region
      error_message = "replica_region is ${var.replica_region}, where the fleet itself runs: copies there would be lost with it. Name another region."
    }
    precondition {
      condition     = alltrue([for service in keys(local.services) : startswith(service, "${local.name}-")])
      error_message = "These services of ${local.fleet_file} do not begin with the cluster's name and a hyphen, as the functions' permissions need it: ${join(", ", [for service in keys(local.services) : service if !startswith(service, "${local.name}-")])}."
    }
    precondition {
      condition     = length(setsubtract(keys(var.public_hosts), keys(local.fleet.groups))) == 0
      error_message = "public_hosts names ${join(", ", setsubtract(keys(var.public_hosts), keys(local.fleet.groups)))}, which is no group of ${local.fleet_file}; allowed: ${join(", ", keys(local.fleet.groups))}."
    }
    precondition {
      condition     = length(setsubtract(keys(var.first_images), keys(local.fleet.groups))) == 0
      error_message = "first_images names ${join(", ", setsubtract(keys(var.first_images), keys(local.fleet.groups)))}, which is no group of ${local.fleet_file}; allowed: ${join(", ", keys(local.fleet.groups))}."
    }
    precondition {
      condition     = alltrue([for group, settings in local.fleet.groups : contains(keys(var.web), group) || settings.kind != "http"])
      error_message = "web has no size for ${join(", ", [for group, settings in local.fleet.groups : group if settings.kind == "http" && !contains(keys(var.web), group)])}, of kind http in ${local.fleet_file}; allowed: {} for the defaults, or cpu_units, memory_mib, min, max, environment."
    }
    precondition {
      condition     = length(setsubtract(keys(var.web), [for group, settings in local.fleet.groups : group if settings.kind == "http"])) == 0
      error_message = "web names ${join(", ", setsubtract(keys(var.web), [for group, settings in local.fleet.groups : group if settings.kind == "http"]))}, which is no group of kind http in ${local.fleet_file}; allowed: ${join(", ", [for group, settings in local.fleet.groups : group if settings.kind == "http"])}."
    }
    precondition {
      condition     = alltrue([for own in values(local.nodes) : own.port != local.p2p_port])
      error_message = "${local.fleet_file} has the nodes' API on port ${local.p2p_port}, where peers speak: name another port."
    }
    precondition {
      condition     = length(setintersection(keys(var.node_secrets), keys(var.node_environment))) == 0
      error_message = "${join(", ", setintersection(keys(var.node_secrets), keys(var.node_environment)))} stands in node_secrets and in node_environment, and ECS takes a name once: name it in one of them."
    }
    precondition {
      condition     = length(distinct([for group in values(local.public_groups) : group.container])) == length(local.public_groups)
      error_message = "The groups of public_hosts have the containers ${join(", ", [for group in values(local.public_groups) : group.container])} in ${local.fleet_file}: their alarms are named after them, so each needs a name of its own."
    }
    precondition {
      condition     = var.certificate_arn == null || try(split(":", var.certificate_arn)[3], "") == local.fleet.region
      error_message = "certificate_arn is of ${try(split(":", var.certificate_arn)[3], "no region")}, and the load balancer of ${local.fleet.region} takes only a certificate of its own region."
    }
  }
}
