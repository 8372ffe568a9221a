"""The sandbox's cloud: what moto lacks is closed, the registry's digests are true, faults meet our handlers only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, HTTPClientError

from chalicelib.aws.session import Aws
from sandbox.clock import ScaledClock
from sandbox.cloud import OURS, VIEWER, Cloud
from sandbox.dataplane.api import EcsApi
from sandbox.dataplane.plane import Plane
from sandbox.gaps import close_gaps
from sandbox.push import push
from sandbox.registry import CONFIG, INDEXES, MANIFEST, Images
from sandbox.switches import Faults
from tests.fakes.moto_fixtures import aws, moto
from tests.sandbox.stage import REGION, eventually

__all__ = ["aws", "moto"]
SCALE = 20.0
REPOSITORY = "xai/node"


class LocalCloud:
    """A cloud whose data plane stands still, and what its registry published."""

    def __init__(self, root: Path) -> None:
        """Serve on a free port."""
        self.clock, self.faults, self.published = ScaledClock(SCALE), Faults(), list[dict[str, Any]]()
        self.images = Images(self.clock, REGION, self.published.append)
        self.plane = Plane(
            clock=self.clock, images=self.images, root=root, region=REGION, publish=self.published.append,
            write_log=lambda *_: None, faults=self.faults,
        )  # fmt: skip
        self.recursion: list[tuple[str, bool]] = []
        self.invoked: list[tuple[str, Any, str]] = []
        self.cloud = Cloud(
            EcsApi(self.plane),
            self.images,
            self.faults,
            self._invoke,
            lambda name, on: self.recursion.append((name, on)),
        )
        self.cloud.start()
        requests.post(f"{self.cloud.url}/moto-api/reset", timeout=10).raise_for_status()

    def _invoke(self, function: str, payload: Any, kind: str) -> tuple[Any, str | None]:
        self.invoked.append((function, payload, kind))
        match function:
            case "echo":
                return (payload if kind == "RequestResponse" else None), None
            case "fails":
                return {"errorType": "ValueError", "errorMessage": "no"}, "Unhandled"
            case _:
                raise KeyError(function)

    def client(self, service: str, *, ours: bool = False, viewer: bool = False) -> Any:
        """A client that tries once; ours says so in its user agent."""
        config = Config(retries={"total_max_attempts": 1}, user_agent_extra=OURS if ours else "anybody")
        made = boto3.client(
            service, region_name=REGION, endpoint_url=self.cloud.url, aws_access_key_id="testing",
            aws_secret_access_key="testing", config=config,
        )  # fmt: skip
        if viewer:
            made.meta.events.register("before-sign", lambda request, **_: request.headers.add_header(VIEWER, "1"))
        return made

    def stop(self) -> None:
        """End it."""
        self.cloud.stop()
        self.plane.stop()


@pytest.fixture
def local(tmp_path: Path) -> Iterator[LocalCloud]:
    """An empty cloud."""
    found = LocalCloud(tmp_path)
    yield found
    found.stop()


@pytest.fixture
def ecr(local: LocalCloud) -> Any:
    """A registry with one repository."""
    client = local.client("ecr")
    client.create_repository(repositoryName=REPOSITORY)
    return client


Mend = Callable[..., None]


@pytest.fixture
def closed() -> Iterator[Mend]:
    """Close the gaps; they are open again afterwards."""
    undo: list[Callable[[], None]] = []

    def close(*, publish: Callable[[dict[str, Any]], None] = lambda _e: None, states: Any = lambda _arn: []) -> None:
        undo.append(close_gaps(ScaledClock(SCALE), REGION, publish, states))

    yield close
    for each in undo:
        each()


# ---------------------------------------------------------------------------------------------- gaps of moto


def delayed_message(sqs: Any, seconds: int) -> str:
    """Send a message that comes later; returns the queue."""
    url = str(sqs.create_queue(QueueName="ticks")["QueueUrl"])
    sqs.send_message(QueueUrl=url, MessageBody="tick", DelaySeconds=seconds)
    return url


def received(sqs: Any, url: str) -> list[str]:
    """What is there now."""
    return [m["Body"] for m in sqs.receive_message(QueueUrl=url).get("Messages", [])]


def test_moto_alone_delays_messages_in_real_seconds(aws: Aws) -> None:
    """The gap: with moto alone ten seconds are ten seconds."""
    sqs = aws.client("sqs")
    url = delayed_message(sqs, 10)
    with pytest.raises(AssertionError):
        eventually(lambda: received(sqs, url), seconds=1.0)


def test_sqs_delays_are_divided_by_the_scale(aws: Aws, closed: Mend) -> None:
    """Ten sandbox seconds are half a real one, and not nothing."""
    closed()
    sqs = aws.client("sqs")
    url = delayed_message(sqs, 10)
    assert received(sqs, url) == []
    assert eventually(lambda: received(sqs, url), seconds=3.0) == ["tick"]


def alarm(aws: Aws) -> None:
    """An alarm that turns to ALARM."""
    cloudwatch = aws.client("cloudwatch")
    cloudwatch.put_metric_alarm(
        AlarmName="slow", Namespace="XAI", MetricName="slow", Statistic="Maximum", Period=60, EvaluationPeriods=1,
        Threshold=1.0, ComparisonOperator="GreaterThanThreshold",
    )  # fmt: skip
    cloudwatch.set_alarm_state(AlarmName="slow", StateValue="OK", StateReason="starts")
    cloudwatch.set_alarm_state(AlarmName="slow", StateValue="ALARM", StateReason="too slow")


def test_moto_alone_sends_no_event_when_an_alarm_turns(aws: Aws) -> None:
    """The gap: EventBridge hears nothing of CloudWatch."""
    sqs, events = aws.client("sqs"), aws.client("events")
    url = sqs.create_queue(QueueName="heard")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name="all", EventPattern=json.dumps({"source": ["aws.cloudwatch"]}))
    events.put_targets(Rule="all", Targets=[{"Id": "q", "Arn": arn}])
    alarm(aws)
    assert received(sqs, url) == []


def test_alarm_that_turns_sends_its_event(aws: Aws, closed: Mend) -> None:
    """`CloudWatch Alarm State Change`, with the state before, in CloudWatch's shape."""
    heard: list[dict[str, Any]] = []
    closed(publish=heard.append)
    alarm(aws)
    last = heard[-1]
    assert (last["source"], last["detail-type"]) == ("aws.cloudwatch", "CloudWatch Alarm State Change")
    assert last["resources"][0].endswith(":alarm:slow")
    detail = last["detail"]
    assert (detail["alarmName"], detail["state"]["value"], detail["previousState"]["value"]) == ("slow", "ALARM", "OK")
    assert detail["state"]["reason"] == "too slow"


