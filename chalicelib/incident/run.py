"""Deliver what the outbox holds: one trouble, one ticket, never lost, never doubled.

A rollback never waits for a ticket: reports are recorded with the phase change and sent from here, later if need be.
Knows the order in which a ticket comes to be. Must not know any tracker.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from chalicelib import observe
from chalicelib.errors import LostRaceError, TicketUnavailableError
from chalicelib.incident.model import Incident, Report
from chalicelib.incident.ports import Outbox, Tracker
from chalicelib.incident.render import comment_of, incident_marker, labels_of, report_marker, title_of

FIRST_RETRY_SECONDS = 15.0
LONGEST_RETRY_SECONDS = 900.0
LEASE_SECONDS = 60
MOST_PER_CALL = 10  # a delivery takes a few HTTP calls, and a tick must end


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What one delivery run came to; `next_try` is when the incident that failed is due again."""

    delivered: int = 0
    failed: int = 0
    next_try: datetime | None = None


def deliver_reports(
    outbox: Outbox, tracker: Tracker, *, now: datetime, lease_seconds: int = LEASE_SECONDS, most: int = MOST_PER_CALL
) -> Delivery:
    """Tell the tracker the due reports of at most `most` incidents; a failing tracker only postpones.

    The first failure ends the call: a tracker that hangs must cost a tick one time-out, not one for each incident.
    Never raises for a tracker's failure; the outbox' errors go through.
    """
    delivered = 0
    for due in outbox.due_incidents(now)[:most]:
        incident = outbox.claim_incident(due.key, now=now, lease_seconds=lease_seconds)
        if incident is None:
            continue
        told, trouble = _tell(incident, tracker)
        if trouble is not None:
            return Delivery(delivered=delivered, failed=1, next_try=_postpone(told, outbox, trouble, now))
        if _saved(replace(told, attempts=0), outbox, next_try=None):
            observe.log("ticket_delivered", incident=told.key, ticket=told.ticket, url=told.url)
            delivered += 1
    return Delivery(delivered=delivered)


def retry_seconds(attempts: int) -> float:
    """Patience after this many failures in a row: 15 s, doubled each time, at most 15 minutes."""
    doublings = min(max(0, attempts - 1), 10)
    return min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * (1 << doublings))


def _tell(incident: Incident, tracker: Tracker) -> tuple[Incident, TicketUnavailableError | None]:
    """Bring the ticket up to date; returns how far it came, and what stopped it."""
    known = incident
    try:
        known = _open(known, tracker)
        ticket = known.ticket
        if ticket is not None:
            known = _amend(known, ticket, tracker)
            for report in known.pending:
                tracker.comment(ticket, comment_of(report), marker=report_marker(report))
                known = _with_told(known, report)
    except TicketUnavailableError as error:
        return known, error
    return known, None


def _open(incident: Incident, tracker: Tracker) -> Incident:
    """Find the ticket by its marker first: a create whose answer, or whose record, was lost must not be repeated."""
    if incident.ticket is not None or not incident.pending:
        return incident
    marker, first = incident_marker(incident), incident.pending[0]
    found = tracker.find(marker)
    if found is not None:
        return _with_told(replace(incident, ticket=found.id, url=found.url), first)
    worst = as_worst(incident)
    made = tracker.create(marker=marker, title=title_of(worst), body=first.body, labels=labels_of(worst))
    return _with_told(replace(worst, ticket=made.id, url=made.url), first)


def _amend(incident: Incident, ticket: str, tracker: Tracker) -> Incident:
    """Before the comments: once they are told, nothing would remember that the title was not."""
    worst = as_worst(incident)
    if (title_of(worst), labels_of(worst)) != (title_of(incident), labels_of(incident)):
        tracker.amend(ticket, title=title_of(worst), labels=labels_of(worst))
    return worst


def as_worst(incident: Incident) -> Incident:
    """The incident as its pending reports make it: every label, and the words of the newest of the worst grade."""
    labels = tuple(
        dict.fromkeys((*incident.labels, *(label for report in incident.pending for label in report.labels)))
    )
    worst = min(reversed(incident.pending), key=lambda report: report.grade, default=None)
    if worst is None or worst.grade > incident.grade:
        return replace(incident, labels=labels)
    return replace(incident, labels=labels, grade=worst.grade, kind=worst.kind, title=worst.title)


def _with_told(incident: Incident, report: Report) -> Incident:
    pending = tuple(each for each in incident.pending if each.id != report.id)
    return replace(incident, told=(*incident.told, report.id), pending=pending)


def _postpone(incident: Incident, outbox: Outbox, trouble: TicketUnavailableError, now: datetime) -> datetime:
    failed = replace(incident, attempts=incident.attempts + 1)
    next_try = now + timedelta(seconds=max(retry_seconds(failed.attempts), trouble.retry_after))
    _saved(failed, outbox, next_try=next_try)
    observe.alert("ticket_delivery_failed", incident=incident.key, attempts=failed.attempts, error=str(trouble))
    observe.count("TicketDeliveryFailed")
    return next_try


def _saved(incident: Incident, outbox: Outbox, *, next_try: datetime | None) -> bool:
    try:
        outbox.save_incident(incident, next_try=next_try)
    except LostRaceError:  # our lease ran out; the other tick finds what we told by its markers
        observe.log("ticket_lost_race", incident=incident.key)
        return False
    return True
