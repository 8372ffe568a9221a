"""Deliver what the outbox holds: one trouble, one ticket, never lost, never doubled.

A rollback never waits for a ticket: reports are recorded with the phase change and sent from here, later if need be.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from chalicelib import observe
from chalicelib.errors import DeniedError, LostRaceError, TicketUnavailableError
from chalicelib.incident.model import Incident
from chalicelib.incident.ports import Outbox, Tracker
from chalicelib.incident.render import incident_marker, labels_of, report_marker, title_of

FIRST_RETRY_SECONDS = 15.0
LONGEST_RETRY_SECONDS = 900.0
LEASE_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What one delivery run came to."""

    delivered: int = 0
    failed: int = 0
    next_try: datetime | None = None


def deliver_reports(outbox: Outbox, tracker: Tracker, *, now: datetime, lease_seconds: int = LEASE_SECONDS) -> Delivery:
    """Tell the tracker every due report; a failing tracker only postpones, with growing patience."""
    total = Delivery()
    for due in outbox.due_incidents(now):
        incident = outbox.claim_incident(due.key, now=now, lease_seconds=lease_seconds)
        if incident is None:
            continue
        try:
            total = _one(incident, outbox, tracker, total, now)
        except LostRaceError:
            observe.log("ticket_lost_race", incident=incident.key)
    return total


def _one(incident: Incident, outbox: Outbox, tracker: Tracker, total: Delivery, now: datetime) -> Delivery:
    progress = incident
    try:
        if progress.ticket is None:
            progress = _open(progress, tracker)
            outbox.save_incident(progress, next_try=now)  # from here on the ticket is known, whatever comes
        progress = _update(progress, tracker)
    except (TicketUnavailableError, DeniedError) as error:
        failed = replace(progress, attempts=progress.attempts + 1)
        seconds = min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2 ** min(progress.attempts, 10))
        next_try = now + timedelta(seconds=seconds)
        outbox.save_incident(failed, next_try=next_try)
        observe.alert("ticket_delivery_failed", incident=incident.key, attempts=failed.attempts, error=str(error))
        observe.count("TicketDeliveryFailed")
        return replace(total, failed=total.failed + 1, next_try=min(filter(None, (total.next_try, next_try))))
    outbox.save_incident(replace(progress, attempts=0), next_try=None)
    observe.log("ticket_delivered", incident=incident.key, ticket=progress.ticket, url=progress.url)
    return replace(total, delivered=total.delivered + 1)


def _open(incident: Incident, tracker: Tracker) -> Incident:
    """Find the ticket by its marker first: a create whose answer was lost must not be repeated."""
    marker = incident_marker(incident)
    ticket = tracker.find(marker)
    if ticket is None:
        first = incident.pending[0]
        ticket = tracker.create(marker=marker, title=title_of(incident), body=first.body, labels=labels_of(incident))
    told = (*incident.told, *(report.id for report in incident.pending[:1]))
    return replace(incident, ticket=ticket.id, url=ticket.url, told=told, pending=incident.pending[1:])


def _update(incident: Incident, tracker: Tracker) -> Incident:
    if incident.ticket is None or not incident.pending:
        return incident
    for report in incident.pending:
        tracker.comment(incident.ticket, f"**{report.grade} {report.kind}**\n\n{report.body}", marker=report_marker(report))
    tracker.amend(incident.ticket, title=title_of(incident), labels=labels_of(incident))
    return replace(incident, told=(*incident.told, *(r.id for r in incident.pending)), pending=())
