"""What a tick watches and wakes, in memory: the ports `Alarms`, `Targets`, `Logs`, `Nodes`, `WakeQueue`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from chalicelib.errors import NotFoundError
from chalicelib.events.signals import AlarmChanged
from chalicelib.health.model import Answer, Reading
from chalicelib.rollout.model import Task
from chalicelib.rollout.ports import Ask
from tests.fakes.calls import Called, Calls
from tests.fakes.ecs import START


class FakeAlarms(Called):
    """Alarms by name."""

    def __init__(self, calls: Calls | None = None) -> None:
        """No alarm yet."""
        super().__init__(calls)
        self.all: dict[str, str] = {}
        self.since = START

    def states(self, names: Sequence[str]) -> Mapping[str, str]:
        """See the port."""
        return self._call("alarms.states", lambda: {name: self.all[name] for name in names if name in self.all})

    def firing(self) -> tuple[AlarmChanged, ...]:
        """See the adapter."""
        return self._call(
            "alarms.firing",
            lambda: tuple(
                AlarmChanged(arn=f"arn:{name}", name=name, state=state, at=self.since)
                for name, state in self.all.items()
                if state == "ALARM"
            ),
        )


class FakeTargets(Called):
    """Target groups by ARN."""

    def __init__(self, calls: Calls | None = None) -> None:
        """No target group yet."""
        super().__init__(calls)
        self.all: dict[str, tuple[str, ...]] = {}

    def states(self, target_group: str) -> tuple[str, ...]:
        """See the port."""
        return self._call("targets.states", lambda: self._states(target_group))

    def _states(self, target_group: str) -> tuple[str, ...]:
        if target_group not in self.all:
            raise NotFoundError(f"no target group {target_group}")
        return self.all[target_group]


class FakeLogs(Called):
    """The last lines by task ARN."""

    def __init__(self, calls: Calls | None = None) -> None:
        """No log yet."""
        super().__init__(calls)
        self.all: dict[str, str] = {}

    def tail(self, task: Task, definition: Mapping[str, Any], *, container: str) -> str:
        """See the port."""
        return self._call("logs.tail", lambda: self.all.get(task.arn, ""))


Telling = Reading | Callable[[Ask, datetime], Reading]


class FakeNodes(Called):
    """What each service says: a reading, or a function that makes one. One that is not listed times out."""

    def __init__(self, calls: Calls | None = None) -> None:
        """No node yet."""
        super().__init__(calls)
        self.all: dict[str, Telling] = {}
        self.asked: list[Ask] = []

    def read(self, asks: Sequence[Ask], *, now: datetime) -> Mapping[str, Reading]:
        """See the port."""
        self.asked += asks
        return self._call("nodes.read", lambda: {ask.service: self._read(ask, now) for ask in asks})

    def _read(self, ask: Ask, now: datetime) -> Reading:
        telling = self.all.get(ask.service)
        if telling is None:
            answers = dict.fromkeys(ask.endpoints, Answer.TIMED_OUT)
            return Reading(service=ask.service, at=now, answers=answers)
        return telling if isinstance(telling, Reading) else telling(ask, now)


class FakeQueue(Called):
    """The messages sent: (group, version, delay in seconds)."""

    def __init__(self, calls: Calls | None = None) -> None:
        """An empty queue."""
        super().__init__(calls)
        self.sent: list[tuple[str, int, float]] = []

    def wake(self, group: str, *, version: int, delay_seconds: float) -> None:
        """See the port."""
        message = (group, version, min(delay_seconds, 900.0))
        return self._call("queue.wake", lambda: self.sent.append(message))

    def wake_incident(self, key: str, *, delay_seconds: float) -> None:
        """See the port."""
        message = (key, 0, min(delay_seconds, 900.0))
        return self._call("queue.wake_incident", lambda: self.sent.append(message))
