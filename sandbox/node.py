"""The stand-in XAI node: the real node's API and data on disk, a deterministic chain, and the faults people meet.

Run as an image's command: `python -m sandbox.node --port {port} --data-dir {data_dir} --peers "{peers}" --name {name}`.
Standard library and stand_in.py only, because it starts dozens of times in a scenario. Every node mines the same block at a height, one
block time after its tip, and follows the longest valid chain of its peers. Two processes on one directory corrupt it,
as they do with the real node. Block time: SANDBOX_BLOCK_SECONDS / SANDBOX_TIME_SCALE real seconds.
"""

import argparse
import hashlib
import json
import os
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from sandbox.stand_in import parse_faults

FAULTS = {
    "die-at-start": "prints an import error and exits 1",
    "die-after": "SECONDS: exits 1",
    "slow-start": "SECONDS before it listens",
    "stall": "its height never rises",
    "stall-after": "SECONDS: from then on its height never rises",
    "fork": "mines a chain of its own from its next block on",
    "fork-deep": "likewise from 20 blocks under its tip",
    "lose-utxo": "says supply 0 and an empty digest; the volume stays intact",
    "delete-utxo": "deletes utxo_set.json and runs with the empty set",
    "error5xx": "answers 500 to everything",
    "error5xx-after": "SECONDS: from then on answers 500 to everything",
    "hang": "accepts and never answers",
    "hang-after": "SECONDS: from then on never answers",
    "rate-limit": "N requests a minute and path, then 429",
    "no-finality": "has no /finality/status",
    "finality-stuck": "its finalised height never rises",
    "regress": "starts from genesis, ignoring disk and peers",
    "bad-json": "answers 200 with text that is no JSON",
    "lag": "N: says it is N blocks behind",
    "wrong-digest": "says a utxo_digest of its own",
    "reorg-at": "HEIGHT: replaces its last two blocks once; its peers follow",
}
REWARD, GENESIS_SUPPLY, KEPT_FINAL = 50.0, 1_000_000.0, 2
SCALE = float(os.environ.get("SANDBOX_TIME_SCALE", "1"))
BLOCK_SECONDS = float(os.environ.get("SANDBOX_BLOCK_SECONDS", "10")) / SCALE
EMPTY_DIGEST = hashlib.sha256(b"").hexdigest()


class IntegrityError(Exception):
    """The data on disk does not match its checksums."""


def make_block(parent: "dict[str, Any] | None", chain_id: str, nonce: int = 0) -> dict[str, Any]:
    """The block that follows: equal on every node of the same chain."""
    index = parent["index"] + 1 if parent else 0
    previous = parent["hash"] if parent else "0" * 64
    digest = hashlib.sha256(f"{chain_id}/{index}/{previous}/{nonce}".encode()).hexdigest()
    return {"index": index, "hash": digest, "previous_hash": previous, "timestamp": float(index), "nonce": nonce,
            "miner": chain_id, "transactions": [{"type": "coinbase", "amount": REWARD}]}  # fmt: skip


def utxo_of(chain: list[Any]) -> dict[str, Any]:
    """The UTXO set that a chain leads to."""
    return {"genesis": GENESIS_SUPPLY, "blocks": len(chain) - 1, "tip": chain[-1]["hash"]}


def digest_of(utxo: dict[str, Any]) -> str:
    """The digest of a UTXO set; of an empty one that of nothing."""
    return hashlib.sha256(json.dumps(utxo, sort_keys=True).encode() if utxo else b"").hexdigest()


