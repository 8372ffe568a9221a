"""The contracts of `Alarms`, `Targets`, `Logs` and `WakeQueue`: on the fakes, and on AWS as moto plays it."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from typing import Any

import pytest

from chalicelib.aws.alarms import CloudWatchAlarms
from chalicelib.aws.logs import CloudWatchLogs
from chalicelib.aws.queue import SqsWakeQueue
from chalicelib.aws.session import Aws
from chalicelib.aws.targets import AlbTargets
from chalicelib.errors import NotFoundError
from chalicelib.rollout.model import Task
from chalicelib.rollout.ports import Logs, Targets
from tests.fakes.watch import FakeAlarms, FakeLogs, FakeQueue, FakeTargets

TASK = Task(
    arn="arn:aws:ecs:us-east-1:123456789012:task/xai-test/0123abcd",
    service="node-1",
    revision="arn:1",
    started_by="ecs-svc/1",
    status="STOPPED",
    desired="STOPPED",
)
DEFINITION = {
    "containerDefinitions": [
        {
            "name": "node",
            "logConfiguration": {
                "logDriver": "awslogs",
                "options": {"awslogs-group": "/xai/nodes", "awslogs-stream-prefix": "ecs"},
            },
        },
        {"name": "sidecar", "logConfiguration": {"logDriver": "json-file"}},
        {"name": "mute"},
    ]
}


@pytest.fixture(params=["fake", "moto"])
def alarms(request: pytest.FixtureRequest) -> Any:
    """Alarms height-flat (ALARM) and memory-high (OK)."""
    if request.param == "fake":
        fake = FakeAlarms()
        fake.all = {"height-flat": "ALARM", "memory-high": "OK"}
        return fake
    aws: Aws = request.getfixturevalue("aws")
    client = aws.client("cloudwatch")
    for name, state in (("height-flat", "ALARM"), ("memory-high", "OK")):
        client.put_metric_alarm(
            AlarmName=name,
            MetricName="m",
            Namespace="n",
            Period=60,
            EvaluationPeriods=1,
            Threshold=1,
            Statistic="Sum",
            ComparisonOperator="GreaterThanThreshold",
        )
        client.set_alarm_state(AlarmName=name, StateValue=state, StateReason="test")
    return CloudWatchAlarms(aws)


def test_alarms_that_fire_are_listed_as_their_events_would_have_told_them(alarms: Any) -> None:
    """What is OK is not among them; a moment in UTC is."""
    (firing,) = alarms.firing()
    assert (firing.name, firing.state) == ("height-flat", "ALARM")
    assert firing.at.utcoffset() == timedelta(0)


def test_firing_alarm_brings_what_its_ticket_needs(aws: Aws) -> None:
    """Metric, dimensions, limit and reason, however many alarms there are."""
    client = aws.client("cloudwatch")
    for number in range(120):
        client.put_metric_alarm(
            AlarmName=f"memory-{number}", MetricName="Memory", Namespace="XAI", Period=300, EvaluationPeriods=1,
            Threshold=85, Statistic="Maximum", ComparisonOperator="GreaterThanThreshold", AlarmDescription="look",
            Dimensions=[{"Name": "Node", "Value": str(number)}],
        )  # fmt: skip
        client.set_alarm_state(AlarmName=f"memory-{number}", StateValue="ALARM", StateReason="92 > 85")
    firing = {alarm.name: alarm for alarm in CloudWatchAlarms(aws).firing()}
    assert len(firing) == 120
    one = firing["memory-7"]
    assert (one.namespace, one.metric, one.dimensions) == ("XAI", "Memory", (("Node", "7"),))
    assert (one.stat, one.period, one.threshold, one.reason, one.description) == (
        "Maximum",
        300,
        85.0,
        "92 > 85",
        "look",
    )


def test_alarms_are_read_by_name_and_missing_ones_are_missing(alarms: Any) -> None:
    """An alarm that does not exist is no state."""
    assert alarms.states(["height-flat", "memory-high", "gone"]) == {"height-flat": "ALARM", "memory-high": "OK"}
    assert alarms.states([]) == {}


@pytest.fixture(params=["fake", "moto"])
def targets(request: pytest.FixtureRequest) -> tuple[Targets, str]:
    """A target group without targets, and its ARN."""
    if request.param == "fake":
        fake = FakeTargets()
        fake.all = {"arn:tg": ()}
        return fake, "arn:tg"
    aws: Aws = request.getfixturevalue("aws")
    vpc = aws.client("ec2").create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    group = aws.client("elbv2").create_target_group(Name="node", Protocol="HTTP", Port=8080, VpcId=vpc, TargetType="ip")
    return AlbTargets(aws), group["TargetGroups"][0]["TargetGroupArn"]


def test_target_group_without_targets_has_no_states(targets: tuple[Targets, str]) -> None:
    """An empty group is not an unhealthy one."""
    port, arn = targets
    assert port.states(arn) == ()


def test_target_group_that_does_not_exist_is_not_found(targets: tuple[Targets, str]) -> None:
    """The caller decides what that means."""
    port, arn = targets
    with pytest.raises(NotFoundError):
        port.states(arn.replace("node", "gone") + "x")


@pytest.fixture(params=["fake", "moto"])
def logs(request: pytest.FixtureRequest) -> Logs:
    """A log with two lines of the task's node."""
    if request.param == "fake":
        fake = FakeLogs()
        fake.all = {TASK.arn: "starting\nIntegrity check failed"}
        return fake
    aws: Aws = request.getfixturevalue("aws")
    client = aws.client("logs")
    place = {"logGroupName": "/xai/nodes", "logStreamName": "ecs/node/0123abcd"}
    client.create_log_group(logGroupName="/xai/nodes")
    client.create_log_stream(**place)
    now = int(time.time() * 1000)  # CloudWatch refuses what is older than two weeks
    lines = ("starting\n", "Integrity check failed")
    events = [{"timestamp": now + i, "message": line} for i, line in enumerate(lines)]
    client.put_log_events(**place, logEvents=events)
    return CloudWatchLogs(aws)


