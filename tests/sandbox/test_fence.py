"""The fence against real processes: two nodes never write one volume, and without it they destroy it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.dataplane.plane import free_port
from sandbox.ground import FENCE
from sandbox.node import Chain
from tests.sandbox.stage import eventually

FAST = {"SANDBOX_TIME_SCALE": "50", "SANDBOX_BLOCK_SECONDS": "1"}  # fifty blocks a second
Process = subprocess.Popen[str]


class Volume:
    """A data folder, and the processes that a test starts on it."""

    def __init__(self, folder: Path) -> None:
        """Empty."""
        self.folder, self.started = folder, list[Process]()

    def start(self, *argv: str, fenced: bool = True) -> Process:
        """Start a command as ECS does: the fence as entry point, its text as an argument."""
        entry = [sys.executable, "-c", FENCE.read_text()] if fenced else []
        process = subprocess.Popen(
            [*entry, *argv], env={**os.environ, **FAST, "XAI_DATA_DIR": str(self.folder)}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        self.started.append(process)
        return process

    def node(self, name: str, *, fenced: bool = True) -> Process:
        """Start a stand-in node."""
        command = (sys.executable, "-m", "sandbox.node", "--port", str(free_port()), "--data-dir", str(self.folder))
        return self.start(*command, "--name", name, fenced=fenced)

    def heights_in_whole_lines(self) -> list[int]:
        """The heights in the block file, in the order in which they were written; a torn line has none."""
        text = (self.folder / "blocks" / "blocks_0.json").read_text()
        return [int(found) for found in re.findall(r'^{"index": (\d+),.*}$', text, flags=re.MULTILINE)]

    def height(self) -> int:
        """The number of lines in the block file."""
        path = self.folder / "blocks" / "blocks_0.json"
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def end(self) -> None:
        """Kill what runs."""
        for process in self.started:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            process.wait()


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Volume]:
    """A volume; no process on it outlives the test."""
    found = Volume(tmp_path)
    yield found
    found.end()


def first_line(process: Process) -> str:
    """What it says first."""
    assert process.stdout is not None
    return process.stdout.readline()


def child_of(process: Process) -> int:
    """The process that the fence started."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return int(eventually(lambda: children.read_text().split())[0])


def test_fenced_nodes_on_one_volume_never_overlap(volume: Volume) -> None:
    """The second says that it waits, starts when the first has ended, and the chain is whole."""
    first = volume.node("first")
    assert "first listens" in first_line(first)
    second = volume.node("second")
    assert first_line(second) == "fence: another process holds this volume; waiting for it to end\n"
    before = volume.height()
    eventually(lambda: volume.height() > before + 20)
    first.terminate()
    assert first.wait(timeout=10) == 0
    left = volume.height()
    assert "second listens" in first_line(second)
    eventually(lambda: volume.height() > left + 20)
    second.terminate()
    assert second.wait(timeout=10) == 0
    assert volume.heights_in_whole_lines() == list(range(volume.height()))
    chain = Chain(volume.folder)
    chain.load()  # checksums and links hold
    assert len(chain.blocks) == volume.height()


def test_nodes_without_a_fence_corrupt_their_volume(volume: Volume) -> None:
    """Two writers put the same heights on disk twice: what the fence is for."""
    volume.node("first", fenced=False)
    eventually(lambda: volume.height() > 5)
    second = volume.node("second", fenced=False)
    give_up = time.monotonic() + 10
    while max(Counter(volume.heights_in_whole_lines()).values()) == 1 and time.monotonic() < give_up:
        if second.poll() is not None:  # it met a half-written state and refused it; ECS would try again
            second = volume.node("second", fenced=False)
        time.sleep(0.05)
    volume.end()
    assert max(Counter(volume.heights_in_whole_lines()).values()) > 1


def test_node_that_starts_while_the_old_one_stops_waits_for_it(volume: Volume) -> None:
    """ECS' stop-before-start, at its worst: the old container takes its time to end."""
    slow = "trap 'sleep 1; echo old gone; exit 0' INT; echo up; while :; do sleep 0.05; done"
    old = volume.start("sh", "-c", slow)
    assert first_line(old) == "up\n"
    old.terminate()
    new = volume.start("sh", "-c", "date +%s.%N")
    assert "waiting" in first_line(new)
    assert old.wait(timeout=10) == 0
    ended = time.time()
    assert float(first_line(new)) > ended - 0.5
    assert first_line(old) == "old gone\n"


def test_term_becomes_the_int_that_the_node_understands(volume: Volume) -> None:
    """The node stops by itself, says so, and ends with 0."""
    node = volume.node("node")
    assert "listens" in first_line(node)
    node.terminate()
    said, _ = node.communicate(timeout=10)
    assert node.returncode == 0
    assert "node stopped at height" in said


def test_command_gets_its_int_even_if_the_fence_ignores_it(volume: Volume) -> None:
    """A container's runtime may have started the fence with SIGINT ignored."""
    inner = f"import os; os.execv({sys.executable!r}, [{sys.executable!r}, '-c', {FENCE.read_text()!r}, 'sleep', '60'])"
    text = f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); {inner}"
    fence = volume.start(sys.executable, "-c", text, fenced=False)
    child_of(fence)
    fence.terminate()
    assert fence.wait(timeout=10) == 128 + signal.SIGINT


@pytest.mark.parametrize(("command", "code"), [("exit 3", 3), ("exit 0", 0), ("kill -KILL $$", 137)])
def test_exit_code_is_the_commands(volume: Volume, command: str, code: int) -> None:
    """ECS must see how the node ended, not how the fence did."""
    assert volume.start("sh", "-c", command).wait(timeout=10) == code


def test_lock_survives_the_wrapper_as_long_as_its_child_lives(volume: Volume) -> None:
    """SIGKILL of the wrapper frees nothing: the node itself holds the lock."""
    fence = volume.start("sleep", "60")
    child = child_of(fence)
    fence.kill()
    fence.wait()
    second = volume.start("echo", "mine")
    assert "waiting" in first_line(second)
    time.sleep(0.3)
    assert second.poll() is None
    os.kill(child, signal.SIGKILL)
    assert first_line(second) == "mine\n"
    assert second.wait(timeout=10) == 0


def test_waiting_fence_ends_by_term(volume: Volume) -> None:
    """A task that is stopped before its turn goes at once, with TERM's exit code."""
    child_of(volume.start("sleep", "60"))
    second = volume.start("sleep", "60")
    assert "waiting" in first_line(second)
    second.terminate()
    assert second.wait(timeout=10) == 143


def test_lock_of_an_ended_node_is_free(volume: Volume) -> None:
    """Nothing is left behind that a restart would wait for."""
    for _ in range(2):
        node = volume.start("echo", "ran")
        assert first_line(node) == "ran\n"
        assert node.wait(timeout=10) == 0


def test_signal_between_start_and_stop_is_not_lost(volume: Volume) -> None:
    """TERM at any moment of the start leaves no command running behind it."""
    for attempt in range(12):
        fence = volume.start("sh", "-c", "trap 'exit 0' INT; while :; do sleep 0.02; done")
        time.sleep(0.01 * attempt)
        fence.terminate()
        fence.wait(timeout=10)
    free = volume.start("echo", "free")
    assert first_line(free) == "free\n"
