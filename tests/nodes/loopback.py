"""A service on loopback whose every answer the test chooses."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TIP = "0" * 4 + "ab" * 30
DIGEST = "cd" * 32


@dataclass
class Answers:
    """Path -> status and body; a path that is missing here is an HTML 404, as Flask's. `asked` are the paths that came."""

    of: dict[str, tuple[int, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    drip_seconds: float = 0.0  # between single bytes of a body
    redirect_to: str | None = None


def a_node(*, height: int = 40) -> Answers:
    """What a healthy XAI node answers."""
    return Answers(
        {
            "/": (200, {"status": "online", "version": "2.0.0"}),
            "/stats": (200, {"chain_height": height, "latest_block_hash": TIP, "total_circulating_supply": 480.5}),
            "/state/snapshot": (
                200,
                {"success": True, "state": {"height": height, "tip": TIP, "utxo_digest": DIGEST, "mempool_bytes": 0}},
            ),
            "/finality/status": (200, {"success": True, "finality_enabled": True, "highest_finalized_height": None}),
            "/blocks/7": (200, {"header": {"index": 7}, "hash": "77" * 32}),
            "/blocks/900": (404, {"error": "Block not found"}),
        }
    )


@contextmanager
def served(answers: Answers) -> Iterator[str]:
    """Serve these answers; yields host:port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answers.asked.append(self.path)
            status, body = answers.of.get(self.path, (404, "<!doctype html><title>404 Not Found</title>"))
            raw = (
                body
                if isinstance(body, bytes)
                else body.encode()
                if isinstance(body, str)
                else json.dumps(body).encode()
            )
            self.send_response(status)
            self.send_header("Content-Length", str(len(raw)))
            if answers.redirect_to:
                self.send_header("Location", answers.redirect_to)
            self.end_headers()
            if answers.drip_seconds:
                self._drip(raw)
            else:
                self.wfile.write(raw)

        def _drip(self, raw: bytes) -> None:
            try:
                for byte in raw:
                    self.wfile.write(bytes([byte]))
                    time.sleep(answers.drip_seconds)
            except OSError:
                pass  # cut off, as it should be

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def tar_pit() -> Iterator[str]:
    """A port that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@contextmanager
def rude() -> Iterator[str]:
    """A port that hangs up on everyone."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:

        def hang_up() -> None:
            while True:
                try:
                    listening.accept()[0].close()
                except OSError:
                    return

        threading.Thread(target=hang_up, daemon=True).start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)


def nobody() -> str:
    """A port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return f"127.0.0.1:{listening.getsockname()[1]}"
