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
    """A CloudWatch alarm changed its state."""

    name: str
    state: str
    at: datetime
