"""ServiceNow on loopback: the incident table and its journal, by the Table API.

Comparisons do not regard case, and a condition on a field that does not exist is left out, as there. Text over a
field's length is cut, not refused, and fields that a table does not have are passed over.
Source: https://www.servicenow.com/docs/r/api-reference/rest-apis/c_TableAPI.html,
https://www.servicenow.com/docs/r/zurich/api-reference/server-api-reference/c_GlideRecordScopedAPI.html (queries),
https://www.servicenow.com/docs/r/washingtondc/platform-administration/c_JournalFields.html (code tags)
"""

from __future__ import annotations

import hashlib
import html
import re
import threading
from base64 import b64decode
from collections.abc import Callable
from datetime import datetime
from typing import Any

from sandbox.trackers.service import Answered, Asked, Shown

TOKEN = "sandbox-token"
STATES = {"1": "open", "2": "acknowledged", "3": "acknowledged", "6": "closed", "7": "closed", "8": "closed"}
PRIORITY = {("1", "1"): "P1", ("2", "1"): "P2", ("2", "2"): "P3", ("3", "2"): "P4"}  # impact and urgency
LENGTHS = {"short_description": 160, "description": 4000, "correlation_id": 100}
CODES = ("Duplicate", "Known error", "No resolution provided", "Resolved by caller", "Resolved by change", "User error")


class ServiceNow:
    """Records in memory."""

    name = "servicenow"

    def __init__(self, url: str, clock: Callable[[], datetime]) -> None:
        """No record yet."""
        self.url = url
        self._clock = clock
        self._lock = threading.Lock()
        self.records: list[dict[str, Any]] = []

    def answer(self, asked: Asked) -> Answered:
        """Answer one call of the Table API."""
        if not _authorised(asked.headers.get("authorization", "")):
            return _error(401, "User Not Authenticated", "Required to provide Auth information")
        with self._lock:
            if asked.path == "/api/now/table/sys_journal_field" and asked.method == "GET":
                return self._journal(asked)
            found = re.fullmatch(r"/api/now/table/incident(?:/([^/]+))?", asked.path)
            if found is None:
                return _error(400, "Invalid table", None)
            return self._incident(asked, found[1])

    def shown(self) -> list[Shown]:
        """Every record."""
        with self._lock:
            return [_shown(record) for record in self.records]

    def acknowledge(self, ticket: str) -> None:
        """A person begins to work on it."""
        self._record(ticket)["state"] = "2"

    def close(self, ticket: str) -> None:
        """A person resolves it."""
        self._record(ticket)["state"] = "6"

    def _incident(self, asked: Asked, identity: str | None) -> Answered:
        body = asked.body if isinstance(asked.body, dict) else {}
        if identity is None and asked.method == "POST":
            return self._create(body, asked)
        if identity is None:
            return self._query(asked)
        record = next((r for r in self.records if r["sys_id"] == identity), None)
        if record is None:
            return _error(404, "No Record found", "Record doesn't exist or ACL restricts the record retrieval")
        if asked.method == "PATCH":
            refused = self._write(record, body)
            if refused is not None:
                return refused
        return Answered(status=200, body={"result": _fields(record, asked)})

    def _create(self, body: dict[str, Any], asked: Asked) -> Answered:
        number = len(self.records) + 1
        identity = hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest()
        record: dict[str, Any] = {
            "sys_id": identity, "number": f"INC{number:07}", "state": "1", "assigned_to": "", "short_description": "",
            "description": "", "correlation_id": "", "impact": "3", "urgency": "3", "notes": [],
        }  # fmt: skip
        refused = self._write(record, body)
        if refused is not None:
            return refused
        self.records.append(record)
        return Answered(status=201, body={"result": _fields(record, asked)})

    def _write(self, record: dict[str, Any], body: dict[str, Any]) -> Answered | None:
        if body.get("state") == "6" and not (body.get("close_code") in CODES and body.get("close_notes")):
            return _error(
                403, "Operation Failed", "Data Policy Exception: Resolution code, Resolution notes are mandatory"
            )
        note = body.get("work_notes")
        if note:
            record["notes"].append(note)
        record |= {key: value for key, value in body.items() if key in record or key in ("close_code", "close_notes")}
        record |= {key: str(record[key])[:most] for key, most in LENGTHS.items()}
        return None

    def _query(self, asked: Asked) -> Answered:
        return Answered(status=200, body={"result": _found(self.records, asked)})

    def _journal(self, asked: Asked) -> Answered:
        entries = [
            {"element_id": record["sys_id"], "element": "work_notes", "value": note}
            for record in self.records
            for note in record["notes"]
        ]
        return Answered(status=200, body={"result": _found(entries, asked)})

    def _record(self, identity: str) -> dict[str, Any]:
        return next(r for r in self.records if r["sys_id"] == identity)


def _authorised(header: str) -> bool:
    kind, _, value = header.partition(" ")
    try:
        return kind == "Basic" and b64decode(value).decode().endswith(f":{TOKEN}")
    except ValueError:
        return False


def _found(records: list[dict[str, Any]], asked: Asked) -> list[dict[str, Any]]:
    """What an encoded query finds; records stand in the order in which they were made."""
    terms = [term for term in asked.query.get("sysparm_query", "").split("^") if term]
    conditions = [term.partition("=") for term in terms if not term.startswith("ORDERBY")]
    found = [
        record
        for record in records
        if all(str(record[key]).lower() == value.lower() for key, _, value in conditions if key in record)
    ]
    if any(term.startswith("ORDERBYDESC") for term in terms):
        found.reverse()
    start, limit = int(asked.query.get("sysparm_offset", 0)), int(asked.query.get("sysparm_limit", 10_000))
    return [_fields(record, asked) for record in found[start : start + limit]]


def _fields(record: dict[str, Any], asked: Asked) -> dict[str, Any]:
    wanted = asked.query.get("sysparm_fields", "")
    return {key: record[key] for key in (wanted.split(",") if wanted else record) if key in record}


def _shown(record: dict[str, Any]) -> Shown:
    labels = [note.removeprefix("Labels: ").split(", ") for note in record["notes"] if note.startswith("Labels: ")]
    notes = [note for note in record["notes"] if not note.startswith("Labels: ")]
    state = STATES[record["state"]]
    if record["assigned_to"] and state == "open":
        state = "acknowledged"
    grades = {"P1", "P2", "P3", "P4"}
    named = [label for label in (labels[-1] if labels else []) if label not in grades]
    grade = PRIORITY.get((record["impact"], record["urgency"]), "P4")
    return Shown(
        id=record["sys_id"], title=record["short_description"], state=state, labels=(*named, grade),
        parts=(f"<pre>{html.escape(record['description'])}</pre>", *(_journal_html(note) for note in notes)),
    )  # fmt: skip


def _journal_html(text: str) -> str:
    """A journal entry as ServiceNow shows it: plain, but HTML between [code] and [/code]."""
    pieces = re.split(r"\[code\](.*?)\[/code\]", text, flags=re.DOTALL | re.IGNORECASE)
    return "<pre>" + "".join(p if i % 2 else html.escape(p) for i, p in enumerate(pieces)) + "</pre>"


def _error(status: int, message: str, detail: str | None) -> Answered:
    return Answered(status=status, body={"error": {"message": message, "detail": detail}, "status": "failure"})
