"""What the doors in app.py share: put a word into an inbox, run a group's tick, deliver tickets, answer.

Joins rooms that must not know each other. Must not decide anything.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from chalicelib import observe
from chalicelib.errors import BadEventError, BadRequestError, OpsError
from chalicelib.events.signals import AlarmChanged
from chalicelib.rollout.model import Origin, Request, Word
from chalicelib.wiring import House, house

if TYPE_CHECKING:
    from chalicelib.incident.model import Report
    from chalicelib.incident.run import Desk

# Stop acting this long before Lambda ends us: the next tick goes on from what is recorded.
SAFETY_MARGIN_MS = 10_000
# A tracker takes a few calls of at most 7 s each; what is killed in between is found again by its markers.
TELLING_MARGIN_MS = 20_000
# A push older than this is history: the record that it was seen expires, and it must not start then.
SWEEP_LOOKS_BACK = timedelta(days=1)


def time_left(context: Any, margin_ms: int = SAFETY_MARGIN_MS) -> Callable[[], bool]:
    """Whether enough of the Lambda's time is left to begin another action."""
    remaining = getattr(context, "get_remaining_time_in_millis", None)
    return (lambda: remaining() > margin_ms) if remaining else (lambda: True)


def run_ticks(groups: Iterable[str], context: Any) -> dict[str, Any]:
    """Run one tick of each group, then tell people what there is to tell; one group's failure stops no other."""
    rooms, told, failures = house(), {}, []
    for group in dict.fromkeys(groups):
        from chalicelib.rollout.run import advance_group  # noqa: PLC0415 - an idle minute, without a group, needs none of it

        try:
            outcome = advance_group(group, rooms.room(time_left(context)), owner=uuid4().hex, now=rooms.clock())
            told[group] = {"ran": outcome.ran, "told": list(outcome.told)}
            note_tick(rooms, group, None)
        except OpsError as error:
            observe.alert("tick_failed", group=group, error=str(error), kind=type(error).__name__)
            failures.append(error)
            note_tick(rooms, group, error)
    advance_troubles(rooms, rooms.clock(), context)
    if failures:
        raise failures[0]
    return told


def note_tick(rooms: House, group: str, error: OpsError | None) -> None:
    """Note that a group's tick fails, or does no more; only the process that saw it fail says so, the others need not ask."""
    if error is None and group not in rooms.failing:
        return
    from chalicelib.incident.ourselves import tick_failed, tick_works  # noqa: PLC0415 - on a bad day alone

    environment, now = rooms.fleet.environment, rooms.clock()
    report = tick_failed(environment, group, error, now) if error else tick_works(environment, group, now)
    try:
        note(rooms, report)
    except OpsError as refused:  # whatever fails the tick may well fail this
        observe.alert("report_lost", key=report.key, error=str(refused))
        return
    (rooms.failing.add if error else rooms.failing.discard)(group)


def advance_troubles(rooms: House, now: datetime, context: Any) -> None:
    """Run the incidents that are due; a tracker's trouble is never a tick's."""
    if rooms.ledger.due_incidents(now):
        from chalicelib.incident.run import advance_incidents  # noqa: PLC0415 - likewise

        advance_incidents(rooms.desk(time_left(context, TELLING_MARGIN_MS)), now=now)


def note_alarm(alarm: AlarmChanged) -> dict[str, Any]:
    """Note an alarm's change, if the fleet file has a rule for it; its incident is looked at after the gathering time."""
    from chalicelib.incident.alarms import report_of_alarm  # noqa: PLC0415

    rooms = house()
    report = report_of_alarm(alarm, rooms.fleet)
    if report is None:
        observe.log("alarm_without_rule", alarm=alarm.name)
        return {"ignored": f"no rule of the fleet file names alarm {alarm.name}"}
    return {"noted": note(rooms, report)}


def note(rooms: House, report: Report) -> str:
    """Note a report, to be gathered with what else comes; returns its incident's key."""
    wait = rooms.fleet.incidents.gather_seconds
    woken = rooms.ledger.put_reports([report], wake_at=rooms.clock() + timedelta(seconds=wait))
    if woken:
        rooms.queue.wake_incident(report.key, delay_seconds=wait)
    return report.key


def run_due(context: Any) -> dict[str, Any]:
    """Run every overdue group, as the schedule does: one query when nothing is open."""
    rooms = house()
    now = rooms.clock()  # one moment, one query: it answers for groups and incidents alike
    due = rooms.ledger.due_groups(now)
    if not due:
        advance_troubles(rooms, now, context)
        return {"idle": True}
    return run_ticks([group for group, _ in due if group in rooms.fleet.groups], context)


