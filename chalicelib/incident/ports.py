"""What incidents need from outside: a tracker, and the ledger's outbox."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from chalicelib.incident.model import Incident, Ticket


class Tracker(Protocol):
    """A place where people keep their tickets. Every method raises TicketUnavailableError when it cannot be reached."""

    def find(self, marker: str) -> Ticket | None:
        """Find the ticket that carries this marker, so that a create whose answer was lost is not repeated."""
        ...

    def create(self, *, marker: str, title: str, body: str, labels: tuple[str, ...]) -> Ticket:
        """Open a ticket that carries the marker."""
        ...

    def comment(self, ticket: str, body: str, *, marker: str) -> None:
        """Add a comment once: one that already carries the marker is not repeated."""
        ...

    def amend(self, ticket: str, *, title: str, labels: tuple[str, ...]) -> None:
        """Set title and labels, as when the grade rises."""
        ...


class Outbox(Protocol):
    """Where reports wait until a tracker has them."""

    def due_incidents(self, now: datetime) -> tuple[Incident, ...]:
        """Incidents with pending reports whose next try is due, at most a page."""
        ...

    def claim_incident(self, key: str, *, now: datetime, lease_seconds: int) -> Incident | None:
        """Take the incident for one delivery, or None when another tick has it or nothing is pending."""
        ...

    def save_incident(self, incident: Incident, *, next_try: datetime | None) -> None:
        """Record what was told and let go of the claim; `next_try` None means nothing is pending any more.

        Raises LostRaceError when the lease ran out and another tick took the incident.
        """
        ...

    def incidents(self, prefix: str) -> tuple[Incident, ...]:
        """Every incident whose key begins with this prefix, newest first, at most a page."""
        ...
