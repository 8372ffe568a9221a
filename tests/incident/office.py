"""Incidents on fakes, advanced tick by tick with a hand-moved clock: what their use-case tests stand on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from chalicelib.errors import LostRaceError
from chalicelib.fleet.model import Incidents
from chalicelib.incident.document import Document, paragraph
from chalicelib.incident.model import Grade, Incident, Report, Says
from chalicelib.incident.ports import Explanation
from chalicelib.incident.run import Desk, advance_incidents
from tests.fakes.calls import Calls, Crash
from tests.fakes.ledger import FakeLedger
from tests.fakes.tracker import FakeTracker

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
KEY = "staging/nodes/memory_high"
POLICY = Incidents.model_validate(
    {
        "trackers": {
            "main": {"type": "github", "repository": "xai/ops", "token_secret": "t"},
            "chat": {"type": "slack", "channel": "C1", "token_secret": "t"},
            "mail": {"type": "sns", "topic": "arn:aws:sns:us-east-1:123456789012:ops"},
        },
        "fallback": "mail",
        "routes": [
            {"grades": ["P1", "P2"], "to": ["main", "chat"]},
            {"grades": ["P3", "P4"], "to": ["main"], "quiet": [{"start": "20:00", "end": "07:00"}]},
        ],
    }
)


class FakeAlarms:
    """What CloudWatch says of alarms."""

    def __init__(self) -> None:
        """Nothing is known."""
        self.all: dict[str, str] = {}
        self.error: Exception | None = None

    def states(self, names: Sequence[str]) -> Mapping[str, str]:
        """See the port."""
        if self.error is not None:
            raise self.error
        return {name: self.all[name] for name in names if name in self.all}


class Office:
    """A ledger with reports, trackers, and a clock that the test moves."""

    def __init__(self, policy: Incidents = POLICY) -> None:
        """Nothing to tell yet."""
        self.calls = Calls()
        self.ledger = FakeLedger(self.calls)
        self.trackers = {name: FakeTracker(self.calls) for name in policy.trackers}
        self.policy = policy
        self.alarms = FakeAlarms()
        self.explanation: Explanation | None = None
        self.time_is_up = False
        self.now = NOW

    def explain(self, incident: Incident, now: datetime) -> Explanation | None:
        """The port `Circumstances`."""
        return self.explanation

    def gather(self, incident: Incident, now: datetime) -> Document:
        """The port `Evidence`."""
        return (paragraph("evidence"),)

    @property
    def desk(self) -> Desk:
        """What a call works with."""
        return Desk(
            outbox=self.ledger, trackers=self.trackers, policy=self.policy, circumstances=self, alarms=self.alarms,
            evidence=self, lease_seconds=60, may_go_on=lambda: not self.time_is_up,
        )  # fmt: skip

    def note(self, *reports: Report) -> None:
        """Reports arrive now."""
        self.ledger.put_reports(reports, wake_at=self.now)

    def tick(self) -> int:
        """One call."""
        return advance_incidents(self.desk, now=self.now)

    def pass_time(self, seconds: float, *, step: float = 30.0) -> None:
        """Let time pass, with the schedule's tick in it."""
        end = self.now + timedelta(seconds=seconds)
        while self.now < end:
            self.now = min(end, self.now + timedelta(seconds=step))
            try:
                self.tick()
            except (Crash, LostRaceError):
                self.calls.heal()

    def incident(self, key: str = KEY) -> Incident:
        """The record."""
        return self.ledger.all_incidents[key].incident

    @property
    def main(self) -> FakeTracker:
        """The tracker that every grade goes to."""
        return self.trackers["main"]

    def report(
        self,
        member: str = "node-1",
        says: Says = Says.FIRING,
        *,
        key: str = KEY,
        grade: Grade = Grade.P2,
        at: datetime | None = None,
        direct: bool = False,
        title: str = "[staging] nodes: memory_high",
        alarm: str | None = None,
    ) -> Report:
        """A report of now, unless told otherwise."""
        moment = at or self.now
        return Report(
            id=f"{key}/{member}/{says}/{moment.isoformat()}/{title}", key=key, kind="memory_high", grade=grade, title=title,
            at=moment, body=(paragraph(f"{member} is at 91 %"),), says=says, member=member, group="nodes",
            labels=("memory_high",), direct=direct, alarm=alarm,
        )  # fmt: skip
