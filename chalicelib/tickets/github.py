"""The port `Tracker` on GitHub Issues.

A ticket is found again by a marker, an HTML comment on the first line of its body. GitHub's search lags behind, so the
ticket also carries a label made from the marker and is *listed* by it. Whatever goes wrong is a TicketUnavailableError
that names the status and what to do, never the token. Nothing is retried here: the outbox tries again later.
Source: https://docs.github.com/en/rest/issues, https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api
Must not know incidents' lives or where the token is kept.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from chalicelib.errors import OpsError, TicketUnavailableError
from chalicelib.incident.model import Grade, Ticket

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

CONNECT_SECONDS = 3.0
READ_SECONDS = 7.0
A_PAGE = 100
MOST_PAGES = 10
MOST_BODY = 60_000  # GitHub refuses bodies over 65 536 characters
MOST_TITLE = 250  # and titles over 256
MOST_LABEL = 50
_TOKEN = re.compile(r"[\x21-\x7e]+")
_ADVICE: Mapping[int, str] = {
    301: "the repository was renamed: change tickets.repository in the fleet file",
    401: "the token is wrong or has expired: renew the secret named by tickets.token_secret",
    403: "the token may not write issues of this repository",
    404: "the token does not see the repository, or the ticket was deleted: check tickets.repository and the token's rights",
    410: "issues are switched off in this repository, or the ticket was deleted",
    422: "GitHub refuses what we sent",
}


class GitHubIssues:
    """The port `Tracker`."""

    def __init__(
        self, *, api_url: str, repository: str, token: Callable[[], str], labels: tuple[str, ...] = ()
    ) -> None:
        """Keep tickets in this repository; `labels` go on every ticket, `token` is asked at every request."""
        self._api_url = api_url.rstrip("/")
        self._issues = f"/repos/{repository}/issues"
        self._token = token
        self._labels = labels
        self._http: PoolManager | None = None

    def find(self, marker: str) -> Ticket | None:
        """Find the ticket that carries this marker. Raises TicketUnavailableError.

        Without push rights GitHub drops labels silently, and people remove them: so the newest are looked through as well.
        """
        by_label = self._list(self._issues, pages=1, labels=fingerprint(marker), state="all")
        newest = self._list(self._issues, pages=1, state="all", sort="created", direction="desc")
        for listed in (by_label, newest):
            for issue in listed:
                if _carries(issue, marker):
                    return _ticket(issue)
        return None

    def create(self, *, marker: str, title: str, body: str, labels: tuple[str, ...]) -> Ticket:
        """Open a ticket that carries the marker. Raises TicketUnavailableError."""
        issue = {
            "title": title[:MOST_TITLE],
            "body": _marked(marker, body),
            "labels": _labels(*self._labels, *labels, fingerprint(marker)),
        }
        return _ticket(self._call("POST", self._issues, issue))

    def comment(self, ticket: str, body: str, *, marker: str) -> None:
        """Add a comment, unless one carries the marker already. Raises TicketUnavailableError."""
        comments = f"{self._issues}/{quote(ticket, safe='')}/comments"
        if not any(_carries(comment, marker) for comment in self._list(comments, pages=MOST_PAGES)):
            self._call("POST", comments, {"body": _marked(marker, body)})

    def amend(self, ticket: str, *, title: str, labels: tuple[str, ...]) -> None:
        """Set the title and add the labels; those that people added stay, an outdated grade goes."""
        path = f"{self._issues}/{quote(ticket, safe='')}"
        had = _names(self._call("PATCH", path, {"title": title[:MOST_TITLE]}))
        grades = {grade.value for grade in Grade}
        wanted = _labels(*(name for name in had if name not in grades), *self._labels, *labels)
        if wanted != had:
            self._call("PATCH", path, {"labels": wanted})

    def _list(self, path: str, *, pages: int, **query: str) -> Iterator[Mapping[str, Any]]:
        for page in range(1, pages + 1):
            asked = urlencode({**query, "per_page": A_PAGE, "page": page})
            found = self._call("GET", f"{path}?{asked}", None)
            if not isinstance(found, list):
                raise TicketUnavailableError("could not list from GitHub: the answer is no list")
            yield from (each for each in found if isinstance(each, dict))
            if len(found) < A_PAGE:
                return

    def _call(self, method: str, path: str, payload: Mapping[str, Any] | None) -> Any:
        from urllib3.exceptions import HTTPError  # noqa: PLC0415 - only when there is something to tell

        what = f"{method} {path.partition('?')[0]}"
        headers = self._headers()
        body = None if payload is None else json.dumps(payload).encode()
        try:
            response = self._pool().request(method, self._api_url + path, body=body, headers=headers, redirect=False)
        except HTTPError as error:
            raise TicketUnavailableError(f"could not reach GitHub for {what}: {type(error).__name__}") from error
        if not 200 <= response.status < 300:
            raise _refused(what, response)
        try:
            return json.loads(response.data)
        except (ValueError, RecursionError) as error:
            raise TicketUnavailableError(f"{what} answered {response.status} with something that is no JSON") from error

    def _headers(self) -> dict[str, str]:
        try:
            token = self._token()
        except OpsError as error:
            raise TicketUnavailableError(f"could not read the token for GitHub: {error}") from error
        if not _TOKEN.fullmatch(token):  # an HTTP library would quote it in its complaint
            raise TicketUnavailableError("the token for GitHub is empty or has characters that no token has")
        return {
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            "User-Agent": "xai-ops",
            "X-GitHub-Api-Version": "2022-11-28",
        }

    def _pool(self) -> PoolManager:
        if self._http is None:
            from urllib3 import PoolManager, Timeout  # noqa: PLC0415 - 60 ms that an idle minute need not pay

            self._http = PoolManager(retries=False, timeout=Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS))
        return self._http


def fingerprint(marker: str) -> str:
    """The label by which a marker's ticket is listed."""
    return f"xai-ops-{hashlib.sha256(marker.encode()).hexdigest()[:10]}"


