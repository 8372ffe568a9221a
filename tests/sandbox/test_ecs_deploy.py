"""Unmodified `ecs deploy` (PyPI: ecs-deploy) against the sandbox's ECS: a stranger's client takes it for ECS."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from sandbox.clock import ScaledClock
from sandbox.cloud import Cloud
from sandbox.dataplane.api import EcsApi
from sandbox.dataplane.plane import Plane
from sandbox.registry import Images
from sandbox.switches import Faults
from tests.sandbox.stage import BREAKER, CLUSTER, FOREVER, REGION, FewImages, eventually

SCALE = 200.0
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": REGION}


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[str, Any]]:
    """The address of a cloud whose service `app` is steady on `app:v1`, and a client of it."""
    clock, faults = ScaledClock(SCALE), Faults()
    images = FewImages(v1=FOREVER, v2=FOREVER, crash=("sh", "-c", "exit 1"))
    plane = Plane(
        clock=clock, images=images, root=tmp_path, region=REGION, publish=lambda _event: None,
        write_log=lambda *_: None, faults=faults,
    )  # fmt: skip
    blobs = Images(clock, REGION, lambda _event: None)
    cloud = Cloud(EcsApi(plane), blobs, faults, lambda *_: (None, None), lambda *_: None)
    cloud.start()
    plane.start()
    ecs = botocore.session.Session().create_client(
        "ecs", region_name=REGION, endpoint_url=cloud.url, aws_access_key_id="testing", aws_secret_access_key="testing"
    )
    ecs.create_cluster(clusterName=CLUSTER)
    definition = {"name": "app", "image": "app:v1", "memory": 64, "essential": True}
    ecs.register_task_definition(family="app", containerDefinitions=[definition])
    ecs.create_service(
        cluster=CLUSTER, serviceName="app", taskDefinition="app:1", desiredCount=1, deploymentConfiguration=BREAKER
    )
    eventually(lambda: service(ecs)["deployments"][0]["rolloutState"] == "COMPLETED")
    yield cloud.url, ecs
    plane.stop()
    cloud.stop()


def service(ecs: Any) -> Any:
    """What DescribeServices says of it."""
    return ecs.describe_services(cluster=CLUSTER, services=["app"])["services"][0]


def ecs_deploy(url: str, tag: str, *more: str) -> subprocess.CompletedProcess[str]:
    """Run the program as its users do."""
    return subprocess.run(
        [str(Path(sys.executable).parent / "ecs"), "deploy", CLUSTER, "app", "-i", "app", f"app:{tag}", *more],
        env={**os.environ, **CREDENTIALS, "AWS_ENDPOINT_URL": url},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_good_image_is_deployed(running: tuple[str, Any]) -> None:
    """It registers a revision, moves the service there, waits until it is done, and deregisters the old one."""
    url, ecs = running
    done = ecs_deploy(url, "v2", "--timeout", "30")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Deployment successful" in done.stdout
    eventually(lambda: service(ecs)["deployments"][0]["rolloutState"] == "COMPLETED")
    assert service(ecs)["taskDefinition"].endswith("app:2")
    assert ecs.describe_task_definition(taskDefinition="app:1")["taskDefinition"]["status"] == "INACTIVE"


def test_crashing_image_fails(running: tuple[str, Any]) -> None:
    """It sees the deployment fail, says so and ends with 1; the service is back on the old revision."""
    url, ecs = running
    began = time.monotonic()
    ecs.update_service(
        cluster=CLUSTER, service="app",
        deploymentConfiguration={"deploymentCircuitBreaker": {"enable": True, "rollback": False}},
    )  # fmt: skip
    done = ecs_deploy(url, "crash", "--timeout", "30")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Deployment Failed! ECS deployment circuit breaker: tasks failed to start." in done.stdout + done.stderr
    assert time.monotonic() - began < 20
    assert service(ecs)["runningCount"] == 1


def test_crashing_image_is_taken_back_by_the_breaker(running: tuple[str, Any]) -> None:
    """With rollback the service ends on the revision before, whatever the client makes of it."""
    url, ecs = running
    ecs_deploy(url, "crash", "--timeout", "30", "--no-deregister")
    eventually(lambda: service(ecs)["taskDefinition"].endswith("app:1"))
    eventually(lambda: service(ecs)["deployments"][0]["rolloutState"] == "COMPLETED")
    assert service(ecs)["runningCount"] == 1


def test_client_that_loses_patience_fails(running: tuple[str, Any]) -> None:
    """A deployment that is not done in time is a failure for it."""
    url, _ecs = running
    done = ecs_deploy(url, "nowhere", "--timeout", "2")
    assert done.returncode == 1
    assert "Deployment failed due to timeout" in done.stdout + done.stderr
