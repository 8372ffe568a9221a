"""The stand-in node: real processes, real HTTP, real files."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.dataplane.plane import free_port
from sandbox.node import EMPTY_DIGEST, FAULTS, GENESIS_SUPPLY, REWARD, tear
from tests.sandbox.stage import eventually

SCALE, BLOCK_SECONDS = 50, 10  # five blocks a real second
AT_ONCE, SOON = 0.0, 0.4  # real seconds


class Running:
    """A node's process, and how to talk to it."""

    def __init__(self, folder: Path, name: str, port: int, peers: list[int], faults: tuple[str, ...]) -> None:
        """Start it; it may not listen yet."""
        self.folder, self.url = folder, f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "sandbox.node", "--port", str(port), "--data-dir", str(folder), "--name", name,
                "--peers", " ".join(f"http://127.0.0.1:{peer}" for peer in peers),
                *(word for fault in faults for word in ("--fault", fault)),
            ],
            env={**os.environ, "SANDBOX_TIME_SCALE": str(SCALE), "SANDBOX_BLOCK_SECONDS": str(BLOCK_SECONDS)},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def line(self) -> str:
        """Its next line."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ask(self, path: str, *, seconds: float = 5.0) -> tuple[int, str, str]:
        """Status, content type and body."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=seconds) as answer:  # noqa: S310 - loopback
                return answer.status, answer.headers["Content-Type"], answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.headers["Content-Type"], error.read().decode()

    def json(self, path: str) -> Any:
        """The body, whatever the status."""
        return json.loads(self.ask(path)[2])

    def height(self) -> int:
        """The number of its blocks."""
        return int(self.json("/stats")["chain_height"])

    def hash_at(self, index: int) -> str:
        """The hash of a block."""
        return str(self.json(f"/blocks/{index}")["hash"])

    def reaches(self, height: int) -> None:
        """Wait until it is so high."""
        eventually(lambda: self.height() >= height, seconds=15)

    def stop(self) -> int:
        """SIGINT; the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=10)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()


class Fleet:
    """The nodes of one test."""

    def __init__(self, root: Path) -> None:
        """None yet."""
        self.root, self.nodes = root, list[Running]()

    def start(
        self, name: str = "node", *faults: str, port: int = 0, peers: tuple[int, ...] = (), up: bool = True
    ) -> Running:
        """Start a node on the volume of its name, and wait until it listens."""
        folder = self.root / name
        folder.mkdir(exist_ok=True)
        node = Running(folder, name, port or free_port(), list(peers), faults)
        self.nodes.append(node)
        if up:
            said = node.line()
            assert "listens" in said, said
        return node

    def together(self, *faults: str, count: int = 2) -> list[Running]:
        """Nodes that know each other; the faults are the first one's."""
        ports = [free_port() for _ in range(count)]
        return [
            self.start(f"node-{i}", *(faults if i == 0 else ()), port=port, peers=tuple(p for p in ports if p != port))
            for i, port in enumerate(ports)
        ]


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """Nodes; none outlives the test."""
    found = Fleet(tmp_path)
    yield found
    for node in found.nodes:
        if node.process.poll() is None:
            node.kill()


# ---------------------------------------------------------------------------------------------- the chain


def test_three_nodes_agree(fleet: Fleet) -> None:
    """Same height within a block, same hash at a height, same digest at a tip."""
    nodes = fleet.together(count=3)
    for node in nodes:
        node.reaches(8)
    heights = [node.height() for node in nodes]
    assert max(heights) - min(heights) <= 2
    assert len({node.hash_at(6) for node in nodes}) == 1
    states = {node.json("/state/snapshot")["state"]["tip"]: None for node in nodes}
    for tip in states:
        digests = {s["utxo_digest"] for n in nodes if (s := n.json("/state/snapshot")["state"])["tip"] == tip}
        assert len(digests) <= 1


def test_restarted_node_keeps_its_chain_and_identity(fleet: Fleet) -> None:
    """A clean stop ends with 0, and the next start goes on at the same height."""
    first = fleet.start()
    first.reaches(6)
    block, identity = first.hash_at(4), (first.folder / "node_identity.json").read_text()
    assert first.stop() == 0
    again = fleet.start("node", "stall")
    assert again.height() >= 6
    assert again.hash_at(4) == block
    assert (again.folder / "node_identity.json").read_text() == identity
    assert (again.folder / "node_identity.json").stat().st_mode & 0o777 == 0o600


def test_node_that_was_away_catches_up(fleet: Fleet) -> None:
    """An empty node follows the longest chain of its peers, and can be restarted on what it took."""
    port = free_port()
    ahead = fleet.start("ahead", port=port)
    ahead.reaches(15)
    late = fleet.start("late", peers=(port,))
    late.reaches(15)
    assert late.hash_at(12) == ahead.hash_at(12)
    assert late.stop() == 0
    assert fleet.start("late").height() >= 15


