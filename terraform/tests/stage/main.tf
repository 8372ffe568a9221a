# What a stage's files say, read apart from the module under test: its variables, and the fleet file. A run of this comes before the others.

terraform {
  required_providers {
    terraform = {
      source = "terraform.io/builtin/terraform"
    }
  }
}

variable "stage" {
  description = "Whose files are read."
  type        = string
  nullable    = false
}

locals {
  root   = "${path.module}/../../.."
  fleet  = yamldecode(file("${local.root}/chalicelib/fleet/${var.stage}.yaml"))
  groups = local.fleet.groups
}

output "given" {
  description = "The stage's variables; null where it leaves the default."
  value = merge(
    { for name in [
      "account_wide", "alert_emails", "backup", "cache", "database", "github_repository", "interface_endpoints", "log_days",
      "nat_gateway_per_zone", "node_environment", "node_secrets", "protect_data", "web", "zones",
    ] : name => null },
    provider::terraform::decode_tfvars(file("${local.root}/terraform/environments/${var.stage}.tfvars")),
  )
}

output "groups" {
  description = "The groups of the fleet file."
  value       = local.groups
}

output "images" {
  description = "A first image for each group, so that every service is planned."
  value       = { for group in keys(local.groups) : group => "sha256:${sha256(group)}" }
}

output "nodes" {
  description = "Names of the services that are nodes."
  value       = sort(flatten([for own in values(local.groups) : keys(own.services) if own.kind == "node"]))
}

output "web" {
  description = "Names of the services that are not."
  value       = sort(flatten([for own in values(local.groups) : keys(own.services) if own.kind == "http"]))
}

output "bound_alarms" {
  description = "The alarms that services of the fleet file name."
  value       = distinct(flatten([for own in values(local.groups) : [for service in values(own.services) : service.alarms]]))
}

output "repositories" {
  description = "The repositories of the fleet file."
  value       = sort(distinct([for own in values(local.groups) : own.repository]))
}

output "functions" {
  description = "The functions of .chalice/config.json, as their log groups call them."
  value = sort([
    for function in keys(jsondecode(file("${local.root}/.chalice/config.json")).lambda_functions) :
    "/aws/lambda/xai-ops-${var.stage}${function == "api_handler" ? "" : "-${function}"}"
  ])
}

output "fence" {
  description = "The text that each node starts with."
  value       = file("${local.root}/fence/fence.py")
}
