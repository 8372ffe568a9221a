"""The port `Tracker` on ServiceNow's incident table, by the Table API.

A ticket is found again by its correlation id, in the table itself: there is no index that lags behind. A query compares
without regard to case and leaves a condition out that the user may not make, so what it answers is compared once more.
Journal fields (work notes) turn what stands between [code] and [/code] into HTML, and @[sys_id:name] into a mention:
text from outside can do neither. Labels have no field: they are work notes. A ticket that somebody works on, or that is
assigned, is taken on.
Source: https://www.servicenow.com/docs/r/api-reference/rest-apis/c_TableAPI.html,
https://www.servicenow.com/docs/r/it-service-management/incident-management/c_IncidentManagementStateModel.html,
https://www.servicenow.com/docs/r/washingtondc/platform-administration/c_JournalFields.html (code tags),
https://www.servicenow.com/community/developer-forum/mentions-through-api/td-p/2441451,
https://www.servicenow.com/docs/r/zurich/api-reference/server-api-reference/c_GlideRecordScopedAPI.html (queries)
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
from chalicelib.tickets.http import Caller
from chalicelib.tickets.plain import cut, plain

TABLE = "/api/now/table/incident"
JOURNAL = "/api/now/table/sys_journal_field"
MOST_TITLE = 160  # short_description
MOST_TEXT = 4000  # description; a journal entry holds as much
MOST_CORRELATION = 100
A_PAGE = 200
MOST_PAGES = 10
FIELDS = "sys_id,number,state,assigned_to,short_description,correlation_id,impact,urgency"
NEW, IN_PROGRESS, RESOLVED = "1", "2", "6"
OVER = frozenset({"6", "7", "8"})  # resolved, closed, cancelled
TAKEN = frozenset({"2", "3"})  # in progress, on hold
# Impact x urgency make the priority: 1, 2, 3 and 4 of these, by the rules that ServiceNow ships:
# https://www.servicenow.com/community/itsm-blog/managing-incident-priority/ba-p/2294101
IMPACT: Mapping[Grade, str] = {Grade.P1: "1", Grade.P2: "2", Grade.P3: "2", Grade.P4: "3"}
URGENCY: Mapping[Grade, str] = {Grade.P1: "1", Grade.P2: "1", Grade.P3: "2", Grade.P4: "2"}
_ADVICE: Mapping[int, str] = {
    400: "ServiceNow refuses what we sent",
    401: "user or token is wrong: renew the secret named by token_secret",
    403: "the user may not write incidents: it needs the role itil and read access to sys_journal_field",
    404: "not found: check api_url, or the record was deleted",
}
_OBEYED = re.compile(r"\[(?=\s*/?\s*code)|@(?=\s*\[)", re.IGNORECASE)


class ServiceNow:
    """The port `Tracker`; a ticket's id is the record's sys_id."""

    def __init__(
        self,
        *,
        api_url: str,
        user: str,
        token: Callable[[], str],
        assignment_group: str | None = None,
        category: str | None = None,
        close_code: str = "Resolved by caller",
    ) -> None:
        """Write as this user; `token` is the password, asked at every request."""
        self._url = api_url.rstrip("/")
        self._close_code = close_code
        self._more = {
            key: value for key, value in {"assignment_group": assignment_group, "category": category}.items() if value
        }
        self._caller = Caller(
            name="ServiceNow", api_url=api_url, token=token, headers=lambda secret: _headers(user, secret),
            advice=_ADVICE, said=_words,
        )  # fmt: skip

    def find(self, marker: str) -> Ticket | None:
        """Find the record of this correlation id. Raises TicketUnavailableError."""
        wanted = correlation_of(marker)
        found = self._query(TABLE, f"correlation_id={wanted}^ORDERBYsys_created_on", FIELDS)
        ids = [record.get("correlation_id") for record in found]
        if wanted in ids:
            return self._ticket(found[ids.index(wanted)])
        if any(str(each).lower() != wanted.lower() for each in ids):
            raise TicketUnavailableError(
                "ServiceNow left the condition on correlation_id out: the user may not read this field of incidents"
            )
        return None

    def create(self, page: Page) -> Ticket:
        """Open a record. Raises TicketUnavailableError."""
        record = {
            **_fields(page),
            "description": cut(plain(page.body), MOST_TEXT),
            "correlation_id": correlation_of(page.marker),
            "correlation_display": "xai-ops",
            "work_notes": _labels(page),
            **self._more,
        }
        return self._ticket(self._result(self._caller.call("POST", f"{TABLE}?sysparm_fields={FIELDS}", record), dict))

    def comment(self, ticket: str, body: Document, *, marker: str) -> None:
        """Add a work note, once. Raises TicketUnavailableError.

        A user without the right to read sys_journal_field is shown no notes instead of being refused: it is then added
        each time that an answer is lost.
        """
        last = inert(f"({marker})")
        query = f"element_id={_plain_id(ticket)}^element=work_notes^ORDERBYDESCsys_created_on"
        for page in range(MOST_PAGES):
            notes = self._query(JOURNAL, query, "value", start=page * A_PAGE)
            if any(str(note.get("value", "")).rstrip().endswith(last) for note in notes):
                return
            if len(notes) < A_PAGE:
                break
        text = cut(inert(plain(body)), MOST_TEXT - len(last) - 2)
        self._write(ticket, {"work_notes": f"{text}\n\n{last}"})

    def update(self, ticket: str, page: Page, state: TicketState) -> None:
        """Set what differs of title, grade and state, in one call. Raises TicketUnavailableError."""
        had = self._read(ticket)
        record = {key: value for key, value in _fields(page).items() if had.get(key) != value}
        if record:
            record["work_notes"] = _labels(page)
        record |= _transition(str(had.get("state")), state, self._close_code)
        if record:
            self._write(ticket, record)

    def read(self, ticket: str) -> Ticket:
        """The record as people left it. Raises TicketUnavailableError."""
        return self._ticket(self._read(ticket))

    def _read(self, ticket: str) -> Mapping[str, Any]:
        return dict(self._result(self._caller.call("GET", self._path(ticket)), dict))

    def _write(self, ticket: str, record: Mapping[str, str]) -> None:
        self._result(self._caller.call("PATCH", self._path(ticket), record), dict)

    def _query(self, table: str, query: str, fields: str, *, start: int = 0) -> list[Mapping[str, Any]]:
        asked = {"sysparm_query": query, "sysparm_fields": fields, "sysparm_limit": A_PAGE, "sysparm_offset": start}
        found = self._result(self._caller.call("GET", f"{table}?{urlencode(asked)}"), list)
        return [each for each in found if isinstance(each, dict)]

    def _path(self, ticket: str) -> str:
        return f"{TABLE}/{quote(ticket, safe='')}?sysparm_fields={FIELDS}"

    def _result(self, answer: Any, kind: type) -> Any:
        result = answer.get("result") if isinstance(answer, dict) else None
        if not isinstance(result, kind):
            raise TicketUnavailableError("ServiceNow's answer holds no result")
        return result

    def _ticket(self, record: Any) -> Ticket:
        identity = record.get("sys_id") if isinstance(record, dict) else None
        if not isinstance(identity, str) or not identity:
            raise TicketUnavailableError("ServiceNow's answer names no sys_id")
        code = str(record.get("state"))
        state = TicketState.ACKNOWLEDGED if code in TAKEN or record.get("assigned_to") else TicketState.OPEN
        if code in OVER:
            state = TicketState.CLOSED
        uri = quote(f"incident.do?sys_id={identity}", safe="")
        return Ticket(id=identity, url=f"{self._url}/nav_to.do?uri={uri}", state=state)


def correlation_of(marker: str) -> str:
    """The correlation id of a marker; one that is too long, or that could be more than a value in a query, is hashed.

    In a query ^ begins a further condition, and javascript: has a value run as a script.
    """
    if len(marker) <= MOST_CORRELATION and re.fullmatch(r"(?!(?i:javascript:))[\w:/.@-]+", marker, re.ASCII):
        return marker
    return f"xai-ops:{hashlib.sha256(marker.encode()).hexdigest()}"


def inert(text: str) -> str:
    """Text for a journal field that opens and closes no [code], which ServiceNow shows as HTML, and calls nobody."""
    return _OBEYED.sub(lambda found: f"{found[0]}\u200d", text)


def _fields(page: Page) -> dict[str, str]:
    title = page.title[:MOST_TITLE] or page.marker[:MOST_TITLE]
    return {"short_description": title, "impact": IMPACT[page.grade], "urgency": URGENCY[page.grade]}


def _labels(page: Page) -> str:
    return cut(inert(f"Labels: {', '.join(page.labels)}"), MOST_TEXT)


def _transition(code: str, state: TicketState, close_code: str) -> dict[str, str]:
    """What takes a record to a state; nothing where it is there. Resolving asks for a code and notes."""
    closed = code in OVER
    if state is TicketState.CLOSED and not closed:
        notes = "Out of trouble; resolved by xai-ops."
        return {"state": RESOLVED, "close_code": close_code, "close_notes": notes}
    if state is TicketState.ACKNOWLEDGED and code not in TAKEN:
        return {"state": IN_PROGRESS}
    return {"state": NEW} if state is TicketState.OPEN and closed else {}


def _plain_id(ticket: str) -> str:
    """A sys_id has letters and digits alone; anything else would be a further condition of the query."""
    return re.sub(r"[^0-9A-Za-z]", "", ticket)


def _headers(user: str, token: str) -> Mapping[str, str]:
    credentials = b64encode(f"{user}:{token}".encode()).decode()
    return {"Accept": "application/json", "Authorization": f"Basic {credentials}"}


def _words(body: Any) -> object:
    error = body.get("error") if isinstance(body, dict) else None
    said = (error.get("message"), error.get("detail")) if isinstance(error, dict) else ()
    return ": ".join(str(each) for each in said if each)
