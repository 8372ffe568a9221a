"""What a tick does with one rollout: a pure function of (record, snapshot, group state, fleet file, now).

    decide ─┬─ REQUESTED, WAITING, AWAITING_APPROVAL ── start.admit      (preflight's ruling)
            ├─ SMOKING ──────────────────────────────── start.smoke      (one lone task)
            ├─ SHIFTING, BAKING ─────────────────────── advance          (here: **the rollback decision**)
            ├─ ROLLING_BACK ─────────────────────────── way_back.restore (wave by wave, judged on stable)
            └─ HELD, PROMOTED, ROLLED_BACK, REJECTED, SUPERSEDED ── nothing

Must not read the clock or touch anything: every action that it returns is safe to repeat, and comes again as long as
the snapshot does not show it done.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from chalicelib.fleet.model import Group
from chalicelib.health.model import Finding, Standing, Verdict, of_standing, verdict_of
from chalicelib.incident.model import Grade
from chalicelib.rollout.findings import judge_step
from chalicelib.rollout.memory import pointed, remember
from chalicelib.rollout.model import (
    IDLE,
    SMOKE_MARK,
    TERMINAL,
    Decision,
    GroupState,
    Phase,
    RegisterTarget,
    Rollout,
    ShiftService,
    Snapshot,
    Step,
    StopSmoke,
)
from chalicelib.rollout.phases import enter, hold, stay
from chalicelib.rollout.start import admit, smoke
from chalicelib.rollout.way_back import begin_way_back, restore

SHIFT_POLL_SECONDS = 5.0
BAKE_POLL_SECONDS = 10.0
BLIND_POLL_SECONDS = 10.0  # ECS itself could not be read


def decide(
    rollout: Rollout, seen: Snapshot, state: GroupState, group: Group, now: datetime, *, heir: bool = False
) -> Decision:
    """Decide one tick of one rollout. `heir`: a newer rollout has passed its smoke and waits for this wave to end."""
    rollout = remember(rollout, seen, group, now)
    if rollout.phase in TERMINAL:
        return stay(rollout, None)
    if rollout.touched and rollout.phase is not Phase.HELD and _services_differ(rollout, group):
        here, now_in = ", ".join(s.service for s in rollout.steps), ", ".join(group.services)
        why = f"the fleet file changed: the rollout began with {here}, the group has {now_in} now"
        return hold(rollout, "fleet_changed", why, now, grade=Grade.P2)
    decision = _by_phase(rollout, seen, state, group, now, heir=heir)
    strays = _strays(rollout, seen)
    return replace(decision, actions=(*strays, *decision.actions)) if strays else decision


def _strays(rollout: Rollout, seen: Snapshot) -> tuple[StopSmoke, ...]:
    """Smoke tasks of rollouts that this one took the place of: whatever happens, they are stopped."""
    marks = tuple(f"{SMOKE_MARK}/{stray}/" for stray in rollout.strays)
    left = (t for t in seen.tasks if t.started_by.startswith(marks) and t.desired != "STOPPED")
    return tuple(StopSmoke(task=task.arn) for task in left)


def _by_phase(
    rollout: Rollout, seen: Snapshot, state: GroupState, group: Group, now: datetime, *, heir: bool
) -> Decision:
    if rollout.phase in IDLE:
        return _judge_inherited(rollout, seen, group, now) or admit(rollout, seen, state, group, now)
    if rollout.phase is Phase.SMOKING:
        return smoke(rollout, seen, state, group, now)
    if rollout.phase is Phase.HELD:
        lone = seen.smoke if seen.smoke and seen.smoke.desired != "STOPPED" else None
        return stay(rollout, BLIND_POLL_SECONDS, StopSmoke(task=lone.arn)) if lone else stay(rollout, None)
    if "services" in seen.unmeasured or "tasks" in seen.unmeasured:
        return _blind(rollout, seen, group, now)
    if rollout.phase is Phase.ROLLING_BACK:
        return restore(rollout, seen, group, now)
    return advance(rollout, seen, state, group, now, heir=heir)


def _services_differ(rollout: Rollout, group: Group) -> bool:
    return {step.service for step in rollout.steps} != set(group.services)


def _judge_inherited(rollout: Rollout, seen: Snapshot, group: Group, now: datetime) -> Decision | None:
    """What a superseded rollout left on its target is watched while the one that owns it now waits."""
    if not rollout.touched or seen.unmeasured.keys() & {"services", "tasks"}:
        return None
    findings = tuple(
        f
        for step in rollout.touched
        if step.service in seen.services
        for f in judge_step(rollout, step, seen, group, now)
    )
    damaged = of_standing(findings, Standing.DAMAGED)
    if damaged:
        return hold(rollout, "data_damaged", _sentence(damaged), now, grade=Grade.P1, findings=findings)
    bad = of_standing(findings, Standing.BAD)
    return begin_way_back(rollout, bad[0].check, _sentence(bad), seen, now, findings=findings) if bad else None


def advance(
    rollout: Rollout, seen: Snapshot, state: GroupState, group: Group, now: datetime, *, heir: bool
) -> Decision:
    """Move the current wave on, or take everything back. Read from top to bottom: the first that applies decides."""
    strayed = _strayed(rollout, seen, now)
    if strayed is not None:
        return strayed
    findings = tuple(
        f for step in rollout.touched if step.shifted_at for f in judge_step(rollout, step, seen, group, now)
    )
    rollout = _begin_bake(rollout, findings, now)
    wave = tuple(step for step in rollout.steps if step.wave == rollout.wave)
    findings = (*findings, *_of_the_others(rollout, wave, seen, group, now))

    damaged = of_standing(findings, Standing.DAMAGED)
    if damaged:  # the node refuses its own data: another version would not mend it
        return hold(rollout, "data_damaged", _sentence(damaged), now, grade=Grade.P1, findings=findings)
    bad = of_standing(findings, Standing.BAD)
    if bad:
        return begin_way_back(rollout, bad[0].check, _sentence(bad), seen, now, findings=findings)
    if _overdue(rollout, group, now):
        return _deadline(rollout, seen, group, now, findings)

    unregistered = tuple(step for step in wave if step.target is None)
    if unregistered:
        return stay(rollout, 0.0, *(_registration(rollout, step) for step in unregistered), findings=findings)
    if not all(step.confirmed and step.shifted_at for step in wave):
        return _shift(rollout, wave, now, findings)
    if rollout.phase is Phase.SHIFTING:
        if not all(_steady_on_target(step, seen) for step in wave):
            return stay(rollout, SHIFT_POLL_SECONDS, findings=findings)
        baking = enter(rollout, Phase.BAKING, "bake", f"wave {rollout.wave + 1} is steady; watched now", now)
        return stay(baking, SHIFT_POLL_SECONDS, findings=findings)
    if not _baked(rollout, wave, group, now) or verdict_of(findings) is not Verdict.HEALTHY:
        return stay(rollout, BAKE_POLL_SECONDS, findings=findings)
    return _next_wave(rollout, state, now, findings, heir=heir)


def _strayed(rollout: Rollout, seen: Snapshot, now: datetime) -> Decision | None:
    """A touched service is not where this rollout pointed it: ECS' breaker is agreed with, a person is not fought."""
    for step in rollout.steps:
        view = seen.services.get(step.service)
        primary = view.primary if view else None
        if view is None or primary is None:
            return hold(rollout, "service_gone", f"service {step.service} is not there any more", now, grade=Grade.P1)
        if primary.revision == step.expected:
            continue
        if view.breaker and step.shifted_at:
            why = f"ECS acted first on {step.service}: {view.breaker}"
            return begin_way_back(rollout, "circuit_breaker", why, seen, now)
        if step.confirmed or not step.touched or primary.revision not in (step.start, step.target):
            runs = primary.revision.rsplit("/", 1)[-1]
            why = f"someone else changed {step.service}: it runs {runs} now; not fought, a person must decide"
            return hold(rollout, "foreign_change", why, now, grade=Grade.P2)
    return None


