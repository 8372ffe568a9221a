"""The sandbox's IAM: what a function's policy allows of a request, by action and by resource, and how it refuses the rest."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import botocore.session
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError

from chalicelib.fleet.load import load
from sandbox.clock import ScaledClock
from sandbox.cloud import OURS, Cloud
from sandbox.dataplane.api import EcsApi
from sandbox.dataplane.events import ACCOUNT
from sandbox.dataplane.plane import Plane
from sandbox.lambdas import Lambdas, running
from sandbox.permissions import RESOURCES, Permissions, Policy, stage_of
from sandbox.registry import Images
from sandbox.switches import Faults
from sandbox.world import FLEETS
from tests.sandbox.stage import REGION, eventually
from tools.policies import CALLS, policy_of
from tools.stages import read_stage, stage_names

ECS = "arn:aws:ecs:us-east-1:123456789012"
ROLES = "arn:aws:iam::123456789012:role"
TABLE = "arn:aws:dynamodb:us-east-1:123456789012:table/ops-staging"
QUEUES = "http://127.0.0.1:1/123456789012"
STAGING = {"cluster": "xai-staging"}
WITH_ROLE = SimpleNamespace(revision=1, raw={"taskRoleArn": f"{ROLES}/admin"})
BY_TICK = "rollout_tick"


@pytest.fixture(scope="module")
def staging() -> Permissions:
    """Staging's, with one task definition whose role is not the fleet's."""
    definitions: Any = {"xai-staging-node-1": [WITH_ROLE]}
    return Permissions(load(FLEETS / "staging.yaml"), definitions)


def asked(
    permissions: Permissions, call: str, body: Mapping[str, Any] | bytes = b"", *, path: str = "/", by: str = BY_TICK
) -> str | None:
    """What IAM says to a call."""
    return permissions.refusal(by, call, path, body if isinstance(body, bytes) else json.dumps(body).encode())


def refused(answer: str | None) -> tuple[str, str]:
    """Action and resource of a refusal."""
    assert answer is not None, "it was allowed"
    words = answer.split()
    return words[words.index("perform:") + 1], words[words.index("resource:") + 1]


# ---------------------------------------------------------------------------------------------- the same policy


@pytest.mark.parametrize("name", stage_names())
def test_sandbox_judges_by_the_policies_that_are_deployed(name: str) -> None:
    """Of our own fleet files the sandbox' stage is that of config.json: its policies are the committed files."""
    deployed = read_stage(name)
    laid = stage_of(load(FLEETS / f"{name}.yaml"))
    for function in deployed.functions:
        # A stage that was configured has an account of its own.
        policy = json.dumps(policy_of(deployed, function)).replace(deployed.account, ACCOUNT)
        assert policy_of(laid, function) == json.loads(policy)


def test_each_action_of_the_table_knows_its_resource() -> None:
    """No call is judged by its name alone, and no row is left of an action that nothing needs."""
    assert {action for grants in CALLS.values() for grant in grants for action in grant.actions} == set(RESOURCES)


# ---------------------------------------------------------------------------------------------- action and resource