def target_group(aws: Aws) -> str:
    """A target group with one target on which nobody listens."""
    vpc = aws.client("ec2").describe_vpcs()["Vpcs"][0]["VpcId"]
    elb = aws.client("elbv2")
    made = elb.create_target_group(Name="web", Protocol="HTTP", Port=80, TargetType="ip", VpcId=vpc)
    arn = str(made["TargetGroups"][0]["TargetGroupArn"])
    elb.register_targets(TargetGroupArn=arn, Targets=[{"Id": "127.0.0.1", "Port": 1}])
    return arn


def test_moto_alone_takes_every_target_for_healthy(aws: Aws) -> None:
    """The gap: nothing is probed."""
    shown = aws.client("elbv2").describe_target_health(TargetGroupArn=target_group(aws))
    assert "unhealthy" not in [t["TargetHealth"]["State"] for t in shown["TargetHealthDescriptions"]]


def test_target_health_is_the_data_planes(aws: Aws, closed: Mend) -> None:
    """What the data plane's probes found."""
    target = {"Target": {"Id": "127.0.0.1", "Port": 8080}, "HealthCheckPort": "8080"}
    closed(states=lambda _arn: [{**target, "TargetHealth": {"State": "unhealthy"}}])
    shown = aws.client("elbv2").describe_target_health(TargetGroupArn=target_group(aws))["TargetHealthDescriptions"]
    assert [(t["Target"]["Port"], t["TargetHealth"]["State"]) for t in shown] == [(8080, "unhealthy")]


