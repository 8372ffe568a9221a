"""Task definitions as raw JSON, past botocore's model, so that fields which the SDK does not know survive.

Knows botocore's hooks. An SDK drops unknown fields silently on read and refuses them on write: a target revision that
went through its model could lose what Terraform wrote with a newer provider.
"""

from __future__ import annotations

import json
from typing import Any

from chalicelib.aws.session import Aws

# DescribeTaskDefinition adds these, RegisterTaskDefinition refuses them.
# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_TaskDefinition.html
READ_ONLY = frozenset(
    {
        "taskDefinitionArn",
        "revision",
        "status",
        "requiresAttributes",
        "compatibilities",
        "registeredAt",
        "deregisteredAt",
        "deleteRequestedAt",
        "registeredBy",
    }
)
_BODY = "xai_ops_body"
_ANSWER = "xai_ops_answer"


def ecs_client(aws: Aws) -> Any:
    """The ECS client, with the hooks on it; asking again hooks nothing twice."""
    client = aws.client("ecs")
    events = client.meta.events
    events.register("before-parameter-build.ecs.RegisterTaskDefinition", _set_aside, unique_id="xai-ops-set-aside")
    events.register("before-call.ecs.RegisterTaskDefinition", _send_raw, unique_id="xai-ops-send-raw")
    events.register("after-call.ecs.DescribeTaskDefinition", _keep_raw, unique_id="xai-ops-keep-raw")
    return client


def register_raw(client: Any, definition: dict[str, Any]) -> str:
    """Register a task definition as it is; returns its ARN."""
    answer = client.register_task_definition(**{_BODY: definition})
    return str(answer["taskDefinition"]["taskDefinitionArn"])


def describe_raw(client: Any, arn: str) -> dict[str, Any]:
    """DescribeTaskDefinition's whole answer, tags included."""
    answer: dict[str, Any] = client.describe_task_definition(taskDefinition=arn, include=["TAGS"])[_ANSWER]
    return answer


def _set_aside(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    # The context lives for one call, so two threads never see each other's body.
    context[_BODY] = params.pop(_BODY)
    params.update(family=context[_BODY]["family"], containerDefinitions=[])  # what the model insists on


def _send_raw(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    params["body"] = json.dumps(context[_BODY]).encode()


def _keep_raw(http_response: Any, parsed: dict[str, Any], **_: Any) -> None:
    if http_response.status_code == 200:
        parsed[_ANSWER] = json.loads(http_response.content)