WRITES = {
    "TransactItems": [
        {"Put": {"TableName": "ops-staging"}},
        {"Delete": {"TableName": "ops-staging"}},
        {"Update": {"TableName": "ops-staging"}},
        {"ConditionCheck": {"TableName": "ops-staging"}},
    ]
}
ALLOWED: list[tuple[str, Any]] = [
    ("cloudwatch:describe_alarms", b"\xbf"),
    ("dynamodb:get_item", {"TableName": "ops-staging"}),
    ("dynamodb:query", {"TableName": "ops-staging", "IndexName": "open"}),
    ("dynamodb:batch_get_item", {"RequestItems": {"ops-staging": {}}}),
    ("dynamodb:transact_write_items", WRITES),
    ("ecr:batch_get_image", {"repositoryName": "any/sidecar"}),
    ("ecr:describe_repositories", {"repositoryNames": ["xai/node"]}),
    ("ecr:put_image", {"repositoryName": "xai/node"}),
    ("ecs:describe_services", {**STAGING, "services": ["xai-staging-node-1", "xai-staging-node-2"]}),
    ("ecs:describe_services", {"cluster": f"{ECS}:cluster/xai-staging", "services": ["xai-staging-node-1"]}),
    (
        "ecs:describe_service_deployments",
        {"serviceDeploymentArns": [f"{ECS}:service-deployment/xai-staging/xai-staging-node-1/a1"]},
    ),
    ("ecs:list_service_deployments", {**STAGING, "service": f"{ECS}:service/xai-staging/xai-staging-node-1"}),
    ("ecs:list_tasks", STAGING),
    ("ecs:list_task_definitions", {"familyPrefix": "anything"}),
    ("ecs:describe_tasks", {**STAGING, "tasks": [f"{ECS}:task/xai-staging/a1", "a2"]}),
    ("ecs:stop_task", {**STAGING, "task": f"{ECS}:task/xai-staging/a1"}),
    ("ecs:stop_task", {**STAGING, "task": "a1"}),
    ("ecs:register_task_definition", {"family": "xai-staging-node-1-smoke"}),
    (
        "ecs:register_task_definition",
        {"family": "xai-staging-node-1", "tags": [{}], "taskRoleArn": f"{ROLES}/xai-staging-node-task"},
    ),
    ("ecs:run_task", {**STAGING, "taskDefinition": f"{ECS}:task-definition/xai-staging-node-1-smoke:7"}),
    ("ecs:run_task", {**STAGING, "taskDefinition": "xai-staging-node-1-smoke"}),
    ("ecs:tag_resource", {"resourceArn": f"{ECS}:task-definition/xai-staging-node-1:3"}),
    ("ecs:update_service", {**STAGING, "service": "xai-staging-node-1"}),
    ("logs:get_log_events", {"logGroupName": "/ecs/xai-staging/containers", "logStreamName": "node/node/a1"}),
    ("secretsmanager:get_secret_value", {"SecretId": "xai-ops/staging/slack"}),
    ("sqs:send_message", {"QueueUrl": f"{QUEUES}/xai-ops-staging-ticks"}),
]


@pytest.mark.parametrize(("call", "body"), ALLOWED)
def test_call_on_what_is_ours_is_allowed(staging: Permissions, call: str, body: Any) -> None:
    """Names and ARNs, single and many, with and without a revision."""
    assert asked(staging, call, body) is None


DENIED: list[tuple[str, Any, str, str]] = [
    ("dynamodb:get_item", {"TableName": "ops-production"}, "dynamodb:GetItem", f"{TABLE[:-7]}production"),
    ("dynamodb:query", {"TableName": "ops-staging", "IndexName": "x"}, "dynamodb:Query", f"{TABLE}/index/x"),
    ("dynamodb:batch_get_item", {"RequestItems": {"ops-staging": {}, "x": {}}}, "dynamodb:BatchGetItem", f"{TABLE[:-11]}x"),
    ("dynamodb:transact_write_items", {"TransactItems": [WRITES["TransactItems"][0], {"Delete": {"TableName": "x"}}]},
     "dynamodb:DeleteItem", f"{TABLE[:-11]}x"),
    ("ecr:put_image", {"repositoryName": "any/sidecar"}, "ecr:PutImage",
     "arn:aws:ecr:us-east-1:123456789012:repository/any/sidecar"),
    ("ecs:describe_services", {**STAGING, "services": ["xai-staging-node-1", "other"]}, "ecs:DescribeServices",
     f"{ECS}:service/xai-staging/other"),
    ("ecs:update_service", {"cluster": "xai-production", "service": "xai-staging-node-1"}, "ecs:UpdateService",
     f"{ECS}:service/xai-production/xai-staging-node-1"),
    ("ecs:stop_task", {**STAGING, "task": f"{ECS}:task/xai-production/a1"}, "ecs:StopTask", f"{ECS}:task/xai-production/a1"),
    # The resource is not to be told from another cluster's: its condition is.
    ("ecs:list_tasks", {"cluster": "xai-production"}, "ecs:ListTasks", "*"),
    ("ecs:list_tasks", {}, "ecs:ListTasks", "*"),
    ("ecs:run_task", {"cluster": "xai-production", "taskDefinition": "xai-staging-node-1-smoke:1"}, "ecs:RunTask",
     f"{ECS}:task-definition/xai-staging-node-1-smoke:1"),
    ("ecs:run_task", {**STAGING, "taskDefinition": "miner:1"}, "ecs:RunTask", f"{ECS}:task-definition/miner:1"),
    # Its role comes with the definition.
    ("ecs:run_task", {**STAGING, "taskDefinition": "xai-staging-node-1:1"}, "iam:PassRole", f"{ROLES}/admin"),
    ("ecs:run_task", {**STAGING, "taskDefinition": "xai-staging-x:1", "overrides": {"taskRoleArn": f"{ROLES}/admin"}},
     "iam:PassRole", f"{ROLES}/admin"),
    ("ecs:register_task_definition", {"family": "miner"}, "ecs:RegisterTaskDefinition", f"{ECS}:task-definition/miner:*"),
    ("ecs:register_task_definition", {"family": "xai-staging-node-1", "executionRoleArn": "admin"}, "iam:PassRole",
     f"{ROLES}/admin"),
    ("ecs:tag_resource", {"resourceArn": f"{ECS}:service/xai-staging/xai-staging-node-1"}, "ecs:TagResource",
     f"{ECS}:service/xai-staging/xai-staging-node-1"),
    ("logs:get_log_events", {"logGroupName": "/aws/lambda/x", "logStreamName": "s"}, "logs:GetLogEvents",
     "arn:aws:logs:us-east-1:123456789012:log-group:/aws/lambda/x:log-stream:s"),
    ("secretsmanager:get_secret_value", {"SecretId": "xai-ops/production/slack"}, "secretsmanager:GetSecretValue",
     "arn:aws:secretsmanager:us-east-1:123456789012:secret:xai-ops/production/slack-XXXXXX"),
    ("sqs:send_message", {"QueueUrl": f"{QUEUES}/xai-ops-staging-dead"}, "sqs:SendMessage",
     "arn:aws:sqs:us-east-1:123456789012:xai-ops-staging-dead"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "body", "action", "resource"), DENIED)
