"""One tick of one incident: claim -> fold -> look -> decide -> record the intent -> tell -> record how far that came.

Never lost, never doubled: a report is folded in the transaction that records it; a letter stays until every tracker has
it; a ticket is looked for by its marker before it is created. A failing tracker postpones its own copy, no other.
Knows the order in which a ticket comes to be. Must not know any tracker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from zlib import crc32

from chalicelib import observe
from chalicelib.errors import LostRaceError, OpsError, TicketGoneError, TicketUnavailableError
from chalicelib.fleet.model import Incidents
from chalicelib.incident.decide import Decision, Seen, decide
from chalicelib.incident.fold import expired, fold
from chalicelib.incident.letters import letter_marker, marker_of, page_of
from chalicelib.incident.model import Copy, Grade, Incident, Leftover, LetterKind, Report, Says, Stage, TicketState
from chalicelib.incident.ports import A_CLAIM, Alarms, Circumstances, Evidence, Outbox, Page, Tracker

FIRST_RETRY_SECONDS = 15.0
LONGEST_RETRY_SECONDS = 900.0
GIVE_UP_AFTER = timedelta(days=7)  # the fallback has spoken long since
SOON = timedelta(minutes=15)  # a queue holds a message so long
MOST_PER_CALL = 10  # a delivery takes a few HTTP calls, and a tick must end
ALARMS_READ = frozenset({Stage.GATHERING, Stage.SUPPRESSED, Stage.OPEN, Stage.SETTLING, Stage.CLOSED})
READ_BACK = frozenset({Stage.OPEN, Stage.SETTLING, Stage.CLOSED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What a tick of incidents works with. `down`: trackers that failed in this call and are not asked again in it.

    `may_go_on` says whether enough of the call's time is left to ask one more tracker. `wake` asks for a tick of an
    incident after so many seconds; what is never asked for is found by the schedule.
    """

    outbox: Outbox
    trackers: Mapping[str, Tracker]
    policy: Incidents
    circumstances: Circumstances
    alarms: Alarms
    evidence: Evidence
    lease_seconds: int
    down: set[str] = field(default_factory=set)
    may_go_on: Callable[[], bool] = lambda: True
    wake: Callable[[str, float], None] = lambda _key, _seconds: None


def advance_incidents(desk: Desk, *, now: datetime, most: int = MOST_PER_CALL) -> int:
    """Run a tick of each of at most `most` due incidents; returns of how many. One incident's failure stops no other."""
    ran = 0
    for key in desk.outbox.due_incidents(now)[:most]:
        if not desk.may_go_on():  # they stay due
            break
        try:
            ran += advance_incident(key, desk, now=now)
        except OpsError as error:  # its claim ends with its lease, and it is due again
            observe.alert("incident_tick_failed", incident=key, error=str(error), kind=type(error).__name__)
            observe.count("IncidentTickFailed")
    return ran


def advance_incident(key: str, desk: Desk, *, now: datetime) -> bool:
    """Run one tick of one incident; False when another tick has it, or took it."""
    claimed = desk.outbox.claim_incident(key, now=now, lease_seconds=desk.lease_seconds)
    if claimed is None:
        return False
    reports = claimed.pending
    incident = fold(replace(claimed, pending=()), reports, desk.policy)
    incident = expired(fold(incident, _read_alarms(incident, desk, now), desk.policy), now, desk.policy)
    incident, seen = _look(incident, desk, now)
    decision = decide(incident, seen, desk.policy, now)
    if decision.opens:
        decision = replace(decision, incident=_with_evidence(decision.incident, desk, now))
    try:
        desk.outbox.save_incident(decision.incident, folded=reports, wake_at=decision.wake_at, keep=True)
        _log(claimed, decision)
        _attach(decision, desk, now)
        told = _tell(decision.incident, desk, now)
        wake_at = _wake(told, decision.wake_at, now)
        desk.outbox.save_incident(told, wake_at=wake_at)
    except LostRaceError:  # our lease ran out; the other tick finds what we told by its markers
        observe.log("incident_lost_race", incident=key)
        return False
    if len(reports) >= A_CLAIM:  # a storm: the rest waits for nothing
        desk.wake(key, 0.0)
    elif wake_at is not None and wake_at - now <= SOON:
        desk.wake(key, (wake_at - now).total_seconds())
    return True


