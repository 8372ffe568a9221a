"""Lambda's delivery in the sandbox: retries, dead letters, recursion, schedules; with a Chalice app of a few lines."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

import pytest
from chalice import Chalice
from chalice.app import Rate

from chalicelib.aws.session import Aws
from sandbox.clock import ScaledClock
from sandbox.dataplane.events import envelope
from sandbox.gaps import close_gaps
from sandbox.lambdas import MAX_HOPS, Lambdas
from sandbox.switches import Faults
from tests.fakes.cloud import REGION, fresh_session
from tests.fakes.moto_fixtures import aws, moto
from tests.sandbox.stage import eventually

__all__ = ["aws", "moto"]
SCALE = 1000.0
EVENT = envelope("aws.ecr", "ECR Image Action", {"a": 1}, [], REGION, datetime(2026, 1, 31, 12, tzinfo=UTC))


def tiny_app() -> Any:
    """An app with one function of each kind; `seen` is what they were called with, the others what they do."""
    app = Chalice(app_name="tiny")
    module: Any = ModuleType("tiny")
    module.app, module.seen, module.on_tick, module.on_event = app, [], lambda _body: None, lambda: None

    @app.on_cw_event({"source": ["aws.ecr"]})
    def pushed(event: Any) -> None:
        module.seen.append(("pushed", event.detail))
        module.on_event()

    @app.on_sqs_message(queue="ticks")
    def tick(event: Any) -> Any:
        bodies = [record.body for record in event]
        module.seen.append(("tick", *bodies))
        return module.on_tick(bodies[0])

    @app.schedule(Rate(1, unit=Rate.MINUTES))
    def sweep(event: Any) -> None:
        module.seen.append(("sweep",))

    @app.lambda_function()
    def status(event: Any, context: Any) -> Any:
        if event.get("fail"):
            raise ValueError(event["fail"])
        return {"name": context.function_name, "left": context.get_remaining_time_in_millis()}

    module.pushed, module.tick, module.sweep, module.status = pushed, tick, sweep, status
    return module


class Runtime:
    """The functions, and the queue that feeds one of them."""

    def __init__(self) -> None:
        """Start delivering."""
        self.app, self.faults = tiny_app(), Faults()
        clock = ScaledClock(SCALE)
        self._open_gaps = close_gaps(clock, REGION, lambda _e: None, lambda _arn: [])
        self.lambdas = Lambdas(self.app, clock, self.faults, stage="test", region=REGION, queue="ticks")
        session = fresh_session()
        self.lambdas.install_lineage(session)
        self.sqs = Aws(REGION, session).client("sqs")
        self.url = self.sqs.create_queue(QueueName="ticks", Attributes={"VisibilityTimeout": "60"})["QueueUrl"]
        self.lambdas.start()

    def send(self, body: str) -> None:
        """A message to the queue."""
        self.sqs.send_message(QueueUrl=self.url, MessageBody=body)

    def times(self, *what: Any) -> int:
        """How often a function was called so."""
        return sum(1 for each in self.app.seen if each[: len(what)] == what)

    def stop(self) -> None:
        """Stop delivering."""
        self.lambdas.stop()
        self._open_gaps()


@pytest.fixture
def runtime(aws: Aws) -> Iterator[Runtime]:
    """A runtime of the tiny app."""
    found = Runtime()
    yield found
    found.stop()


def fail(*_: Any) -> Any:
    """Raise."""
    raise RuntimeError("boom")


def test_event_reaches_the_functions_whose_rule_matches(runtime: Runtime) -> None:
    """Others are not woken."""
    runtime.lambdas.publish(EVENT)
    runtime.lambdas.publish({**EVENT, "source": "aws.s3"})
    eventually(lambda: runtime.times("pushed", {"a": 1}))
    time.sleep(0.1)
    assert runtime.times("pushed") == 1


def test_raising_handler_is_retried_twice_and_then_dead(runtime: Runtime) -> None:
    """Three tries, a minute and two apart on the sandbox's clock."""
    runtime.app.on_event = fail
    runtime.lambdas.publish(EVENT)
    eventually(lambda: runtime.lambdas.dead_letters)
    assert runtime.times("pushed") == 3
    assert runtime.lambdas.dead_letters == [
        {"function": "pushed", "payload": EVENT, "error": "RuntimeError('boom')"},
    ]


def test_handler_that_recovers_is_not_dead(runtime: Runtime) -> None:
    """The second try is enough."""
    tries: list[int] = []

    def once() -> None:
        tries.append(1)
        if len(tries) == 1:
            fail()

    runtime.app.on_event = once
    runtime.lambdas.publish(EVENT)
    eventually(lambda: len(tries) == 2)
    time.sleep(0.3)
    assert (len(tries), runtime.lambdas.dead_letters) == (2, [])


