"""The desk: one loopback server for every tracker, the faults in front of them, and the pages that people read.

Each tracker speaks its vendor's API under /<name>/...; / lists all tickets, /tickets/<name>/<id> shows one, with the
buttons of a person who takes it on or closes it.
"""

from __future__ import annotations

import html
import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, quote

from werkzeug.serving import WSGIRequestHandler, make_server

from sandbox.trackers.service import Answered, Asked, Service, Shown

# What each loopback tracker takes as its secret; PagerDuty has two.
TOKENS = {
    ("github", "token_secret"): "sandbox-token",
    ("jira", "token_secret"): "sandbox-token",
    ("pagerduty", "routing_key_secret"): "0123456789abcdef0123456789abcdef",
    ("pagerduty", "token_secret"): "sandbox-token",
    ("servicenow", "token_secret"): "sandbox-token",
    ("slack", "token_secret"): "sandbox-slack-token",
}
# Text of tickets comes from outside. Each tracker escapes it; should one forget to, nothing of it runs or loads.
# Graphs come from the sandbox's cloud.
FENCE = "default-src 'none'; img-src http://127.0.0.1:*; style-src 'unsafe-inline'; base-uri 'none'; form-action 'self'"
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>{title}</title><style>
:root{{color-scheme:light dark}}
body{{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem}}
article{{border:1px solid #8886;border-radius:8px;padding:0 1rem;margin:1rem 0;overflow-wrap:anywhere}}
pre{{white-space:pre-wrap;font-size:14px;background:#8882;padding:.5rem;border-radius:4px}}
.label{{border:1px solid #8886;border-radius:1rem;padding:.1rem .6rem;font-size:13px;margin-right:.3rem}}
.label{{display:inline-block}}
img{{max-width:100%;background:#fff}}
.state{{font-weight:600}} li{{margin:.3rem 0}} h1{{line-height:1.25}} h3{{margin-bottom:.2rem}}
</style><main>{body}</main></html>"""


BUTTONS = """<form method="post"><button name="do" value="acknowledge">Take it on</button>
<button name="do" value="close">Close</button></form>"""


@dataclass
class Faults:
    """What is wrong with a tracker."""

    down: bool = False
    slow_seconds: float = 0.0
    lose_answers: int = 0  # so many changes are performed, and then the connection is closed
    refuse: list[tuple[int, Mapping[str, str]]] = field(default_factory=list)  # status and headers of the next answers
    proxied: bool = False  # something on the way answers 200 with a page of its own, and the tracker never hears of it


class Desk:
    """Trackers over HTTP. `faults` has an entry for each; `down` is all of them at once."""

    def __init__(
        self, clock: Callable[[], datetime], *makers: Callable[[str, Callable[[], datetime]], Service]
    ) -> None:
        """Bind a free loopback port; each maker takes a tracker's address and the clock."""
        self._server = make_server("127.0.0.1", 0, self, threaded=True, request_handler=_Quiet)
        self._server.daemon_threads = True  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        made = [maker(f"{self.url}/{_name_of(maker)}", clock) for maker in makers]
        self.services: dict[str, Service] = {service.name: service for service in made}
        self.faults = {name: Faults() for name in self.services}
        self.down = False

    def start(self) -> None:
        """Serve in a thread."""
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def tickets(self) -> list[tuple[str, Shown]]:
        """Every ticket of every tracker."""
        return [(name, shown) for name, service in self.services.items() for shown in service.shown()]

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request (WSGI)."""
        name, _, rest = environ["PATH_INFO"].lstrip("/").partition("/")
        service = self.services.get(name)
        if service is None and environ["REQUEST_METHOD"] == "POST":
            return self._person(environ, start_response)
        if service is None:
            status, page = self._page(_decoded(environ["PATH_INFO"]))
            headers = {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": FENCE}
            return _send(start_response, status, page.encode(), headers)
        asked = _asked(environ, f"/{_decoded(rest)}")
        if self.faults[name].proxied:
            return _send(start_response, 200, b"<html>Sign in</html>", {"Content-Type": "text/html"})
        answered = self._through_faults(service, asked)
        body = b"" if answered.body is None else json.dumps(answered.body).encode()
        return _send(start_response, answered.status, body, {"Content-Type": "application/json", **answered.headers})

    def _through_faults(self, service: Service, asked: Asked) -> Answered:
        faults = self.faults[service.name]
        if faults.slow_seconds:
            time.sleep(faults.slow_seconds)
        if self.down or faults.down:
            return Answered(status=503, body={"message": "Service unavailable"})
        if faults.refuse:
            status, headers = faults.refuse.pop(0)
            return Answered(status=status, body={"message": "refused"}, headers=headers)
        answered = service.answer(asked)
        if faults.lose_answers and asked.method != "GET":
            faults.lose_answers -= 1
            raise ConnectionAbortedError
        return answered

    def _person(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """A person pressed a button on a ticket's page."""
        path = _decoded(environ["PATH_INFO"])
        did = _asked({**environ, "CONTENT_TYPE": "application/x-www-form-urlencoded"}, path).body or {}
        found = next(((n, s) for n, s in self.tickets() if path == f"/tickets/{n}/{s.id}"), None)
        if found is None or did.get("do") not in ("acknowledge", "close"):
            return _send(start_response, 404, b"no such ticket, or nothing that a person can do there", {})
        name, shown = found
        getattr(self.services[name], did["do"])(shown.id)
        return _send(start_response, 303, b"", {"Location": _address(name, shown)})

    def _page(self, path: str) -> tuple[int, str]:
        if path in ("", "/", "/tickets", "/tickets/"):
            return 200, _list_page(self.tickets())
        for name, shown in self.tickets():
            if path == f"/tickets/{name}/{shown.id}":
                return 200, _ticket_page(name, shown)
        return 404, PAGE.format(title="No such page", body='<p><a href="/">All tickets</a></p><h1>No such page</h1>')


def every_service() -> tuple[Callable[[str, Callable[[], datetime]], Service], ...]:
    """A maker of each tracker that the sandbox has."""
    from sandbox.trackers.github import GitHub  # noqa: PLC0415
    from sandbox.trackers.jira import Jira  # noqa: PLC0415
    from sandbox.trackers.pagerduty import PagerDuty  # noqa: PLC0415
    from sandbox.trackers.servicenow import ServiceNow  # noqa: PLC0415
    from sandbox.trackers.slack import Slack  # noqa: PLC0415

    return GitHub, Jira, PagerDuty, ServiceNow, Slack


def _name_of(maker: Any) -> str:
    return str(maker.name)


def _decoded(path: str) -> str:
    """A path as text: WSGI hands on its bytes, one character for each."""
    return path.encode("latin-1").decode("utf-8", "replace")


def _asked(environ: Mapping[str, Any], path: str) -> Asked:
    raw = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    headers = {key[5:].replace("_", "-").lower(): value for key, value in environ.items() if key.startswith("HTTP_")}
    headers["content-type"] = environ.get("CONTENT_TYPE", "")
    query = {
        key: values[0] for key, values in parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True).items()
    }
    return Asked(
        method=environ["REQUEST_METHOD"], path=path, query=query, headers=headers, raw=raw, body=_parsed(raw, headers)
    )


def _parsed(raw: bytes, headers: Mapping[str, str]) -> Any:
    if not raw:
        return None
    if "form" in headers["content-type"]:
        return {
            key: values[0] for key, values in parse_qs(raw.decode("utf-8", "replace"), keep_blank_values=True).items()
        }
    try:
        return json.loads(raw)
    except ValueError:
        return None


def _list_page(tickets: list[tuple[str, Shown]]) -> str:
    tickets = sorted(tickets, key=lambda ticket: (ticket[1].title.removeprefix("Resolved: "), ticket[0]))
    rows = "".join(
        f'<li><a href="{_address(name, shown)}">{html.escape(shown.title)}</a> '
        f'<span class="state">{html.escape(shown.state)}</span> in {name}</li>'
        for name, shown in tickets
    )
    return PAGE.format(title="Tickets", body=f"<h1>Tickets</h1><ul>{rows or '<li>none</li>'}</ul>")


def _address(name: str, shown: Shown) -> str:
    return f"/tickets/{name}/{quote(shown.id, safe='')}"


def _ticket_page(name: str, shown: Shown) -> str:
    labels = "".join(f'<span class="label">{html.escape(label)}</span>' for label in shown.labels)
    parts = "".join(f"<article>{part}</article>" for part in shown.parts)
    title = html.escape(shown.title)
    state = f'<p>{name} <span class="state">{html.escape(shown.state)}</span> {labels}</p>'
    head = f'<p><a href="/">All tickets</a></p><h1>{title}</h1>{state}'
    return PAGE.format(title=title, body=f"{head}{BUTTONS if shown.state != 'closed' else ''}{parts}")


def _send(start_response: Callable[..., Any], status: int, body: bytes, headers: Mapping[str, str]) -> Iterable[bytes]:
    start_response(f"{status} X", [*headers.items(), ("Content-Length", str(len(body)))])
    return [body]


class _Quiet(WSGIRequestHandler):
    """No request log; a lost answer closes the connection, so that who asked sees it end and need not wait it out."""

    def log(self, type: str, message: str, *args: Any) -> None:
        """Say nothing."""

    def connection_dropped(self, error: BaseException, environ: Any = None) -> None:
        """Close our side as well: the library would go on listening for the next request."""
        self.close_connection = True