def retry_seconds(attempts: int, name: str = "") -> float:
    """Patience after this many failures in a row: 15 s, doubled each time, at most 15 minutes.

    Up to a fifth less by `name`: incidents that failed together do not come back together.
    """
    doublings = min(max(0, attempts - 1), 10)
    jitter = crc32(f"{name}/{attempts}".encode()) % 1000 / 5000 if name else 0.0
    return min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * (1 << doublings)) * (1 - jitter)


def _look(incident: Incident, desk: Desk, now: datetime) -> tuple[Incident, Seen]:
    """Read the tickets as people left them, and what explains the trouble.

    A tracker that cannot be read fails as one that cannot be told: it is waited for, counted, and spoken for in the end.
    """
    tickets: dict[str, TicketState] = {}
    copies = incident.copies
    if incident.stage in READ_BACK:
        copies = tuple(_read_back(copy, incident, tickets, desk, now) for copy in copies)
    explanation = None if incident.direct else desk.circumstances.explain(incident, now)
    return replace(incident, copies=copies), Seen(tickets=tickets, explanation=explanation)


def _read_back(copy: Copy, incident: Incident, tickets: dict[str, TicketState], desk: Desk, now: datetime) -> Copy:
    """Put a ticket's state into `tickets`; returns the copy, with what goes wrong there."""
    tracker = desk.trackers.get(copy.tracker)
    if copy.ticket is None or tracker is None or _waits(copy, now):
        return copy
    if copy.tracker in desk.down:
        return _held_back(copy, incident, now)
    try:
        ticket = tracker.read(copy.ticket)
    except TicketGoneError as error:
        return _without_ticket(copy, incident, error, now)
    except TicketUnavailableError as error:
        desk.down.add(copy.tracker)
        return _postponed(copy, incident, error, now)
    if ticket is not None:
        tickets[copy.tracker] = ticket.state
    return copy


def _read_alarms(incident: Incident, desk: Desk, now: datetime) -> tuple[Report, ...]:
    """An alarm's event may be lost or late; what CloudWatch says of a member now counts. Unreadable alarms say nothing."""
    asked = {member.alarm: member for member in incident.members if member.alarm is not None}
    if not asked or incident.stage not in ALARMS_READ:
        return ()
    try:
        states = desk.alarms.states(sorted(asked))
    except OpsError as error:
        observe.log("alarms_not_read", incident=incident.key, error=str(error))
        return ()
    found = ((name, _word_of(states.get(name)), member) for name, member in sorted(asked.items()))
    return tuple(
        Report(
            id=f"{name}/read/{now.isoformat()}", key=incident.key, kind=incident.kind, grade=member.grade, at=now,
            title=member.title if says is Says.FIRING else words, says=says, member=member.name, alarm=name,
        )
        for name, (says, words), member in found
        if says is not None and says is not member.says
    )  # fmt: skip


def _word_of(state: str | None) -> tuple[Says | None, str]:
    """What an alarm's state says; one that was deleted, with its node perhaps, will never say that it is over."""
    match state:
        case None:
            return Says.RESOLVED, "its alarm is gone"
        case "OK":
            return Says.RESOLVED, "its alarm is OK"
        case "ALARM":
            return Says.FIRING, ""
        case _:
            return None, ""


def _with_evidence(incident: Incident, desk: Desk, now: datetime) -> Incident:
    """With what was gathered now; a ticket that is there already gets it with the letter that it is reopened."""
    evidence = desk.evidence.gather(incident, now)
    *earlier, newest = incident.letters
    if newest.kind is LetterKind.REOPENED:
        newest = replace(newest, body=(*newest.body, *evidence))
    return replace(incident, evidence=evidence, letters=(*earlier, newest))


def _attach(decision: Decision, desk: Desk, now: datetime) -> None:
    """Note suppressed trouble where its explanation stands. It is a note: it opens nothing."""
    if decision.attach_to is None:
        return
    incident = decision.incident
    note = Report(
        id=f"{marker_of(incident)}/attached/{decision.attach_to}",
        key=decision.attach_to,
        kind=incident.kind,
        grade=Grade.P4,
        title=f"{incident.title} (not told by itself: {incident.why})",
        at=now,
        says=Says.NOTE,
    )
    desk.outbox.put_reports([note], wake_at=now)


