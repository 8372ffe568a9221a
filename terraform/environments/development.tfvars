# Development: one node, everything may be lost.
environment          = "development"
zones                = ["a", "b"]
nat_gateway_per_zone = false
interface_endpoints  = []
domain               = "development.xai.example.org"
hosted_zone_id       = "Z0000000000DEV"
public_hosts         = { nodes = "api" }
node                 = { instance_type = "m6i.large", volume_gib = 20, memory_mib = 3072, cpu_units = 768 }
node_environment     = { XAI_NETWORK = "testnet", XAI_LOG_LEVEL = "DEBUG" }
alert_emails         = ["development@example.org"]
log_days             = 7
monthly_budget_usd   = 350
protect_data         = false