def test_reorganisation_is_adopted_by_the_peers(fleet: Fleet) -> None:
    """The last two blocks are replaced once, and everyone agrees on the new ones."""
    reorganising, peer = fleet.together("reorg-at=8")
    peer.reaches(9)
    said = next(line for line in iter(reorganising.line, "") if "reorganised" in line)
    index = int(said.rsplit(" ", 1)[-1])
    peer.reaches(index + 4)
    eventually(lambda: peer.hash_at(index) == reorganising.hash_at(index))
    assert reorganising.json(f"/blocks/{index}")["nonce"] == 1
    assert peer.json(f"/blocks/{index}")["nonce"] == 1
    assert peer.hash_at(index - 1) == reorganising.hash_at(index - 1)
    assert peer.stop() == 0
    after = fleet.start("node-1", "stall")
    assert after.json(f"/blocks/{index}")["nonce"] == 1


def test_sigint_ends_a_node_cleanly_even_while_it_starts(fleet: Fleet) -> None:
    """Exit code 0, at any time."""
    node = fleet.start("node", "slow-start=600", up=False)
    eventually((node.folder / "checksum.json").exists)
    assert node.stop() == 0


# ---------------------------------------------------------------------------------------------- damage


def test_torn_volume_is_refused(fleet: Fleet) -> None:
    """The node names its integrity check and ends with 1; it does not repair."""
    fleet.start().stop()
    tear(fleet.root / "node")
    node = fleet.start(up=False)
    assert node.line() == "Blockchain data integrity check failed: blocks/blocks_0.json does not match checksum.json"
    assert node.process.wait(timeout=10) == 1


def test_missing_utxo_set_starts_with_no_supply(fleet: Fleet) -> None:
    """As with the real node: no error, supply 0 and the digest of nothing."""
    node = fleet.start()
    node.reaches(3)
    assert node.json("/stats")["total_circulating_supply"] > GENESIS_SUPPLY
    node.stop()
    (node.folder / "utxo_set.json").unlink()
    lost = fleet.start()
    assert lost.json("/stats")["total_circulating_supply"] == 0.0
    digest = lost.json("/state/snapshot")["state"]["utxo_digest"]
    assert digest == EMPTY_DIGEST == hashlib.sha256(b"").hexdigest()
    lost.stop()
    assert fleet.start().json("/stats")["total_circulating_supply"] == 0.0


def test_files_on_disk_match_their_checksums(fleet: Fleet) -> None:
    """checksum.json is the commit marker of the state and block files."""
    node = fleet.start()
    node.reaches(4)
    node.stop()
    sums = json.loads((node.folder / "checksum.json").read_text())
    assert set(sums) == {"utxo_set.json", "blocks/blocks_0.json"}
    for name, wanted in sums.items():
        assert hashlib.sha256((node.folder / name).read_bytes()).hexdigest() == wanted
    assert not list(node.folder.glob("*.tmp*"))


# ---------------------------------------------------------------------------------------------- what it says


def test_lone_node_is_alive_and_not_healthy(fleet: Fleet) -> None:
    """/health is 503 without peers, with a body; / and /stats are 200; /health writes its file."""
    node = fleet.start()
    status, _, body = node.ask("/health")
    assert (status, json.loads(body)["status"], json.loads(body)["error"]) == (503, "degraded", "no_connected_peers")
    assert json.loads(body)["services"]["issues"] == ["no_connected_peers"]
    assert (node.ask("/")[0], node.ask("/stats")[0]) == (200, 200)
    assert (node.folder / "health_check.tmp").exists()


def test_node_with_a_peer_is_healthy(fleet: Fleet) -> None:
    """200 and no issues."""
    nodes = fleet.together()
    eventually(lambda: nodes[0].ask("/health")[0] == 200)
    assert nodes[0].json("/health")["status"] == "healthy"
    assert "issues" not in nodes[0].json("/health")["services"]


def test_heights_are_counted_as_the_real_node_counts(fleet: Fleet) -> None:
    """chain_height and state.height are one more than the tip's index; supply follows."""
    node = fleet.start("node", "stall")
    assert (node.height(), node.json("/block/latest")["block_number"]) == (1, 0)
    assert node.json("/state/snapshot")["state"]["height"] == 1
    assert node.json("/sync/status")["sync_status"]["state_sync"]["current_height"] == 0
    assert node.json("/consensus/info")["consensus"]["chain_height"] == 1
    assert node.json("/finality/status")["highest_finalized_height"] is None
    assert node.json("/stats")["total_circulating_supply"] == GENESIS_SUPPLY
    assert not {"peer_count", "mining", "finalized_height", "version", "is_synced"} & set(node.json("/stats"))