def test_call_on_what_is_not_ours_is_refused(
    staging: Permissions, call: str, body: Any, action: str, resource: str
) -> None:
    """Another stage's, another cluster's, a role of somebody else: the action is allowed, the resource is not."""
    assert refused(asked(staging, call, body)) == (action, resource)


def test_pictures_are_written_by_ticks_and_opened_by_the_http_api(staging: Permissions) -> None:
    """The path names bucket and key; nothing outside of the folder is anybody's."""
    path = "/ops-staging-123456789012/pictures/x.png"
    assert asked(staging, "s3:put_object", path=path) is None
    assert asked(staging, "s3:get_object", path=path, by="api_handler") is None
    assert refused(asked(staging, "s3:get_object", path=path))[0] == "s3:GetObject"
    state = "/ops-staging-123456789012/terraform.tfstate"
    assert refused(asked(staging, "s3:get_object", path=state, by="api_handler"))[1] == f"arn:aws:s3::{':' + state[1:]}"


def test_mail_goes_to_the_fleets_topic_alone() -> None:
    """SNS speaks forms; staging has no topic at all."""
    topic = "arn:aws:sns:us-east-1:123456789012:xai-ops-production-incidents"
    form = urlencode({"Action": "Publish", "TopicArn": topic}).encode()
    assert asked(Permissions(load(FLEETS / "production.yaml"), {}), "sns:publish", form) is None
    assert refused(asked(Permissions(load(FLEETS / "staging.yaml"), {}), "sns:publish", form)) == ("sns:Publish", topic)


def test_status_may_look_and_no_more(staging: Permissions) -> None:
    """Each function is judged by a policy of its own."""
    assert asked(staging, "dynamodb:get_item", {"TableName": "ops-staging"}, by="status") is None
    answer = asked(staging, "dynamodb:update_item", {"TableName": "ops-staging"}, by="status")
    assert answer == (
        "User: arn:aws:sts::123456789012:assumed-role/xai-ops-staging-status/xai-ops-staging-status is not authorized to "
        f"perform: dynamodb:UpdateItem on resource: {TABLE} because no identity-based policy allows the "
        "dynamodb:UpdateItem action"
    )


def test_call_without_a_row_is_refused(staging: Permissions) -> None:
    """Whatever a policy says: what the table does not know nobody has reviewed."""
    answer = asked(staging, "ecs:delete_service", {**STAGING, "service": "xai-staging-node-1"})
    assert answer is not None
    assert answer.endswith("perform: ecs:delete_service on resource: *: tools/policies.py has no row for it")


