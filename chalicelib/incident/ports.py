"""What incidents need from outside: trackers, the ledger's outbox, evidence, and what explains trouble."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from chalicelib.incident.document import Document
from chalicelib.incident.model import Grade, Incident, Report, Ticket, TicketState

A_CLAIM = 90  # reports that a claim brings at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A ticket as it should look. `marker` finds it again, and is the same for the same episode."""

    marker: str
    title: str  # one line, cleaned
    body: Document
    labels: tuple[str, ...]
    grade: Grade


class Tracker(Protocol):
    """A place where people keep their tickets. Every method raises TicketUnavailableError when it did not come through.

    For a ticket that is not there any more that is a TicketGoneError.

    Nothing is retried inside: the outbox tries again later, and looks with `find` before it creates again.
    """

    def find(self, marker: str) -> Ticket | None:
        """Find the ticket that carries this marker, so that a create whose answer was lost is not repeated."""
        ...

    def create(self, page: Page) -> Ticket:
        """Open a ticket that carries the marker."""
        ...

    def comment(self, ticket: str, body: Document, *, marker: str) -> None:
        """Add a comment once: one that already carries the marker is not repeated."""
        ...

    def update(self, ticket: str, page: Page, state: TicketState) -> None:
        """Set title, labels, grade and state; never the body: what was there stays."""
        ...

    def read(self, ticket: str) -> Ticket | None:
        """The ticket as people left it; None where a tracker cannot say."""
        ...


class Outbox(Protocol):
    """Where reports wait until they are folded in, and incidents until they are due."""

    def put_reports(self, reports: Sequence[Report], *, wake_at: datetime) -> tuple[str, ...]:
        """Note reports and make their incidents due by then at the latest; one that was ever put is not put again.

        Returns the keys of those whose wake this call set: the others had one already.
        """
        ...

    def due_incidents(self, now: datetime) -> tuple[str, ...]:
        """Keys of the incidents that are due, the longest first."""
        ...

    def claim_incident(self, key: str, *, now: datetime, lease_seconds: int) -> Incident | None:
        """Take the incident with its oldest pending reports, or None when another tick has it or nothing is due."""
        ...

    def save_incident(
        self, incident: Incident, *, folded: Sequence[Report] = (), wake_at: datetime | None, keep: bool = False
    ) -> None:
        """Record it, drop the reports that were folded in, and let go of the claim, or `keep` it for another save.

        A report that came meanwhile keeps its own wake. Raises LostRaceError when the lease ran out and another tick
        took the incident.
        """
        ...

    def incident(self, key: str) -> Incident | None:
        """One incident as it was last recorded, without its pending reports."""
        ...

    def open_incidents(self) -> tuple[Incident, ...]:
        """Every incident that wants to be looked at again, with its pending reports, newest first."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What explains trouble for now: a maintenance window, an open rollout, or another incident."""

    text: str
    until: datetime | None = None  # None: nobody knows; looked at again
    incident: str | None = None  # key of the incident that trouble is attached to


class Circumstances(Protocol):
    """What is going on that may explain trouble."""

    def explain(self, incident: Incident, now: datetime) -> Explanation | None:
        """Why this trouble is no news now, or None."""
        ...


class Alarms(Protocol):
    """CloudWatch alarms."""

    def states(self, names: Sequence[str]) -> Mapping[str, str]:
        """OK, ALARM or INSUFFICIENT_DATA of each alarm; one that does not exist is missing."""
        ...


class Evidence(Protocol):
    """What saves the first 15 minutes, read when an incident opens. Never raises: what cannot be read is said."""

    def gather(self, incident: Incident, now: datetime) -> Document:
        """What changed lately, the graph of the metric, and where to look."""
        ...


class WakeQueue(Protocol):
    """The delayed message that wakes an incident's tick."""

    def wake_incident(self, key: str, *, delay_seconds: float) -> None:
        """Send one wake-up; the delay is capped at 900 s."""
        ...
