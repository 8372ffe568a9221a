"""What an event or a person may ask of a group, carried out on its records. Pure.

A push takes the place of what has not begun, queues behind what has, and never starts twice. A person's word is a
change of the record; the next decision does the rest. Must not touch the cloud.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import assert_never

from chalicelib.fleet.model import Group
from chalicelib.incident.model import Grade
from chalicelib.rollout.model import (
    IDLE,
    SMOKE_PASSED,
    GroupState,
    Hold,
    Origin,
    Phase,
    Promotion,
    Request,
    Rollout,
    Step,
    Word,
)
from chalicelib.rollout.phases import enter
from chalicelib.rollout.settle import settle


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """A group's records while its inbox is worked through. `told` is what each word came to, for log and journal.

    `reports` names the rollouts that ended here and whose end people must be told, with the grade.
    """

    state: GroupState
    rollouts: Mapping[str, Rollout]
    told: tuple[str, ...] = ()
    reports: Mapping[str, Grade] | None = None

    def active(self) -> Rollout | None:
        """The rollout that owns the group or is first to."""
        return self.rollouts.get(self.state.active) if self.state.active else None

    def queued(self) -> Rollout | None:
        """The newest rollout that waits behind it."""
        return self.rollouts.get(self.state.queued) if self.state.queued else None

    def put(self, rollout: Rollout, told: str = "") -> Desk:
        """The desk with one rollout changed."""
        return replace(self, rollouts={**self.rollouts, rollout.id: rollout}, told=(*self.told, *filter(None, [told])))

    def say(self, told: str) -> Desk:
        """The desk with nothing changed but what is told."""
        return replace(self, told=(*self.told, told))


def carry_out(key: str, request: Request, desk: Desk, group: Group, environment: str, now: datetime) -> Desk:
    """Carry out one word; a word that does not fit the moment changes nothing and says so."""
    match request.word:
        case Word.START:
            return _start(key, request, desk, group, environment, now)
        case Word.ROLLBACK:
            return _rollback(key, request, desk, group, environment, now)
        case Word.ABORT:
            return _end(request, desk, now, condemned=False, reason="aborted")
        case Word.APPROVE:
            return _approve(request, desk)
        case Word.HOLD:
            hold = Hold(by=request.by, why=request.why, at=now)
            return replace(desk, state=replace(desk.state, hold=hold)).say(f"on hold, by {request.by}")
        case Word.RELEASE:
            return _release(request, desk, now)
        case Word.ADOPT:
            return desk.say("adopt is carried out where the cloud can be seen")
        case _:
            assert_never(request.word)


def _start(key: str, request: Request, desk: Desk, group: Group, environment: str, now: datetime) -> Desk:
    rollout = _rollout(key, request, group, environment, now)
    if rollout.origin is Origin.IMAGE and _stable_everywhere(rollout.digest, desk.state, group):
        done = enter(rollout, Phase.PROMOTED, "already_stable", "every service runs this digest already", now)
        return desk.put(done, f"{rollout.id}: already stable everywhere")
    newest = max((p.pushed_at for p in desk.state.history if p.pushed_at is not None), default=None)
    if request.pushed_at is not None and newest is not None and request.pushed_at < newest:
        late = enter(
            rollout, Phase.SUPERSEDED, "newer_push", f"an image pushed later ({newest:%F %T} UTC) was promoted", now
        )
        return desk.put(late, f"{rollout.id}: older than what was promoted")
    for known in filter(None, (desk.active(), desk.queued())):
        same = known.digest == rollout.digest and known.origin is rollout.origin
        stuck = known.phase in (Phase.ROLLING_BACK, Phase.HELD) and request.pushed_at is None
        if same and known.phase is not Phase.ROLLING_BACK and not stuck:
            return desk.say(f"{known.id} rolls this digest out already")
        if request.pushed_at is not None and known.requested_at > request.pushed_at and known.origin is Origin.IMAGE:
            late = enter(rollout, Phase.SUPERSEDED, "newer_push", f"{known.id} is of a newer push", now)
            return desk.put(late, f"{rollout.id}: older than {known.id}")
    return _seat(rollout, desk, now)


def _seat(rollout: Rollout, desk: Desk, now: datetime) -> Desk:
    """Give a new rollout the group, or the place behind the one that has begun."""
    active, queued = desk.active(), desk.queued()
    if active is not None and not _gives_way(active):
        if queued is not None:
            desk = _supersede(queued, rollout, desk, now)
            rollout = _in_place_of(rollout, queued)
        return replace(desk, state=replace(desk.state, queued=rollout.id)).put(rollout, f"{rollout.id}: queued")
    if active is not None:
        desk = _supersede(active, rollout, desk, now)
        rollout = _in_place_of(rollout, active)
    return replace(desk, state=replace(desk.state, active=rollout.id)).put(rollout, f"{rollout.id}: requested")


def _gives_way(active: Rollout) -> bool:
    """Whether a rollout has begun nothing that must be ended in order: no smoke task, no service touched by it."""
    return (active.phase in IDLE or active.phase is Phase.HELD) and not active.touched


def _supersede(rollout: Rollout, by: Rollout, desk: Desk, now: datetime) -> Desk:
    ended = enter(rollout, Phase.SUPERSEDED, "newer_push", f"{by.id} is newer", now)
    return desk.put(ended, f"{rollout.id}: superseded by {by.id}")


def _with_stray(rollout: Rollout, ended: Rollout) -> Rollout:
    """Leave the smoke task of a rollout that ends here to one that goes on: it must not run for ever."""
    smokes = (ended.id,) if Phase.SMOKING in (ended.phase, ended.held_from) else ()
    return replace(rollout, strays=(*rollout.strays, *ended.strays, *smokes))


def _in_place_of(rollout: Rollout, ended: Rollout) -> Rollout:
    """A new rollout that takes another's place: its smoke task, and a person's eye that may still be on it."""
    displaced = ended.id if ended.phase is Phase.AWAITING_APPROVAL else ended.displaced
    return replace(_with_stray(rollout, ended), displaced=displaced)


def _rollback(key: str, request: Request, desk: Desk, group: Group, environment: str, now: datetime) -> Desk:
    """Take the open rollout back; with none open, return to the release that was promoted before this one."""
    if desk.active() is not None:
        return _end(request, desk, now, condemned=True, reason="rollback_requested")
    if request.rollout is not None:  # a rollout that has ended is no reason to take back what is stable now
        return desk.say("no such open rollout")
    back = _before_stable(desk.state)
    if back is None:
        return desk.say("nothing to roll back to: no earlier release was promoted that is not in quarantine")
    asked = replace(request, origin=Origin.RETURN, digest=back.digest, tag=None)
    rollout = _rollout(key, asked, group, environment, now)
    why = f"{request.by} took it back: {request.why or 'no reason given'}"
    targets = {name: revision for name, revision in back.revisions.items() if name in group.services}
    rollout = replace(rollout, returns=targets, why=why)
    return _seat(rollout, desk, now)


def _before_stable(state: GroupState) -> Promotion | None:
    """The release promoted before the one that is stable, by revisions: a change of configuration is one of its own.

    Counted from where stable was *first* promoted: what a person took back stands behind it, not before it.
    """
    runs = {name: stable.revision for name, stable in state.stable.items()}
    first = next((i for i, p in enumerate(state.history) if _is_of(p, runs)), len(state.history))
    earlier = (p for p in reversed(state.history[:first]) if p.digest not in state.quarantine)
    return next((p for p in earlier if not _is_of(p, runs)), None)


def _is_of(promotion: Promotion, runs: Mapping[str, str]) -> bool:
    return all(runs.get(name) == revision for name, revision in promotion.revisions.items() if name in runs)


def _end(request: Request, desk: Desk, now: datetime, *, condemned: bool, reason: str) -> Desk:
    """End the open rollout: nothing touched, it is REJECTED; else everything goes back to stable."""
    queued = desk.queued()
    if queued is not None and request.rollout == queued.id:
        ended = enter(queued, Phase.SUPERSEDED, reason, f"{request.by}: {request.why}", now)
        if (owner := desk.active()) is not None:
            desk = desk.put(_with_stray(owner, queued))
        return replace(desk, state=replace(desk.state, queued=None)).put(ended, f"{queued.id}: {reason}")
    active = desk.active()
    if active is None or (request.rollout is not None and request.rollout != active.id):
        return desk.say("no such open rollout")
    why = f"{request.by} asked for it: {request.why or 'no reason given'}"
    if active.phase is Phase.ROLLING_BACK:
        return desk.say(f"{active.id} is going back already")
    if active.touched:
        back = enter(active, Phase.ROLLING_BACK, reason, why, now)
        back = replace(back, rollback_since=now, condemned=condemned)
        desk = desk.put(back, f"{active.id}: goes back to stable")
        return replace(desk, reports={**(desk.reports or {}), active.id: Grade.P3})
    if Phase.SMOKING in (active.phase, active.held_from):
        smoking = enter(active, Phase.SMOKING, reason, why, now)
        cancelled = replace(smoking, smoke_result="cancelled", held_from=None)
        return desk.put(cancelled, f"{active.id}: smoke is being stopped")
    ended = enter(active, Phase.REJECTED, reason, why, now)
    state = settle(desk.state, active, ended, now)
    return replace(desk, state=state).put(ended, f"{active.id}: ended, nothing was touched")


def _approve(request: Request, desk: Desk) -> Desk:
    for rollout in filter(None, (desk.queued(), desk.active())):
        if request.rollout in (None, rollout.id) and rollout.phase is Phase.AWAITING_APPROVAL:
            if request.rollout is None and rollout.displaced is not None:
                text = f"not approved: {rollout.id} took the place of {rollout.displaced}; name the rollout that you reviewed"
                return desk.say(text)
            return desk.put(replace(rollout, approved_by=request.by), f"{rollout.id}: approved by {request.by}")
    return desk.say("no rollout awaits approval")


def _release(request: Request, desk: Desk, now: datetime) -> Desk:
    """Lift the hold, and let a HELD rollout go on where it stopped, or go back."""
    active = desk.active()
    if desk.state.hold is None and (active is None or active.phase is not Phase.HELD):
        return desk.say("nothing is on hold")
    if desk.state.hold is not None:
        desk = replace(desk, state=replace(desk.state, hold=None)).say(f"hold lifted by {request.by}")
    if active is None or active.phase is not Phase.HELD:
        return desk
    if request.then == "rollback":
        return _end(request, desk, now, condemned=True, reason="rollback_requested")
    phase = active.held_from or Phase.WAITING
    if phase not in (Phase.SHIFTING, Phase.BAKING, Phase.ROLLING_BACK):
        phase = Phase.WAITING
    steps = tuple(_forgiven(step, now) if step.touched else step for step in active.steps)
    resumed = enter(active, phase, "released", f"{request.by} let it go on: {request.why or 'no reason given'}", now)
    resumed = replace(
        resumed, steps=steps, wave_since=now, bake_since=None, waiting_since=None, repointed=False, held_from=None,
        smoke_result=active.smoke_result if active.smoke_result == SMOKE_PASSED else None, since=now,
    )  # fmt: skip
    return desk.put(resumed, f"{active.id}: goes on in {phase}")


def _forgiven(step: Step, now: datetime) -> Step:
    """A touched step as if it had been pointed where it is just now: what died or failed before says nothing any more."""
    shifted = now if step.shifted_at else None
    restored = now if step.restored_at else None
    return replace(step, confirmed=False, strikes=0, running_at=None, dead=(), shifted_at=shifted, restored_at=restored)


def _stable_everywhere(digest: str, state: GroupState, group: Group) -> bool:
    return all((stable := state.stable.get(name)) is not None and stable.digest == digest for name in group.services)


def _rollout(key: str, request: Request, group: Group, environment: str, now: datetime) -> Rollout:
    """The record of what was asked for; its id is the inbox key's, so that the same word never makes two."""
    if request.digest is None:
        raise ValueError(f"a {request.word} needs a digest by now")
    at = request.pushed_at or request.at
    return Rollout(
        id=f"{at:%Y%m%d-%H%M%S}-{key[-8:]}",
        environment=environment,
        group=request.group,
        origin=request.origin,
        repository=request.repository or group.repository,
        digest=request.digest,
        tag=request.tag,
        requested_by=request.by,
        requested_at=at,
        since=now,
        forced=request.forced,
        timeline=(
            (
                now,
                f"REQUESTED by {request.by}: {request.repository or group.repository}:{request.tag or request.digest[:19]}",
            ),
        ),
    )
