"""Builders with defaults for what the pure core works on: a test names only what matters to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from chalicelib.fleet.model import Group, Kind, Limits, Role, Service, Smoke
from chalicelib.health.judge import Node
from chalicelib.health.model import Answer, Baseline, Endpoint, Reading
from chalicelib.rollout.model import (
    Deployment,
    GroupState,
    ImageFacts,
    Origin,
    Phase,
    Rollout,
    ServiceView,
    Snapshot,
    Stable,
    Step,
    Task,
)

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)  # a Monday
STABLE_DIGEST = "sha256:" + "a" * 64
TARGET_DIGEST = "sha256:" + "b" * 64
TARGET = "arn:aws:ecs:us-east-1:123456789012:task-definition/{}:2"
STABLE = "arn:aws:ecs:us-east-1:123456789012:task-definition/{}:1"
ALL_MEASURED = dict.fromkeys(Endpoint, Answer.MEASURED)
DAMAGE = ("[Ii]ntegrity check failed",)


def ago(seconds: float) -> datetime:
    """A moment before now."""
    return NOW - timedelta(seconds=seconds)


def make_limits(**more: Any) -> Limits:
    """Staging's numbers."""
    numbers: dict[str, Any] = {
        "block_seconds": 10, "start_period_seconds": 60, "bake_seconds": 180, "bake_blocks": 6, "stall_seconds": 60,
        "sync_allowance_seconds": 120, "deadline_seconds": 900, "finality_pause_max_seconds": 300,
    }  # fmt: skip
    return Limits(**{**numbers, **more})


def make_group(
    services: Mapping[str, Service] | None = None, *, limits: Mapping[str, Any] | None = None, **more: Any
) -> Group:
    """Two validators in two waves."""
    shape: dict[str, Any] = {
        "kind": Kind.NODE, "repository": "xai/node", "tags": ("*",), "container": "node", "port": 8080,
        "smoke": Smoke(start_period_seconds=60), "limits": make_limits(**(limits or {})), "damage_patterns": DAMAGE,
        "services": services or {"n1": validator(1), "n2": validator(2)},
    }  # fmt: skip
    return Group(**{**shape, **more})


def validator(wave: int, *alarms: str) -> Service:
    """A validator of this wave."""
    return Service(wave=wave, role=Role.VALIDATOR, alarms=alarms)


def sentry(wave: int) -> Service:
    """A node that does not vote."""
    return Service(wave=wave, role=Role.SENTRY)


def make_step(service: str = "n1", **more: Any) -> Step:
    """A step that stands on its target, as long as nothing else is said."""
    facts: dict[str, Any] = {
        "wave": 0, "stable": Stable(revision=STABLE.format(service), digest=STABLE_DIGEST),
        "start": STABLE.format(service), "target": TARGET.format(service), "touched": True, "shifted_at": ago(300),
        "confirmed": True, "running_at": ago(280), "baseline": make_baseline(),
    }  # fmt: skip
    return Step(service=service, **{**facts, **more})


def untouched(service: str = "n2", wave: int = 1, **more: Any) -> Step:
    """A step of a later wave, still on stable."""
    facts: dict[str, Any] = {
        "touched": False,
        "shifted_at": None,
        "confirmed": False,
        "running_at": None,
        "target": None,
    }
    return make_step(service, wave=wave, **{**facts, **more})


def make_baseline(**more: Any) -> Baseline:
    """A node that said everything on stable."""
    facts: dict[str, Any] = {
        "height": 100, "anchor": 93, "anchor_hash": "h93", "supply": 1000.0, "utxo_digest": "u100", "finality_lag": 2,
        "offered": frozenset(Endpoint),
    }  # fmt: skip
    return Baseline(**{**facts, **more})


def make_reading(service: str = "n1", **more: Any) -> Reading:
    """A good answer to everything, a little above the baseline."""
    facts: dict[str, Any] = {
        "at": NOW, "answers": ALL_MEASURED, "height": 105, "tip": "t105", "supply": 1000.0, "utxo_digest": "u105",
        "digest_tip": "t105", "hashes": {93: "h93"}, "finalized": 102,
    }  # fmt: skip
    return Reading(service=service, **{**facts, **more})


