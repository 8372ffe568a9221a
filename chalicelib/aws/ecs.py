"""ECS, read only: services, tasks, revisions, and what ECS' own breaker did.

Knows ECS' answers. Must not know what they mean for a rollout, and writes nothing (ecs_deploy.py does).
Source: aws-sdk shapes; https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Operations.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from chalicelib.aws.ecs_raw import describe_raw, ecs_client
from chalicelib.aws.errors import translated
from chalicelib.aws.session import Aws
from chalicelib.errors import MisconfiguredError, NotFoundError
from chalicelib.rollout.model import Deployment, RevisionFacts, ServiceView, Task

SERVICES_A_CALL = 10
TASKS_A_CALL = 100
REVISIONS_LOOKED_AT = 50  # so many rollouts of ours in a row, with nothing of Terraform's between, are not believable
MARK_TAG = "xai-ops:rollout"  # on every revision that a rollout registered
WILDCARDS = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - a binding to every address names none
NO_ROOM = ("unable to place a task", "RESOURCE:")


class EcsServices:
    """The port `Services`, for one cluster."""

    def __init__(self, aws: Aws, cluster: str) -> None:
        """Read this cluster."""
        self._aws = aws
        self._cluster = cluster

    def describe(self, names: Sequence[str]) -> Mapping[str, ServiceView]:
        """Describe services, ten a call; a service that does not exist is missing in the answer."""
        found: dict[str, ServiceView] = {}
        for start in range(0, len(names), SERVICES_A_CALL):
            for service in self._described(names[start : start + SERVICES_A_CALL]):
                found[service["serviceName"]] = _service(service)
        return found

    def tasks(self, *, container: str, port: int) -> tuple[Task, ...]:
        """Every task that is running or was stopped lately (ECS keeps stopped ones for about an hour)."""
        arns = [
            arn
            for status in ("RUNNING", "STOPPED")
            for arn in task_arns(self._aws, self._cluster, desiredStatus=status)
        ]
        tasks: list[Task] = []
        for start in range(0, len(arns), TASKS_A_CALL):
            with translated():
                answer = ecs_client(self._aws).describe_tasks(
                    cluster=self._cluster, tasks=arns[start : start + TASKS_A_CALL]
                )
            tasks += [_task(task, container, port) for task in answer["tasks"]]
        return tuple(tasks)

    def breaker(self, service: str) -> str:
        """What ECS itself did with the newest service deployment, in its words."""
        newest = self._newest_service_deployment(service)
        if newest is not None:
            return _breaker_of(newest)
        # A cluster or partition without that API, or a service not deployed since it exists: the older words.
        reasons = (d.get("rolloutStateReason", "") for s in self._described([service]) for d in s["deployments"])
        return next((r for r in reasons if "rolling back" in r or "circuit breaker" in r), "")

    def revision(self, arn: str) -> RevisionFacts:
        """Read a task definition raw, with its tags. Raises NotFoundError."""
        # ECS says "ClientException: Unable to describe task definition" for one that it does not have.
        with translated(missing={"ClientException"}):
            answer = describe_raw(ecs_client(self._aws), arn)
        definition = answer["taskDefinition"]
        return RevisionFacts(
            arn=definition["taskDefinitionArn"],
            status=definition.get("status", "ACTIVE"),
            definition=definition,
            tags={tag["key"]: tag.get("value", "") for tag in answer.get("tags") or ()},
        )

    def newest_revision(self, family: str) -> str:
        """The newest ACTIVE revision that no rollout of ours registered. Raises NotFoundError."""
        for arn in active_revisions(self._aws, family, limit=REVISIONS_LOOKED_AT):
            if MARK_TAG not in self.revision(arn).tags:
                return arn
        raise NotFoundError(f"family {family} has no active revision but those that rollouts registered")

    def _described(self, names: Sequence[str]) -> list[dict[str, Any]]:
        with translated():
            answer = ecs_client(self._aws).describe_services(cluster=self._cluster, services=list(names))
        services: list[dict[str, Any]] = answer["services"]
        return services

    def _newest_service_deployment(self, service: str) -> dict[str, Any] | None:
        client = ecs_client(self._aws)
        try:
            with translated(missing={"ServiceNotFoundException", "UnsupportedFeatureException"}):
                listed = client.list_service_deployments(cluster=self._cluster, service=service)["serviceDeployments"]
                if not listed:
                    return None
                newest = max(listed, key=lambda deployment: deployment["createdAt"])
                described = client.describe_service_deployments(serviceDeploymentArns=[newest["serviceDeploymentArn"]])[
                    "serviceDeployments"
                ]
        except (NotFoundError, MisconfiguredError):
            return None
        return described[0] if described else None


def task_arns(aws: Aws, cluster: str, **narrowed: str) -> Iterator[str]:
    """The ARNs of the cluster's tasks, by one filter; those that shall run, unless that is desiredStatus.

    With startedBy there may be no other. Source: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ListTasks.html
    """
    with translated():
        pages = ecs_client(aws).get_paginator("list_tasks").paginate(cluster=cluster, **narrowed)
        for page in pages:
            yield from page["taskArns"]


def active_revisions(aws: Aws, family: str, *, limit: int) -> list[str]:
    """The newest ACTIVE revisions of a family, newest first."""
    with translated():
        answer = ecs_client(aws).list_task_definitions(
            familyPrefix=family, status="ACTIVE", sort="DESC", maxResults=min(limit, 100)
        )
    # `familyPrefix` is documented as the whole name; a stand-in for AWS may take it for a prefix.
    return [arn for arn in answer["taskDefinitionArns"] if arn.rsplit("/", 1)[-1].rsplit(":", 1)[0] == family]


def _service(raw: Mapping[str, Any]) -> ServiceView:
    return ServiceView(
        name=raw["serviceName"],
        arn=raw["serviceArn"],
        status=raw["status"],
        desired=raw["desiredCount"],
        running=raw["runningCount"],
        pending=raw["pendingCount"],
        deployments=tuple(_deployment(deployment) for deployment in raw.get("deployments") or ()),
        target_groups=tuple(
            balancer["targetGroupArn"] for balancer in raw.get("loadBalancers") or () if "targetGroupArn" in balancer
        ),
        unplaced=_unplaced(raw.get("events") or ()),
    )


def _deployment(raw: Mapping[str, Any]) -> Deployment:
    return Deployment(
        id=raw["id"],
        status=raw["status"],
        revision=raw["taskDefinition"],
        # A controller other than ECS has no rollout state: what runs is complete.
        state=raw.get("rolloutState") or "COMPLETED",
        reason=raw.get("rolloutStateReason") or "",
        desired=raw.get("desiredCount", 0),
        running=raw.get("runningCount", 0),
        pending=raw.get("pendingCount", 0),
    )


def _unplaced(events: Sequence[Mapping[str, Any]]) -> str:
    for event in sorted(events, key=lambda event: event["createdAt"], reverse=True):
        message = str(event["message"])
        if "has reached a steady state" in message:
            return ""
        if any(words in message for words in NO_ROOM):
            return message
    return ""


def _breaker_of(deployment: Mapping[str, Any]) -> str:
    """One sentence from a service deployment; states are compared as text, because AWS adds new ones."""
    status = str(deployment.get("status", ""))
    breaker = deployment.get("deploymentCircuitBreaker") or {}
    alarms = deployment.get("alarms") or {}
    said: list[str] = []
    if breaker.get("status") == "TRIGGERED":
        count, threshold = breaker.get("failureCount"), breaker.get("threshold")
        said.append(f"circuit breaker triggered after {count} of {threshold} failures")
    if alarms.get("triggeredAlarmNames"):
        said.append(f"alarms {', '.join(alarms['triggeredAlarmNames'])} triggered")
    if status.startswith("ROLLBACK_") or said:
        said.append(status)
        said.append(str((deployment.get("rollback") or {}).get("reason") or deployment.get("statusReason") or ""))
    return ": ".join(part for part in said if part)


def _task(raw: Mapping[str, Any], container: str, port: int) -> Task:
    containers: list[Mapping[str, Any]] = raw.get("containers") or []
    named = next((c for c in containers if c["name"] == container), None)
    # Another group's task: the first that ended says why it died. DescribeTasks does not say which were essential.
    ended = named or next((c for c in containers if c.get("exitCode") is not None or c.get("reason")), {})
    kind, _, service = str(raw.get("group", "")).partition(":")
    return Task(
        arn=raw["taskArn"],
        service=service if kind == "service" else None,
        revision=raw["taskDefinitionArn"],
        started_by=raw.get("startedBy") or "",
        status=raw.get("lastStatus") or "",
        desired=raw.get("desiredStatus") or "",
        created_at=_utc(raw.get("createdAt")),
        started_at=_utc(raw.get("startedAt")),
        stopped_at=_utc(raw.get("stoppedAt")),
        stop_code=raw.get("stopCode"),
        stopped_reason=raw.get("stoppedReason") or "",
        exit_code=ended.get("exitCode"),
        container_reason=ended.get("reason") or "",
        address=_address(raw, named, port) if named else None,
    )


def _address(task: Mapping[str, Any], container: Mapping[str, Any], port: int) -> str | None:
    """host:port as we can reach it: a binding that names its address (host or bridge network), else the task's ENI.

    A wildcard binding on the bridge network would need the instance's address; the fleet's tasks use awsvpc.
    """
    for binding in container.get("networkBindings") or ():
        if binding.get("containerPort") == port and binding.get("bindIP", "") not in WILDCARDS:
            return f"{binding['bindIP']}:{binding['hostPort']}"
    for interface in container.get("networkInterfaces") or ():
        if interface.get("privateIpv4Address"):
            return f"{interface['privateIpv4Address']}:{port}"
    for attachment in task.get("attachments") or ():
        for detail in attachment.get("details") or ():
            if detail.get("name") == "privateIPv4Address":
                return f"{detail['value']}:{port}"
    return None


def _utc(moment: datetime | None) -> datetime | None:
    return moment.astimezone(UTC) if moment is not None else None
