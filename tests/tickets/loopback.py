"""A loopback server that answers what the test wrote down, and keeps what it was sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Script:
    """Answers in turn, the last one again and again; `sent` are method, path, headers and body of what came."""

    answers: list[tuple[int, Any, Mapping[str, str]]]
    sent: list[tuple[str, str, Mapping[str, str], Any]] = field(default_factory=list)

    def next(self) -> tuple[int, Any, Mapping[str, str]]:
        """The next answer."""
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def answering(status: int, body: Any = None, **headers: str) -> tuple[int, Any, Mapping[str, str]]:
    """One line of a script."""
    return status, body, {name.replace("_", "-"): value for name, value in headers.items()}


@contextmanager
def playing(script: Script) -> Iterator[str]:
    """Serve the script; yields the URL."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            script.sent.append((self.command, self.path, dict(self.headers), json.loads(raw) if raw else None))
            status, body, headers = script.next()
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = _answer  # noqa: N815 - the library's names

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
