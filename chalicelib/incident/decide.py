"""What a tick does with one incident: a pure function of (incident, what was seen, policy, now).

    GATHERING ── SUPPRESSED ── OPEN ── SETTLING ── RESOLVED ── (reopened: OPEN; else a new episode)
                                 └──── CLOSED by a person ──── ENDED (or opened again by one: OPEN)

Gathering, updates and reminders mean what group_wait, group_interval and repeat_interval mean in Alertmanager. What
suppresses trouble never suppresses its end. Must not read the clock or know any tracker.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from chalicelib.fleet.model import Incidents
from chalicelib.incident.fold import MOST_TIMELINE
from chalicelib.incident.letters import closed, opened, reminder, reopened, resolved, updated
from chalicelib.incident.model import Copy, Incident, Letter, LetterKind, Stage, TicketState
from chalicelib.incident.ports import Explanation

LOOK_AGAIN_SECONDS = 60.0  # at what suppresses trouble
QUIET_LOOK_SECONDS = 900.0
MOST_LETTERS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a tick saw beside the reports: tickets as people left them, by tracker, and what explains the trouble."""

    tickets: Mapping[str, TicketState] = field(default_factory=dict)
    explanation: Explanation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The incident as it should be recorded, with its letters, and when to look again. `opens`: for the first time."""

    incident: Incident
    wake_at: datetime | None = None
    opens: bool = False
    attach_to: str | None = None  # key of the incident that explains this one


def decide(incident: Incident, seen: Seen, policy: Incidents, now: datetime) -> Decision:
    """Decide one tick of one incident whose reports are folded in."""
    was_taken_on = incident.acknowledged
    incident = _with_fallback(_people(incident, seen, now), policy, now)
    taken_on = incident.acknowledged and not was_taken_on
    match incident.stage:
        case Stage.GATHERING | Stage.SUPPRESSED:
            return _not_told_yet(incident, seen, policy, now)
        case Stage.OPEN | Stage.SETTLING:
            return _told(incident, seen, policy, now, taken_on=taken_on)
        case Stage.RESOLVED:
            return _resolved(incident, seen, policy, now)
        case Stage.CLOSED:
            return _closed(incident, policy, now)
        case Stage.ENDED:
            return Decision(incident=incident)


def _people(incident: Incident, seen: Seen, now: datetime) -> Incident:
    """Take in what people did in the trackers: whoever takes it on in one of them is known in all."""
    copies = tuple(replace(c, seen=seen.tickets.get(c.tracker, c.seen)) for c in incident.copies)
    by = next((c.tracker for c in copies if c.seen is TicketState.ACKNOWLEDGED), None)
    if by is not None and not incident.acknowledged:
        words = f"taken on in {by}"
        timeline = (*incident.timeline, (now, words))[-MOST_TIMELINE:]
        incident = replace(incident, news=(*incident.news, words), timeline=timeline)
    return replace(incident, copies=copies, acknowledged=by is not None)


def _not_told_yet(incident: Incident, seen: Seen, policy: Incidents, now: datetime) -> Decision:
    if not incident.firing:
        if not incident.members:
            return Decision(incident=incident)  # notes alone; should the trouble come, they are told with it
        return Decision(incident=_enter(replace(incident, news=()), Stage.ENDED, now))
    if incident.direct:
        return _open(incident, policy, now)
    ready = _ready(incident, policy)
    if now < ready:
        return Decision(incident=incident, wake_at=ready)
    if seen.explanation is not None:
        return _suppress(incident, seen.explanation, now)
    if policy.is_quiet(incident.grade.value, now):
        return Decision(incident=replace(incident, why="quiet hours"), wake_at=_after(now, QUIET_LOOK_SECONDS))
    return _open(incident, policy, now)


def _ready(incident: Incident, policy: Incidents) -> datetime:
    """When it is told: after the gathering; what ends by itself unless said again must first have lasted."""
    lasted = timedelta(seconds=policy.settle_seconds)
    proven = min(m.since if m.until is None else m.since + lasted for m in incident.firing)
    return max(incident.opened_at + timedelta(seconds=policy.gather_seconds), proven)


def _suppress(incident: Incident, explanation: Explanation, now: datetime) -> Decision:
    first = incident.stage is not Stage.SUPPRESSED or incident.why != explanation.text
    suppressed = incident if incident.stage is Stage.SUPPRESSED else _enter(incident, Stage.SUPPRESSED, now)
    return Decision(
        incident=replace(suppressed, why=explanation.text),
        wake_at=_next_look(explanation, now),
        attach_to=explanation.incident if first else None,
    )


def _open(incident: Incident, policy: Incidents, now: datetime) -> Decision:
    incident = _routed(_enter(incident, Stage.OPEN, now), policy)
    return _come_back(_written(incident, LetterKind.OPENED, opened(incident), now), policy, now, opens=True)


def _told(incident: Incident, seen: Seen, policy: Incidents, now: datetime, *, taken_on: bool) -> Decision:
    incident = _routed(incident, policy)
    by = next((c.tracker for c in incident.copies if _closed_by_a_person(c)), None)
    if by is not None:
        why = f"a person closed the ticket in {by}"
        shut = _enter(replace(incident, why=why, news=()), Stage.CLOSED, now)
        return _closed(_written(shut, LetterKind.CLOSED, closed(shut), now), policy, now)
    if not incident.firing:
        return _settle(incident, policy, now)
    if incident.stage is Stage.SETTLING:
        incident = _enter(incident, Stage.OPEN, now)
    return _come_back(_news_or_reminder(incident, seen, policy, now, taken_on=taken_on), policy, now)


def _closed_by_a_person(copy: Copy) -> bool:
    return copy.seen is TicketState.CLOSED and copy.shown is TicketState.OPEN


def _opened_by_a_person(copy: Copy) -> bool:
    return copy.shown is TicketState.CLOSED and copy.seen is not TicketState.CLOSED


def _settle(incident: Incident, policy: Incidents, now: datetime) -> Decision:
    if incident.stage is Stage.OPEN:
        over = max((member.since for member in incident.members), default=now)
        incident = replace(incident, stage=Stage.SETTLING, since=min(over, now))
    patience = policy.flapping_settle_seconds if incident.flapping else policy.settle_seconds
    ready = (incident.since or now) + timedelta(seconds=0 if incident.direct else patience)
    if now < ready:
        return Decision(incident=incident, wake_at=ready)
    ended = _enter(incident, Stage.RESOLVED, now)
    written = _written(replace(ended, news=()), LetterKind.RESOLVED, resolved(incident, now), now)
    return Decision(incident=replace(written, flapping=False))


def _resolved(incident: Incident, seen: Seen, policy: Incidents, now: datetime) -> Decision:
    """Trouble that came back within the window reopens its ticket; later trouble was made a new episode by the fold."""
    if not incident.firing:
        return Decision(incident=replace(incident, news=()))
    if not incident.direct and seen.explanation is not None:
        return Decision(incident=incident, wake_at=_next_look(seen.explanation, now))
    if not incident.direct and policy.is_quiet(incident.grade.value, now):
        return Decision(incident=incident, wake_at=_after(now, QUIET_LOOK_SECONDS))
    again = _routed(_enter(replace(incident, acknowledged=False), Stage.OPEN, now), policy)
    return _come_back(_written(again, LetterKind.REOPENED, reopened(again), now), policy, now, opens=True)


def _closed(incident: Incident, policy: Incidents, now: datetime) -> Decision:
    """Nothing more is told, unless a person opens a ticket again. Over, once the trouble has been for the settling time."""
    incident = replace(incident, news=())
    by = next((c.tracker for c in incident.copies if c.ticket and _opened_by_a_person(c)), None)
    if by is not None:
        again = _enter(replace(incident, why="", news=(f"a person opened the ticket in {by} again",)), Stage.OPEN, now)
        return _come_back(_written(again, LetterKind.REOPENED, reopened(again), now), policy, now)
    if incident.firing or incident.letters:
        return Decision(incident=incident, wake_at=_after(now, policy.read_back_seconds))
    over = max((member.since for member in incident.members), default=now)
    ready = over + timedelta(seconds=policy.settle_seconds)
    return (
        Decision(incident=incident, wake_at=ready)
        if now < ready
        else Decision(incident=_enter(incident, Stage.ENDED, now))
    )


def _news_or_reminder(incident: Incident, seen: Seen, policy: Incidents, now: datetime, *, taken_on: bool) -> Incident:
    """A worse grade waits for nothing, and that somebody took it on is told before a second person starts."""
    since = (now - (incident.told_at or now)).total_seconds()
    worse = any(copy.grade is not None and incident.grade < copy.grade for copy in incident.copies)
    at_once = incident.direct or worse or taken_on
    explained = seen.explanation is not None or policy.is_quiet(incident.grade.value, now)
    if explained and not at_once:
        return incident
    if incident.news and (at_once or since >= policy.update_seconds):
        return _written(incident, LetterKind.UPDATED, updated(incident), now)
    if since >= policy.repeat_seconds and not incident.acknowledged:
        return _written(incident, LetterKind.REMINDER, reminder(incident, now), now)
    return incident


def _come_back(incident: Incident, policy: Incidents, now: datetime, *, opens: bool = False) -> Decision:
    """An open incident is looked at again for its news, its reminder, and what people did to its tickets."""
    told, soon = incident.told_at or now, _after(now, LOOK_AGAIN_SECONDS)
    times = [_after(now, policy.read_back_seconds)]
    if incident.news and not policy.is_quiet(incident.grade.value, now):
        times.append(max(soon, told + timedelta(seconds=policy.update_seconds)))
    if not incident.acknowledged and not policy.is_quiet(incident.grade.value, now):
        times.append(max(soon, told + timedelta(seconds=policy.repeat_seconds)))
    times += [member.until for member in incident.firing if member.until is not None and member.until > now]
    return Decision(incident=incident, wake_at=min(times), opens=opens)


def _routed(incident: Incident, policy: Incidents) -> Incident:
    """A copy for each tracker that the grade goes to."""
    there = {copy.tracker for copy in incident.copies}
    wanted = policy.trackers_of(incident.grade.value)
    new = tuple(Copy(tracker=name) for name in wanted if name not in there)
    return replace(incident, copies=(*incident.copies, *new)) if new else incident


def _with_fallback(incident: Incident, policy: Incidents, now: datetime) -> Incident:
    """The fallback speaks for a tracker that has failed for too long; that tracker's ticket stays pending."""
    if policy.fallback is None or any(copy.tracker == policy.fallback for copy in incident.copies):
        return incident
    lost = [c for c in incident.copies if c.failing_since is not None]
    if not any((now - c.failing_since).total_seconds() >= policy.budget_seconds for c in lost if c.failing_since):
        return incident
    return replace(incident, copies=(*incident.copies, Copy(tracker=policy.fallback)))


