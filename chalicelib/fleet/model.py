"""The fleet file's shape: what is operated, and within which limits. One fact, one place.

Terraform reads the same YAML to build services, alarms and schedules, Ansible to configure hosts; the Lambdas
read it through this model. Knows no AWS and no rule of any domain: numbers and names only.
"""

from __future__ import annotations

import math
import re
from datetime import datetime, time
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

# Our own tags protect digests from ECR's lifecycle rules; pushing one must never start a rollout.
KEEP_PREFIX = "keep-"

Name = Annotated[str, Field(pattern=r"^[a-zA-Z][a-zA-Z0-9_-]{0,254}$")]
Seconds = Annotated[int, Field(gt=0)]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Section(BaseModel):
    """A part of the fleet file: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class Kind(StrEnum):
    """How a group is judged: `node` as a chain, `http` by its tasks, targets and liveness alone."""

    NODE = "node"
    HTTP = "http"


class Role(StrEnum):
    """What a node does for finality: validators vote, sentries and backup nodes do not."""

    VALIDATOR = "validator"
    SENTRY = "sentry"
    BACKUP = "backup"
    WEB = "web"


class Severity(StrEnum):
    """ECR's finding severities, worst last. Source: ECR API, FindingSeverity."""

    INFORMATIONAL = "INFORMATIONAL"
    LOW = "LOW"
    MEDIUM = "MEDIUM"
    HIGH = "HIGH"
    CRITICAL = "CRITICAL"


class Service(Section):
    """One ECS service of a group."""

    wave: Annotated[int, Field(ge=1)]
    role: Role = Role.WEB
    alarms: tuple[str, ...] = ()


class Freeze(Section):
    """A time in which no rollout starts by itself; it waits instead."""

    days: tuple[Day, ...] = DAYS
    start: time
    end: time
    timezone: str = "UTC"
    why: str

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError) as error:
            raise ValueError("must be an IANA time zone, such as Europe/Berlin") from error
        return value

    def covers(self, now: datetime) -> bool:
        """Whether `now` lies in this window; a window whose end is not after its start runs past midnight."""
        local = now.astimezone(ZoneInfo(self.timezone))
        clock, today = local.time(), DAYS[local.weekday()]
        if self.start < self.end:
            return today in self.days and self.start <= clock < self.end
        yesterday = DAYS[(local.weekday() - 1) % 7]
        return (today in self.days and clock >= self.start) or (yesterday in self.days and clock < self.end)


class Smoke(Section):
    """How an image is tried alone, on scratch storage, before any service is touched."""

    start_period_seconds: Seconds
    drop_environment: tuple[str, ...] = ()  # peers and identity: a smoke task must not join the network
    drop_secrets: tuple[str, ...] = ()
    environment: dict[str, str] = {}


class Limits(Section):
    """The numbers that a rollout of this group is held to. Units: seconds, blocks."""

    block_seconds: Seconds = 120  # what the chain aims at; xai core, mainnet and testnet
    start_period_seconds: Seconds
    bake_seconds: Seconds
    bake_blocks: Annotated[int, Field(ge=0)] = 0
    stall_seconds: Seconds
    sync_allowance_seconds: Seconds
    deadline_seconds: Seconds  # per wave, and again for the way back
    max_lag_blocks: Annotated[int, Field(ge=0)] = 10
    reorg_depth: Annotated[int, Field(ge=0)] = 6
    max_finality_lag_blocks: Annotated[int, Field(ge=0)] = 100
    finality_pause_max_seconds: Seconds = 600
    max_supply_drop_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.01
    max_failed_tasks: Annotated[int, Field(ge=1)] = 1
    probe_failures: Annotated[int, Field(ge=1)] = 3  # wrong answers in a row
    max_services: Annotated[int, Field(ge=1)] = 10  # blast radius of one rollout

    @model_validator(mode="after")
    def _deadline_leaves_room(self) -> Self:
        if self.deadline_seconds <= self.bake_seconds:
            raise ValueError(
                f"deadline_seconds ({self.deadline_seconds}) must be more than bake_seconds ({self.bake_seconds}), "
                "or every wave would run into its deadline"
            )
        return self


