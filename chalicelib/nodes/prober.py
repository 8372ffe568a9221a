"""The port `Nodes` over HTTP: put every question to every service at once, within one time-out.

Knows sockets and threads; what an answer means stands in answers.py (the table). No retries: the next tick asks again.
No redirects: a node that sends us elsewhere has not answered. One connection a question, closed after it: a connection
kept over a frozen Lambda would look like a node that hangs up.
Must not know limits, verdicts or what a rollout does with a reading.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from datetime import datetime
from errno import EHOSTUNREACH, ENETUNREACH
from http.client import HTTPConnection, HTTPException, InvalidURL
from urllib.parse import urlsplit

from chalicelib.health.model import Answer, Reading
from chalicelib.nodes.answers import MOST_BYTES, Heard, Question, heard, questions_of, reading_of, shown
from chalicelib.rollout.ports import Ask

MOST_THREADS = 128
_CHUNK = 64 * 1024


class HttpNodes:
    """The port `Nodes`."""

    def __init__(self, *, timeout_seconds: float = 3.0, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Give a whole read this many real seconds, connecting included."""
        self._timeout = timeout_seconds
        self._monotonic = monotonic

    def read(self, asks: Sequence[Ask], *, now: datetime) -> Mapping[str, Reading]:
        """Ask all at once, within one time-out. Never raises."""
        probes = [_Probe(question) for ask in asks for question in questions_of(ask)]
        answers = self._hear(probes) if probes else []
        return {ask.service: reading_of(ask, [h for h in answers if h.question.ask is ask], now=now) for ask in asks}

    def _hear(self, probes: Sequence[_Probe]) -> list[Heard]:
        """Run all probes; those that are not done at the deadline are cut off, so that no thread outlives the read long."""
        deadline = self._monotonic() + self._timeout
        pool = ThreadPoolExecutor(max_workers=min(len(probes), MOST_THREADS), thread_name_prefix="probe")
        try:
            running = [pool.submit(self._run, probe, deadline) for probe in probes]
            wait(running, timeout=max(0.0, deadline - self._monotonic()))
            return [self._outcome(probe, future) for probe, future in zip(probes, running, strict=True)]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _run(self, probe: _Probe, deadline: float) -> Heard:
        left = deadline - self._monotonic()
        return probe.run(left) if left > 0 else probe.timed_out("not answered in time")

    def _outcome(self, probe: _Probe, future: Future[Heard]) -> Heard:
        if future.cancel():
            return probe.our_fault("not asked: too many questions at once")
        if future.done():
            return future.result()
        probe.cut_off()
        return probe.timed_out(f"no whole answer within {self._timeout:g} s")


class _Probe:
    """One question on its way: its connection, which another thread may cut off."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self._socket: socket.socket | None = None

    def run(self, seconds: float) -> Heard:
        """Ask, and class whatever comes of it."""
        try:
            return self._ask(seconds)
        except TimeoutError:
            return self.timed_out(f"no answer within {seconds:.1f} s")
        except InvalidURL as error:
            return self.our_fault(f"not asked: {error}")
        except (ConnectionError, HTTPException) as error:
            return self._heard(Answer.SICK, f"connection failed: {_said(error)}")
        except OSError as error:
            if isinstance(error, socket.gaierror) or error.errno in (EHOSTUNREACH, ENETUNREACH):
                return self.timed_out(f"not reached: {_said(error)}")
            return self.our_fault(f"not asked: {_said(error)}")
        except ValueError as error:
            return self.our_fault(f"not asked: {_said(error)}")

    def cut_off(self) -> None:
        """End a connection that another thread reads from."""
        if self._socket is not None:
            with suppress(OSError):  # it may have ended by itself just now
                self._socket.shutdown(socket.SHUT_RDWR)

    def timed_out(self, note: str) -> Heard:
        """No answer."""
        return self._heard(Answer.TIMED_OUT, note)

    def our_fault(self, note: str) -> Heard:
        """Our side could not ask."""
        return self._heard(Answer.OUR_FAULT, note)

    def _heard(self, answer: Answer, note: str) -> Heard:
        return Heard(question=self._question, answer=answer, note=note)

    def _ask(self, seconds: float) -> Heard:
        place = urlsplit(f"//{self._question.ask.address}")
        if place.hostname is None or place.port is None:
            raise ValueError(f"address {self._question.ask.address!r} is not host:port")
        connection = HTTPConnection(place.hostname, place.port, timeout=seconds)
        try:
            connection.connect()
            self._socket = connection.sock
            headers = {"Accept": "application/json", "User-Agent": "xai-ops", "Connection": "close"}
            connection.request("GET", self._question.path, headers=headers)
            response = connection.getresponse()
            body = bytearray()
            while len(body) <= MOST_BYTES and (chunk := response.read(_CHUNK)):
                body += chunk
            if len(body) > MOST_BYTES:
                return self._heard(Answer.SICK, f"answered {response.status} with more than {MOST_BYTES} bytes")
            return heard(self._question, response.status, bytes(body))
        finally:
            connection.close()


def _said(error: BaseException) -> str:
    return shown(f"{type(error).__name__}: {error}".encode(errors="replace"))
