"""A stranger's node with only /, /stats, /blocks/<i> and /state/snapshot; it keeps its blocks in the data folder.

`python few_paths.py PORT [DATA_DIR]`. Everything else is a 404. A block every SANDBOX_BLOCK_SECONDS of the sandbox.
"""

import hashlib
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

EVERY = float(os.environ.get("SANDBOX_BLOCK_SECONDS", "10")) / float(os.environ.get("SANDBOX_TIME_SCALE", "1"))
HASHES: list[str] = []


def sha(text: str) -> str:
    """A hex digest."""
    return hashlib.sha256(text.encode()).hexdigest()


def mine(kept: Path | None) -> None:
    """One block after the other; what was mined before a restart is read back."""
    if kept is not None and kept.exists():
        HASHES.extend(kept.read_text().split())
    while True:
        HASHES.append(sha(f"stranger {len(HASHES)} {HASHES[-1] if HASHES else ''}"))
        if kept is not None:
            kept.write_text("\n".join(HASHES))
        time.sleep(EVERY)


class Stranger(BaseHTTPRequestHandler):
    """HTTP/1.0, one answer a connection."""

    def do_GET(self) -> None:
        """Answer what it knows."""
        path, tip, height = self.path.partition("?")[0], HASHES[-1], len(HASHES)
        known: dict[str, Any] = {
            "/": {"status": "online", "version": "0.9-stranger"},
            "/stats": {
                "chain_height": height,
                "latest_block_hash": tip,
                "total_circulating_supply": 21_000_000 + height,
            },
            "/state/snapshot": {"success": True, "state": {"height": height, "tip": tip, "utxo_digest": sha(tip)}},
        }
        index = path.removeprefix("/blocks/")
        if index.isdecimal() and int(index) < height:
            known[path] = {"block": {"number": int(index), "hash": HASHES[int(index)]}}  # its own idea of a block
        self.send_response(200 if path in known else 404)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(known.get(path, {"error": "no such path"})).encode())

    def log_message(self, *args: Any) -> None:
        """One line a request."""
        sys.stderr.write(f"{args}\n")


if __name__ == "__main__":
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    threading.Thread(target=mine, args=(folder and folder / "chain.txt",), daemon=True).start()
    while not HASHES:
        time.sleep(0.01)
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Stranger).serve_forever()
