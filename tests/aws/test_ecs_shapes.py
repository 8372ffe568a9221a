"""ECS' answers that the sandbox does not give: addresses, breakers, placement events, refusals."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from chalicelib.aws.ecs import EcsServices
from chalicelib.aws.ecs_deploy import EcsDeployer
from chalicelib.aws.session import Aws
from chalicelib.errors import AwsUnavailableError, CapacityError, DeniedError, MisconfiguredError
from tests.fakes.cloud import ENVIRONMENT, REGION, fresh_session

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
ARN = "arn:aws:ecs:us-east-1:123456789012"
Answer = dict[str, Any] | Callable[[dict[str, Any]], dict[str, Any]]


class Scripted:
    """AWS whose answers a test writes: operation -> answer, or a function of the request."""

    def __init__(self) -> None:
        """Answer nothing yet."""
        self.answers: dict[str, Answer] = {}
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.aws = Aws(REGION, fresh_session())
        events = self.aws.client("ecs").meta.events
        events.register("provide-client-params.ecs", self._note)
        events.register("before-call.ecs", self._answer)

    def _note(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        self.requests.append((model.name, dict(params)))

    def _answer(self, model: Any, **_: Any) -> tuple[Any, dict[str, Any]]:
        answer = self.answers[model.name]
        body = answer(self.requests[-1][1]) if callable(answer) else answer
        status = 400 if "Error" in body else 200
        return type("Http", (), {"status_code": status, "content": b"{}"})(), body

    def refuse(self, operation: str, code: str, message: str = "no") -> None:
        """Answer an operation with an error."""
        self.answers[operation] = {"Error": {"Code": code, "Message": message}}


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    """AWS with nothing to say."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return Scripted()


def a_service(**changes: Any) -> dict[str, Any]:
    """A service as DescribeServices shows it."""
    return {
        "serviceName": "node-1",
        "serviceArn": f"{ARN}:service/xai-test/node-1",
        "status": "ACTIVE",
        "desiredCount": 1,
        "runningCount": 1,
        "pendingCount": 0,
        "deployments": [],
        "events": [],
        **changes,
    }


def a_task(**changes: Any) -> dict[str, Any]:
    """A task as DescribeTasks shows it."""
    return {
        "taskArn": f"{ARN}:task/xai-test/01",
        "taskDefinitionArn": f"{ARN}:task-definition/node:2",
        "group": "service:node-1",
        "startedBy": "ecs-svc/1",
        "lastStatus": "RUNNING",
        "desiredStatus": "RUNNING",
        "containers": [{"name": "sidecar"}, {"name": "node"}],
        **changes,
    }


def the_task(scripted: Scripted, **changes: Any) -> Any:
    """What the adapter makes of one task."""
    task = a_task(**changes)
    scripted.answers["ListTasks"] = lambda request: {
        "taskArns": [task["taskArn"]] if request["desiredStatus"] == "RUNNING" else []
    }
    scripted.answers["DescribeTasks"] = {"tasks": [task]}
    (found,) = EcsServices(scripted.aws, "xai-test").tasks(container="node", port=8080)
    return found


def test_dead_task_says_what_its_container_said_in_utc(scripted: Scripted) -> None:
    """Exit code and reason are the named container's; another zone's times become UTC."""
    stopped = datetime(2026, 1, 5, 13, tzinfo=timezone(timedelta(hours=1)))
    containers = [{"name": "sidecar", "exitCode": 0}, {"name": "node", "exitCode": 137, "reason": "OutOfMemoryError"}]
    task = the_task(
        scripted, containers=containers, lastStatus="STOPPED", stoppedAt=stopped, stopCode="EssentialContainerExited"
    )
    assert (task.exit_code, task.container_reason) == (137, "OutOfMemoryError")
    assert (task.stopped_at, task.stopped_at.tzinfo) == (NOW, UTC)
    assert (task.service, task.stop_code) == ("node-1", "EssentialContainerExited")