def test_tail_is_the_last_lines_of_the_container(logs: Logs) -> None:
    """What the node said before it died."""
    assert logs.tail(TASK, DEFINITION, container="node") == "starting\nIntegrity check failed"


def test_tail_of_a_task_that_never_wrote_is_empty(logs: Logs) -> None:
    """No stream is no error."""
    silent = Task(
        arn=TASK.arn + "ff", service=None, revision="arn:1", started_by="", status="STOPPED", desired="STOPPED"
    )
    assert logs.tail(silent, DEFINITION, container="node") == ""


@pytest.mark.parametrize("container", ["sidecar", "mute", "absent"])
def test_tail_of_a_container_that_logs_elsewhere_is_empty(aws: Aws, container: str) -> None:
    """Only the awslogs driver is read; AWS is not even asked."""
    assert CloudWatchLogs(aws).tail(TASK, DEFINITION, container=container) == ""


def test_wake_message_names_group_and_version_and_is_delayed(aws: Aws) -> None:
    """A delay is whole seconds, rounded up."""
    client = aws.client("sqs")
    url = client.create_queue(QueueName="ticks")["QueueUrl"]
    queue = SqsWakeQueue(aws, url)
    queue.wake("nodes", version=7, delay_seconds=-3.0)
    (message,) = client.receive_message(QueueUrl=url)["Messages"]
    assert json.loads(message["Body"]) == {"group": "nodes", "version": 7}
    queue.wake("nodes", version=8, delay_seconds=0.2)
    assert "Messages" not in client.receive_message(QueueUrl=url)
    waiting = client.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessagesDelayed"])
    assert waiting["Attributes"]["ApproximateNumberOfMessagesDelayed"] == "1"


def test_wake_later_than_a_message_may_wait_is_capped(aws: Aws) -> None:
    """SQS would refuse more than 900 s."""
    sent: list[int] = []
    aws.client("sqs").meta.events.register(
        "provide-client-params.sqs.SendMessage", lambda params, **_: sent.append(params["DelaySeconds"])
    )
    url = aws.client("sqs").create_queue(QueueName="ticks")["QueueUrl"]
    SqsWakeQueue(aws, url).wake("nodes", version=1, delay_seconds=5000.0)
    assert sent == [900]


def test_fake_queue_shows_what_was_sent() -> None:
    """The fake has the same cap."""
    queue = FakeQueue()
    queue.wake("nodes", version=1, delay_seconds=5000.0)
    assert queue.sent == [("nodes", 1, 900.0)]
