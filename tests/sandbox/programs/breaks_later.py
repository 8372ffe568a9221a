"""A stranger's node that answers well for a while and then 500 to everything.

`python breaks_later.py PORT SECONDS`; SECONDS are the sandbox's, from its start (`inf`: never, to be stable). Its chain is a function of the time
since 1970, so two of them agree and a restart loses nothing.
"""

import hashlib
import http.server
import json
import os
import sys
import time
from typing import Any

SCALE = float(os.environ.get("SANDBOX_TIME_SCALE", "1"))
EVERY = float(os.environ.get("SANDBOX_BLOCK_SECONDS", "10")) / SCALE
STARTED = time.monotonic()


def digest(index: int) -> str:
    """A block's hash is a function of its height alone."""
    return hashlib.sha256(b"breaks later %d" % index).hexdigest()


class Node(http.server.BaseHTTPRequestHandler):
    """The whole node."""

    sick_after = float("inf")

    def do_GET(self) -> None:
        """Well, then sick."""
        if (time.monotonic() - STARTED) * SCALE >= self.sick_after:
            self.say(500, {"error": "database is locked"})
            return
        height = int(time.time() / EVERY) + 1
        path, tip = self.path, digest(height - 1)
        if path == "/":
            self.say(200, {"status": "online"})
        elif path == "/stats":
            self.say(
                200, {"chain_height": height, "latest_block_hash": tip, "total_circulating_supply": 1e6 + 50 * height}
            )
        elif path == "/state/snapshot":
            self.say(200, {"success": True, "state": {"height": height, "tip": tip, "utxo_digest": digest(-height)}})
        elif path.startswith("/blocks/") and path[8:].isdecimal() and int(path[8:]) < height:
            self.say(200, {"index": int(path[8:]), "hash": digest(int(path[8:]))})
        else:
            self.say(404, {"error": "not found"})

    def say(self, status: int, body: Any) -> None:
        """Send JSON."""
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *args: Any) -> None:
        """Only what went wrong."""
        if "500" in args:
            sys.stderr.write("sqlite3.OperationalError: database is locked\n")


if __name__ == "__main__":
    Node.sick_after = float(sys.argv[2])
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Node).serve_forever()
