"""The EventBridge envelopes that ECS sends, with their real shapes.

Source: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_cwe_events.html
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sandbox.dataplane.model import Deployment, Service, Task
    from sandbox.dataplane.plane import Plane

ACCOUNT = "123456789012"


def envelope(
    source: str, kind: str, detail: dict[str, Any], resources: list[str], region: str, now: datetime
) -> dict[str, Any]:
    """An EventBridge event."""
    return {
        "version": "0", "id": str(uuid.uuid4()), "detail-type": kind, "source": source, "account": ACCOUNT,
        "time": _iso(now), "region": region, "resources": resources, "detail": detail,
    }  # fmt: skip


def deployment_event(
    plane: Plane, service: Service, deployment: Deployment, name: str, reason: str, now: datetime
) -> dict[str, Any]:
    """ECS Deployment State Change."""
    detail = {
        "eventType": "ERROR" if name.endswith("FAILED") else "INFO", "eventName": name,
        "deploymentId": deployment.id, "updatedAt": _iso(now), "reason": reason,
    }  # fmt: skip
    return envelope("aws.ecs", "ECS Deployment State Change", detail, [service.arn], plane.region, now)


def service_action(plane: Plane, service: Service, kind: str, name: str, reason: str, now: datetime) -> dict[str, Any]:
    """ECS Service Action."""
    detail = {
        "eventType": kind,
        "eventName": name,
        "clusterArn": plane.clusters[service.cluster],
        "createdAt": _iso(now),
    }
    if reason:
        detail["reason"] = reason
    return envelope("aws.ecs", "ECS Service Action", detail, [service.arn], plane.region, now)


def task_event(plane: Plane, task: Task, now: datetime) -> dict[str, Any]:
    """ECS Task State Change."""
    detail: dict[str, Any] = {
        "clusterArn": task.cluster_arn, "taskArn": task.arn, "taskDefinitionArn": task.definition.arn,
        "group": task.group, "startedBy": task.started_by, "lastStatus": task.status, "desiredStatus": task.desired,
        "containers": [container_of(task), *sidecars_of(task)], "createdAt": _iso(task.created), "updatedAt": _iso(now),
        "version": task.version, "launchType": "EC2",
    }  # fmt: skip
    if task.started:
        detail["startedAt"] = _iso(task.started)
    if task.stop_code:
        detail |= {"stopCode": task.stop_code, "stoppedReason": task.reason}
    if task.stopping:
        detail["stoppingAt"] = _iso(task.stopping)
    if task.stopped:
        detail |= {"stoppedAt": _iso(task.stopped), "executionStoppedAt": _iso(task.stopped)}
    return envelope("aws.ecs", "ECS Task State Change", detail, [task.arn], plane.region, now)


def container_of(task: Task) -> dict[str, Any]:
    """A task's container, as events and DescribeTasks show it."""
    container = task.container
    shown: dict[str, Any] = {
        "containerArn": task.arn.replace(":task/", ":container/"), "name": container["name"], "image": task.image,
        "lastStatus": task.status if task.status in ("RUNNING", "STOPPED") else "PENDING", "taskArn": task.arn,
        "networkInterfaces": [{"attachmentId": str(uuid.uuid5(uuid.NAMESPACE_URL, task.arn)), "privateIpv4Address": "127.0.0.1"}],
    }  # fmt: skip
    if task.digest:
        shown["imageDigest"] = task.digest
    if task.exit_code is not None:
        shown["exitCode"] = task.exit_code
    if task.container_reason:
        shown["reason"] = task.container_reason
    return shown


def sidecars_of(task: Task) -> list[dict[str, Any]]:
    """The containers beside it: they are in the same state as their task, since nothing of theirs is run."""
    status = task.status if task.status in ("RUNNING", "STOPPED") else "PENDING"
    return [
        {"containerArn": f"{task.arn.replace(':task/', ':container/')}-{number}", "name": sidecar["name"],
         "image": sidecar["image"], "lastStatus": status, "taskArn": task.arn, "networkInterfaces": []}
        for number, sidecar in enumerate(task.definition.raw["containerDefinitions"], start=1)
        if sidecar["name"] != task.container["name"]
    ]  # fmt: skip


def _iso(moment: datetime) -> str:
    return (
        moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        if moment.microsecond
        else moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    )
