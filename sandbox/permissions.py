"""What IAM says to a call of our functions: the policy that is deployed, applied to what the request names.

The policy is `tools.policies.policy_of` of the sandbox's own fleet file; that it equals the files in .chalice/policies is
proven by a test. Which actions a call needs is said by tools.policies.CALLS alone; here stands how the resource of each
action is read from a request. Source: the links in that table, and
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
Customer's keys stand behind nothing in the sandbox, yet each call is judged as if they did: in production they do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from chalicelib.fleet.model import Fleet
from sandbox.dataplane.events import ACCOUNT
from sandbox.ground import Ground
from tools.policies import CALLS, Grant, policy_of
from tools.stages import Stage

if TYPE_CHECKING:
    from sandbox.dataplane.model import Definition

APP = "xai-ops"
Body = Mapping[str, Any]
Context = tuple[tuple[str, str], ...]  # the request's condition keys, such as ecs:cluster
_WRITES = {
    "dynamodb:ConditionCheckItem": "ConditionCheck",
    "dynamodb:DeleteItem": "Delete",
    "dynamodb:PutItem": "Put",
    "dynamodb:UpdateItem": "Update",
}


def stage_of(fleet: Fleet) -> Stage:
    """The stage as the sandbox lays it out; for a fleet file of ours it is that of .chalice/config.json."""
    ground = Ground("", fleet)
    queues = f"arn:aws:sqs:{fleet.region}:{ACCOUNT}:{APP}-{fleet.environment}"
    return Stage(
        name=fleet.environment,
        app=APP,
        region=fleet.region,
        account=ACCOUNT,
        table=ground.table,
        tick_queue_arn=f"{queues}-ticks",
        dead_queue_arn=f"{queues}-dead",
        bucket=ground.bucket,
        functions=(),
        fleet=fleet,
    )


@dataclass(frozen=True, slots=True)
class Request:
    """A call as it came in: its body, and the path where that names the resource."""

    path: str
    body: Body


class Policy:
    """One function's policy: Allow statements alone, as tools.policies writes them."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        """Compile its patterns."""
        self._by_action: dict[str, list[tuple[re.Pattern[str], Mapping[str, Any]]]] = {}
        for statement in document["Statement"]:
            resources = _pattern(statement["Resource"])
            for action in statement["Action"]:
                self._by_action.setdefault(action, []).append((resources, statement.get("Condition", {})))
        self._known: dict[tuple[str, str, Context], bool] = {}

    def allows(self, action: str, resource: str, context: Context) -> bool:
        """Whether a statement allows the action on the resource in this context."""
        asked = (action, resource, context)
        if asked not in self._known:
            self._known[asked] = any(
                pattern.fullmatch(resource) and _holds(condition, dict(context))
                for pattern, condition in self._by_action.get(action, ())
            )
        return self._known[asked]

    def forget(self, action: str) -> None:
        """Allow an action no more."""
        self._by_action.pop(action, None)
        self._known.clear()


class Permissions:
    """The policies of every function of one stage."""

    def __init__(self, fleet: Fleet, definitions: Mapping[str, Sequence[Definition]]) -> None:
        """Of this fleet's stage; `definitions` are the task definitions by family, whose roles RunTask passes."""
        self._stage = stage_of(fleet)
        self._where = _Where(fleet.region, fleet.cluster, definitions)
        self._policies: dict[str, Policy] = {}
        self._forgotten: set[str] = set()

    def forget(self, action: str) -> None:
        """Take an action out of every policy: what a test of the denial does."""
        self._forgotten.add(action)
        for policy in self._policies.values():
            policy.forget(action)

    def refusal(self, function: str, call: str, path: str, body: bytes) -> str | None:
        """What IAM answers, None when the call is allowed. A call without a row in the table is refused."""
        if call not in CALLS:
            return f"{self._refused(function, call, '*')}: tools/policies.py has no row for it"
        policy, request = self._policy(function), Request(path, _parsed(body))
        for grant in CALLS[call]:
            context = self._where.context(call, grant, request)
            for action in grant.actions:
                for resource in RESOURCES[action](request, self._where):
                    if not policy.allows(action, resource, context):
                        because = f"because no identity-based policy allows the {action} action"
                        return f"{self._refused(function, action, resource)} {because}"
        return None

    def _policy(self, function: str) -> Policy:
        if function not in self._policies:
            policy = Policy(policy_of(self._stage, function))
            for action in self._forgotten:
                policy.forget(action)
            self._policies[function] = policy
        return self._policies[function]

    def _refused(self, function: str, action: str, resource: str) -> str:
        """Chalice names a function's role APP-STAGE-NAME."""
        role = f"{APP}-{self._stage.name}-{function}"
        user = f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{role}"
        return f"User: {user} is not authorized to perform: {action} on resource: {resource}"


