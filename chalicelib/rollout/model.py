"""The words of a rollout: its record, what a tick sees, and what it decides. Frozen values, no behaviour but their own.

Knows health's and the fleet's words. Must not know AWS, HTTP, the clock or the ledger's storage.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from chalicelib.health.model import Baseline, Finding, Reading
from chalicelib.incident.model import Grade


class Phase(StrEnum):
    """Where a rollout stands. Those of `TERMINAL` never change again."""

    REQUESTED = "REQUESTED"  # recorded, nothing looked at yet
    WAITING = "WAITING"  # deferred: freeze, hold, unsteady, no capacity, or another rollout is active
    AWAITING_APPROVAL = "AWAITING_APPROVAL"  # policy asks for a person
    SMOKING = "SMOKING"  # the image runs once as a lone task
    SHIFTING = "SHIFTING"  # the wave's services are moving to the target revision
    BAKING = "BAKING"  # steady; watched for bake_seconds and bake_blocks
    ROLLING_BACK = "ROLLING_BACK"  # every touched service is going back to its stable revision
    HELD = "HELD"  # cannot be judged, or stable itself is sick: a person must release it
    PROMOTED = "PROMOTED"  # every wave baked; target is stable now
    ROLLED_BACK = "ROLLED_BACK"  # all steady and healthy on stable; the digest is quarantined
    REJECTED = "REJECTED"  # refused before any service was touched
    SUPERSEDED = "SUPERSEDED"  # a newer image replaced it


TERMINAL = frozenset({Phase.PROMOTED, Phase.ROLLED_BACK, Phase.REJECTED, Phase.SUPERSEDED})
# Phases in which a rollout may have changed services, and so owns the group until it ends.
OWNING = frozenset({Phase.SHIFTING, Phase.BAKING, Phase.ROLLING_BACK})
# Phases in which nothing runs yet: a newer push simply takes the place.
IDLE = frozenset({Phase.REQUESTED, Phase.WAITING, Phase.AWAITING_APPROVAL})
SMOKE_PASSED = "passed"
SMOKE_MARK = "xai-ops-smoke"  # how the startedBy of every smoke task begins


class Origin(StrEnum):
    """What a rollout moves the group to, and so which template its target revision comes from."""

    IMAGE = "image"  # a pushed digest on the stable revision's template
    CONFIGURATION = "configuration"  # the stable digest on the family's newest revision, as Terraform left it
    RETURN = "return"  # a person takes a promoted release back to the one promoted before it


@dataclass(frozen=True, slots=True, kw_only=True)
class Stable:
    """A service's last promoted revision."""

    revision: str  # task definition ARN
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What the record knows of one service of the group during this rollout.

    Intent is recorded before a call is made (`shifted_at`, `restored_at`), and an intent counts as done once a snapshot
    showed it (`confirmed`). `dead` are the ARNs of target tasks that died of the version: our own count, because ECS
    resets its own. `strikes` counts wrong answers in a row. `highest` is the highest height that the service said on the
    revision that it runs, `advanced_at` when it last rose, `bake_height` its height when its wave's bake began.
    """

    service: str
    wave: int  # index into the plan's waves
    stable: Stable | None
    start: str | None = None  # revision that it ran when this rollout took over
    template: str | None = None  # revision to start from instead of stable's, for Origin.CONFIGURATION
    target: str | None = None  # task definition ARN, once registered
    touched: bool = False
    shifted_at: datetime | None = None
    restored_at: datetime | None = None
    confirmed: bool = False
    running_at: datetime | None = None  # when all its tasks were first seen running on what it was last pointed at
    baseline: Baseline | None = None
    dead: tuple[str, ...] = ()
    strikes: int = 0
    read_at: datetime | None = None
    answered_at: datetime | None = None  # last time it answered anything since it was last pointed somewhere
    height: int | None = None
    highest: int | None = None
    advanced_at: datetime | None = None
    advanced: bool = False  # whether it rose since it was last pointed somewhere
    finalized: int | None = None  # the highest finalised height that it said there, and when that last rose
    finalized_at: datetime | None = None
    finality_rose: bool = False
    bake_height: int | None = None
    marked: bool = False  # the bad revision carries its tag

    @property
    def expected(self) -> str | None:
        """The revision that the service should be on now, by what this rollout intended last."""
        if self.restored_at is not None:
            return self.stable.revision if self.stable else None
        return self.target if self.shifted_at is not None else self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """The record of one rollout. Every field is a fact that a later tick needs; all else is read from the cloud."""

    id: str
    environment: str
    group: str
    origin: Origin
    repository: str
    digest: str
    tag: str | None
    requested_by: str
    requested_at: datetime
    phase: Phase = Phase.REQUESTED
    reason: str = ""  # snake_case, for machines
    why: str = ""  # one sentence with the numbers, for people
    since: datetime | None = None  # of the phase
    steps: tuple[Step, ...] = ()
    wave: int = 0  # index into the plan's waves
    wave_since: datetime | None = None
    bake_since: datetime | None = None
    smoke_task: str | None = None
    smoke_tries: int = 0
    smoke_result: str | None = None  # "passed" or what went wrong; the task is stopped before the phase goes on
    strays: tuple[str, ...] = ()  # rollouts that ended while they smoked: this one stops what they left running
    alarms: Mapping[str, str] = field(default_factory=dict)  # states at the start, so that an old alarm is not ours
    forced: frozenset[str] = frozenset()  # preflight reasons that a person overrode
    approved_by: str | None = None
    held_from: Phase | None = None  # where a release goes on
    displaced: str | None = None  # the rollout that awaited approval until this one took its place
    rollback_since: datetime | None = None  # when it was decided to take it back
    repointed: bool = False  # ECS' breaker went elsewhere and we pointed it to stable, once
    condemned: bool = True  # whether a rollback quarantines the digest (a person's abort does not)
    evidence: tuple[Finding, ...] = ()
    log: str = ""  # tail of the log that explains the evidence
    returns: Mapping[str, str] = field(default_factory=dict)  # service -> promoted revision, for Origin.RETURN
    watched_at: datetime | None = None  # last tick that looked
    resumed_at: datetime | None = None  # when ticks came back after nobody had looked for a while
    waiting_since: datetime | None = None  # since when something that must not last for ever keeps it waiting
    timeline: tuple[tuple[datetime, str], ...] = ()

    def watched_since(self, since: datetime | None, now: datetime) -> float:
        """Seconds for which ticks have watched since a moment: time in which our Lambdas were down is nobody's fault."""
        moments = [moment for moment in (since, self.resumed_at) if moment is not None]
        return (now - max(moments)).total_seconds() if since is not None else 0.0

    @property
    def touched(self) -> tuple[Step, ...]:
        """The steps whose service may run the target."""
        return tuple(step for step in self.steps if step.touched)

    @property
    def smoked(self) -> bool:
        """Whether the image passed its smoke."""
        return self.smoke_result == SMOKE_PASSED

    @property
    def smoke_mark(self) -> str:
        """The startedBy of its smoke task: it finds the task whose start was not recorded any more."""
        return f"{SMOKE_MARK}/{self.id}/{self.smoke_tries}"

    @property
    def open(self) -> bool:
        """Whether ticks still have something to do or to wait for."""
        return self.phase not in TERMINAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A person's word that nothing new may start in a group."""

    by: str
    why: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """A release that was promoted: the way back from the one after it."""

    rollout: str
    digest: str
    at: datetime
    revisions: Mapping[str, str]  # service -> task definition ARN
    pushed_at: datetime | None = None  # of its image: an older push that comes late is history


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupState:
    """What the ledger knows of a group. Changed only by the tick that holds its claim."""

    group: str
    stable: Mapping[str, Stable] = field(default_factory=dict)
    history: tuple[Promotion, ...] = ()  # newest last, at most HISTORY
    hold: Hold | None = None
    active: str | None = None  # rollout that owns the group
    queued: str | None = None  # newest rollout that waits behind it
    quarantine: Mapping[str, str] = field(default_factory=dict)  # digest -> why
    troubles: tuple[str, ...] = ()  # ids of rollouts whose trouble was reported and is not over


