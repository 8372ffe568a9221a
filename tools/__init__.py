"""What a developer or CI runs beside the system: packaging, policies, and the last step of a deployment.

Knows the repository and AWS. Nothing here is part of the bundle that runs in Lambda.
"""
