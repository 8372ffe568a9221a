# The repositories that the fleet file names. A push here is what starts a rollout.

resource "aws_ecr_repository" "image" {
  #checkov:skip=CKV_AWS_51:Immutable where the tags that start rollouts are versions; a stage that takes every tag takes moving ones too.
  for_each = { for group in local.fleet.groups : group.repository => contains(group.tags, "*") }

  name                 = each.key
  image_tag_mutability = each.value ? "MUTABLE" : "IMMUTABLE"

  encryption_configuration {
    encryption_type = "KMS"
    kms_key         = aws_kms_key.ops.arn
  }

  image_scanning_configuration {
    scan_on_push = true
  }

  lifecycle {
    prevent_destroy = true # the way back is in here
  }
}

# ECR's rules know counts and ages, not what is deployed. xai-ops tags each target, each stable and each quarantined digest
# keep-<first 12 of the digest> before anything is touched, and an image that the first rule matches is left alone by the others:
# "an image that matches the tagging requirements of a rule cannot be expired or archived by a rule with a lower priority".
# Source: https://docs.aws.amazon.com/AmazonECR/latest/userguide/LifecyclePolicies.html
resource "aws_ecr_lifecycle_policy" "image" {
  for_each = aws_ecr_repository.image

  repository = each.value.name
  policy = jsonencode({
    rules = [
      {
        rulePriority = 1
        description  = "what is deployed, the way back, or evidence"
        action       = { type = "expire" }
        selection = {
          tagStatus      = "tagged"
          tagPatternList = ["keep-*"]
          countType      = "imageCountMoreThan"
          countNumber    = 1000
        }
      },
      {
        rulePriority = 2
        description  = "untagged layers of multi-platform pushes that nothing uses"
        action       = { type = "expire" }
        selection = {
          tagStatus   = "untagged"
          countType   = "sinceImagePushed"
          countUnit   = "days"
          countNumber = 14
        }
      },
      {
        rulePriority = 3
        description  = "releases that were never deployed"
        action       = { type = "expire" }
        selection = {
          tagStatus      = "tagged"
          tagPatternList = ["*"]
          countType      = "imageCountMoreThan"
          countNumber    = 100
        }
      },
    ]
  })
}