class _Where:
    """How names in a request become ARNs."""

    def __init__(self, region: str, cluster: str, definitions: Mapping[str, Sequence[Definition]]) -> None:
        self.region, self._cluster, self._definitions = region, cluster, definitions

    def arn(self, service: str, resource: str) -> str:
        """The ARN of something of this account, in this region."""
        return f"arn:aws:{service}:{self.region}:{ACCOUNT}:{resource}"

    def ecs(self, kind: str, name: str, body: Body) -> str:
        """Of a service or task, which requests name by ARN or within a cluster."""
        return (
            name
            if name.startswith("arn:")
            else self.arn("ecs", f"{kind}/{_last(body.get('cluster', 'default'))}/{name}")
        )

    def family(self, name: str) -> str:
        """Of a task definition. Without a revision it is any: a policy for one revision must not allow it."""
        name = _last(name)
        return self.arn("ecs", f"task-definition/{name}" if ":" in name else f"task-definition/{name}:*")

    def definition(self, name: str) -> Body:
        """What a task definition says; {} for one that there is not."""
        family, _, number = _last(name).partition(":")
        found = [each for each in self._definitions.get(family, ()) if number in ("", str(each.revision))]
        return found[-1].raw if found else {}

    def context(self, call: str, grant: Grant, request: Request) -> Context:
        """The condition keys that AWS fills in for this call."""
        service, operation = call.split(":")
        if "kms:Decrypt" in grant.actions:
            return (("kms:ViaService", f"{service}.{self.region}.amazonaws.com"),)
        if "iam:PassRole" in grant.actions:
            return (("iam:PassedToService", "ecs-tasks.amazonaws.com"),)
        if service != "ecs":
            return ()
        if operation == "register_task_definition":
            return (("ecs:CreateAction", "RegisterTaskDefinition"),)
        cluster = _cluster(request.body)
        return (("ecs:cluster", self.arn("ecs", f"cluster/{cluster}")),) if cluster else ()


Reader = Callable[[Request, _Where], Iterable[str]]


def _table(action: str) -> Reader:
    """Tables of a plain call, of a batch, or of those items of a transaction that need this action."""

    def read(request: Request, where: _Where) -> set[str]:
        body = request.body
        if "TransactItems" in body:
            kind = _WRITES[action]
            tables = {each[kind]["TableName"] for each in body["TransactItems"] if kind in each}
        else:
            index = f"/index/{body['IndexName']}" if "IndexName" in body else ""
            tables = {f"{name}{index}" for name in body.get("RequestItems") or [body["TableName"]]}
        return {where.arn("dynamodb", f"table/{table}") for table in tables}

    return read


def _services(request: Request, where: _Where) -> set[str]:
    body = request.body
    return {where.ecs("service", name, body) for name in body.get("services") or [body["service"]]}


def _tasks(request: Request, where: _Where) -> set[str]:
    body = request.body
    return {where.ecs("task", name, body) for name in body.get("tasks") or [body["task"]]}


def _tagged(request: Request, where: _Where) -> list[str]:
    """TagResource, asked for itself or by a registration that brings tags."""
    if "resourceArn" in request.body:
        return [request.body["resourceArn"]]
    return [where.family(request.body["family"])] if request.body.get("tags") else []


def _roles(request: Request, where: _Where) -> set[str]:
    """Roles that a registration names, or that a lone task brings from its definition."""
    body = request.body
    named = where.definition(body["taskDefinition"]) if "taskDefinition" in body else body
    given = (
        each.get(key) for each in (named, body.get("overrides") or {}) for key in ("executionRoleArn", "taskRoleArn")
    )
    return {role if role.startswith("arn:") else f"arn:aws:iam::{ACCOUNT}:role/{role}" for role in given if role}


def _repository(request: Request, where: _Where) -> list[str]:
    body = request.body
    names = body.get("repositoryNames") or [body.get("repositoryName", "*")]
    return [where.arn("ecr", f"repository/{name}") for name in names]


def _queue(request: Request, where: _Where) -> list[str]:
    account, name = request.body["QueueUrl"].rsplit("/", 2)[-2:]
    return [f"arn:aws:sqs:{where.region}:{account}:{name}"]


