"""One tick of one group: claim -> observe -> decide -> record the intent -> act -> record the result -> say when to come back.

Nobody waits here. Whatever kills a tick between two calls, the next one reads the cloud again and finishes the job.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from chalicelib import observe
from chalicelib.errors import CapacityError, LostRaceError, OpsError
from chalicelib.fleet.model import Fleet, Group
from chalicelib.incident.model import Grade
from chalicelib.rollout.act import Hands, act
from chalicelib.rollout.adopt import adopt
from chalicelib.rollout.decide import decide
from chalicelib.rollout.look import Eyes, look
from chalicelib.rollout.model import (
    Decision,
    GroupState,
    MarkBad,
    Origin,
    Phase,
    Rollout,
    Snapshot,
    Word,
)
from chalicelib.rollout.phases import hold
from chalicelib.rollout.plan import plan_waves
from chalicelib.rollout.ports import Claim, Entry, Ledger, WakeQueue
from chalicelib.rollout.render import report_of, with_ends
from chalicelib.rollout.settle import inherit, settle
from chalicelib.rollout.start import steps_of
from chalicelib.rollout.words import Desk, carry_out

RETRY_SECONDS = 10.0  # after an action that AWS could not carry out now


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What a tick needs: the fleet file, the ledger, eyes, hands and the wake queue."""

    fleet: Fleet
    ledger: Ledger
    eyes: Eyes
    hands: Hands
    queue: WakeQueue
    lease_seconds: int
    may_go_on: Callable[[], bool] = lambda: True  # False when the Lambda's time is nearly up


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a tick came to: what each word in the inbox came to, and when to come back."""

    told: tuple[str, ...] = ()
    wake_at: datetime | None = None
    ran: bool = True  # False: another tick holds the group


def advance_group(name: str, room: Room, *, owner: str, now: datetime) -> Outcome:
    """Run one tick of a group. Losing the race to another tick is normal and ends it quietly."""
    claim = room.ledger.claim(name, owner=owner, now=now, lease_seconds=room.lease_seconds)
    if claim is None:
        observe.log("tick_lost_race", group=name)
        return Outcome(ran=False)
    try:
        return _tick(claim, room, now)
    except LostRaceError:
        observe.log("tick_lost_race", group=name)
        return Outcome(ran=False)


def _tick(claim: Claim, room: Room, now: datetime) -> Outcome:
    group = room.fleet.groups[claim.state.group]
    desk = _work_inbox(claim, room, group, now)
    desk = _with_steps(desk, room, group, now)
    state, decisions = _decide_all(desk, room, group, now)
    claim = _record_intent(claim, desk, state, decisions, room, now)
    acted, wakes_of_failures = _act_all(decisions, group, room, now)
    claim = _record_result(claim, decisions, acted, room, now)
    wakes = [d.wake_in for d in acted if d.wake_in is not None and d.rollout.open] + wakes_of_failures
    if state.active != desk.state.active and state.active is not None:
        wakes.append(0.0)  # the next one's turn
    wake_at = now + timedelta(seconds=min(wakes)) if wakes else None
    version = room.ledger.release(claim, wake_at=wake_at)
    if wake_at is not None:
        room.queue.wake(claim.state.group, version=version, delay_seconds=min(wakes))
    return Outcome(told=desk.told, wake_at=wake_at)


def _record_result(claim: Claim, intended: list[Decision], acted: list[Decision], room: Room, now: datetime) -> Claim:
    """Write what acting came to, and nothing when it changed no record."""
    changed = [after for before, after in zip(intended, acted, strict=True) if after.rollout is not before.rollout]
    if not changed:
        return claim
    held = [
        d for before, d in zip(intended, acted, strict=True) if d.report and d.rollout.phase != before.rollout.phase
    ]
    state, reports = with_ends(claim.state, [report_of(d, now) for d in held], [], {}, now)
    return room.ledger.record(
        claim,
        state=state,
        rollouts=[d.rollout for d in changed],
        journal=[_entry(d, now) for d in held],
        reports=reports,
    )


def _work_inbox(claim: Claim, room: Room, group: Group, now: datetime) -> Desk:
    desk = Desk(state=claim.state, rollouts=claim.rollouts)
    for key, request in claim.requests:
        if request.word is Word.ADOPT:
            desk = _adopt(desk, request.by, room, group, now)
        else:
            desk = carry_out(key, request, desk, group, room.fleet.environment, now)
        observe.log(
            "word_carried_out", group=desk.state.group, word=request.word.value, by=request.by, told=desk.told[-1:]
        )
    return desk


def _adopt(desk: Desk, by: str, room: Room, group: Group, now: datetime) -> Desk:
    active = desk.active()
    if active is not None and active.phase is not Phase.HELD:
        return desk.say(f"nothing adopted: {active.id} is under way")
    try:
        state, told = adopt(
            desk.state.group,
            group,
            desk.state,
            room.eyes,
            room.hands.images,
            by=by,
            environment=room.fleet.environment,
            now=now,
        )
    except LostRaceError:
        raise
    except OpsError as error:  # a word that cannot be carried out must not stand in the way of those behind it
        observe.alert("adopt_failed", group=desk.state.group, error=str(error))
        return desk.say(f"nothing adopted: {error}")
    for line in told:
        desk = desk.say(line)
    if active is not None and set(group.services) <= set(state.stable):
        ended = replace(active, phase=Phase.SUPERSEDED, reason="adopted", why=f"{by} adopted what runs", since=now)
        desk = desk.put(ended)
        state = settle(state, active, ended, now)
    return replace(desk, state=state)


def _with_steps(desk: Desk, room: Room, group: Group, now: datetime) -> Desk:
    """Record each service's stable revision before anything is touched."""
    for rollout in desk.rollouts.values():
        if rollout.steps or not rollout.open:
            continue
        try:
            views = room.eyes.services.describe(tuple(group.services))
            templates = _templates(rollout, desk.state, group, room)
        except OpsError as error:
            observe.log("steps_not_read", rollout_id=rollout.id, error=str(error))
            if not error.retry:
                held = _misconfigured(rollout, error, now)
                desk = replace(desk.put(held.rollout), reports={**(desk.reports or {}), rollout.id: held.grade})
            continue
        runs = {name: view.primary.revision for name, view in views.items() if view.primary}
        steps = steps_of(rollout, group, desk.state, runs, templates)
        plan, at = plan_waves(group), rollout.since or rollout.requested_at
        order = "; ".join(", ".join(wave) for wave in plan.waves)
        lines = ((at, f"plan: {order}"), *((at, note) for note in plan.notes))
        desk = desk.put(replace(rollout, steps=steps, timeline=(*rollout.timeline, *lines)))
    return desk


