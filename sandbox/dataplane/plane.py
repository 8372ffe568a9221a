"""The data plane: moves tasks and deployments on, one `step` at a time, as AWS documents ECS.

Deterministic given the clock, the processes and the faults: one thread calls `step`; tests may call it themselves.
"""

from __future__ import annotations

import logging
import math
import random
import re
import shlex
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from sandbox.clock import ScaledClock
from sandbox.dataplane import timelines as t
from sandbox.dataplane.events import deployment_event, service_action, task_event
from sandbox.dataplane.model import Definition, Deployment, Service, Task
from sandbox.dataplane.process import ContainerProcess, clean_environment, kill_all_under

LOG = logging.getLogger(__name__)
STEP_SECONDS = 0.02  # real
PORTS = (12_000, 32_000)  # below the range from which Linux takes ports for outgoing connections
SETTLED = 2  # failed target probes in a row until a target is unhealthy


class Image(Protocol):
    """What the registry says of an image."""

    @property
    def digest(self) -> str:
        """Its digest."""
        ...

    @property
    def command(self) -> tuple[str, ...]:
        """What its container runs."""
        ...


class Registry(Protocol):
    """Where images are pulled from."""

    def command_of(self, reference: str) -> Image | None:
        """The image, or None when it cannot be pulled."""
        ...


class Switches(Protocol):
    """The faults that the data plane knows."""

    no_capacity: bool
    blackhole_probes: bool