def test_closed_gaps_open_again(aws: Aws) -> None:
    """Undoing leaves moto as it was."""
    close_gaps(ScaledClock(SCALE), REGION, lambda _e: None, lambda _arn: [])()
    sqs = aws.client("sqs")
    url = delayed_message(sqs, 10)
    with pytest.raises(AssertionError):
        eventually(lambda: received(sqs, url), seconds=0.8)


def test_moto_alone_has_random_digests(aws: Aws) -> None:
    """The gap that our registry closes: a digest is not the hash of its manifest."""
    client = aws.client("ecr")
    client.create_repository(repositoryName=REPOSITORY)
    config = {"mediaType": CONFIG, "digest": "sha256:" + "0" * 64, "size": 1}
    text = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []})
    image = client.put_image(repositoryName=REPOSITORY, imageManifest=text, imageTag="1")["image"]
    assert image["imageId"]["imageDigest"] != "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def test_moto_alone_makes_no_deployment_of_an_update(aws: Aws) -> None:
    """The gap that our ECS closes."""
    client = aws.client("ecs")
    client.create_cluster(clusterName="c")
    container = {"name": "app", "image": "app:1", "memory": 64}
    for _ in range(2):
        client.register_task_definition(family="f", containerDefinitions=[container])
    client.create_service(cluster="c", serviceName="s", taskDefinition="f:1", desiredCount=1)
    client.update_service(cluster="c", service="s", taskDefinition="f:2")
    deployments = client.describe_services(cluster="c", services=["s"])["services"][0]["deployments"]
    assert [d["taskDefinition"].rsplit("/", 1)[-1] for d in deployments] == ["f:1"]


# ---------------------------------------------------------------------------------------------- registry


def test_digest_is_the_hash_of_the_manifest(local: LocalCloud, ecr: Any) -> None:
    """And the config blob can be fetched by its own digest."""
    digest = push(ecr, REPOSITORY, "1.0", ["run", "{port}"])
    image = ecr.batch_get_image(repositoryName=REPOSITORY, imageIds=[{"imageTag": "1.0"}])["images"][0]
    assert digest == image["imageId"]["imageDigest"]
    assert digest == "sha256:" + hashlib.sha256(image["imageManifest"].encode()).hexdigest()
    layer = json.loads(image["imageManifest"])["config"]["digest"]
    address = ecr.get_download_url_for_layer(repositoryName=REPOSITORY, layerDigest=layer)["downloadUrl"]
    blob = requests.get(address, timeout=5).content
    assert layer == "sha256:" + hashlib.sha256(blob).hexdigest()
    assert json.loads(blob)["config"]["Cmd"] == ["run", "{port}"]


def test_digest_follows_from_name_tag_and_command(ecr: Any) -> None:
    """The same is the same; another tag or command is another image."""
    first = push(ecr, REPOSITORY, "1.0", ["run"])
    assert push(ecr, REPOSITORY, "1.0", ["run"]) == first
    assert len({first, push(ecr, REPOSITORY, "1.1", ["run"]), push(ecr, REPOSITORY, "1.0", ["walk"])}) == 3


def test_pushed_tag_moves_to_the_newest_image(ecr: Any) -> None:
    """A tag is on one image; the other stays, untagged."""
    first = push(ecr, REPOSITORY, "live", ["run"])
    second = push(ecr, REPOSITORY, "live", ["walk"])
    details = ecr.describe_images(repositoryName=REPOSITORY)["imageDetails"]
    assert {d["imageDigest"]: d.get("imageTags", []) for d in details} == {first: [], second: ["live"]}
    failures = ecr.batch_get_image(repositoryName=REPOSITORY, imageIds=[{"imageTag": "old"}])["failures"]
    assert failures[0]["failureCode"] == "ImageNotFound"


