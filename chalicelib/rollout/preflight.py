"""May this rollout start? Admit it, ask a person, let it wait, or refuse it, with the reason. Pure.

Only facts about the image or the way back refuse; freeze, hold, unsteady services and the like let it wait.
Must not touch the cloud.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from chalicelib.fleet.model import Group, Severity
from chalicelib.health.model import Endpoint
from chalicelib.rollout.model import GroupState, Origin, Rollout, Snapshot


class Ruling(StrEnum):
    """What preflight says."""

    ADMIT = "admit"
    ASK = "ask"  # a person must approve
    WAIT = "wait"
    HOLD = "hold"  # a person must first do something else
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Objection:
    """One reason against starting, by its snake_case name and in a sentence."""

    ruling: Ruling
    reason: str
    why: str
    spoils: bool = False  # waiting for it has a deadline: it cannot go on for ever unnoticed


# What a person may override with `force`; facts that make a rollout impossible are not among them.
FORCEABLE = frozenset(
    {"findings", "quarantined", "frozen", "on_hold", "unsteady", "irreversible", "nothing_stable", "not_measured",
     "blast_radius", "way_back", "tag_moved", "not_scanned", "drifted"}
)  # fmt: skip
_ORDER = (Ruling.REFUSE, Ruling.HOLD, Ruling.WAIT, Ruling.ASK)


def preflight(rollout: Rollout, seen: Snapshot, state: GroupState, group: Group, now: datetime) -> Objection | None:
    """The weightiest objection that nobody overrode, or None: it may start (or smoke, behind an active one)."""
    objections = [o for o in _objections(rollout, seen, state, group, now) if o.reason not in rollout.forced]
    return min(objections, key=lambda o: _ORDER.index(o.ruling), default=None)


def _objections(
    rollout: Rollout, seen: Snapshot, state: GroupState, group: Group, now: datetime
) -> Iterator[Objection]:
    yield from _image(rollout, seen, group)
    yield from _quarantine(rollout, state)
    yield from _way_back(seen, state, group)
    yield from _moment(rollout, state, group, now)
    if state.active == rollout.id:  # behind an active one the group is in motion; it is looked at again on its turn
        yield from _steady(seen, group)
        yield from _drift(rollout, seen, state)
    yield from _approval(rollout, group)


def _image(rollout: Rollout, seen: Snapshot, group: Group) -> Iterator[Objection]:
    image = seen.image
    if image is None:
        yield _wait("not_measured", f"the image could not be looked up: {_why_not(seen, 'image')}", spoils=True)
        return
    name = f"{rollout.repository}@{rollout.digest[:19]}"
    if not image.exists:
        yield _refuse("image_missing", f"{name} is not in the registry")
        return
    if image.attestation:
        yield _refuse(
            "not_an_image", f"{name} is an attestation or signature ({image.media_type}), not an image to run"
        )
        return
    if f"linux/{group.architecture}" not in image.platforms:
        has = ", ".join(sorted(image.platforms)) or "none"
        yield _refuse("wrong_architecture", f"{name} is built for {has}; the group runs linux/{group.architecture}")
    if rollout.origin is Origin.IMAGE and rollout.tag and image.tag_digest and image.tag_digest != rollout.digest:
        yield _refuse(
            "tag_moved", f"tag {rollout.tag} points to {image.tag_digest[:19]} now, not to {rollout.digest[:19]}"
        )
    if image.irreversible and rollout.approved_by is None:
        text = (
            "the release is labelled io.xai.ops.rollback=forbidden: it cannot be taken back, so a person must approve"
        )
        yield Objection(ruling=Ruling.ASK, reason="irreversible", why=text)
    # A finding that came to light since must not bar a person's way back to a release that was promoted.
    if group.block_findings_at is not None and rollout.origin is not Origin.RETURN:
        order = list(Severity)
        blocking = order[order.index(group.block_findings_at) :]
        found = {s.value: n for s in blocking if (n := image.findings.get(s.value, 0))}
        if not image.scanned and rollout.origin is Origin.IMAGE:
            text = f"{name} is not scanned yet; findings from {group.block_findings_at} on would block it"
            yield _wait("not_scanned", text, spoils=True)
        if found:
            counts = ", ".join(f"{n} {severity}" for severity, n in found.items())
            yield _refuse("findings", f"the scan found {counts} (blocked from {group.block_findings_at} on)")


def _quarantine(rollout: Rollout, state: GroupState) -> Iterator[Objection]:
    why = state.quarantine.get(rollout.digest)
    if why is not None:
        yield _refuse("quarantined", f"{rollout.digest[:19]} is in quarantine: {why}")


def _way_back(seen: Snapshot, state: GroupState, group: Group) -> Iterator[Objection]:
    if len(group.services) > group.limits.max_services:
        text = f"{len(group.services)} services would move; the limit is {group.limits.max_services}"
        yield _refuse("blast_radius", text)
    unstable = [name for name in group.services if name not in state.stable]
    if unstable:
        text = f"nothing is stable yet for {', '.join(unstable)}: run adopt first, so that there is a way back"
        yield Objection(ruling=Ruling.HOLD, reason="nothing_stable", why=text)
    if "ways_back" in seen.unmeasured:
        text = f"the way back could not be proven: {_why_not(seen, 'ways_back')}"
        yield _wait("not_measured", text, spoils=True)
    for way in seen.ways_back:
        if way.revision_status != "ACTIVE":
            yield _refuse(
                "way_back", f"stable revision of {way.service} is {way.revision_status}: ECS would not return to it"
            )
        elif way.missing_images:
            yield _refuse("way_back", f"stable of {way.service} needs {', '.join(way.missing_images)}, which is gone")


def _moment(rollout: Rollout, state: GroupState, group: Group, now: datetime) -> Iterator[Objection]:
    if state.hold is not None:
        yield _wait("on_hold", f"{state.hold.by} holds the group: {state.hold.why or 'no reason given'}")
    # A person who takes a release back is never frozen out, nor what inherited half a group: that must not stay split.
    if rollout.origin is not Origin.RETURN and not rollout.touched:
        for freeze in group.freeze:
            if freeze.covers(now):
                yield _wait("frozen", f"freeze until {freeze.end:%H:%M} {freeze.timezone}: {freeze.why}")


def _steady(seen: Snapshot, group: Group) -> Iterator[Objection]:
    if "services" in seen.unmeasured:
        yield _wait("not_measured", f"ECS could not be read: {_why_not(seen, 'services')}", spoils=True)
        return
    for name in group.services:
        view = seen.services.get(name)
        if view is None or view.status != "ACTIVE":
            yield _wait("unsteady", f"service {name} is {view.status if view else 'not there'}", spoils=True)
        elif not view.steady:
            text = f"service {name} is not steady: {view.running} of {view.desired} running, {view.pending} pending"
            yield _wait("unsteady", text, spoils=True)
        elif view.desired == 0:
            yield _wait("unsteady", f"service {name} is scaled to 0: a rollout of nothing proves nothing", spoils=True)
        elif (reading := seen.readings.get(name)) is None or not reading.measured(Endpoint.LIVENESS):
            said = "has no task to ask" if reading is None else reading.notes.get(Endpoint.LIVENESS, "did not answer")
            yield _wait("not_measured", f"{name} could not be measured on stable: {said}", spoils=True)
    bound = {alarm for service in group.services.values() for alarm in service.alarms}
    unread = sorted(bound - set(seen.alarms))
    if unread:
        yield _wait(
            "not_measured", f"alarms could not be read: {', '.join(unread)} ({_why_not(seen, 'alarms')})", spoils=True
        )


def _drift(rollout: Rollout, seen: Snapshot, state: GroupState) -> Iterator[Objection]:
    """What runs must be what was promoted: somebody's hotfix would be lost, and stable would be no way back to it."""
    owned = {step.service for step in rollout.touched}
    for name, stable in state.stable.items():
        view = seen.services.get(name)
        primary = view.primary if view else None
        if primary is not None and name not in owned and primary.revision != stable.revision:
            runs, wanted = primary.revision.rsplit("/", 1)[-1], stable.revision.rsplit("/", 1)[-1]
            text = f"{name} runs {runs}, but {wanted} is stable: adopt what runs, or point it back"
            yield Objection(ruling=Ruling.HOLD, reason="drifted", why=text)


def _approval(rollout: Rollout, group: Group) -> Iterator[Objection]:
    needed = group.approval and rollout.origin is not Origin.RETURN
    if needed and rollout.approved_by is None:
        yield Objection(
            ruling=Ruling.ASK, reason="approval", why=f"rollouts of {rollout.group} need a person's approval"
        )


def _why_not(seen: Snapshot, part: str) -> str:
    return str(seen.unmeasured.get(part, "no answer"))


def _refuse(reason: str, why: str) -> Objection:
    return Objection(ruling=Ruling.REFUSE, reason=reason, why=why)


def _wait(reason: str, why: str, *, spoils: bool = False) -> Objection:
    return Objection(ruling=Ruling.WAIT, reason=reason, why=why, spoils=spoils)
