"""Adopt what runs: judge an existing group once, and record it as stable, so that there is a way back.

An existing fleet has no promoted release yet; a service new to a group starts on the group's stable digest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from chalicelib.errors import NotFoundError
from chalicelib.fleet.model import Group, Kind
from chalicelib.health.model import EMPTY_DIGEST, Endpoint
from chalicelib.rollout.look import Eyes, look
from chalicelib.rollout.model import (
    HISTORY,
    GroupState,
    Origin,
    Promotion,
    Rollout,
    ServiceView,
    Snapshot,
    Stable,
)
from chalicelib.rollout.ports import Images
from chalicelib.rollout.revision import digest_in, image_of


def adopt(
    name: str, group: Group, state: GroupState, eyes: Eyes, images: Images, *, by: str, environment: str, now: datetime
) -> tuple[GroupState, tuple[str, ...]]:
    """Judge each service of the group and record the good ones as stable; says for each what came of it."""
    seen = look(_nobody(name, group, environment, by, now), state, group, eyes, now)
    told: list[str] = []
    found: dict[str, Stable] = {}
    for service in group.services:
        objection = _objection(service, seen, group)
        stable = None if objection else _what_runs(seen.services[service], group, eyes, images)
        if stable is None:
            told.append(f"{service}: not adopted: {objection or 'its image has no digest that the registry knows'}")
            continue
        found[service] = stable
    if len({stable.digest for stable in found.values()}) > 1:
        told.append("nothing adopted: the services run different digests, a group must run one")
        return state, tuple(told)
    for service, stable in found.items():
        images.keep(group.repository, stable.digest)
        told.append(f"{service}: adopted {stable.revision.rsplit('/', 1)[-1]} {stable.digest[:19]}")
    return _with_stable(state, found, now), tuple(told)


def _with_stable(state: GroupState, found: Mapping[str, Stable], now: datetime) -> GroupState:
    if not found:
        return state
    stable = {**state.stable, **found}
    digest = next(iter(found.values())).digest
    revisions = {name: s.revision for name, s in stable.items() if s.digest == digest}
    promotion = Promotion(rollout="adopted", digest=digest, at=now, revisions=revisions)
    earlier = tuple(p for p in state.history if p.digest != digest)
    return replace(state, stable=stable, history=(*earlier, promotion)[-HISTORY:])


def _objection(service: str, seen: Snapshot, group: Group) -> str | None:
    view, reading = seen.services.get(service), seen.readings.get(service)
    if view is None or view.status != "ACTIVE":
        return f"ECS does not know it, or could not be read ({dict(seen.unmeasured) or 'no such service'})"
    if not view.steady:
        return f"not steady: {view.running} of {view.desired} running, {len(view.deployments)} deployment(s)"
    if view.desired == 0:
        return "scaled to 0: nothing runs that could be judged"
    if reading is None or not reading.measured(Endpoint.LIVENESS):
        return f"does not answer GET {group.liveness}"
    if group.kind is Kind.NODE and (reading.supply == 0 or reading.utxo_digest == EMPTY_DIGEST):
        return "has lost its UTXO set"
    return None


def _what_runs(view: ServiceView, group: Group, eyes: Eyes, images: Images) -> Stable | None:
    primary = view.primary
    if primary is None:
        return None
    try:
        image = image_of(eyes.services.revision(primary.revision).definition, group.container)
    except NotFoundError:
        return None
    digest = digest_in(image)
    if digest is None:
        digest = images.digest_of(group.repository, image.rsplit(":", 1)[-1])
    return Stable(revision=primary.revision, digest=digest) if digest else None


def _nobody(name: str, group: Group, environment: str, by: str, now: datetime) -> Rollout:
    """A rollout of nothing, to look at the group with."""
    return Rollout(
        id="adopt", environment=environment, group=name, origin=Origin.IMAGE, repository=group.repository, digest="",
        tag=None, requested_by=by, requested_at=now,
    )  # fmt: skip
