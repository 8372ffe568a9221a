"""What an answer of a node or explorer means, classed once. Pure.

| the answer | is |
|---|---|
| 200, or 503, with a JSON body that has the fields | MEASURED |
| any 2xx, where only liveness is asked | MEASURED |
| 404 on a block, with a JSON body | MEASURED: the node does not have that block (yet) |
| 404 on anything else but liveness | NOT_OFFERED: this release has no such endpoint |
| 429 | OUR_FAULT: we ask too often |
| any other status; no JSON; fields missing, of a wrong type, or impossible; longer than MOST_BYTES | SICK |
| refused, reset or broken connection | SICK |
| no (whole) answer in time, no route, no such host | TIMED_OUT |
| not asked: no free thread or socket on our side, or no valid address | OUR_FAULT |

The last three come from prober.py. Liveness is what the fleet file names, so it is offered by definition: there 404 is
SICK. Several blocks asked of one node give one answer, the worst.
Source: the XAI node's routes (GET /, /stats, /state/snapshot, /blocks/<index>, /finality/status).
Must not know sockets or limits.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from chalicelib.health.model import Answer, Endpoint, Reading
from chalicelib.rollout.ports import Ask

MOST_BYTES = 4 * 1024 * 1024  # room for a full block as JSON; an endless body must not fill the Lambda's memory
# Worst first: what says something against the node, then what says nothing about it.
_WORST = (Answer.SICK, Answer.TIMED_OUT, Answer.OUR_FAULT, Answer.NOT_OFFERED, Answer.MEASURED)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One HTTP request to come: of which ask, which endpoint, and which block where the endpoint is BLOCK."""

    ask: Ask
    endpoint: Endpoint
    height: int | None = None

    @property
    def path(self) -> str:
        """The request's path."""
        if self.endpoint is Endpoint.LIVENESS:
            return self.ask.liveness
        return self.endpoint.value.format(height=self.height)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What one answer told; None is not told."""

    height: int | None = None
    tip: str | None = None
    supply: float | None = None
    utxo_digest: str | None = None
    block_hash: str | None = None
    finalized: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One question's answer, classed, with a note for people."""

    question: Question
    answer: Answer
    note: str
    facts: Facts = field(default_factory=Facts)


class _MalformedError(ValueError):
    """A body that is not what the endpoint documents."""


def questions_of(ask: Ask) -> tuple[Question, ...]:
    """The requests that one ask takes."""
    return tuple(
        Question(ask=ask, endpoint=endpoint, height=height)
        for endpoint in ask.endpoints
        for height in (ask.heights if endpoint is Endpoint.BLOCK else (None,))
    )


def heard(question: Question, status: int, body: bytes) -> Heard:
    """Class one HTTP answer; the table stands at the top of this module."""
    note = f"answered {status}: {shown(body)}"
    match status:
        case 429:
            return Heard(question=question, answer=Answer.OUR_FAULT, note=note)
        case 404 if question.endpoint is Endpoint.BLOCK and _is_json(body):
            return Heard(question=question, answer=Answer.MEASURED, note=note)
        case 404 if question.endpoint is not Endpoint.LIVENESS:
            return Heard(question=question, answer=Answer.NOT_OFFERED, note=note)
    if question.ask.endpoints == (Endpoint.LIVENESS,):
        alive = 200 <= status < 300
        return Heard(question=question, answer=Answer.MEASURED if alive else Answer.SICK, note=note)
    if status != 200 and (status != 503 or question.endpoint is Endpoint.LIVENESS):
        return Heard(question=question, answer=Answer.SICK, note=note)
    try:
        facts = _READERS[question.endpoint](_object(body))
    except _MalformedError as error:
        return Heard(
            question=question, answer=Answer.SICK, note=f"answered {status}, malformed: {error}: {shown(body)}"
        )
    return Heard(question=question, answer=Answer.MEASURED, note=note, facts=facts)


