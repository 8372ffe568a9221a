"""The sandbox's cloud without its Lambdas: moto with our ECS and ECR in front, for what moto alone cannot run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from chalicelib.aws.session import Aws
from sandbox.clock import ScaledClock
from sandbox.cloud import Cloud
from sandbox.dataplane.api import EcsApi
from sandbox.dataplane.plane import Plane
from sandbox.registry import Images
from sandbox.switches import Faults
from tests.fakes.cloud import ENVIRONMENT, REGION, fresh_session

CLUSTER = "xai-test"


@dataclass
class LocalCloud:
    """What a test may reach into."""

    aws: Aws
    plane: Plane
    images: Images
    faults: Faults


@pytest.fixture
def local_cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalCloud]:
    """A cloud whose data plane stands still: tasks are created and never started."""
    clock, faults = ScaledClock(), Faults()
    images = Images(clock, REGION, lambda _event: None)
    plane = Plane(
        clock=clock,
        images=images,  # type: ignore[arg-type]
        root=tmp_path,
        region=REGION,
        publish=lambda _event: None,
        write_log=lambda _group, _stream, _lines: None,
        faults=faults,
    )
    cloud = Cloud(
        EcsApi(plane), images, faults, lambda _name, _payload, _kind: (None, None), lambda _name, _allow: None
    )
    cloud.start()
    for name, value in {**ENVIRONMENT, "AWS_ENDPOINT_URL": cloud.url}.items():
        monkeypatch.setenv(name, value)
    requests.post(f"{cloud.url}/moto-api/reset", timeout=10).raise_for_status()
    aws = Aws(REGION, fresh_session())
    aws.client("ecs").create_cluster(clusterName=CLUSTER)
    yield LocalCloud(aws, plane, images, faults)
    cloud.stop()
    plane.stop()
