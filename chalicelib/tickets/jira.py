"""The port `Tracker` on Jira Cloud, by its REST API v3.

A ticket is found again by a label made from its marker; the marker itself stands in an issue property and is compared
exactly. Jira's search sees an issue only seconds, rarely minutes, after it was made, and can be made to look at once only
at issues whose ids are known: so a create that may have come through asks for a try after that time. A ticket in progress,
or with an assignee, is taken on.
Source: https://developer.atlassian.com/cloud/jira/platform/rest/v3/ and /platform/search-and-reconcile/
Must not know incidents' lives or where the token is kept.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from chalicelib.errors import TicketUnavailableError
from chalicelib.incident.document import Document
from chalicelib.incident.model import Grade, Ticket, TicketState
from chalicelib.incident.ports import Page
from chalicelib.tickets.adf import adf
from chalicelib.tickets.http import Caller

ISSUE = "/rest/api/3/issue"
SEARCH = "/rest/api/3/search/jql"
PROPERTY = "xai-ops"
MOST_SUMMARY = 255
MOST_LABEL = 255
MOST_COMMENTS = 1000
A_PAGE = 100
INDEX_LAG_SECONDS = (
    120.0  # "from a few seconds to minutes": https://developer.atlassian.com/cloud/jira/platform/search-and-reconcile/
)
FIELDS = ["status", "assignee", "labels", "summary"]
# Status categories, which every workflow has, whatever its statuses are called.
CATEGORY: Mapping[TicketState, str] = {
    TicketState.OPEN: "new",
    TicketState.ACKNOWLEDGED: "indeterminate",
    TicketState.CLOSED: "done",
}
_ADVICE: Mapping[int, str] = {
    400: "Jira refuses what we sent: check project and issue_type, and that the project's screens have summary, description and labels",
    401: "user or token is wrong: renew the secret named by token_secret",
    403: "the user may not create or edit issues of this project",
    404: "the project does not exist, the user does not see it, or the ticket was deleted",
    410: "this API is gone: update xai-ops",
}


class JiraIssues:
    """The port `Tracker`; a ticket's id is the issue's key."""

    def __init__(
        self,
        *,
        api_url: str,
        project: str,
        user: str,
        token: Callable[[], str],
        issue_type: str = "Task",
        labels: tuple[str, ...] = (),
    ) -> None:
        """Keep tickets in this project; `user` is the e-mail address that the API token belongs to."""
        self._url = api_url.rstrip("/")
        self._project, self._issue_type, self._labels = project, issue_type, labels
        self._caller = Caller(
            name="Jira", api_url=api_url, token=token, headers=lambda secret: _headers(user, secret), advice=_ADVICE,
            said=_words,
        )  # fmt: skip

    def find(self, marker: str) -> Ticket | None:
        """Find the issue that carries this marker. Raises TicketUnavailableError."""
        jql = f'project = "{self._project}" AND labels = "{fingerprint(marker)}" ORDER BY created ASC'
        asked = {"jql": jql, "fields": FIELDS, "properties": [PROPERTY], "maxResults": 50}
        answer = self._caller.call("POST", SEARCH, asked)
        issues = answer.get("issues") if isinstance(answer, dict) else None
        if not isinstance(issues, list):
            raise TicketUnavailableError("could not search Jira: the answer holds no issues")
        return next((self._ticket(issue) for issue in issues if _marker_in(issue) == marker), None)

    def create(self, page: Page) -> Ticket:
        """Open an issue that carries the marker. Raises TicketUnavailableError."""
        fields = {
            "project": {"key": self._project},
            "issuetype": {"name": self._issue_type},
            "summary": _summary(page.title),
            "description": adf(page.body),
            "labels": _labels(*self._labels, *page.labels, fingerprint(page.marker)),
        }
        properties = [{"key": PROPERTY, "value": {"marker": page.marker}}]
        try:
            made = self._caller.call("POST", ISSUE, {"fields": fields, "properties": properties})
        except TicketUnavailableError as error:  # it may be there, and not to be found yet
            raise TicketUnavailableError(str(error), retry_after=error.retry_after or INDEX_LAG_SECONDS) from error
        key = made.get("key") if isinstance(made, dict) else None
        if not isinstance(key, str):
            raise TicketUnavailableError("Jira's answer names no issue key", retry_after=INDEX_LAG_SECONDS)
        return Ticket(id=key, url=f"{self._url}/browse/{key}")

    def comment(self, ticket: str, body: Document, *, marker: str) -> None:
        """Add a comment, unless one ends with the marker already. Raises TicketUnavailableError."""
        path, last = f"{self._path(ticket)}/comment", f"({marker})"
        for start in range(0, MOST_COMMENTS, A_PAGE):
            answer = self._caller.call("GET", f"{path}?{urlencode({'startAt': start, 'maxResults': A_PAGE})}")
            comments = answer.get("comments") if isinstance(answer, dict) else None
            if not isinstance(comments, list):
                raise TicketUnavailableError("could not read Jira's comments: the answer holds none")
            if any(_last_line(each) == last for each in comments):
                return
            if len(comments) < A_PAGE:
                break
        self._caller.call("POST", path, {"body": adf(body, last=last)})

    def update(self, ticket: str, page: Page, state: TicketState) -> None:
        """Set summary, labels and state; labels of people stay, an outdated grade goes."""
        issue = self._read(ticket)
        grades = {grade.value for grade in Grade}
        had = [str(label) for label in issue["fields"].get("labels") or ()]
        labels = _labels(*(name for name in had if name not in grades), *self._labels, *page.labels)
        if labels != had or issue["fields"].get("summary") != _summary(page.title):
            fields = {"summary": _summary(page.title), "labels": labels}
            self._caller.call("PUT", self._path(ticket), {"fields": fields})
        is_over = _category(issue) == CATEGORY[TicketState.CLOSED]
        if state is TicketState.OPEN and not is_over:
            return  # new or in progress: it is people's to say
        if _category(issue) != CATEGORY[state]:
            self._move(ticket, state)

    def read(self, ticket: str) -> Ticket:
        """The issue as people left it. Raises TicketUnavailableError."""
        return self._ticket(self._read(ticket))

    def _read(self, ticket: str) -> dict[str, Any]:
        issue = self._caller.call("GET", f"{self._path(ticket)}?fields={','.join(FIELDS)}")
        if not isinstance(issue, dict) or not isinstance(issue.get("fields"), dict):
            raise TicketUnavailableError("Jira's answer holds no issue")
        return issue

    def _move(self, ticket: str, state: TicketState) -> None:
        """Transitions have other ids in each workflow: the one whose status is of the wanted category."""
        path = f"{self._path(ticket)}/transitions"
        answer = self._caller.call("GET", path)
        offered = answer.get("transitions") if isinstance(answer, dict) else None
        wanted = [CATEGORY[state], *([CATEGORY[TicketState.ACKNOWLEDGED]] if state is TicketState.OPEN else [])]
        for category in wanted:
            for each in offered or ():
                if each.get("to", {}).get("statusCategory", {}).get("key") == category:
                    self._caller.call("POST", path, {"transition": {"id": each["id"]}})
                    return
        names = ", ".join(str(each.get("name")) for each in offered or ()) or "none"
        raise TicketUnavailableError(
            f"{ticket} cannot be moved to a status of category {CATEGORY[state]!r}; its workflow offers: {names}"
        )

    def _path(self, ticket: str) -> str:
        return f"{ISSUE}/{quote(ticket, safe='')}"

    def _ticket(self, issue: Any) -> Ticket:
        key = issue.get("key") if isinstance(issue, dict) else None
        if not isinstance(key, str):
            raise TicketUnavailableError("Jira's answer names no issue key")
        category = _category(issue)
        taken = category == CATEGORY[TicketState.ACKNOWLEDGED] or issue["fields"].get("assignee")
        state = TicketState.ACKNOWLEDGED if taken else TicketState.OPEN
        if category == CATEGORY[TicketState.CLOSED]:
            state = TicketState.CLOSED
        return Ticket(id=key, url=f"{self._url}/browse/{key}", state=state)


def fingerprint(marker: str) -> str:
    """The label by which a marker's ticket is looked for."""
    return f"xai-ops-{hashlib.sha256(marker.encode()).hexdigest()[:10]}"


