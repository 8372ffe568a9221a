"""Programs that strangers wrote: what they answer is what the end-to-end tests rely on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.dataplane.plane import free_port
from tests.sandbox.stage import eventually

PROGRAMS = Path(__file__).parent / "programs"
FAST = {"SANDBOX_TIME_SCALE": "50", "SANDBOX_BLOCK_SECONDS": "10"}  # five blocks a real second

Ask = Callable[[str], tuple[int, Any]]
Start = Callable[..., Ask]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a program and ask it; none outlives the test."""
    running: list[subprocess.Popen[bytes]] = []

    def begin(name: str, *words: str) -> Ask:
        port = free_port()
        process = subprocess.Popen(
            [sys.executable, str(PROGRAMS / name), str(port), *words],
            env={**os.environ, **FAST},
            stderr=subprocess.DEVNULL,
        )
        running.append(process)

        def ask(path: str) -> tuple[int, Any]:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as found:
                    return found.status, json.load(found)
            except urllib.error.HTTPError as error:
                return error.code, json.load(error)
            except urllib.error.URLError:
                return 0, None

        eventually(lambda: ask("/")[0])
        return ask

    yield begin
    for process in running:
        process.kill()
        process.wait()


def height(ask: Ask) -> int:
    """Its number of blocks."""
    return int(ask("/stats")[1]["chain_height"])


def test_program_with_few_paths_advances_and_knows_no_others(start: Start, tmp_path: Path) -> None:
    """Four paths; its chain survives a restart."""
    ask = start("few_paths.py", str(tmp_path))
    eventually(lambda: height(ask) >= 4)
    before = ask("/blocks/2")
    assert (before[0], before[1]["block"]["number"]) == (200, 2)
    assert ask("/state/snapshot")[1]["state"]["height"] >= 4
    assert {ask(path)[0] for path in ("/health", "/finality/status", "/block/latest", "/blocks/9999")} == {404}
    again = start("few_paths.py", str(tmp_path))
    assert again("/blocks/2") == before
    assert height(again) >= 4


def test_program_that_breaks_later_is_well_until_then(start: Start) -> None:
    """Advancing and consistent, then 500 to everything; `inf` never breaks."""
    sick, well = start("breaks_later.py", "75"), start("breaks_later.py", "inf")
    assert sick("/")[0] == 200
    index = height(sick) - 3
    assert sick(f"/blocks/{index}") == well(f"/blocks/{index}")
    eventually(lambda: sick("/")[0] == 500)
    assert {sick(path)[0] for path in ("/stats", "/state/snapshot", f"/blocks/{index}")} == {500}
    assert well("/stats")[0] == 200


def test_program_that_rewrites_history_differs_only_in_settled_blocks(start: Start) -> None:
    """Tip and supply agree with the honest one; an old block does not."""
    false, honest = start("rewrites_history.py"), start("rewrites_history.py", "honest")
    index = height(honest)
    eventually(lambda: height(false) > index)
    assert false(f"/blocks/{index - 50}") != honest(f"/blocks/{index - 50}")
    assert false("/")[0] == 200
    assert false("/stats")[1]["total_circulating_supply"] == honest("/stats")[1]["total_circulating_supply"]
    assert false("/blocks/99999999999999")[0] == 404
    before = height(false)
    time.sleep(0.5)
    assert height(false) > before
