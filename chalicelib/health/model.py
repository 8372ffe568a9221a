"""What was measured of a service and what that means: readings, findings, verdicts.

Knows the words of health. Must not know where a reading came from (HTTP, AWS) or what a rollout does with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

# sha256 of nothing: the UTXO digest of a node that lost its UTXO set (xai node, GET /state/snapshot).
EMPTY_DIGEST = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


class Endpoint(StrEnum):
    """The questions that a prober puts to a service; the value is the path, `{height}` filled in."""

    LIVENESS = "/"
    STATS = "/stats"
    STATE = "/state/snapshot"
    BLOCK = "/blocks/{height}"
    FINALITY = "/finality/status"


class Answer(StrEnum):
    """How one question was answered, classed once (the table stands in nodes/answers.py)."""

    MEASURED = "measured"
    NOT_OFFERED = "not_offered"  # 404: this release has no such endpoint
    OUR_FAULT = "our_fault"  # 429: we ask too often; says nothing about the node
    SICK = "sick"  # 5xx, refused, malformed: counts after a few in a row
    TIMED_OUT = "timed_out"  # no answer: the node hangs, or our side is cut off


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one service said of itself at one moment.

    `height` is the number of blocks (tip index + 1), as `/stats` and `/state/snapshot` count it.
    `hashes` maps a block index that was asked for to the hash that the node gave for it; an index that the node
    does not have (yet) is missing there. `digest_tip` is the tip at which `utxo_digest` was taken: the two questions are
    asked one after the other, and a block may come between. `answers` says how each question went and `notes` why, for people.
    """

    service: str
    at: datetime
    answers: Mapping[Endpoint, Answer]
    notes: Mapping[Endpoint, str] = field(default_factory=dict)
    height: int | None = None
    tip: str | None = None
    supply: float | None = None
    utxo_digest: str | None = None
    digest_tip: str | None = None
    hashes: Mapping[int, str] = field(default_factory=dict)
    finalized: int | None = None

    def measured(self, endpoint: Endpoint) -> bool:
        """Whether this question was answered with something that could be read."""
        return self.answers.get(endpoint) is Answer.MEASURED

    @property
    def reached(self) -> bool:
        """Whether the service answered anything at all, sick or not."""
        return any(a in (Answer.MEASURED, Answer.NOT_OFFERED, Answer.OUR_FAULT) for a in self.answers.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What a node said of itself on its stable revision, before anything was touched.

    `anchor` is a block index that can no longer change (finalised, or `reorg_depth` under the tip) and
    `anchor_hash` its hash: whatever the target does, it must keep both.
    """

    height: int | None = None
    anchor: int | None = None
    anchor_hash: str | None = None
    supply: float | None = None
    utxo_digest: str | None = None
    finality_lag: int | None = None
    finalized: int | None = None  # the first finalised height that it said
    finality_rises: bool = False  # a later one was higher: finality goes on
    offered: frozenset[Endpoint] = frozenset()  # what stable answered
    lacks: frozenset[Endpoint] = frozenset()  # what stable does not offer either


class Standing(StrEnum):
    """What one finding says."""

    GOOD = "good"
    NOT_YET = "not_yet"  # measured, not as it should be, within what is allowed for now
    UNKNOWN = "unknown"  # could not be measured
    BAD = "bad"  # measured, over its limit
    DAMAGED = "damaged"  # the data is damaged: not the version's fault, a new version will not mend it


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check of one service: its standing, and the sentence with number and limit that a person reads."""

    check: str  # snake_case name, e.g. "height_stalled"
    service: str
    standing: Standing
    text: str


class Verdict(StrEnum):
    """The sum of the findings. UNKNOWN alone neither rolls back nor promotes."""

    HEALTHY = "HEALTHY"
    UNHEALTHY = "UNHEALTHY"
    UNKNOWN = "UNKNOWN"


def verdict_of(findings: Iterable[Finding]) -> Verdict:
    """Fold findings: any over its limit is UNHEALTHY; all good is HEALTHY; the rest cannot be said yet."""
    standings = {finding.standing for finding in findings}
    if standings & {Standing.BAD, Standing.DAMAGED}:
        return Verdict.UNHEALTHY
    return Verdict.HEALTHY if standings == {Standing.GOOD} else Verdict.UNKNOWN


def of_standing(findings: Iterable[Finding], standing: Standing) -> tuple[Finding, ...]:
    """Select the findings of one standing, in their order."""
    return tuple(finding for finding in findings if finding.standing is standing)