def test_push_event_has_its_tag_only_if_there_was_one(local: LocalCloud, ecr: Any) -> None:
    """`ECR Image Action`: no resources, and no image-tag for a push by digest."""
    digests = [push(ecr, REPOSITORY, "1.0", ["run"]), push(ecr, REPOSITORY, None, ["walk"])]
    tagged, untagged = local.published
    for event, digest in zip((tagged, untagged), digests, strict=True):
        assert (event["source"], event["detail-type"], event["resources"]) == ("aws.ecr", "ECR Image Action", [])
        assert event["detail"]["image-digest"] == digest
        assert (event["detail"]["action-type"], event["detail"]["result"]) == ("PUSH", "SUCCESS")
        assert event["detail"]["repository-name"] == REPOSITORY
    assert tagged["detail"]["image-tag"] == "1.0"
    assert "image-tag" not in untagged["detail"]


def test_same_tag_and_digest_again_is_an_error_and_no_event(local: LocalCloud, ecr: Any) -> None:
    """ImageAlreadyExistsException, as ECR says."""
    push(ecr, REPOSITORY, "1.0", ["run"])
    found = ecr.batch_get_image(repositoryName=REPOSITORY, imageIds=[{"imageTag": "1.0"}])["images"][0]
    with pytest.raises(ecr.exceptions.ImageAlreadyExistsException):
        ecr.put_image(repositoryName=REPOSITORY, imageManifest=found["imageManifest"], imageTag="1.0")
    assert len(local.published) == 1


def test_image_is_found_by_tag_and_by_digest(local: LocalCloud, ecr: Any) -> None:
    """With or without the registry's host; what is not there cannot be pulled."""
    digest = push(ecr, REPOSITORY, "1.0", ["run"])
    host = "123456789012.dkr.ecr.us-east-1.amazonaws.com/"
    for reference in (f"{REPOSITORY}:1.0", f"{host}{REPOSITORY}:1.0", f"{host}{REPOSITORY}@{digest}"):
        image = local.images.command_of(reference)
        assert image is not None
        assert (image.digest, image.command) == (digest, ("run",))
    for reference in (f"{REPOSITORY}:2.0", f"{REPOSITORY}@sha256:0", "elsewhere:1.0"):
        assert local.images.command_of(reference) is None
    local.images.delete(REPOSITORY, digest)
    assert local.images.command_of(f"{REPOSITORY}:1.0") is None


def test_index_is_pulled_as_its_image_for_this_machine(local: LocalCloud, ecr: Any) -> None:
    """A multi-arch push: amd64 is taken, an attestation never; an index without amd64 cannot be pulled."""
    arm = push(ecr, REPOSITORY, None, ["arm"], architecture="arm64")
    amd = push(ecr, REPOSITORY, None, ["amd"])
    for tag, children in (("both", {"unknown": arm, "arm64": arm, "amd64": amd}), ("arm", {"arm64": arm})):
        parts = [{"digest": d, "platform": {"architecture": a, "os": "linux"}} for a, d in children.items()]
        text = json.dumps({"schemaVersion": 2, "mediaType": INDEXES[0], "manifests": parts})
        ecr.put_image(repositoryName=REPOSITORY, imageManifest=text, imageManifestMediaType=INDEXES[0], imageTag=tag)
    found = local.images.command_of(f"{REPOSITORY}:both")
    assert found is not None
    assert found.command == ("amd",)
    assert local.images.command_of(f"{REPOSITORY}:arm") is None
    detail = ecr.describe_images(repositoryName=REPOSITORY, imageIds=[{"imageTag": "both"}])["imageDetails"][0]
    assert detail["imageManifestMediaType"] == INDEXES[0]


