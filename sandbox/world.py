"""One sandbox: a clock, a cloud, a data plane, a desk of trackers, and our own handlers on top, started and stopped together.

Our code meets it as it meets AWS: through plain botocore and HTTP. What is put in from here is a clock, a botocore
session that carries the trace header and signs with the keys of the function that runs, and a polite prober that asks a
foreign program at most once a real second.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import botocore.session
from moto.logs.models import logs_backends
from moto.moto_api._internal.models import moto_api_backend

from chalicelib import wiring
from chalicelib.fleet.load import load
from chalicelib.fleet.model import Fleet, Kind
from chalicelib.health.model import Reading
from chalicelib.rollout.ports import Ask, Nodes
from chalicelib.settings import read_settings
from sandbox.clock import ScaledClock
from sandbox.cloud import VIEWER, Cloud
from sandbox.dataplane.api import EcsApi
from sandbox.dataplane.events import ACCOUNT
from sandbox.dataplane.plane import Plane
from sandbox.dataplane.process import Tail
from sandbox.gaps import close_gaps
from sandbox.ground import Ground
from sandbox.lambdas import Lambdas, running
from sandbox.permissions import Permissions
from sandbox.push import push
from sandbox.registry import Images
from sandbox.switches import Faults
from sandbox.trackers.desk import Desk, every_service
from tools.stages import API_HANDLER

NODE_COMMAND = (
    sys.executable, "-m", "sandbox.node", "--port", "{port}", "--data-dir", "{data_dir}", "--peers", "{peers}", "--name", "{name}",
)  # fmt: skip
EXPLORER_COMMAND = (sys.executable, "-m", "sandbox.explorer", "--port", "{port}")
FLEETS = Path(__file__).parent.parent / "chalicelib" / "fleet"
STEADY_TIMEOUT = 60.0  # real seconds for the fleet to come up


GIVE_UP_AFTER = 3  # deaths in a row of a service on the image that is to be stable


class SandboxError(Exception):
    """The sandbox could not be brought to where it should be; the message says what is missing."""


class World:
    """A running sandbox; use it as a context manager."""

    def __init__(
        self,
        *,
        environment: str = "staging",
        fleet_file: Path | None = None,
        time_scale: float = 20.0,
        stable: Mapping[str, tuple[str, Sequence[str]]] | None = None,
        adopted: bool = True,
        ground: Callable[[World], Ground] | None = None,
    ) -> None:
        """`stable` maps a repository to the tag and command that it runs at the start; the default is the stand-in.

        `ground` makes what builds the base infrastructure: plain boto3 unless it is given.
        """
        self.fleet_file = fleet_file or FLEETS / f"{environment}.yaml"
        self.fleet: Fleet = load(self.fleet_file)
        self.scale = time_scale
        self.clock = ScaledClock(time_scale)
        self.faults = Faults()
        self.root = Path(tempfile.mkdtemp(prefix="xai-sandbox-"))
        self._stable, self._adopted, self._make_ground = dict(stable or {}), adopted, ground
        self._environ: dict[str, str | None] = {}
        self._open = False  # events of setting up are nobody's business

    def __enter__(self) -> Self:
        """Bring everything up: the cloud, the fleet on its stable image, adopted."""
        try:
            self._build()
            self._settle()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop every process and thread, whatever happened, and leave nothing behind."""
        for part in ("lambdas", "plane", "cloud", "desk"):
            if hasattr(self, part):
                getattr(self, part).stop()
        if hasattr(self, "ground"):
            self.ground.leave()
        if hasattr(self, "_restore"):
            self._restore()
        wiring.install(None)
        for key, value in self._environ.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value
        shutil.rmtree(self.root, ignore_errors=True)

    # ------------------------------------------------------------------------------------------ building

    def _build(self) -> None:
        moto_api_backend.reset()
        region = self.fleet.region
        self.desk = Desk(self.clock, *every_service())
        for tracker in self.fleet.incidents.trackers.values():
            if tracker.type == "slack":
                self.desk.services["slack"].channel = tracker.channel  # type: ignore[attr-defined]
            if tracker.type == "jira":
                self.desk.services["jira"].project = tracker.project  # type: ignore[attr-defined]
        self.images = Images(self.clock, region, self._publish)
        block_seconds = next((g.limits.block_seconds for g in self.fleet.groups.values() if g.kind is Kind.NODE), 10)
        self.plane = Plane(
            clock=self.clock, images=self.images, root=self.root, region=region, publish=self._publish,
            write_log=self._write_log, faults=self.faults, block_seconds=block_seconds, target_group=self._target_group,
        )  # fmt: skip
        self.ecs = EcsApi(self.plane)
        self.permissions = Permissions(self.fleet, self.plane.definitions)
        self.cloud = Cloud(
            self.ecs,
            self.images,
            self.faults,
            self._invoke,
            self._allow_recursion,
            self._http_api,
            self.permissions.refusal,
        )
        self._restore = close_gaps(self.clock, region, self._publish, self.plane.target_states)
        self.cloud.start()
        self.desk.start()
        self.ground = self._make_ground(self) if self._make_ground else Ground(self.cloud.url, self.fleet)
        self._set_environment()
        self._log_lock = threading.Lock()
        import app  # noqa: PLC0415 - Chalice reads the stage's environment when app.py is imported

        self.lambdas = Lambdas(
            app, self.clock, self.faults, stage=self.fleet.environment, region=region, queue=self.ground.queue
        )
        session = botocore.session.get_session()
        self.lambdas.install_lineage(session)
        self.lambdas.install_roles(session)
        settings = replace(read_settings(os.environ), fleet_file=self.fleet_file)
        wiring.install(wiring.House(settings, clock=self.clock, session=session, nodes=PoliteNodes))
        self.ledger = wiring.House(settings, clock=self.clock, session=_viewer()).ledger
        self.ground.lay()

    def _set_environment(self) -> None:
        wanted = {
            "AWS_ENDPOINT_URL": self.cloud.url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": self.fleet.region,
            "AWS_REGION": self.fleet.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            "XAI_OPS_ENVIRONMENT": self.fleet.environment,
            "XAI_OPS_TABLE": self.ground.table,
            "XAI_OPS_TICK_QUEUE_URL": self.ground.queue_url,
            "XAI_OPS_BUCKET": self.ground.bucket,
            "XAI_OPS_PUBLIC_URL": self.cloud.url,
            "XAI_OPS_TRACKERS_URL": self.desk.url,
            "XAI_OPS_PROBE_TIMEOUT_SECONDS": "2",
            "XAI_OPS_LEASE_SECONDS": str(int(max(30 * self.scale, 90))),  # at least 30 real seconds
            "XAI_OPS_LOG_LEVEL": os.environ.get("XAI_OPS_LOG_LEVEL", "CRITICAL"),
            "POWERTOOLS_METRICS_NAMESPACE": "xai-ops",
        }
        for key, value in wanted.items():
            self._environ.setdefault(key, os.environ.get(key))
            os.environ[key] = value

    def _settle(self) -> None:
        """Push the stable images, deploy the services, wait until they are steady, adopt them."""
        stable = {}
        for name, group in self.fleet.groups.items():
            default = ("2.0.0", NODE_COMMAND if group.kind is Kind.NODE else EXPLORER_COMMAND)
            tag, command = self._stable.get(group.repository, default)
            digest = push(self.ground.client("ecr"), group.repository, tag, command)
            stable[name] = f"{ACCOUNT}.dkr.ecr.{self.fleet.region}.amazonaws.com/{group.repository}@{digest}"
        self.plane.start()
        self.ground.deploy(stable)
        self._wait_until_steady()
        self.lambdas.start()
        tick = f"xai-ops-{self.fleet.environment}-rollout_tick"
        self.ground.client("lambda").put_function_recursion_config(FunctionName=tick, RecursiveLoop="Allow")
        if self._adopted:
            for name in self.fleet.groups:
                self._adopt(name)
        self.cloud.forget_calls()
        self._open = True

    def _wait_until_steady(self) -> None:
        give_up = time.monotonic() + STEADY_TIMEOUT + self.clock.to_real(600)
        while True:
            late = [s.name for s in self.plane.services.values() if s.primary.state != "COMPLETED"]
            if not late:
                return
            broken = [s.name for s in self.plane.services.values() if s.primary.failed >= GIVE_UP_AFTER]
            if broken or time.monotonic() > give_up:
                dead = next((t for t in self.plane.tasks.values() if t.exit_code is not None), None)
                said = f"; exit code {dead.exit_code}, its last lines:\n" + "\n".join(dead.log.last(5)) if dead else ""
                raise SandboxError(f"the stable image does not come up on {', '.join(broken or late)}{said}")
            time.sleep(0.05)

    def _adopt(self, group: str) -> None:
        """Adopt what runs; a node may still be starting, so it gets a few tries."""
        told: list[str] = []
        for _ in range(60):
            answer = self.invoke("adopt", {"group": group})
            told = answer.get("told", [answer.get("error", "")])
            stable = answer.get("groups", {}).get(group, {}).get("stable", {})
            if set(stable) == set(self.fleet.groups[group].services):
                return
            time.sleep(0.5)
        raise SandboxError(f"group {group} could not be adopted: {'; '.join(told)}")

    # ------------------------------------------------------------------------------------------ joints

    def _publish(self, event: dict[str, Any]) -> None:
        if self._open:
            self.lambdas.publish(event)

    def _invoke(self, function: str, payload: Any, kind: str) -> tuple[Any, str | None]:
        return self.lambdas.invoke(function, payload, kind)

    def _allow_recursion(self, function: str, allowed: bool) -> None:
        self.lambdas.allow_recursion(function, allowed)

    def _http_api(self, method: str, path: str) -> tuple[int, dict[str, str], bytes]:
        """API Gateway in front of our handlers, as Chalice plays it on a developer's machine."""
        from chalice.config import Config  # noqa: PLC0415 - Chalice's deployer, at the first request alone
        from chalice.local import LocalGateway  # noqa: PLC0415

        import app  # noqa: PLC0415 - as above

        with running(API_HANDLER):
            answer = LocalGateway(app.app, Config()).handle_request(method, path, {}, b"")
        return answer["statusCode"], dict(answer["headers"]), answer["body"]

    def _target_group(self, arn: str) -> dict[str, Any]:
        group = next(
            (g for g in self.fleet.groups.values() if g.kind is Kind.HTTP and f"-{_name_of(self.fleet, g)}/" in arn),
            None,
        )
        return {"HealthCheckPath": group.liveness if group else "/"}

    def _write_log(self, group: str, stream: str, lines: list[str]) -> None:
        backend = logs_backends[ACCOUNT][self.fleet.region]
        with self._log_lock:
            if group not in backend.groups:
                backend.create_log_group(group, {})
            if stream not in backend.groups[group].streams:
                backend.create_log_stream(group, stream)
            at = int(time.time() * 1000)
            events = [{"timestamp": at + i, "message": line or " "} for i, line in enumerate(lines)]
            backend.groups[group].put_log_events(stream, events)
            kept = backend.groups[group].streams[stream].events
            del kept[: -2 * Tail.MOST]

    # ------------------------------------------------------------------------------------------ using

    def push(self, repository: str, tag: str | None, command: Sequence[str], **more: Any) -> str:
        """Push an image, as anyone would; returns its digest."""
        return push(self.ground.client("ecr"), repository, tag, command, **more)

    def invoke(self, name: str, payload: Any) -> dict[str, Any]:
        """Invoke a function by name; raises SandboxError when it fails."""
        result, error = self.lambdas.invoke(name, payload)
        if error is not None:
            raise SandboxError(f"{name} failed: {result['errorType']}: {result['errorMessage']}")
        answer: dict[str, Any] = result
        return answer

    def rollout_of(self, group: str, digest: str) -> Any:
        """The newest rollout of a digest, None while there is none."""
        rollouts = self.ledger.rollouts(group, limit=20)
        return next((r for r in rollouts if r.digest == digest), None)

    def now(self) -> datetime:
        """The sandbox's time."""
        return self.clock()


