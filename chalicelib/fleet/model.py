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

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticKnownError

# Our own tags protect digests from ECR's lifecycle rules; pushing one must never start a rollout.
KEEP_PREFIX = "keep-"

# What a description says, the loader's errors say is allowed: it is written to stand after "allowed: ".
Name = Annotated[
    str,
    Field(
        pattern=r"^[a-zA-Z][a-zA-Z0-9_-]{0,254}$",
        description="up to 255 letters, digits, hyphens and underscores, a letter first",
    ),
]
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


def _of_a_wall_clock(value: time) -> time:
    if value.tzinfo or value.microsecond:  # a window has one zone of its own; JSON Schema's pattern knows no fractions
        raise PydanticKnownError("time_parsing", {"error": "a zone or a fraction of a second"})
    return value


Clock = Annotated[time, AfterValidator(_of_a_wall_clock), Field(description="00:00 to 23:59")]


class Window(Section):
    """A time of the week. One whose end is not after its start runs past midnight."""

    days: tuple[Day, ...] = DAYS
    start: Clock
    end: Clock
    timezone: str = "UTC"

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError) as error:
            raise ValueError(f"{value!r} is no time zone; allowed: IANA's names, such as Europe/Berlin") from error
        return value

    def covers(self, now: datetime) -> bool:
        """Whether `now` lies in this window."""
        local = now.astimezone(ZoneInfo(self.timezone))
        clock, today = local.time(), DAYS[local.weekday()]
        if self.start < self.end:
            return today in self.days and self.start <= clock < self.end
        yesterday = DAYS[(local.weekday() - 1) % 7]
        return (today in self.days and clock >= self.start) or (yesterday in self.days and clock < self.end)


class Freeze(Window):
    """A time in which no rollout starts by itself; it waits instead."""

    why: str


class Maintenance(Window):
    """A time in which trouble is expected: it is noted, told only if it outlasts the window, and always resolved."""

    why: str
    groups: tuple[str, ...] = ()  # none: everything


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
    tags: tuple[str, ...]  # glob patterns of the tags whose push starts a rollout; none: only people start one
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


Text = Annotated[str, Field(pattern=r"\S", description="text that is not blank")]
Secret = Annotated[  # holds a token. Source of the pattern: Secrets Manager API, CreateSecret, Name
    str, Field(pattern=r"^[a-zA-Z0-9/_+=.@-]{1,512}$", description="the name of a Secrets Manager secret")
]
Url = Annotated[str, Field(pattern=r"^https?://[^\s/]+", description="an https:// or http:// address")]
ApiUrl = Annotated[  # tokens are sent there
    str,
    Field(
        pattern=r"^(https://[^\s/@]+|http://(127\.0\.0\.1|localhost)(:[0-9]+)?)(/\S*)?$",
        description="an https:// address without a user in it; http:// for 127.0.0.1 and localhost alone",
    ),
]
Labels = tuple[  # Jira takes no blank in a label, GitHub's list no comma
    Annotated[str, Field(pattern=r"^[^\s,]+$", description="text without blanks and commas")], ...
]


class GitHubTracker(Section):
    """Tickets are issues of a repository."""

    type: Literal["github"]
    repository: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$", description="OWNER/NAME")]
    api_url: ApiUrl = "https://api.github.com"
    token_secret: Secret
    labels: Labels = ()


class JiraTracker(Section):
    """Tickets are issues of a Jira Cloud project."""

    type: Literal["jira"]
    api_url: ApiUrl  # https://NAME.atlassian.net
    project: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]+$", description="the project's key, like OPS")]
    issue_type: Text = "Task"
    user: Annotated[Text, Field(description="the e-mail address that the API token belongs to")]
    token_secret: Secret
    labels: Labels = ()


class PagerDutyTracker(Section):
    """Tickets are incidents of the service that a routing key leads to."""

    type: Literal["pagerduty"]
    api_url: ApiUrl = "https://events.pagerduty.com"
    rest_url: ApiUrl = "https://api.pagerduty.com"
    routing_key_secret: Secret
    token_secret: Secret | None = None  # of the REST API: without one nobody's acknowledgement can be read back
    user: Text | None = None  # e-mail address of a PagerDuty user, to write notes as; without one there are none

    @model_validator(mode="after")
    def _user_can_write(self) -> Self:
        if self.user and not self.token_secret:
            raise ValueError("does nothing without token_secret; allowed: both, or no user", "user")
        return self