def _category(issue: Mapping[str, Any]) -> str | None:
    status = issue.get("fields", {}).get("status") or {}
    category = status.get("statusCategory") or {}
    key = category.get("key")
    return key if isinstance(key, str) else None


def _marker_in(issue: Any) -> object:
    value = issue.get("properties", {}).get(PROPERTY) if isinstance(issue, dict) else None
    return value.get("marker") if isinstance(value, dict) else None


def _last_line(comment: Any) -> str | None:
    """The text of a comment's last paragraph."""
    try:
        nodes = comment["body"]["content"][-1]["content"]
        return "".join(str(node.get("text", "")) for node in nodes)
    except (KeyError, IndexError, TypeError, AttributeError):
        return None


def _summary(title: str) -> str:
    return " ".join(title.split())[:MOST_SUMMARY]


def _labels(*names: str) -> list[str]:
    """Labels take no white space."""
    return list(dict.fromkeys(re.sub(r"\s+", "_", name)[:MOST_LABEL] for name in names))


def _headers(user: str, token: str) -> Mapping[str, str]:
    credentials = b64encode(f"{user}:{token}".encode()).decode()
    return {"Accept": "application/json", "Authorization": f"Basic {credentials}"}


def _words(body: Any) -> object:
    if not isinstance(body, dict):
        return None
    errors = body.get("errors")
    said = [
        *(body.get("errorMessages") or ()),
        *(f"{k}: {v}" for k, v in (errors if isinstance(errors, dict) else {}).items()),
    ]
    return "; ".join(map(str, said))
