"""`chalice deploy`, `after_deploy` and `chalice invoke`, unmodified, against the sandbox's cloud."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.world import World

ROOT = Path(__file__).parents[2]
CHALICE = str(Path(sys.executable).parent / "chalice")


def _run(project: Path, *argv: str, stdin: str = "") -> str:
    done = subprocess.run(
        argv, cwd=project, input=stdin, capture_output=True, text=True, timeout=240, check=False,
        env={**os.environ, "PYTHONPATH": str(project), "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, f"{argv}: {done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what is deployed, so that chalice's records stay out of the checkout."""
    for name in ("chalicelib", "tools"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / ".chalice", tmp_path / ".chalice", ignore=shutil.ignore_patterns("deployed", "deployments"))
    for name in ("app.py", "requirements.txt", "requirements-vendor.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.mark.e2e
def test_deployed_stage_is_completed_once_and_answers_people(project: Path) -> None:
    """The stage is deployed, after_deploy completes it and then has nothing to do, and invoke reaches our handlers."""
    with World(time_scale=40):
        _run(project, CHALICE, "deploy", "--stage", "staging")
        first = _run(project, sys.executable, "-m", "tools.after_deploy", "--stage", "staging")
        again = _run(project, sys.executable, "-m", "tools.after_deploy", "--stage", "staging")
        assert "rollout_tick: reports the failed messages of a batch" in first
        assert again.strip().endswith("0 changed")
        told = _run(project, CHALICE, "invoke", "-n", "rollback", "--stage", "staging", stdin='{"grop": "nodes"}')
        assert "unknown key 'grop'" in json.loads(told)["error"]
        state = json.loads(_run(project, CHALICE, "invoke", "-n", "status", "--stage", "staging", stdin="{}"))
        assert set(state["groups"]["nodes"]["stable"]) == {"xai-staging-node-1", "xai-staging-node-2"}