def run_wake(group: str, version: int, context: Any) -> dict[str, Any]:
    """Run the tick that a wake message asks for; a message of an older version of the record is stale."""
    rooms = house()
    _, newest = rooms.ledger.group(group)
    if version != newest:
        observe.log("wake_stale", group=group, version=version, newest=newest)
        return {"stale": True}
    return run_ticks([group], context)


class Batch:
    """The wake messages of one delivery: which trackers are down is found out once for all of them."""

    def __init__(self, context: Any) -> None:
        """Nothing is wired before the first message asks for it."""
        self._context = context
        self._desk: Desk | None = None

    def run(self, body: str) -> dict[str, Any]:
        """Run what a wake message names: a group at a version, or an incident. Raises BadEventError."""
        try:
            message = json.loads(body)
        except ValueError:
            message = None
        match message:
            case {"incident": str(key)}:
                return self._run_incident(key)
            case {"group": str(group), "version": int(version)} if group in house().fleet.groups:
                return run_wake(group, version, self._context)
        expected = '{"group": a group of the fleet file, "version": ...} or {"incident": ...}'
        raise BadEventError(f"wake message is {body[:80]!r}; expected {expected}")

    def _run_incident(self, key: str) -> dict[str, Any]:
        """Run the incident, should it still be due and time be left; what is due is found by the schedule too."""
        from chalicelib.incident.run import advance_incident  # noqa: PLC0415 - an idle call needs none of it

        rooms = house()
        self._desk = self._desk or rooms.desk(time_left(self._context, TELLING_MARGIN_MS))
        if not self._desk.may_go_on():
            return {"ran": False}
        return {"ran": advance_incident(key, self._desk, now=rooms.clock())}


def groups_of_service(cluster: str, service: str) -> tuple[str, ...]:
    """The groups that an ECS service is in; of another cluster: none."""
    fleet = house().fleet
    group = fleet.group_of_service(service) if cluster == fleet.cluster else None
    return (group,) if group else ()


def groups_of_alarm(alarm: str) -> tuple[str, ...]:
    """The groups to whose services an alarm is bound."""
    return house().fleet.groups_of_alarm(alarm)


def hasten(groups: Iterable[str], context: Any) -> dict[str, Any]:
    """Tick the groups with open work now; events only hasten what the next tick would do anyway."""
    rooms = house()
    busy = [group for group in groups if rooms.ledger.group(group)[0].active]
    return run_ticks(busy, context) if busy else {"ignored": "nothing is under way"}


def start_push(repository: str, digest: str, tag: str | None, pushed_at: Any, context: Any) -> dict[str, Any]:
    """Ask for the rollout of a push, once, if its repository and tag are ours."""
    rooms = house()
    group = rooms.fleet.group_of_repository(repository)
    if group is None or not rooms.fleet.groups[group].wants(tag):
        observe.log("push_not_ours", repository=repository, tag=tag, digest=digest)
        return {"ignored": f"no group takes pushes of {repository}:{tag}"}
    request = Request(
        word=Word.START, group=group, by="ecr push", at=rooms.clock(), repository=repository, digest=digest, tag=tag,
        pushed_at=pushed_at,
    )  # fmt: skip
    if not rooms.ledger.put_request(request, now=rooms.clock()):
        observe.log("push_seen_before", repository=repository, tag=tag, digest=digest)
        return {"ignored": "this push was seen before"}
    return run_ticks([group], context)


def obey(word: Word, payload: Any, context: Any, *, by: str) -> dict[str, Any]:
    """Carry out a person's or CI's word and answer with the group's state. Raises BadRequestError."""
    from chalicelib.events.word import word_of  # noqa: PLC0415 - brings the fleet's model, which an idle minute needs not

    rooms = house()
    request = _resolved(word_of(word, payload, rooms.fleet, by=by, now=rooms.clock()), rooms)
    rooms.ledger.put_request(request, now=rooms.clock())
    outcome = run_ticks([request.group], context)[request.group]
    if not outcome["ran"]:
        _, version = rooms.ledger.group(request.group)
        rooms.queue.wake(request.group, version=version, delay_seconds=1)
        outcome["told"] = ["accepted; another tick is running, it or the next one carries it out"]
    return {"told": outcome["told"], **status({"group": request.group})}


