"""`ECS Deployment State Change` and `ECS Task State Change` -> ServiceChanged.

Only which service is read: a tick looks at the rest itself, because an event may be late, doubled or out of order.
Source: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_service_deployment_events.html and
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_task_events.html
"""

from __future__ import annotations

import re
from typing import Any

from chalicelib.errors import BadEventError
from chalicelib.events.fields import text, wrong
from chalicelib.events.signals import ServiceChanged

_SERVICE = re.compile(r"arn:[\w-]+:ecs:[\w-]+:\d+:service/([\w-]+)/([\w-]+)", re.ASCII)
_CLUSTER = re.compile(r"arn:[\w-]+:ecs:[\w-]+:\d+:cluster/([\w-]+)", re.ASCII)
_OF_SERVICE = "service:"


def deployment_changed(event: Any) -> ServiceChanged:
    """Read which service's deployment changed; the ARN in `resources` is the only place that names it.

    Raises BadEventError.
    """
    resources = event.get("resources") if isinstance(event, dict) else None
    arn = resources[0] if isinstance(resources, list) and resources else None
    found = _SERVICE.fullmatch(arn) if isinstance(arn, str) else None
    if found is None:
        raise wrong(("resources[0]",), arn, "arn:aws:ecs:REGION:ACCOUNT:service/CLUSTER/SERVICE")
    return ServiceChanged(cluster=found[1], service=found[2])


def task_changed(event: Any) -> ServiceChanged | None:
    """Read which service's task changed; None for a task that no service started. Raises BadEventError."""
    group = text(event, "detail", "group")
    arn = text(event, "detail", "clusterArn")
    cluster = _CLUSTER.fullmatch(arn)
    if cluster is None:
        raise wrong(("detail", "clusterArn"), arn, "arn:aws:ecs:REGION:ACCOUNT:cluster/CLUSTER")
    if not group.startswith(_OF_SERVICE):
        return None
    service = group.removeprefix(_OF_SERVICE)
    if not service:
        raise BadEventError("detail.group is 'service:'; expected service:NAME")
    return ServiceChanged(cluster=cluster[1], service=service)