def _templates(rollout: Rollout, state: GroupState, group: Group, room: Room) -> dict[str, str]:
    if rollout.origin is not Origin.CONFIGURATION:
        return {}
    stable = {name: state.stable[name].revision for name in group.services if name in state.stable}
    families = {name: arn.rsplit("/", 1)[-1].rsplit(":", 1)[0] for name, arn in stable.items()}
    return {name: room.eyes.services.newest_revision(family) for name, family in families.items()}


def _decide_all(desk: Desk, room: Room, group: Group, now: datetime) -> tuple[GroupState, list[Decision]]:
    """Decide for the active rollout, then for the one behind it; what the first leaves behind, the second inherits."""
    state = desk.state
    decisions: list[Decision] = []
    queued = desk.queued()
    for rollout in filter(None, (desk.active(), queued)):
        if not rollout.steps:
            again = None if rollout.phase is Phase.HELD else RETRY_SECONDS
            decisions.append(Decision(rollout=rollout, wake_in=again))
            continue
        # Only what waits for nothing but its turn may take over: else the group would be left split behind it.
        ready = queued is not None and queued.phase is Phase.WAITING and queued.reason == "queued"
        heir = ready and rollout is not queued
        decision = _decide_one(rollout, desk.state, room, group, now, heir=heir)
        state = settle(state, rollout, decision.rollout, now)
        decisions.append(decision)
    ended = decisions[0].rollout if decisions else None
    if ended is not None and ended.phase is Phase.SUPERSEDED and len(decisions) > 1:
        decisions[1] = replace(decisions[1], rollout=inherit(decisions[1].rollout, ended))
    elif ended is not None and not ended.open and len(decisions) > 1:
        decisions[1] = replace(decisions[1], rollout=_afresh(decisions[1].rollout, state))
    return state, decisions


def _decide_one(
    rollout: Rollout, state: GroupState, room: Room, group: Group, now: datetime, *, heir: bool
) -> Decision:
    """Look and decide; what can never be read as it is set up is HELD with AWS' words, not retried for ever."""
    try:
        seen = look(rollout, state, group, room.eyes, now)
    except OpsError as error:
        if error.retry or rollout.phase is Phase.HELD:
            raise
        return _misconfigured(rollout, error, now)
    decision = decide(rollout, seen, state, group, now, heir=heir)
    _log(rollout, decision, seen)
    return decision


def _misconfigured(rollout: Rollout, error: OpsError, now: datetime) -> Decision:
    grade = Grade.P1 if rollout.phase is Phase.ROLLING_BACK else Grade.P2
    return hold(rollout, "misconfigured", str(error), now, grade=grade)


def _afresh(waiting: Rollout, state: GroupState) -> Rollout:
    """A rollout whose turn it is now forgets what it saw of the one before it: only stable may teach a baseline."""
    steps = tuple(replace(s, stable=state.stable.get(s.service), baseline=None, highest=None) for s in waiting.steps)
    return replace(waiting, steps=steps)


