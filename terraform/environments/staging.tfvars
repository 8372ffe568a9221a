# Staging: as production is, smaller. A single NAT gateway: losing its zone stops outgoing traffic, which staging can live with.
environment          = "staging"
zones                = ["a", "b"]
nat_gateway_per_zone = false
interface_endpoints  = []
domain               = "staging.xai.example.org"
hosted_zone_id       = "Z000000000STAGE"
public_hosts         = { nodes = "api", explorers = "explorer" }
node                 = { instance_type = "m6i.large", volume_gib = 50, memory_mib = 3072, cpu_units = 768 }
node_environment     = { XAI_NETWORK = "testnet" }
web = {
  explorers = {
    max         = 2
    environment = { EXPLORER_HOST = "0.0.0.0", EXPLORER_PORT = "8082", XAI_API_URL = "http://nodes.xai-staging.internal:8080" }
  }
}
database           = { instance_class = "db.t4g.medium", instances = 1, backup_days = 7 }
cache              = { node_type = "cache.t4g.small", nodes = 1, snapshot_days = 5 }
backup             = { keep_days = 7, lock_days = 3, copy = true }
alert_emails       = ["staging@example.org"]
log_days           = 7
monthly_budget_usd = 900