def _of_the_others(
    rollout: Rollout, wave: tuple[Step, ...], seen: Snapshot, group: Group, now: datetime
) -> tuple[Finding, ...]:
    """Before the next wave moves, the services that have not moved yet must stand: one that is down is one too many."""
    if rollout.phase is not Phase.BAKING or not _baked(rollout, wave, group, now):
        return ()
    findings = []
    for step in rollout.steps:
        view = seen.services.get(step.service)
        if step.touched or view is None or view.steady:
            continue
        text = f"{step.service}, which has not moved yet, is not steady: {view.running} of {view.desired} tasks running"
        findings.append(Finding(check="unsteady", service=step.service, standing=Standing.UNKNOWN, text=text))
    return tuple(findings)


def _begin_bake(rollout: Rollout, findings: tuple[Finding, ...], now: datetime) -> Rollout:
    """The bake begins once all that is measured is in order, so the time a node needs to catch up does not count."""
    if (
        rollout.phase is not Phase.BAKING
        or rollout.bake_since is not None
        or verdict_of(findings) is not Verdict.HEALTHY
    ):
        return rollout
    steps = tuple(replace(s, bake_height=s.height) if s.wave == rollout.wave else s for s in rollout.steps)
    return replace(rollout, bake_since=now, steps=steps)


