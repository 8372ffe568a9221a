# What AWS would answer, as far as the module reads it while it plans. The rest stays unknown until it is applied.

mock_data "aws_caller_identity" {
  defaults = { account_id = "123456789012" }
}

mock_data "aws_partition" {
  defaults = { partition = "aws" }
}

mock_data "aws_iam_policy_document" {
  defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
}

mock_data "aws_ec2_instance_type" {
  defaults = {
    memory_size                = 16384
    default_vcpus              = 4
    maximum_network_interfaces = 4
    supported_architectures    = ["x86_64"]
  }
}

mock_data "aws_vpc_endpoint_service" {
  defaults = { availability_zones = ["us-east-1a", "us-east-1b", "us-east-1c"] }
}

mock_resource "aws_ecr_repository" {
  override_during = plan
  defaults = {
    arn            = "arn:aws:ecr:us-east-1:123456789012:repository/xai"
    repository_url = "123456789012.dkr.ecr.us-east-1.amazonaws.com/xai"
  }
}

mock_resource "aws_secretsmanager_secret" {
  override_during = plan
  defaults        = { arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:xai-AbCdEf" }
}

mock_resource "aws_sqs_queue" {
  override_during = plan
  defaults = {
    arn = "arn:aws:sqs:us-east-1:123456789012:queue"
    id  = "https://sqs.us-east-1.amazonaws.com/123456789012/queue"
  }
}

mock_resource "aws_sns_topic" {
  override_during = plan
  defaults        = { arn = "arn:aws:sns:us-east-1:123456789012:topic" }
}