def test_task_of_another_group_has_no_address_and_the_first_end(scripted: Scripted) -> None:
    """Without the named container something is still known."""
    task = the_task(scripted, containers=[{"name": "web", "exitCode": 3}], group="family:web")
    assert (task.exit_code, task.address, task.service) == (3, None, None)


@pytest.mark.parametrize(
    ("container", "attachments", "address"),
    [
        ({"networkBindings": [{"bindIP": "10.0.0.7", "containerPort": 8080, "hostPort": 32768}]}, [], "10.0.0.7:32768"),
        ({"networkBindings": [{"bindIP": "10.0.0.7", "containerPort": 9090, "hostPort": 32768}]}, [], None),
        ({"networkBindings": [{"bindIP": "::", "containerPort": 8080, "hostPort": 32768}]}, [], None),
        ({"networkInterfaces": [{"privateIpv4Address": "10.0.1.9"}]}, [], "10.0.1.9:8080"),
        ({}, [{"details": [{"name": "privateIPv4Address", "value": "10.0.2.3"}]}], "10.0.2.3:8080"),
        ({}, [], None),
    ],
)
def test_address_is_a_binding_with_an_address_or_the_interface(
    scripted: Scripted, container: dict[str, Any], attachments: list[Any], address: str | None
) -> None:
    """A wildcard binding names no host."""
    task = the_task(scripted, containers=[{"name": "node", **container}], attachments=attachments)
    assert task.address == address


def test_thirty_services_are_three_calls(scripted: Scripted) -> None:
    """DescribeServices takes ten."""
    scripted.answers["DescribeServices"] = lambda request: {
        "services": [a_service(serviceName=name) for name in request["services"]]
    }
    names = [f"node-{i}" for i in range(30)]
    assert list(EcsServices(scripted.aws, "xai-test").describe(names)) == names
    assert [len(request["services"]) for _, request in scripted.requests] == [10, 10, 10]


def test_more_tasks_than_one_call_takes_are_all_read(scripted: Scripted) -> None:
    """ListTasks in pages, DescribeTasks a hundred a call."""
    arns = [f"{ARN}:task/xai-test/{i}" for i in range(150)]

    def page(request: dict[str, Any]) -> dict[str, Any]:
        if request["desiredStatus"] == "STOPPED":
            return {"taskArns": []}
        return {"taskArns": arns[100:]} if "nextToken" in request else {"taskArns": arns[:100], "nextToken": "more"}

    scripted.answers["ListTasks"] = page
    scripted.answers["DescribeTasks"] = lambda request: {"tasks": [a_task(taskArn=arn) for arn in request["tasks"]]}
    assert len(EcsServices(scripted.aws, "xai-test").tasks(container="node", port=8080)) == 150
    sizes = [len(request["tasks"]) for name, request in scripted.requests if name == "DescribeTasks"]
    assert sizes == [100, 50]


def events_of(*messages: str) -> list[dict[str, Any]]:
    """Service events, oldest first, shuffled as nobody promises an order."""
    dated = [{"createdAt": NOW + timedelta(seconds=i), "message": message} for i, message in enumerate(messages)]
    return dated[::2] + dated[1::2]


@pytest.mark.parametrize(
    ("messages", "unplaced"),
    [
        ((), ""),
        (("(service node-1) has reached a steady state.",), ""),
        (
            ("(service node-1) has reached a steady state.", "(service node-1) was unable to place a task because ..."),
            "(service node-1) was unable to place a task because ...",
        ),
        (
            ("(service node-1) was unable to place a task because ...", "(service node-1) has reached a steady state."),
            "",
        ),
        (("failed: RESOURCE:MEMORY", "(service node-1) has started 1 tasks"), "failed: RESOURCE:MEMORY"),
    ],
)
def test_unplaced_is_told_only_when_newer_than_the_steady_state(
    scripted: Scripted, messages: tuple[str, ...], unplaced: str
) -> None:
    """An old lack of room is over."""
    scripted.answers["DescribeServices"] = {"services": [a_service(events=events_of(*messages))], "failures": []}
    assert EcsServices(scripted.aws, "xai-test").describe(["node-1"])["node-1"].unplaced == unplaced