def reading_of(ask: Ask, answers: Iterable[Heard], *, now: datetime) -> Reading:
    """Join what one service answered into one reading."""
    by_endpoint: dict[Endpoint, list[Heard]] = {}
    for each in answers:
        by_endpoint.setdefault(each.question.endpoint, []).append(each)
    worst = {endpoint: min(found, key=lambda h: _WORST.index(h.answer)) for endpoint, found in by_endpoint.items()}
    nothing = Facts()
    stats, state, finality = (
        worst[e].facts if e in worst else nothing for e in (Endpoint.STATS, Endpoint.STATE, Endpoint.FINALITY)
    )
    blocks = {h.question.height: h.facts.block_hash for h in by_endpoint.get(Endpoint.BLOCK, ())}
    return Reading(
        service=ask.service,
        at=now,
        answers={endpoint: one.answer for endpoint, one in worst.items()},
        notes={endpoint: one.note for endpoint, one in worst.items()},
        height=stats.height if stats.height is not None else state.height,
        tip=stats.tip or state.tip,
        supply=stats.supply,
        utxo_digest=state.utxo_digest,
        digest_tip=state.tip,
        hashes={height: found for height, found in blocks.items() if height is not None and found is not None},
        finalized=finality.finalized,
    )


def shown(body: bytes) -> str:
    """A short, printable piece of a body, for a note."""
    piece = " ".join(_UNPRINTABLE.sub(" ", body[:2000].decode("utf-8", errors="replace")).split())
    return piece if len(piece) <= 120 else f"{piece[:117]}..."


# ---------------------------------------------------------------------------------------------- bodies


def _json(body: bytes) -> Any:
    def refuse(constant: str) -> float:
        raise _MalformedError(f"{constant} is no JSON number")

    try:
        return json.loads(body, parse_constant=refuse)
    except RecursionError as error:
        raise _MalformedError("nested too deeply") from error
    except ValueError as error:  # also bytes that are no text, and numbers of thousands of digits
        raise _MalformedError("no JSON") from error


def _is_json(body: bytes) -> bool:
    try:
        _json(body)
    except _MalformedError:
        return False
    return True


def _object(body: bytes) -> Mapping[str, Any]:
    value = _json(body)
    if not isinstance(value, dict):
        raise _MalformedError("no JSON object")
    return value


def _part(body: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    part = body.get(key)
    if not isinstance(part, dict):
        raise _MalformedError(f"{key} is no object")
    return part


def _count(body: Mapping[str, Any], key: str) -> int:
    value = body.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise _MalformedError(f"{key} is {value!r:.40}")
    return value


def _number(body: Mapping[str, Any], key: str) -> float:
    value = body.get(key)
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not abs(value) < math.inf:
        raise _MalformedError(f"{key} is {value!r:.40}")
    try:
        return float(value)
    except OverflowError as error:
        raise _MalformedError(f"{key} is too large") from error


def _text(body: Mapping[str, Any], key: str) -> str:
    value = body.get(key)
    if not isinstance(value, str) or not value:
        raise _MalformedError(f"{key} is {value!r:.40}")
    return value


def _liveness(_body: Mapping[str, Any]) -> Facts:
    return Facts()


def _stats(body: Mapping[str, Any]) -> Facts:
    return Facts(
        height=_count(body, "chain_height"),
        tip=_text(body, "latest_block_hash"),
        supply=_number(body, "total_circulating_supply"),
    )


def _state(body: Mapping[str, Any]) -> Facts:
    state = _part(body, "state")
    return Facts(height=_count(state, "height"), tip=_text(state, "tip"), utxo_digest=_text(state, "utxo_digest"))


def _block(body: Mapping[str, Any]) -> Facts:
    """Releases differ in where a block says its hash."""
    header, block = body.get("header"), body.get("block")
    places = (
        body.get("hash"),
        body.get("block_hash"),
        header.get("hash") if isinstance(header, dict) else None,
        block.get("hash") if isinstance(block, dict) else None,
    )
    found = next((place for place in places if isinstance(place, str) and place), None)
    if found is None:
        raise _MalformedError("has no hash")
    return Facts(block_hash=found)


def _finality(body: Mapping[str, Any]) -> Facts:
    """Null until the first block is finalised; a node without validators answers only that finality is off."""
    key = "highest_finalized_height"
    if key not in body and body.get("finality_enabled") is not False:
        raise _MalformedError(f"{key} is missing")
    return Facts(finalized=None if body.get(key) is None else _count(body, key))


_READERS: Mapping[Endpoint, Callable[[Mapping[str, Any]], Facts]] = {
    Endpoint.LIVENESS: _liveness,
    Endpoint.STATS: _stats,
    Endpoint.STATE: _state,
    Endpoint.BLOCK: _block,
    Endpoint.FINALITY: _finality,
}
