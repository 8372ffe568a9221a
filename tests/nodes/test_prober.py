"""The prober against real sockets: what comes over them, and what does not."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime

import pytest

from chalicelib.health.model import Answer, Endpoint
from chalicelib.nodes.answers import MOST_BYTES
from chalicelib.nodes.prober import MOST_THREADS, HttpNodes
from chalicelib.rollout.ports import Ask
from tests.nodes.loopback import DIGEST, TIP, Answers, a_node, nobody, rude, served, tar_pit

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
SHORT = 0.6


def ask(address: str, *, service: str = "node-1", endpoints: tuple[Endpoint, ...] = tuple(Endpoint)) -> Ask:
    """Everything that can be asked of a node."""
    return Ask(service=service, address=address, endpoints=endpoints, heights=(7, 900))


def test_healthy_node_is_measured_in_full() -> None:
    """Height, tip, supply, digest, hashes and finality, from one read."""
    with served(a_node()) as address:
        reading = HttpNodes().read([ask(address)], now=NOW)["node-1"]
    assert set(reading.answers.values()) == {Answer.MEASURED}
    assert (reading.at, reading.height, reading.tip, reading.supply) == (NOW, 40, TIP, 480.5)
    assert (reading.utxo_digest, reading.digest_tip, reading.finalized) == (DIGEST, TIP, None)
    assert reading.hashes == {7: "77" * 32}


def test_older_release_without_finality_is_not_offered() -> None:
    """An HTML 404 is a release without that endpoint, not sickness."""
    answers = a_node()
    del answers.of["/finality/status"]
    with served(answers) as address:
        reading = HttpNodes().read([ask(address)], now=NOW)["node-1"]
    assert reading.answers[Endpoint.FINALITY] is Answer.NOT_OFFERED
    assert reading.measured(Endpoint.STATS)


def test_rate_limited_node_is_our_fault() -> None:
    """429 on every path says that we ask too often."""
    answers = Answers({path: (429, {"error": "rate limit"}) for path in a_node().of})
    with served(answers) as address:
        reading = HttpNodes().read([ask(address)], now=NOW)["node-1"]
    assert set(reading.answers.values()) == {Answer.OUR_FAULT}
    assert reading.reached


def test_refused_connection_is_sick() -> None:
    """Nobody listens where a running task should."""
    reading = HttpNodes().read([ask(nobody())], now=NOW)["node-1"]
    assert set(reading.answers.values()) == {Answer.SICK}
    assert not reading.reached
    assert "ConnectionRefusedError" in reading.notes[Endpoint.STATS]


def test_connection_that_hangs_up_is_sick() -> None:
    """A node that closes the connection without a word has answered wrongly."""
    with rude() as address:
        reading = HttpNodes().read([ask(address)], now=NOW)["node-1"]
    assert set(reading.answers.values()) == {Answer.SICK}


def test_tar_pit_times_out_without_delaying_the_others() -> None:
    """One that hangs costs one time-out for the whole read, and the others are measured."""
    with tar_pit() as pit, served(a_node()) as address:
        began = time.monotonic()
        asks = [ask(pit, service="pit"), ask(address), ask(pit, service="pit-2")]
        readings = HttpNodes(timeout_seconds=SHORT).read(asks, now=NOW)
        took = time.monotonic() - began
    assert set(readings["pit"].answers.values()) == {Answer.TIMED_OUT}
    assert set(readings["pit-2"].answers.values()) == {Answer.TIMED_OUT}
    assert set(readings["node-1"].answers.values()) == {Answer.MEASURED}
    assert took < 3 * SHORT


def test_dripping_body_times_out_and_leaves_no_thread() -> None:
    """Bytes that come one by one do not hold a read or a thread beyond its time-out."""
    answers = Answers({"/": (200, "x" * 400)}, drip_seconds=0.05)
    with served(answers) as address:
        began = time.monotonic()
        reading = HttpNodes(timeout_seconds=SHORT).read([Ask(service="slow", address=address)], now=NOW)["slow"]
        took = time.monotonic() - began
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline and any(t.name.startswith("probe") for t in threading.enumerate()):
            time.sleep(0.02)
        left = [t.name for t in threading.enumerate() if t.name.startswith("probe")]
    assert reading.answers == {Endpoint.LIVENESS: Answer.TIMED_OUT}
    assert took < 3 * SHORT
    assert left == []


def test_redirect_is_not_followed() -> None:
    """A node that sends us elsewhere has not answered."""
    with served(a_node()) as elsewhere:
        answers = Answers({"/": (302, "")}, redirect_to=f"http://{elsewhere}/")
        with served(answers) as address:
            reading = HttpNodes().read([Ask(service="web", address=address)], now=NOW)["web"]
    assert reading.answers == {Endpoint.LIVENESS: Answer.SICK}
    assert answers.asked == ["/"]


def test_endless_body_is_sick() -> None:
    """A body over the cap is not read to its end."""
    with served(Answers({"/stats": (200, b" " * (MOST_BYTES + 10))})) as address:
        reading = HttpNodes().read([ask(address, endpoints=(Endpoint.STATS,))], now=NOW)["node-1"]
    assert reading.answers == {Endpoint.STATS: Answer.SICK}


@pytest.mark.parametrize(
    "address", ["", "nowhere", "127.0.0.1:port", "127.0.0.1:99999", "[::1", "a b:80", "255.255.255.255:80"]
)
def test_impossible_address_never_raises(address: str) -> None:
    """What cannot be asked says so; it is never taken for sickness."""
    reading = HttpNodes(timeout_seconds=SHORT).read([ask(address)], now=NOW)["node-1"]
    assert set(reading.answers.values()) <= {Answer.OUR_FAULT, Answer.TIMED_OUT}


def test_many_questions_are_asked_at_once() -> None:
    """A fleet of many services is read in about the time of one."""
    with ExitStack() as stack:
        addresses = [stack.enter_context(served(a_node())) for _ in range(8)]
        asks = [ask(address, service=f"node-{number}") for number, address in enumerate(addresses)]
        readings = HttpNodes().read(asks, now=NOW)
    assert {name for name, reading in readings.items() if reading.height == 40} == {f"node-{n}" for n in range(8)}


def test_question_beyond_our_threads_is_our_fault() -> None:
    """What we had no hand free to ask says nothing about the service."""
    with tar_pit() as pit:
        first = Ask(service="pit", address=pit, endpoints=(Endpoint.BLOCK,), heights=tuple(range(MOST_THREADS)))
        last = Ask(service="late", address=pit)
        readings = HttpNodes(timeout_seconds=SHORT).read([first, last], now=NOW)
    assert readings["pit"].answers == {Endpoint.BLOCK: Answer.TIMED_OUT}
    assert readings["late"].answers[Endpoint.LIVENESS] in (Answer.OUR_FAULT, Answer.TIMED_OUT)


def test_liveness_path_that_no_request_can_carry_is_our_fault() -> None:
    """A path from a wrong fleet file is our mistake, not the node's."""
    with served(a_node()) as address:
        web = Ask(service="web", address=address, liveness="/a b")
        assert HttpNodes().read([web], now=NOW)["web"].answers == {Endpoint.LIVENESS: Answer.OUR_FAULT}


def test_nothing_to_ask_is_nothing_read() -> None:
    """No asks, no threads, no readings."""
    assert HttpNodes().read([], now=NOW) == {}
