"""The way back: every touched service returns to *its stable revision*, wave by wave, and is judged there. Pure.

Stable is the last revision that was promoted, never "the revision before". The wave that failed goes first, because it
is down already; the next goes when the one before it is steady and healthy, so a rollback takes down no more than a
rollout would. Two things let the next one go sooner: what can only mend when the others are back too (a chain that the
bad release holds still), and a batch that does not come up in its time without dying: nothing is left on a condemned
release for that. A node that dies or refuses its data on stable stops everything: HELD at the highest grade, nothing
more is tried.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from chalicelib.fleet.model import Group
from chalicelib.health.model import Finding, Standing, Verdict, of_standing, verdict_of
from chalicelib.incident.model import Grade
from chalicelib.rollout.findings import judge_step
from chalicelib.rollout.memory import pointed
from chalicelib.rollout.model import Action, Decision, MarkBad, Phase, RestoreStable, Rollout, Snapshot, Step
from chalicelib.rollout.phases import enter, hold, stay

RESTORE_POLL_SECONDS = 5.0
NO_BACKUP = "no proven backup of it is on record"


def begin_way_back(
    rollout: Rollout, reason: str, why: str, seen: Snapshot, now: datetime, *, findings: tuple[Finding, ...] = ()
) -> Decision:
    """Decide to take it all back; without a stable revision for a touched service there is no way back."""
    lost = [step.service for step in rollout.touched if step.stable is None]
    if lost:
        text = f"{why}; there is no way back: nothing was ever stable on {', '.join(lost)}"
        return hold(rollout, "nothing_stable", text, now, grade=Grade.P1, findings=findings)
    back = enter(rollout, Phase.ROLLING_BACK, reason, why, now)
    logs = [task.log for task in seen.tasks if task.log and any(task.revision == s.target for s in rollout.touched)]
    back = replace(back, rollback_since=now, evidence=findings, log=logs[-1] if logs else rollout.log)
    return Decision(rollout=back, wake_in=0.0, findings=findings, report=True, grade=Grade.P2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A batch that does not come back. `fatal`: a node died on stable or refused its data, so nothing more is tried."""

    held: Decision
    fatal: bool


def restore(rollout: Rollout, seen: Snapshot, group: Group, now: datetime) -> Decision:
    """Take the batches back one after the other; end when all are steady and healthy on stable."""
    batches = _batches(rollout)
    failed: Failed | None = None  # what a person must hear, once nothing is left on the target
    for number, batch in enumerate(batches):
        strayed = _strayed(rollout, batch, seen, now)
        if strayed is not None:
            return strayed
        match _restore_batch(rollout, batch, seen, group, now):
            case None:
                continue
            case Failed(fatal=True) as fatal:
                return fatal.held
            case Failed() as other:
                failed = failed or other
            case waiting:
                ahead = any(not step.restored_at for later in batches[number + 1 :] for step in later)
                if not (ahead and _hangs_on_others(waiting)):
                    return waiting
    if failed is not None:
        return failed.held
    unmarked = [step for step in rollout.touched if step.target and step.shifted_at and not step.marked]
    if unmarked and rollout.condemned:
        marks = (MarkBad(revision=s.target, why=rollout.reason) for s in unmarked if s.target)
        return stay(rollout, 0.0, *marks)
    names = ", ".join(step.service for step in rollout.touched)
    ended = enter(rollout, Phase.ROLLED_BACK, rollout.reason, rollout.why, now)
    line = (now, f"{names} steady and healthy on stable")
    return Decision(rollout=replace(ended, timeline=(*ended.timeline, line)), report=True, grade=Grade.P2)


# What a node says that depends on what the others run.
_OTHERS_TOO = frozenset({"height_advancing", "height_stalled", "chain_stands", "lag", "finality", "forked"})


def _hangs_on_others(waiting: Decision) -> bool:
    """Whether all that is still wrong with a batch may be the fault of nodes that are on the target yet."""
    wrong = [finding for finding in waiting.findings if finding.standing is not Standing.GOOD]
    return bool(wrong) and not waiting.actions and all(finding.check in _OTHERS_TOO for finding in wrong)


def _batches(rollout: Rollout) -> list[tuple[Step, ...]]:
    """The touched steps by wave: the failing wave first, then the others from the last to the first."""
    waves = sorted({step.wave for step in rollout.touched}, key=lambda wave: (wave != rollout.wave, -wave))
    return [tuple(step for step in rollout.touched if step.wave == wave) for wave in waves]


