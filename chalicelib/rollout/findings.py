"""All findings of one service in a rollout: health's judges, asked about the revision that it was last pointed at. Pure."""

from __future__ import annotations

from datetime import datetime

from chalicelib.fleet.model import Group, Kind
from chalicelib.health.judge import (
    Node,
    judge_alarms,
    judge_answers,
    judge_chain,
    judge_counts,
    judge_targets,
    judge_tasks,
)
from chalicelib.health.model import Finding, Standing
from chalicelib.rollout.memory import deaths_of
from chalicelib.rollout.model import Phase, Rollout, Snapshot, Step


def judge_step(rollout: Rollout, step: Step, seen: Snapshot, group: Group, now: datetime) -> tuple[Finding, ...]:
    """Judge one touched service on the revision that it should be on."""
    view = seen.services[step.service]
    limits = group.limits
    findings = [
        judge_tasks(
            step.service,
            deaths_of(step, seen, group),
            desired=view.desired,
            limits=limits,
            damage=group.damage_patterns,
            known=step.dead if step.restored_at is None else (),
        ),
        judge_counts(view, step.expected or ""),
    ]
    targets = judge_targets(
        view, seen.targets.get(step.service), patient=_within(step, limits.start_period_seconds, now)
    )
    if targets is not None:
        findings.append(targets)
    if step.restored_at is None:  # an alarm that the bad release set may take its time to clear
        bound = group.services[step.service].alarms
        states = None if "alarms" in seen.unmeasured else seen.alarms
        findings.extend(judge_alarms(step.service, bound, states, rollout.alarms))
    if step.running_at is not None and view.runs_primary:
        findings.extend(_answers(rollout, step, seen, group, now))
    else:  # before its tasks run nobody can answer: that says nothing, and is no health either
        text = f"{step.service}: not asked: its tasks do not run yet, or one that was told to stop is still there"
        findings.append(Finding(check="answers", service=step.service, standing=Standing.UNKNOWN, text=text))
    return tuple(findings)


def _answers(rollout: Rollout, step: Step, seen: Snapshot, group: Group, now: datetime) -> tuple[Finding, ...]:
    limits = group.limits
    reading = seen.readings.get(step.service)
    others = tuple(r for name, r in seen.readings.items() if name != step.service and r.reached)
    answers = judge_answers(step, reading, reaches_others=bool(others), limits=limits)
    if answers.standing is Standing.BAD and _within(step, limits.start_period_seconds, now) and not step.answered_at:
        answers = Finding(check=answers.check, service=step.service, standing=Standing.NOT_YET, text=answers.text)
    if group.kind is not Kind.NODE:
        return (answers,)
    trusted = tuple(s for s in rollout.steps if s.service != step.service and (not s.touched or s.restored_at))
    rises = [s.advanced_at for s in trusted if s.advanced_at is not None]
    stands = bool(rises) and all((now - at).total_seconds() > limits.stall_seconds for at in rises)
    node = Node(
        step=step,
        reading=reading,
        others=others,
        trusted=frozenset(s.service for s in trusted),
        chain_stands=stands,
        may_sync=_may_sync(rollout, step, group, now),
        may_pause=_may_pause(rollout, limits.finality_pause_max_seconds, now),
    )
    return (answers, *judge_chain(node, limits))


def _may_sync(rollout: Rollout, step: Step, group: Group, now: datetime) -> bool:
    """A restarted node may catch up for a while before its lag counts; one of an earlier wave has had its time."""
    if rollout.phase is not Phase.ROLLING_BACK and step.wave != rollout.wave:
        return False
    return _within(step, group.limits.sync_allowance_seconds, now)


def _may_pause(rollout: Rollout, seconds: float, now: datetime) -> bool:
    """Finality may pause for a while after any validator was restarted, forth or back."""
    moments = [at for step in rollout.steps for at in (step.shifted_at, step.restored_at) if at is not None]
    moments += [rollout.wave_since] if rollout.wave_since else []
    return not moments or rollout.watched_since(max(moments), now) <= seconds


def _within(step: Step, seconds: float, now: datetime) -> bool:
    return step.running_at is None or (now - step.running_at).total_seconds() <= seconds
