"""`chalice deploy`, `after_deploy` and `chalice invoke`, unmodified, against the sandbox's cloud."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from sandbox.world import World
from tests.e2e.deploy import CHALICE, copy_project, run


@pytest.mark.e2e
def test_deployed_stage_is_completed_once_and_answers_people(tmp_path: Path) -> None:
    """The stage is deployed, after_deploy completes it and then has nothing to do, and invoke reaches our handlers."""
    project = copy_project(tmp_path)
    with World(time_scale=40):
        run(project, CHALICE, "deploy", "--stage", "staging")
        first = run(project, sys.executable, "-m", "tools.after_deploy", "--stage", "staging")
        again = run(project, sys.executable, "-m", "tools.after_deploy", "--stage", "staging")
        assert "rollout_tick: reports the failed messages of a batch" in first
        assert again.strip().endswith("0 changed")
        told = run(project, CHALICE, "invoke", "-n", "rollback", "--stage", "staging", stdin='{"grop": "nodes"}')
        assert "unknown key 'grop'" in json.loads(told)["error"]
        state = json.loads(run(project, CHALICE, "invoke", "-n", "status", "--stage", "staging", stdin="{}"))
        assert set(state["groups"]["nodes"]["stable"]) == {"xai-staging-node-1", "xai-staging-node-2"}
