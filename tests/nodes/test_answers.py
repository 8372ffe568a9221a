"""What an answer means: the table of answers.py, line by line."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.health.model import Answer, Endpoint
from chalicelib.nodes.answers import Facts, Heard, Question, heard, questions_of, reading_of, shown
from chalicelib.rollout.ports import Ask

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
NODE = Ask(
    service="node-1",
    address="127.0.0.1:1",
    endpoints=tuple(Endpoint),
    heights=(7, 9),
)
WEB = Ask(service="explorer-1", address="127.0.0.1:1", liveness="/healthz")
GOOD: dict[Endpoint, dict[str, Any]] = {
    Endpoint.LIVENESS: {"status": "online"},
    Endpoint.STATS: {"chain_height": 12, "latest_block_hash": "aa", "total_circulating_supply": 60},
    Endpoint.STATE: {"state": {"height": 12, "tip": "aa", "utxo_digest": "dd"}},
    Endpoint.BLOCK: {"hash": "77"},
    Endpoint.FINALITY: {"highest_finalized_height": 3},
}


def asked(endpoint: Endpoint, status: int, body: Any, *, ask: Ask = NODE) -> Heard:
    """Class one answer to one endpoint."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    height = 7 if endpoint is Endpoint.BLOCK else None
    return heard(Question(ask=ask, endpoint=endpoint, height=height), status, raw)


@pytest.mark.parametrize("endpoint", Endpoint)
def test_good_body_is_measured(endpoint: Endpoint) -> None:
    """Each endpoint's documented body is read."""
    assert asked(endpoint, 200, GOOD[endpoint]).answer is Answer.MEASURED


@pytest.mark.parametrize("endpoint", [e for e in Endpoint if e is not Endpoint.LIVENESS])
def test_503_with_the_fields_is_read(endpoint: Endpoint) -> None:
    """A 503 with a whole body is a measurement: nodes answer so without peers."""
    assert asked(endpoint, 503, GOOD[endpoint]).answer is Answer.MEASURED


@pytest.mark.parametrize("status", [400, 401, 403, 301, 500, 502, 504])
@pytest.mark.parametrize("endpoint", Endpoint)
def test_other_status_is_sick_whatever_the_body(endpoint: Endpoint, status: int) -> None:
    """A good body does not heal a wrong status."""
    assert asked(endpoint, status, GOOD[endpoint]).answer is Answer.SICK


@pytest.mark.parametrize("endpoint", Endpoint)
def test_429_is_our_fault(endpoint: Endpoint) -> None:
    """Asking too often says nothing about the node."""
    assert asked(endpoint, 429, {"error": "rate"}).answer is Answer.OUR_FAULT


@pytest.mark.parametrize("endpoint", [Endpoint.STATS, Endpoint.STATE, Endpoint.FINALITY, Endpoint.BLOCK])
def test_html_404_is_not_offered(endpoint: Endpoint) -> None:
    """Flask's HTML 404 means that this release has no such route."""
    assert asked(endpoint, 404, b"<!doctype html>").answer is Answer.NOT_OFFERED


def test_json_404_of_a_block_is_a_block_not_there_yet() -> None:
    """The route exists, the block does not: measured, without a hash."""
    found = asked(Endpoint.BLOCK, 404, {"error": "Block not found"})
    assert (found.answer, found.facts) == (Answer.MEASURED, Facts())


@pytest.mark.parametrize("ask", [NODE, WEB])
def test_404_on_liveness_is_sick(ask: Ask) -> None:
    """The fleet file names the liveness path, so a release without it does not live."""
    assert asked(Endpoint.LIVENESS, 404, b"gone", ask=ask).answer is Answer.SICK


@pytest.mark.parametrize(
    ("status", "answer"),
    [(200, Answer.MEASURED), (204, Answer.MEASURED), (302, Answer.SICK), (503, Answer.SICK), (500, Answer.SICK)],
)
def test_liveness_alone_asks_for_any_2xx(status: int, answer: Answer) -> None:
    """An explorer or a smoke task answers what it likes; only the status counts."""
    assert asked(Endpoint.LIVENESS, status, b"<html>", ask=WEB).answer is answer


@pytest.mark.parametrize(("status", "body"), [(200, b"<html>"), (200, b"[]"), (200, b""), (503, b"{}"), (204, b"")])
def test_node_liveness_needs_200_and_an_object(status: int, body: bytes) -> None:
    """GET / of a node is a JSON object with 200, always."""
    assert asked(Endpoint.LIVENESS, status, body).answer is Answer.SICK


