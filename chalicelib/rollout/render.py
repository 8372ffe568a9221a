"""What people read of a rollout: the report that becomes a ticket, and the summary that commands answer with. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from chalicelib.health.model import Finding, Standing
from chalicelib.incident.document import Block, Code, Document, Heading, bullets, paragraph, strong
from chalicelib.incident.model import Grade, Report, Says
from chalicelib.rollout.model import TROUBLES, Decision, GroupState, Phase, Rollout

KINDS = {
    Phase.ROLLING_BACK: "rolled_back",
    Phase.ROLLED_BACK: "rolled_back",
    Phase.REJECTED: "rejected",
    Phase.HELD: "held",
    Phase.AWAITING_APPROVAL: "approval",
}


def report_of(decision: Decision, now: datetime) -> Report:
    """One report of one rollout's trouble: what, since when, with which numbers, from where to where, and the timeline."""
    rollout = decision.rollout
    kind = KINDS.get(rollout.phase, "rollout")
    image = f"{rollout.repository}:{rollout.tag}" if rollout.tag else f"{rollout.repository}@{rollout.digest[:19]}"
    return Report(
        id=f"{rollout.id}/{rollout.phase}/{now:%Y%m%dT%H%M%S}",
        key=incident_key(rollout.environment, rollout.group, rollout.id),
        kind=kind,
        grade=decision.grade,
        title=f"[{rollout.environment}] {rollout.group}: {image} {rollout.phase} ({rollout.reason})",
        body=_body(rollout, decision.findings or rollout.evidence),
        at=now,
        member=rollout.id,
        group=rollout.group,
        labels=(kind, decision.grade),
        direct=True,
    )


def with_ends(
    state: GroupState,
    reports: Sequence[Report],
    rollouts: Iterable[Rollout],
    before: Mapping[str, Phase],
    now: datetime,
) -> tuple[GroupState, tuple[Report, ...]]:
    """The reports of a tick with those that end trouble, and the state that remembers which trouble is open.

    A release that went wrong is over when a later one was promoted, or what runs was adopted; a wait for approval is over
    when it was given, and what was held when it goes on.
    """
    said = {report.member for report in reports}
    open_troubles = dict.fromkeys((*state.troubles, *(report.member for report in reports)))
    ends: list[Report] = []
    for rollout in rollouts:
        was = before.get(rollout.id)
        if was is rollout.phase or rollout.id in said:
            continue
        if rollout.phase is Phase.PROMOTED or rollout.reason == "adopted":
            why = f"rollout {rollout.id}: {rollout.why}"
            ends += [_end(rollout, trouble, why, now) for trouble in open_troubles]
            open_troubles = {}
        elif was in (Phase.AWAITING_APPROVAL, Phase.HELD) and rollout.id in open_troubles:
            ends.append(_end(rollout, rollout.id, f"it waits no more: {rollout.why}", now))
            del open_troubles[rollout.id]
    return replace(state, troubles=tuple(open_troubles)[-TROUBLES:]), (*reports, *ends)


def _end(by: Rollout, trouble: str, why: str, now: datetime) -> Report:
    return Report(
        id=f"{trouble}/over/{now:%Y%m%dT%H%M%S}",
        key=incident_key(by.environment, by.group, trouble),
        kind="rollout",
        grade=Grade.P4,
        title=why,
        at=now,
        says=Says.RESOLVED,
        member=trouble,
        group=by.group,
        direct=True,
    )


def incident_key(environment: str, group: str, rollout: str) -> str:
    """One rollout's trouble is one incident."""
    return f"{environment}/{group}/{rollout}"


def _body(rollout: Rollout, findings: tuple[Finding, ...]) -> Document:
    blocks: list[Block] = [
        paragraph(strong(rollout.phase), f": {rollout.why}"),
        bullets(
            f"rollout {rollout.id}, asked for by {rollout.requested_by}",
            f"image {rollout.repository} tag {rollout.tag or 'none'} digest {rollout.digest}",
        ),
    ]
    evidence = [f for f in findings if f.standing is not Standing.GOOD]
    if evidence:
        blocks += [Heading("What was measured"), bullets(*(f"{f.standing}: {f.text}" for f in evidence))]
    if rollout.touched:
        blocks += [Heading("Revisions"), bullets(*_revisions(rollout))]
    if rollout.log:
        blocks += [Heading("Log tail"), Code(rollout.log)]
    steps = (f"{at:%Y-%m-%d %H:%M:%S} UTC {words}" for at, words in rollout.timeline)
    return (*blocks, Heading("Timeline"), bullets(*steps))


def _revisions(rollout: Rollout) -> list[str]:
    return [
        f"{step.service}: target {_short(step.target)}, stable {_short(step.stable.revision if step.stable else None)}"
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
