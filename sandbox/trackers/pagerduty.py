"""PagerDuty on loopback: the Events API v2 and what of the REST API reads incidents and notes.

A trigger of a key whose incident is resolved opens a new incident. A trigger of an open one is a further event of its
alert, which has the newest severity; the incident keeps its title, which only the REST API changes. An incident that
came from an event shows no key, yet is listed by it. An acknowledge or resolve without an open incident is dropped.
Source: https://developer.pagerduty.com/docs/send-alert-event, https://support.pagerduty.com/main/docs/alerts,
https://developer.pagerduty.com/api-reference/ (incidents), https://developer.pagerduty.com/docs/errors
"""

from __future__ import annotations

import html
import re
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any

from sandbox.trackers.service import Answered, Asked, Shown

ROUTING_KEY = "0123456789abcdef0123456789abcdef"
TOKEN = "sandbox-token"
MOST_BYTES = 512 * 1024  # https://developer.pagerduty.com/docs/events-api-v2-overview
OWN = ("alert_key", "severity", "details", "notes", "links", "class")  # what the REST API's incidents do not show
SEVERITIES = ("critical", "error", "warning", "info")
STATES = {"triggered": "open", "acknowledged": "acknowledged", "resolved": "closed"}


class PagerDuty:
    """Incidents of one service, oldest first."""

    name = "pagerduty"

    def __init__(self, url: str, clock: Callable[[], datetime]) -> None:
        """No incident yet."""
        self.url = url
        self._clock = clock
        self._lock = threading.Lock()
        self.incidents: list[dict[str, Any]] = []

    def answer(self, asked: Asked) -> Answered:
        """Answer one call of either API."""
        with self._lock:
            if asked.path == "/v2/enqueue" and asked.method == "POST":
                return self._enqueue(asked)
            if asked.headers.get("authorization") != f"Token token={TOKEN}":
                return _error(401, 2006, "You are not authorized to perform this action.")
            if asked.path == "/incidents" and asked.method == "GET":
                return self._list(asked)
            named = re.fullmatch(r"/incidents/([^/]+)(/notes)?", asked.path)
            incident = self._by_id(named[1]) if named else None
            if named is None or incident is None:
                return _error(404, 2100, "Not Found")
            return self._notes(incident, asked) if named[2] else self._edit(incident, asked)

    def shown(self) -> list[Shown]:
        """Every incident."""
        with self._lock:
            return [_shown(incident) for incident in self.incidents]

    def acknowledge(self, ticket: str) -> None:
        """A person acknowledges the incident of this key."""
        self._newest(ticket)["status"] = "acknowledged"

    def close(self, ticket: str) -> None:
        """A person resolves the incident of this key."""
        self._newest(ticket)["status"] = "resolved"

    def _enqueue(self, asked: Asked) -> Answered:
        event = asked.body if isinstance(asked.body, dict) else {}
        errors = ["Event is too large"] if len(asked.raw) > MOST_BYTES else _errors(event)
        if errors:
            return Answered(
                status=400, body={"status": "invalid event", "message": "Event object is invalid", "errors": errors}
            )
        action, key = event["event_action"], event.get("dedup_key") or f"made-{len(self.incidents)}"
        known = next((i for i in reversed(self.incidents) if i["alert_key"] == key and i["status"] != "resolved"), None)
        if action == "trigger":
            self._trigger(known, key, event)
        elif known is not None:
            known["status"] = "acknowledged" if action == "acknowledge" else "resolved"
        return Answered(status=202, body={"status": "success", "message": "Event processed", "dedup_key": key})

    def _trigger(self, known: dict[str, Any] | None, key: str, event: dict[str, Any]) -> None:
        payload = event["payload"]
        if known is not None:
            known["severity"], known["class"] = payload["severity"], payload.get("class", "")
            return
        number = len(self.incidents) + 1
        self.incidents.append(
            {
                "id": f"P{number:06}", "type": "incident", "status": "triggered", "incident_key": None,
                "alert_key": key, "alert_counts": {"all": 1, "triggered": 1, "resolved": 0},
                "title": payload["summary"], "html_url": f"{self.url.rsplit('/', 1)[0]}/tickets/pagerduty/P{number:06}",
                "created_at": self._now(), "urgency": "high" if payload["severity"] in ("critical", "error") else "low",
                "severity": payload["severity"], "class": payload.get("class", ""), "links": event.get("links", []),
                "details": payload.get("custom_details", {}), "notes": [],
            }
        )  # fmt: skip

    def _list(self, asked: Asked) -> Answered:
        wanted = asked.query.get("incident_key")
        found = [i for i in self.incidents if wanted in (None, i["alert_key"])]
        if asked.query.get("sort_by") == "created_at:desc":
            found.reverse()
        limit = int(asked.query.get("limit", 25))
        page = {
            "incidents": [_public(incident) for incident in found[:limit]],
            "limit": limit,
            "offset": 0,
            "more": len(found) > limit,
            "total": None,
        }
        return Answered(status=200, body=page)

    def _edit(self, incident: dict[str, Any], asked: Asked) -> Answered:
        if asked.method == "GET":
            return Answered(status=200, body={"incident": _public(incident)})
        sent = asked.body.get("incident", {}) if isinstance(asked.body, dict) else {}
        if asked.method != "PUT" or not asked.headers.get("from") or "type" not in sent:
            return _error(400, 2001, "Invalid Input Provided")
        if incident["status"] == "resolved":
            return _error(400, 1001, "Incident Already Resolved")
        incident["title"] = sent.get("title", incident["title"])
        return Answered(status=200, body={"incident": _public(incident)})

    def _notes(self, incident: dict[str, Any], asked: Asked) -> Answered:
        if asked.method == "GET":
            return Answered(status=200, body={"notes": incident["notes"]})
        if not asked.headers.get("from"):
            return _error(400, 2001, "Invalid Input Provided: the From header is required")
        sent = asked.body if isinstance(asked.body, dict) else {}
        content = sent.get("note", {}).get("content")
        if not content:
            return _error(400, 2001, "Invalid Input Provided")
        note = {"id": f"N{len(incident['notes']) + 1}", "content": content, "created_at": self._now()}
        incident["notes"].append(note)
        return Answered(status=200, body={"note": note})

    def _newest(self, key: str) -> dict[str, Any]:
        return next(i for i in reversed(self.incidents) if i["alert_key"] == key)

    def _by_id(self, identity: str) -> dict[str, Any] | None:
        return next((i for i in self.incidents if i["id"] == identity), None)

    def _now(self) -> str:
        return self._clock().strftime("%Y-%m-%dT%H:%M:%SZ")