def with_service_deployment(scripted: Scripted, **shown: Any) -> str:
    """What the adapter makes of the newest of two service deployments."""
    listed = [{"serviceDeploymentArn": f"arn:{i}", "createdAt": NOW + timedelta(minutes=i)} for i in (1, 2, 0)]
    scripted.answers["ListServiceDeployments"] = {"serviceDeployments": listed}
    scripted.answers["DescribeServiceDeployments"] = {"serviceDeployments": [shown]}
    said = EcsServices(scripted.aws, "xai-test").breaker("node-1")
    assert scripted.requests[-1] == ("DescribeServiceDeployments", {"serviceDeploymentArns": ["arn:2"]})
    return said


def test_breaker_that_went_back_says_why(scripted: Scripted) -> None:
    """The counts and ECS' reason."""
    said = with_service_deployment(
        scripted,
        status="ROLLBACK_IN_PROGRESS",
        deploymentCircuitBreaker={"status": "TRIGGERED", "failureCount": 3, "threshold": 3},
        rollback={"reason": "Service deployment rolled back because the circuit breaker threshold was exceeded."},
    )
    assert said.startswith("circuit breaker triggered after 3 of 3 failures: ROLLBACK_IN_PROGRESS: Service deployment")


def test_alarm_that_went_back_is_named(scripted: Scripted) -> None:
    """A deployment alarm is no circuit breaker."""
    alarms = {"status": "TRIGGERED", "alarmNames": ["a", "b"], "triggeredAlarmNames": ["b"]}
    assert "alarms b triggered" in with_service_deployment(scripted, status="ROLLBACK_SUCCESSFUL", alarms=alarms)


@pytest.mark.parametrize("status", ["SUCCESSFUL", "IN_PROGRESS", "STOPPED", "A_STATUS_OF_NEXT_YEAR"])
def test_deployment_that_neither_touched_says_nothing(scripted: Scripted, status: str) -> None:
    """A state that AWS adds later is no rollback."""
    assert with_service_deployment(scripted, status=status, deploymentCircuitBreaker={"status": "MONITORING"}) == ""


@pytest.mark.parametrize("refused", [True, False])
def test_without_service_deployments_the_deployments_reasons_tell(scripted: Scripted, *, refused: bool) -> None:
    """Older services and partitions have no such API or no such deployment."""
    if refused:
        scripted.refuse("ListServiceDeployments", "UnsupportedFeatureException")
    else:
        scripted.answers["ListServiceDeployments"] = {"serviceDeployments": []}
    reason = "ECS deployment circuit breaker: rolling back to deploymentId ecs-svc/1."
    scripted.answers["DescribeServices"] = {"services": [a_service(deployments=[{"rolloutStateReason": reason}])]}
    assert EcsServices(scripted.aws, "xai-test").breaker("node-1") == reason


def test_breaker_that_may_not_be_read_is_denied(scripted: Scripted) -> None:
    """A missing permission is not a missing feature."""
    scripted.refuse("ListServiceDeployments", "AccessDeniedException")
    with pytest.raises(DeniedError):
        EcsServices(scripted.aws, "xai-test").breaker("node-1")


def run_alone(scripted: Scripted, service: dict[str, Any]) -> dict[str, Any]:
    """The RunTask request that a service's place leads to."""
    scripted.answers["ListTasks"] = {"taskArns": []}
    scripted.answers["DescribeServices"] = {"services": [service]}
    scripted.answers.setdefault("RunTask", {"tasks": [{"taskArn": "arn:task"}], "failures": []})
    assert (
        EcsDeployer(scripted.aws, "xai-test").run_alone("arn:rev", like="node-1", started_by="xai-ops/r-1")
        == "arn:task"
    )
    return scripted.requests[-1][1]


