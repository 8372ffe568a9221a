"""What a rollout needs from outside. Each Protocol is one adapter in aws/ or nodes/, and one fake in tests/fakes/.

Errors that every method may raise: AwsUnavailableError, ThrottledError (transient), DeniedError (permanent).
Further ones stand at the method.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from chalicelib.health.model import Endpoint, Reading
from chalicelib.incident.model import Report
from chalicelib.rollout.model import GroupState, ImageFacts, Request, RevisionFacts, Rollout, ServiceView, Task


class Services(Protocol):
    """ECS, read only."""

    def describe(self, names: Sequence[str]) -> Mapping[str, ServiceView]:
        """Describe services, ten a call; a service that does not exist is missing in the answer."""
        ...

    def tasks(self, *, container: str, port: int) -> tuple[Task, ...]:
        """Every task of the cluster that is running or stopped lately, a hundred a call."""
        ...

    def breaker(self, service: str) -> str:
        """What ECS itself did with the newest service deployment ("" when neither breaker nor alarm acted)."""
        ...

    def revision(self, arn: str) -> RevisionFacts:
        """Read a task definition raw, with its tags. Raises NotFoundError."""
        ...

    def newest_revision(self, family: str) -> str:
        """The newest ACTIVE revision's ARN that no rollout of ours registered. Raises NotFoundError."""
        ...


class Deployer(Protocol):
    """ECS, writing. Each call is safe to repeat."""

    def register_once(self, definition: Mapping[str, Any], tags: Mapping[str, str], *, mark: str) -> str:
        """Return the ACTIVE revision of this family whose tag xai-ops:rollout is `mark`; register it if there is none."""
        ...

    def point(self, service: str, revision: str) -> None:
        """Point a service at a revision; desired count and deployment configuration are never sent."""
        ...

    def run_alone(self, revision: str, *, like: str, started_by: str) -> str:
        """Run one task with the network and capacity of service `like`, without its load balancer; returns its ARN.

        Repeating it with the same `started_by` starts no second task. Raises CapacityError.
        """
        ...

    def stop(self, task: str, why: str) -> None:
        """Stop a task; one that is gone already is fine."""
        ...

    def tag(self, arn: str, tags: Mapping[str, str]) -> None:
        """Add tags to a task definition revision."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """A tagged image as the registry lists it."""

    digest: str
    tag: str
    pushed_at: datetime


class Images(Protocol):
    """ECR."""

    def facts(self, repository: str, digest: str, tag: str | None) -> ImageFacts:
        """What ECR knows of the image; one that is not there is `exists=False`."""
        ...

    def digest_of(self, repository: str, tag: str) -> str | None:
        """The digest that a tag points to now."""
        ...

    def newest_push(self, repository: str, wants: Callable[[str | None], bool]) -> Push | None:
        """The newest image that has a wanted tag."""
        ...

    def missing(self, images: Sequence[str]) -> tuple[str, ...]:
        """Those of these image references that our registry no longer has; other registries are not asked."""
        ...

    def keep(self, repository: str, digest: str) -> None:
        """Tag the digest `keep-<first 12 of its hash>`; one that has the tag is fine. Raises NotFoundError."""
        ...

    def reference(self, repository: str, digest: str) -> str:
        """The reference by digest that a task definition takes."""
        ...


class Alarms(Protocol):
    """CloudWatch alarms."""

    def states(self, names: Sequence[str]) -> Mapping[str, str]:
        """OK, ALARM or INSUFFICIENT_DATA by name, a hundred a call; one that does not exist is missing."""
        ...


class Targets(Protocol):
    """ALB target health."""

    def states(self, target_group: str) -> tuple[str, ...]:
        """The state of each registered target: healthy, unhealthy, initial, draining, unused ..."""
        ...


class Logs(Protocol):
    """CloudWatch Logs."""

    def tail(self, task: Task, definition: Mapping[str, Any], *, container: str) -> str:
        """The last lines of a task's container, "" when it logs elsewhere or never wrote."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One service to probe: where, which questions, which block indices."""

    service: str
    address: str  # host:port
    liveness: str = "/"
    endpoints: tuple[Endpoint, ...] = (Endpoint.LIVENESS,)
    heights: tuple[int, ...] = ()


class Nodes(Protocol):
    """The services' own HTTP APIs. Never raises: what cannot be measured says so in the reading."""

    def read(self, asks: Sequence[Ask], *, now: datetime) -> Mapping[str, Reading]:
        """Ask all at once, within one time-out."""
        ...


class WakeQueue(Protocol):
    """The delayed message that wakes the next tick."""

    def wake(self, group: str, *, version: int, delay_seconds: float) -> None:
        """Send one wake-up for this version of the group's record; the delay is capped at 900 s."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A group's record, held by this tick until `until`; `version` fences every write."""

    state: GroupState
    version: int
    owner: str
    until: datetime
    rollouts: Mapping[str, Rollout]  # the open ones, by id
    requests: tuple[tuple[str, Request], ...] = ()  # the inbox, oldest first, by key


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the journal: what a tick saw, judged and decided."""

    rollout: str
    at: datetime
    phase: str
    why: str
    detail: Mapping[str, Any]


class Ledger(Protocol):
    """The one DynamoDB table, as a tick uses it."""

    def claim(self, group: str, *, owner: str, now: datetime, lease_seconds: int) -> Claim | None:
        """Take the group's record (made on first use) by compare-and-set, or None when another tick holds it."""
        ...

    def record(
        self,
        claim: Claim,
        *,
        state: GroupState,
        rollouts: Sequence[Rollout] = (),
        journal: Sequence[Entry] = (),
        reports: Sequence[Report] = (),
        done: Sequence[str] = (),
    ) -> Claim:
        """Write it all in one transaction, drop the carried-out requests, and keep the claim.

        Raises LostRaceError when the claim is no longer ours; then nothing was written.
        """
        ...

    def release(self, claim: Claim, *, wake_at: datetime | None) -> int:
        """Let go of the claim and say when the group wants to be looked at again; returns the record's version.

        Raises LostRaceError.
        """
        ...

    def put_request(self, request: Request, *, now: datetime) -> bool:
        """Put a word into the group's inbox; False when this push was seen before and nothing was put."""
        ...


class LedgerView(Protocol):
    """The table, read only."""

    def due_groups(self, now: datetime) -> tuple[tuple[str, int], ...]:
        """Groups whose wake_at has passed, with their version: one query."""
        ...

    def group(self, group: str) -> tuple[GroupState, int]:
        """A group's state and version; an empty one at version 0 when nothing was ever recorded."""
        ...

    def rollout(self, rollout: str) -> Rollout | None:
        """One rollout, open or ended."""
        ...

    def rollouts(self, group: str, *, limit: int = 20) -> tuple[Rollout, ...]:
        """A group's rollouts, newest first."""
        ...

    def journal(self, rollout: str) -> tuple[Entry, ...]:
        """A rollout's journal, oldest first."""
        ...
