"""From a request to the first wave: preflight's ruling carried out, then the smoke. Pure.

No service is touched here; a rollout that ends here is REJECTED.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from chalicelib.fleet.model import Group, Kind
from chalicelib.health.death import Cause, cause_of_death, epitaph
from chalicelib.health.model import Answer, Endpoint, Finding, Standing
from chalicelib.incident.model import Grade
from chalicelib.rollout.memory import awaits_finality, lacks_baseline
from chalicelib.rollout.model import (
    SMOKE_PASSED,
    Action,
    Decision,
    GroupState,
    KeepImage,
    Origin,
    Phase,
    Rollout,
    RunSmoke,
    Snapshot,
    Step,
    StopSmoke,
    Task,
)
from chalicelib.rollout.phases import enter, hold, stay
from chalicelib.rollout.plan import Plan, plan_waves
from chalicelib.rollout.preflight import Objection, Ruling, preflight
from chalicelib.rollout.way_back import begin_way_back

WAIT_SECONDS = 30.0  # between two looks at a reason to wait
SMOKE_POLL_SECONDS = 2.0
MAX_SMOKES = 3  # smoke tasks in a row that the platform may end before a person is told


def steps_of(
    rollout: Rollout, group: Group, state: GroupState, runs: Mapping[str, str], templates: Mapping[str, str]
) -> tuple[Step, ...]:
    """The record's steps, in the plan's order; `runs` is the revision that each service is on now."""
    return tuple(
        Step(
            service=name,
            wave=index,
            stable=state.stable.get(name),
            start=runs.get(name),
            template=templates.get(name),
            target=rollout.returns.get(name),
        )
        for index, wave in enumerate(plan_waves(group).waves)
        for name in wave
    )


def admit(rollout: Rollout, seen: Snapshot, state: GroupState, group: Group, now: datetime) -> Decision:
    """Carry out preflight's ruling on a rollout that has not begun."""
    if {step.service for step in rollout.steps} != set(group.services):  # nothing was touched: it is planned anew
        replanned = enter(rollout, Phase.WAITING, "baseline", "the fleet file changed: the waves are planned anew", now)
        return Decision(rollout=replace(replanned, steps=()), wake_in=0.0)
    objection = preflight(rollout, seen, state, group, now)
    if objection is not None:
        return _object(rollout, objection, seen, group, now)
    if rollout.smoked or rollout.origin is Origin.RETURN:
        return _begin(rollout, seen, state, group, now)
    smoking = enter(rollout, Phase.SMOKING, "smoking", "the image runs alone, on scratch storage", now)
    smoking = replace(smoking, alarms=dict(seen.alarms) or smoking.alarms, waiting_since=None)
    return Decision(rollout=smoking, actions=_start_smoke(smoking, state), wake_in=SMOKE_POLL_SECONDS)


def _object(rollout: Rollout, objection: Objection, seen: Snapshot, group: Group, now: datetime) -> Decision:
    match objection.ruling:
        case Ruling.REFUSE if (
            rollout.touched
        ):  # it owns what a superseded rollout left behind: that must not stay split
            return begin_way_back(rollout, objection.reason, objection.why, seen, now)
        case Ruling.REFUSE:
            rejected = enter(rollout, Phase.REJECTED, objection.reason, objection.why, now)
            return Decision(rollout=rejected, report=True, grade=Grade.P3)
        case Ruling.HOLD:
            return hold(rollout, objection.reason, objection.why, now, grade=Grade.P3)
        case Ruling.ASK:
            asking = enter(rollout, Phase.AWAITING_APPROVAL, objection.reason, objection.why, now)
            news = rollout.phase is not Phase.AWAITING_APPROVAL
            return Decision(rollout=asking, wake_in=900.0, report=news, grade=Grade.P4)
        case _:
            waited = rollout.watched_since(rollout.waiting_since, now)
            if objection.spoils and waited > group.limits.deadline_seconds:
                return hold(rollout, objection.reason, f"{objection.why}; waited {waited:.0f} s", now, grade=Grade.P2)
            waiting = enter(rollout, Phase.WAITING, objection.reason, objection.why, now)
            since = (rollout.waiting_since or now) if objection.spoils else None
            return Decision(rollout=replace(waiting, waiting_since=since), wake_in=_patience(objection))