@pytest.mark.parametrize("action", sorted(RESOURCES))
def test_each_action_is_needed(action: str) -> None:
    """Without it, a call that was allowed is refused: no action is in the table for nothing."""
    permissions = Permissions(load(FLEETS / "production.yaml"), {})
    ask = next(ask for call, ask in needing(permissions) if action in actions_of(call))
    assert ask() is None
    permissions.forget(action)
    assert refused(ask())[0] == action


def actions_of(call: str) -> set[str]:
    """What IAM must allow for a call."""
    return {action for grant in CALLS[call] for action in grant.actions}


def needing(permissions: Permissions) -> Iterator[tuple[str, Callable[[], str | None]]]:
    """A request of each call that names all that it can: of production, which has a topic."""
    text = json.dumps(ALLOWED_WITH_ALL).replace("staging", "production")
    for call, body in json.loads(text).items():
        yield call, lambda call=call, body=body: asked(permissions, call, body)  # type: ignore[misc]
    form = urlencode(
        {"Action": "Publish", "TopicArn": "arn:aws:sns:us-east-1:123456789012:xai-ops-production-incidents"}
    )
    yield "sns:publish", lambda: asked(permissions, "sns:publish", form.encode())
    path = "/ops-production-123456789012/pictures/x.png"
    for call in ("s3:put_object", "s3:get_object"):
        yield call, lambda call=call: asked(permissions, call, path=path, by="api_handler")  # type: ignore[misc]
    yield (
        "ecr:describe_images",
        lambda: asked(permissions, "ecr:describe_images", {"repositoryName": "xai/node"}, by="event_sweep"),
    )


ALLOWED_WITH_ALL: dict[str, Any] = {
    **{call: body for call, body in ALLOWED if isinstance(body, dict)},
    "cloudwatch:describe_alarms": {},
    "cloudwatch:get_metric_widget_image": {},
    "ecr:describe_image_scan_findings": {"repositoryName": "xai/node"},
    "ecr:get_download_url_for_layer": {"repositoryName": "xai/node"},
    "ecs:describe_task_definition": {"taskDefinition": "anything:1"},
    "elbv2:describe_target_health": {},
}


def test_conditions_and_wildcards_are_iams() -> None:
    """StringEquals takes its value as it is, ArnEquals a pattern; `?` is one character; an unknown test is an error."""

    def policy(resource: str, **condition: Any) -> Policy:
        return Policy({"Statement": [{"Action": ["a:B"], "Resource": [resource], "Condition": condition}]})

    assert policy("s-??").allows("a:B", "s-ab", ())
    assert not policy("s-??").allows("a:B", "s-abc", ())
    assert not policy("a.c").allows("a:B", "abc", ())
    assert policy("*", ArnEquals={"k": "arn:*"}).allows("a:B", "x", (("k", "arn:1"),))
    assert not policy("*", StringEquals={"k": "arn:*"}).allows("a:B", "x", (("k", "arn:1"),))
    assert not policy("*", StringEquals={"k": "v"}).allows("a:B", "x", ())
    with pytest.raises(ValueError, match="StringLike"):
        policy("*", StringLike={"k": "v"}).allows("a:B", "x", (("k", "v"),))


# ---------------------------------------------------------------------------------------------- who calls, and the answer


class GuardedCloud:
    """A cloud whose IAM refuses what a test says, and a session that signs as our handlers' does."""

    def __init__(self, root: Path) -> None:
        """Serve on a free port."""
        clock, faults, self.no = ScaledClock(), Faults(), ""
        images = Images(clock, REGION, lambda _event: None)
        self.plane = Plane(
            clock=clock, images=images, root=root, region=REGION, publish=lambda _event: None,
            write_log=lambda *_: None, faults=faults,
        )  # fmt: skip
        self.cloud = Cloud(
            EcsApi(self.plane), images, faults, lambda *_: (None, None), lambda *_: None,
            refusal=lambda *_: self.no or None,
        )  # fmt: skip
        self.cloud.start()
        requests.post(f"{self.cloud.url}/moto-api/reset", timeout=10).raise_for_status()
        self.session = botocore.session.get_session()
        Lambdas.install_roles(self.session)

    def client(self, service: str) -> Any:
        """A client as our handlers have it; it tries once."""
        config = Config(
            retries={"total_max_attempts": 1},
            user_agent_extra=OURS,
            signature_version="s3v4" if service == "s3" else None,
        )
        return self.session.create_client(service, region_name=REGION, endpoint_url=self.cloud.url, config=config)


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[GuardedCloud]:
    """An empty cloud."""
    found = GuardedCloud(tmp_path)
    yield found
    found.cloud.stop()
    found.plane.stop()


