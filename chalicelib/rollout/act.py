"""Carry out what was decided. Each action is safe to repeat: look first, then write.

Knows the ports for writing. Must not decide anything.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import assert_never

from chalicelib.fleet.model import Group
from chalicelib.rollout.model import (
    Action,
    KeepImage,
    MarkBad,
    RegisterTarget,
    RestoreStable,
    Rollout,
    RunSmoke,
    ShiftService,
    StopSmoke,
)
from chalicelib.rollout.ports import Deployer, Images, Services
from chalicelib.rollout.revision import BAD_TAG, DIGEST_TAG, ROLLOUT_TAG, smoke_definition, target_definition


@dataclass(frozen=True, slots=True, kw_only=True)
class Hands:
    """Everything that acting writes through, and the reading it needs to look first."""

    services: Services
    deployer: Deployer
    images: Images


def act(action: Action, rollout: Rollout, group: Group, hands: Hands) -> Rollout:
    """Carry out one action and return the record with its result.

    Raises whatever the ports raise; the action comes again on a later tick as long as it is not seen done.
    """
    match action:
        case KeepImage(repository=repository, digest=digest):
            hands.images.keep(repository, digest)
        case RunSmoke():
            return replace(rollout, smoke_task=_run_smoke(action, rollout, group, hands))
        case StopSmoke(task=task):
            hands.deployer.stop(task, f"smoke of rollout {rollout.id} is over")
        case RegisterTarget():
            return _put_target(rollout, action.service, _register(action, rollout, group, hands))
        case ShiftService(service=service, revision=revision) | RestoreStable(service=service, revision=revision):
            hands.deployer.point(service, revision)
        case MarkBad(revision=revision, why=why):
            hands.deployer.tag(revision, {BAD_TAG: _tag_value(why)})
            steps = tuple(replace(s, marked=True) if s.target == revision else s for s in rollout.steps)
            return replace(rollout, steps=steps)
        case _:
            assert_never(action)
    return rollout


def _run_smoke(action: RunSmoke, rollout: Rollout, group: Group, hands: Hands) -> str:
    template = hands.services.revision(action.template)
    image = hands.images.reference(rollout.repository, action.digest)
    definition = smoke_definition(template.definition, container=group.container, image=image, smoke=group.smoke)
    tags = {ROLLOUT_TAG: rollout.id, DIGEST_TAG: _tag_value(action.digest)}
    revision = hands.deployer.register_once(definition, tags, mark=rollout.id)
    return hands.deployer.run_alone(revision, like=action.service, started_by=rollout.smoke_mark)


def _register(action: RegisterTarget, rollout: Rollout, group: Group, hands: Hands) -> str:
    """Each service keeps its own family and template: only the image is shared."""
    template = hands.services.revision(action.template)
    image = hands.images.reference(rollout.repository, action.digest)
    definition = target_definition(template.definition, container=group.container, image=image)
    carried = {key: value for key, value in template.tags.items() if key != BAD_TAG and not key.startswith("aws:")}
    tags = {**carried, ROLLOUT_TAG: rollout.id, DIGEST_TAG: _tag_value(action.digest)}
    return hands.deployer.register_once(definition, tags, mark=rollout.id)


def _put_target(rollout: Rollout, service: str, revision: str) -> Rollout:
    steps = tuple(replace(step, target=revision) if step.service == service else step for step in rollout.steps)
    return replace(rollout, steps=steps)


def _tag_value(text: str) -> str:
    """Tags take letters, digits, spaces and _.:/=+-@ up to 256 characters. Source: Amazon ECS API, Tag."""
    return "".join(c if c.isalnum() or c in " _.:/=+-@" else "_" for c in text)[:256]
