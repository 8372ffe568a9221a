# Production.
environment    = "production"
domain         = "xai.example.org"
hosted_zone_id = "Z00000000000PROD"
public_hosts   = { nodes = "api", explorers = "explorer" }
node           = { instance_type = "m6i.xlarge", volume_gib = 100, memory_mib = 6144, cpu_units = 1536 }
node_environment = {
  XAI_NETWORK = "mainnet"
}
# Mainnet refuses to start without the first four, of 16 characters or more each; the identity is each node's own.
node_secrets = {
  XAI_WALLET_TRADE_PEER_SECRET = "xai/production/wallet-trade-peer"
  XAI_TIME_CAPSULE_MASTER_KEY  = "xai/production/time-capsule"
  XAI_EMBEDDED_SALT            = "xai/production/embedded-salt"
  XAI_LUCKY_BLOCK_SEED         = "xai/production/lucky-block"
  XAI_PEER_API_KEY             = "xai/production/peer-api-key"
}
web = {
  explorers = {
    cpu_units   = 1024
    memory_mib  = 2048
    max         = 4
    environment = { EXPLORER_HOST = "0.0.0.0", EXPLORER_PORT = "8082", XAI_API_URL = "http://nodes.xai-production.internal:8080" }
  }
  prometheus = { cpu_units = 1024, memory_mib = 4096, max = 1 }
  grafana    = { max = 1 }
}
database           = { instance_class = "db.r6g.xlarge", instances = 2, backup_days = 30 }
cache              = { node_type = "cache.r6g.xlarge", nodes = 3, snapshot_days = 30 }
backup             = { keep_days = 30, lock_days = 14, copy = true }
github_repository  = "xai-blockchain/xai-ops"
alert_emails       = ["operations@example.org"]
monthly_budget_usd = 5000
