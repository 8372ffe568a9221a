"""What people read of a rollout: the report that becomes a ticket, and the summary that commands answer with. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from chalicelib.health.model import Finding, Standing
from chalicelib.incident.model import Report
from chalicelib.incident.render import block, text
from chalicelib.rollout.model import Decision, GroupState, Phase, Rollout

_KINDS = {
    Phase.ROLLING_BACK: "rolled_back",
    Phase.ROLLED_BACK: "rolled_back",
    Phase.REJECTED: "rejected",
    Phase.HELD: "held",
    Phase.AWAITING_APPROVAL: "approval",
}


def report_of(decision: Decision, now: datetime) -> Report:
    """One report of one rollout's trouble: what, since when, with which numbers, from where to where, and the timeline."""
    rollout = decision.rollout
    kind = _KINDS.get(rollout.phase, "rollout")
    image = f"{rollout.repository}:{rollout.tag}" if rollout.tag else f"{rollout.repository}@{rollout.digest[:19]}"
    return Report(
        id=f"{rollout.id}/{rollout.phase}/{now:%Y%m%dT%H%M%S}",
        key=f"{rollout.environment}/{rollout.group}/{rollout.id}",
        kind=kind,
        grade=decision.grade,
        title=f"[{rollout.environment}] {rollout.group}: {image} {rollout.phase} ({rollout.reason})",
        body=_body(rollout, decision.findings or rollout.evidence),
        at=now,
        labels=(kind, decision.grade),
    )


def _body(rollout: Rollout, findings: tuple[Finding, ...]) -> str:
    lines = [
        f"**{text(rollout.phase)}**: {text(rollout.why)}",
        "",
        f"- rollout {text(rollout.id)}, asked for by {text(rollout.requested_by)}",
        f"- image {text(rollout.repository)} tag {text(rollout.tag or 'none')} digest {text(rollout.digest)}",
    ]
    evidence = [f for f in findings if f.standing is not Standing.GOOD]
    if evidence:
        lines += ["", "### What was measured", *(f"- {f.standing}: {text(f.text)}" for f in evidence)]
    if rollout.touched:
        lines += ["", "### Revisions", *(_revisions(rollout))]
    if rollout.log:
        lines += ["", "### Log tail", block(rollout.log)]
    lines += ["", "### Timeline", *(f"- {at:%Y-%m-%d %H:%M:%S} UTC {text(line)}" for at, line in rollout.timeline)]
    return "\n".join(lines)


def _revisions(rollout: Rollout) -> list[str]:
    return [
        f"- {text(step.service)}: target {text(_short(step.target))}, stable {text(_short(step.stable.revision if step.stable else None))}"
        for step in rollout.touched
    ]


def _short(revision: str | None) -> str:
    return revision.rsplit("/", 1)[-1] if revision else "none"


def rollout_summary(rollout: Rollout) -> dict[str, Any]:
    """One rollout as JSON for commands and the HTTP API."""
    return {
        "id": rollout.id,
        "environment": rollout.environment,
        "group": rollout.group,
        "phase": rollout.phase.value,
        "reason": rollout.reason,
        "why": rollout.why,
        "origin": rollout.origin.value,
        "image": {"repository": rollout.repository, "tag": rollout.tag, "digest": rollout.digest},
        "requested_by": rollout.requested_by,
        "requested_at": rollout.requested_at.isoformat(),
        "wave": rollout.wave,
        "services": {
            step.service: {
                "wave": step.wave,
                "touched": step.touched,
                "target_revision": step.target,
                "stable_revision": step.stable.revision if step.stable else None,
            }
            for step in rollout.steps
        },
        "evidence": [f.text for f in rollout.evidence if f.standing is not Standing.GOOD],
        "seconds_to_rollback": seconds_to_rollback(rollout),
        "timeline": [{"at": at.isoformat(), "what": line} for at, line in rollout.timeline],
    }


def seconds_to_rollback(rollout: Rollout) -> float | None:
    """Seconds from the update of the wave that failed to the decision to take it back."""
    shifted = [s.shifted_at for s in rollout.steps if s.shifted_at and s.wave == rollout.wave]
    if not shifted or rollout.rollback_since is None:
        return None
    return round((rollout.rollback_since - min(shifted)).total_seconds(), 1)


def group_summary(state: GroupState) -> dict[str, Any]:
    """A group's state as JSON."""
    return {
        "group": state.group,
        "stable": {name: {"revision": s.revision, "digest": s.digest} for name, s in state.stable.items()},
        "hold": {"by": state.hold.by, "why": state.hold.why, "at": state.hold.at.isoformat()} if state.hold else None,
        "active": state.active,
        "queued": state.queued,
        "quarantine": dict(state.quarantine),
        "promoted": [{"rollout": p.rollout, "digest": p.digest, "at": p.at.isoformat()} for p in state.history],
    }
