"""ECS, writing: register, point, run alone, stop, tag. Each call is safe to repeat.

Knows ECS' calls. Must not know when they are made. Never sends a desired count or a deployment configuration:
autoscaling and Terraform own those. Never deregisters: a bad revision is evidence, a stable one is the way back.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.aws.ecs import MARK_TAG, active_revisions, task_arns
from chalicelib.aws.ecs_raw import READ_ONLY, describe_raw, ecs_client, register_raw
from chalicelib.aws.errors import code_of, message_of, translated
from chalicelib.aws.session import Aws
from chalicelib.errors import CapacityError, MisconfiguredError, NotFoundError

MARKED_LOOKED_AT = 10  # a registration whose answer was lost is among the newest
TAG_VALUE_LIMIT = 256  # https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Tag.html
REASON_LIMIT = 1024
NOT_IN_TAGS = re.compile(r"[^\w\s.:/=+\-@]")
NO_ROOM = re.compile(r"^RESOURCE:|^AGENT$|[Cc]apacity|No Container Instances were found")


class EcsDeployer:
    """The port `Deployer`, for one cluster."""

    def __init__(self, aws: Aws, cluster: str) -> None:
        """Write to this cluster."""
        self._aws = aws
        self._cluster = cluster

    def register_once(self, definition: Mapping[str, Any], tags: Mapping[str, str], *, mark: str) -> str:
        """Return the ACTIVE revision of this family that carries `mark`; register it if there is none."""
        client = ecs_client(self._aws)
        for arn in active_revisions(self._aws, str(definition["family"]), limit=MARKED_LOOKED_AT):
            with translated():
                found = describe_raw(client, arn).get("tags") or ()
            if any(tag["key"] == MARK_TAG and tag.get("value") == mark for tag in found):
                return arn
        body = {key: value for key, value in definition.items() if key not in READ_ONLY}
        with translated():
            return register_raw(client, {**body, "tags": _tags({**tags, MARK_TAG: mark})})

    def point(self, service: str, revision: str) -> None:
        """Point a service at a revision, and say nothing else of it."""
        with translated(missing={"ServiceNotFoundException"}):
            ecs_client(self._aws).update_service(cluster=self._cluster, service=service, taskDefinition=revision)

    def run_alone(self, revision: str, *, like: str, started_by: str) -> str:
        """Run one task with the network and capacity of service `like`; returns its ARN. Raises CapacityError.

        Placement constraints are not copied: they pin a node to the instance that holds its volume, and a lone task on
        scratch storage must neither need that instance nor fill it.
        """
        known = next(task_arns(self._aws, self._cluster, startedBy=started_by), None)
        if known is not None:
            return known
        request = {
            "cluster": self._cluster,
            "taskDefinition": revision,
            "startedBy": started_by,
            "clientToken": hashlib.sha256(started_by.encode()).hexdigest(),  # 64 characters, the most that ECS takes
            "enableExecuteCommand": False,
            **self._place_of(like),
        }
        return _started(self._run(request))

    def stop(self, task: str, why: str) -> None:
        """Stop a task; one that is gone already is fine."""
        try:
            with translated(missing={"InvalidParameterException"}):
                ecs_client(self._aws).stop_task(cluster=self._cluster, task=task, reason=why[:REASON_LIMIT])
        except NotFoundError as error:
            if "not found" not in str(error):
                raise

    def tag(self, arn: str, tags: Mapping[str, str]) -> None:
        """Add tags to a task definition revision."""
        with translated():
            ecs_client(self._aws).tag_resource(resourceArn=arn, tags=_tags(tags))

    def _place_of(self, service: str) -> dict[str, Any]:
        with translated():
            answer = ecs_client(self._aws).describe_services(cluster=self._cluster, services=[service])
        if not answer["services"]:
            raise NotFoundError(f"service {service} is not in cluster {self._cluster}")
        found = answer["services"][0]
        # A capacity provider strategy and a launch type exclude each other.
        strategy = found.get("capacityProviderStrategy")
        place: dict[str, Any] = (
            {"capacityProviderStrategy": strategy} if strategy else {"launchType": found.get("launchType", "EC2")}
        )
        for key in ("networkConfiguration", "platformVersion"):
            if found.get(key):
                place[key] = found[key]
        return place

    def _run(self, request: Mapping[str, Any]) -> dict[str, Any]:
        with translated():
            try:
                answer: dict[str, Any] = ecs_client(self._aws).run_task(**request)
            except ClientError as error:
                # Without any instance, or with Fargate full, ECS refuses the call instead of listing a failure.
                refused = code_of(error) in ("ClientException", "InvalidParameterException")
                if refused and NO_ROOM.search(message_of(error)):
                    raise CapacityError(f"could not run a lone task: {message_of(error)}") from error
                raise
        return answer


def _started(answer: Mapping[str, Any]) -> str:
    if answer.get("tasks"):
        return str(answer["tasks"][0]["taskArn"])
    failures: Sequence[Mapping[str, Any]] = answer.get("failures") or ()
    reasons = [str(failure.get("reason", "")) for failure in failures]
    text = f"could not run a lone task: {', '.join(reasons) or 'ECS gave neither a task nor a reason'}"
    if any(NO_ROOM.search(reason) for reason in reasons):
        raise CapacityError(text)
    raise MisconfiguredError(text)


def _tags(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags in ECS' shape; what a value may not hold becomes a space, what is too long is cut."""
    return [{"key": key, "value": NOT_IN_TAGS.sub(" ", value)[:TAG_VALUE_LIMIT]} for key, value in sorted(tags.items())]
