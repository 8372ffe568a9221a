"""What the data plane keeps: task definitions, tasks, deployments, services. Mutable: this is a world, not a value."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sandbox.dataplane.process import ContainerProcess, Tail


class EcsError(Exception):
    """An error answer of the ECS API."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        """Carry ECS' own code and message."""
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.status = code, message, status


@dataclass(slots=True)
class Definition:
    """A task definition revision, its registered JSON kept whole."""

    arn: str
    family: str
    revision: int
    raw: dict[str, Any]
    tags: dict[str, str]
    registered: datetime
    status: str = "ACTIVE"

    @property
    def main(self) -> dict[str, Any]:
        """The container that is run: the first essential one. Its sidecars are shown, and stand still."""
        containers: list[dict[str, Any]] = self.raw["containerDefinitions"]
        return next((c for c in containers if c.get("essential", True)), containers[0])


@dataclass(slots=True)
class Task:
    """A task and its process."""

    arn: str
    definition: Definition
    created: datetime
    started_by: str
    group: str
    service: Service | None
    deployment: Deployment | None
    cluster_arn: str
    container: dict[str, Any]  # its main container, RunTask's overrides applied
    ports: dict[int, int]  # container port -> host port
    data_dir: Path
    scratch: bool
    image: str
    tags: dict[str, str] = field(default_factory=dict)
    digest: str = ""
    status: str = "PROVISIONING"
    desired: str = "RUNNING"
    process: ContainerProcess | None = None
    start_tried: bool = False
    started: datetime | None = None
    stopping: datetime | None = None
    stopped: datetime | None = None
    stop_code: str = ""
    reason: str = ""
    container_reason: str = ""
    exit_code: int | None = None
    cause: str = "exit"
    health: str = "UNKNOWN"
    probe_at: datetime | None = None
    probe_failures: int = 0
    probing: bool = False
    version: int = 1
    log: Tail = field(default_factory=Tail)
    logged: int = 0

    @property
    def live(self) -> bool:
        """Whether ECS wants it to run and it has not ended."""
        return self.desired == "RUNNING" and self.status != "STOPPED"


@dataclass(slots=True)
class Deployment:
    """One deployment of a service."""

    id: str
    definition: Definition
    created: datetime
    updated: datetime
    finished: datetime | None = None
    status: str = "PRIMARY"
    digest: str = ""  # of the image that its first task pulled
    state: str = "IN_PROGRESS"
    reason: str = ""
    failed: int = 0  # consecutive, as ECS counts
    attempts: int = 0
    serving: int = 0  # tasks that served when last looked
    launch_at: datetime | None = None
    breaker_at: datetime | None = None
    running_since: datetime | None = None
    by_breaker: bool = False
    is_rollback: bool = False  # ECS shows it as a part of the service deployment that it takes back
    tripped: bool = False


@dataclass(slots=True)
class Service:
    """A service."""

    name: str
    arn: str
    cluster: str
    raw: dict[str, Any]  # as created: load balancers, network, tags ...
    desired: int
    configuration: dict[str, Any]
    created: datetime
    deployments: list[Deployment] = field(default_factory=list)
    history: list[Deployment] = field(default_factory=list)  # every deployment, oldest first
    events: list[dict[str, Any]] = field(default_factory=list)
    ports: dict[int, int] = field(default_factory=dict)
    status: str = "ACTIVE"
    steady_said: bool = False
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def threshold(self) -> int:
        """So many failures in a row trip the breaker: half of the desired count, within 3 and 200."""
        return min(max(3, math.ceil(0.5 * self.desired)), 200)

    @property
    def last_completed(self) -> Deployment | None:
        """Where a rollback of the primary deployment goes: a bad release that reached steady state counts too."""
        done = (d for d in reversed(self.history) if d.state == "COMPLETED" and d is not self.primary)
        return next(done, None)

    @property
    def primary(self) -> Deployment:
        """The deployment that the service moves to."""
        return next(d for d in self.deployments if d.status == "PRIMARY")
