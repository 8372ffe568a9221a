"""Traces, when there is a daemon to take them. The only module that may import aws_xray_sdk.

AWS put the X-Ray SDK into maintenance (2026-02-25), so nothing else may depend on it. Without a daemon nothing is
imported and nothing is paid: the import alone takes longer than an idle tick.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache


def tracing_is_on() -> bool:
    """Whether Lambda runs with a daemon: it sets the daemon's address, and the root trace of a sampled request."""
    header = os.environ.get("_X_AMZN_TRACE_ID", "")
    return bool(os.environ.get("AWS_XRAY_DAEMON_ADDRESS")) and "Sampled=1" in header


@cache
def _patch_botocore() -> None:
    from aws_xray_sdk.core import patch  # noqa: PLC0415

    patch(("botocore",))


@contextmanager
def traced(name: str) -> Iterator[None]:
    """Trace a block as a subsegment, and the AWS calls in it."""
    if not tracing_is_on():
        yield
        return
    from aws_xray_sdk.core import xray_recorder  # noqa: PLC0415

    _patch_botocore()
    with xray_recorder.in_subsegment(name):
        yield
