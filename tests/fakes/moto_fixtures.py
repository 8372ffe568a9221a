"""pytest fixtures around moto; tests/aws and tests/contracts take them in their conftest."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from chalicelib.aws.session import Aws
from sandbox.gaps import atomic_writes, metric_images
from tests.fakes.cloud import ENVIRONMENT, REGION, fresh_session, moto_server


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    """The address of a moto server that lives as long as the test run."""
    undo = (atomic_writes(), metric_images())
    with moto_server() as address:
        yield address
    for step in undo:
        step()


@pytest.fixture
def aws(moto: str, monkeypatch: pytest.MonkeyPatch) -> Aws:
    """AWS as moto plays it, empty."""
    for name, value in {**ENVIRONMENT, "AWS_ENDPOINT_URL": moto}.items():
        monkeypatch.setenv(name, value)
    requests.post(f"{moto}/moto-api/reset", timeout=10).raise_for_status()
    return Aws(REGION, fresh_session())
