"""Trouble, in words: a report (request to note it), an incident (our record), a ticket (its copy in a tracker).

Knows nothing of rollouts, trackers or storage.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from chalicelib.incident.document import Document
from chalicelib.incident.redact import line_of

MOST_TITLE = 300


class Grade(StrEnum):
    """How soon a person must look: P1 now, P2 in 15 minutes, P3 in an hour, P4 the next day."""

    P1 = "P1"
    P2 = "P2"
    P3 = "P3"
    P4 = "P4"

    def or_worse(self, other: Grade) -> Grade:
        """The more severe of two grades."""
        return min(self, other)


class Says(StrEnum):
    """What a report says of its member: in trouble, out of it, no longer measured, or only something worth reading."""

    FIRING = "firing"
    RESOLVED = "resolved"
    UNKNOWN = "unknown"
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A CloudWatch metric and the limit that it crossed: what a graph of it needs."""

    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...] = ()
    stat: str = "Average"
    period: int = 60  # seconds
    threshold: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A request to note trouble, or its end; recorded in one transaction with what caused it.

    `key` is equal for what is one trouble: one key, one incident. `member` is what is in trouble: a fleet-wide cause is
    one incident that names its members. `id` is unique for each report, and the same report recorded twice is one.
    `direct` is our own word on what we did: told at once, neither gathered nor suppressed.
    `until` is for a source that never says that it is over: not said again by then, it is. Alertmanager's endsAt.
    """

    id: str
    key: str
    kind: str  # rolled_back | held | memory_high ...; docs/runbooks has a page of each
    grade: Grade
    title: str  # one line
    at: datetime
    body: Document = ()
    says: Says = Says.FIRING
    member: str = ""
    group: str | None = None  # of the fleet file; what explains trouble is asked by it
    labels: tuple[str, ...] = ()
    alarm: str | None = None  # the CloudWatch alarm that says so
    metric: Metric | None = None
    direct: bool = False
    until: datetime | None = None

    def __post_init__(self) -> None:
        """Clean the title: it is stored, and goes into news and timelines as it is."""
        object.__setattr__(self, "title", line_of(self.title, MOST_TITLE))


class Stage(StrEnum):
    """Where an incident stands."""

    GATHERING = "gathering"  # nothing was told yet; more of the same may come
    SUPPRESSED = "suppressed"  # something explains it; nothing was told, it is looked at again
    OPEN = "open"
    SETTLING = "settling"  # every member is out of trouble; not yet for long enough
    RESOLVED = "resolved"  # told so; it reopens if the trouble comes back soon
    CLOSED = "closed"  # a person closed the ticket while it fired: respected until the trouble is over
    ENDED = "ended"  # over; trouble of this key is a new episode


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One thing in trouble. `says` is the newest word by the time at which it happened, not by arrival."""

    name: str
    says: Says
    grade: Grade
    since: datetime  # of this word
    changes: tuple[datetime, ...] = ()  # the last times at which the word changed
    count: int = 1
    title: str = ""
    alarm: str | None = None
    until: datetime | None = None


class LetterKind(StrEnum):
    """What a letter is about."""

    OPENED = "opened"
    UPDATED = "updated"
    REMINDER = "reminder"
    RESOLVED = "resolved"
    REOPENED = "reopened"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """Something to tell every tracker of the incident, in order of `number`."""

    number: int
    kind: LetterKind
    title: str
    body: Document
    at: datetime


class TicketState(StrEnum):
    """A ticket as people left it."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """A ticket as the tracker shows it."""

    id: str
    url: str
    state: TicketState = TicketState.OPEN


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """The incident in one tracker: its ticket, how much it was told, and what goes wrong there."""

    tracker: str  # by its name in the fleet file
    ticket: str | None = None
    url: str | None = None
    told: int = 0  # number of the last letter that it has
    grade: Grade | None = None  # title, grade and state as we left them
    title: str = ""
    shown: TicketState | None = TicketState.OPEN  # None: we are about to change it, and it may look either way
    seen: TicketState = TicketState.OPEN  # as it was last read
    attempts: int = 0  # failed deliveries in a row
    failing_since: datetime | None = None
    next_try: datetime | None = None
    trouble: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """A ticket of an earlier episode that is still open in a tracker that could not be told of its end."""

    tracker: str
    ticket: str
    marker: str
    title: str
    grade: Grade


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """Our record of one trouble. One key; each episode of it is one ticket in each tracker.

    `letters` are those that not every tracker has yet. `pending` are reports that no tick has folded in. `version` is
    the outbox' fence: a claim counts it up, and only a copy of the latest claim can be saved.
    """

    key: str
    kind: str
    grade: Grade
    title: str
    opened_at: datetime  # of this episode
    stage: Stage = Stage.GATHERING
    since: datetime | None = None  # of this stage
    episode: int = 1
    group: str | None = None
    direct: bool = False
    labels: tuple[str, ...] = ()
    members: tuple[Member, ...] = ()
    more_members: int = 0  # beyond those that a record can hold
    count: int = 0  # reports of this episode
    down_seconds: float = 0.0  # with at least one member in trouble, until `down_since`
    down_since: datetime | None = None
    body: Document = ()  # what the newest report with something to read said
    notes: tuple[str, ...] = ()
    news: tuple[str, ...] = ()  # what the tickets do not say yet
    evidence: Document = ()  # gathered when it opened
    metric: Metric | None = None
    timeline: tuple[tuple[datetime, str], ...] = ()
    letters: tuple[Letter, ...] = ()
    number: int = 0  # of the newest letter
    told_at: datetime | None = None  # when that was written
    copies: tuple[Copy, ...] = ()
    acknowledged: bool = False
    flapping: bool = False
    why: str = ""  # what suppressed or closed it
    leftovers: tuple[Leftover, ...] = ()
    pending: tuple[Report, ...] = ()
    version: int = 0

    @property
    def firing(self) -> tuple[Member, ...]:
        """The members in trouble, or last seen in it."""
        return tuple(m for m in self.members if m.says in (Says.FIRING, Says.UNKNOWN))
