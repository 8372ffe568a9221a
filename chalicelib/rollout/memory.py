"""What the record keeps of a snapshot: baselines, heights, strikes, deaths, alarm states. Pure.

A tick sees one moment; these few numbers are all that a rollout needs to remember of the earlier ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from chalicelib.fleet.model import Group, Limits
from chalicelib.health.death import Cause, cause_of_death
from chalicelib.health.judge import needed_answers, settled_height
from chalicelib.health.model import Answer, Baseline, Endpoint, Reading
from chalicelib.rollout.model import OWNING, Phase, Rollout, Snapshot, Step, Task

BLACKOUT_SECONDS = 300.0  # no tick for longer than this, while work is open, means that ours were down


def remember(rollout: Rollout, seen: Snapshot, group: Group, now: datetime) -> Rollout:
    """Fold a snapshot into the record."""
    rollout = _resumed(rollout, now)
    steps = tuple(_remember_step(step, seen, group, now) for step in rollout.steps)
    # An alarm that was in ALARM at the start counts again once it was seen otherwise.
    alarms = {**seen.alarms, **{n: s if s != "ALARM" else seen.alarms.get(n, s) for n, s in rollout.alarms.items()}}
    return replace(rollout, steps=steps, alarms=alarms if rollout.touched or rollout.alarms else dict(seen.alarms))


def _resumed(rollout: Rollout, now: datetime) -> Rollout:
    """Note when nobody looked for a while: deadlines and bakes count from here."""
    last = rollout.watched_at
    busy = rollout.phase in OWNING or rollout.phase is Phase.SMOKING or rollout.waiting_since is not None
    if busy and last is not None and (now - last).total_seconds() > BLACKOUT_SECONDS:
        return replace(rollout, watched_at=now, resumed_at=now)
    return replace(rollout, watched_at=now)


def pointed(step: Step, **changes: object) -> Step:
    """A step that is about to be pointed somewhere: what it said on the revision that it leaves no longer counts."""
    fresh = replace(
        step, confirmed=False, running_at=None, strikes=0, answered_at=None, advanced_at=None, advanced=False,
        highest=None, bake_height=None, finalized=None, finalized_at=None, finality_rose=False,
    )  # fmt: skip
    return replace(fresh, **changes)  # type: ignore[arg-type]


def deaths_of(step: Step, seen: Snapshot, group: Group) -> tuple[Task, ...]:
    """Tasks of the revision that a service was last pointed at that stopped since; earlier ones say nothing of now."""
    since = step.restored_at or step.shifted_at
    return tuple(
        task
        for task in seen.tasks
        if task.service == step.service
        and task.stopped_at is not None
        and task.revision == step.expected
        and (since is None or task.stopped_at >= since)
        and cause_of_death(task, group.damage_patterns) is not Cause.OTHER
    )


def _remember_step(step: Step, seen: Snapshot, group: Group, now: datetime) -> Step:
    view = seen.services.get(step.service)
    primary = view.primary if view else None
    if view and primary and step.expected and primary.revision == step.expected:
        runs = view.runs_primary and not _leftover(step, seen)
        running_at = (step.running_at or now) if runs else step.running_at
        step = replace(step, confirmed=True, running_at=running_at)
    if step.touched and step.restored_at is None:
        died = (
            t.arn for t in deaths_of(step, seen, group) if cause_of_death(t, group.damage_patterns) is Cause.VERSION
        )
        step = replace(step, dead=tuple(dict.fromkeys((*step.dead, *died))))
    reading = seen.readings.get(step.service)
    if reading is None or (step.read_at is not None and reading.at <= step.read_at):
        return step
    step = replace(step, read_at=reading.at)
    if not step.touched:
        step = replace(step, baseline=_baseline(step.baseline, reading, group.limits))
    return _remember_reading(step, reading)


def _leftover(step: Step, seen: Snapshot) -> bool:
    """Whether a task that was told to stop still is inside its stopTimeout: a node waits behind its fence until then."""
    return any(t.service == step.service and t.desired == "STOPPED" and t.status != "STOPPED" for t in seen.tasks)


def _remember_reading(step: Step, reading: Reading) -> Step:
    answers = set(needed_answers(step.baseline, reading).values())
    if answers & {Answer.SICK, Answer.TIMED_OUT}:
        step = replace(step, strikes=step.strikes + 1)
    elif Answer.OUR_FAULT not in answers:
        step = replace(step, strikes=0)
    if reading.reached:
        step = replace(step, answered_at=reading.at)
    step = _remember_finality(step, reading)
    if reading.height is None:
        return step
    if step.highest is None or step.advanced_at is None:
        return replace(step, height=reading.height, highest=reading.height, advanced_at=reading.at)
    if reading.height > step.highest:
        return replace(step, height=reading.height, highest=reading.height, advanced_at=reading.at, advanced=True)
    return replace(step, height=reading.height)


def _remember_finality(step: Step, reading: Reading) -> Step:
    if reading.finalized is None:
        return step
    if step.finalized is None:
        return replace(step, finalized=reading.finalized, finalized_at=reading.at)
    if reading.finalized > step.finalized:
        return replace(step, finalized=reading.finalized, finalized_at=reading.at, finality_rose=True)
    return step


def _baseline(known: Baseline | None, reading: Reading, limits: Limits) -> Baseline:
    """Build the baseline over a few readings: what was read once stays, what was missing is filled in."""
    known = known or Baseline()
    offered = frozenset(e for e, answer in reading.answers.items() if answer is Answer.MEASURED)
    lacks = frozenset(e for e, answer in reading.answers.items() if answer is Answer.NOT_OFFERED)
    anchor = known.anchor
    if anchor is None and reading.height is not None:
        anchor = settled_height(reading.height, reading.finalized, limits.reorg_depth)
    lag = None
    if reading.height is not None and reading.finalized is not None:
        lag = reading.height - 1 - reading.finalized
    finalized = known.finalized if known.finalized is not None else reading.finalized
    rises = finalized is not None and reading.finalized is not None and reading.finalized > finalized
    return Baseline(
        finalized=finalized,
        finality_rises=known.finality_rises or rises,
        height=max(_known((known.height, reading.height)), default=None),
        anchor=anchor,
        anchor_hash=known.anchor_hash or (reading.hashes.get(anchor) if anchor is not None else None),
        supply=reading.supply if reading.supply is not None else known.supply,
        utxo_digest=reading.utxo_digest or known.utxo_digest,
        finality_lag=lag if lag is not None else known.finality_lag,
        offered=known.offered | offered,
        lacks=(known.lacks | lacks) - offered,
    )


def _known(values: Iterable[int | None]) -> list[int]:
    return [value for value in values if value is not None]


NODE_OFFERS = frozenset({Endpoint.STATS, Endpoint.STATE, Endpoint.BLOCK, Endpoint.FINALITY})


def lacks_baseline(step: Step) -> str | None:
    """What is still to be read of a node on stable before it may be touched; None when everything is known.

    Each question must have been answered, or be one that stable does not offer: what was not measured there could not
    be judged on the target.
    """
    known = step.baseline
    if known is None:
        return "everything"
    if known.anchor is None and Endpoint.STATS in known.lacks and Endpoint.STATE in known.lacks:
        return None  # it says no height, so there is no block to ask for
    unread = sorted(endpoint.value for endpoint in NODE_OFFERS - known.offered - known.lacks)
    if unread:
        return ", ".join(unread)
    if known.anchor is not None and known.anchor_hash is None and Endpoint.BLOCK not in known.lacks:
        return f"the hash at settled height {known.anchor}"
    return None


def awaits_finality(step: Step) -> bool:
    """Whether it is still to be seen on stable that finality goes on there: only then it must go on upon the target."""
    known = step.baseline
    return known is not None and known.finalized is not None and not known.finality_rises