def test_scan_that_did_not_run_is_not_found(local: LocalCloud, ecr: Any) -> None:
    """Findings come from a scan, or not at all."""
    digest = push(ecr, REPOSITORY, "1.0", ["run"])
    asked = {"repositoryName": REPOSITORY, "imageId": {"imageDigest": digest}}
    assert ecr.describe_image_scan_findings(**asked)["imageScanFindings"]["findingSeverityCounts"] == {}
    local.images.set_findings(REPOSITORY, digest, None)
    with pytest.raises(ecr.exceptions.ScanNotFoundException):
        ecr.describe_image_scan_findings(**asked)
    local.images.set_findings(REPOSITORY, digest, {"CRITICAL": 2})
    found = ecr.describe_image_scan_findings(**asked)
    assert found["imageScanFindings"]["findingSeverityCounts"] == {"CRITICAL": 2}


def test_unknown_repository_is_refused(ecr: Any) -> None:
    """A push goes nowhere."""
    with pytest.raises(ecr.exceptions.RepositoryNotFoundException):
        push(ecr, "xai/none", "1.0", ["run"])


# ---------------------------------------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("kind", "code"),
    [("throttle", "ThrottlingException"), ("error500", "InternalFailure"), ("denied", "AccessDeniedException")],
)
@pytest.mark.parametrize("service", ["ecs", "sqs", "cloudwatch"])
def test_fault_meets_our_handlers_calls(local: LocalCloud, service: str, kind: str, code: str) -> None:
    """The error parses as AWS' own, and ends with the fault."""
    call = {"ecs": "list_clusters", "sqs": "list_queues", "cloudwatch": "describe_alarms"}[service]
    fault = local.faults.add(kind, service)
    ours = getattr(local.client(service, ours=True), call)
    with pytest.raises(ClientError) as refused:
        ours()
    assert refused.value.response["Error"]["Code"] == code
    getattr(local.client(service), call)()
    getattr(local.client(service, ours=True, viewer=True), call)()
    local.faults.remove(fault)
    ours()


def test_throttled_dynamodb_and_balancer_say_it_their_way(local: LocalCloud) -> None:
    """DynamoDB has an exception of its own, and ELB speaks XML."""
    local.faults.add("throttle")
    with pytest.raises(ClientError) as table:
        local.client("dynamodb", ours=True).list_tables()
    assert table.value.response["Error"]["Code"] == "ProvisionedThroughputExceededException"
    with pytest.raises(ClientError) as balancer:
        local.client("elbv2", ours=True).describe_target_groups()
    assert balancer.value.response["Error"]["Code"] == "ThrottlingException"


def test_fault_of_one_operation_ends_after_its_times(local: LocalCloud) -> None:
    """Others are not met, and the third call is answered."""
    local.faults.add("error500", "ecs", "ListClusters", times=2)
    ecs = local.client("ecs", ours=True)
    ecs.list_task_definitions()
    for _ in range(2):
        with pytest.raises(ClientError):
            ecs.list_clusters()
    assert ecs.list_clusters()["clusterArns"] == []


@pytest.mark.parametrize("service", ["ecs", "sqs"])
def test_lost_answer_has_been_done(local: LocalCloud, service: str) -> None:
    """The connection closes without an answer, and the change stands."""
    local.faults.add("lost_answer", times=1)
    client = local.client(service, ours=True)
    change = {"ecs": lambda: client.create_cluster(clusterName="x"), "sqs": lambda: client.create_queue(QueueName="x")}
    with pytest.raises((ConnectionClosedError, HTTPClientError)):
        change[service]()
    found = {"ecs": lambda: client.list_clusters()["clusterArns"], "sqs": lambda: client.list_queues()["QueueUrls"]}
    assert len(found[service]()) == 1


