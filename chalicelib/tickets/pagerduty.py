"""The port `Tracker` on PagerDuty: the Events API v2, and the REST API where a token of it is given.

The deduplication key is made from the marker, so PagerDuty itself makes one incident of a create that is repeated. The
Events API can neither be read nor hold notes, and a further trigger is an entry in the incident's log that leaves its
title as it was: comments and titles need the REST API and a user to write as, and without a REST token nobody's
acknowledgement is seen. Events are taken first and carried out later: what was just created may not be listed yet.
A trigger after a resolve opens a *new* incident: that is how a reopened ticket looks in PagerDuty. Acknowledgements and
resolves of a key without an open incident are dropped there.
Source: https://developer.pagerduty.com/docs/send-alert-event, https://support.pagerduty.com/main/docs/alerts (titles),
https://developer.pagerduty.com/api-reference/ (incidents and their notes)
Must not know incidents' lives or where the keys are kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from chalicelib.errors import OpsError, TicketUnavailableError
from chalicelib.incident.document import Bullets, Document, Paragraph, Picture, Run
from chalicelib.incident.model import Grade, Ticket, TicketState
from chalicelib.incident.ports import Page
from chalicelib.tickets.http import Caller
from chalicelib.tickets.plain import cut, plain

MOST_SUMMARY = 1024  # https://developer.pagerduty.com/docs/send-alert-event
MOST_KEY = 255
# An event may have 512 KB (https://developer.pagerduty.com/docs/events-api-v2-overview), and one character may take
# 12 bytes of JSON.
MOST_DETAILS = 25_000
MOST_LINKS = 10  # and as many pictures
MOST_NOTE = 20_000  # PagerDuty documents no limit; a note is read by people
SEVERITY: Mapping[Grade, str] = {Grade.P1: "critical", Grade.P2: "error", Grade.P3: "warning", Grade.P4: "info"}
_STATES = {
    "triggered": TicketState.OPEN,
    "acknowledged": TicketState.ACKNOWLEDGED,
    "resolved": TicketState.CLOSED,
}
_ADVICE: Mapping[int, str] = {
    400: "PagerDuty refuses the event: check that the routing key is of an Events API v2 integration",
    401: "the REST token is wrong: renew the secret named by token_secret",
    402: "the account does not have this feature",
    403: "the REST token may not read incidents, or not write them as this user",
    404: "not found: check api_url and rest_url",
}


class PagerDuty:
    """The port `Tracker`; a ticket's id is its deduplication key."""

    def __init__(
        self,
        *,
        routing_key: Callable[[], str],
        source: str,
        api_url: str = "https://events.pagerduty.com",
        rest_url: str = "https://api.pagerduty.com",
        token: Callable[[], str] | None = None,
        user: str | None = None,
    ) -> None:
        """Send events with this routing key; `token` of the REST API lets what people do be read back.

        `user` is the e-mail address of a PagerDuty user, in whose name notes are written.
        """
        self._user = user
        self._routing_key = routing_key
        self._source = source
        self._events = Caller(
            name="PagerDuty", api_url=api_url, token=routing_key, headers=lambda _key: {}, advice=_ADVICE, said=_words
        )
        self._rest = token and Caller(
            name="PagerDuty", api_url=rest_url, token=token, headers=self._headers, advice=_ADVICE, said=_words
        )

    def find(self, marker: str) -> Ticket | None:
        """The incident of this marker where a REST token is given; else None: a create repeated makes no second one."""
        if self._rest is None:
            return None
        newest = self._newest(key_of(marker))
        return _ticket(key_of(marker), newest) if newest else None

    def create(self, page: Page) -> Ticket:
        """Trigger the incident. Raises TicketUnavailableError."""
        key = key_of(page.marker)
        self._send("trigger", key, page)
        return Ticket(id=key, url="")

    def comment(self, ticket: str, body: Document, *, marker: str) -> None:
        """Add a note to the incident, once. Without a REST token and a user nothing is sent: events hold no notes.

        A further trigger could carry the text, but would page somebody once more where people resolved the incident.
        Raises TicketUnavailableError, also while PagerDuty shows no incident: it may come, or the event was dropped
        (nobody on call, or a rule of theirs), which people must know.
        """
        if self._rest is None or self._user is None:
            return
        newest = self._newest(ticket)
        if newest is None:
            raise TicketUnavailableError("PagerDuty shows no incident of this ticket's key: not yet, or it dropped it")
        notes = f"/incidents/{quote(str(newest.get('id')), safe='')}/notes"
        answer = self._rest.call("GET", notes)
        known = answer.get("notes") if isinstance(answer, dict) else None
        if not isinstance(known, list):
            raise TicketUnavailableError("could not read PagerDuty's notes: the answer holds none")
        last = f"({marker})"
        if any(str(note.get("content", "")).rstrip().endswith(last) for note in known if isinstance(note, dict)):
            return
        self._rest.call(
            "POST", notes, {"note": {"content": cut(plain(body), MOST_NOTE - len(last) - 2) + f"\n\n{last}"}}
        )

    def update(self, ticket: str, page: Page, state: TicketState) -> None:
        """Set the title by REST, then resolve, acknowledge, or trigger with the severity of now.

        Raises TicketUnavailableError.
        """
        self._retitle(ticket, page)
        match state:
            case TicketState.CLOSED:
                self._enqueue("resolve", ticket, {})
            case TicketState.ACKNOWLEDGED:
                self._enqueue("acknowledge", ticket, {})
            case TicketState.OPEN:
                self._send("trigger", ticket, page)

    def read(self, ticket: str) -> Ticket | None:
        """The incident as people left it; None where no REST token is given. Raises TicketUnavailableError."""
        newest = self._newest(ticket) if self._rest else None
        return _ticket(ticket, newest) if newest else None

    def _retitle(self, ticket: str, page: Page) -> None:
        """Give an open incident of ours its title; one that PagerDuty grouped other alerts into is not ours alone."""
        newest = self._newest(ticket) if self._user else None
        if self._rest is None or newest is None or newest.get("status") == "resolved":
            return
        counts = newest.get("alert_counts")
        alone = not isinstance(counts, dict) or counts.get("all", 1) == 1
        title = _summary(page)
        if alone and newest.get("title") != title:
            path = f"/incidents/{quote(str(newest.get('id')), safe='')}"
            self._rest.call("PUT", path, {"incident": {"type": "incident_reference", "title": title}})

    def _send(self, action: str, key: str, page: Page) -> None:
        payload = {
            "summary": _summary(page),
            "severity": SEVERITY[page.grade],
            "source": self._source,
            "class": next((label for label in page.labels if label not in SEVERITY), "incident"),
            "custom_details": {"text": cut(plain(page.body), MOST_DETAILS), "labels": ", ".join(page.labels)},
        }
        links = [{"href": run.url, "text": run.text} for run in _links(page.body)]
        pictures = [each for each in page.body if isinstance(each, Picture) and each.url.startswith("https://")]
        images = [{"src": each.url, "href": each.url, "alt": each.title} for each in pictures]
        more = {"links": links[:MOST_LINKS], "images": images[:MOST_LINKS]}
        self._enqueue(action, key, {"payload": payload, **{name: value for name, value in more.items() if value}})

    def _enqueue(self, action: str, key: str, event: Mapping[str, Any]) -> None:
        try:
            routing_key = self._routing_key()
        except OpsError as error:
            raise TicketUnavailableError(f"could not read the routing key for PagerDuty: {error}") from error
        head = {"routing_key": routing_key, "event_action": action, "dedup_key": key}
        self._events.call("POST", "/v2/enqueue", {**head, **event})

    def _headers(self, token: str) -> Mapping[str, str]:
        headers = {"Accept": "application/vnd.pagerduty+json;version=2", "Authorization": f"Token token={token}"}
        return {**headers, "From": self._user} if self._user else headers

    def _newest(self, key: str) -> Mapping[str, Any] | None:
        """The newest incident of a key: one that was triggered after a resolve is another one."""
        if self._rest is None:
            return None
        query = urlencode({"incident_key": key, "sort_by": "created_at:desc", "limit": 1, "date_range": "all"})
        answer = self._rest.call("GET", f"/incidents?{query}")
        found = answer.get("incidents") if isinstance(answer, dict) else None
        if not isinstance(found, list):
            raise TicketUnavailableError("could not read PagerDuty's incidents: the answer holds none")
        return next((each for each in found if isinstance(each, dict)), None)