@pytest.mark.parametrize(
    ("endpoint", "change"),
    [
        (Endpoint.STATS, {"chain_height": True}),
        (Endpoint.STATS, {"chain_height": -1}),
        (Endpoint.STATS, {"chain_height": 12.0}),
        (Endpoint.STATS, {"chain_height": "12"}),
        (Endpoint.STATS, {"chain_height": 10**30}),
        (Endpoint.STATS, {"chain_height": None}),
        (Endpoint.STATS, {"latest_block_hash": ""}),
        (Endpoint.STATS, {"latest_block_hash": 5}),
        (Endpoint.STATS, {"total_circulating_supply": float("nan")}),
        (Endpoint.STATS, {"total_circulating_supply": float("inf")}),
        (Endpoint.STATS, {"total_circulating_supply": False}),
        (Endpoint.STATS, {"total_circulating_supply": 10**400}),
        (Endpoint.STATE, {"state": None}),
        (Endpoint.STATE, {"state": [1]}),
        (Endpoint.STATE, {"state": {"height": 1, "tip": "a"}}),
        (Endpoint.BLOCK, {"hash": 7}),
        (Endpoint.BLOCK, {"hash": None, "header": "x", "block": 1}),
        (Endpoint.FINALITY, {"highest_finalized_height": "3"}),
        (Endpoint.FINALITY, {"highest_finalized_height": -3}),
    ],
)
def test_malformed_200_is_sick_and_says_what(endpoint: Endpoint, change: dict[str, Any]) -> None:
    """A field that is missing, of a wrong type or impossible is no measurement."""
    found = asked(endpoint, 200, {**GOOD[endpoint], **change})
    assert found.answer is Answer.SICK
    assert "malformed" in found.note


@pytest.mark.parametrize("body", [b"<html>", b"", b"\xff\xfe\xfa", b"[" * 100_000, b"9" * 10_000, b'"text"', b"[1]"])
@pytest.mark.parametrize("status", [200, 503])
def test_no_json_object_is_sick(status: int, body: bytes) -> None:
    """Neither HTML, broken bytes nor absurd nesting is an answer."""
    assert asked(Endpoint.STATS, status, body).answer is Answer.SICK


@pytest.mark.parametrize(
    "body",
    [{"hash": "77"}, {"block_hash": "77"}, {"header": {"hash": "77"}}, {"block": {"hash": "77"}, "hash": None}],
)
def test_block_hash_is_found_where_releases_put_it(body: dict[str, Any]) -> None:
    """Releases differ in the place, not in the hash."""
    assert asked(Endpoint.BLOCK, 200, body).facts.block_hash == "77"


@pytest.mark.parametrize(
    ("body", "finalized"),
    [
        ({"highest_finalized_height": None}, None),
        ({"highest_finalized_height": 0}, 0),
        ({"finality_enabled": False, "reason": "finality_manager_unavailable"}, None),
    ],
)
def test_nothing_finalised_is_measured(body: dict[str, Any], finalized: int | None) -> None:
    """Null at the start, and finality switched off, are answers."""
    found = asked(Endpoint.FINALITY, 200, body)
    assert (found.answer, found.facts.finalized) == (Answer.MEASURED, finalized)


def test_finality_without_its_field_is_malformed() -> None:
    """An enabled finality says how far it is."""
    assert asked(Endpoint.FINALITY, 200, {"finality_enabled": True}).answer is Answer.SICK


def test_blocks_give_one_answer_the_worst() -> None:
    """One block that could not be read is not hidden by another that could; what was read is kept."""
    answers = [
        heard(Question(ask=NODE, endpoint=Endpoint.BLOCK, height=7), 200, b'{"hash": "77"}'),
        heard(Question(ask=NODE, endpoint=Endpoint.BLOCK, height=9), 500, b"oops"),
    ]
    reading = reading_of(NODE, answers, now=NOW)
    assert reading.answers == {Endpoint.BLOCK: Answer.SICK}
    assert reading.hashes == {7: "77"}
    assert "500" in reading.notes[Endpoint.BLOCK]


def test_stats_not_offered_takes_height_and_tip_from_state() -> None:
    """Both count blocks the same way."""
    answers = [asked(Endpoint.STATS, 404, b"<html>"), asked(Endpoint.STATE, 200, GOOD[Endpoint.STATE])]
    reading = reading_of(NODE, answers, now=NOW)
    assert (reading.height, reading.tip, reading.supply) == (12, "aa", None)


def test_zero_height_and_supply_are_numbers() -> None:
    """Zero is a measurement, not a gap."""
    body = {"chain_height": 0, "latest_block_hash": "g", "total_circulating_supply": 0}
    reading = reading_of(NODE, [asked(Endpoint.STATS, 200, body)], now=NOW)
    assert (reading.height, reading.supply) == (0, 0.0)


def test_questions_ask_each_block_once() -> None:
    """One request for each endpoint, and one for each block."""
    paths = [question.path for question in questions_of(NODE)]
    assert paths == ["/", "/stats", "/state/snapshot", "/blocks/7", "/blocks/9", "/finality/status"]
    assert [question.path for question in questions_of(WEB)] == ["/healthz"]


def test_note_is_short_and_printable() -> None:
    """A body in a note can neither colour a terminal nor fill a page."""
    note = shown(b"\x1b[31mred\x00\n\n<b>" + b"x" * 5000)
    assert len(note) <= 120
    assert note.isprintable()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["state", "hash", "height", "tip", "header"]), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(
    st.sampled_from(Endpoint),
    st.integers(100, 599),
    st.binary(max_size=60) | json_values.map(lambda v: json.dumps(v).encode()),
)
def test_any_answer_is_classed(endpoint: Endpoint, status: int, body: bytes) -> None:
    """Whatever a node answers, it is one of the five answers and never an exception; facts come with MEASURED only."""
    found = asked(endpoint, status, body)
    assert found.answer is not Answer.TIMED_OUT
    assert found.answer is Answer.MEASURED or found.facts == Facts()
