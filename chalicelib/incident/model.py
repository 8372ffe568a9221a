"""Trouble, in words: a report (request to note it), an incident (our record), a ticket (its copy in a tracker).

Knows nothing of rollouts, trackers or storage.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Grade(StrEnum):
    """How soon a person must look: P1 now, P2 in 15 minutes, P3 in an hour, P4 the next day."""

    P1 = "P1"
    P2 = "P2"
    P3 = "P3"
    P4 = "P4"

    def or_worse(self, other: Grade) -> Grade:
        """The more severe of two grades."""
        return min(self, other)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A request to note trouble; recorded in the same transaction as the phase change that caused it.

    `key` is equal for what is one trouble: one key, one incident, one ticket. `id` is unique for each report, and
    the same report recorded twice is one.
    """

    id: str
    key: str
    kind: str  # rejected | rolled_back | held ...
    grade: Grade
    title: str  # one line
    body: str  # markdown; whoever renders it has escaped every part from outside
    at: datetime
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """Our record of one trouble and of how much of it the tracker knows.

    `pending` are the reports not yet told, oldest first. `ticket` is the tracker's id, None until created.
    `grade` and `labels` are those that were recorded or saved last: pending reports may say worse. `version` is the
    outbox' fence: a claim counts it up, and only a copy of the latest claim can be saved.
    """

    key: str
    kind: str
    grade: Grade
    title: str
    opened_at: datetime
    ticket: str | None = None
    url: str | None = None
    told: tuple[str, ...] = ()  # ids of reports that the ticket has
    pending: tuple[Report, ...] = ()
    attempts: int = 0  # failed deliveries in a row
    labels: tuple[str, ...] = field(default=())
    version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """A ticket as the tracker shows it."""

    id: str
    url: str
    state: str  # open | closed