def _baked(rollout: Rollout, wave: tuple[Step, ...], group: Group, now: datetime) -> bool:
    if rollout.bake_since is None:
        return False
    if rollout.watched_since(rollout.bake_since, now) < group.limits.bake_seconds:
        return False
    judged_by_blocks = (s for s in wave if s.bake_height is not None and s.height is not None)
    return all((s.height or 0) - (s.bake_height or 0) >= group.limits.bake_blocks for s in judged_by_blocks)


def _deadline(rollout: Rollout, seen: Snapshot, group: Group, now: datetime, findings: tuple[Finding, ...]) -> Decision:
    """A passed deadline takes back only with something measured against the version; without, a person must look."""
    late = of_standing(findings, Standing.NOT_YET)
    limit = f"wave {rollout.wave + 1} did not finish within {group.limits.deadline_seconds} s"
    unknown = of_standing(findings, Standing.UNKNOWN)
    if late and not any(f.check == "no_capacity" for f in unknown):
        return begin_way_back(rollout, "deadline", f"{limit}: {_sentence(late)}", seen, now, findings=findings)
    reason = next(
        (f.check for f in unknown if f.check in ("no_capacity", "unsteady", "no_tasks_wanted")), "not_measured"
    )
    why = f"{limit}: {_sentence(unknown or late) or 'the change itself did not come through'}"
    return hold(rollout, reason, why, now, grade=Grade.P2, findings=findings)


def _overdue(rollout: Rollout, group: Group, now: datetime) -> bool:
    return rollout.watched_since(rollout.wave_since, now) > group.limits.deadline_seconds


def _blind(rollout: Rollout, seen: Snapshot, group: Group, now: datetime) -> Decision:
    """ECS cannot be read: nothing is judged, nothing is changed, and after the deadline a person is told."""
    since = rollout.rollback_since if rollout.phase is Phase.ROLLING_BACK else rollout.wave_since
    if rollout.watched_since(since, now) <= group.limits.deadline_seconds:
        return stay(rollout, BLIND_POLL_SECONDS)
    parts = ", ".join(f"{part}: {why}" for part, why in seen.unmeasured.items())
    grade = Grade.P1 if rollout.phase is Phase.ROLLING_BACK else Grade.P2
    return hold(rollout, "not_measured", f"ECS could not be read until the deadline ({parts})", now, grade=grade)


def _registration(rollout: Rollout, step: Step) -> RegisterTarget:
    template = step.template or (step.stable.revision if step.stable else step.start) or ""
    return RegisterTarget(service=step.service, template=template, digest=rollout.digest)


def _shift(rollout: Rollout, wave: tuple[Step, ...], now: datetime, findings: tuple[Finding, ...]) -> Decision:
    """Point the wave's services at their target; comes again until a snapshot shows it."""
    steps = tuple(
        pointed(s, touched=True, shifted_at=s.shifted_at or now) if s in wave and not s.shifted_at else s
        for s in rollout.steps
    )
    moving = tuple(s for s in steps if s.wave == rollout.wave and not s.confirmed)
    actions = tuple(ShiftService(service=s.service, revision=s.target) for s in moving if s.target)
    return stay(replace(rollout, steps=steps), SHIFT_POLL_SECONDS, *actions, findings=findings)


def _steady_on_target(step: Step, seen: Snapshot) -> bool:
    view = seen.services.get(step.service)
    return view is not None and view.steady and view.primary is not None and view.primary.revision == step.target


def _next_wave(
    rollout: Rollout,
    state: GroupState,
    now: datetime,
    findings: tuple[Finding, ...],
    *,
    heir: bool,
) -> Decision:
    """A wave has baked: promote after the last one; else hand over to a newer image, or let the next wave move."""
    last = max(step.wave for step in rollout.steps)  # as recorded: the fleet file may have another plan by now
    if rollout.wave >= last:
        why = f"{len(rollout.steps)} service(s) run {rollout.digest[:19]}"
        return Decision(rollout=enter(rollout, Phase.PROMOTED, "promoted", why, now), findings=findings)
    if heir and state.hold is None:
        why = f"a newer image takes over after wave {rollout.wave + 1} of {last + 1}"
        return Decision(rollout=enter(rollout, Phase.SUPERSEDED, "newer_push", why, now), findings=findings)
    if state.hold is not None:
        why = f"{state.hold.by} holds the group; wave {rollout.wave + 2} has not begun"
        return hold(rollout, "on_hold", why, now, grade=Grade.P4, report=False)
    number = rollout.wave + 1
    names = (step.service for step in rollout.steps if step.wave == number)
    text = f"wave {number + 1} of {last + 1}: {', '.join(names)}"
    moved = enter(replace(rollout, wave=number, wave_since=now, bake_since=None), Phase.SHIFTING, "wave", text, now)
    return stay(moved, 0.0, findings=findings)


def _sentence(findings: tuple[Finding, ...]) -> str:
    return "; ".join(finding.text for finding in findings[:5])
