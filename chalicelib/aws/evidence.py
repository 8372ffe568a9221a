"""The port `Evidence` on AWS: what changed lately, the metric that crossed its limit, and where to look. Read only.

Never raises: what cannot be read is said. Must not judge anything.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from urllib.parse import quote

from chalicelib.errors import OpsError
from chalicelib.fleet.model import Fleet
from chalicelib.incident.document import Block, Bullets, Document, Heading, Line, line, link, paragraph
from chalicelib.incident.model import Incident, Metric
from chalicelib.rollout.model import Rollout
from chalicelib.rollout.ports import LedgerView, Services
from chalicelib.rollout.revision import difference

LATELY = timedelta(hours=6)
MOST_CHANGES = 10


class AwsEvidence:
    """The port `Evidence`."""

    def __init__(self, fleet: Fleet, ledger: LedgerView, services: Services) -> None:
        """Read rollouts from the ledger, and revisions from ECS."""
        self._fleet = fleet
        self._ledger = ledger
        self._services = services

    def gather(self, incident: Incident, now: datetime) -> Document:
        """What changed lately, the metric, and where to look."""
        return (
            *self._part("What the release changes", lambda: self._difference(incident)),
            *self._part("What changed lately", lambda: self._changes(incident, now)),
            *self._part("Where to look", lambda: self._links(incident)),
        )

    def _part(self, title: str, read: Callable[[], tuple[Line, ...]]) -> tuple[Block, ...]:
        try:
            lines = read()
        except OpsError as error:
            return (Heading(title), paragraph(f"could not be read: {error}"))
        return (Heading(title), Bullets(lines)) if lines else ()

    def _difference(self, incident: Incident) -> tuple[Line, ...]:
        """Stable against target, of the first service that a rollout moved: the others differ likewise."""
        rollout = self._ledger.rollout(incident.members[0].name) if incident.direct and incident.members else None
        step = next((s for s in rollout.touched if s.target and s.stable), None) if rollout else None
        if step is None or step.stable is None or step.target is None:
            return ()
        stable = self._services.revision(step.stable.revision).definition
        target = self._services.revision(step.target).definition
        return tuple(line(each) for each in difference(stable, target)[:MOST_CHANGES])

    def _changes(self, incident: Incident, now: datetime) -> tuple[Line, ...]:
        """Rollouts of the group first, then of the others: a change is the first suspect."""
        names = [name for name in self._fleet.groups if name == incident.group]
        names += [name for name in self._fleet.groups if name != incident.group]
        found = [
            each for name in names for each in self._ledger.rollouts(name, limit=5) if now - _moved(each) <= LATELY
        ]
        if not found:
            return (line(f"no rollout in the last {LATELY.seconds // 3600} h"),)
        return tuple(
            line(
                f"{_moved(each):%H:%M:%S} UTC {each.group}: {each.repository}:{each.tag or each.digest[:19]} "
                f"{each.phase} ({each.reason}), rollout {each.id}"
            )
            for each in found[:MOST_CHANGES]
        )

    def _links(self, incident: Incident) -> tuple[Line, ...]:
        region = self._fleet.region
        console = f"https://{region}.console.aws.amazon.com"
        lines = [line(link("ECS cluster", f"{console}/ecs/v2/clusters/{self._fleet.cluster}/services?region={region}"))]
        alarms = sorted({member.alarm for member in incident.members if member.alarm})
        for alarm in alarms[:5]:
            url = f"{console}/cloudwatch/home?region={region}#alarmsV2:alarm/{quote(alarm, safe='')}"
            lines.append(line("alarm ", link(alarm, url)))
        if incident.metric is not None:
            lines.append(line("metric ", link(_name_of(incident.metric), _graph_url(console, region, incident.metric))))
        return tuple(lines)


def _moved(rollout: Rollout) -> datetime:
    """When a rollout was last heard of."""
    return rollout.since or rollout.requested_at


def _name_of(metric: Metric) -> str:
    return f"{metric.namespace} {metric.name}"


def _graph_url(console: str, region: str, metric: Metric) -> str:
    query = quote(f"~'{metric.namespace}~'{metric.name}", safe="~'")
    return f"{console}/cloudwatch/home?region={region}#metricsV2?namespace={query}"
