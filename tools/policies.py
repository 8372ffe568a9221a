"""The functions' least-privilege policies, written from one reviewed table: call -> permissions, with their source.

`python -m tools.policies` writes .chalice/policies/STAGE/FUNCTION.json; `--check` only says which are out of date (exit 1).
A call in chalicelib/aws without a row here fails a test, and so does a row without a call. A call may need more than the
action of its name (PassRole, TagResource, KMS): that is why the table is written by hand.

Names that Terraform must keep: the fleet's services, their task definition families, and their task and execution roles begin
with `CLUSTER-`, the containers' log groups with `/ecs/CLUSTER/`. A service whose name begins otherwise has a family of its own name.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.stages import API_HANDLER, CONFIG, Stage, read_stage, stage_names

POLICIES = CONFIG.parent / "policies"
_REFERENCE = "https://docs.aws.amazon.com/service-authorization/latest/reference/list_"

Condition = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Actions on resources. {service}, {repository}, {token_secret} and {topic} stand for each of the fleet's.

    {stray} is each service whose name does not begin with the cluster's.
    """

    actions: tuple[str, ...]
    resources: tuple[str, ...]
    source: str
    condition: Condition = field(default_factory=dict)


def _via(service: str) -> Grant:
    """The customer's key behind a resource, and only through that service."""
    return Grant(
        actions=("kms:Decrypt", "kms:GenerateDataKey"),
        resources=("arn:aws:kms:{region}:{account}:key/*",),
        condition={"StringEquals": {"kms:ViaService": f"{service}.{{region}}.amazonaws.com"}},
        source="https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html",
    )


