"""A stranger's node that looks well, and has other hashes for the blocks that were settled.

`python rewrites_history.py PORT [honest]`: with `honest` it is the same node without the fault, to be stable. Liveness, tip,
supply and digest are right in both; only `/blocks/<i>` of a block more than DEEP under the tip differs. Its chain is a
function of the time since 1970, so two of them agree and a restart loses nothing.
"""

import hashlib
import json
import os
import socketserver
import sys
import time
from typing import Any

EVERY = float(os.environ.get("SANDBOX_BLOCK_SECONDS", "10")) / float(os.environ.get("SANDBOX_TIME_SCALE", "1"))
DEEP = 3
PHRASES = {200: "OK", 404: "Not Found"}


def digest(index: int, past: str = "") -> str:
    """A block's hash; of a rewritten past another."""
    return hashlib.sha256(f"{past}block {index}".encode()).hexdigest()


def answer(path: str, honest: bool) -> tuple[int, Any]:
    """Status and body."""
    tip = int(time.time() / EVERY)
    if path == "/":
        return 200, {"status": "online", "version": "3.1"}
    if path == "/stats":
        return 200, {"chain_height": tip + 1, "latest_block_hash": digest(tip), "total_circulating_supply": 5e6}
    if path == "/state/snapshot":
        return 200, {"state": {"height": tip + 1, "tip": digest(tip), "utxo_digest": digest(0, "utxo ")}}
    index = path.removeprefix("/blocks/")
    if index.isdecimal() and int(index) <= tip:
        past = "" if honest or int(index) >= tip - DEEP else "another "
        return 200, {"header": {"index": int(index), "hash": digest(int(index), past)}, "transactions": []}
    return 404, {"error": "Block not found" if path.startswith("/blocks/") else "Not found"}


class Talk(socketserver.StreamRequestHandler):
    """HTTP by hand: a request line, headers that nobody reads, one answer."""

    def handle(self) -> None:
        """One request."""
        words = self.rfile.readline().decode("ascii", "replace").split()
        while self.rfile.readline().strip():
            pass
        if len(words) == 3:
            status, found = answer(words[1], "honest" in sys.argv[2:])
            body = json.dumps(found).encode()
            head = f"HTTP/1.1 {status} {PHRASES[status]}\r\nContent-Type: application/json\r\nConnection: close\r\n"
            self.wfile.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)


class Server(socketserver.ThreadingTCPServer):
    """A port that can be taken again at once."""

    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    Server(("127.0.0.1", int(sys.argv[1])), Talk).serve_forever()
