"""What was called, and which call fails: every method of every fake goes through one of these."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import RLock
from typing import TypeVar

T = TypeVar("T")


class Crash(BaseException):
    """The Lambda died here. No OpsError, so that nothing in chalicelib can catch it and go on."""


@dataclass
class _Fault:
    error: BaseException
    name: str | None  # None: any call
    at: int  # counted from 1, among the calls that match
    after: bool
    times: int
    seen: int = 0

    def strikes(self, name: str) -> bool:
        if self.name not in (None, name):
            return False
        self.seen += 1
        return self.at <= self.seen < self.at + self.times


@dataclass
class Calls:
    """The names of all calls, oldest first, and the faults that lie in wait."""

    names: list[str] = field(default_factory=list)
    _faults: list[_Fault] = field(default_factory=list)
    _lock: RLock = field(default_factory=RLock)

    def fail(self, name: str | None, error: BaseException, *, at: int = 1, after: bool = False, times: int = 1) -> None:
        """Raise `error` at the n-th call of this name from now on (None: of any), before or after performing it."""
        self._faults.append(_Fault(error, name, at, after, times))

    def heal(self) -> None:
        """Forget all faults."""
        self._faults.clear()

    def perform(self, name: str, action: Callable[[], T]) -> T:
        """Record the call and perform it, unless a fault says otherwise."""
        with self._lock:  # the action too: a fake is as atomic as one call to AWS
            self.names.append(name)
            striking = [fault for fault in self._faults if fault.strikes(name)]
            for fault in striking:
                if not fault.after:
                    raise fault.error
            result = action()
            for fault in striking:
                raise fault.error
            return result

    def count(self, name: str) -> int:
        """How often this was called, whatever came of it."""
        return self.names.count(name)


class Called:
    """What all fakes share: the calls."""

    def __init__(self, calls: Calls | None = None) -> None:
        """Share these calls with other fakes, or keep some of its own."""
        self.calls = calls or Calls()

    def _call(self, name: str, action: Callable[[], T]) -> T:
        return self.calls.perform(name, action)
