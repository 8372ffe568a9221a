"""Jira Cloud on loopback: issues of one project with a workflow of three statuses, by the REST API v3.

Source: https://developer.atlassian.com/cloud/jira/platform/rest/v3/
"""

from __future__ import annotations

import html
import re
import threading
from base64 import b64decode
from collections.abc import Callable
from datetime import datetime
from typing import Any

from sandbox.trackers.service import Answered, Asked, Shown

TOKEN = "sandbox-token"
PROJECT = "OPS"
STATUSES = {"11": ("To Do", "new"), "21": ("In Progress", "indeterminate"), "31": ("Done", "done")}
STATES = {"new": "open", "indeterminate": "acknowledged", "done": "closed"}


class Jira:
    """Issues in memory."""

    name = "jira"

    def __init__(self, url: str, clock: Callable[[], datetime]) -> None:
        """No issue yet."""
        self.url = url
        self._clock = clock
        self._lock = threading.Lock()
        self.issues: list[dict[str, Any]] = []
        self.project = PROJECT

    def answer(self, asked: Asked) -> Answered:
        """Answer one call."""
        if not _authorised(asked.headers.get("authorization", "")):
            return _refused(401, "Client must be authenticated to access this resource.")
        with self._lock:
            return self._call(asked)

    def shown(self) -> list[Shown]:
        """Every issue."""
        with self._lock:
            return [_shown(issue) for issue in self.issues]

    def acknowledge(self, ticket: str) -> None:
        """A person moves the issue to In Progress."""
        self._issue(ticket)["status"] = "21"

    def close(self, ticket: str) -> None:
        """A person moves the issue to Done."""
        self._issue(ticket)["status"] = "31"

    def _call(self, asked: Asked) -> Answered:
        body = asked.body if isinstance(asked.body, dict) else {}
        if asked.path == "/rest/api/3/issue" and asked.method == "POST":
            return self._create(body)
        if asked.path == "/rest/api/3/search/jql" and asked.method == "POST":
            return self._search(body)
        found = re.fullmatch(r"/rest/api/3/issue/([^/]+)(?:/(comment|transitions))?", asked.path)
        issue = next((i for i in self.issues if found and i["key"] == found[1]), None)
        if found is None or issue is None:
            return _refused(404, "Issue does not exist or you do not have permission to see it.")
        match asked.method, found[2]:
            case "GET", None:
                return Answered(status=200, body=self._json(issue))
            case "PUT", None:
                return self._edit(issue, body)
            case "GET", "comment":
                start, size = int(asked.query.get("startAt", 0)), int(asked.query.get("maxResults", 50))
                page = issue["comments"][start : start + size]
                total = len(issue["comments"])
                return Answered(
                    status=200, body={"startAt": start, "maxResults": size, "total": total, "comments": page}
                )
            case "POST", "comment":
                return self._comment(issue, body)
            case "GET", "transitions":
                return Answered(status=200, body={"transitions": [self._transition(each) for each in STATUSES]})
            case "POST", "transitions":
                return self._move(issue, body)
            case _:
                return _refused(405, "Method not allowed")

    def _create(self, body: dict[str, Any]) -> Answered:
        fields = body.get("fields", {})
        errors = _errors(fields, self.project, new=True)
        if errors:
            return Answered(status=400, body={"errorMessages": [], "errors": errors})
        number = len(self.issues) + 1
        issue = {
            "id": str(10_000 + number), "key": f"{self.project}-{number}", "status": "11", "assignee": None, "comments": [],
            "summary": fields["summary"], "description": fields.get("description"), "labels": fields.get("labels", []),
            "properties": {each["key"]: each["value"] for each in body.get("properties", [])},
        }  # fmt: skip
        self.issues.append(issue)
        return Answered(status=201, body={key: self._json(issue)[key] for key in ("id", "key", "self")})

    def _edit(self, issue: dict[str, Any], body: dict[str, Any]) -> Answered:
        fields = body.get("fields", {})
        errors = _errors(fields, self.project, new=False)
        if errors:
            return Answered(status=400, body={"errorMessages": [], "errors": errors})
        issue |= {key: fields[key] for key in ("summary", "labels") if key in fields}
        return Answered(status=204)

    def _search(self, body: dict[str, Any]) -> Answered:
        found = re.fullmatch(r'project = "(\w+)" AND labels = "([\w-]+)" ORDER BY created ASC', body.get("jql", ""))
        if found is None:
            return _refused(400, "Error in the JQL Query")
        hits = [i for i in self.issues if found[1] == self.project and found[2] in i["labels"]]
        wanted = set(body.get("properties", []))
        issues = [
            {**self._json(i), "properties": {k: v for k, v in i["properties"].items() if k in wanted}} for i in hits
        ]
        return Answered(status=200, body={"issues": issues[: body.get("maxResults", 50)], "isLast": True})

    def _comment(self, issue: dict[str, Any], body: dict[str, Any]) -> Answered:
        if not _is_doc(body.get("body")):
            errors = {"comment": "Comment body is not valid!"}
            return Answered(status=400, body={"errorMessages": [], "errors": errors})
        number = len(issue["comments"]) + 1
        # Jira itself leaves the colon of the offset out, against its own description; nobody reads it here.
        now = self._clock().strftime("%Y-%m-%dT%H:%M:%S.000+00:00")
        made = {
            "id": str(number),
            "self": f"{self.url}/comment/{number}",
            "body": body["body"],
            "created": now,
            "updated": now,
        }
        issue["comments"].append(made)
        return Answered(status=201, body=made)

    def _move(self, issue: dict[str, Any], body: dict[str, Any]) -> Answered:
        wanted = body.get("transition", {}).get("id")
        if wanted not in STATUSES:
            return _refused(400, "Transition id is not valid for this issue.")
        issue["status"] = wanted
        return Answered(status=204)

    def _json(self, issue: dict[str, Any]) -> dict[str, Any]:
        fields = {key: issue[key] for key in ("summary", "labels", "assignee")}
        fields["status"] = self._status(issue["status"])
        return {
            "id": issue["id"],
            "key": issue["key"],
            "self": f"{self.url}/rest/api/3/issue/{issue['id']}",
            "fields": fields,
        }

    def _status(self, identity: str) -> dict[str, Any]:
        name, category = STATUSES[identity]
        return {
            "id": identity, "name": name, "self": f"{self.url}/status/{identity}", "description": "",
            "statusCategory": {"id": int(identity[0]), "key": category, "name": name, "colorName": "medium-gray"},
        }  # fmt: skip

    def _transition(self, identity: str) -> dict[str, Any]:
        name = STATUSES[identity][0]
        return {"id": identity, "name": name, "to": self._status(identity), "hasScreen": False, "isGlobal": True}

    def _issue(self, key: str) -> dict[str, Any]:
        return next(i for i in self.issues if i["key"] == key)