def _resolved(request: Request, rooms: House) -> Request:
    """A word that starts something needs a digest: tags move, so a tag is looked up now."""
    if request.word is not Word.START or request.digest is not None:
        return request
    group = rooms.fleet.groups[request.group]
    if request.origin is Origin.CONFIGURATION:
        state, _ = rooms.ledger.group(request.group)
        digests = {stable.digest for stable in state.stable.values()}
        if len(digests) != 1:
            raise BadRequestError(f"group {request.group} has {len(digests)} stable digests; run adopt first")
        return replace(request, digest=digests.pop())
    digest = rooms.images.digest_of(group.repository, request.tag or "")
    if digest is None:
        raise BadRequestError(f"image {group.repository}:{request.tag} is not in the registry")
    return replace(request, digest=digest)


def incidents(payload: Any) -> dict[str, Any]:
    """What is open: where it stands and why, who is in trouble, and which tracker knows of it. Raises BadRequestError."""
    from chalicelib.events.word import group_asked  # noqa: PLC0415
    from chalicelib.incident.summary import incident_summary  # noqa: PLC0415

    rooms = house()
    group = group_asked("incidents", payload, rooms.fleet)
    found = rooms.ledger.open_incidents()
    told = [incident_summary(each) for each in found if group in (None, each.group)]
    return {"environment": rooms.fleet.environment, "incidents": told}


def status(payload: Any) -> dict[str, Any]:
    """What runs where, what is under way, and what is held or in quarantine."""
    from chalicelib.events.word import group_asked  # noqa: PLC0415
    from chalicelib.rollout.render import group_summary, rollout_summary  # noqa: PLC0415

    rooms = house()
    asked = group_asked("status", payload, rooms.fleet)
    groups = {}
    for name in [asked] if asked else list(rooms.fleet.groups):
        state, version = rooms.ledger.group(name)
        rollouts = rooms.ledger.rollouts(name, limit=10)
        groups[name] = {**group_summary(state), "version": version, "rollouts": [rollout_summary(r) for r in rollouts]}
    return {"environment": rooms.fleet.environment, "groups": groups}


def rollout_detail(rollout_id: str) -> dict[str, Any] | None:
    """One rollout with its journal, None when there is none of that id."""
    from chalicelib.rollout.render import rollout_summary  # noqa: PLC0415

    rooms = house()
    rollout = rooms.ledger.rollout(rollout_id)
    if rollout is None:
        return None
    journal = [
        {"at": e.at.isoformat(), "phase": e.phase, "why": e.why, **dict(e.detail)}
        for e in rooms.ledger.journal(rollout_id)
    ]
    return {**rollout_summary(rollout), "journal": journal}


def picture_url(name: str) -> str | None:
    """Where a ticket's picture can be fetched for a minute, None when there is none of that name."""
    pictures = house().pictures
    return pictures.open(name) if pictures is not None else None


def sweep(context: Any) -> dict[str, Any]:
    """Find what an event was lost of: pushes, and alarms that fire."""
    return {"pushes": sweep_images(context), "alarms": sweep_alarms(context)}


def sweep_alarms(context: Any) -> dict[str, Any]:
    """Note alarms that fire and of which no incident knows; what time does not suffice for is found five minutes later."""
    from chalicelib.incident.alarms import report_of_alarm  # noqa: PLC0415

    rooms, may_go_on = house(), time_left(context)
    reports: dict[str, list[Report]] = {}
    for alarm in rooms.alarms.firing():
        if (report := report_of_alarm(alarm, rooms.fleet)) is not None:
            reports.setdefault(report.key, []).append(report)
    noted = []
    for key, of_one in reports.items():
        if may_go_on():
            known = rooms.ledger.incident(key)
            heard = {member.alarm for member in known.firing} if known else set()
            noted += [note(rooms, each) for each in of_one if each.alarm not in heard]
    return {"firing": sum(map(len, reports.values())), "noted": len(noted)}


def sweep_images(context: Any) -> dict[str, Any]:
    """Find pushes whose event was lost: ECR's events are best effort, its list of images is the truth."""
    rooms = house()
    told: dict[str, Any] = {}
    for name, group in rooms.fleet.groups.items():
        state, _ = rooms.ledger.group(name)
        if not state.stable:
            continue  # nothing adopted yet: no way back, so nothing starts by itself
        newest = rooms.images.newest_push(group.repository, group.wants)
        since = max((promotion.at for promotion in state.history), default=None)
        if (
            newest is None
            or rooms.clock() - newest.pushed_at > SWEEP_LOOKS_BACK
            or (since is not None and newest.pushed_at <= since)
        ):
            continue
        told[name] = start_push(group.repository, newest.digest, newest.tag, newest.pushed_at, context)
    return told
