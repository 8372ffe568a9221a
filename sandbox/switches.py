"""Faults that a scenario may switch on: in the cloud's answers, in what it delivers, and in its capacity."""

from __future__ import annotations

import threading
from dataclasses import dataclass

KINDS = ("throttle", "error500", "denied", "latency", "lost_answer")


@dataclass(slots=True)
class Fault:
    """One fault of the API: which calls, what happens, how often (None: until removed)."""

    kind: str
    service: str | None
    operation: str | None
    times: int | None


class Faults:
    """All switches; safe between threads."""

    def __init__(self) -> None:
        """Everything works."""
        self.no_capacity = False  # ECS cannot place a task
        self.blackhole_probes = False  # our side reaches no container
        self.lose_events = False
        self.duplicate_events = False
        self.shuffle_events = False
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(
        self, kind: str, service: str | None = None, operation: str | None = None, times: int | None = None
    ) -> Fault:
        """Let calls of our handlers fail: of a service and operation as boto3 spells them, None for any."""
        if kind not in KINDS:
            raise ValueError(f"fault {kind!r}; there are: {', '.join(KINDS)}")
        fault = Fault(kind=kind, service=service, operation=operation, times=times)
        with self._lock:
            self._faults.append(fault)
        return fault

    def remove(self, fault: Fault) -> None:
        """End a fault."""
        with self._lock:
            if fault in self._faults:
                self._faults.remove(fault)

    def take(self, service: str, operation: str) -> str | None:
        """The kind of fault that this call meets, counted down."""
        with self._lock:
            for fault in self._faults:
                if fault.service in (None, service) and fault.operation in (None, operation):
                    if fault.times is not None:
                        fault.times -= 1
                        if fault.times <= 0:
                            self._faults.remove(fault)
                    return fault.kind
        return None