class Plane:
    """All clusters of the sandbox."""

    def __init__(
        self,
        *,
        clock: ScaledClock,
        images: Registry,
        root: Path,
        region: str,
        publish: Callable[[dict[str, Any]], None],
        write_log: Callable[[str, str, list[str]], None],
        faults: Switches,
        block_seconds: int = 10,
        target_group: Callable[[str], dict[str, Any]] = lambda _arn: {},
        secret_exists: Callable[[str], bool] = lambda _arn: True,
    ) -> None:
        """Nothing runs until `start`."""
        self.clock, self.images, self.root, self.region, self.faults = clock, images, root, region, faults
        self.publish, self.write_log, self.target_group, self.secret_exists = (
            publish,
            write_log,
            target_group,
            secret_exists,
        )
        self.block_seconds = block_seconds
        self.lock = threading.RLock()
        self.clusters: dict[str, str] = {}
        self.cluster_tags: dict[str, dict[str, str]] = {}
        self.definitions: dict[str, list[Definition]] = {}
        self.services: dict[tuple[str, str], Service] = {}
        self.tasks: dict[str, Task] = {}
        self.tokens: dict[str, list[str]] = {}  # clientToken -> task ARNs
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._probes = ThreadPoolExecutor(max_workers=8, thread_name_prefix="probe")
        self._tarpit = _tarpit()
        self._log_flushed = 0.0

    # ------------------------------------------------------------------------------------------ life

    def start(self) -> None:
        """Step until stopped."""
        self._thread = threading.Thread(target=self._loop, daemon=True, name="data-plane")
        self._thread.start()

    def stop(self) -> None:
        """Stop stepping and kill every process."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)
        self._probes.shutdown(wait=False, cancel_futures=True)
        for task in self.tasks.values():
            if task.process is not None:
                task.process.kill()
        kill_all_under(self.root)
        self._tarpit.close()

    def _loop(self) -> None:
        while not self._stop.is_set():
            try:
                self.step(self.clock())
            except Exception:  # the outermost loop: one bad task must not freeze every other
                LOG.exception("the data plane could not take a step")
                time.sleep(1)
            time.sleep(STEP_SECONDS)

    def step(self, now: datetime) -> None:
        """Move everything on to `now`."""
        with self.lock:
            for task in list(self.tasks.values()):
                self._step_task(task, now)
            for service in self.services.values():
                if service.status == "ACTIVE":
                    self._step_service(service, now)
            self._forget(now)
            flush = time.monotonic() - self._log_flushed > 0.3
            if flush:
                self._log_flushed = time.monotonic()
        if flush:
            for task in list(self.tasks.values()):
                self._flush_log(task)

    # ------------------------------------------------------------------------------------------ tasks

    def new_task(
        self,
        definition: Definition,
        *,
        cluster: str,
        started_by: str,
        group: str,
        service: Service | None,
        deployment: Deployment | None,
        now: datetime,
        overrides: dict[str, Any] | None = None,
    ) -> Task:
        """Create a task; its container starts when ECS would start it."""
        key = uuid.uuid4().hex
        cluster_arn = self.clusters[cluster]
        arn = cluster_arn.replace(":cluster/", ":task/") + f"/{key}"
        container = {**definition.main, **(overrides or {})}
        wanted = [m["containerPort"] for m in container.get("portMappings") or [] if "containerPort" in m]
        ports = {port: free_port() for port in wanted}
        if service is not None:
            if service.configuration.get("maximumPercent", 200) <= 100:
                ports |= service.ports  # stop before start: a node keeps its address, so that its peers find it again
            service.ports = ports
        data_dir, scratch = self._data_dir(definition, key, _host(service))
        task = Task(
            arn=arn, definition=definition, created=now, started_by=started_by, group=group, service=service,
            deployment=deployment, cluster_arn=cluster_arn, container=container, ports=ports, data_dir=data_dir,
            scratch=scratch, image=container["image"],
        )  # fmt: skip
        self.tasks[arn] = task
        return task

    def stop_task(self, task: Task, now: datetime, *, code: str, reason: str) -> None:
        """Ask a task to end; its process gets stopTimeout to do so."""
        if task.desired == "STOPPED":
            return
        task.desired, task.stopping, task.stop_code, task.reason = "STOPPED", now, code, reason
        if task.process is None:
            self._ended(task, now)
        else:
            self._moves(task, "STOPPING", now)
            task.process.terminate()

    def _moves(self, task: Task, status: str, now: datetime) -> None:
        """A task's status changes: ECS counts its version up and says so."""
        task.status = status
        task.version += 1
        self.publish(task_event(self, task, now))

    def _data_dir(self, definition: Definition, key: str, host: str) -> tuple[Path, bool]:
        mounted = [m.get("sourceVolume") for m in definition.main.get("mountPoints") or []]
        for volume in definition.raw.get("volumes") or []:
            source = (volume.get("host") or {}).get("sourcePath")
            if source and volume.get("name") in mounted:
                path = self.root.joinpath(*_inside(host), *_inside(source))
                path.mkdir(parents=True, exist_ok=True)
                return path, False
        path = self.root / "scratch" / key
        path.mkdir(parents=True, exist_ok=True)
        return path, True

    def _step_task(self, task: Task, now: datetime) -> None:
        if task.status == "STOPPED":
            return
        if task.process is None:
            self._step_pending(task, now)
            return
        code = task.process.exit_code()
        if code is not None:
            task.exit_code = code
            if task.desired == "RUNNING":
                task.stop_code, task.reason = "EssentialContainerExited", "Essential container in task exited"
                task.cause = "exit"
            self._ended(task, now)
        elif task.stopping is not None:
            timeout = task.container.get("stopTimeout") or 30
            if (now - task.stopping).total_seconds() > timeout:
                task.process.kill()
        elif task.status != "RUNNING" and (now - (task.started or now)).total_seconds() >= t.RUNNING_SECONDS:
            self._moves(task, "RUNNING", now)
        else:
            self._check_health(task, now)

    def _step_pending(self, task: Task, now: datetime) -> None:
        age = (now - task.created).total_seconds()
        if age < t.START_SECONDS:
            if task.status == "PROVISIONING" and age > 3:
                self._moves(task, "PENDING", now)
            return
        image = self.images.command_of(task.image)
        if image is None:
            if age >= t.START_SECONDS + t.PULL_FAILS_SECONDS:
                why = f"CannotPullContainerError: failed to resolve ref {task.image}: not found"
                self._failed_to_start(task, why, "pull", now)
            return
        for secret in task.container.get("secrets") or []:
            if not self.secret_exists(secret["valueFrom"]):
                why = f"ResourceInitializationError: unable to pull secrets or registry auth: {secret['valueFrom']} not found"
                self._failed_to_start(task, why, "exit", now)
                return
        task.digest = image.digest
        if task.deployment is not None:
            task.deployment.digest = task.deployment.digest or image.digest
        self._start(task, image, now)

    def _start(self, task: Task, image: Image, now: datetime) -> None:
        container = task.container
        values = self._placeholders(task, container)
        command = [_fill(word, values) for word in _command(task, image)]
        argv = [*(container.get("entryPoint") or []), *command]
        if not argv:
            self._failed_to_start(task, "CannotStartContainerError: no command specified", "exit", now)
            return
        extra = {
            "XAI_API_PORT": values["{port}"],
            "XAI_DATA_DIR": str(task.data_dir),
            "SANDBOX_TIME_SCALE": f"{self.clock.scale:g}",
            "SANDBOX_BLOCK_SECONDS": str(self.block_seconds),
        }
        try:
            task.process = ContainerProcess(
                argv,
                cwd=task.data_dir,
                env=clean_environment(_environment(container), extra),
                log=task.log.append,
            )
        except (OSError, ValueError) as error:  # ValueError: a zero byte in a word
            text = (getattr(error, "strerror", None) or str(error)).lower()
            why = f"CannotStartContainerError: failed to create task: exec {shlex.quote(argv[0])}: {text}"
            self._failed_to_start(task, why, "exit", now)
            return
        task.started = now
        self._moves(task, "ACTIVATING", now)

    def _placeholders(self, task: Task, container: dict[str, Any]) -> dict[str, str]:
        ports = list(task.ports.values())
        peers = []
        for other in self.services.values() if task.service else ():
            same = other.primary.definition.main
            if other is task.service or same["name"] != container["name"]:
                continue
            if _repository(same["image"]) == _repository(container["image"]) and other.ports:
                peers.append(f"http://127.0.0.1:{next(iter(other.ports.values()))}")
        return {
            "{port}": str(ports[0] if ports else free_port()),
            "{p2p_port}": str(ports[1] if len(ports) > 1 else free_port()),
            "{data_dir}": str(task.data_dir),
            "{peers}": " ".join(peers),
            "{name}": task.service.name if task.service else f"smoke-{task.arn[-8:]}",
        }

    def _failed_to_start(self, task: Task, why: str, cause: str, now: datetime) -> None:
        task.desired, task.stop_code, task.reason, task.cause = "STOPPED", "TaskFailedToStart", why, cause
        task.container_reason = why if why.startswith("Cannot") else ""
        self._ended(task, now)

    def _ended(self, task: Task, now: datetime) -> None:
        self._flush_log(task)  # before anything is said: whoever hears of the end reads the log's tail
        by_itself = task.stop_code in ("EssentialContainerExited", "TaskFailedToStart") or task.cause == "health"
        task.status, task.desired, task.stopped = "STOPPED", "STOPPED", now
        task.version += 1
        if task.process is not None:
            task.process.kill()  # what the first process left behind dies with the container
        if task.scratch:
            shutil.rmtree(task.data_dir, ignore_errors=True)
        deployment = task.deployment
        if deployment is not None and by_itself:
            deployment.failed += 1
            deployment.attempts += 1
            deployment.launch_at = now + timedelta(seconds=t.relaunch_after(task.cause, deployment.attempts))
            self._count_failure(task.service, deployment, task.cause, now)
        elif deployment is not None:
            deployment.launch_at = now + timedelta(seconds=t.relaunch_after("stopped", 1))
        self.publish(task_event(self, task, now))

    def _forget(self, now: datetime) -> None:
        old = [
            arn
            for arn, task in self.tasks.items()
            if task.stopped and (now - task.stopped).total_seconds() > t.STOPPED_TASKS_KEPT_SECONDS
        ]
        for arn in old:
            del self.tasks[arn]
        if old:
            self.tokens = {token: arns for token, arns in self.tokens.items() if arns[0] in self.tasks}

    def _flush_log(self, task: Task) -> None:
        fresh, total = task.log.after(task.logged), task.log.total
        if not fresh:
            return
        container = task.container
        options = (container.get("logConfiguration") or {}).get("options") or {}
        if "awslogs-group" in options:
            stream = f"{options.get('awslogs-stream-prefix', 'ecs')}/{container['name']}/{task.arn.rsplit('/', 1)[-1]}"
            self.write_log(options["awslogs-group"], stream, fresh)
        task.logged = total

    # ------------------------------------------------------------------------------------------ health

    def _check_health(self, task: Task, now: datetime) -> None:
        """Container health check and load balancer's probe; the first failing one ends the task, as in ECS."""
        check = task.container.get("healthCheck")
        groups = task.service.raw.get("loadBalancers", []) if task.service else []
        if task.probing or (check is None and not groups) or task.started is None:
            return
        interval = (check or {}).get("interval", 30)
        # A foreign program's paths are asked at most once a real second.
        if task.probe_at and (now - task.probe_at).total_seconds() < max(interval, self.clock.scale):
            return
        task.probe_at, task.probing = now, True
        self._probes.submit(self._probe, task, check, {g["targetGroupArn"]: _target_port(task, g) for g in groups})

    def _probe(self, task: Task, check: dict[str, Any] | None, targets: dict[str, int]) -> None:
        ok = True
        if check is not None:
            ok = self._run_check(task, check)
        for arn, port in targets.items():
            ok = ok and _answers(f"http://127.0.0.1:{port}{self.target_group(arn).get('HealthCheckPath', '/')}")
        with self.lock:
            task.probing = False
            if task.desired != "RUNNING" or task.started is None:
                return
            now = self.clock()
            if ok:
                task.health, task.probe_failures = "HEALTHY", 0
                return
            age = (now - task.started).total_seconds()
            if check is not None and task.health != "HEALTHY" and age < check.get("startPeriod", 0):
                return  # failures while it starts do not count
            task.probe_failures += 1
            limit = check.get("retries", 3) if check is not None else SETTLED if task.health == "HEALTHY" else 10**9
            grace = task.service.raw.get("healthCheckGracePeriodSeconds", 120) if task.service else 0
            if task.probe_failures >= limit or (check is None and age > grace + 90 and task.probe_failures >= SETTLED):
                task.health = "UNHEALTHY"
                task.cause = "health"
                why = (
                    "failed container health checks"
                    if check
                    else f"failed ELB health checks in (target-group {next(iter(targets))})"
                )
                name = task.service.name if task.service else "none"
                text = f"Task {why}" if check else f"(service {name}) (task {task.arn}) {why}"
                self.stop_task(task, now, code="ServiceSchedulerInitiated", reason=text)

    def _run_check(self, task: Task, check: dict[str, Any]) -> bool:
        kind, *words = check["command"]
        argv = ["/bin/sh", "-c", words[0]] if kind == "CMD-SHELL" else words
        environment = _environment(task.container)
        extra = {"XAI_API_PORT": str(next(iter(task.ports.values()), 0)), "XAI_DATA_DIR": str(task.data_dir)}
        try:
            done = subprocess.run(
                argv, env=clean_environment(environment, extra), timeout=2.0, capture_output=True, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        return done.returncode == 0

    def target_states(self, target_group_arn: str) -> list[dict[str, Any]]:
        """What DescribeTargetHealth answers for a target group."""
        with self.lock:
            found = []
            for task in self.tasks.values():
                groups = task.service.raw.get("loadBalancers", []) if task.service else []
                mine = next((g for g in groups if g["targetGroupArn"] == target_group_arn), None)
                if mine is None or task.status == "STOPPED" or task.started is None:
                    continue
                state = (
                    "draining"
                    if task.desired == "STOPPED"
                    else {"HEALTHY": "healthy", "UNHEALTHY": "unhealthy"}.get(task.health, "initial")
                )
                if state == "healthy" and task.probe_failures:
                    state = "unhealthy" if task.probe_failures >= SETTLED else "healthy"
                target = {"Id": "127.0.0.1", "Port": _target_port(task, mine)}
                found.append(
                    {"Target": target, "HealthCheckPort": str(target["Port"]), "TargetHealth": {"State": state}}
                )
            return found

    # ------------------------------------------------------------------------------------------ services

    def new_deployment(
        self, service: Service, definition: Definition, now: datetime, *, reason: str = ""
    ) -> Deployment:
        """Begin a deployment; the one before it goes on as ACTIVE until it is drained."""
        key = f"ecs-svc/{uuid.uuid4().int % 10**19:019d}"
        for deployment in service.deployments:
            deployment.status = "ACTIVE"
            deployment.finished = deployment.finished or now  # superseded, if it was still on its way
        text = reason or f"ECS deployment {key} in progress."
        deployment = Deployment(id=key, definition=definition, created=now, updated=now, reason=text)
        service.deployments.append(deployment)
        service.history.append(deployment)
        service.steady_said = False
        self.publish(deployment_event(self, service, deployment, "SERVICE_DEPLOYMENT_IN_PROGRESS", text, now))
        return deployment

    def tasks_of(self, deployment: Deployment) -> list[Task]:
        """A deployment's tasks that have not ended."""
        return [task for task in self.tasks.values() if task.deployment is deployment and task.status != "STOPPED"]

    def _step_service(self, service: Service, now: datetime) -> None:
        primary = service.primary
        self._trip_breaker(service, primary, now)
        primary = service.primary
        live = [task for d in service.deployments for task in self.tasks_of(d) if task.live]
        mine = [task for task in live if task.deployment is primary]
        others = [task for task in live if task.deployment is not primary]
        highest = math.floor(service.desired * service.configuration.get("maximumPercent", 200) / 100)
        lowest = math.ceil(service.desired * service.configuration.get("minimumHealthyPercent", 100) / 100)
        for task in mine[service.desired :]:
            why = f"Scaling activity initiated by (deployment {primary.id})"
            self.stop_task(task, now, code="ServiceSchedulerInitiated", reason=why)
        missing = service.desired - len(mine)
        room = highest - len(live)
        healthy = sum(1 for task in live if self._serves(task))
        # Old tasks go when the new ones serve, or at once where the room is needed and the minimum allows it.
        surplus = healthy - lowest if missing <= 0 or room < missing else 0
        may_stop = [task for task in others if not self._serves(task)] + [task for task in others if self._serves(task)]
        ready = sum(1 for task in mine if self._serves(task))
        for task in may_stop:
            if self._serves(task) and surplus <= 0:
                break
            if missing <= 0 and ready < service.desired and self._serves(task) and lowest > 0 and healthy - 1 < lowest:
                break
            surplus -= 1 if self._serves(task) else 0
            why = f"Scaling activity initiated by (deployment {primary.id})"
            self.stop_task(task, now, code="ServiceSchedulerInitiated", reason=why)
            room += 1
        due = primary.launch_at is None or primary.launch_at <= now
        if missing > 0 and room > 0 and due and not primary.tripped:  # a tripped breaker starts no more tasks
            self._launch(service, primary, min(missing, room), now)
        self._complete(service, primary, now)

    def _serves(self, task: Task) -> bool:
        if task.status != "RUNNING" or not task.live:
            return False
        probed = task.service is not None and (
            task.service.raw.get("loadBalancers") or task.container.get("healthCheck")
        )
        return task.health == "HEALTHY" if probed else True

    def _launch(self, service: Service, primary: Deployment, count: int, now: datetime) -> None:
        if self.faults.no_capacity:
            primary.launch_at = now + timedelta(seconds=t.PLACEMENT_RETRY_SECONDS)
            text = (
                f"(service {service.name}) was unable to place a task because no container instance met all of its "
                "requirements. Reason: No Container Instances were found in your capacity provider."
            )
            self.say(service, text, now)
            self.publish(
                service_action(self, service, "ERROR", "SERVICE_TASK_PLACEMENT_FAILURE", "RESOURCE:MEMORY", now)
            )
            return
        primary.launch_at = None
        begun = [
            self.new_task(
                primary.definition, cluster=service.cluster, started_by=primary.id, group=f"service:{service.name}",
                service=service, deployment=primary, now=now,
            )
            for _ in range(count)
        ]  # fmt: skip
        names = " ".join(f"(task {task.arn.rsplit('/', 1)[-1]})" for task in begun)
        self.say(service, f"(service {service.name}) has started {count} tasks: {names}.", now)

    def _complete(self, service: Service, primary: Deployment, now: datetime) -> None:
        mine = self.tasks_of(primary)
        serving = sum(1 for task in mine if self._serves(task))
        if serving > primary.serving:
            primary.failed = 0  # ECS counts consecutive failures: each task that comes up resets them
        primary.serving = serving
        if serving < service.desired:
            primary.running_since = None
            return
        if primary.running_since is None:
            primary.running_since = now
        left = [task for d in service.deployments if d is not primary for task in self.tasks_of(d)]
        wait = t.COMPLETE_ROLLBACK_SECONDS if primary.by_breaker else t.COMPLETE_SECONDS
        if service.desired == 0:
            wait = 0
        if left or (now - primary.running_since).total_seconds() < wait:
            return
        if primary.state == "IN_PROGRESS":
            primary.state, primary.updated, primary.finished = "COMPLETED", now, now
            self.say(service, f"(service {service.name}) (deployment {primary.id}) deployment completed.", now)
            primary.reason = f"ECS deployment {primary.id} completed."
            self.publish(deployment_event(self, service, primary, "SERVICE_DEPLOYMENT_COMPLETED", primary.reason, now))
        for deployment in service.deployments:
            if deployment is not primary:
                deployment.status = "INACTIVE"
        service.deployments = [primary]
        if not service.steady_said:
            service.steady_said = True
            self.say(service, f"(service {service.name}) has reached a steady state.", now)
            self.publish(service_action(self, service, "INFO", "SERVICE_STEADY_STATE", "", now))

    def _count_failure(self, service: Service | None, deployment: Deployment, cause: str, now: datetime) -> None:
        if service is None:
            return
        service.steady_said = False
        breaker = service.configuration.get("deploymentCircuitBreaker", {})
        stops = deployment.state != "IN_PROGRESS" or deployment.breaker_at is not None or deployment.running_since
        if breaker.get("enable") and deployment.failed >= service.threshold and not stops:
            deployment.breaker_at = now + timedelta(seconds=t.BREAKER_SECONDS[cause])

    def _trip_breaker(self, service: Service, primary: Deployment, now: datetime) -> None:
        if primary.breaker_at is None or now < primary.breaker_at or primary.tripped:
            return
        primary.tripped, primary.state, primary.updated, primary.finished = True, "FAILED", now, now
        primary.reason = "ECS deployment circuit breaker: tasks failed to start."
        text = f"(service {service.name}) (deployment {primary.id}) deployment failed: tasks failed to start."
        self.say(service, text, now)
        self.publish(deployment_event(self, service, primary, "SERVICE_DEPLOYMENT_FAILED", primary.reason, now))
        back = service.last_completed
        wanted = service.configuration.get("deploymentCircuitBreaker", {}).get("rollback")
        if not wanted or back is None or primary.is_rollback:
            return  # nothing COMPLETED to return to, or that way has just failed: ECS stalls
        self.say(service, f"(service {service.name}) rolling back to (deployment {back.id}).", now)
        reason = f"ECS deployment circuit breaker: rolling back to deploymentId {back.id}."
        deployment = self.new_deployment(service, back.definition, now, reason=reason)
        deployment.by_breaker = deployment.is_rollback = True

    def say(self, service: Service, text: str, now: datetime) -> None:
        """Put a line at the head of the service's events; ECS keeps the newest hundred."""
        service.events.insert(0, {"id": str(uuid.uuid4()), "createdAt": now.timestamp(), "message": text})
        del service.events[100:]

    def shown_port(self, host_port: int) -> int:
        """The host port that DescribeTasks shows: a tar pit's when our side shall not reach anybody."""
        return self._tarpit.getsockname()[1] if self.faults.blackhole_probes else host_port


def free_port() -> int:
    """A port of this machine that nobody uses now."""
    for _ in range(1000):
        port = random.randrange(*PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    msg = "no free port between {} and {}".format(*PORTS)
    raise OSError(msg)


def _tarpit() -> socket.socket:
    """A socket that accepts by the kernel's backlog and never answers."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(1000)
    return listener


def _host(service: Service | None) -> str:
    """The instance that a service is pinned to by an attribute; "" for whatever is pinned nowhere, which shares one."""
    for constraint in service.raw.get("placementConstraints") or () if service is not None else ():
        pinned = re.fullmatch(r"attribute:[\w.-]+ *== *([\w.-]+)", constraint.get("expression", ""))
        if pinned is not None:
            return str(pinned[1])
    return ""


def _command(task: Task, image: Image) -> Sequence[str]:
    """What is run. An image of the sandbox is its program: what a definition's command names lies in a real image alone."""
    asked, defined = task.container.get("command"), task.definition.main.get("command")
    overridden = asked if asked != defined else None  # by RunTask
    return overridden or image.command or asked or ()


def _inside(source: str) -> list[str]:
    """A host path's parts below the sandbox's root: absolute or climbing, it never names this machine's own folders."""
    return [part for part in PurePosixPath(source).parts if part not in ("/", "//", "..")]


def _environment(container: dict[str, Any]) -> dict[str, str]:
    return {pair["name"]: pair.get("value") or "" for pair in container.get("environment") or []}


def _target_port(task: Task, balancer: dict[str, Any]) -> int:
    """The host port behind the container port that a load balancer names."""
    return task.ports.get(balancer.get("containerPort", 0)) or next(iter(task.ports.values()), 0)


def _fill(word: str, values: dict[str, str]) -> str:
    for placeholder, value in values.items():
        word = word.replace(placeholder, value)
    return word


def _repository(image: str) -> str:
    return image.split("@", maxsplit=1)[0].rsplit(":", 1)[0] if "@" not in image else image.split("@", maxsplit=1)[0]


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2.0) as answer:
            return bool(200 <= answer.status < 400)
    except (OSError, urllib.error.URLError, ValueError):
        return False
