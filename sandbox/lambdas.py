"""Lambda of the sandbox: delivers events, queue messages and schedules to app.py's own handlers, as AWS would.

Patterns and schedules are read from the Chalice app, so what is deployed is what runs here. Delivery is at least once:
a raising handler is tried three times, a queue message comes again, a chain of a function that feeds its own queue is
stopped after 16 hops unless the function's recursion setting allows it.
"""

from __future__ import annotations

import contextvars
import random
import re
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from types import ModuleType
from typing import Any

import botocore.session
from botocore.credentials import Credentials, ReadOnlyCredentials
from moto.events.models import EventPattern
from moto.sqs.models import sqs_backends

from sandbox.clock import ScaledClock
from sandbox.cloud import ROLE_KEY
from sandbox.dataplane.events import ACCOUNT, envelope
from sandbox.switches import Faults

MAX_HOPS = 16  # https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html
MAX_RECEIVES = 5  # then SQS moves a message to the dead-letter queue
RETRY_SECONDS = (60.0, 120.0)  # asynchronous invocation: two retries
TIMEOUT_SECONDS = 60
_hops: contextvars.ContextVar[int] = contextvars.ContextVar("hops", default=0)
_function: contextvars.ContextVar[str] = contextvars.ContextVar("function", default="")


@contextmanager
def running(function: str) -> Iterator[None]:
    """What is called in here is called by this function."""
    token = _function.set(function)
    try:
        yield
    finally:
        _function.reset(token)


class RoleCredentials(Credentials):
    """The keys of whichever function runs. In AWS each has a process of its own, with the keys of its own role.

    A call, and a link that is signed for others, then tells who made it. A thread that a handler starts without its
    context has nobody's keys: its calls are recorded as nobody's.
    """

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """Asked at each signature."""
        return ReadOnlyCredentials(f"{ROLE_KEY}{_function.get()}", self.secret_key, None)


class _Roles:
    """Where a botocore session looks for credentials."""

    @staticmethod
    def load_credentials() -> RoleCredentials:
        return RoleCredentials("testing", "testing")


class LambdaKilledError(BaseException):
    """Injected by a test: the Lambda dies here and now, whatever it was doing."""