def key_of(marker: str) -> str:
    """The deduplication key of a marker: itself, or its hash where it is too long."""
    return marker if len(marker) <= MOST_KEY else f"xai-ops:{hashlib.sha256(marker.encode()).hexdigest()}"


def _summary(page: Page) -> str:
    """The title; PagerDuty refuses an event without one."""
    return page.title[:MOST_SUMMARY] or page.marker[:MOST_SUMMARY]


def _ticket(key: str, incident: Mapping[str, Any]) -> Ticket:
    state = _STATES.get(str(incident.get("status")))
    if state is None:
        raise TicketUnavailableError(f"PagerDuty's incident has the status {quote(str(incident.get('status')))[:40]!r}")
    return Ticket(id=key, url=str(incident.get("html_url") or ""), state=state)


def _links(body: Document) -> Iterator[Run]:
    for block in body:
        lines = block.lines if isinstance(block, Bullets) else (block.line,) if isinstance(block, Paragraph) else ()
        yield from (run for line in lines for run in line if run.url)


def _words(body: Any) -> object:
    """PagerDuty's own words: `message` and `errors` of an event, `error.message` of the REST API."""
    if not isinstance(body, dict):
        return None
    inner = body.get("error")
    if isinstance(inner, dict):
        return inner.get("message")
    errors = body.get("errors")
    return "; ".join(map(str, errors)) if isinstance(errors, list) and errors else body.get("message")