class ServiceNowTracker(Section):
    """Tickets are records of the incident table."""

    type: Literal["servicenow"]
    api_url: ApiUrl  # https://NAME.service-now.com
    user: Annotated[Text, Field(description="the name of a ServiceNow user")]
    token_secret: Secret
    assignment_group: Text | None = None
    close_code: Annotated[str, Field(min_length=1, max_length=40)] = "Resolved by caller"  # of the instance's own list
    category: Text | None = None


class SlackTracker(Section):
    """A ticket is a thread in a channel."""

    type: Literal["slack"]
    api_url: ApiUrl = "https://slack.com/api"
    channel: Annotated[str, Field(pattern=r"^[CG][A-Z0-9]+$", description="the channel's id, like C0123456789")]
    token_secret: Secret


class SnsTracker(Section):
    """E-mail by an SNS topic; it can only speak, so it is best as the fallback."""

    type: Literal["sns"]
    topic: Annotated[
        str, Field(pattern=r"^arn:aws[\w-]*:sns:[a-z0-9-]+:\d{12}:[\w-]+$", description="the ARN of an SNS topic")
    ]


Tracker = Annotated[
    GitHubTracker | JiraTracker | PagerDutyTracker | ServiceNowTracker | SlackTracker | SnsTracker,
    Field(discriminator="type"),
]
GradeName = Literal["P1", "P2", "P3", "P4"]


KindName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]  # of an incident; docs/runbooks has a page of each


class Route(Section):
    """Which trackers incidents of these grades go to; in `quiet` hours they hear of no news, only that it is over."""

    grades: Annotated[tuple[GradeName, ...], Field(min_length=1)]
    to: Annotated[tuple[str, ...], Field(min_length=1)]
    quiet: tuple[Window, ...] = ()

    def is_quiet(self, now: datetime) -> bool:
        """Whether quiet hours hold now."""
        return any(window.covers(now) for window in self.quiet)

    @model_validator(mode="after")
    def _wakes_somebody(self) -> Self:
        if self.quiet and "P1" in self.grades:
            raise ValueError("P1 means look now: its route cannot have quiet hours")
        return self


class AlarmRule(Section):
    """What an alarm means, by its name. The first rule that matches decides; an alarm that none matches opens nothing.

    `match` is a regular expression of the whole name; `(?P<resource>...)` in it names what is in trouble.
    """

    match: str
    kind: KindName
    grade: GradeName

    @field_validator("match")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"{value!r} is not a regular expression: {error}") from error
        return value


class Inhibition(Section):
    """A kind of trouble whose open incident explains others in the same group. As Alertmanager's inhibit_rules.

    Source: https://prometheus.io/docs/alerting/latest/configuration/#inhibit_rule
    """

    by: KindName
    kinds: Annotated[tuple[KindName, ...], Field(min_length=1)]