def _restore_batch(
    rollout: Rollout, batch: tuple[Step, ...], seen: Snapshot, group: Group, now: datetime
) -> Decision | Failed | None:
    """Point what is not on stable yet; then wait for it; None when the batch is done."""
    if not all(step.restored_at for step in batch):
        return _point(rollout, batch, seen, now)
    if not all(step.confirmed for step in batch):
        return _await(rollout, batch, (), group, now, _restorations(batch))
    findings = tuple(f for step in batch for f in judge_step(rollout, step, seen, group, now))
    damaged = of_standing(findings, Standing.DAMAGED)
    died = tuple(f for f in of_standing(findings, Standing.BAD) if f.check == "tasks_died")
    if damaged or died:
        return Failed(held=_fails(rollout, damaged or died, findings, now), fatal=True)
    if verdict_of(findings) is Verdict.HEALTHY:
        return None
    return _await(rollout, batch, findings, group, now, ())


def _point(rollout: Rollout, batch: tuple[Step, ...], seen: Snapshot, now: datetime) -> Decision:
    """Record the intent first; a service that ECS' breaker took to stable already needs no second change."""
    steps = tuple(
        pointed(step, restored_at=now, highest=step.baseline.height if step.baseline else None)
        if step in batch
        else step
        for step in rollout.steps
    )
    away = tuple(s for s in steps if s.touched and s in _same(batch, steps) and not _on_stable(s, seen))
    return stay(replace(rollout, steps=steps), RESTORE_POLL_SECONDS, *_restorations(away))


def _same(batch: tuple[Step, ...], steps: tuple[Step, ...]) -> tuple[Step, ...]:
    names = {step.service for step in batch}
    return tuple(step for step in steps if step.service in names)


def _restorations(steps: tuple[Step, ...]) -> tuple[Action, ...]:
    return tuple(
        RestoreStable(service=s.service, revision=s.stable.revision) for s in steps if s.stable and not s.confirmed
    )


def _on_stable(step: Step, seen: Snapshot) -> bool:
    view = seen.services.get(step.service)
    primary = view.primary if view else None
    return primary is not None and step.stable is not None and primary.revision == step.stable.revision


def _await(
    rollout: Rollout,
    batch: tuple[Step, ...],
    findings: tuple[Finding, ...],
    group: Group,
    now: datetime,
    actions: tuple[Action, ...],
) -> Decision | Failed:
    """Give what the bad release left behind the time to heal: a node may reorganise and sync before it counts."""
    since = max(step.restored_at for step in batch if step.restored_at)
    running = [step.running_at for step in batch if step.running_at]
    healing = group.limits.sync_allowance_seconds + group.limits.start_period_seconds
    bad = of_standing(findings, Standing.BAD)
    if bad and len(running) == len(batch) and rollout.watched_since(max(running), now) > healing:
        return Failed(held=_fails(rollout, bad, findings, now), fatal=False)
    if rollout.watched_since(since, now) > group.limits.deadline_seconds:
        wrong = tuple(f for f in findings if f.standing is not Standing.GOOD)
        return Failed(held=_fails(rollout, wrong, findings, now), fatal=False)
    return stay(rollout, RESTORE_POLL_SECONDS, *actions, findings=findings)


def _strayed(rollout: Rollout, batch: tuple[Step, ...], seen: Snapshot, now: datetime) -> Decision | None:
    """A service that we had on stable left it again: ECS' breaker is corrected once, a person is not fought."""
    for step in batch:
        view = seen.services.get(step.service)
        primary = view.primary if view else None
        if primary is None or view is None:
            return hold(rollout, "service_gone", f"service {step.service} is not there any more", now, grade=Grade.P1)
        if not step.restored_at or _on_stable(step, seen):
            continue
        if not step.confirmed:
            continue  # the call may not have come through: it is made again
        where = primary.revision.rsplit("/", 1)[-1]
        if view.breaker and not rollout.repointed:
            steps = tuple(replace(s, confirmed=False) if s is step else s for s in rollout.steps)
            again = replace(rollout, steps=steps, repointed=True)
            return stay(again, RESTORE_POLL_SECONDS, *_restorations((replace(step, confirmed=False),)))
        who = f"ECS took it there again ({view.breaker})" if view.breaker else "someone else changed it"
        text = f"{step.service} left stable for {where} while it was being restored: {who}"
        return hold(rollout, "way_back_fails", text, now, grade=Grade.P1)
    return None


def _fails(rollout: Rollout, causes: tuple[Finding, ...], findings: tuple[Finding, ...], now: datetime) -> Decision:
    """Stable is sick too: say which node, why the rollout failed, and what could be restored from."""
    nodes = ", ".join(dict.fromkeys(f.service for f in causes)) or "a service"
    said = "; ".join(f.text for f in causes[:5]) or "it did not become steady on stable"
    text = f"the way back fails on {nodes}: {said}; {NO_BACKUP}. Taken back because: {rollout.why}"
    damaged = any(f.standing is Standing.DAMAGED for f in causes)
    reason = "data_damaged" if damaged else "way_back_fails"
    return hold(rollout, reason, text, now, grade=Grade.P1, findings=(*rollout.evidence, *findings))