def test_message_of_a_raising_handler_comes_again_until_it_is_dead(runtime: Runtime) -> None:
    """Five receives, a visibility time-out apart, then the dead-letter queue."""
    runtime.app.on_tick = fail
    runtime.send("x")
    eventually(lambda: runtime.lambdas.dead_letters)
    assert runtime.times("tick", "x") == 5
    assert runtime.lambdas.dead_letters[0]["error"] == "MaxReceives"


def test_message_that_is_reported_as_failed_comes_again(runtime: Runtime) -> None:
    """ReportBatchItemFailures: what is named is delivered once more, the rest is done."""
    answers: list[Any] = [{"batchItemFailures": [{"itemIdentifier": "any"}]}, {"batchItemFailures": []}]
    runtime.app.on_tick = lambda _body: answers.pop(0)
    runtime.send("x")
    eventually(lambda: not answers)
    time.sleep(0.2)
    assert runtime.times("tick", "x") == 2


def feeds_itself(runtime: Runtime, *, until: int = 1000) -> Callable[[str], None]:
    """A handler that sends the next message of a chain."""

    def send_next(body: str) -> None:
        number = json.loads(body) + 1
        if number < until:
            runtime.send(json.dumps(number))

    return send_next


def test_chain_of_a_function_that_feeds_itself_is_stopped_after_sixteen_hops(runtime: Runtime) -> None:
    """Recursive-loop detection: the seventeenth message is dead."""
    runtime.app.on_tick = feeds_itself(runtime)
    runtime.send("0")
    eventually(lambda: runtime.lambdas.stopped_chains)
    time.sleep(0.2)
    assert runtime.times("tick") == MAX_HOPS == 16
    assert runtime.lambdas.dead_letters == [{"function": "tick", "payload": "16", "error": "RecursiveInvocation"}]


def test_allowed_chain_goes_on(runtime: Runtime) -> None:
    """RecursiveLoop=Allow on that function."""
    runtime.lambdas.allow_recursion("tiny-test-tick", True)
    runtime.app.on_tick = feeds_itself(runtime, until=40)
    runtime.send("0")
    eventually(lambda: runtime.times("tick") == 40)
    assert runtime.lambdas.stopped_chains == 0


def test_fresh_messages_begin_new_chains(runtime: Runtime) -> None:
    """Many messages from outside are no loop."""
    for number in range(20):
        runtime.send(json.dumps(number))
    eventually(lambda: runtime.times("tick") == 20)
    assert runtime.lambdas.stopped_chains == 0


def test_lost_events_are_not_delivered(runtime: Runtime) -> None:
    """Delivery is best effort."""
    runtime.faults.lose_events = True
    runtime.lambdas.publish(EVENT)
    time.sleep(0.1)
    assert runtime.times("pushed") == 0


def test_duplicated_events_are_delivered_twice(runtime: Runtime) -> None:
    """Delivery is at least once."""
    runtime.faults.duplicate_events = True
    runtime.lambdas.publish(EVENT)
    eventually(lambda: runtime.times("pushed") == 2)


def test_schedule_fires_on_the_sandboxs_clock(runtime: Runtime) -> None:
    """Every minute of it."""
    eventually(lambda: runtime.times("sweep") >= 3, seconds=2.0)


def test_invoked_function_answers_or_is_unhandled(runtime: Runtime) -> None:
    """By its short or its full name; an error has a type, a message and a trace."""
    for name in ("status", "tiny-test-status"):
        answer, error = runtime.lambdas.invoke(name, {})
        assert (answer["name"], error) == ("tiny-test-status", None)
        assert 0 < answer["left"] <= 60_000
    answer, error = runtime.lambdas.invoke("status", {"fail": "no"})
    assert (answer["errorType"], answer["errorMessage"], error) == ("ValueError", "no", "Unhandled")
    assert answer["stackTrace"]


@pytest.mark.parametrize("name", ["nothing", "app", "seen", "tiny-test-nothing", "__name__"])
def test_unknown_function_is_a_key_error(runtime: Runtime, name: str) -> None:
    """What the module holds beside its functions is none."""
    with pytest.raises(KeyError):
        runtime.lambdas.invoke(name, {})


def test_asynchronous_invocation_is_retried_as_an_event_is(runtime: Runtime) -> None:
    """The caller hears nothing of its end."""
    assert runtime.lambdas.invoke("status", {"fail": "no"}, "Event") == (None, None)
    eventually(lambda: runtime.lambdas.dead_letters)
    assert runtime.lambdas.dead_letters[0]["function"] == "status"