def test_lone_task_takes_network_and_capacity_but_no_balancer_and_no_pin(scripted: Scripted) -> None:
    """What pins a node to its volume would pin its smoke too."""
    network = {"awsvpcConfiguration": {"subnets": ["s-1"], "securityGroups": ["g-1"]}}
    strategy = [{"capacityProvider": "cp", "weight": 1}]
    request = run_alone(
        scripted,
        a_service(
            networkConfiguration=network,
            capacityProviderStrategy=strategy,
            launchType="EC2",
            loadBalancers=[{"targetGroupArn": "arn:tg"}],
            placementConstraints=[{"type": "memberOf", "expression": "attribute:volume == node-1"}],
        ),
    )
    assert set(request) == {
        "cluster",
        "taskDefinition",
        "startedBy",
        "clientToken",
        "enableExecuteCommand",
        "networkConfiguration",
        "capacityProviderStrategy",
    }
    assert (request["networkConfiguration"], request["capacityProviderStrategy"]) == (network, strategy)
    assert len(request["clientToken"]) == 64


def test_lone_task_without_a_strategy_takes_the_launch_type(scripted: Scripted) -> None:
    """The two exclude each other."""
    request = run_alone(scripted, a_service(launchType="FARGATE", platformVersion="1.4.0", capacityProviderStrategy=[]))
    assert (request["launchType"], request["platformVersion"]) == ("FARGATE", "1.4.0")


@pytest.mark.parametrize("reason", ["RESOURCE:CPU", "RESOURCE:PORTS", "AGENT", "Capacity is unavailable at this time"])
def test_failure_for_want_of_room_is_a_capacity_error(scripted: Scripted, reason: str) -> None:
    """It comes again when there is room."""
    scripted.answers["RunTask"] = {"tasks": [], "failures": [{"reason": reason}]}
    with pytest.raises(CapacityError, match=reason):
        run_alone(scripted, a_service())


def test_failure_for_another_reason_is_a_contradiction(scripted: Scripted) -> None:
    """An attribute that no instance has will not come by waiting."""
    scripted.answers["RunTask"] = {"tasks": [], "failures": [{"reason": "ATTRIBUTE"}]}
    with pytest.raises(MisconfiguredError):
        run_alone(scripted, a_service())


def test_call_refused_for_want_of_instances_is_a_capacity_error(scripted: Scripted) -> None:
    """ECS says it in two ways."""
    scripted.refuse("RunTask", "InvalidParameterException", "No Container Instances were found in your cluster.")
    with pytest.raises(CapacityError):
        run_alone(scripted, a_service())


def test_stop_that_aws_refuses_for_another_reason_is_told(scripted: Scripted) -> None:
    """Only a task that is gone is fine."""
    scripted.refuse("StopTask", "ServerException")
    with pytest.raises(AwsUnavailableError):
        EcsDeployer(scripted.aws, "xai-test").stop("arn:task", "over")


def test_tag_values_hold_only_what_ecs_takes(scripted: Scripted) -> None:
    """A reason is for people; a refused tag would hold a rollout."""
    scripted.answers["TagResource"] = {}
    EcsDeployer(scripted.aws, "xai-test").tag("arn:rev", {"xai-ops:bad": 'height 4 < 9, "stalled"' + "x" * 300})
    (tag,) = scripted.requests[-1][1]["tags"]
    assert tag["value"].startswith("height 4   9   stalled ")
    assert len(tag["value"]) == 256


def test_point_sends_the_revision_and_nothing_else(scripted: Scripted) -> None:
    """Autoscaling owns the count, Terraform the configuration."""
    scripted.answers["UpdateService"] = {}
    EcsDeployer(scripted.aws, "xai-test").point("node-1", "arn:rev")
    expected = {"cluster": "xai-test", "service": "node-1", "taskDefinition": "arn:rev"}
    assert scripted.requests == [("UpdateService", expected)]
