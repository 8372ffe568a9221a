"""The port `Tracker` on GitHub Issues.

A ticket is found again by a marker, an HTML comment on the first line of its body. GitHub's search lags behind, so the
ticket also carries a label made from the marker and is *listed* by it. A ticket with an assignee is taken on.
Source: https://docs.github.com/en/rest/issues,
https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api
Must not know incidents' lives or where the token is kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from chalicelib.errors import TicketUnavailableError
from chalicelib.incident.document import Document
from chalicelib.incident.model import Grade, Ticket, TicketState
from chalicelib.incident.ports import Page
from chalicelib.tickets.http import Caller
from chalicelib.tickets.markdown import markdown

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

A_PAGE = 100
MOST_PAGES = 10
MOST_BODY = 60_000  # GitHub refuses bodies over 65 536 characters
MOST_TITLE = 250  # and titles over 256
MOST_LABEL = 50
_ADVICE: Mapping[int, str] = {
    301: "the repository was renamed: change the tracker's repository in the fleet file",
    401: "the token is wrong or has expired: renew the secret named by token_secret",
    403: "the token may not write issues of this repository",
    404: "the token does not see the repository, or the ticket was deleted: check repository and the token's rights",
    410: "issues are switched off in this repository, or the ticket was deleted",
    422: "GitHub refuses what we sent",
}


class GitHubIssues:
    """The port `Tracker`."""

    def __init__(
        self, *, api_url: str, repository: str, token: Callable[[], str], labels: tuple[str, ...] = ()
    ) -> None:
        """Keep tickets in this repository; `labels` go on every ticket, `token` is asked at every request."""
        self._caller = Caller(
            name="GitHub", api_url=api_url, token=token, headers=_headers, advice=_ADVICE, limited=_limited
        )
        self._issues = f"/repos/{repository}/issues"
        self._labels = labels

    def find(self, marker: str) -> Ticket | None:
        """Find the ticket that carries this marker. Raises TicketUnavailableError.

        Without push rights GitHub drops labels silently, and people remove them: so the newest are looked through too.
        """
        by_label = self._list(self._issues, pages=1, labels=fingerprint(marker), state="all")
        newest = self._list(self._issues, pages=1, state="all", sort="created", direction="desc")
        for listed in (by_label, newest):
            for issue in listed:
                if _carries(issue, marker):
                    return _ticket(issue)
        return None

    def create(self, page: Page) -> Ticket:
        """Open a ticket that carries the marker. Raises TicketUnavailableError."""
        issue = {
            "title": page.title[:MOST_TITLE],
            "body": _marked(page.marker, markdown(page.body)),
            "labels": _labels(*self._labels, *page.labels, fingerprint(page.marker)),
        }
        return _ticket(self._caller.call("POST", self._issues, issue))

    def comment(self, ticket: str, body: Document, *, marker: str) -> None:
        """Add a comment, unless one carries the marker already. Raises TicketUnavailableError."""
        comments = f"{self._path(ticket)}/comments"
        if not any(_carries(comment, marker) for comment in self._list(comments, pages=MOST_PAGES)):
            self._caller.call("POST", comments, {"body": _marked(marker, markdown(body))})

    def update(self, ticket: str, page: Page, state: TicketState) -> None:
        """Set title and state and add the labels; those that people added stay, an outdated grade goes.

        GitHub knows open and closed alone: an acknowledgement is an assignee, which is for people to set. The label
        that `find` lists by comes back if somebody took it off.
        """
        wanted = {"state": "closed", "state_reason": "completed"} if state is TicketState.CLOSED else {"state": "open"}
        path = self._path(ticket)
        had = _names(self._caller.call("PATCH", path, {"title": page.title[:MOST_TITLE], **wanted}))
        grades = {grade.value for grade in Grade}
        kept = (name for name in had if name not in grades)
        labels = _labels(*kept, *self._labels, *page.labels, fingerprint(page.marker))
        if set(labels) != set(had):  # GitHub has its own order
            self._caller.call("PATCH", path, {"labels": labels})

    def read(self, ticket: str) -> Ticket:
        """The ticket as people left it. Raises TicketUnavailableError."""
        return _ticket(self._caller.call("GET", self._path(ticket)))

    def _path(self, ticket: str) -> str:
        return f"{self._issues}/{quote(ticket, safe='')}"

    def _list(self, path: str, *, pages: int, **query: str) -> Iterator[Mapping[str, Any]]:
        for page in range(1, pages + 1):
            asked = urlencode({**query, "per_page": A_PAGE, "page": page})
            found = self._caller.call("GET", f"{path}?{asked}")
            if not isinstance(found, list):
                raise TicketUnavailableError("could not list from GitHub: the answer is no list")
            yield from (each for each in found if isinstance(each, dict))
            if len(found) < A_PAGE:
                return


def fingerprint(marker: str) -> str:
    """The label by which a marker's ticket is listed."""
    return f"xai-ops-{hashlib.sha256(marker.encode()).hexdigest()[:10]}"


def _headers(token: str) -> Mapping[str, str]:
    return {
        "Accept": "application/vnd.github+json",
        "Authorization": f"Bearer {token}",
        "X-GitHub-Api-Version": "2022-11-28",
    }


def _limited(response: BaseHTTPResponse) -> bool:
    """A rate limit comes as 429, or as 403 with a time or with nothing left."""
    if response.status != 403:
        return response.status == 429
    return "Retry-After" in response.headers or response.headers.get("X-RateLimit-Remaining") == "0"


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
    state = TicketState.ACKNOWLEDGED if issue.get("assignees") else TicketState.OPEN
    if issue.get("state") == "closed":
        state = TicketState.CLOSED
    return Ticket(id=str(number), url=str(issue.get("html_url") or ""), state=state)


def _names(issue: Any) -> list[str]:
    labels = issue.get("labels") if isinstance(issue, dict) else None
    return [str(label["name"]) for label in labels or () if isinstance(label, dict) and label.get("name")]


def _labels(*names: str) -> list[str]:
    """Each once; GitHub refuses an empty one, and with it the whole ticket."""
    return list(dict.fromkeys(name.strip()[:MOST_LABEL] for name in names if name.strip()))