_CLUSTER: Condition = {"ArnEquals": {"ecs:cluster": "arn:aws:ecs:{region}:{account}:cluster/{cluster}"}}
_SERVICES = ("arn:aws:ecs:{region}:{account}:service/{cluster}/{service}",)
_FAMILIES = tuple(
    f"arn:aws:ecs:{{region}}:{{account}}:task-definition/{family}:*"
    for family in ("{cluster}-*", "{stray}", "{stray}-smoke")
)
_TABLE = ("arn:aws:dynamodb:{region}:{account}:table/{table}",)
_ECS, _ECR = _REFERENCE + "amazonelasticcontainerservice.html", _REFERENCE + "amazonelasticcontainerregistry.html"
_DYNAMODB, _SQS = _REFERENCE + "amazondynamodb.html", _REFERENCE + "amazonsqs.html"
_PASS_ROLE = Grant(
    actions=("iam:PassRole",),
    resources=("arn:aws:iam::{account}:role/{cluster}-*-execution", "arn:aws:iam::{account}:role/{cluster}-*-task"),
    condition={"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
    source="https://docs.aws.amazon.com/AmazonECS/latest/developerguide/security_iam_id-based-policy-examples.html",
)


def _ecs(action: str, resources: tuple[str, ...], condition: Condition = _CLUSTER) -> Grant:
    return Grant(actions=(f"ecs:{action}",), resources=resources, condition=condition, source=_ECS)


def _ecr(action: str, resource: str = "arn:aws:ecr:{region}:{account}:repository/{repository}") -> Grant:
    return Grant(actions=(f"ecr:{action}",), resources=(resource,), source=_ECR)


def _dynamodb(*actions: str, resources: tuple[str, ...] = _TABLE) -> Grant:
    return Grant(actions=tuple(f"dynamodb:{action}" for action in actions), resources=resources, source=_DYNAMODB)


_PICTURES = "arn:aws:s3:::{bucket}/pictures/*"
_TABLE_KEY, _QUEUE_KEY = _via("dynamodb"), _via("sqs")

# One row for each call that chalicelib/aws makes: "botocore client:method" -> what IAM must allow for it.
CALLS: Mapping[str, tuple[Grant, ...]] = {
    "cloudwatch:describe_alarms": (
        # Composite alarms are only told to a caller whose permission covers every alarm.
        Grant(
            actions=("cloudwatch:DescribeAlarms",),
            resources=("*",),
            source="https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_DescribeAlarms.html",
        ),
    ),
    "cloudwatch:get_metric_widget_image": (
        Grant(
            actions=("cloudwatch:GetMetricWidgetImage",),
            resources=("*",),  # knows no resource
            source=_REFERENCE + "amazoncloudwatch.html",
        ),
    ),
    "dynamodb:batch_get_item": (_dynamodb("BatchGetItem"), _TABLE_KEY),
    "dynamodb:get_item": (_dynamodb("GetItem"), _TABLE_KEY),
    "dynamodb:query": (_dynamodb("Query", resources=(*_TABLE, f"{_TABLE[0]}/index/open")), _TABLE_KEY),
    # A transaction needs the actions of its items; it has none of its own.
    "dynamodb:transact_write_items": (
        _dynamodb("ConditionCheckItem", "DeleteItem", "PutItem", "UpdateItem"),
        _TABLE_KEY,
    ),
    "dynamodb:update_item": (_dynamodb("UpdateItem"), _TABLE_KEY),
    # Of every repository: the way back is proven by the images of sidecars too.
    "ecr:batch_get_image": (_ecr("BatchGetImage", "arn:aws:ecr:{region}:{account}:repository/*"),),
    "ecr:describe_image_scan_findings": (_ecr("DescribeImageScanFindings"),),
    "ecr:describe_images": (_ecr("DescribeImages"),),
    "ecr:describe_repositories": (_ecr("DescribeRepositories"),),
    "ecr:get_download_url_for_layer": (_ecr("GetDownloadUrlForLayer"),),
    "ecr:put_image": (_ecr("PutImage"),),
    "ecs:describe_service_deployments": (
        _ecs(
            "DescribeServiceDeployments", ("arn:aws:ecs:{region}:{account}:service-deployment/{cluster}/{service}/*",)
        ),
    ),
    "ecs:describe_services": (_ecs("DescribeServices", _SERVICES),),
    # These two know no resource and no cluster.
    "ecs:describe_task_definition": (_ecs("DescribeTaskDefinition", ("*",), {}),),
    "ecs:list_task_definitions": (_ecs("ListTaskDefinitions", ("*",), {}),),
    "ecs:describe_tasks": (_ecs("DescribeTasks", ("arn:aws:ecs:{region}:{account}:task/{cluster}/*",)),),
    "ecs:list_service_deployments": (_ecs("ListServiceDeployments", _SERVICES),),
    # Its resource is a container instance, which a listing by cluster does not name: the condition bounds it.
    "ecs:list_tasks": (_ecs("ListTasks", ("*",)),),
    "ecs:register_task_definition": (
        _ecs("RegisterTaskDefinition", _FAMILIES, {}),
        _ecs("TagResource", _FAMILIES, {"StringEquals": {"ecs:CreateAction": "RegisterTaskDefinition"}}),
        _PASS_ROLE,
    ),
    "ecs:run_task": (_ecs("RunTask", _FAMILIES), _PASS_ROLE),
    "ecs:stop_task": (_ecs("StopTask", ("arn:aws:ecs:{region}:{account}:task/{cluster}/*",)),),
    "ecs:tag_resource": (_ecs("TagResource", _FAMILIES, {}),),
    "ecs:update_service": (_ecs("UpdateService", _SERVICES),),
    "elbv2:describe_target_health": (
        Grant(
            actions=("elasticloadbalancing:DescribeTargetHealth",),
            resources=("*",),  # knows no resource
            source=_REFERENCE + "awselasticloadbalancingv2.html",
        ),
    ),
    "logs:get_log_events": (
        Grant(
            actions=("logs:GetLogEvents",),
            resources=("arn:aws:logs:{region}:{account}:log-group:/ecs/{cluster}/*:log-stream:*",),
            source=_REFERENCE + "amazoncloudwatchlogs.html",
        ),
    ),
    # Only signed here; the browser that follows the link makes the call, with the function's permission.
    "s3:get_object": (
        Grant(actions=("s3:GetObject",), resources=(_PICTURES,), source=_REFERENCE + "amazons3.html"),
        _via("s3"),
    ),
    "s3:put_object": (
        Grant(actions=("s3:PutObject",), resources=(_PICTURES,), source=_REFERENCE + "amazons3.html"),
        _via("s3"),
    ),
    "secretsmanager:get_secret_value": (
        Grant(
            actions=("secretsmanager:GetSecretValue",),
            # Six characters of AWS' own end a secret's ARN.
            resources=("arn:aws:secretsmanager:{region}:{account}:secret:{token_secret}-??????",),
            source=_REFERENCE + "awssecretsmanager.html",
        ),
        _via("secretsmanager"),
    ),
    "sns:publish": (
        Grant(
            actions=("sns:Publish",),
            resources=("{topic}",),  # none, where no tracker is e-mail
            source=_REFERENCE + "amazonsns.html",
        ),
        _via("sns"),
    ),
    "sqs:send_message": (Grant(actions=("sqs:SendMessage",), resources=("{tick_queue}",), source=_SQS), _QUEUE_KEY),
}

# What Lambda itself does in the function's name.
RUNNING: tuple[Grant, ...] = (
    Grant(
        # Not CreateLogGroup: Terraform makes the group, with an end and a key; one that Lambda makes again has neither.
        actions=("logs:CreateLogStream", "logs:PutLogEvents"),
        resources=("arn:aws:logs:{region}:{account}:log-group:/aws/lambda/{function}:*",),
        source="https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs.html",
    ),
    Grant(
        actions=("xray:PutTelemetryRecords", "xray:PutTraceSegments"),
        resources=("*",),  # knows no resource
        source="https://docs.aws.amazon.com/lambda/latest/dg/services-xray.html",
    ),
    Grant(
        actions=("ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface", "ec2:DescribeNetworkInterfaces"),
        resources=("*",),  # Lambda checks them without a resource when the function is put into the VPC
        source="https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html",
    ),
)
CONSUMING: tuple[Grant, ...] = (
    Grant(
        actions=("sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"),
        resources=("{tick_queue}",),
        source="https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html",
    ),
)
FAILING: tuple[Grant, ...] = (
    Grant(
        actions=("sqs:SendMessage",),
        resources=("{dead_queue}",),
        source="https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html",
    ),
    _QUEUE_KEY,
)

# Lambda calls these asynchronously: what fails for good goes to the dead queue.
EVENT_FUNCTIONS = (
    "image_pushed",
    "deployment_changed",
    "task_changed",
    "alarm_changed",
    "tick_schedule",
    "event_sweep",
)
TICK_FUNCTION = "rollout_tick"
LISTING = frozenset({"dynamodb:batch_get_item", "dynamodb:query"})
READING = LISTING | {"dynamodb:get_item"}
OPENING = frozenset({"s3:get_object"})  # a picture is opened by the HTTP API alone
SWEEPING = frozenset({"ecr:describe_images"})  # pushes whose event was lost are looked for by the sweep alone
# Every function but those that only look runs the same tick, and so needs every call of it.
TICKING = frozenset(CALLS) - OPENING - SWEEPING
CALLS_OF = {
    "status": READING,
    "incidents": LISTING,
    "event_sweep": TICKING | SWEEPING,
    API_HANDLER: TICKING | OPENING,
}


def calls_of(function: str) -> frozenset[str]:
    """The rows of the table that a function needs."""
    return CALLS_OF.get(function, TICKING)


def grants_of(function: str) -> tuple[Grant, ...]:
    """All that a function may do."""
    extra = CONSUMING if function == TICK_FUNCTION else FAILING if function in EVENT_FUNCTIONS else ()
    return (*RUNNING, *extra, *(grant for call in sorted(calls_of(function)) for grant in CALLS[call]))


def policy_of(stage: Stage, function: str) -> dict[str, Any]:
    """A function's policy in a stage: one statement for each (resources, condition)."""
    merged: dict[str, tuple[dict[str, Any], set[str]]] = {}
    for grant in grants_of(function):
        rest = {"Resource": _resources(grant, stage, function), "Condition": _condition(grant, stage)}
        _, actions = merged.setdefault(json.dumps(rest, sort_keys=True), (rest, set()))
        actions.update(grant.actions)
    statements = [
        {"Effect": "Allow", "Action": sorted(actions), **{key: value for key, value in rest.items() if value}}
        for rest, actions in merged.values()
        if rest["Resource"]
    ]
    return {"Version": "2012-10-17", "Statement": sorted(statements, key=lambda each: str(each["Action"]))}


def _names(stage: Stage, function: str = API_HANDLER) -> dict[str, str]:
    return {
        "region": stage.region,
        "account": stage.account,
        "cluster": stage.fleet.cluster,
        "table": stage.table,
        "tick_queue": stage.tick_queue_arn,
        "dead_queue": stage.dead_queue_arn,
        "bucket": stage.bucket,
        "function": stage.function_name(function),
    }


def _resources(grant: Grant, stage: Stage, function: str) -> list[str]:
    groups = stage.fleet.groups.values()
    services = sorted(service for group in groups for service in group.services)
    every = {
        "{service}": services,
        "{stray}": [service for service in services if not service.startswith(f"{stage.fleet.cluster}-")],
        "{repository}": sorted(group.repository for group in groups),
        "{token_secret}": sorted(_secrets(stage)),
        "{topic}": sorted(getattr(t, "topic", "") for t in stage.fleet.incidents.trackers.values() if t.type == "sns"),
    }
    return [resource.format(**_names(stage, function)) for each in grant.resources for resource in _each(each, every)]


def _secrets(stage: Stage) -> set[str]:
    """Every secret that a tracker of the fleet file names."""
    named = (
        getattr(tracker, key, None)
        for tracker in stage.fleet.incidents.trackers.values()
        for key in ("token_secret", "routing_key_secret")
    )
    return {name for name in named if name}


def _each(resource: str, every: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for place, names in every.items():
        if place in resource:
            yield from (resource.replace(place, name) for name in names)
            return
    yield resource


def _condition(grant: Grant, stage: Stage) -> dict[str, dict[str, str]]:
    names = _names(stage)
    return {
        test: {key: value.format(**names) for key, value in wanted.items()} for test, wanted in grant.condition.items()
    }


def policy_files() -> dict[Path, str]:
    """Every policy file, and what it should hold."""
    return {
        POLICIES / stage.name / f"{function}.json": json.dumps(policy_of(stage, function), indent=2) + "\n"
        for stage in map(read_stage, stage_names())
        for function in stage.functions
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the policy files, or check them."""
    parser = argparse.ArgumentParser(prog="python -m tools.policies", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file is out of date")
    check: bool = parser.parse_args(arguments).check
    wanted = policy_files()
    stale = [path for path, text in wanted.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    extra = sorted(set(POLICIES.glob("*/*.json")) - set(wanted))
    for path in (*stale, *extra):
        sys.stdout.write(f"{path.relative_to(POLICIES.parent)}: {'out of date' if check else 'written'}\n")
    if check:
        return 1 if stale or extra else 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path], encoding="utf-8")
    for path in extra:
        path.unlink()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