def _errors(event: dict[str, Any]) -> list[str]:
    errors = []
    if len(str(event.get("routing_key", ""))) != len(ROUTING_KEY):
        errors.append("Length of 'routing_key' is incorrect (should be 32 characters)")
    elif event["routing_key"] != ROUTING_KEY:
        errors.append("Invalid routing key")
    action = event.get("event_action")
    if action not in ("trigger", "acknowledge", "resolve"):
        errors.append("'event_action' is invalid (must be one of: trigger, acknowledge, resolve)")
    if action != "trigger":
        return errors if event.get("dedup_key") else [*errors, "'dedup_key' is missing or blank"]
    payload = event.get("payload")
    if not isinstance(payload, dict):
        return [*errors, "'payload' is missing or blank"]
    errors += [f"'payload.{key}' is missing or blank" for key in ("summary", "source") if not payload.get(key)]
    if payload.get("severity") not in SEVERITIES:
        errors.append(f"'payload.severity' is invalid (must be one of the following: {', '.join(SEVERITIES)})")
    if len(str(payload.get("summary", ""))) > 1024:
        errors.append("'payload.summary' is too long")
    if len(str(event.get("dedup_key", ""))) > 255:
        errors.append("'dedup_key' is too long")
    return errors


def _public(incident: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in incident.items() if key not in OWN}


def _shown(incident: dict[str, Any]) -> Shown:
    text = str(incident["details"].get("text", ""))
    parts = (text, *(note["content"] for note in incident["notes"]))
    grade = {"critical": "P1", "error": "P2", "warning": "P3", "info": "P4"}[incident["severity"]]
    return Shown(
        id=incident["id"], title=incident["title"], state=STATES[incident["status"]],
        labels=(incident["class"], grade), parts=tuple(f"<pre>{html.escape(part)}</pre>" for part in parts),
    )  # fmt: skip


def _error(status: int, code: int, message: str) -> Answered:
    return Answered(status=status, body={"error": {"message": message, "code": code}})