def _patience(objection: Objection) -> float:
    return 10.0 if objection.spoils else WAIT_SECONDS


def _begin(rollout: Rollout, seen: Snapshot, state: GroupState, group: Group, now: datetime) -> Decision:
    """Let the first wave move, once it is this rollout's turn and every node's baseline is known."""
    if state.active != rollout.id:
        waiting = enter(rollout, Phase.WAITING, "queued", "smoked; waits for the active rollout's wave to end", now)
        return Decision(rollout=waiting, wake_in=WAIT_SECONDS)
    if group.kind is Kind.NODE and "not_measured" not in rollout.forced:
        unready = _await_baselines(rollout, group, now)
        if unready is not None:
            return unready
    plan: Plan = plan_waves(group)
    first = enter(rollout, Phase.SHIFTING, "wave", f"wave 1 of {len(plan.waves)}: {', '.join(plan.waves[0])}", now)
    keep = _keeps(rollout, state) if rollout.origin is Origin.RETURN else ()
    steps = tuple(_from_here(step, seen) for step in first.steps)
    first = replace(first, wave=0, wave_since=now, steps=steps, alarms=dict(seen.alarms) or first.alarms)
    return Decision(rollout=first, actions=keep, wake_in=0.0)


def _await_baselines(rollout: Rollout, group: Group, now: datetime) -> Decision | None:
    """Wait until every node that is to be touched has told on stable what it will be judged by."""
    since = rollout.waiting_since or now
    waited = rollout.watched_since(since, now)
    fresh = [step for step in rollout.steps if not step.touched]
    lacking = [f"{step.service} ({what})" for step in fresh if (what := lacks_baseline(step))]
    # Finality that stood before the rollout is not held against it, once a block or two had their time to show it.
    still = [step.service for step in fresh if awaits_finality(step) and waited <= group.limits.stall_seconds]
    if not lacking and not still:
        return None
    why = f"still to be read on stable: {'; '.join(lacking) or 'whether finality goes on at ' + ', '.join(still)}"
    if lacking and waited > group.limits.deadline_seconds:
        return hold(rollout, "not_measured", why, now, grade=Grade.P2)
    waiting = enter(rollout, Phase.WAITING, "baseline", why, now)
    return Decision(rollout=replace(waiting, waiting_since=since), wake_in=SMOKE_POLL_SECONDS)


def _from_here(step: Step, seen: Snapshot) -> Step:
    """A rollout that waited starts from what runs now, not from what ran when it was asked for."""
    view = seen.services.get(step.service)
    primary = view.primary if view else None
    return replace(step, start=primary.revision) if primary is not None else step


def _keeps(rollout: Rollout, state: GroupState) -> tuple[Action, ...]:
    """Protect the target's and every stable digest from ECR's lifecycle rules before anything is touched."""
    digests = dict.fromkeys((rollout.digest, *(stable.digest for stable in state.stable.values())))
    return tuple(KeepImage(repository=rollout.repository, digest=digest) for digest in digests)


def _start_smoke(rollout: Rollout, state: GroupState) -> tuple[Action, ...]:
    """Keep first, then run: a smoke task that exists proves that the digests are kept."""
    first = rollout.steps[0]
    template = first.template or (first.stable.revision if first.stable else first.start)
    if template is None:
        return ()
    return (*_keeps(rollout, state), RunSmoke(service=first.service, template=template, digest=rollout.digest))


