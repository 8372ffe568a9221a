"""What Terraform and the deployment both write down is the same: a function that is deployed is watched as what it is."""

from __future__ import annotations

import ast
import re

import hcl2

from sandbox.terraform import MODULE
from tools.policies import EVENT_FUNCTIONS


def test_alarms_know_every_function_that_events_call() -> None:
    """A function that EventBridge calls has its alarms on lost events; one that it does not call has no rule to watch."""
    (own,) = hcl2.loads((MODULE / "alarms_ops.tf").read_text(encoding="utf-8"))["locals"]
    listed = re.fullmatch(r"\$\{toset\((\[.*\])\)\}", own["event_functions"])
    assert listed, own["event_functions"]
    named = ast.literal_eval(listed[1])
    assert sorted(named) == sorted(EVENT_FUNCTIONS)
