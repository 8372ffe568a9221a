"""The ECS API as botocore reads it: every answer parses, and errors carry ECS' own codes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError

from sandbox.cloud import Cloud
from sandbox.registry import Images
from tests.sandbox.stage import CLUSTER, FOREVER, REGION, WHEN_TOLD, Stage, staged


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A plane that knows two images."""
    with staged(tmp_path, v1=FOREVER, v2=FOREVER, crash=WHEN_TOLD) as found:
        yield found


@pytest.fixture
def ecs(stage: Stage) -> Iterator[Any]:
    """A botocore client of that plane, over HTTP."""
    images = Images(stage.clock, REGION, lambda _event: None)
    cloud = Cloud(stage.api, images, stage.faults, lambda *_: (None, None), lambda *_: None)
    cloud.start()
    yield botocore.session.Session().create_client(
        "ecs", region_name=REGION, endpoint_url=cloud.url, aws_access_key_id="testing", aws_secret_access_key="testing"
    )
    cloud.stop()


def refused(call: Any, **arguments: Any) -> str:
    """The code of the error."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return str(caught.value.response["Error"]["Code"])


def test_clusters_parse(ecs: Any) -> None:
    """Create, describe, list, delete; a missing one is a failure, not an error."""
    created = ecs.create_cluster(clusterName="other")["cluster"]
    assert created["clusterArn"] in ecs.list_clusters()["clusterArns"]
    shown = ecs.describe_clusters(clusters=["other", "none"])
    assert [c["status"] for c in shown["clusters"]] == ["ACTIVE"]
    assert shown["failures"] == [{"arn": "none", "reason": "MISSING"}]
    assert ecs.delete_cluster(cluster="other")["cluster"]["status"] == "INACTIVE"
    assert refused(ecs.list_tasks, cluster="other") == "ClusterNotFoundException"


def test_task_definitions_parse_and_keep_every_field(ecs: Any) -> None:
    """What is registered comes back whole, with revision, status and tags."""
    container = {
        "name": "app", "image": "app:v1", "memory": 64, "stopTimeout": 120, "entryPoint": ["python3"],
        "ulimits": [{"name": "nofile", "softLimit": 1, "hardLimit": 2}], "secrets": [{"name": "A", "valueFrom": "arn"}],
    }  # fmt: skip
    first = ecs.register_task_definition(
        family="f", containerDefinitions=[container], tags=[{"key": "a", "value": "1"}]
    )
    second = ecs.register_task_definition(family="f", containerDefinitions=[container])["taskDefinition"]
    shown = ecs.describe_task_definition(taskDefinition="f:1", include=["TAGS"])
    assert shown["taskDefinition"]["containerDefinitions"] == [container]
    assert shown["tags"] == first["tags"] == [{"key": "a", "value": "1"}]
    assert ecs.describe_task_definition(taskDefinition="f")["taskDefinition"]["revision"] == 2
    assert isinstance(second["registeredAt"], datetime)
    arn = second["taskDefinitionArn"]
    assert ecs.list_task_definitions(familyPrefix="f", sort="DESC")["taskDefinitionArns"][0] == arn
    assert ecs.list_task_definition_families(familyPrefix="f")["families"] == ["f"]
    ecs.tag_resource(resourceArn=arn, tags=[{"key": "b", "value": "2"}])
    assert ecs.list_tags_for_resource(resourceArn=arn)["tags"] == [{"key": "b", "value": "2"}]
    ecs.untag_resource(resourceArn=arn, tagKeys=["b"])
    assert ecs.list_tags_for_resource(resourceArn=arn)["tags"] == []
    assert ecs.deregister_task_definition(taskDefinition=arn)["taskDefinition"]["status"] == "INACTIVE"
    assert ecs.list_task_definitions(familyPrefix="f", status="INACTIVE")["taskDefinitionArns"] == [arn]
    assert refused(ecs.describe_task_definition, taskDefinition="f:9") == "ClientException"


def test_unknown_fields_survive_registering(stage: Stage) -> None:
    """A field that this botocore does not know is kept as it came."""
    container = {"name": "app", "image": "app:v1", "fromTheFuture": {"x": 1}}
    stage.api.handle("RegisterTaskDefinition", {"family": "f", "containerDefinitions": [container], "tomorrow": True})
    shown = stage.api.handle("DescribeTaskDefinition", {"taskDefinition": "f"})["taskDefinition"]
    assert (shown["containerDefinitions"], shown["tomorrow"]) == ([container], True)


def test_service_and_its_deployments_parse(stage: Stage, ecs: Any) -> None:
    """The fields that a rollout relies on are there, with their types."""
    stage.steady()
    stage.update("v2")
    stage.run(20)
    shown = ecs.describe_services(cluster=CLUSTER, services=["app", "none"])
    service = shown["services"][0]
    assert shown["failures"][0]["reason"] == "MISSING"
    assert (service["status"], service["desiredCount"], service["runningCount"]) == ("ACTIVE", 1, 1)
    assert service["deploymentConfiguration"]["deploymentCircuitBreaker"] == {"enable": True, "rollback": True}
    assert service["deploymentController"] == {"type": "ECS"}
    primary = next(d for d in service["deployments"] if d["status"] == "PRIMARY")
    active = next(d for d in service["deployments"] if d["status"] == "ACTIVE")
    assert (primary["rolloutState"], primary["pendingCount"], primary["failedTasks"]) == ("IN_PROGRESS", 1, 0)
    assert (active["rolloutState"], active["runningCount"], active["desiredCount"]) == ("COMPLETED", 1, 0)
    assert service["taskDefinition"] == primary["taskDefinition"] != active["taskDefinition"]
    assert isinstance(primary["createdAt"], datetime)
    assert all(isinstance(e["createdAt"], datetime) and e["message"] for e in service["events"])
    assert ecs.list_services(cluster=CLUSTER)["serviceArns"] == [service["serviceArn"]]


def test_service_deployments_and_revisions_parse(stage: Stage, ecs: Any) -> None:
    """A rolled back deployment says where it went, and its revision which task definition it was."""
    service = stage.steady()
    stage.update("crash")
    stage.run(200)
    listed = ecs.list_service_deployments(cluster=CLUSTER, service="app")["serviceDeployments"]
    assert [d["status"] for d in listed] == ["ROLLBACK_IN_PROGRESS", "SUCCESSFUL"]
    stage.run(100)
    arn = listed[0]["serviceDeploymentArn"]
    shown = ecs.describe_service_deployments(serviceDeploymentArns=[arn])["serviceDeployments"][0]
    assert shown["status"] == "ROLLBACK_SUCCESSFUL"
    assert shown["deploymentCircuitBreaker"] == {"status": "TRIGGERED", "failureCount": 3, "threshold": 3}
    assert isinstance(shown["rollback"]["startedAt"], datetime)
    target = ecs.describe_service_revisions(serviceRevisionArns=[shown["rollback"]["serviceRevisionArn"]])
    assert target["serviceRevisions"][0]["taskDefinition"] == service.primary.definition.arn
    assert refused(ecs.stop_service_deployment, serviceDeploymentArn=arn) == "ConflictException"
    nowhere = arn.replace("app", "none")
    assert refused(ecs.stop_service_deployment, serviceDeploymentArn=nowhere) == "ServiceDeploymentNotFoundException"


def test_tasks_parse(stage: Stage, ecs: Any) -> None:
    """A lone task from start to stop; the same token starts it once."""
    asked = {"cluster": CLUSTER, "taskDefinition": stage.revision("v1", portMappings=[{"containerPort": 80}])}
    task = ecs.run_task(**asked, startedBy="me", clientToken="once")["tasks"][0]
    assert ecs.run_task(**asked, startedBy="me", clientToken="once")["tasks"][0]["taskArn"] == task["taskArn"]
    assert (task["lastStatus"], task["group"]) == ("PROVISIONING", "family:app")
    stage.run(40)
    assert ecs.list_tasks(cluster=CLUSTER, startedBy="me")["taskArns"] == [task["taskArn"]]
    shown = ecs.describe_tasks(cluster=CLUSTER, tasks=[task["taskArn"], "gone"])
    running = shown["tasks"][0]
    assert shown["failures"] == [{"arn": "gone", "reason": "MISSING"}]
    assert (running["lastStatus"], running["containers"][0]["lastStatus"]) == ("RUNNING", "RUNNING")
    assert running["containers"][0]["networkBindings"][0]["containerPort"] == 80
    assert isinstance(running["startedAt"], datetime)
    ecs.stop_task(cluster=CLUSTER, task=task["taskArn"], reason="enough")
    stage.run(2)
    stopped = ecs.describe_tasks(cluster=CLUSTER, tasks=[task["taskArn"]])["tasks"][0]
    assert (stopped["lastStatus"], stopped["stopCode"], stopped["stoppedReason"]) == (
        "STOPPED",
        "UserInitiated",
        "enough",
    )
    assert stopped["containers"][0]["exitCode"] == 143
    assert ecs.list_tasks(cluster=CLUSTER, desiredStatus="STOPPED")["taskArns"] == [task["taskArn"]]


def test_task_without_capacity_is_a_failure_and_no_error(stage: Stage, ecs: Any) -> None:
    """RunTask answers 200 with `failures`."""
    stage.faults.no_capacity = True
    answer = ecs.run_task(cluster=CLUSTER, taskDefinition=stage.revision("v1"))
    assert (answer["tasks"], answer["failures"][0]["reason"]) == ([], "RESOURCE:MEMORY")


def test_refusals_have_ecs_own_codes(stage: Stage, ecs: Any) -> None:
    """What a caller may want to catch by name."""
    service = stage.steady()
    arn = service.primary.definition.arn
    assert refused(ecs.update_service, cluster=CLUSTER, service="none") == "ServiceNotFoundException"
    assert refused(ecs.describe_services, cluster="none", services=["app"]) == "ClusterNotFoundException"
    assert refused(ecs.describe_services, cluster=CLUSTER, services=[]) == "InvalidParameterException"
    again = {"cluster": CLUSTER, "serviceName": "app", "taskDefinition": arn}
    assert refused(ecs.create_service, **again) == "InvalidParameterException"
    assert refused(ecs.delete_service, cluster=CLUSTER, service="app") == "InvalidParameterException"
    assert refused(ecs.delete_cluster, cluster=CLUSTER) == "ClusterContainsServicesException"
    assert refused(ecs.stop_task, cluster=CLUSTER, task="none") == "InvalidParameterException"
    assert refused(ecs.list_account_settings) == "UnsupportedFeatureException"


def test_deleted_service_parses_and_its_name_is_free_again(stage: Stage, ecs: Any) -> None:
    """A deleted service is INACTIVE, its tasks stop, and it may be created anew."""
    arn = stage.steady().primary.definition.arn
    assert ecs.delete_service(cluster=CLUSTER, service="app", force=True)["service"]["status"] == "INACTIVE"
    stage.run(3)
    assert stage.tasks() == []
    assert ecs.list_services(cluster=CLUSTER)["serviceArns"] == []
    created = ecs.create_service(cluster=CLUSTER, serviceName="app", taskDefinition=arn)["service"]
    assert (created["status"], created["desiredCount"]) == ("ACTIVE", 1)


def test_lists_are_read_page_by_page(stage: Stage, ecs: Any) -> None:
    """The paginator of botocore finds every service, ten at a time."""
    arn = stage.revision("v1")
    for number in range(23):
        ecs.create_service(cluster=CLUSTER, serviceName=f"s{number}", taskDefinition=arn, desiredCount=0)
    pages = list(ecs.get_paginator("list_services").paginate(cluster=CLUSTER))
    assert [len(page["serviceArns"]) for page in pages] == [10, 10, 3]
