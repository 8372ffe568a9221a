"""GitHub Issues on loopback: the REST API for issues and their comments.

Source: https://docs.github.com/en/rest/issues/issues, https://docs.github.com/en/rest/issues/comments,
https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api (errors)
Knows nothing of xai-ops.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from copy import deepcopy
from datetime import datetime
from typing import Any

from markdown_it import MarkdownIt

from sandbox.trackers.service import Answered, Asked, Shown

TOKEN = "sandbox-token"
MOST = {"title": 256, "body": 65_536}  # characters; GitHub answers 422 "is too long (maximum is 65536 characters)"
MOST_LABEL = 50  # characters of a label's name
MOST_LABELS = 100  # of an issue
STATES = ("open", "closed")
REASONS = ("completed", "not_planned", "duplicate", "reopened", None)
BOT = {"login": "xai-ops", "id": 1, "node_id": "U_1", "type": "User", "site_admin": False}
USER_URLS = (
    "avatar_url", "gravatar_id", "url", "html_url", "followers_url", "following_url", "gists_url", "starred_url",
    "subscriptions_url", "organizations_url", "repos_url", "events_url", "received_events_url",
)  # fmt: skip


class GitHub:
    """Issues in memory."""

    name = "github"

    def __init__(self, url: str, clock: Callable[[], datetime]) -> None:
        """No issue yet."""
        self.url = url
        self._clock = clock
        self.issues: list[dict[str, Any]] = []
        self.comments: dict[int, list[dict[str, Any]]] = {}
        self._lock = threading.Lock()

    def answer(self, asked: Asked) -> Answered:
        """Answer one call."""
        if asked.headers.get("authorization") != f"Bearer {TOKEN}":
            return _refused(401, "Bad credentials")
        if not asked.headers.get("user-agent"):
            return _refused(
                403, "Request forbidden by administrative rules. Please make sure to send a User-Agent header"
            )
        found = re.fullmatch(r"/repos/([^/]+/[^/]+)/issues(?:/(\d+))?(/comments)?", asked.path)
        with self._lock:
            # a copy: it is written to the wire when the next call may already change it
            return deepcopy(self._call(asked, found)) if found else _refused(404, "Not Found")

    def shown(self) -> list[Shown]:
        """Every issue, oldest first."""
        with self._lock:
            return [self._shown(issue) for issue in self.issues]

    def acknowledge(self, ticket: str) -> None:
        """A person takes the issue on: it gets an assignee."""
        with self._lock:
            self.issues[int(ticket) - 1]["assignees"] = [_user(self.url, "ann", 2)]

    def close(self, ticket: str) -> None:
        """A person closes the issue."""
        with self._lock:
            self.issues[int(ticket) - 1] |= {"state": "closed", "state_reason": "completed", "closed_at": self._now()}

    def _call(self, asked: Asked, found: re.Match[str]) -> Answered:
        number = int(found[2]) if found[2] else None
        if number is not None and not 1 <= number <= len(self.issues):
            return _refused(404, "Not Found")
        body = asked.body
        if asked.method in ("POST", "PATCH") and not isinstance(body, dict):
            return _refused(400, "Problems parsing JSON")
        match asked.method, number, bool(found[3]):
            case "POST", None, False:
                return self._create(found[1], body)
            case "GET", None, False:
                return self._list(asked)
            case "GET", int(each), False:
                return Answered(status=200, body=self.issues[each - 1])
            case "PATCH", int(each), False:
                return self._change(self.issues[each - 1], body)
            case "POST", int(each), True:
                return self._comment(each, body)
            case "GET", int(each), True:
                return _page(self.comments[each], asked)
            case _:
                return _refused(404, "Not Found")

    def _create(self, repository: str, sent: dict[str, Any]) -> Answered:
        wrong = _wrong({"title": None, **sent})
        if wrong is not None:
            return wrong
        number = len(self.issues) + 1
        issue = {
            "id": 1000 + number, "node_id": f"I_{number}", "number": number, "title": sent["title"],
            "body": sent.get("body"), "html_url": f"{self._pages}/{number}",
            "url": f"{self.url}/repos/{repository}/issues/{number}", "repository_url": f"{self.url}/repos/{repository}",
            "labels_url": f"{self.url}/labels{{/name}}", "comments_url": f"{self.url}/comments",
            "events_url": f"{self.url}/events", "labels": [_label(self.url, each) for each in sent.get("labels", [])],
            "user": _user(self.url, "xai-ops", 1), "assignee": None, "assignees": [], "milestone": None,
            "locked": False, "comments": 0, "state": "open", "closed_at": None, "created_at": self._now(),
            "updated_at": self._now(), "author_association": "NONE",
        }  # fmt: skip
        self.issues.append(issue)
        self.comments[number] = []
        return Answered(status=201, body=issue)

    def _list(self, asked: Asked) -> Answered:
        state = asked.query.get("state", "open")
        wanted = set(filter(None, asked.query.get("labels", "").split(",")))
        issues = [
            issue
            for issue in reversed(self.issues)  # newest first, as GitHub lists them unless told
            if state in ("all", issue["state"]) and wanted <= {label["name"] for label in issue["labels"]}
        ]
        return _page(issues, asked)

    def _change(self, issue: dict[str, Any], sent: dict[str, Any]) -> Answered:
        wrong = _wrong(sent)
        if wrong is not None:
            return wrong
        issue |= {key: sent[key] for key in ("title", "body") if key in sent}
        if sent.get("state", issue["state"]) != issue["state"]:
            issue |= self._turned(sent)
        if "labels" in sent:
            issue["labels"] = [_label(self.url, each) for each in sent["labels"]]
        issue["updated_at"] = self._now()
        return Answered(status=200, body=issue)

    def _turned(self, sent: dict[str, Any]) -> dict[str, Any]:
        """What closing or reopening changes; a reason that is not given is the usual one."""
        if sent["state"] == "open":
            return {"state": "open", "state_reason": "reopened", "closed_at": None}
        return {"state": "closed", "state_reason": sent.get("state_reason") or "completed", "closed_at": self._now()}

    def _comment(self, number: int, sent: dict[str, Any]) -> Answered:
        wrong = _wrong({"body": None, **sent}, needed="body")
        if wrong is not None:
            return wrong
        identity = 5000 + sum(map(len, self.comments.values()))
        comment = {
            "id": identity, "node_id": f"C_{identity}", "body": sent["body"], "html_url": f"{self._pages}/{number}",
            "url": f"{self.url}/comments/{identity}", "issue_url": f"{self.url}/issues/{number}",
            "user": _user(self.url, "xai-ops", 1), "author_association": "NONE",
            "created_at": self._now(), "updated_at": self._now(),
        }  # fmt: skip
        self.comments[number].append(comment)
        self.issues[number - 1]["comments"] += 1
        return Answered(status=201, body=comment)

    def _shown(self, issue: dict[str, Any]) -> Shown:
        state = "acknowledged" if issue["assignees"] and issue["state"] == "open" else issue["state"]
        parts = (issue["body"] or "", *(comment["body"] for comment in self.comments[issue["number"]]))
        return Shown(
            id=str(issue["number"]), title=issue["title"], state=state, parts=tuple(rendered(part) for part in parts),
            labels=tuple(label["name"] for label in issue["labels"]),
        )  # fmt: skip

    @property
    def _pages(self) -> str:
        """Where the desk shows tickets to people."""
        return self.url.rsplit("/", 1)[0] + "/tickets/github"

    def _now(self) -> str:
        return self._clock().strftime("%Y-%m-%dT%H:%M:%SZ")


def rendered(markdown: str) -> str:
    """Markdown as HTML, as GitHub shows it: raw HTML in it stays text, and our markers are hidden."""
    return str(MarkdownIt("commonmark", {"html": False}).render(re.sub(r"<!--.*?-->", "", markdown)))


def _page(items: list[dict[str, Any]], asked: Asked) -> Answered:
    size = min(100, _number(asked.query.get("per_page"), 30))
    start = (_number(asked.query.get("page"), 1) - 1) * size
    return Answered(status=200, body=items[start : start + size])


def _number(given: str | None, usual: int) -> int:
    return int(given) if given and given.isdecimal() and int(given) > 0 else usual


def _wrong(sent: dict[str, Any], *, needed: str = "title") -> Answered | None:
    """What GitHub refuses of the fields that were sent."""
    if needed in sent and (not isinstance(sent[needed], str) or not sent[needed].strip()):
        return _invalid(needed, "missing_field")
    for name, most in MOST.items():
        given = sent.get(name)
        if given is not None and (not isinstance(given, str) or len(given) > most):
            return _invalid(name, "invalid")
    if sent.get("state", "open") not in STATES:
        return _invalid("state", "invalid")
    if sent.get("state_reason") not in REASONS:
        return _invalid("state_reason", "invalid")
    return None if _may_be_labels(sent.get("labels", [])) else _invalid("labels", "invalid")


def _may_be_labels(given: Any) -> bool:
    if not isinstance(given, list) or len(given) > MOST_LABELS:
        return False
    names = [each.get("name") if isinstance(each, dict) else each for each in given]
    return all(isinstance(name, str) and 0 < len(name) <= MOST_LABEL for name in names)


def _refused(status: int, message: str) -> Answered:
    return Answered(status=status, body={"message": message, "documentation_url": "https://docs.github.com/rest"})


def _invalid(field: str, code: str) -> Answered:
    errors = [{"resource": "Issue", "field": field, "code": code}]
    documentation = "https://docs.github.com/rest/issues/issues"
    return Answered(
        status=422, body={"message": "Validation Failed", "errors": errors, "documentation_url": documentation}
    )


def _user(url: str, login: str, identity: int) -> dict[str, Any]:
    return {**BOT, **dict.fromkeys(USER_URLS, f"{url}/users/{login}"), "login": login, "id": identity}


def _label(url: str, label: Any) -> dict[str, Any]:
    name = label if isinstance(label, str) else label["name"]
    return {
        "id": abs(hash(name)) % 10**9, "node_id": f"L_{name}", "url": f"{url}/labels/{name}", "name": name,
        "description": None, "color": "ededed", "default": False,
    }  # fmt: skip