class Group(Section):
    """Services that must run the same image, in the order in which they move."""

    kind: Kind
    repository: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._/-]*$")]
    tags: tuple[str, ...]  # glob patterns of the tags whose push starts a rollout
    container: Name
    port: Annotated[int, Field(ge=1, le=65535)]
    liveness: Annotated[str, Field(pattern=r"^/")] = "/"
    architecture: Literal["amd64", "arm64"] = "amd64"
    approval: bool = False
    block_findings_at: Severity | None = Severity.CRITICAL
    finality_quorum: Annotated[float, Field(gt=0, le=1)] = 0.67  # XAI_FINALITY_QUORUM
    damage_patterns: tuple[str, ...] = ()  # log texts with which a node refuses its own data
    freeze: tuple[Freeze, ...] = ()
    smoke: Smoke
    limits: Limits
    services: Annotated[dict[Name, Service], Field(min_length=1)]

    @field_validator("damage_patterns")
    @classmethod
    def _compiles(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in value:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error
        return value

    @model_validator(mode="after")
    def _roles_fit_kind(self) -> Self:
        for name, service in self.services.items():
            if (service.role is Role.WEB) != (self.kind is Kind.HTTP):
                allowed = "web" if self.kind is Kind.HTTP else "validator, sentry or backup"
                raise ValueError(f"service {name}: role in a {self.kind} group must be {allowed}")
        return self

    def wants(self, tag: str | None) -> bool:
        """Whether the push of this tag starts a rollout here; an untagged push and our own tags never do."""
        if tag is None or tag.startswith(KEEP_PREFIX):
            return False
        return any(fnmatchcase(tag, pattern) for pattern in self.tags)

    @property
    def validators_may_be_down(self) -> int:
        """How many validators may be down with finality still going on; 0 means any restart pauses it."""
        validators = sum(1 for service in self.services.values() if service.role is Role.VALIDATOR)
        return validators - math.ceil(validators * self.finality_quorum - 1e-9)


class Tickets(Section):
    """Where trouble is told to people."""

    tracker: Literal["github"] = "github"
    repository: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
    api_url: str = "https://api.github.com"
    token_secret: str  # name of the Secrets Manager secret that holds the token
    labels: tuple[str, ...] = ()


class Fleet(Section):
    """One environment's fleet file."""

    environment: Literal["development", "staging", "production"]
    region: Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")]
    cluster: Name
    tickets: Tickets
    groups: Annotated[dict[Name, Group], Field(min_length=1)]

    @model_validator(mode="after")
    def _one_owner_each(self) -> Self:
        owners: dict[str, str] = {}
        repositories: dict[str, str] = {}
        for name, group in self.groups.items():
            for service in group.services:
                if service in owners:
                    raise ValueError(f"service {service} is in group {owners[service]} and in group {name}")
                owners[service] = name
            if group.repository in repositories:
                raise ValueError(f"repository {group.repository} feeds {repositories[group.repository]} and {name}")
            repositories[group.repository] = name
        return self

    def group_of_repository(self, repository: str) -> str | None:
        """The group that this repository feeds, or None when it is not ours."""
        return next((name for name, group in self.groups.items() if group.repository == repository), None)

    def group_of_service(self, service: str) -> str | None:
        """The group that this ECS service belongs to, or None when it is not ours."""
        return next((name for name, group in self.groups.items() if service in group.services), None)

    def groups_of_alarm(self, alarm: str) -> tuple[str, ...]:
        """The groups with a service to which this alarm is bound."""
        return tuple(n for n, g in self.groups.items() if any(alarm in s.alarms for s in g.services.values()))
