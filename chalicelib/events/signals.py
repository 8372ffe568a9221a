"""Signals: parsed outside events. Each is a hint to look, never a fact to trust."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePushed:
    """An image was pushed; `tag` is None when the push had none (children of an index, attestations)."""

    repository: str
    digest: str
    tag: str | None
    pushed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceChanged:
    """Something happened to an ECS service's deployment or tasks."""

    cluster: str
    service: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmChanged:
    """A CloudWatch alarm changed its state. What it says of its metric is for people: composite alarms have none."""

    arn: str
    name: str
    state: str  # OK | ALARM | INSUFFICIENT_DATA
    at: datetime  # of the change, not of the event
    description: str = ""
    reason: str = ""
    namespace: str | None = None
    metric: str | None = None
    dimensions: tuple[tuple[str, str], ...] = ()
    stat: str = "Average"
    period: int = 60  # seconds
    threshold: float | None = None
    values: tuple[float, ...] = ()  # the newest datapoints that decided, newest last
