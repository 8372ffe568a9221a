variable "environment" {
  description = "Which stage this is: it chooses the fleet file and the names."
  type        = string
  nullable    = false

  validation {
    condition     = contains(["development", "staging", "production"], var.environment)
    error_message = "environment is \"${var.environment}\"; allowed: development, staging, production."
  }
}

variable "fleet_file" {
  description = "Another fleet file than chalicelib/fleet/<environment>.yaml."
  type        = string
  default     = null
}

variable "replica_region" {
  description = "The region to which backups are copied."
  type        = string
  nullable    = false
  default     = "us-west-2"

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.replica_region))
    error_message = "replica_region is \"${var.replica_region}\"; allowed: the name of an AWS region, such as us-west-2."
  }
}

# ---------------------------------------------------------------- network

variable "vpc_cidr" {
  description = "The network's addresses, when Terraform makes it: a /16, of which each zone gets a public and a private /24."
  type        = string
  nullable    = false
  default     = "10.0.0.0/16"

  validation {
    condition     = can(cidrnetmask(var.vpc_cidr)) && try(cidrsubnet(var.vpc_cidr, 0, 0) == var.vpc_cidr && split("/", var.vpc_cidr)[1] == "16", false)
    error_message = "vpc_cidr is \"${var.vpc_cidr}\"; allowed: an IPv4 network of /16 (the largest that AWS takes), such as 10.0.0.0/16."
  }
}

variable "zones" {
  description = "The letters of the availability zones that are used; an Aurora cluster and a load balancer need two. New nodes are spread in this order; a single NAT gateway is in the first of the alphabet."
  type        = list(string)
  nullable    = false
  default     = ["a", "b", "c"]

  validation {
    condition     = length(distinct(var.zones)) == length(var.zones) && length(var.zones) >= 2 && length(var.zones) <= 6 && alltrue([for zone in var.zones : can(regex("^[a-f]$", zone))])
    error_message = "zones is [${join(", ", var.zones)}]; allowed: two to six different letters from a to f."
  }
}

variable "nat_gateway_per_zone" {
  description = "One NAT gateway in each zone, so that losing a zone leaves the others connected; otherwise a single one."
  type        = bool
  nullable    = false
  default     = true
}

variable "existing_network" {
  description = "Your own network in place of one made here; subnets by zone letter, private ones with a way out."
  type = object({
    vpc_id          = string
    public_subnets  = map(string)
    private_subnets = map(string)
  })
  default = null

  validation {
    condition     = var.existing_network == null || try(length(var.existing_network.private_subnets) >= 2 && length(setintersection(values(var.existing_network.private_subnets), values(var.existing_network.public_subnets))) == 0 && keys(var.existing_network.public_subnets) == keys(var.existing_network.private_subnets), false)
    error_message = "existing_network needs a public and a private subnet for each of the same two or more zone letters, like {a = \"subnet-...\", b = \"subnet-...\"}, and none that is both."
  }
}

variable "interface_endpoints" {
  description = "AWS services that are reached inside the network, at a price for each and zone; none: all go through NAT."
  type        = set(string)
  nullable    = false
  default     = ["ecr.api", "ecr.dkr", "logs", "secretsmanager", "ssm", "ssmmessages", "ec2messages", "kms", "ec2", "ecs", "ecs-agent", "ecs-telemetry", "sts", "monitoring", "sqs"]
}

# ---------------------------------------------------------------- edge

variable "domain" {
  description = "The domain under which public groups are reached, such as staging.xai.example.org."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^([a-z0-9]([a-z0-9-]*[a-z0-9])?\\.)+[a-z]{2,}$", var.domain))
    error_message = "domain is \"${var.domain}\"; allowed: a domain name in lower case, such as staging.xai.example.org."
  }
}

variable "public_hosts" {
  description = "group => the host name under domain by which the world reaches it; a group that is not named has no load balancer."
  type        = map(string)
  nullable    = false
  default     = {}

  validation {
    condition     = length(var.public_hosts) > 0 && length(distinct(values(var.public_hosts))) == length(var.public_hosts) && alltrue([for host in values(var.public_hosts) : can(regex("^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", host))])
    error_message = "public_hosts is ${jsonencode(var.public_hosts)}; it needs at least one group with a host name of its own, like {nodes = \"api\", explorers = \"explorer\"}: lower-case letters, digits and hyphens."
  }
}

variable "certificate_arn" {
  description = "The certificate of *.domain; null: one is ordered here and proven through hosted_zone_id."
  type        = string
  default     = null

  validation {
    condition     = var.certificate_arn == null || can(regex("^arn:aws[a-z-]*:acm:[a-z0-9-]+:[0-9]{12}:certificate/.+$", var.certificate_arn))
    error_message = "certificate_arn is \"${coalesce(var.certificate_arn, "null")}\"; allowed: the ARN of an ACM certificate in the fleet's region, or null."
  }
  validation {
    condition     = var.certificate_arn != null || var.hosted_zone_id != null
    error_message = "Name certificate_arn (a certificate of *.domain that you have) or hosted_zone_id (where one may be proven): without either there is no HTTPS."
  }
}

