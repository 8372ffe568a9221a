"""The composition root: settings, fleet file and adapters joined up, each made when first asked for.

The one clock of the system stands here. Only app, the sandbox and tests import this module; they may `install` a house
of their own (another clock, another botocore session) without anything else knowing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from chalicelib.settings import Settings, read_settings

if TYPE_CHECKING:  # each import is paid when its adapter is first asked for, not at cold start
    import botocore.session

    from chalicelib.aws.ledger import DynamoLedger
    from chalicelib.aws.session import Aws
    from chalicelib.fleet.model import Fleet
    from chalicelib.incident.ports import Tracker
    from chalicelib.rollout.act import Hands
    from chalicelib.rollout.look import Eyes
    from chalicelib.rollout.ports import Images, Nodes, WakeQueue
    from chalicelib.rollout.run import Room

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The time, as everywhere in this system: aware, in UTC."""
    return datetime.now(UTC)


class House:
    """Everything that a handler needs, wired once per process."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock = utc_now,
        session: botocore.session.Session | None = None,
        nodes: Callable[[Nodes], Nodes] = lambda nodes: nodes,
    ) -> None:
        """Wire for these settings; the sandbox gives its own clock and session, and wraps the prober."""
        self.settings = settings
        self.clock = clock
        self._session = session
        self._wrap_nodes = nodes

    @cached_property
    def fleet(self) -> Fleet:
        """The validated fleet file. Raises MisconfiguredError."""
        from chalicelib.fleet.load import load  # noqa: PLC0415

        fleet = load(self.settings.fleet_file)
        if fleet.environment != self.settings.environment:
            from chalicelib.errors import MisconfiguredError  # noqa: PLC0415

            found, wanted = fleet.environment, self.settings.environment
            raise MisconfiguredError(f"{self.settings.fleet_file.name} is of {found}, but this stage is {wanted}")
        return fleet

    @cached_property
    def aws(self) -> Aws:
        """AWS, over one botocore session."""
        from chalicelib.aws.session import Aws  # noqa: PLC0415

        return Aws(self.settings.region, self._session)

    @cached_property
    def ledger(self) -> DynamoLedger:
        """The ops table."""
        from chalicelib.aws.ledger import DynamoLedger  # noqa: PLC0415

        return DynamoLedger(self.aws, self.settings.table)

    @cached_property
    def queue(self) -> WakeQueue:
        """The tick queue."""
        from chalicelib.aws.queue import SqsWakeQueue  # noqa: PLC0415

        return SqsWakeQueue(self.aws, self.settings.tick_queue_url)

    @cached_property
    def images(self) -> Images:
        """ECR."""
        from chalicelib.aws.ecr import EcrImages  # noqa: PLC0415

        return EcrImages(self.aws)

    @cached_property
    def eyes(self) -> Eyes:
        """What a tick reads through."""
        from chalicelib.aws.alarms import CloudWatchAlarms  # noqa: PLC0415
        from chalicelib.aws.ecs import EcsServices  # noqa: PLC0415
        from chalicelib.aws.logs import CloudWatchLogs  # noqa: PLC0415
        from chalicelib.aws.targets import AlbTargets  # noqa: PLC0415
        from chalicelib.nodes.prober import HttpNodes  # noqa: PLC0415
        from chalicelib.rollout.look import Eyes  # noqa: PLC0415

        return Eyes(
            services=EcsServices(self.aws, self.fleet.cluster),
            images=self.images,
            alarms=CloudWatchAlarms(self.aws),
            targets=AlbTargets(self.aws),
            logs=CloudWatchLogs(self.aws),
            nodes=self._wrap_nodes(HttpNodes(timeout_seconds=self.settings.probe_timeout_seconds)),
        )

    @cached_property
    def hands(self) -> Hands:
        """What a tick writes through."""
        from chalicelib.aws.ecs_deploy import EcsDeployer  # noqa: PLC0415
        from chalicelib.rollout.act import Hands  # noqa: PLC0415

        deployer = EcsDeployer(self.aws, self.fleet.cluster)
        return Hands(services=self.eyes.services, deployer=deployer, images=self.images)

    @cached_property
    def tracker(self) -> Tracker:
        """The fleet file's tracker; its token is read when the first ticket is written."""
        from chalicelib.aws.secrets import TokenStore  # noqa: PLC0415
        from chalicelib.tickets.github import GitHubIssues  # noqa: PLC0415

        tickets, tokens = self.fleet.tickets, TokenStore(self.aws)
        return GitHubIssues(
            api_url=self.settings.tickets_api_url or tickets.api_url,
            repository=tickets.repository,
            token=lambda: tokens.get(tickets.token_secret),
            labels=tickets.labels,
        )

    def room(self, may_go_on: Callable[[], bool]) -> Room:
        """What one tick needs."""
        from chalicelib.rollout.run import Room  # noqa: PLC0415

        return Room(
            fleet=self.fleet,
            ledger=self.ledger,
            eyes=self.eyes,
            hands=self.hands,
            queue=self.queue,
            lease_seconds=self.settings.lease_seconds,
            may_go_on=may_go_on,
        )


_installed: House | None = None


def house() -> House:
    """This process' house; made from the environment at the first call."""
    global _installed  # noqa: PLW0603 - one Lambda process is one house
    if _installed is None:
        _installed = House(read_settings(os.environ))
    return _installed


def install(house: House | None) -> None:
    """Put a house of one's own in place (the sandbox, tests), or None to read the environment anew."""
    global _installed  # noqa: PLW0603
    _installed = house
