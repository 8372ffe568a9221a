# The text of each stage's backend file: `terraform output -raw STAGE`.

locals {
  backend = {
    for stage in ["development", "staging", "production"] : stage => <<-FILE
      # What `terraform -chdir=terraform/bootstrap output -raw ${stage}` printed, for `terraform init -backend-config=`.
      bucket       = "${aws_s3_bucket.state.bucket}"
      key          = "xai-ops/${stage}.tfstate"
      region       = "${var.region}"
      encrypt      = true
      kms_key_id   = "${aws_kms_key.state.arn}"
      use_lockfile = true
    FILE
  }
}

output "development" {
  description = "environments/development.s3.tfbackend"
  value       = local.backend.development
}

output "staging" {
  description = "environments/staging.s3.tfbackend"
  value       = local.backend.staging
}

output "production" {
  description = "environments/production.s3.tfbackend"
  value       = local.backend.production
}