def test_supply_and_finality_rise_with_the_chain(fleet: Fleet) -> None:
    """A reward a block, and a finalised height behind the tip."""
    node = fleet.start()
    node.reaches(6)
    stats = node.json("/stats")
    assert stats["total_circulating_supply"] == GENESIS_SUPPLY + REWARD * (stats["chain_height"] - 1)
    assert 0 < node.json("/finality/status")["highest_finalized_height"] < node.height()


def test_unknown_block_and_unknown_path_are_different_404s(fleet: Fleet) -> None:
    """JSON for a block that is not there, Flask's HTML for a path that is not; an index is a number."""
    node = fleet.start()
    status, kind, body = node.ask("/blocks/99999")
    assert (status, kind, json.loads(body)) == (404, "application/json", {"error": "Block not found"})
    for path in ("/api/v1/network/info", "/nothing"):
        status, kind, body = node.ask(path)
        assert (status, kind) == (404, "text/html")
        assert body.startswith("<!doctype html>")
    assert node.ask("/blocks/x")[0] == 400


@pytest.mark.parametrize("prefix", ["", "/v1", "/api/v1"])
def test_prefixes_are_stripped(fleet: Fleet, prefix: str) -> None:
    """/api/v1/stats is /stats, and a query is no part of a path."""
    node = fleet.start("node", "stall")
    assert node.json(f"{prefix}/stats")["chain_height"] == 1
    assert node.json(f"{prefix}/peers?verbose=true")["verbose"] is True


# ---------------------------------------------------------------------------------------------- faults


def advances(node: Running) -> bool:
    """Whether it grows within five block times."""
    before = node.height()
    time.sleep(1.0)
    return node.height() > before


def test_node_that_dies_at_start_says_why(fleet: Fleet) -> None:
    """An import error and exit code 1."""
    node = fleet.start("node", "die-at-start", up=False)
    said, _ = node.process.communicate(timeout=10)
    assert node.process.returncode == 1
    assert "ModuleNotFoundError" in said


def test_node_that_dies_later_serves_until_then(fleet: Fleet) -> None:
    """Seconds are the sandbox's."""
    node = fleet.start("node", "die-after=25")
    assert node.ask("/")[0] == 200
    assert node.process.wait(timeout=10) == 1


def test_slow_start_does_not_listen_at_first(fleet: Fleet) -> None:
    """Refused, then up."""
    node = fleet.start("node", "slow-start=50", up=False)
    began = time.monotonic()
    with pytest.raises(urllib.error.URLError):
        node.ask("/")
    assert "listens" in node.line()
    assert time.monotonic() - began > 0.8
    assert node.ask("/")[0] == 200


def test_stalled_node_does_not_advance(fleet: Fleet) -> None:
    """At once, or after a while."""
    stalled, later = fleet.start("a", "stall"), fleet.start("b", "stall-after=60")
    later.reaches(3)
    assert not advances(stalled)
    eventually(lambda: not advances(later))


def test_forking_node_leaves_its_peers_from_its_next_block_on(fleet: Fleet) -> None:
    """A common past, and another hash at every height behind it; the peers stay together."""
    port = free_port()
    good = fleet.start("good", port=port)
    good.reaches(10)
    late = fleet.start("forked", peers=(port,))
    late.reaches(10)
    late.stop()
    forked = fleet.start("forked", "fork", peers=(port,))
    tip = forked.height()
    forked.reaches(tip + 3)
    good.reaches(tip + 3)
    assert forked.hash_at(tip - 2) == good.hash_at(tip - 2)
    assert forked.hash_at(tip + 1) != good.hash_at(tip + 1)


def test_deep_fork_leaves_twenty_blocks_under_the_tip(fleet: Fleet) -> None:
    """It falls back and mines another past."""
    first = fleet.start()
    first.reaches(26)
    old = first.hash_at(20)
    first.stop()
    forked = fleet.start("node", "fork-deep")
    forked.reaches(23)
    assert forked.hash_at(20) != old
    assert forked.hash_at(3) == forked.json("/blocks/4")["previous_hash"]


def test_lost_utxo_is_said_and_the_volume_stays_whole(fleet: Fleet) -> None:
    """`lose-utxo` is the version's fault: the next version reads everything again."""
    lost = fleet.start("node", "lose-utxo")
    lost.reaches(3)
    assert lost.json("/stats")["total_circulating_supply"] == 0.0
    assert lost.json("/state/snapshot")["state"]["utxo_digest"] == EMPTY_DIGEST
    lost.stop()
    assert fleet.start().json("/stats")["total_circulating_supply"] > GENESIS_SUPPLY