def _viewer() -> botocore.session.Session:
    """A session that only looks on."""
    session = botocore.session.get_session()

    def mark(request: Any, **_: Any) -> None:
        request.headers[VIEWER] = "1"

    session.get_component("event_emitter").register("before-sign", mark)
    return session


class PoliteNodes:
    """The prober, asking each address at most once a real second; in between, what it said last stands, with its time."""

    def __init__(self, nodes: Nodes) -> None:
        """Wrap the real prober."""
        self._nodes = nodes
        self._known: dict[tuple[str, str], tuple[float, Reading]] = {}
        self._lock = threading.Lock()

    def read(self, asks: Sequence[Ask], *, now: datetime) -> Mapping[str, Reading]:
        """Read what is due, and repeat the rest. A lone smoke task is only waited for, so it is always due."""
        at = time.monotonic()
        with self._lock:
            fresh = {key: reading for key, (then, reading) in self._known.items() if at - then < 1.0}
        due = [ask for ask in asks if _key(ask) not in fresh or ask.service.startswith("smoke of ")]
        found = dict(self._nodes.read(due, now=now)) if due else {}
        with self._lock:
            self._known.update({_key(ask): (at, found[ask.service]) for ask in due})
        return {**{ask.service: fresh[_key(ask)] for ask in asks if ask not in due}, **found}


def _key(ask: Ask) -> tuple[str, str]:
    return (ask.service, ask.address)


def _name_of(fleet: Fleet, group: Any) -> str:
    return next(name for name, known in fleet.groups.items() if known is group)