def _tell(incident: Incident, desk: Desk, now: datetime) -> Incident:
    """Bring every copy up to date, recording how far that came; a letter that all of them have is done with."""
    for place, copy in enumerate(incident.copies):
        told = _tell_copy(copy, incident, desk, now)
        if told is copy:
            continue
        incident = replace(incident, copies=(*incident.copies[:place], told, *incident.copies[place + 1 :]))
        if place + 1 < len(incident.copies):  # a call that ends here has not told it in vain
            desk.outbox.save_incident(incident, wake_at=None, keep=True)
    least = min((copy.told for copy in incident.copies), default=incident.number)
    letters = tuple(letter for letter in incident.letters if letter.number > least)
    leftovers = tuple(each for each in incident.leftovers if not _closes(each, desk))
    return replace(incident, letters=letters, leftovers=leftovers)


def _closes(leftover: Leftover, desk: Desk) -> bool:
    """Close the ticket of an earlier episode; True when there is nothing more to do about it."""
    tracker = desk.trackers.get(leftover.tracker)
    if tracker is None:
        return True
    if leftover.tracker in desk.down or not desk.may_go_on():
        return False
    page = Page(marker=leftover.marker, title=leftover.title, body=(), labels=(), grade=leftover.grade)
    try:
        tracker.update(leftover.ticket, page, TicketState.CLOSED)
    except TicketGoneError:
        return True
    except TicketUnavailableError as error:
        desk.down.add(leftover.tracker)
        observe.log("leftover_not_closed", tracker=leftover.tracker, ticket=leftover.ticket, error=str(error))
        return False
    return True


def _tell_copy(copy: Copy, incident: Incident, desk: Desk, now: datetime) -> Copy:
    if _is_told(copy, incident) or _waits(copy, now):
        return copy
    tracker = desk.trackers.get(copy.tracker)
    if tracker is None:  # the fleet file does not name it any more
        return replace(copy, told=incident.number, shown=_state_of(incident), failing_since=None)
    if copy.tracker in desk.policy.quiet_trackers(incident.grade.value, now) and _keeps_quiet(copy, incident):
        over = _state_of(incident) is TicketState.CLOSED  # it heard of nothing, and need not
        return replace(copy, told=incident.number, shown=TicketState.CLOSED) if over else copy
    if copy.tracker in desk.down:
        return _held_back(copy, incident, now)
    if not desk.may_go_on():
        return replace(copy, next_try=now)
    if copy.failing_since is not None and now - copy.failing_since > GIVE_UP_AFTER:
        observe.alert(
            "ticket_given_up", incident=incident.key, tracker=copy.tracker, ticket=copy.ticket, error=copy.trouble
        )
        return replace(
            copy, told=incident.number, shown=_state_of(incident), failing_since=None, attempts=0, next_try=None
        )
    known = [copy]
    try:
        _bring_up_to_date(known, incident, tracker, desk.policy)
    except TicketGoneError as error:
        return _without_ticket(known[-1], incident, error, now)
    except TicketUnavailableError as error:
        desk.down.add(copy.tracker)
        return _postponed(known[-1], incident, error, now)
    told = replace(known[-1], attempts=0, failing_since=None, next_try=None, trouble="")
    observe.log("ticket_told", incident=incident.key, tracker=told.tracker, ticket=told.ticket, url=told.url)
    return told


def _keeps_quiet(copy: Copy, incident: Incident) -> bool:
    """In quiet hours a tracker hears of what we did, of the end of what it knows, and of nothing else."""
    unheard = copy.ticket is None and copy.failing_since is None
    return not incident.direct and (_state_of(incident) is not TicketState.CLOSED or unheard)


def _without_ticket(copy: Copy, incident: Incident, error: TicketGoneError, now: datetime) -> Copy:
    """Somebody deleted the ticket: while the trouble lasts another is opened, and when it is over nobody needs one."""
    if copy.ticket is None:  # not a ticket is gone, but the place where they are made
        return _postponed(copy, incident, error, now)
    observe.alert("ticket_gone", incident=incident.key, tracker=copy.tracker, ticket=copy.ticket, error=str(error))
    over = _state_of(incident) is TicketState.CLOSED
    told, shown = (incident.number, TicketState.CLOSED) if over else (0, TicketState.OPEN)
    return Copy(tracker=copy.tracker, told=told, shown=shown, seen=shown, next_try=None if over else now)


