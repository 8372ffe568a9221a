"""The composition root: settings, fleet file and adapters joined up, each made when first asked for.

The one clock of the system stands here. Only app, the sandbox and tests import this module; they may `install` a house
of their own (another clock, another botocore session) without anything else knowing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from chalicelib.settings import Settings, read_settings

if TYPE_CHECKING:  # each import is paid when its adapter is first asked for, not at cold start
    import botocore.session

    from chalicelib.aws.alarms import CloudWatchAlarms
    from chalicelib.aws.ledger import DynamoLedger
    from chalicelib.aws.pictures import Pictures
    from chalicelib.aws.queue import SqsWakeQueue
    from chalicelib.aws.session import Aws
    from chalicelib.fleet.model import Fleet
    from chalicelib.incident.model import Incident
    from chalicelib.incident.ports import Evidence, Explanation, Tracker
    from chalicelib.incident.run import Desk
    from chalicelib.rollout.act import Hands
    from chalicelib.rollout.look import Eyes
    from chalicelib.rollout.ports import Images, Nodes
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
        self.failing: set[str] = set()  # groups whose tick failed in this process
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
    def queue(self) -> SqsWakeQueue:
        """The tick queue."""
        from chalicelib.aws.queue import SqsWakeQueue  # noqa: PLC0415

        return SqsWakeQueue(self.aws, self.settings.tick_queue_url)

    @cached_property
    def images(self) -> Images:
        """ECR."""
        from chalicelib.aws.ecr import EcrImages  # noqa: PLC0415

        return EcrImages(self.aws)

    @cached_property
    def alarms(self) -> CloudWatchAlarms:
        """CloudWatch's alarms."""
        from chalicelib.aws.alarms import CloudWatchAlarms  # noqa: PLC0415

        return CloudWatchAlarms(self.aws)

    @cached_property
    def eyes(self) -> Eyes:
        """What a tick reads through."""
        from chalicelib.aws.ecs import EcsServices  # noqa: PLC0415
        from chalicelib.aws.logs import CloudWatchLogs  # noqa: PLC0415
        from chalicelib.aws.targets import AlbTargets  # noqa: PLC0415
        from chalicelib.nodes.prober import HttpNodes  # noqa: PLC0415
        from chalicelib.rollout.look import Eyes  # noqa: PLC0415

        return Eyes(
            services=EcsServices(self.aws, self.fleet.cluster),
            images=self.images,
            alarms=self.alarms,
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
    def trackers(self) -> Mapping[str, Tracker]:
        """The fleet file's trackers."""
        from chalicelib.wiring_trackers import make_trackers  # noqa: PLC0415

        return make_trackers(
            self.fleet.incidents, self.aws, environment=self.fleet.environment, base_url=self.settings.trackers_url
        )

    def desk(self, may_go_on: Callable[[], bool]) -> Desk:
        """What one call's ticks of incidents need; which trackers are down is known to that call alone."""
        from chalicelib.incident.run import Desk  # noqa: PLC0415

        return Desk(
            outbox=self.ledger,
            trackers=self.trackers,
            policy=self.fleet.incidents,
            circumstances=self,
            alarms=self.alarms,
            evidence=self.evidence,
            lease_seconds=self.settings.lease_seconds,
            may_go_on=may_go_on,
            wake=self._wake_incident,
        )

    def _wake_incident(self, key: str, seconds: float) -> None:
        """Ask for a tick of an incident; a lost wake is found by the schedule."""
        from chalicelib import observe  # noqa: PLC0415
        from chalicelib.errors import OpsError  # noqa: PLC0415

        try:
            self.queue.wake_incident(key, delay_seconds=seconds)
        except OpsError as error:
            observe.log("wake_lost", incident=key, error=str(error))

    @cached_property
    def evidence(self) -> Evidence:
        """What is read when an incident opens."""
        from chalicelib.aws.evidence import AwsEvidence  # noqa: PLC0415

        return AwsEvidence(self.fleet, self.ledger, self.eyes.services, self.eyes.logs, self.aws, self.pictures)

    @cached_property
    def pictures(self) -> Pictures | None:
        """The ops bucket's pictures, where there is a bucket and people can reach our HTTP API."""
        if self.settings.bucket is None or self.settings.public_url is None:
            return None
        from chalicelib.aws.pictures import Pictures  # noqa: PLC0415

        return Pictures(self.aws, bucket=self.settings.bucket, public_url=self.settings.public_url)

    def explain(self, incident: Incident, now: datetime) -> Explanation | None:
        """The port `Circumstances`: maintenance, an open rollout of the group, or other trouble of it."""
        from chalicelib.incident.alarms import key_of  # noqa: PLC0415
        from chalicelib.incident.circumstances import inhibited_by, is_judged, maintenance, rollout_under_way  # noqa: PLC0415
        from chalicelib.rollout.model import OWNING  # noqa: PLC0415
        from chalicelib.rollout.render import incident_key  # noqa: PLC0415

        group = incident.group
        planned = maintenance(self.fleet.incidents, group, now)
        if planned is not None or group is None:
            return planned
        rollout = None
        if is_judged(incident, self.fleet):
            state, _ = self.ledger.group(group)
            rollout = self.ledger.rollout(state.active) if state.active else None
        if rollout is not None and rollout.phase in OWNING:
            key = incident_key(rollout.environment, rollout.group, rollout.id)
            return rollout_under_way(rollout.id, rollout.phase.value, key)
        kinds = self.fleet.incidents.inhibitors_of(incident.kind)
        found = (inhibited_by(self.ledger.incident(key_of(self.fleet, group, kind))) for kind in kinds)
        return next((each for each in found if each is not None), None)

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