def smoke(rollout: Rollout, seen: Snapshot, state: GroupState, group: Group, now: datetime) -> Decision:
    """Wait for the first right liveness answer; stop the task whatever came out, and only then go on."""
    if rollout.smoke_result is None:
        decision = _watch_smoke(rollout, seen, state, group, now)
        held = decision.rollout.phase is Phase.HELD
        return replace(decision, wake_in=SMOKE_POLL_SECONDS) if held else decision  # a tick more, to stop the task
    task = seen.smoke
    if "tasks" in seen.unmeasured:
        return stay(rollout, 5.0)
    if task is not None and task.desired != "STOPPED" and task.status != "STOPPED":
        return stay(rollout, SMOKE_POLL_SECONDS, StopSmoke(task=task.arn))
    if rollout.smoked:
        return admit(rollout, seen, state, group, now)
    if rollout.smoke_result == "cancelled":
        return Decision(
            rollout=enter(rollout, Phase.REJECTED, rollout.reason, rollout.why, now), report=True, grade=Grade.P4
        )
    rejected = enter(rollout, Phase.REJECTED, "smoke_failed", rollout.smoke_result, now)
    return Decision(rollout=rejected, report=True, grade=Grade.P3, findings=rollout.evidence)


def _watch_smoke(rollout: Rollout, seen: Snapshot, state: GroupState, group: Group, now: datetime) -> Decision:
    waited = rollout.watched_since(rollout.since, now)
    task, answer = seen.smoke, seen.smoke_answer
    if task is None:
        if waited > group.limits.deadline_seconds:
            return hold(
                rollout, "no_capacity", f"the smoke task could not be started for {waited:.0f} s", now, grade=Grade.P2
            )
        if "tasks" in seen.unmeasured:
            return stay(rollout, 5.0)
        return stay(rollout, 5.0, *_start_smoke(rollout, state))
    if answer is not None and answer.measured(Endpoint.LIVENESS):
        passed = replace(rollout, smoke_result=SMOKE_PASSED, why="the image answered liveness")
        return stay(passed, 0.0, StopSmoke(task=task.arn))
    if task.status == "STOPPED":
        cause = cause_of_death(task, group.damage_patterns)
        if cause in (Cause.CAPACITY, Cause.OTHER):
            return _smoke_again(rollout, task, now)
        return _smoke_failed(rollout, epitaph(task), task.log)
    allowed = group.smoke.start_period_seconds
    alive = (now - task.started_at).total_seconds() if task.started_at else 0.0
    if alive > allowed:
        said = answer.notes.get(Endpoint.LIVENESS, "no answer") if answer else "it has no address"
        timed_out = answer is not None and answer.answers.get(Endpoint.LIVENESS) is Answer.TIMED_OUT
        if timed_out and seen.readings and not any(r.reached for r in seen.readings.values()):
            return hold(
                rollout, "not_measured", f"the smoke task and every service time out: {said}", now, grade=Grade.P2
            )
        text = f"no right liveness answer within {allowed} s of its start: GET {group.liveness}: {said}"
        return _smoke_failed(rollout, text, task.log, task.arn)
    if waited > group.limits.deadline_seconds:
        return hold(rollout, "no_capacity", f"the smoke task did not start within {waited:.0f} s", now, grade=Grade.P2)
    return stay(rollout, SMOKE_POLL_SECONDS)


def _smoke_again(rollout: Rollout, task: Task, now: datetime) -> Decision:
    """The platform or a person ended the smoke task: that says nothing of the image, so it is tried a few times."""
    again = replace(rollout, smoke_task=None, smoke_tries=rollout.smoke_tries + 1)
    if again.smoke_tries % MAX_SMOKES:
        return stay(again, WAIT_SECONDS)
    why = f"{MAX_SMOKES} smoke tasks were ended by others, the last: {epitaph(task)}"
    return hold(again, "no_capacity", why, now, grade=Grade.P2)


def _smoke_failed(rollout: Rollout, why: str, log: str, task: str | None = None) -> Decision:
    finding = Finding(check="smoke_failed", service=rollout.group, standing=Standing.BAD, text=why)
    failed = replace(rollout, smoke_result=why, evidence=(finding,), log=log)
    return stay(failed, 0.0, *((StopSmoke(task=task),) if task else ()))
