"""A data plane that stands still until a test moves its clock: fake registry, real processes, every event kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sandbox.dataplane.api import EcsApi
from sandbox.dataplane.model import Service, Task
from sandbox.dataplane.plane import Plane
from sandbox.switches import Faults

REGION, CLUSTER = "us-east-1", "xai-test"
FOREVER = ("sleep", "600")
WHEN_TOLD = ("sh", "-c", "until [ -e end ]; do sleep 0.02; done; exit 1")  # a test puts `end` into its folder
STUBBORN = ("sh", "-c", "trap '' TERM; sleep 600 & echo $! > child; while :; do wait; done")
STOPS_FIRST = {"minimumHealthyPercent": 0, "maximumPercent": 100}
BREAKER = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}


class HandClock:
    """A clock that a test moves."""

    scale = 1.0

    def __init__(self) -> None:
        """Noon of a winter's day."""
        self.at = datetime(2026, 1, 31, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        """The time."""
        return self.at

    def to_real(self, seconds: float) -> float:
        """How long sandbox seconds take."""
        return seconds / self.scale


@dataclass(frozen=True)
class Pulled:
    """An image that could be pulled."""

    digest: str
    command: tuple[str, ...]


class FewImages:
    """A registry of references and commands."""

    def __init__(self, **commands: tuple[str, ...]) -> None:
        """`v1` is pulled as `app:v1`."""
        self.commands = {f"app:{tag}": command for tag, command in commands.items()}

    def command_of(self, reference: str) -> Pulled | None:
        """The image, None when it is not there."""
        command = self.commands.get(reference)
        return Pulled(f"sha256:{hash(reference) % 16**12:064x}", command) if command else None


def eventually(true: Callable[[], Any], *, seconds: float = 10.0) -> Any:
    """Wait in real time until something is true; returns it."""
    give_up = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < give_up, "it never came true"
        time.sleep(0.01)
    return found


@dataclass
class Stage:
    """The plane with its API, and what it said."""

    plane: Plane
    api: EcsApi
    clock: HandClock
    faults: Faults
    said: list[tuple[datetime, dict[str, Any]]]
    zero: datetime = field(default=datetime.max.replace(tzinfo=UTC))
    dies_after: float = 10.0  # seconds that a container of WHEN_TOLD lives

    def call(self, operation: str, **body: Any) -> dict[str, Any]:
        """An API call, in JSON as it is on the wire."""
        return self.api.handle(operation, {"cluster": CLUSTER, **body})

    def revision(self, tag: str, **container: Any) -> str:
        """Register a task definition of `app:TAG`; returns its ARN."""
        container = {"name": "app", "image": f"app:{tag}", "memory": 64, **container}
        answer = self.api.handle("RegisterTaskDefinition", {"family": "app", "containerDefinitions": [container]})
        return str(answer["taskDefinition"]["taskDefinitionArn"])

    def service(self, tag: str = "v1", *, desired: int = 1, configuration: Any = None, **more: Any) -> Service:
        """Create service `app`; nothing has happened yet."""
        self.call(
            "CreateService", serviceName="app", taskDefinition=self.revision(tag, **more.pop("container", {})),
            desiredCount=desired, deploymentConfiguration={**BREAKER, **(configuration or {})}, **more,
        )  # fmt: skip
        self.zero = self.clock()
        return self.plane.services[(CLUSTER, "app")]

    def steady(self, tag: str = "v1", **more: Any) -> Service:
        """Create service `app` and wait until its deployment is COMPLETED."""
        service = self.service(tag, **more)
        self.run(150)
        assert service.primary.state == "COMPLETED"
        return service

    def update(self, tag: str, **container: Any) -> None:
        """Move service `app` to another image; seconds count from here."""
        self.call("UpdateService", service="app", taskDefinition=self.revision(tag, **container))
        self.zero = self.clock()

    def run(self, seconds: float, *, until: Callable[[], Any] = lambda: False) -> None:
        """Let time pass, a second at a time."""
        for _ in range(int(seconds)):
            if until():
                return
            self.clock.at += timedelta(seconds=1)
            self._end_the_mortal()
            self.plane.step(self.clock())
            self._wait_for_the_real_world()

    def _end_the_mortal(self) -> None:
        for task in self.tasks():
            image = self.plane.images.command_of(task.image)
            old = task.started is not None and (self.clock() - task.started).total_seconds() >= self.dies_after
            if image is not None and image.command == WHEN_TOLD and old and task.process is not None:
                (task.data_dir / "end").touch()
                eventually(lambda process=task.process: process.exit_code() is not None)

    def _wait_for_the_real_world(self) -> None:
        """Probes answer, and what was told to stop does so, within the second; STUBBORN does not."""
        for task in self.tasks():
            eventually(lambda task=task: not task.probing)
            image = self.plane.images.command_of(task.image)
            if task.process is not None and task.desired == "STOPPED" and image and image.command != STUBBORN:
                eventually(lambda process=task.process: process.exit_code() is not None)

    def tasks(self) -> list[Task]:
        """Tasks that have not ended."""
        return [task for task in self.plane.tasks.values() if task.status != "STOPPED"]

    def times(self, kind: str, **wanted: Any) -> list[float]:
        """Seconds after `zero` of each event of this kind whose detail says so."""
        return [
            (at - self.zero).total_seconds()
            for at, event in self.said
            if at >= self.zero and event["detail-type"] == kind
            and all(event["detail"].get(key) == value for key, value in wanted.items())
        ]  # fmt: skip

    def details(self, kind: str) -> list[dict[str, Any]]:
        """The details of the events of a kind since `zero`."""
        return [event["detail"] for at, event in self.said if at >= self.zero and event["detail-type"] == kind]


@contextmanager
def staged(root: Path, **images: tuple[str, ...]) -> Iterator[Stage]:
    """A plane with an empty cluster; every process is gone afterwards."""
    clock, faults = HandClock(), Faults()
    said: list[tuple[datetime, dict[str, Any]]] = []
    plane = Plane(
        clock=clock, images=FewImages(**images), root=root, region=REGION,  # type: ignore[arg-type]
        publish=lambda event: said.append((clock(), event)), write_log=lambda _group, _stream, _lines: None,
        faults=faults,
    )  # fmt: skip
    api = EcsApi(plane)
    api.handle("CreateCluster", {"clusterName": CLUSTER})
    try:
        yield Stage(plane, api, clock, faults, said)
    finally:
        plane.stop()