variable "hosted_zone_id" {
  description = "The Route 53 zone of domain: host names are written there, and the certificate is proven; null: you write the names."
  type        = string
  default     = null

  validation {
    condition     = var.hosted_zone_id == null || can(regex("^[A-Z0-9]{8,32}$", var.hosted_zone_id))
    error_message = "hosted_zone_id is \"${coalesce(var.hosted_zone_id, "null")}\"; allowed: the id of a Route 53 hosted zone, such as Z0123456789ABC, or null."
  }
}

variable "requests_per_five_minutes" {
  description = "How many requests WAF takes from one address in five minutes before it blocks it."
  type        = number
  nullable    = false
  default     = 2000

  validation {
    condition     = var.requests_per_five_minutes >= 10 && var.requests_per_five_minutes <= 2000000000
    error_message = "requests_per_five_minutes is ${var.requests_per_five_minutes}; allowed: 10 to 2000000000 (WAF's own limits)."
  }
}

variable "waf_common_blocks" {
  description = "Whether WAF's common rules block; otherwise they only count, until somebody has read what they would have blocked."
  type        = bool
  nullable    = false
  default     = false
}

variable "hidden_paths" {
  description = "Path patterns of public nodes that the world does not see: what is for operators alone."
  type        = list(string)
  nullable    = false
  default     = ["*/metrics*", "*/admin*", "*/peers*"]

  validation {
    condition     = length(var.hidden_paths) <= 4
    error_message = "hidden_paths has ${length(var.hidden_paths)} patterns; allowed: up to 4 (the load balancer takes 5 values in a rule, and one is the host)."
  }
}

# ---------------------------------------------------------------- compute

variable "create_cluster" {
  description = "Whether the ECS cluster that the fleet file names is made here; false: it exists."
  type        = bool
  nullable    = false
  default     = true
}

variable "first_images" {
  description = "group => digest (sha256:...) or tag that its services are created with; a group that is not named has no services yet. Later releases are rollouts and another image here changes nothing, but **a group that is taken out loses its services**."
  type        = map(string)
  nullable    = false
  default     = {}

  validation {
    condition     = alltrue([for image in values(var.first_images) : can(regex("^(sha256:[0-9a-f]{64}|[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127})$", image))])
    error_message = "first_images is ${jsonencode(var.first_images)}; allowed for each group: a digest (sha256: and 64 hexadecimal digits) or a tag."
  }
}

variable "node" {
  description = "A chain node's machine: instance type, volume in GiB, and what ECS reserves of it (MiB, CPU units). A smoke task needs the same room again."
  type = object({
    instance_type = string
    volume_gib    = number
    volume_iops   = optional(number, 3000)
    volume_mibps  = optional(number, 125)
    memory_mib    = number
    cpu_units     = number
  })
  nullable = false

  validation {
    condition     = var.node.volume_gib >= 20 && var.node.volume_gib <= 16384 && floor(var.node.volume_gib) == var.node.volume_gib
    error_message = "node.volume_gib is ${var.node.volume_gib}; allowed: 20 to 16384 in whole GiB, the size of a gp3 volume."
  }
  validation {
    condition     = var.node.volume_iops >= 3000 && var.node.volume_iops <= 16000 && var.node.volume_mibps >= 125 && var.node.volume_mibps <= min(1000, var.node.volume_iops / 4)
    error_message = "node.volume_iops is ${var.node.volume_iops} and node.volume_mibps ${var.node.volume_mibps}; allowed: 3000 to 16000, and 125 to 1000 but at most a quarter of the IOPS, as gp3 has them."
  }
}

variable "node_environment" {
  description = "Environment of every node's container, beside what is set here: names of xai core such as XAI_NETWORK."
  type        = map(string)
  nullable    = false
  default     = {}
}

variable "node_secrets" {
  description = "Environment variable => name of the Secrets Manager secret that holds it; %s in a name is the service's (XAI_NODE_IDENTITY is one for each node)."
  type        = map(string)
  nullable    = false
  default     = {}
}

