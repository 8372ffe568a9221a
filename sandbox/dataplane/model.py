"""What the data plane keeps: task definitions, tasks, deployments, services. Mutable: this is a world, not a value."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sandbox.dataplane.process import ContainerProcess


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
    ports: dict[int, int]  # container port -> host port
    data_dir: Path
    scratch: bool
    image: str
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
    log: list[str] = field(default_factory=list)
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
    status: str = "PRIMARY"
    state: str = "IN_PROGRESS"
    reason: str = ""
    failed: int = 0  # consecutive, as ECS counts
    attempts: int = 0
    serving: int = 0  # tasks that served when last looked
    launch_at: datetime | None = None
    breaker_at: datetime | None = None
    running_since: datetime | None = None
    by_breaker: bool = False
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
    unplaced_at: datetime | None = None

    @property
    def primary(self) -> Deployment:
        """The deployment that the service moves to."""
        return next(d for d in self.deployments if d.status == "PRIMARY")