HISTORY = 20
TROUBLES = 8  # their ends go into one transaction with the promotion


class Word(StrEnum):
    """What may be asked of a group, by an event or by a person."""

    START = "start"
    ADOPT = "adopt"
    ROLLBACK = "rollback"
    ABORT = "abort"
    APPROVE = "approve"
    HOLD = "hold"
    RELEASE = "release"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One word put into a group's inbox; the tick that holds the claim carries it out once."""

    word: Word
    group: str
    by: str
    at: datetime
    why: str = ""
    rollout: str | None = None
    origin: Origin = Origin.IMAGE
    repository: str | None = None
    digest: str | None = None
    tag: str | None = None
    pushed_at: datetime | None = None
    forced: frozenset[str] = frozenset()
    then: str | None = None  # of RELEASE: resume | rollback


# ---------------------------------------------------------------------------------------------- what a tick sees


class Unmeasured(StrEnum):
    """Why a part of the snapshot is missing."""

    DENIED = "denied"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """An ECS task as DescribeTasks shows it; `exit_code` and `container_reason` are the group container's.

    `address` is host:port of the container's API as reachable from us, None when it has none (yet).
    """

    arn: str
    service: str | None  # from group "service:NAME"
    revision: str
    started_by: str
    status: str  # lastStatus
    desired: str  # desiredStatus
    created_at: datetime | None = None
    started_at: datetime | None = None
    stopped_at: datetime | None = None
    stop_code: str | None = None
    stopped_reason: str = ""
    exit_code: int | None = None
    container_reason: str = ""
    address: str | None = None
    log: str = ""  # tail of a dead task's log, filled in by the observer


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One entry of DescribeServices.deployments."""

    id: str
    status: str  # PRIMARY | ACTIVE | INACTIVE
    revision: str
    state: str  # rolloutState: IN_PROGRESS | COMPLETED | FAILED
    reason: str = ""
    desired: int = 0
    running: int = 0
    pending: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceView:
    """An ECS service as DescribeServices shows it. `breaker` is filled in only when its primary is not as expected."""

    name: str
    arn: str
    status: str
    desired: int
    running: int
    pending: int
    deployments: tuple[Deployment, ...]
    target_groups: tuple[str, ...] = ()
    unplaced: str = ""  # the newest event that tells of missing capacity, if newer than the newest steady state
    breaker: str = ""  # what ECS' circuit breaker did, in its words

    @property
    def primary(self) -> Deployment | None:
        """The deployment that the service is moving to or runs; `deployments` is not ordered."""
        return next((d for d in self.deployments if d.status == "PRIMARY"), None)

    @property
    def runs_primary(self) -> bool:
        """Whether every desired task runs on the primary already; ECS may take a minute more to call it complete."""
        primary = self.primary
        return primary is not None and primary.running >= self.desired > 0

    @property
    def steady(self) -> bool:
        """Whether only the primary is left, complete, with every desired task running."""
        primary = self.primary
        return (
            primary is not None
            and len(self.deployments) == 1
            and primary.state == "COMPLETED"
            and self.running == self.desired
            and self.pending == 0
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """What ECR says of an image; `platforms` are "os/arch" of what it can run on, empty for what cannot run."""

    exists: bool
    media_type: str = ""
    platforms: frozenset[str] = frozenset()
    attestation: bool = False  # an SBOM, signature or provenance manifest, not something to run
    tag_digest: str | None = None  # what the pushed tag points to now
    findings: Mapping[str, int] = field(default_factory=dict)
    scanned: bool = False
    irreversible: bool = False  # labelled io.xai.ops.rollback=forbidden


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionFacts:
    """A task definition revision: raw, so that fields which the SDK does not know survive."""

    arn: str
    status: str  # ACTIVE | INACTIVE | DELETE_IN_PROGRESS
    definition: Mapping[str, Any]
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class WayBack:
    """Whether one service's stable revision could be returned to right now."""

    service: str
    revision_status: str  # ACTIVE, INACTIVE or MISSING
    missing_images: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What the world says now, read once. A part that could not be read is named in `unmeasured` and left empty."""

    at: datetime
    services: Mapping[str, ServiceView] = field(default_factory=dict)
    tasks: tuple[Task, ...] = ()
    readings: Mapping[str, Reading] = field(default_factory=dict)
    targets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # service -> states of its targets
    alarms: Mapping[str, str] = field(default_factory=dict)  # name -> OK | ALARM | INSUFFICIENT_DATA
    image: ImageFacts | None = None
    ways_back: tuple[WayBack, ...] = ()
    smoke: Task | None = None
    smoke_answer: Reading | None = None
    unmeasured: Mapping[str, Unmeasured] = field(default_factory=dict)  # part -> why


# ---------------------------------------------------------------------------------------------- what a tick decides


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepImage:
    """Tag a digest `keep-<sha12>`, so that no lifecycle rule deletes it."""

    repository: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSmoke:
    """Run the image once as a lone task on scratch storage."""

    service: str  # whose stable revision and network are the template
    template: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StopSmoke:
    """Stop the smoke task."""

    task: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterTarget:
    """Find the revision already tagged with this rollout, or register it."""

    service: str
    template: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftService:
    """Point a service at its target revision."""

    service: str
    revision: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreStable:
    """Point a service back at its stable revision."""

    service: str
    revision: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkBad:
    """Tag a bad revision; it is evidence and is never deregistered."""

    revision: str
    why: str


Action = KeepImage | RunSmoke | StopSmoke | RegisterTarget | ShiftService | RestoreStable | MarkBad


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What one tick does with one rollout: the record as it shall be, the actions, and when to come back."""

    rollout: Rollout
    actions: tuple[Action, ...] = ()
    wake_in: float | None = None  # seconds; None: nothing to wait for
    findings: tuple[Finding, ...] = ()
    report: bool = False  # tell people: run renders it from the rollout and the findings
    grade: Grade = Grade.P3
