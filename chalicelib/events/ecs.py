"""`ECS Deployment State Change` and `ECS Task State Change` -> ServiceChanged.

Source: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_service_deployment_events.html and
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_task_events.html
"""

from __future__ import annotations

from typing import Any

from chalicelib.errors import BadEventError
from chalicelib.events.fields import text
from chalicelib.events.signals import ServiceChanged


def deployment_changed(event: Any) -> ServiceChanged:
    """Read which service's deployment changed; the ARN in `resources` is the only place that names it."""
    resources = event.get("resources") if isinstance(event, dict) else None
    if not isinstance(resources, list) or not resources or not isinstance(resources[0], str):
        raise BadEventError("resources[0] is missing; expected the service's ARN")
    parts = resources[0].split("/")
    if ":service/" not in resources[0] or len(parts) != 3:
        raise BadEventError(f"resources[0] is {resources[0][:200]!r}; expected arn:aws:ecs:R:A:service/CLUSTER/SERVICE")
    return ServiceChanged(cluster=parts[1], service=parts[2])


def task_changed(event: Any) -> ServiceChanged | None:
    """Read which service's task changed; None for a task that no service started."""
    group = text(event, "detail", "group")
    cluster = text(event, "detail", "clusterArn").rsplit("/", 1)[-1]
    if not group.startswith("service:"):
        return None
    return ServiceChanged(cluster=cluster, service=group.removeprefix("service:"))