def _bring_up_to_date(known: list[Copy], incident: Incident, tracker: Tracker, policy: Incidents) -> None:
    """Open, tell, amend; `known` grows by each step that came through, so that a failure loses none of them."""
    page = page_of(incident, runbooks_url=policy.runbooks_url)
    state = _state_of(incident)
    copy = known[-1]
    if copy.ticket is None:
        found = tracker.find(page.marker)
        ticket = found or tracker.create(page)
        copy = replace(copy, ticket=ticket.id, url=ticket.url, told=_on_the_page(incident))
        if found is None:  # one that was there may look otherwise
            copy = replace(copy, title=page.title, grade=page.grade)
        elif found.state is TicketState.CLOSED and state is TicketState.OPEN:  # a person was faster than our next try
            copy = replace(copy, title=page.title, grade=page.grade, seen=TicketState.CLOSED)
        known.append(copy)
    ticket_id = copy.ticket or ""
    for letter in incident.letters:
        if letter.number > copy.told:
            tracker.comment(ticket_id, letter.body, marker=letter_marker(incident, letter))
            copy = replace(copy, told=letter.number)
            known.append(copy)
    if (copy.title, copy.grade, copy.shown) != (page.title, page.grade, state):
        tracker.update(ticket_id, page, state)
        known.append(replace(copy, title=page.title, grade=page.grade, shown=state, seen=state))
    known.append(replace(known[-1], told=incident.number))


def _on_the_page(incident: Incident) -> int:
    """The last letter whose words the page has: all of them, but not that it is over."""
    ends = [letter.number for letter in incident.letters if letter.kind in (LetterKind.RESOLVED, LetterKind.CLOSED)]
    return min(ends) - 1 if ends else incident.number


def _state_of(incident: Incident) -> TicketState:
    over = incident.stage in (Stage.RESOLVED, Stage.CLOSED, Stage.ENDED)
    return TicketState.CLOSED if over else TicketState.OPEN


def _is_told(copy: Copy, incident: Incident) -> bool:
    if incident.number == 0:
        return True
    return copy.told >= incident.number and copy.shown is _state_of(incident) and copy.failing_since is None


def _waits(copy: Copy, now: datetime) -> bool:
    return copy.next_try is not None and now < copy.next_try


def _held_back(copy: Copy, incident: Incident, now: datetime) -> Copy:
    """Its tracker failed another incident in this call; whether it fails this one as well is seen later."""
    patience = timedelta(seconds=retry_seconds(copy.attempts, incident.key))
    return replace(copy, attempts=copy.attempts + 1, failing_since=copy.failing_since or now, next_try=now + patience)


def _postponed(copy: Copy, incident: Incident, error: TicketUnavailableError, now: datetime) -> Copy:
    failed = replace(copy, attempts=copy.attempts + 1, failing_since=copy.failing_since or now, trouble=str(error))
    observe.alert(
        "ticket_delivery_failed",
        incident=incident.key,
        tracker=copy.tracker,
        attempts=failed.attempts,
        error=str(error),
    )
    observe.count("TicketDeliveryFailed", tracker=copy.tracker)
    patience = max(retry_seconds(failed.attempts, incident.key), error.retry_after)
    return replace(failed, next_try=now + timedelta(seconds=patience))


def _wake(incident: Incident, wake_at: datetime | None, now: datetime) -> datetime | None:
    """Sooner, when a copy is to be tried again."""
    times = [copy.next_try for copy in incident.copies if copy.next_try is not None]
    if incident.leftovers:
        times.append(now + timedelta(seconds=LONGEST_RETRY_SECONDS))
    if wake_at is not None:
        times.append(wake_at)
    return min(times, default=None)


def _log(before: Incident, decision: Decision) -> None:
    after = decision.incident
    if after.stage is before.stage and after.number == before.number:
        return
    observe.log(
        "incident_stage_changed", incident=after.key, stage=after.stage.value, grade=after.grade.value, kind=after.kind,
        count=after.count, members=len(after.members), why=after.why,
    )  # fmt: skip
    observe.count("IncidentStage", stage=after.stage.value, grade=after.grade.value)
