"""The port `Evidence` on AWS: what changed lately, the metric that crossed its limit, and where to look. Read only.

Never raises: what cannot be read is said. Must not judge anything.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from urllib.parse import quote

from chalicelib.aws import graphs
from chalicelib.aws.pictures import Pictures
from chalicelib.aws.session import Aws
from chalicelib.errors import OpsError
from chalicelib.fleet.model import Fleet
from chalicelib.incident.document import Block, Bullets, Code, Document, Heading, Line, Picture, line, link, paragraph
from chalicelib.incident.model import Incident
from chalicelib.rollout.model import Rollout, Task
from chalicelib.rollout.ports import LedgerView, Logs, Services
from chalicelib.rollout.revision import difference

LATELY = timedelta(hours=6)
GRAPH_BEFORE = timedelta(hours=3)
MOST_CHANGES = 10
MOST_LOGS = 2


class AwsEvidence:
    """The port `Evidence`. Without `pictures` a ticket has the console's link to a graph alone."""

    def __init__(
        self, fleet: Fleet, ledger: LedgerView, services: Services, logs: Logs, aws: Aws, pictures: Pictures | None
    ) -> None:
        """Read rollouts from the ledger, revisions and tasks from ECS, logs and graphs from CloudWatch."""
        self._fleet = fleet
        self._ledger = ledger
        self._services = services
        self._logs = logs
        self._aws = aws
        self._pictures = pictures

    def gather(self, incident: Incident, now: datetime) -> Document:
        """What the numbers looked like, what changed lately, what was logged, and where to look."""
        rollout = self._rollout_of(incident)
        return (
            *_part("The metric", lambda: self._graph(incident, now)),
            *_part("What the release changes", lambda: _listed(self._difference(rollout))),
            *_part("What changed lately", lambda: _listed(self._changes(incident, now))),
            *_part("What was logged last", lambda: self._said(incident, rollout)),
            *_part("Where to look", lambda: _listed(self._links(incident, rollout, now))),
        )

    def _rollout_of(self, incident: Incident) -> Rollout | None:
        """The rollout that this incident is about, if it is about one."""
        if not incident.direct or not incident.members:
            return None
        try:
            return self._ledger.rollout(incident.members[0].name)
        except OpsError:
            return None  # each part says itself what it could not read

    def _graph(self, incident: Incident, now: datetime) -> Document:
        """The metric that crossed its limit, as CloudWatch draws it, kept where the ticket can show it."""
        if incident.metric is None or self._pictures is None:
            return ()
        since = incident.opened_at - GRAPH_BEFORE
        picture = graphs.draw(self._aws, incident.metric, since=since, opened=incident.opened_at, until=now)
        title = f"{incident.metric.namespace} {incident.metric.name} until {now:%Y-%m-%d %H:%M} UTC"
        return (Picture(title, self._pictures.keep(picture)),)

    def _said(self, incident: Incident, rollout: Rollout | None) -> Document:
        """The newest log lines of those in trouble; a rollout whose own report has the log of a death needs no more."""
        suspects: list[tuple[str, str | None]]
        if rollout is None:
            suspects = [(member.name, None) for member in incident.firing]
        elif rollout.log:
            return ()
        else:
            suspects = [(step.service, step.target) for step in rollout.touched if step.wave == rollout.wave]
        group = self._fleet.groups.get(incident.group or "")
        wanted = [each for each in suspects if group is not None and each[0] in group.services][:MOST_LOGS]
        if group is None or not wanted:
            return ()
        tasks = self._services.tasks(container=group.container, port=group.port)
        blocks: list[Block] = []
        for service, revision in wanted:
            task = _newest(tasks, service, revision)
            definition = self._services.revision(task.revision).definition if task else {}
            said = self._logs.tail(task, definition, container=group.container) if task else ""
            if said:
                blocks += [paragraph(service), Code(said)]
        return tuple(blocks)

    def _difference(self, rollout: Rollout | None) -> tuple[Line, ...]:
        """Stable against target, of the first service that a rollout moved: the others differ likewise."""
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
        itself = {member.name for member in incident.members} if incident.direct else set()
        found = [
            each
            for name in names
            for each in self._ledger.rollouts(name, limit=5)
            if now - _moved(each) <= LATELY and each.id not in itself
        ]
        if not found:
            return (line(f"no{' other' if itself else ''} rollout in the last {LATELY.seconds // 3600} h"),)
        return tuple(
            line(
                f"{_moved(each):%H:%M:%S} UTC {each.group}: {each.repository}:{each.tag or each.digest[:19]} "
                f"{each.phase} ({each.reason}), rollout {each.id}"
            )
            for each in found[:MOST_CHANGES]
        )

    def _links(self, incident: Incident, rollout: Rollout | None, now: datetime) -> tuple[Line, ...]:
        region = self._fleet.region
        console = f"https://{region}.console.aws.amazon.com"
        lines = [line(link("ECS cluster", f"{console}/ecs/v2/clusters/{self._fleet.cluster}/services?region={region}"))]
        if rollout is not None and self._pictures is not None:
            journal = link("journal", f"{self._pictures.public_url}/rollouts/{quote(rollout.id, safe='')}")
            lines.append(line(journal, " of the rollout (a request signed with IAM)"))
        alarms = sorted({member.alarm for member in incident.members if member.alarm})
        for alarm in alarms[:5]:
            url = f"{console}/cloudwatch/home?region={region}#alarmsV2:alarm/{quote(alarm, safe='')}"
            lines.append(line("alarm ", link(alarm, url)))
        if incident.metric is not None:
            since = incident.opened_at - GRAPH_BEFORE
            url = graphs.console_url(incident.metric, region, since=since, until=now)
            lines.append(line("metric ", link(f"{incident.metric.namespace} {incident.metric.name}", url)))
        return tuple(lines)


def _part(title: str, read: Callable[[], Document]) -> Document:
    try:
        blocks = read()
    except OpsError as error:
        return (Heading(title), paragraph(f"could not be read: {error}"))
    return (Heading(title), *blocks) if blocks else ()


def _listed(lines: tuple[Line, ...]) -> Document:
    return (Bullets(lines),) if lines else ()


def _newest(tasks: tuple[Task, ...], service: str, revision: str | None) -> Task | None:
    """The newest task of a service; of that revision, where one is named."""
    its = [t for t in tasks if t.service == service and revision in (None, t.revision) and t.created_at is not None]
    return max(its, key=lambda task: (task.created_at, task.arn), default=None)


def _moved(rollout: Rollout) -> datetime:
    """When a rollout was last heard of."""
    return rollout.since or rollout.requested_at
