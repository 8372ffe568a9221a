"""What a rollout's end means for its group: stable, history, quarantine, and whose turn it is. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from chalicelib.rollout.model import HISTORY, GroupState, Origin, Phase, Promotion, Rollout, Stable


def settle(state: GroupState, before: Rollout, after: Rollout, now: datetime) -> GroupState:
    """The group's state after a rollout's decision; nothing changes until it ends."""
    if after.open or not before.open:
        return state
    if after.phase is Phase.PROMOTED and after.steps:
        state = _promoted(state, after, now)
    failed = (after.phase is Phase.ROLLED_BACK and after.condemned) or after.reason == "smoke_failed"
    # A digest that is stable has proven itself: what failed is the configuration that came with it.
    if failed and after.digest not in {stable.digest for stable in state.stable.values()}:
        state = replace(state, quarantine={**state.quarantine, after.digest: f"{after.id}: {after.why}"})
    if state.queued == after.id:
        return replace(state, queued=None)
    if state.active == after.id:
        return replace(state, active=state.queued, queued=None)
    return state


def inherit(heir: Rollout, ended: Rollout) -> Rollout:
    """Give the heir what a superseded rollout left on its target: it owns the way back for these from now on."""
    left = {step.service: step for step in ended.touched}
    if not left:
        return heir
    heirs = tuple(
        replace(step, touched=True, start=old.expected, baseline=old.baseline or step.baseline, highest=None)
        if (old := left.get(step.service)) is not None
        else step
        for step in heir.steps
    )
    return replace(heir, steps=heirs)


def _pushed_at(rollout: Rollout) -> datetime | None:
    """When the image was pushed, as far as the record says: a person's start stands for the time at which it was asked."""
    return rollout.requested_at if rollout.origin is Origin.IMAGE else None


def _promoted(state: GroupState, rollout: Rollout, now: datetime) -> GroupState:
    revisions = {step.service: step.target for step in rollout.steps if step.target}
    stable = {name: Stable(revision=revision, digest=rollout.digest) for name, revision in revisions.items()}
    promotion = Promotion(
        rollout=rollout.id, digest=rollout.digest, at=now, revisions=revisions, pushed_at=_pushed_at(rollout)
    )
    quarantine = {digest: why for digest, why in state.quarantine.items() if digest != rollout.digest}
    if rollout.origin is Origin.RETURN:  # what a person left is condemned once the return has come through, not before
        left = {known.digest for known in state.stable.values()} - {rollout.digest}
        quarantine |= dict.fromkeys(left, f"{rollout.id}: {rollout.requested_by} took it back")
    history = (*state.history, promotion)[-HISTORY:]
    return replace(state, stable=stable, history=history, quarantine=quarantine)