def make_node(**more: Any) -> Node:
    """A healthy node's case: it rose a moment ago, nobody else is there."""
    facts: dict[str, Any] = {
        "step": make_step(highest=105, height=105, advanced=True, advanced_at=ago(5)), "reading": make_reading(),
        "others": (), "trusted": frozenset(), "chain_stands": False, "may_sync": False, "may_pause": False,
    }  # fmt: skip
    return Node(**{**facts, **more})


def make_task(**more: Any) -> Task:
    """A task of the target that died after a minute."""
    facts: dict[str, Any] = {
        "arn": "arn:aws:ecs:us-east-1:123456789012:task/c/t1", "service": "n1", "revision": TARGET.format("n1"),
        "started_by": "ecs-svc/1", "status": "STOPPED", "desired": "STOPPED", "created_at": ago(120),
        "started_at": ago(100), "stopped_at": ago(40), "stop_code": "EssentialContainerExited",
        "stopped_reason": "Essential container in task exited", "exit_code": 1,
    }  # fmt: skip
    return Task(**{**facts, **more})


def make_view(name: str = "n1", revision: str | None = None, **more: Any) -> ServiceView:
    """A service, steady on its target or on what is said."""
    desired = more.get("desired", 1)
    primary = Deployment(
        id="ecs-svc/1", status="PRIMARY", revision=revision or TARGET.format(name), state="COMPLETED", desired=desired,
        running=desired,
    )  # fmt: skip
    facts: dict[str, Any] = {
        "arn": f"arn:{name}", "status": "ACTIVE", "desired": 1, "running": desired, "pending": 0,
        "deployments": (primary,),
    }  # fmt: skip
    return ServiceView(name=name, **{**facts, **more})


def make_image(**more: Any) -> ImageFacts:
    """An image that may run."""
    facts: dict[str, Any] = {"exists": True, "platforms": frozenset({"linux/amd64"}), "scanned": True}
    return ImageFacts(**{**facts, **more})


def make_rollout(*steps: Step, **more: Any) -> Rollout:
    """A rollout of the target; two untouched steps unless some are given."""
    facts: dict[str, Any] = {
        "id": "r1", "environment": "staging", "group": "nodes", "origin": Origin.IMAGE, "repository": "xai/node",
        "digest": TARGET_DIGEST, "tag": "2.1.0", "requested_by": "ecr push", "requested_at": ago(600),
        "since": ago(300), "wave_since": ago(300), "steps": steps or (untouched("n1", 0), untouched("n2", 1)),
    }  # fmt: skip
    return Rollout(**{**facts, **more})


def make_state(**more: Any) -> GroupState:
    """A group on stable that the rollout r1 owns."""
    facts: dict[str, Any] = {
        "stable": {n: Stable(revision=STABLE.format(n), digest=STABLE_DIGEST) for n in ("n1", "n2")}, "active": "r1",
    }  # fmt: skip
    return GroupState(group="nodes", **{**facts, **more})


def quiet_snapshot(**more: Any) -> Snapshot:
    """The group steady on stable, answering, its image fine: nothing speaks against a start."""
    facts: dict[str, Any] = {
        "services": {n: make_view(n, STABLE.format(n)) for n in ("n1", "n2")},
        "readings": {n: make_reading(n) for n in ("n1", "n2")}, "image": make_image(),
    }  # fmt: skip
    return Snapshot(at=NOW, **{**facts, **more})


def baking(**more: Any) -> Rollout:
    """A rollout whose only wave bakes: both services on target and healthy so far."""
    facts: dict[str, Any] = {"phase": Phase.BAKING, "bake_since": ago(100)}
    live = {"highest": 105, "height": 105, "advanced": True, "advanced_at": ago(5), "bake_height": 95}
    steps = tuple(replace(make_step(n, wave=i), **live) for i, n in enumerate(("n1", "n2")))
    return make_rollout(*steps, **{**facts, **more})
