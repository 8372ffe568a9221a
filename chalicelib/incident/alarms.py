"""A CloudWatch alarm as a report of trouble, by the fleet file's rules. Pure.

Alarms of one kind in one group are one trouble that names its members, so that a fleet-wide cause is one incident. An
alarm bound to no group is a trouble of its own resource.
"""

from __future__ import annotations

from chalicelib.events.signals import AlarmChanged
from chalicelib.fleet.model import Fleet
from chalicelib.incident.document import Document, bullets, paragraph, strong
from chalicelib.incident.model import Grade, Metric, Report, Says

_SAYS = {"OK": Says.RESOLVED, "ALARM": Says.FIRING, "INSUFFICIENT_DATA": Says.UNKNOWN}


def report_of_alarm(alarm: AlarmChanged, fleet: Fleet) -> Report | None:
    """What an alarm's change says of which trouble; None when no rule names the alarm."""
    found = fleet.incidents.rule_of(alarm.name)
    if found is None:
        return None
    rule, resource = found
    group = group_of(resource, alarm.name, fleet)
    member = _member(resource, group, fleet)
    about = f"{group}: {rule.kind}" if group else f"{member}: {rule.kind}"
    return Report(
        id=f"{alarm.arn}/{alarm.at:%Y%m%dT%H%M%S.%f}/{alarm.state}",
        key=key_of(fleet, group or member, rule.kind),
        kind=rule.kind,
        grade=Grade(rule.grade),
        title=f"[{fleet.environment}] {about}",
        at=alarm.at,
        body=_body(alarm, member),
        says=_SAYS[alarm.state],
        member=member,
        group=group,
        labels=(rule.kind, *((group,) if group else ())),
        alarm=alarm.name,
        metric=_metric(alarm),
    )


def key_of(fleet: Fleet, group: str, kind: str) -> str:
    """The incident of one kind of trouble in one group."""
    return f"{fleet.environment}/{group}/{kind}"


def group_of(resource: str, alarm: str, fleet: Fleet) -> str | None:
    """The fleet's group that an alarm is about: it is bound to a service, or its resource is one."""
    bound = fleet.groups_of_alarm(alarm)
    if bound:
        return bound[0]
    return fleet.group_of_service(resource) or fleet.group_of_service(f"xai-{fleet.environment}-{resource}")


def _member(resource: str, group: str | None, fleet: Fleet) -> str:
    full = f"xai-{fleet.environment}-{resource}"
    return full if group and full in fleet.groups[group].services else resource


def _metric(alarm: AlarmChanged) -> Metric | None:
    if alarm.namespace is None or alarm.metric is None:
        return None
    return Metric(
        namespace=alarm.namespace,
        name=alarm.metric,
        dimensions=alarm.dimensions,
        stat=alarm.stat,
        period=alarm.period,
        threshold=alarm.threshold,
    )


def _body(alarm: AlarmChanged, member: str) -> Document:
    lines = [f"alarm {alarm.name} went to {alarm.state} at {alarm.at:%Y-%m-%d %H:%M:%S} UTC"]
    if alarm.values:
        limit = f"; limit {alarm.threshold:g}" if alarm.threshold is not None else ""
        lines.append(f"{alarm.metric or 'metric'}: {', '.join(f'{value:g}' for value in alarm.values)}{limit}")
    if alarm.reason:
        lines.append(alarm.reason)
    if alarm.description:
        lines.append(alarm.description)
    return (paragraph(strong(member)), bullets(*lines))