def _hidden(marker: str) -> str:
    """The marker as an HTML comment, which its own text cannot end."""
    return f"<!-- {quote(marker, safe='/:.@').replace('--', '-%2D')} -->"


def _marked(marker: str, body: str) -> str:
    """The marker goes first: it is never cut off, and text quoted further down can never pass for it."""
    marked = f"{_hidden(marker)}\n\n{body}"
    return marked if len(marked) <= MOST_BODY else f"{marked[:MOST_BODY]}\n\n(cut: too long for GitHub)"


def _carries(item: Mapping[str, Any], marker: str) -> bool:
    body = item.get("body")
    return isinstance(body, str) and body.lstrip().startswith(_hidden(marker)) and "pull_request" not in item


def _ticket(issue: Any) -> Ticket:
    number = issue.get("number") if isinstance(issue, dict) else None
    if not isinstance(number, int):
        raise TicketUnavailableError("GitHub's answer names no issue number")
    state = "closed" if issue.get("state") == "closed" else "open"
    return Ticket(id=str(number), url=str(issue.get("html_url") or ""), state=state)


def _names(issue: Any) -> list[str]:
    labels = issue.get("labels") if isinstance(issue, dict) else None
    return [str(label["name"]) for label in labels or () if isinstance(label, dict) and label.get("name")]


def _labels(*names: str) -> list[str]:
    return list(dict.fromkeys(str(name)[:MOST_LABEL] for name in names))


def _refused(what: str, response: BaseHTTPResponse) -> TicketUnavailableError:
    """Say what GitHub said, and what to do; a rate limit comes as 403 or 429."""
    status, said = response.status, _message(response.data)
    after = _seconds(response.headers.get("Retry-After"))
    limited = status == 429 or (status == 403 and (after or response.headers.get("X-RateLimit-Remaining") == "0"))
    if limited:
        text = f"{what} answered {status}: rate limit, to be tried again in {after or 60:.0f} s"
        return TicketUnavailableError(text, retry_after=after or 60.0)
    advice = _ADVICE.get(status, "GitHub is in trouble" if status >= 500 else "not what GitHub documents")
    return TicketUnavailableError(
        f"{what} answered {status}: {advice}{f' ({said})' if said else ''}", retry_after=after
    )


def _message(data: bytes) -> str:
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError):
        return ""
    said = answer.get("message") if isinstance(answer, dict) else None
    return " ".join(said.split())[:120] if isinstance(said, str) else ""


def _seconds(value: str | None) -> float:
    """Retry-After in seconds, at most an hour; GitHub sends no dates there."""
    return min(float(value), 3600.0) if value is not None and value.isascii() and value.isdigit() else 0.0
