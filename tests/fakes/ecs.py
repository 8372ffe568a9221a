"""An ECS in memory: the ports `Services` and `Deployer` on one world that stands still until a test moves it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from chalicelib.errors import CapacityError, MisconfiguredError, NotFoundError
from chalicelib.rollout.model import Deployment, RevisionFacts, ServiceView, Task
from tests.fakes.calls import Called, Calls

ARN = "arn:aws:ecs:us-east-1:123456789012"
CLUSTER = "xai-test"
MARK_TAG = "xai-ops:rollout"
READ_ONLY = ("taskDefinitionArn", "revision", "status")
START = datetime(2026, 1, 5, 12, tzinfo=UTC)


@dataclass
class World:
    """One service of the fake, as it is now."""

    name: str
    desired: int
    deployments: list[Deployment]
    target_groups: tuple[str, ...] = ()
    unplaced: str = ""
    breaker: str = ""

    @property
    def primary(self) -> Deployment:
        """The deployment that the service is moving to."""
        return next(d for d in self.deployments if d.status == "PRIMARY")


@dataclass
class _Revision:
    definition: dict[str, Any]
    tags: dict[str, str] = field(default_factory=dict)


class FakeEcs(Called):
    """`point` begins a deployment; `settle`, `crash` and the other knobs say how it goes on."""

    def __init__(self, calls: Calls | None = None, *, now: datetime = START) -> None:
        """An empty cluster; set `now` as the test's time goes on."""
        super().__init__(calls)
        self.now = now
        self.services: dict[str, World] = {}
        self.revisions: dict[str, _Revision] = {}
        self.all_tasks: dict[str, Task] = {}
        self.no_room = False  # run_alone raises CapacityError
        self.lone_tasks_run = True  # a lone task is RUNNING at once; else it stays PENDING
        self._numbers = 0

    # ------------------------------------------------------------------------------------------------- knobs

    def add_revision(self, definition: Mapping[str, Any], tags: Mapping[str, str] | None = None) -> str:
        """Register a revision, as Terraform would; returns its ARN."""
        family = definition["family"]
        newest = max((int(a.rsplit(":", 1)[1]) for a in self.revisions if f"/{family}:" in a), default=0)
        arn = f"{ARN}:task-definition/{family}:{newest + 1}"
        body = {key: value for key, value in deepcopy(dict(definition)).items() if key not in (*READ_ONLY, "tags")}
        body |= {"taskDefinitionArn": arn, "revision": newest + 1, "status": "ACTIVE"}
        self.revisions[arn] = _Revision(body, dict(tags or {}))
        return arn

    def add_service(self, name: str, revision: str, *, desired: int = 1, target_groups: tuple[str, ...] = ()) -> World:
        """Add a service that is steady on this revision."""
        self.services[name] = World(name, desired, [self._deployment(revision)], target_groups)
        self.settle(name)
        return self.services[name]

    def settle(self, *names: str) -> None:
        """Complete the deployments of these services, of all when none is named."""
        for name in names or tuple(self.services):
            world = self.services[name]
            primary = world.primary
            for task in self.running(name):
                if task.started_by != primary.id:
                    self._stop(task, "ServiceSchedulerInitiated", f"Scaling activity initiated by ({primary.id})")
            while len(self.running(name)) < world.desired:
                self._start(primary.revision, primary.id, service=name)
            done = replace(primary, state="COMPLETED", running=world.desired, pending=0)
            world.deployments = [done]

    def crash(self, name: str, *, exit_code: int = 1, reason: str = "", started: bool = True) -> Task:
        """One task of the service's primary deployment dies (a running one, else one that had just been started)."""
        primary = self.services[name].primary
        task = next((t for t in self.running(name) if t.started_by == primary.id), None)
        task = task or self._start(primary.revision, primary.id, service=name)
        code = "EssentialContainerExited" if started else "TaskFailedToStart"
        said = "Essential container in task exited" if started else reason
        dead = self._stop(task, code, said, exit_code=exit_code if started else None, container_reason=reason)
        self._count(name)
        return dead

    def kill_lone(self, arn: str, *, exit_code: int = 1, reason: str = "") -> Task:
        """A lone task dies."""
        return self._stop(
            self.all_tasks[arn],
            "EssentialContainerExited",
            "Essential container in task exited",
            exit_code=exit_code,
            container_reason=reason,
        )

    def roll_back(
        self, name: str, revision: str, words: str = "circuit breaker triggered after 3 of 3 failures"
    ) -> None:
        """ECS' own breaker goes back to this revision."""
        world = self.services[name]
        self._move(world, revision, reason=f"ECS deployment circuit breaker: rolling back to {revision}.")
        world.breaker = words

    def running(self, name: str) -> list[Task]:
        """The service's tasks that are not stopped."""
        return [t for t in self.all_tasks.values() if t.service == name and t.status != "STOPPED"]

    # ---------------------------------------------------------------------------------------------- Services

    def describe(self, names: Sequence[str]) -> Mapping[str, ServiceView]:
        """See the port."""
        return self._call(
            "ecs.describe", lambda: {name: self._view(self.services[name]) for name in names if name in self.services}
        )

    def tasks(self, *, container: str, port: int) -> tuple[Task, ...]:
        """See the port."""
        return self._call("ecs.tasks", lambda: tuple(self.all_tasks.values()))

    def breaker(self, service: str) -> str:
        """See the port."""
        return self._call("ecs.breaker", lambda: self.services[service].breaker)

    def revision(self, arn: str) -> RevisionFacts:
        """See the port."""
        return self._call("ecs.revision", lambda: self._facts(arn))

    def newest_revision(self, family: str) -> str:
        """See the port."""
        return self._call("ecs.newest_revision", lambda: self._newest(family))

    # ---------------------------------------------------------------------------------------------- Deployer

    def register_once(self, definition: Mapping[str, Any], tags: Mapping[str, str], *, mark: str) -> str:
        """See the port."""
        return self._call("ecs.register_once", lambda: self._register(definition, {**tags, MARK_TAG: mark}))

    def point(self, service: str, revision: str) -> None:
        """See the port."""
        return self._call("ecs.point", lambda: self._point(service, revision))

    def run_alone(self, revision: str, *, like: str, started_by: str) -> str:
        """See the port."""
        return self._call("ecs.run_alone", lambda: self._run_alone(revision, like, started_by))

    def stop(self, task: str, why: str) -> None:
        """See the port."""
        return self._call("ecs.stop", lambda: self._stop_by_hand(task, why))

    def tag(self, arn: str, tags: Mapping[str, str]) -> None:
        """See the port."""
        return self._call("ecs.tag", lambda: self.revisions[arn].tags.update(tags))

    # ------------------------------------------------------------------------------------------------ inside

    def _next(self) -> int:
        self._numbers += 1
        return self._numbers

    def _deployment(self, revision: str, reason: str = "") -> Deployment:
        return Deployment(
            id=f"ecs-svc/{self._next():019d}", status="PRIMARY", revision=revision, state="IN_PROGRESS", reason=reason
        )

    def _move(self, world: World, revision: str, reason: str = "") -> None:
        waning = [replace(d, status="ACTIVE") for d in world.deployments]
        world.deployments = [replace(self._deployment(revision, reason), desired=world.desired), *waning]

    def _view(self, world: World) -> ServiceView:
        return ServiceView(
            name=world.name,
            arn=f"{ARN}:service/{CLUSTER}/{world.name}",
            status="ACTIVE",
            desired=world.desired,
            running=len([t for t in self.running(world.name) if t.status == "RUNNING"]),
            pending=len([t for t in self.running(world.name) if t.status == "PENDING"]),
            deployments=tuple(world.deployments),
            target_groups=world.target_groups,
            unplaced=world.unplaced,
        )

    def _facts(self, arn: str) -> RevisionFacts:
        if arn not in self.revisions:
            raise NotFoundError(f"no task definition {arn}")
        found = self.revisions[arn]
        return RevisionFacts(
            arn=arn,
            status=found.definition["status"],
            definition=deepcopy(found.definition),
            tags=dict(found.tags),
        )

    def _active(self, family: str) -> list[str]:
        mine = [a for a, r in self.revisions.items() if r.definition["family"] == family]
        active = [a for a in mine if self.revisions[a].definition["status"] == "ACTIVE"]
        return sorted(active, key=lambda arn: -int(arn.rsplit(":", 1)[1]))

    def _newest(self, family: str) -> str:
        for arn in self._active(family):
            if MARK_TAG not in self.revisions[arn].tags:
                return arn
        raise NotFoundError(f"family {family} has no active revision but those that rollouts registered")

    def _register(self, definition: Mapping[str, Any], tags: Mapping[str, str]) -> str:
        for arn in self._active(definition["family"]):
            if self.revisions[arn].tags.get(MARK_TAG) == tags[MARK_TAG]:
                return arn
        return self.add_revision(definition, tags)

    def _point(self, service: str, revision: str) -> None:
        if service not in self.services:
            raise NotFoundError(f"no service {service}")
        if revision not in self.revisions or self.revisions[revision].definition["status"] != "ACTIVE":
            raise MisconfiguredError(f"no active task definition {revision}")
        world = self.services[service]
        if world.primary.revision != revision:
            self._move(world, revision)

    def _run_alone(self, revision: str, like: str, started_by: str) -> str:
        known = next((t for t in self.all_tasks.values() if t.started_by == started_by), None)
        if known is not None:
            return known.arn
        if like not in self.services:
            raise NotFoundError(f"no service {like}")
        if self.no_room:
            raise CapacityError("could not run a lone task: RESOURCE:MEMORY")
        return self._start(
            revision, started_by, service=None, status="RUNNING" if self.lone_tasks_run else "PENDING"
        ).arn

    def _stop_by_hand(self, arn: str, why: str) -> None:
        task = self.all_tasks.get(arn)
        if task is not None and task.status != "STOPPED":
            self._stop(task, "UserInitiated", why)

    def _start(self, revision: str, started_by: str, *, service: str | None, status: str = "RUNNING") -> Task:
        number = self._next()
        task = Task(
            arn=f"{ARN}:task/{CLUSTER}/{number:032x}",
            service=service,
            revision=revision,
            started_by=started_by,
            status=status,
            desired="RUNNING",
            created_at=self.now,
            started_at=self.now if status == "RUNNING" else None,
            address=f"10.0.{number // 250}.{number % 250 + 1}:8080" if status == "RUNNING" else None,
        )
        self.all_tasks[task.arn] = task
        return task

    def _stop(
        self, task: Task, code: str, reason: str, *, exit_code: int | None = None, container_reason: str = ""
    ) -> Task:
        stopped = replace(
            task,
            status="STOPPED",
            desired="STOPPED",
            stopped_at=self.now,
            stop_code=code,
            stopped_reason=reason,
            exit_code=exit_code,
            container_reason=container_reason,
            address=None,
        )
        self.all_tasks[task.arn] = stopped
        return stopped

    def _count(self, name: str) -> None:
        world = self.services[name]
        live = self.running(name)
        world.deployments = [
            replace(d, running=len([t for t in live if t.started_by == d.id]), desired=world.desired)
            for d in world.deployments
        ]