def _object(request: Request, _where: _Where) -> list[str]:
    return [f"arn:aws:s3:::{request.path.lstrip('/')}"]


def _secret(request: Request, where: _Where) -> list[str]:
    """A secret's ARN ends with six characters of AWS' own, which its name does not tell."""
    name = request.body["SecretId"]
    return [name if name.startswith("arn:") else where.arn("secretsmanager", f"secret:{name}-XXXXXX")]


def _log_stream(request: Request, where: _Where) -> list[str]:
    return [where.arn("logs", f"log-group:{request.body['logGroupName']}:log-stream:{request.body['logStreamName']}")]


def _key(_request: Request, where: _Where) -> list[str]:
    return [where.arn("kms", "key/of-the-customer")]


def _no_resource(_request: Request, _where: _Where) -> list[str]:
    """An action that knows none, or a request that names none: the policy must say "*"."""
    return ["*"]


# One row for each action of tools.policies.CALLS: how its resources are read from a request.
RESOURCES: Mapping[str, Reader] = {
    **{f"dynamodb:{name}": _table(f"dynamodb:{name}") for name in ("BatchGetItem", "GetItem", "Query")},
    **{action: _table(action) for action in _WRITES},
    **{f"ecr:{name}": _repository for name in (
        "BatchGetImage", "DescribeImageScanFindings", "DescribeImages", "DescribeRepositories", "GetDownloadUrlForLayer",
        "PutImage",
    )},
    "cloudwatch:DescribeAlarms": _no_resource,
    "cloudwatch:GetMetricWidgetImage": _no_resource,
    "ecs:DescribeServiceDeployments": lambda request, _where: request.body["serviceDeploymentArns"],
    "ecs:DescribeServices": _services,
    "ecs:DescribeTaskDefinition": _no_resource,
    "ecs:DescribeTasks": _tasks,
    "ecs:ListServiceDeployments": _services,
    "ecs:ListTaskDefinitions": _no_resource,
    "ecs:ListTasks": _no_resource,
    "ecs:RegisterTaskDefinition": lambda request, where: [where.family(request.body["family"])],
    "ecs:RunTask": lambda request, where: [where.family(request.body["taskDefinition"])],
    "ecs:StopTask": _tasks,
    "ecs:TagResource": _tagged,
    "ecs:UpdateService": _services,
    "elasticloadbalancing:DescribeTargetHealth": _no_resource,
    "iam:PassRole": _roles,
    "kms:Decrypt": _key,
    "kms:GenerateDataKey": _key,
    "logs:GetLogEvents": _log_stream,
    "s3:GetObject": _object,
    "s3:PutObject": _object,
    "secretsmanager:GetSecretValue": _secret,
    "sns:Publish": lambda request, _where: [request.body["TopicArn"]],
    "sqs:SendMessage": _queue,
}  # fmt: skip


def _parsed(body: bytes) -> Body:
    """JSON or a form; what names no resource (CBOR, a picture) is {}."""
    if body[:1] == b"{":
        found: Body = json.loads(body)
        return found
    if b"Action=" in body[:200]:
        return {key: values[0] for key, values in parse_qs(body.decode()).items()}
    return {}


def _cluster(body: Body) -> str:
    """The cluster that a request names, itself or in the ARN of a service's deployment."""
    if "cluster" in body:
        return _last(body["cluster"])
    named = body.get("serviceDeploymentArns") or ()
    return named[0].split("/")[1] if named else ""


def _last(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def _holds(condition: Mapping[str, Mapping[str, str]], context: Mapping[str, str]) -> bool:
    """ArnEquals and StringEquals; any other test is none that tools.policies writes. A key that is missing never holds."""
    for test, wanted in condition.items():
        for key, value in wanted.items():
            found = context.get(key)
            if found is None or not (_pattern((value,)).fullmatch(found) if _is_of_arns(test) else found == value):
                return False
    return True


def _is_of_arns(test: str) -> bool:
    """ArnEquals takes patterns, as ArnLike does; StringEquals does not."""
    if test not in ("ArnEquals", "StringEquals"):
        raise ValueError(f"condition {test} is not known here")
    return test == "ArnEquals"


def _pattern(resources: Iterable[str]) -> re.Pattern[str]:
    return _compiled(tuple(resources))


@cache
def _compiled(resources: tuple[str, ...]) -> re.Pattern[str]:
    """IAM's wildcards: * is any text, ? is one character."""
    return re.compile("|".join(re.escape(each).replace(r"\*", ".*").replace(r"\?", ".") for each in resources))
