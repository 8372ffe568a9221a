"""A copy of what is deployed, and the commands that people run in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CHALICE = str(Path(sys.executable).parent / "chalice")


def run(project: Path, *argv: str, stdin: str = "") -> str:
    """Run a command in a project; returns what it printed."""
    done = subprocess.run(
        argv, cwd=project, input=stdin, capture_output=True, text=True, timeout=240, check=False,
        env={**os.environ, "PYTHONPATH": str(project), "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, f"{argv}: {done.stdout}\n{done.stderr}"
    return done.stdout


def copy_project(folder: Path) -> Path:
    """A copy of what is deployed, so that chalice's records stay out of the checkout."""
    for name in ("chalicelib", "tools"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / ".chalice", folder / ".chalice", ignore=shutil.ignore_patterns("deployed", "deployments"))
    for name in ("app.py", "requirements.txt", "requirements-vendor.txt"):
        shutil.copy(ROOT / name, folder / name)
    return folder