def test_deleted_utxo_is_gone_for_the_next_version_too(fleet: Fleet) -> None:
    """`delete-utxo` damages the volume."""
    fleet.start("node", "delete-utxo").stop()
    assert fleet.start().json("/stats")["total_circulating_supply"] == 0.0


@pytest.mark.parametrize(("fault", "later"), [("error5xx", AT_ONCE), ("error5xx-after=20", SOON)])
def test_erring_node_answers_500(fleet: Fleet, fault: str, later: float) -> None:
    """To everything."""
    node = fleet.start("node", fault)
    time.sleep(later)
    assert {node.ask(path)[0] for path in ("/", "/stats", "/health", "/blocks/0")} == {500}


@pytest.mark.parametrize(("fault", "later"), [("hang", AT_ONCE), ("hang-after=20", SOON)])
def test_hanging_node_accepts_and_never_answers(fleet: Fleet, fault: str, later: float) -> None:
    """And still stops by SIGINT."""
    node = fleet.start("node", fault)
    time.sleep(later)
    with pytest.raises(TimeoutError):
        node.ask("/", seconds=0.4)
    assert node.stop() == 0


def test_limited_node_answers_429_for_each_path(fleet: Fleet) -> None:
    """N a minute and path."""
    node = fleet.start("node", "rate-limit=2")
    assert [node.ask("/stats")[0] for _ in range(4)] == [200, 200, 429, 429]
    assert node.ask("/")[0] == 200


def test_older_release_has_no_finality(fleet: Fleet) -> None:
    """An HTML 404, as with the release before."""
    assert fleet.start("node", "no-finality").ask("/finality/status")[:2] == (404, "text/html")


def test_stuck_finality_does_not_rise(fleet: Fleet) -> None:
    """While the chain does."""
    node = fleet.start("node", "finality-stuck")
    before = node.json("/finality/status")["highest_finalized_height"]
    assert advances(node)
    assert node.json("/finality/status")["highest_finalized_height"] == before


def test_regressed_node_starts_from_genesis_and_leaves_the_volume_alone(fleet: Fleet) -> None:
    """It ignores disk and peers."""
    first = fleet.start()
    first.reaches(10)
    first.stop()
    before = (first.folder / "blocks" / "blocks_0.json").read_bytes()
    node = fleet.start("node", "regress")
    assert node.height() < 6
    assert advances(node)
    assert (node.folder / "blocks" / "blocks_0.json").read_bytes() == before


def test_malformed_answer_is_a_200(fleet: Fleet) -> None:
    """Text that is no JSON."""
    status, kind, body = fleet.start("node", "bad-json").ask("/stats")
    assert (status, kind) == (200, "application/json")
    with pytest.raises(ValueError, match="Expecting"):
        json.loads(body)


def test_lagging_node_says_that_it_is_behind(fleet: Fleet) -> None:
    """By N blocks, on the same chain."""
    ahead, behind = fleet.together("lag=5")[::-1]
    ahead.reaches(12)
    assert 3 <= ahead.height() - behind.height() <= 7
    assert behind.hash_at(3) == ahead.hash_at(3)


def test_wrong_digest_is_the_nodes_own(fleet: Fleet) -> None:
    """Same tip, other digest."""
    node = fleet.start("node", "wrong-digest", "stall")
    assert node.json("/state/snapshot")["state"]["utxo_digest"] == hashlib.sha256(b"node").hexdigest()


def test_fault_with_a_node_s_name_is_that_node_s_only(fleet: Fleet) -> None:
    """NAME@NODE compares the end of the name."""
    assert fleet.start("xai-node-1", "error5xx@node-2").ask("/")[0] == 200
    assert fleet.start("xai-node-2", "error5xx@node-2").ask("/")[0] == 500


def test_unknown_fault_is_refused_with_what_there_is(fleet: Fleet) -> None:
    """Exit code 2, and every fault's name."""
    node = fleet.start("node", "explode", up=False)
    said, _ = node.process.communicate(timeout=10)
    assert node.process.returncode == 2
    assert all(name in said for name in FAULTS)


@pytest.mark.parametrize("fault", ["die-after", "die-after=soon", "rate-limit=", "lag=x", "reorg-at"])
def test_fault_without_its_number_is_refused(fleet: Fleet, fault: str) -> None:
    """Wrong usage is told at the start, not by a thread that dies later."""
    node = fleet.start("node", fault, up=False)
    said, _ = node.process.communicate(timeout=10)
    assert node.process.returncode == 2
    assert fault.partition("=")[0] in said