variable "web" {
  description = "group => size of each of its services on Fargate (CPU units, MiB) and how far autoscaling may go."
  type = map(object({
    cpu_units   = optional(number, 512)
    memory_mib  = optional(number, 1024)
    min         = optional(number, 1)
    max         = optional(number, 3)
    environment = optional(map(string), {})
  }))
  nullable = false
  default  = {}

  validation {
    condition     = alltrue([for size in values(var.web) : size.min >= 1 && size.max >= size.min])
    error_message = "web: min must be at least 1 and max at least min, in each of ${join(", ", keys(var.web))}."
  }
  validation {
    condition = alltrue([for size in values(var.web) : contains(lookup({
      "256"  = [512, 1024, 2048]
      "512"  = range(1024, 4097, 1024)
      "1024" = range(2048, 8193, 1024)
      "2048" = range(4096, 16385, 1024)
      "4096" = range(8192, 30721, 1024)
    }, tostring(size.cpu_units), []), size.memory_mib)])
    error_message = "web: ${join(", ", [for group, size in var.web : "${group} asks ${size.cpu_units} CPU units and ${size.memory_mib} MiB"])}; Fargate has 256 with 512, 1024 or 2048, 512 with 1024 to 4096, 1024 with 2048 to 8192, 2048 with 4096 to 16384, 4096 with 8192 to 30720, in steps of 1024."
  }
}

# ---------------------------------------------------------------- data

variable "database" {
  description = "The Aurora PostgreSQL cluster; null: none (nodes need none, an index or explorer may)."
  type = object({
    instance_class = string
    instances      = number
    engine_version = optional(string, "15") # a major version takes minor upgrades by itself, a minor one is pinned
    backup_days    = number
  })
  default = null

  validation {
    condition     = var.database == null || try(var.database.instances >= 1 && var.database.instances <= 15 && var.database.backup_days >= 1 && var.database.backup_days <= 35, false)
    error_message = "database: allowed are 1 to 15 instances and 1 to 35 backup_days (Aurora's own limits)."
  }
}

variable "cache" {
  description = "The Redis replication group; null: none."
  type = object({
    node_type      = string
    nodes          = number
    engine_version = optional(string, "7.1")
    snapshot_days  = number
  })
  default = null

  validation {
    condition     = var.cache == null || try(var.cache.nodes >= 1 && var.cache.nodes <= 6 && var.cache.snapshot_days >= 0 && var.cache.snapshot_days <= 35, false)
    error_message = "cache: allowed are 1 to 6 nodes (2 or more fail over) and 0 to 35 snapshot_days (ElastiCache's own limits)."
  }
}

variable "backup" {
  description = "AWS Backup of the nodes' volumes and how long backups are kept and locked, in days; null: the stage keeps none."
  type = object({
    keep_days = number
    lock_days = number
    copy      = bool
  })
  default = null

  validation {
    condition     = var.backup == null || try(var.backup.lock_days >= 1 && var.backup.lock_days <= var.backup.keep_days, false)
    error_message = "backup.lock_days must be at least 1 and at most keep_days: what is locked for longer than it is kept could not be pruned."
  }
}

# ---------------------------------------------------------------- watch

variable "alert_emails" {
  description = "Who hears of alarms by e-mail, beside the tickets; each confirms a subscription."
  type        = set(string)
  nullable    = false
  default     = []

  validation {
    condition     = alltrue([for address in var.alert_emails : can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", address))])
    error_message = "alert_emails: [${join(", ", var.alert_emails)}] has something that is no e-mail address."
  }
}

variable "log_days" {
  description = "How long logs are kept."
  type        = number
  nullable    = false
  default     = 30

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_days)
    error_message = "log_days is ${var.log_days}; allowed: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653 (CloudWatch's own)."
  }
}

variable "runbooks_url" {
  description = "Where the runbooks of docs/runbooks are read; an alarm's description links its page."
  type        = string
  nullable    = false
  default     = "https://github.com/xai-blockchain/xai-ops/blob/main/docs/runbooks"
}

variable "monthly_budget_usd" {
  description = "The stage's budget; AWS warns at 80 % spent and 100 % forecast."
  type        = number
  nullable    = false

  validation {
    condition     = var.monthly_budget_usd > 0
    error_message = "monthly_budget_usd is ${var.monthly_budget_usd}; allowed: more than 0."
  }
}

# ---------------------------------------------------------------- account

variable "account_wide" {
  description = "Whether this stage owns what an account has once: the trail, GitHub's identity provider. True in one stage of an account."
  type        = bool
  nullable    = false
  default     = true
}

variable "github_repository" {
  description = "OWNER/NAME whose workflows may act as the CI role; null: there is none."
  type        = string
  default     = null

  validation {
    condition     = var.github_repository == null || can(regex("^[\\w.-]+/[\\w.-]+$", var.github_repository))
    error_message = "github_repository is \"${coalesce(var.github_repository, "null")}\"; allowed: OWNER/NAME, or null."
  }
}

variable "protect_data" {
  description = "Deletion protection of the database, the table, the load balancer and locks of backups; off only where everything may be lost."
  type        = bool
  nullable    = false
  default     = true
}
