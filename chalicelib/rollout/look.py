"""Observe: read what this phase of a rollout needs, once, and nothing else. Read only.

A part that cannot be read is named in `Snapshot.unmeasured`; it is never taken for sickness. Calls do not grow with
the number of services beyond their batches (ten services, a hundred tasks, a hundred alarms a call), save the way back
at preflight and target health, for which AWS has no batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from chalicelib.errors import AwsUnavailableError, DeniedError, NotFoundError, ThrottledError
from chalicelib.fleet.model import Group, Kind
from chalicelib.health.judge import settled_height
from chalicelib.health.model import Endpoint, Reading
from chalicelib.rollout.memory import deaths_of
from chalicelib.rollout.model import (
    IDLE,
    GroupState,
    Phase,
    Rollout,
    ServiceView,
    Snapshot,
    Task,
    Unmeasured,
    WayBack,
)
from chalicelib.rollout.ports import Alarms, Ask, Images, Logs, Nodes, Services, Targets
from chalicelib.rollout.revision import images_of

T = TypeVar("T")
NODE_QUESTIONS = (Endpoint.LIVENESS, Endpoint.STATS, Endpoint.STATE, Endpoint.FINALITY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Eyes:
    """Everything that observation reads through."""

    services: Services
    images: Images
    alarms: Alarms
    targets: Targets
    logs: Logs
    nodes: Nodes


def look(rollout: Rollout, state: GroupState, group: Group, eyes: Eyes, now: datetime) -> Snapshot:
    """Read the world for one rollout."""
    if rollout.phase is Phase.HELD and rollout.held_from is not Phase.SMOKING:
        return Snapshot(at=now)
    gaps: dict[str, Unmeasured] = {}
    names = tuple(group.services)
    no_services: Mapping[str, ServiceView] = {}
    no_tasks: tuple[Task, ...] = ()
    services = _read(gaps, "services", lambda: eyes.services.describe(names), no_services)
    tasks = _read(gaps, "tasks", lambda: eyes.services.tasks(container=group.container, port=group.port), no_tasks)
    services = _with_breakers(rollout, services, eyes, gaps)
    tasks = _with_logs(rollout, tasks, group, eyes, gaps)
    seen = Snapshot(
        at=now,
        services=services,
        tasks=tasks,
        readings=eyes.nodes.read(_asks(rollout, tasks, group), now=now),
        targets=_targets(rollout, services, eyes, gaps),
        alarms=_alarms(group, eyes, gaps),
        unmeasured=gaps,
    )
    if rollout.phase in IDLE or (rollout.smoke_result is not None and rollout.phase is Phase.SMOKING):
        seen = _with_image(rollout, state, seen, group, eyes, gaps)
    if rollout.phase in (Phase.SMOKING, Phase.HELD):
        seen = _with_smoke(rollout, seen, group, eyes, now)
    return seen


def _read(gaps: dict[str, Unmeasured], part: str, call: Callable[[], T], empty: T) -> T:
    """Read one part; a part that cannot be read is a gap, not a fact."""
    try:
        return call()
    except DeniedError:
        gaps[part] = Unmeasured.DENIED
    except (AwsUnavailableError, ThrottledError):
        gaps[part] = Unmeasured.UNAVAILABLE
    return empty


def _with_breakers(
    rollout: Rollout, services: Mapping[str, ServiceView], eyes: Eyes, gaps: dict[str, Unmeasured]
) -> Mapping[str, ServiceView]:
    """Ask what ECS itself did, but only for a service that is not where this rollout pointed it."""
    strayed = [
        step.service
        for step in rollout.touched
        if (view := services.get(step.service)) and view.primary and view.primary.revision != step.expected
    ]
    acts = {name: _read(gaps, f"breaker {name}", lambda name=name: eyes.services.breaker(name), "") for name in strayed}  # type: ignore[misc]
    return {name: replace(view, breaker=acts[name]) if name in acts else view for name, view in services.items()}


def _with_logs(
    rollout: Rollout, tasks: tuple[Task, ...], group: Group, eyes: Eyes, gaps: dict[str, Unmeasured]
) -> tuple[Task, ...]:
    """Fetch the log tail of the newest death under this rollout: it tells damaged data from a bad version."""
    seen = Snapshot(at=rollout.requested_at, tasks=tasks)
    dead = {t.arn for step in rollout.touched for t in deaths_of(step, seen, group)}
    if rollout.phase is Phase.SMOKING:
        dead |= {t.arn for t in tasks if t.started_by == rollout.smoke_mark and t.stopped_at is not None}
    newest = max(
        (t for t in tasks if t.arn in dead and t.stopped_at), key=lambda t: (t.stopped_at, t.arn), default=None
    )
    if newest is None:
        return tasks
    told = replace(newest, log=_tail(newest, group, eyes, gaps))
    return tuple(told if task is newest else task for task in tasks)


def _tail(task: Task, group: Group, eyes: Eyes, gaps: dict[str, Unmeasured]) -> str:
    def read() -> str:
        try:
            definition = eyes.services.revision(task.revision).definition
        except NotFoundError:
            return ""
        return eyes.logs.tail(task, definition, container=group.container)

    return _read(gaps, "logs", read, "")


def _targets(
    rollout: Rollout, services: Mapping[str, ServiceView], eyes: Eyes, gaps: dict[str, Unmeasured]
) -> Mapping[str, tuple[str, ...]]:
    states: dict[str, tuple[str, ...]] = {}
    for step in rollout.touched:
        view = services.get(step.service)
        for target_group in view.target_groups if view else ():
            found = _read(gaps, f"targets {step.service}", lambda arn=target_group: eyes.targets.states(arn), None)  # type: ignore[misc]
            if found is not None:
                states[step.service] = (*states.get(step.service, ()), *found)
    return states


def _alarms(group: Group, eyes: Eyes, gaps: dict[str, Unmeasured]) -> Mapping[str, str]:
    bound = sorted({alarm for service in group.services.values() for alarm in service.alarms})
    return _read(gaps, "alarms", lambda: eyes.alarms.states(bound), {}) if bound else {}


def _asks(rollout: Rollout, tasks: tuple[Task, ...], group: Group) -> tuple[Ask, ...]:
    """Ask the newest running task of each service, on the revision that it should be on."""
    asks = []
    for name in group.services:
        step = next((s for s in rollout.steps if s.service == name), None)
        wanted = step.expected if step else None
        alive = [
            t for t in tasks if t.service == name and t.status == "RUNNING" and t.desired == "RUNNING" and t.address
        ]
        alive = [t for t in alive if t.revision == wanted] or ([] if step and step.touched else alive)
        if not alive:
            continue
        newest = max(alive, key=lambda task: (task.created_at is not None, task.created_at))
        heights = _heights(rollout, name, group.limits.reorg_depth) if group.kind is Kind.NODE else ()
        questions = (
            (*NODE_QUESTIONS, *((Endpoint.BLOCK,) if heights else ()))
            if group.kind is Kind.NODE
            else (Endpoint.LIVENESS,)
        )
        address = newest.address or ""
        asks.append(Ask(service=name, address=address, liveness=group.liveness, endpoints=questions, heights=heights))
    return tuple(asks)


def _heights(rollout: Rollout, service: str, reorg_depth: int) -> tuple[int, ...]:
    """The block indices to compare: the node's own anchor, and one that every node of the group has settled."""
    heights = set()
    for step in rollout.steps:
        if step.service == service and step.baseline and step.baseline.anchor is not None:
            heights.add(step.baseline.anchor)
    known = [step.height for step in rollout.steps if step.height]
    if len(known) > 1:
        heights.add(settled_height(min(known), None, reorg_depth))
    return tuple(sorted(heights))