class Context:
    """Lambda's context object."""

    def __init__(self, name: str, region: str) -> None:
        """For one invocation; its time is real, as a Lambda's is."""
        self.function_name = name
        self.aws_request_id = str(uuid.uuid4())
        self.invoked_function_arn = f"arn:aws:lambda:{region}:{ACCOUNT}:function:{name}"
        self.memory_limit_in_mb = 256
        self.function_version = "$LATEST"
        self.log_group_name = f"/aws/lambda/{name}"
        self.log_stream_name = "sandbox"
        self.identity = None
        self.client_context = None
        self._ends = time.monotonic() + TIMEOUT_SECONDS

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until Lambda would end it."""
        return int((self._ends - time.monotonic()) * 1000)


class Lambdas:
    """The functions of one stage."""

    def __init__(
        self, app: ModuleType, clock: ScaledClock, faults: Faults, *, stage: str, region: str, queue: str
    ) -> None:
        """Nothing is delivered until `start`."""
        self._app, self._clock, self._faults, self._region = app, clock, faults, region
        self._prefix, self._queue = f"{app.app.app_name}-{stage}-", queue
        self._rules: list[tuple[str, EventPattern]] = []
        self._schedules: list[list[Any]] = []  # [name, seconds, next]
        self._tick = ""
        for source in app.app.event_sources:
            kind = type(source).__name__
            if kind == "CloudWatchEventConfig":
                self._rules.append((source.name, EventPattern(None, source.event_pattern)))
            elif kind == "ScheduledEventConfig":
                expression = source.schedule_expression
                text = expression if isinstance(expression, str) else expression.to_string()
                self._schedules.append(
                    [source.name, _rate_seconds(text), clock() + timedelta(seconds=_rate_seconds(text))]
                )
            elif kind == "SQSEventConfig":
                self._tick = source.name
        self._pool = ThreadPoolExecutor(max_workers=6, thread_name_prefix="lambda")
        self._later: list[tuple[float, Callable[[], None]]] = []
        self._allowed: set[str] = set()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._receives: dict[str, int] = {}
        self.dead_letters: list[dict[str, Any]] = []
        self.stopped_chains = 0
        self.crash: Callable[[str], None] = lambda _name: None  # a test's hook, called as each invocation begins

    def start(self) -> None:
        """Deliver until stopped."""
        for target in (self._time_loop, self._queue_loop):
            thread = threading.Thread(target=target, daemon=True, name=target.__name__)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Stop delivering, and wait for what runs."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=3)
        self._pool.shutdown(wait=True, cancel_futures=True)

    def allow_recursion(self, function: str, allowed: bool) -> None:
        """RecursiveLoop of a function: Allow or Terminate."""
        (self._allowed.add if allowed else self._allowed.discard)(function.removeprefix(self._prefix))

    def install_lineage(self, session: botocore.session.Session) -> None:
        """Let our handlers' queue messages carry the trace header, as the AWS SDK does in Lambda."""

        def add_header(params: dict[str, Any], **_: Any) -> None:
            header = {
                "StringValue": f"Root=1-00000000-{uuid.uuid4().hex[:24]};Lineage=1:{_hops.get()}",
                "DataType": "String",
            }
            params["MessageSystemAttributes"] = {"AWSTraceHeader": header}

        session.get_component("event_emitter").register("provide-client-params.sqs.SendMessage", add_header)

    @staticmethod
    def install_roles(session: botocore.session.Session) -> None:
        """Let each call be signed with the keys of the function that makes it."""
        session.register_component("credential_provider", _Roles())

    # ------------------------------------------------------------------------------------------ invoking

    def invoke(self, function: str, payload: Any, kind: str = "RequestResponse") -> tuple[Any, str | None]:
        """Lambda's Invoke: the result and None, or the error and "Unhandled". Raises KeyError: no such function."""
        name = function.removeprefix(self._prefix)
        handler = getattr(self._app, name, None)
        if handler is None or name not in self.functions():
            raise KeyError(function)
        if kind == "Event":
            self._deliver(name, payload)
            return None, None
        try:
            return self._run(name, payload), None
        except Exception as error:  # Lambda's runtime answers whatever the handler raised
            trace = traceback.format_exc().splitlines()
            return {"errorType": type(error).__name__, "errorMessage": str(error), "stackTrace": trace}, "Unhandled"

    def functions(self) -> list[str]:
        """The names of all functions."""
        return [*(s.name for s in self._app.app.event_sources), *(f.name for f in self._app.app.pure_lambda_functions)]

    def _run(self, name: str, payload: Any) -> Any:
        self.crash(name)
        context = Context(self._prefix + name, self._region)
        with running(name):
            return getattr(self._app, name)(payload, context)

    def _deliver(self, name: str, payload: Any, attempt: int = 0) -> None:
        """Asynchronous invocation: tried again after one and two minutes, then dead."""

        def run() -> None:
            _hops.set(0)
            try:
                self._run(name, payload)
            except (Exception, LambdaKilledError) as error:
                if attempt < len(RETRY_SECONDS):
                    self._after(RETRY_SECONDS[attempt], lambda: self._deliver(name, payload, attempt + 1))
                else:
                    self.dead_letters.append({"function": name, "payload": payload, "error": repr(error)})

        if not self._stop.is_set():
            self._pool.submit(run)

    def _after(self, seconds: float, call: Callable[[], None]) -> None:
        self._later.append((time.monotonic() + self._clock.to_real(seconds), call))

    # ------------------------------------------------------------------------------------------ events, schedules, queue

    def publish(self, event: dict[str, Any]) -> None:
        """Deliver an event to the functions whose rule matches, as lossy and disorderly as the faults say."""
        if self._faults.lose_events:
            return
        times = 2 if self._faults.duplicate_events else 1
        for name, pattern in self._rules:
            if pattern.matches_event(event):
                for _ in range(times):
                    delay = random.uniform(0, 60) if self._faults.shuffle_events else 0.0
                    self._after(delay, partial(self._deliver, name, event))

    def _time_loop(self) -> None:
        while not self._stop.wait(0.01):
            now = time.monotonic()
            due = [entry for entry in list(self._later) if entry[0] <= now]
            for entry in due:
                self._later.remove(entry)
                entry[1]()
            for schedule in self._schedules:
                name, seconds, at = schedule
                if self._clock() >= at:
                    schedule[2] = self._clock() + timedelta(seconds=seconds)
                    event = envelope(
                        "aws.events", "Scheduled Event", {}, [f"rule/{self._prefix}{name}-event"], self._region, at
                    )
                    self._deliver(name, event)

    def _queue_loop(self) -> None:
        """SQS event source mapping: look into moto's queue directly, so that an empty poll costs nothing."""
        while not self._stop.wait(0.01):
            queue = sqs_backends[ACCOUNT][self._region].queues.get(self._queue)
            if queue is None:
                continue
            for message in list(queue._messages):  # noqa: SLF001 - moto has no cheaper look
                if message.visible and not message.delayed:
                    queue._messages.remove(message)  # noqa: SLF001
                    self._pool.submit(self._consume, queue, message)

    def _consume(self, queue: Any, message: Any) -> None:
        header = (message.system_attributes or {}).get("AWSTraceHeader", {}).get("StringValue", "")
        hops = int(header.rsplit(":", 1)[-1] or 0) if ":" in header else 0
        if hops >= MAX_HOPS and self._tick not in self._allowed:
            self.stopped_chains += 1
            self.dead_letters.append({"function": self._tick, "payload": message.body, "error": "RecursiveInvocation"})
            return
        _hops.set(hops + 1)
        receives = self._receives[message.id] = self._receives.get(message.id, 0) + 1
        record = {
            "messageId": message.id, "receiptHandle": "sandbox", "body": message.body, "md5OfBody": message.body_md5,
            "attributes": {"ApproximateReceiveCount": str(receives), "AWSTraceHeader": header},
            "messageAttributes": {}, "eventSource": "aws:sqs", "awsRegion": self._region, "eventSourceARN": queue.queue_arn,
        }  # fmt: skip
        try:
            answer = self._run(self._tick, {"Records": [record]})
            failed = bool(answer and answer.get("batchItemFailures"))
        except (Exception, LambdaKilledError):
            failed = True
        if not failed:
            return
        if receives >= MAX_RECEIVES:
            self.dead_letters.append({"function": self._tick, "payload": message.body, "error": "MaxReceives"})
            return
        self._after(float(queue.visibility_timeout), lambda: queue._messages.append(message))  # noqa: SLF001


def _rate_seconds(expression: str) -> float:
    found = re.fullmatch(r"rate\((\d+) (minute|hour|day)s?\)", expression)
    if found is None:
        raise ValueError(f"the sandbox fires rate(...) schedules only, not {expression}")
    return int(found[1]) * {"minute": 60.0, "hour": 3600.0, "day": 86400.0}[found[2]]
