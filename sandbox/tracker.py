"""A ticket tracker on loopback that speaks GitHub's REST API for issues, with a page per ticket for people.

Source: https://docs.github.com/en/rest/issues/issues
"""

from __future__ import annotations

import html
import json
import re
import threading
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

from markdown_it import MarkdownIt
from werkzeug.serving import WSGIRequestHandler, make_server

TOKEN = "sandbox-token"
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>
body{{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}}
article{{border:1px solid #8885;border-radius:8px;padding:0 1rem;margin:1rem 0}} pre{{white-space:pre-wrap;font-size:14px}}
.label{{background:#2563eb;color:#fff;border-radius:1rem;padding:.1rem .6rem;font-size:13px;margin-right:.3rem}}
</style><main>{body}</main></html>"""


class Tracker:
    """Issues in memory, over HTTP."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        """Bind a free loopback port."""
        self._clock = clock
        self.issues: list[dict[str, Any]] = []
        self.comments: dict[int, list[dict[str, Any]]] = {}
        self.down = False
        self.lose_answers = 0  # performed, then the connection is closed
        self._lock = threading.Lock()
        self._server = make_server("127.0.0.1", 0, self, threaded=True, request_handler=_Quiet)
        self._server.daemon_threads = True  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def start(self) -> None:
        """Serve in a thread."""
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request (WSGI)."""
        with self._lock:
            status, body, kind = self._answer(environ)
            if self.lose_answers and environ["REQUEST_METHOD"] == "POST":
                self.lose_answers -= 1
                raise ConnectionAbortedError
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        start_response(f"{status} X", [("Content-Type", kind), ("Content-Length", str(len(data)))])
        return [data]

    def _answer(self, environ: dict[str, Any]) -> tuple[int, Any, str]:
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        if not path.startswith("/repos/"):
            return self._page(path)
        if self.down:
            return 503, {"message": "Service unavailable"}, "application/json"
        if environ.get("HTTP_AUTHORIZATION") != f"Bearer {TOKEN}":
            return 401, {"message": "Bad credentials"}, "application/json"
        length = int(environ.get("CONTENT_LENGTH") or 0)
        sent = json.loads(environ["wsgi.input"].read(length) or b"{}") if length else {}
        query = {key: values[0] for key, values in parse_qs(environ.get("QUERY_STRING", "")).items()}
        status, answer = self._api(method, path, sent, query)
        return status, answer, "application/json"

    def _api(self, method: str, path: str, sent: dict[str, Any], query: dict[str, str]) -> tuple[int, Any]:
        found = re.fullmatch(r"/repos/[^/]+/[^/]+/issues(?:/(\d+))?(/comments)?", path)
        if found is None:
            return 404, {"message": "Not Found"}
        number = int(found[1]) if found[1] else None
        if number is not None and not 1 <= number <= len(self.issues):
            return 404, {"message": "Not Found"}
        match method, number is not None, bool(found[2]):
            case "POST", False, False:
                return self._create(path, sent)
            case "GET", False, False:
                return 200, self._list(query)
            case "GET", True, False:
                return 200, self.issues[(number or 0) - 1]
            case "PATCH", True, False:
                return 200, self._change(self.issues[(number or 0) - 1], sent)
            case "POST", True, True:
                return self._comment(number or 0, sent)
            case "GET", True, True:
                return 200, self.comments[number or 0]
            case _:
                return 405, {"message": "Method not allowed"}

    def _create(self, path: str, sent: dict[str, Any]) -> tuple[int, Any]:
        if not sent.get("title"):
            return 422, {"message": "Validation Failed", "errors": [{"field": "title", "code": "missing_field"}]}
        number = len(self.issues) + 1
        issue = {
            "id": 1000 + number, "number": number, "url": f"{self.url}{path}/{number}", "html_url": f"{self.url}/issues/{number}",
            "title": sent["title"], "body": sent.get("body"), "state": "open", "created_at": self._clock().isoformat(),
            "labels": [{"name": label} for label in sent.get("labels", [])], "comments": 0,
        }  # fmt: skip
        self.issues.append(issue)
        self.comments[number] = []
        return 201, issue

    def _list(self, query: dict[str, str]) -> list[dict[str, Any]]:
        state, wanted = query.get("state", "open"), set(filter(None, query.get("labels", "").split(",")))
        found = [
            i
            for i in reversed(self.issues)
            if state in ("all", i["state"]) and wanted <= {x["name"] for x in i["labels"]}
        ]
        size = int(query.get("per_page", 30))
        start = (int(query.get("page", 1)) - 1) * size
        return found[start : start + size]

    def _change(self, issue: dict[str, Any], sent: dict[str, Any]) -> dict[str, Any]:
        for key in ("title", "body", "state"):
            if key in sent:
                issue[key] = sent[key]
        if "labels" in sent:
            issue["labels"] = [{"name": label} for label in sent["labels"]]
        return issue

    def _comment(self, number: int, sent: dict[str, Any]) -> tuple[int, Any]:
        if not sent.get("body"):
            return 422, {"message": "Validation Failed", "errors": [{"field": "body", "code": "missing_field"}]}
        comment = {"id": 5000 + sum(map(len, self.comments.values())), "body": sent["body"],
                   "html_url": f"{self.url}/issues/{number}", "created_at": self._clock().isoformat()}  # fmt: skip
        self.comments[number].append(comment)
        self.issues[number - 1]["comments"] += 1
        return 201, comment

    def _page(self, path: str) -> tuple[int, str, str]:
        found = re.fullmatch(r"/issues/(\d+)", path)
        kind = "text/html; charset=utf-8"
        if found is None:
            rows = "".join(
                f'<li><a href="/issues/{i["number"]}">#{i["number"]} {html.escape(i["title"])}</a></li>'
                for i in self.issues
            )
            return 200, PAGE.format(title="Tickets", body=f"<h1>Tickets</h1><ul>{rows or '<li>none</li>'}</ul>"), kind
        number = int(found[1])
        if not 1 <= number <= len(self.issues):
            return 404, PAGE.format(title="No such ticket", body="<h1>No such ticket</h1>"), kind
        issue = self.issues[number - 1]
        labels = "".join(f'<span class="label">{html.escape(x["name"])}</span>' for x in issue["labels"])
        parts = [issue["body"] or "", *(c["body"] for c in self.comments[number])]
        articles = "".join(f"<article>{shown(part)}</article>" for part in parts)
        body = f"<h1>#{number} {html.escape(issue['title'])}</h1><p>{issue['state']} {labels}</p>{articles}"
        return 200, PAGE.format(title=html.escape(issue["title"]), body=body), kind


def shown(markdown: str) -> str:
    """Markdown as HTML, as GitHub shows it: raw HTML in it stays text, and our markers are hidden."""
    return str(MarkdownIt("commonmark", {"html": False}).render(re.sub(r"<!--.*?-->", "", markdown)))


class _Quiet(WSGIRequestHandler):
    """No request log; a lost answer closes the connection."""

    def log(self, type: str, message: str, *args: Any) -> None:
        """Say nothing."""

    def run_wsgi(self) -> None:
        """Run the application."""
        try:
            super().run_wsgi()
        except ConnectionAbortedError:
            self.close_connection = True