def test_each_call_is_recorded_with_the_function_that_made_it(guarded: GuardedCloud) -> None:
    """One client serves them all, and each signs with its own role's keys; what runs in no function is nobody's."""
    ecs = guarded.client("ecs")
    for function in ("image_pushed", "status"):
        with running(function):
            ecs.list_clusters()
    ecs.list_clusters()
    assert guarded.cloud.made() == {
        ("image_pushed", "ecs:list_clusters"): 1, ("status", "ecs:list_clusters"): 1, ("", "ecs:list_clusters"): 1,
    }  # fmt: skip


def test_functions_in_threads_of_their_own_are_told_apart(guarded: GuardedCloud) -> None:
    """As Lambda's invocations run side by side."""
    ecs, together = guarded.client("ecs"), threading.Barrier(4)

    def invocation(function: str) -> None:
        with running(function):
            together.wait(timeout=10)
            ecs.list_clusters()

    threads = [threading.Thread(target=invocation, args=(f"f{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    eventually(lambda: not any(thread.is_alive() for thread in threads))
    assert set(guarded.cloud.made()) == {(f"f{number}", "ecs:list_clusters") for number in range(4)}


def test_link_is_opened_with_the_permission_of_its_signer(guarded: GuardedCloud) -> None:
    """A browser that follows S3's link has no keys: it is api_handler's call, and refused when that may not."""
    s3 = guarded.client("s3")
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="pictures/x.png", Body=b"png")
    with running("api_handler"):
        link = s3.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "pictures/x.png"})
    assert requests.get(link, timeout=10).content == b"png"
    assert guarded.cloud.made()["api_handler", "s3:get_object"] == 1
    guarded.no = "User: x is not authorized"
    assert requests.get(link, timeout=10).status_code == 403


CALLS_OF_EACH_PROTOCOL: dict[str, tuple[str, dict[str, Any], str]] = {
    "cloudwatch": ("describe_alarms", {}, "AccessDeniedException"),
    "dynamodb": ("get_item", {"TableName": "t", "Key": {}}, "AccessDeniedException"),
    "ecs": ("list_clusters", {}, "AccessDeniedException"),
    "elbv2": ("describe_target_health", {"TargetGroupArn": "a"}, "AccessDenied"),
    "logs": ("get_log_events", {"logGroupName": "g", "logStreamName": "s"}, "AccessDeniedException"),
    "s3": ("put_object", {"Bucket": "bucket", "Key": "k"}, "AccessDenied"),
    "secretsmanager": ("get_secret_value", {"SecretId": "s"}, "AccessDeniedException"),
    "sns": ("publish", {"TopicArn": "t", "Message": "m"}, "AuthorizationError"),
    "sqs": ("send_message", {"QueueUrl": "http://q/1/q", "MessageBody": "m"}, "AccessDeniedException"),
}


@pytest.mark.parametrize("service", CALLS_OF_EACH_PROTOCOL)
def test_refusal_reads_as_awss_own(guarded: GuardedCloud, service: str) -> None:
    """In each protocol botocore finds code and sentence, and the refusal is kept; what nobody of ours asks is not judged."""
    method, arguments, code = CALLS_OF_EACH_PROTOCOL[service]
    guarded.no = 'User: <x> is not authorized to perform: "y" on resource: *'
    with running("status"), pytest.raises(ClientError) as denied:
        getattr(guarded.client(service), method)(**arguments)
    assert (denied.value.response["Error"]["Code"], denied.value.response["Error"]["Message"]) == (code, guarded.no)
    assert guarded.cloud.refused() == [guarded.no]
    assert set(guarded.cloud.made()) == {("status", f"{service}:{method}")}
    guarded.client("ecs").list_clusters()