class Incidents(Section):
    """How trouble becomes tickets. The first three mean what they mean in Prometheus' Alertmanager.

    Source: https://prometheus.io/docs/alerting/latest/configuration/#route
    """

    trackers: Annotated[dict[Name, Tracker], Field(min_length=1)]
    routes: Annotated[tuple[Route, ...], Field(min_length=1)]
    fallback: str | None = None  # a tracker that speaks for one that has failed for budget_seconds
    budget_seconds: Seconds = 600
    gather_seconds: Seconds = 30  # group_wait: how long the first of a kind waits for more of it
    update_seconds: Seconds = 300  # group_interval: the shortest time between two updates
    repeat_seconds: Seconds = 14_400  # repeat_interval: a reminder while nothing changes and nobody has taken it on
    settle_seconds: Seconds = 300  # out of trouble for so long is resolved
    reopen_seconds: Seconds = 86_400  # trouble that comes back within this reopens its ticket
    read_back_seconds: Seconds = 300  # how often it is read what people did to an open ticket
    flapping_changes: Annotated[int, Field(ge=3)] = 6  # so many changes of one member ...
    flapping_within_seconds: Seconds = 3600  # ... within this are flapping,
    flapping_settle_seconds: Seconds = 3600  # which settles only after this
    alarms: tuple[AlarmRule, ...] = ()
    inhibit: tuple[Inhibition, ...] = ()
    maintenance: tuple[Maintenance, ...] = ()
    runbooks_url: Url = "https://github.com/xai-blockchain/xai-ops/blob/main/docs/runbooks"

    @model_validator(mode="after")
    def _trackers_exist(self) -> Self:
        there = ", ".join(self.trackers)
        for index, route in enumerate(self.routes):
            for place, name in enumerate(route.to):
                if name not in self.trackers:
                    raise ValueError(f"{name!r} is no tracker; allowed: {there}", "routes", index, "to", place)
        if self.fallback is not None and self.fallback not in self.trackers:
            raise ValueError(f"{self.fallback!r} is no tracker; allowed: {there}", "fallback")
        missing = {"P1", "P2", "P3", "P4"} - {grade for route in self.routes for grade in route.grades}
        if missing:
            raise ValueError(f"no route for {', '.join(sorted(missing))}: its tickets would be lost", "routes")
        return self

    @model_validator(mode="after")
    def _explains_no_explanation(self) -> Self:
        """Two kinds that explain each other would both never be told."""
        explained = {kind for rule in self.inhibit for kind in rule.kinds}
        for index, rule in enumerate(self.inhibit):
            if rule.by in explained:
                text = f"{rule.by} explains others and is itself explained; a kind may do one of the two"
                raise ValueError(text, "inhibit", index, "by")
        return self

    def routes_of(self, grade: str) -> tuple[Route, ...]:
        """The routes of a grade."""
        return tuple(route for route in self.routes if grade in route.grades)

    def trackers_of(self, grade: str) -> tuple[str, ...]:
        """The trackers that a grade goes to, each once."""
        return tuple(dict.fromkeys(name for route in self.routes_of(grade) for name in route.to))

    def quiet_trackers(self, grade: str, now: datetime) -> frozenset[str]:
        """The trackers of a grade whose every route to them has quiet hours now."""
        awake = {name for route in self.routes_of(grade) if not route.is_quiet(now) for name in route.to}
        return frozenset(self.trackers_of(grade)) - awake

    def is_quiet(self, grade: str, now: datetime) -> bool:
        """Whether every tracker of a grade has quiet hours now."""
        return self.quiet_trackers(grade, now) == frozenset(self.trackers_of(grade))

    def inhibitors_of(self, kind: str) -> tuple[str, ...]:
        """The kinds that explain this one while they are open in the same group."""
        return tuple(dict.fromkeys(rule.by for rule in self.inhibit if kind in rule.kinds))

    def rule_of(self, alarm: str) -> tuple[AlarmRule, str] | None:
        """The rule of an alarm and the resource that it names, None when no rule matches."""
        for rule in self.alarms:
            found = re.fullmatch(rule.match, alarm)
            if found is not None:
                return rule, found.groupdict().get("resource") or alarm
        return None


Percent = Annotated[int, Field(gt=0, lt=100)]


class Watch(Section):
    """The limits at which CloudWatch alarms; Terraform builds the alarms from them. Lag is `limits.max_lag_blocks`."""

    cpu_percent: Percent  # more, for five minutes
    memory_percent: Percent  # more
    disk_free_percent: Percent  # less, on a node's volume
    api_error_percent: Percent  # more of the answers of a target group are 5xx
    db_connections_percent: Percent  # more of the connections that the instances allow
    height_flat_seconds: Annotated[  # no new block for so long; a period of CloudWatch
        int, Field(ge=60, le=86_400, multiple_of=60, description="whole minutes in seconds, 60 to 86400")
    ]
    min_peers: Annotated[int, Field(ge=1)]  # fewer; a hint alone, peer counts lie
    latency_seconds: Annotated[float, Field(gt=0)]  # the slowest 5 % of a target group's answers take longer
    backup_max_age_seconds: Annotated[  # the last backup that succeeded is older; a day is CloudWatch's longest window
        int, Field(ge=3600, le=86_400, multiple_of=3600, description="whole hours in seconds, 3600 to 86400")
    ]


class Fleet(Section):
    """One environment's fleet file."""

    environment: Literal["development", "staging", "production"]
    region: Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")]
    cluster: Name
    watch: Watch
    incidents: Incidents
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
        for index, window in enumerate(self.incidents.maintenance):
            for place, name in enumerate(window.groups):
                if name not in self.groups:
                    raise ValueError(
                        f"{name!r} is no group; allowed: {', '.join(self.groups)}",
                        *("incidents", "maintenance", index, "groups", place),
                    )
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
