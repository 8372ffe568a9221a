"""The fence where it has nothing to hold: it starts nothing, says why, and ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from sandbox.ground import FENCE


def fence(*command: str, cwd: Path, **environment: str) -> subprocess.Popen[str]:
    """Start a command behind the fence, as ECS does."""
    return subprocess.Popen(
        [sys.executable, "-c", FENCE.read_text(), *command], cwd=cwd, env={"PATH": os.environ["PATH"], **environment},
        text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


@pytest.mark.parametrize("environment", [{}, {"XAI_DATA_DIR": ""}])
def test_fence_without_a_volume_starts_nothing(tmp_path: Path, environment: Mapping[str, str]) -> None:
    """A lock in the container's own layer would keep nobody out, and look as if it did."""
    process = fence("touch", "started", cwd=tmp_path, **environment)
    said, _ = process.communicate(timeout=10)
    assert (process.returncode, said) == (2, "fence: XAI_DATA_DIR names no volume to fence\n")
    assert list(tmp_path.iterdir()) == []


def test_fence_of_a_volume_that_is_not_mounted_starts_nothing(tmp_path: Path) -> None:
    """It makes no folder of its own in place of the volume."""
    process = fence("touch", "started", cwd=tmp_path, XAI_DATA_DIR=str(tmp_path / "data"))
    said, _ = process.communicate(timeout=10)
    assert (process.returncode, said.count("\n")) == (2, 1)
    assert "No such file or directory" in said
    assert list(tmp_path.iterdir()) == []


def test_fence_without_a_command_says_so(tmp_path: Path) -> None:
    """One line instead of a traceback."""
    process = fence(cwd=tmp_path, XAI_DATA_DIR=str(tmp_path))
    said, _ = process.communicate(timeout=10)
    assert (process.returncode, said) == (2, "fence: there is no command to start\n")


def test_waiting_fence_ends_by_int(tmp_path: Path) -> None:
    """As by TERM: with the signal's code, and nothing started."""
    holder = fence("sh", "-c", "echo mine; exec sleep 60", cwd=tmp_path, XAI_DATA_DIR=str(tmp_path))
    assert holder.stdout is not None
    assert holder.stdout.readline() == "mine\n"
    waiting = fence("touch", "started", cwd=tmp_path, XAI_DATA_DIR=str(tmp_path))
    assert waiting.stdout is not None
    assert "waiting" in waiting.stdout.readline()
    waiting.send_signal(signal.SIGINT)
    said, _ = waiting.communicate(timeout=10)
    holder.terminate()
    holder.communicate(timeout=10)
    assert (waiting.returncode, said) == (128 + signal.SIGINT, "")
    assert not (tmp_path / "started").exists()
