"""Terraform: the module, what it builds, and the hosts' own script."""