def _written(incident: Incident, kind: LetterKind, letter: Letter, now: datetime) -> Incident:
    """Put a letter into the incident's post. Long troubles with a dead tracker keep the first and the newest."""
    number = incident.number + 1
    letters = (*incident.letters, replace(letter, number=number, kind=kind, at=now))
    if len(letters) > MOST_LETTERS:
        letters = (letters[0], *letters[-(MOST_LETTERS - 1) :])
    timeline = (*incident.timeline, (now, kind.value))[-MOST_TIMELINE:]
    if kind in (LetterKind.RESOLVED, LetterKind.CLOSED, LetterKind.REOPENED):
        # Recorded before it is done: should the answer be lost, our own close is not taken for a person's.
        incident = replace(incident, copies=tuple(replace(copy, shown=None) for copy in incident.copies))
    return replace(incident, letters=letters, number=number, told_at=now, news=(), timeline=timeline)


def _enter(incident: Incident, stage: Stage, now: datetime) -> Incident:
    return replace(incident, stage=stage, since=now)


def _next_look(explanation: Explanation, now: datetime) -> datetime:
    soon = _after(now, LOOK_AGAIN_SECONDS)
    return min(explanation.until, soon) if explanation.until is not None and explanation.until > now else soon


def _after(now: datetime, seconds: float) -> datetime:
    return now + timedelta(seconds=seconds)