def _errors(fields: dict[str, Any], project: str, *, new: bool) -> dict[str, str]:
    errors = {}
    if new and fields.get("project", {}).get("key") != project:
        errors["project"] = "Specify a valid project ID or key"
    if new and not fields.get("issuetype"):
        errors["issuetype"] = "Specify an issue type"
    summary = fields.get("summary")
    if (new or "summary" in fields) and (not summary or len(summary) > 255 or "\n" in summary):
        errors["summary"] = "You must specify a summary of the issue, of one line and at most 255 characters."
    if fields.get("description") is not None and not _is_doc(fields["description"]):
        errors["description"] = "Operation value must be an Atlassian Document (see the Atlassian Document Format)"
    if any(re.search(r"\s", label) for label in fields.get("labels", [])):
        errors["labels"] = "The label contains spaces which is invalid."
    return errors


def _is_doc(value: Any) -> bool:
    return isinstance(value, dict) and value.get("type") == "doc" and value.get("version") == 1


def _authorised(header: str) -> bool:
    kind, _, value = header.partition(" ")
    try:
        return kind == "Basic" and b64decode(value).decode().endswith(f":{TOKEN}")
    except ValueError:
        return False


def _shown(issue: dict[str, Any]) -> Shown:
    state = STATES[STATUSES[issue["status"]][1]]
    if issue["assignee"] and state == "open":
        state = "acknowledged"
    parts = (issue["description"], *(comment["body"] for comment in issue["comments"]))
    return Shown(
        id=issue["key"],
        title=issue["summary"],
        state=state,
        labels=tuple(issue["labels"]),
        parts=tuple(map(rendered, parts)),
    )


def rendered(node: Any) -> str:
    """ADF as HTML."""
    if not isinstance(node, dict):
        return ""
    inner = "".join(rendered(child) for child in node.get("content", ()))
    match node.get("type"):
        case "text":
            return _text(node)
        case "heading":
            return f"<h3>{inner}</h3>"
        case "paragraph":
            return f"<p>{inner}</p>"
        case "bulletList":
            return f"<ul>{inner}</ul>"
        case "listItem":
            return f"<li>{inner}</li>"
        case "codeBlock":
            return f"<pre>{inner}</pre>"
    return inner


def _text(node: dict[str, Any]) -> str:
    words = html.escape(node["text"])
    for mark in node.get("marks", ()):
        if mark["type"] == "strong":
            words = f"<strong>{words}</strong>"
        elif mark["type"] == "link":
            words = f'<a href="{html.escape(mark["attrs"]["href"], quote=True)}">{words}</a>'
    return words


def _refused(status: int, message: str) -> Answered:
    return Answered(status=status, body={"errorMessages": [message], "errors": {}})