def test_only_our_handlers_calls_are_counted(local: LocalCloud) -> None:
    """By service and operation, as boto3 spells them."""
    local.client("ecs").list_clusters()
    local.client("ecs", ours=True, viewer=True).list_clusters()
    assert local.cloud.calls() == {}
    local.client("ecs", ours=True).list_clusters()
    local.client("sqs", ours=True).list_queues()
    local.client("cloudwatch", ours=True).describe_alarms()
    local.client("elbv2", ours=True).describe_target_groups()
    assert local.cloud.calls() == {
        "ecs:ListClusters": 1, "sqs:ListQueues": 1, "cloudwatch:DescribeAlarms": 1, "elbv2:DescribeTargetGroups": 1,
    }  # fmt: skip
    local.cloud.forget_calls()
    assert local.cloud.calls() == {}


def test_unknown_kind_of_fault_is_refused() -> None:
    """With the kinds that there are."""
    with pytest.raises(ValueError, match="throttle"):
        Faults().add("earthquake")


# ---------------------------------------------------------------------------------------------- Lambda's API


def test_function_is_invoked_with_its_payload(local: LocalCloud) -> None:
    """By name or ARN; an asynchronous call is accepted at once."""
    client = local.client("lambda")
    answer = client.invoke(FunctionName="echo", Payload=b'{"a": 1}')
    assert (answer["StatusCode"], json.load(answer["Payload"])) == (200, {"a": 1})
    assert "FunctionError" not in answer
    arn = "arn:aws:lambda:us-east-1:123456789012:function:echo"
    assert client.invoke(FunctionName=arn, InvocationType="Event", Payload=b"{}")["StatusCode"] == 202
    assert local.invoked == [("echo", {"a": 1}, "RequestResponse"), ("echo", {}, "Event")]


def test_failing_function_is_unhandled(local: LocalCloud) -> None:
    """Status 200 and FunctionError, which `chalice invoke` fails on."""
    answer = local.client("lambda").invoke(FunctionName="fails", Payload=b"{}")
    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    assert json.load(answer["Payload"]) == {"errorType": "ValueError", "errorMessage": "no"}


def test_unknown_function_is_not_found(local: LocalCloud) -> None:
    """404, as botocore's own exception."""
    client = local.client("lambda")
    with pytest.raises(client.exceptions.ResourceNotFoundException) as refused:
        client.invoke(FunctionName="none", Payload=b"{}")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404


def test_recursion_is_terminated_until_allowed(local: LocalCloud) -> None:
    """Lambda's default, and its setting."""
    client = local.client("lambda")
    assert client.get_function_recursion_config(FunctionName="tick")["RecursiveLoop"] == "Terminate"
    client.put_function_recursion_config(FunctionName="tick", RecursiveLoop="Allow")
    assert client.get_function_recursion_config(FunctionName="tick")["RecursiveLoop"] == "Allow"
    assert local.recursion == [("tick", True)]


def test_second_try_of_somebody_elses_call_gets_the_answer_that_was_lost(local: LocalCloud) -> None:
    """Terraform would otherwise meet its own first half as a duplicate, and stop. Another call is another call."""
    ec2 = boto3.client(
        "ec2", endpoint_url=local.cloud.url, region_name=REGION, aws_access_key_id="t", aws_secret_access_key="t"
    )
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    group = ec2.create_security_group(GroupName="g", Description="d", VpcId=vpc)["GroupId"]
    ids = iter(["one", "one", "two"])

    def name_the_call(request: Any, **_: Any) -> None:
        request.headers["amz-sdk-invocation-id"] = next(ids)

    ec2.meta.events.register("before-send.ec2", name_the_call)
    rule = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}

    def allow() -> str:
        made = ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
        return str(made["SecurityGroupRules"][0]["SecurityGroupRuleId"])

    assert allow() == allow()
    assert [each.split(":")[0] for each in local.cloud.failures()] == ["answered again"]
    with pytest.raises(ClientError, match="Duplicate"):
        allow()