def _record_intent(
    claim: Claim, desk: Desk, state: GroupState, decisions: list[Decision], room: Room, now: datetime
) -> Claim:
    """Phase, journal and report in one transaction, before anything is done."""
    decided = {decision.rollout.id: decision for decision in decisions}
    rollouts = {**desk.rollouts, **{key: decision.rollout for key, decision in decided.items()}}
    changed = [r for key, r in rollouts.items() if r != claim.rollouts.get(key)]
    before = {key: r.phase for key, r in claim.rollouts.items()}
    journal = [
        _entry(d, now) for d in decisions if d.rollout.phase != before.get(d.rollout.id) or d.actions or d.report
    ]
    reports = [report_of(d, now) for d in decisions if d.report]
    reported = {d.rollout.id for d in decisions if d.report}
    for key, grade in (desk.reports or {}).items():
        if key not in reported:
            reports.append(report_of(Decision(rollout=rollouts[key], report=True, grade=grade), now))
    state, all_reports = with_ends(state, reports, rollouts.values(), before, now)
    done = [key for key, _ in claim.requests]
    if not (changed or journal or all_reports or done or state != claim.state):
        return claim
    for rollout in changed:
        if rollout.phase != before.get(rollout.id):
            observe.log(
                "rollout_phase_changed", rollout_id=rollout.id, group=rollout.group, phase=rollout.phase.value,
                reason=rollout.reason, why=rollout.why,
            )  # fmt: skip
            observe.count("RolloutPhase", group=rollout.group, phase=rollout.phase.value)
    return room.ledger.record(claim, state=state, rollouts=changed, journal=journal, reports=all_reports, done=done)


def _entry(decision: Decision, now: datetime) -> Entry:
    rollout = decision.rollout
    return Entry(
        rollout=rollout.id,
        at=now,
        phase=rollout.phase.value,
        why=rollout.why,
        detail={
            "reason": rollout.reason,
            "wave": rollout.wave,
            "findings": [f"{f.standing}: {f.text}" for f in decision.findings],
            "actions": [repr(action) for action in decision.actions],
        },
    )


def _act_all(decisions: list[Decision], group: Group, room: Room, now: datetime) -> tuple[list[Decision], list[float]]:
    """Carry out each decision's actions; what AWS cannot do now comes again, what it refuses for good is HELD."""
    after: list[Decision] = []
    wakes: list[float] = []
    for decision in decisions:
        acted, wake_in = _act_one(decision, group, room, now)
        after.append(acted)
        wakes.extend(wake_in)
    return after, wakes


def _act_one(decision: Decision, group: Group, room: Room, now: datetime) -> tuple[Decision, list[float]]:
    """Carry out one decision's actions in their order; the first that fails ends it."""
    rollout = decision.rollout
    for action in decision.actions:
        name = type(action).__name__
        if not room.may_go_on():
            return replace(decision, rollout=rollout), [0.0]
        try:
            rollout = act(action, rollout, group, room.hands)
        except LostRaceError:
            raise
        except OpsError as error:
            observe.log("action_failed", rollout_id=rollout.id, action=name, error=str(error))
            observe.count("ActionFailed", action=name)
            if isinstance(action, MarkBad) and not error.retry:  # a label for people; the way back does not hang on it
                steps = tuple(replace(s, marked=True) if s.target == action.revision else s for s in rollout.steps)
                rollout = replace(rollout, steps=steps)
                continue
            if error.retry or not rollout.open:
                return replace(decision, rollout=_capacity_noted(rollout, error)), [RETRY_SECONDS]
            return _refused(rollout, name, error, now), []
        observe.log("action_done", rollout_id=rollout.id, action=name)
    return decision if rollout is decision.rollout else replace(decision, rollout=rollout), []


def _capacity_noted(rollout: Rollout, error: OpsError) -> Rollout:
    return replace(rollout, why=str(error)) if isinstance(error, CapacityError) else rollout


def _refused(rollout: Rollout, action: str, error: OpsError, now: datetime) -> Decision:
    """AWS refuses an action for good: say so and stop; on the way back that is as grave as it gets."""
    grade = Grade.P1 if rollout.phase is Phase.ROLLING_BACK else Grade.P2
    return hold(rollout, "action_refused", f"{action}: {error}", now, grade=grade)


def _log(before: Rollout, decision: Decision, seen: Snapshot) -> None:
    observe.log(
        "rollout_decided", rollout_id=before.id, group=before.group, phase=decision.rollout.phase.value,
        reason=decision.rollout.reason, actions=[type(a).__name__ for a in decision.actions],
        findings=[f.text for f in decision.findings if f.standing != "good"], unmeasured=dict(seen.unmeasured),
    )  # fmt: skip
