"""How a record moves from phase to phase: the few ways that decide's parts share. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from chalicelib.health.model import Finding
from chalicelib.incident.model import Grade
from chalicelib.rollout.model import Action, Decision, Phase, Rollout


def enter(rollout: Rollout, phase: Phase, reason: str, why: str, now: datetime) -> Rollout:
    """Move to a phase and note it on the timeline; entering the phase it is in only renews reason and why."""
    if phase is rollout.phase:
        return replace(rollout, reason=reason, why=why)
    line = (now, f"{phase}: {why}")
    return replace(rollout, phase=phase, reason=reason, why=why, since=now, timeline=(*rollout.timeline, line))


def stay(rollout: Rollout, wake_in: float | None, *actions: Action, findings: tuple[Finding, ...] = ()) -> Decision:
    """Stay in the phase and come back."""
    return Decision(rollout=rollout, actions=actions, wake_in=wake_in, findings=findings)


def hold(
    rollout: Rollout,
    reason: str,
    why: str,
    now: datetime,
    *,
    grade: Grade,
    findings: tuple[Finding, ...] = (),
    report: bool = True,
) -> Decision:
    """Stop and wait for a person: nothing more is changed until somebody releases, aborts or rolls back."""
    held = replace(enter(rollout, Phase.HELD, reason, why, now), held_from=rollout.phase)
    held = replace(held, evidence=findings or rollout.evidence)
    return Decision(rollout=held, findings=findings, report=report, grade=grade)