def _with_image(
    rollout: Rollout, state: GroupState, seen: Snapshot, group: Group, eyes: Eyes, gaps: dict[str, Unmeasured]
) -> Snapshot:
    tag = rollout.tag
    image = _read(gaps, "image", lambda: eyes.images.facts(rollout.repository, rollout.digest, tag), None)
    unproven: tuple[WayBack, ...] = ()
    ways = _read(gaps, "ways_back", lambda: _ways_back(state, group, eyes), unproven)
    return replace(seen, image=image, ways_back=ways, unmeasured=gaps)


def _ways_back(state: GroupState, group: Group, eyes: Eyes) -> tuple[WayBack, ...]:
    needed: dict[str, tuple[str, tuple[str, ...]]] = {}
    for name in group.services:
        stable = state.stable.get(name)
        if stable is None:
            continue
        try:
            facts = eyes.services.revision(stable.revision)
        except NotFoundError:
            needed[name] = ("MISSING", ())
            continue
        needed[name] = (facts.status, images_of(facts.definition))
    gone = set(eyes.images.missing(sorted({image for _, images in needed.values() for image in images})))
    return tuple(
        WayBack(service=name, revision_status=status, missing_images=tuple(i for i in images if i in gone))
        for name, (status, images) in needed.items()
    )


def _with_smoke(rollout: Rollout, seen: Snapshot, group: Group, eyes: Eyes, now: datetime) -> Snapshot:
    mark = rollout.smoke_mark
    task = next((t for t in seen.tasks if t.arn == rollout.smoke_task or t.started_by == mark), None)
    if task is None or task.status == "STOPPED" or task.address is None:
        return replace(seen, smoke=task)
    ask = Ask(service=f"smoke of {rollout.group}", address=task.address, liveness=group.liveness)
    answer: Reading | None = eyes.nodes.read((ask,), now=now).get(ask.service)
    return replace(seen, smoke=task, smoke_answer=answer)
