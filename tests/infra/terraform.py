"""Whether Terraform is here; what CI needs is never skipped there."""

from __future__ import annotations

import os

import pytest

from sandbox.terraform import find_terraform

needs_terraform = pytest.mark.skipif(
    find_terraform() is None and not os.environ.get("CI"),
    reason="terraform 1.11 or later is not on PATH: https://developer.hashicorp.com/terraform/install",
)
