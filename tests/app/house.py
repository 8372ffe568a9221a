"""A house whose adapters are fakes: Chalice's real handlers run in it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from chalicelib.settings import Settings
from chalicelib.wiring import House
from tests.run.stage import FLEETS, Stage

EVENTS = Path(__file__).parents[1] / "events" / "data"


@dataclass
class Context:
    """Lambda's context, as far as the handlers look at it."""

    function_name: str = "xai-ops-test"
    aws_request_id: str = "request-1"
    left: int = 60_000
    identity: Any = None

    def get_remaining_time_in_millis(self) -> int:
        """The time that is left."""
        return self.left


class FakeHouse(House):
    """Everything from one stage on fakes; nothing reaches AWS."""

    def __init__(self, stage: Stage) -> None:
        """The stage's clock is the house's."""
        settings = Settings(
            environment="staging", table="t", tick_queue_url="q", fleet_file=FLEETS / "staging.yaml",
            region="us-east-1", trackers_url=None, bucket=None, public_url=None, probe_timeout_seconds=1.0, lease_seconds=90,
        )  # fmt: skip
        super().__init__(settings, clock=lambda: stage.now)
        self.stage = stage

    @cached_property
    def fleet(self) -> Any:
        """The stage's."""
        return self.stage.fleet

    @cached_property
    def aws(self) -> Any:
        """None may be asked for."""
        raise AssertionError("a fake house reaches for AWS")

    @cached_property
    def ledger(self) -> Any:
        """The stage's."""
        return self.stage.ledger

    @cached_property
    def queue(self) -> Any:
        """The stage's."""
        return self.stage.queue

    @cached_property
    def images(self) -> Any:
        """The stage's."""
        return self.stage.ecr

    @cached_property
    def alarms(self) -> Any:
        """The stage's."""
        return self.stage.alarms

    @cached_property
    def eyes(self) -> Any:
        """The stage's."""
        return self.stage.room.eyes

    @cached_property
    def hands(self) -> Any:
        """The stage's."""
        return self.stage.room.hands

    def desk(self, may_go_on: Any) -> Any:
        """The stage's."""
        return replace(self.stage.desk, circumstances=self, may_go_on=may_go_on)


def recorded(name: str, **detail: Any) -> dict[str, Any]:
    """A recorded event, with some of its detail changed."""
    event: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    event["detail"] = {**event["detail"], **detail}
    return event