class Chain:
    """The chain, in memory and on disk."""

    def __init__(self, data_dir: Path, *, chain_id: str = "xai") -> None:
        self.dir, self.chain_id = data_dir, chain_id
        self.blocks: list[Any] = [make_block(None, "xai")]
        self.utxo: dict[Any, Any] = utxo_of(self.blocks)
        self.lock = threading.RLock()
        self.mined_at = time.monotonic()
        self.on_disk = True

    @property
    def block_file(self) -> Path:
        """Append-only, one JSON line a block; of a height that occurs twice the last counts."""
        return self.dir / "blocks" / "blocks_0.json"

    def load(self) -> None:
        """Read the disk as the real node does. Raises IntegrityError."""
        (self.dir / "blocks").mkdir(parents=True, exist_ok=True)
        identity = self.dir / "node_identity.json"
        if not identity.exists():
            identity.write_text(json.dumps({"private_key": os.urandom(32).hex()}))
            identity.chmod(0o600)
        if not self.block_file.exists():
            self._append(self.blocks)
            self._commit()
            return
        self._verify()
        found: dict[Any, Any] = {}
        for line in self.block_file.read_text().splitlines():
            block = json.loads(line)
            found[block["index"]] = block
            for index in [i for i in found if i > block["index"]]:
                del found[index]
        self.blocks = [found[index] for index in sorted(found)]
        for parent, block in zip(self.blocks, self.blocks[1:], strict=False):
            if block["previous_hash"] != parent["hash"]:
                raise IntegrityError(f"block {block['index']} does not follow its parent")
        state = self.dir / "utxo_set.json"
        self.utxo = json.loads(state.read_text()) if state.exists() else {}

    def _verify(self) -> None:
        sums = self.dir / "checksum.json"
        if not sums.exists():
            return
        for name, wanted in json.loads(sums.read_text()).items():
            path = self.dir / name
            if path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() != wanted:
                raise IntegrityError(f"{name} does not match checksum.json")

    def add(self, block: dict[str, Any]) -> None:
        """Put a block on the tip."""
        with self.lock:
            self.blocks.append(block)
            self.mined_at = time.monotonic()
            if self.utxo:
                self.utxo = utxo_of(self.blocks)
            if self.on_disk:
                self._append([block])
                self._commit()

    def replace_from(self, index: int, blocks: list[Any]) -> None:
        """Reorganise: what stands from index on gives way."""
        with self.lock:
            self.blocks[index:] = blocks
            self.mined_at = time.monotonic()
            if self.utxo:
                self.utxo = utxo_of(self.blocks)
            if self.on_disk:
                self._append(blocks)
                self._commit()

    def _append(self, blocks: list[Any]) -> None:
        with self.block_file.open("a") as file:
            for block in blocks:
                file.write(json.dumps(block) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _commit(self) -> None:
        """State files, then the checksums last: they are the commit marker."""
        self._swap("utxo_set.json", json.dumps(self.utxo))
        names = [n for n in ("utxo_set.json", "blocks/blocks_0.json") if (self.dir / n).exists()]
        sums = {name: hashlib.sha256((self.dir / name).read_bytes()).hexdigest() for name in names}
        self._swap("checksum.json", json.dumps(sums))

    def _swap(self, name: str, text: str) -> None:
        draft = self.dir / f"{name}.tmp{os.getpid()}"
        draft.write_text(text)
        draft.rename(self.dir / name)


def tear(data_dir: Path) -> None:
    """Damage a volume as a crash between the block and its checksum does: for scenarios and tests."""
    with (data_dir / "blocks" / "blocks_0.json").open("a") as file:
        file.write("\n")


class Node:
    """A running node."""

    def __init__(self, arguments: argparse.Namespace, faults: dict[str, str]) -> None:
        self.name, self.faults = arguments.name, faults
        self.peers = arguments.peers.split()
        self.chain = Chain(Path(arguments.data_dir), chain_id=arguments.name if self._forks(faults) else "xai")
        self.started = time.monotonic()
        self.seen_peers = 0
        self.hits: dict[Any, Any] = {}
        self.stuck: int | None = None
        self.stop = threading.Event()

    @staticmethod
    def _forks(faults: dict[str, str]) -> bool:
        return "fork" in faults or "fork-deep" in faults

    def after(self, fault: str) -> bool:
        """Whether a fault of this many sandbox seconds has begun."""
        return fault in self.faults and (time.monotonic() - self.started) * SCALE >= float(self.faults[fault])

    def prepare(self) -> None:
        """Load the data and bring on the faults that are in it."""
        if "regress" in self.faults:
            self.chain.on_disk = False
            self.peers = []
            return
        self.chain.load()
        if "fork-deep" in self.faults:
            self.chain.replace_from(max(1, len(self.chain.blocks) - 20), [])
        if "delete-utxo" in self.faults:
            (self.chain.dir / "utxo_set.json").unlink(missing_ok=True)
            self.chain.utxo = {}

    def work(self) -> None:
        """Mine and follow until stopped."""
        while not self.stop.wait(min(0.25, BLOCK_SECONDS / 3)):
            if self.after("die-after"):
                print("fatal: RuntimeError: mempool invariant violated", flush=True)
                os._exit(1)
            if "stall" in self.faults or self.after("stall-after"):
                continue
            if not self._forks(self.faults) and "regress" not in self.faults:
                self._follow()
            self._mine()

    def _mine(self) -> None:
        chain = self.chain
        height = self.faults.get("reorg-at")
        if height is not None and len(chain.blocks) >= int(height) + 2:
            del self.faults["reorg-at"]
            first = make_block(chain.blocks[-3], "xai", nonce=1)
            second = make_block(first, "xai", nonce=1)
            chain.replace_from(len(chain.blocks) - 2, [first, second, make_block(second, "xai", nonce=1)])
            print(f"reorganised 2 blocks at {first['index']}", flush=True)
        elif time.monotonic() - chain.mined_at >= BLOCK_SECONDS:
            chain.add(make_block(chain.blocks[-1], chain.chain_id))
            if len(chain.blocks) % 10 == 0:
                print(f"block {len(chain.blocks) - 1} {chain.blocks[-1]['hash'][:12]}", flush=True)

    def _follow(self) -> None:
        alive = 0
        for peer in self.peers:
            try:
                latest = fetch(f"{peer}/block/latest")
                alive += 1
                if latest["block_number"] + 1 > len(self.chain.blocks):
                    self._adopt(peer, latest["block_number"])
            except (OSError, ValueError, KeyError, urllib.error.URLError):
                continue
        self.seen_peers = alive

    def _adopt(self, peer: str, tip: int) -> None:
        """Fetch a longer chain back to the block in common, and take it if it holds together."""
        fresh: list[Any] = []
        index = tip
        while index >= 0 and (index >= len(self.chain.blocks) or len(fresh) < tip - index + 1):
            if (
                index < len(self.chain.blocks)
                and fresh
                and fresh[0]["previous_hash"] == self.chain.blocks[index]["hash"]
            ):
                break
            block = fetch(f"{peer}/blocks/{index}")
            if fresh and fresh[0]["previous_hash"] != block["hash"]:
                return  # it reorganised meanwhile
            fresh.insert(
                0,
                {
                    key: block[key]
                    for key in ("index", "hash", "previous_hash", "timestamp", "nonce", "miner", "transactions")
                },
            )
            index -= 1
        if fresh and fresh[0]["index"] > 0 and len(self.chain.blocks) < tip + 1:
            self.chain.replace_from(fresh[0]["index"], fresh)

    # ------------------------------------------------------------------------------------------ what it says

    def answer(self, path: str, query: str) -> "tuple[int, object]":
        """The real node's answers; None as body is Flask's HTML 404."""
        with self.chain.lock:
            blocks, utxo = list(self.chain.blocks), dict(self.chain.utxo)
        if "lag" in self.faults:
            blocks = blocks[: max(1, len(blocks) - int(self.faults["lag"]))]
        lost = "lose-utxo" in self.faults or not utxo
        supply = 0.0 if lost else GENESIS_SUPPLY + REWARD * (len(blocks) - 1)
        digest = EMPTY_DIGEST if lost else digest_of(utxo_of(blocks))
        if "wrong-digest" in self.faults:
            digest = hashlib.sha256(self.name.encode()).hexdigest()
        tip, now = blocks[-1], time.time()
        peers = self.seen_peers
        if path == "/":
            return 200, {"status": "online", "node": "XAI Full Node", "version": "2.0.0", "endpoints": {}}
        if path == "/stats":
            return 200, {"chain_height": len(blocks), "latest_block_hash": tip["hash"], "difficulty": 4,
                         "total_circulating_supply": supply, "pending_transactions_count": 0, "mempool_size_bytes": 0,
                         "orphan_blocks_count": 0, "orphan_transactions_count": 0, "peers": peers, "is_mining": True,
                         "miner_address": self.name, "node_uptime": time.monotonic() - self.started, "timestamp": now}  # fmt: skip
        if path == "/health":
            (self.chain.dir / "health_check.tmp").write_text("ok")
            issues = [] if peers else ["no_connected_peers"]
            body = {"status": "healthy" if peers else "degraded", "timestamp": now, "network": {"peers": peers},
                    "blockchain": {"accessible": True, "height": len(blocks), "difficulty": 4, "total_supply": supply,
                                   "latest_block_hash": tip["hash"]},
                    "services": {"api": "running", "p2p": "running", "storage": "healthy", **({"issues": issues} if issues else {})},
                    "backlog": {"pending_transactions": 0, "orphan_blocks": 0, "orphan_transactions": 0}}  # fmt: skip
            return (200, body) if peers else (503, {**body, "error": "no_connected_peers"})
        if path == "/state/snapshot":
            return 200, {"success": True, "state": {"height": len(blocks), "tip": tip["hash"], "utxo_digest": digest,
                                                    "pending_transactions": 0, "mempool_bytes": 0, "timestamp": now}}  # fmt: skip
        if path == "/block/latest":
            summary = {
                "height": tip["index"],
                "hash": tip["hash"],
                "miner": tip["miner"],
                "difficulty": 4,
                "transactions": 1,
            }
            return 200, {
                "block_number": tip["index"],
                "hash": tip["hash"],
                "timestamp": tip["timestamp"],
                "summary": summary,
            }
        if path.startswith("/blocks/"):
            index = path.removeprefix("/blocks/")
            if not index.isdigit():
                return 400, {"error": "Block index must be integer"}
            return (200, blocks[int(index)]) if int(index) < len(blocks) else (404, {"error": "Block not found"})
        if path == "/finality/status" and "no-finality" not in self.faults:
            final = len(blocks) - 1 - KEPT_FINAL
            if "finality-stuck" in self.faults:
                final = self.stuck = final if self.stuck is None else self.stuck
            return 200, {"success": True, "finality_enabled": True, "total_validators": 1 + len(self.peers),
                         "finalized_blocks": max(0, final), "highest_finalized_height": final if final >= 0 else None,
                         "total_power": 1.0, "quorum_power": 0.67, "quorum_threshold": 0.67, "pending_blocks": 0}  # fmt: skip
        if path == "/peers":
            return 200, {"count": peers, "peers": self.peers, "verbose": "verbose=true" in query}
        if path == "/sync/status":
            return 200, {
                "success": True,
                "sync_status": {
                    "header_sync": {"enabled": True},
                    "state_sync": {"enabled": True, "current_height": len(blocks) - 1, "pending_transactions": 0},
                },
            }
        if path == "/consensus/info":
            return 200, {"success": True, "consensus": {"chain_height": len(blocks), "chain_intact": True, "integrity_issues": [],
                                                        "genesis_hash": blocks[0]["hash"], "latest_block_hash": tip["hash"]}}  # fmt: skip
        if path == "/mempool/stats":
            return 200, {
                "success": True,
                "pressure": {
                    "status": "normal",
                    "capacity_ratio": 0.0,
                    "pending_transactions": 0,
                    "max_transactions": 10000,
                },
            }
        if path == "/metrics":
            return 200, f"xai_chain_height {len(blocks)}\nxai_total_supply {supply}\nxai_peers_connected {peers}\n"
        return 404, None

    def too_many(self, path: str) -> bool:
        """The real node's limiter: N a minute and path, in real seconds."""
        if "rate-limit" not in self.faults:
            return False
        since = time.monotonic() - 60
        recent = [at for at in self.hits.get(path, []) if at > since]
        self.hits[path] = [*recent, time.monotonic()]
        return len(recent) >= int(self.faults["rate-limit"])


class Handler(BaseHTTPRequestHandler):
    """HTTP over a node."""

    protocol_version = "HTTP/1.1"
    node: Node

    def do_GET(self) -> None:
        """Answer, or fail as the faults say."""
        node = self.node
        path, _, query = self.path.partition("?")
        for prefix in ("/api/v1", "/v1"):
            path = path.removeprefix(prefix) or "/"
        if "hang" in node.faults or node.after("hang-after"):
            node.stop.wait(3600)
            return
        if "error5xx" in node.faults or node.after("error5xx-after"):
            self._send(500, {"error": "internal error"})
        elif node.too_many(path):
            self._send(429, {"error": "rate limit exceeded"})
        elif "bad-json" in node.faults:
            self._raw(200, b"{not json", "application/json")
        else:
            self._send(*node.answer(path, query))

    def _send(self, status: int, body: object) -> None:
        if body is None:
            self._raw(status, b"<!doctype html><title>404 Not Found</title>", "text/html")
        elif isinstance(body, str):
            self._raw(status, body.encode(), "text/plain")
        else:
            self._raw(status, json.dumps(body).encode(), "application/json")

    def _raw(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """Does not wait for hanging requests when it stops."""

    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        """A client that went away is no news."""


def fetch(url: str) -> dict[str, Any]:
    """GET JSON."""
    with urllib.request.urlopen(url, timeout=1.0) as answer:
        found: dict[Any, Any] = json.load(answer)
        return found


def main() -> int:
    """Run until SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.node")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--p2p-port", type=int)
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--peers", default="")
    parser.add_argument("--name", default="node")
    parser.add_argument("--fault", action="append", default=[], help="NAME[=VALUE][@NODE], may be repeated")
    arguments = parser.parse_args()
    try:
        faults = parse_faults(arguments.fault, FAULTS, arguments.name)
    except ValueError as error:
        parser.error(str(error))
    if "die-at-start" in faults:
        print('Traceback (most recent call last):\n  File "/app/src/xai/core/node.py", line 12, in <module>\n'
              "ModuleNotFoundError: No module named 'xai.core.wallets'", file=sys.stderr, flush=True)  # fmt: skip
        return 1
    done = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: done.set())  # from here on a stop is clean, also of a node that starts
    node = Node(arguments, faults)
    try:
        node.prepare()
    except (IntegrityError, ValueError, KeyError) as error:
        print(f"Blockchain data integrity check failed: {error}", file=sys.stderr, flush=True)
        return 1
    if "slow-start" in faults:
        done.wait(float(faults["slow-start"]) / SCALE)
    Handler.node = node
    server = Server((arguments.host, arguments.port), Handler)
    print(f"{arguments.name} listens on {arguments.port}, height {len(node.chain.blocks)}", flush=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.5}, daemon=True).start()
    worker = threading.Thread(target=node.work, daemon=True)
    worker.start()
    while not done.wait(0.2):
        pass
    node.stop.set()
    worker.join(timeout=2)
    print(f"{arguments.name} stopped at height {len(node.chain.blocks)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
