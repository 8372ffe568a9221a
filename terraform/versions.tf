terraform {
  required_version = ">= 1.11, < 2.0" # native state locking in S3, write-only arguments

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0"
    }
  }

  # The rest stands in environments/<stage>.s3.tfbackend; terraform/bootstrap makes the bucket.
  backend "s3" {}
}

provider "aws" {
  region = local.fleet.region

  default_tags {
    tags = local.tags
  }
}

# Copies live here: what a lost region takes with it is not a backup.
provider "aws" {
  alias  = "replica"
  region = var.replica_region

  default_tags {
    tags = local.tags
  }
}
