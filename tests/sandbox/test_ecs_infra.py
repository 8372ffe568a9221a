"""What Terraform's provider asks of ECS: clusters keep their settings, services what they were given, tags come back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError

from sandbox.cloud import Cloud
from sandbox.registry import Images
from tests.sandbox.stage import CLUSTER, FOREVER, REGION, Stage, staged

NETWORK = {"awsvpcConfiguration": {"subnets": ["subnet-1"], "securityGroups": ["sg-1"], "assignPublicIp": "DISABLED"}}
FARGATE = {"requiresCompatibilities": ["FARGATE"], "networkMode": "awsvpc", "cpu": "256", "memory": "512"}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A plane that knows one image."""
    with staged(tmp_path, v1=FOREVER) as found:
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


def refusal(call: Any, **arguments: Any) -> tuple[str, str]:
    """Code and text of the error."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    error = caught.value.response["Error"]
    return str(error["Code"]), str(error["Message"])


def a_definition(ecs: Any, **more: Any) -> str:
    """Register a task definition; returns its ARN."""
    asked = {"family": "web", "containerDefinitions": [{"name": "app", "image": "app:v1", "memory": 64}], **more}
    return str(ecs.register_task_definition(**asked)["taskDefinition"]["taskDefinitionArn"])


def test_cluster_shows_what_it_was_given_to_who_asks_for_it(ecs: Any) -> None:
    """Settings, configuration and tags are shown by DescribeClusters only if `include` names them, as on AWS."""
    execute = {"executeCommandConfiguration": {"logging": "DEFAULT"}}
    given = {"settings": [{"name": "containerInsights", "value": "enhanced"}], "configuration": execute}
    created = ecs.create_cluster(clusterName="other", tags=[{"key": "a", "value": "1"}], **given)["cluster"]
    assert (created["settings"], created["tags"]) == (given["settings"], [{"key": "a", "value": "1"}])
    bare = ecs.describe_clusters(clusters=["other"])["clusters"][0]
    assert (bare["settings"], bare["tags"], "configuration" in bare) == ([], [], False)
    shown = ecs.describe_clusters(clusters=["other"], include=["SETTINGS", "CONFIGURATIONS", "TAGS"])["clusters"][0]
    assert (shown["settings"], shown["configuration"]) == (given["settings"], execute)
    assert shown["tags"] == [{"key": "a", "value": "1"}]


def test_cluster_settings_change_one_by_one(ecs: Any) -> None:
    """Container Insights is off at first; a changed setting replaces its own kind alone."""
    ecs.create_cluster(clusterName="other")

    def insights() -> str:
        found = ecs.describe_clusters(clusters=["other"], include=["SETTINGS"])["clusters"][0]["settings"]
        return str(next(each["value"] for each in found if each["name"] == "containerInsights"))

    assert insights() == "disabled"
    ecs.update_cluster_settings(cluster="other", settings=[{"name": "containerInsights", "value": "enabled"}])
    assert insights() == "enabled"
    ecs.update_cluster(cluster="other", configuration={"executeCommandConfiguration": {"logging": "NONE"}})
    assert insights() == "enabled"


def test_capacity_providers_of_a_cluster(ecs: Any) -> None:
    """Amazon's two exist everywhere; a strategy names providers of its cluster only."""
    ecs.create_cluster(clusterName="other")
    strategy = [{"capacityProvider": "FARGATE", "weight": 1, "base": 0}]
    given = {"capacityProviders": ["FARGATE"], "defaultCapacityProviderStrategy": strategy}
    ecs.put_cluster_capacity_providers(cluster="other", **given)
    shown = ecs.describe_clusters(clusters=["other"])["clusters"][0]
    assert {key: shown[key] for key in given} == given
    assert [p["name"] for p in ecs.describe_capacity_providers()["capacityProviders"]] == ["FARGATE", "FARGATE_SPOT"]
    missing = ecs.describe_capacity_providers(capacityProviders=["mine"])["failures"]
    assert missing == [{"arn": "mine", "reason": "MISSING"}]
    put = ecs.put_cluster_capacity_providers
    unknown = refusal(put, cluster="other", capacityProviders=["mine"], defaultCapacityProviderStrategy=[])
    assert unknown[0] == "InvalidParameterException"
    foreign = refusal(
        put, cluster="other", capacityProviders=["FARGATE_SPOT"], defaultCapacityProviderStrategy=strategy
    )
    assert foreign[0] == "InvalidParameterException"


def test_a_cluster_made_anew_remembers_nothing(ecs: Any) -> None:
    """Tags and settings go with the cluster."""
    ecs.create_cluster(clusterName="other", tags=[{"key": "a", "value": "1"}], capacityProviders=["FARGATE"])
    ecs.delete_cluster(cluster="other")
    created = ecs.create_cluster(clusterName="other")["cluster"]
    assert (created["tags"], created["capacityProviders"]) == ([], [])


def test_service_shows_all_that_it_was_given(ecs: Any) -> None:
    """What a provider plans against comes back: one value lost is a change in every plan."""
    given = {
        "launchType": "EC2", "networkConfiguration": NETWORK, "availabilityZoneRebalancing": "ENABLED",
        "loadBalancers": [{"targetGroupArn": "tg", "containerName": "app", "containerPort": 80}],
        "serviceRegistries": [{"registryArn": "arn:aws:servicediscovery:us-east-1:123456789012:service/srv-1"}],
        "placementConstraints": [{"type": "memberOf", "expression": "attribute:node == a"}],
        "healthCheckGracePeriodSeconds": 60, "enableExecuteCommand": True, "enableECSManagedTags": True,
        "propagateTags": "SERVICE", "schedulingStrategy": "REPLICA", "deploymentController": {"type": "ECS"},
    }  # fmt: skip
    arn = a_definition(ecs, networkMode="awsvpc")
    tags = [{"key": "a", "value": "1"}]
    ecs.create_service(cluster=CLUSTER, serviceName="web", taskDefinition=arn, desiredCount=0, tags=tags, **given)
    shown = ecs.describe_services(cluster=CLUSTER, services=["web"], include=["TAGS"])["services"][0]
    assert {key: shown[key] for key in given} == given
    assert shown["tags"] == tags


def test_service_shows_what_nobody_set(ecs: Any) -> None:
    """ECS names its defaults; a provider takes a missing one for a change."""
    ecs.create_service(cluster=CLUSTER, serviceName="web", taskDefinition=a_definition(ecs), desiredCount=0)
    shown = ecs.describe_services(cluster=CLUSTER, services=["web"])["services"][0]
    assert (shown["propagateTags"], shown["enableECSManagedTags"], shown["enableExecuteCommand"]) == (
        "NONE",
        False,
        False,
    )
    assert shown["loadBalancers"] == shown["serviceRegistries"] == shown["placementConstraints"] == []


def test_service_tags_are_changed_and_listed(ecs: Any) -> None:
    """TagResource, UntagResource and ListTagsForResource know a service by its ARN."""
    made = ecs.create_service(cluster=CLUSTER, serviceName="web", taskDefinition=a_definition(ecs), desiredCount=0)
    arn = made["service"]["serviceArn"]
    ecs.tag_resource(resourceArn=arn, tags=[{"key": "a", "value": "1"}, {"key": "b", "value": "2"}])
    ecs.untag_resource(resourceArn=arn, tagKeys=["a"])
    assert ecs.list_tags_for_resource(resourceArn=arn)["tags"] == [{"key": "b", "value": "2"}]


def test_deleted_service_is_shown_inactive(ecs: Any) -> None:
    """Who deletes by force waits for INACTIVE, which DescribeServices goes on to say."""
    ecs.create_service(cluster=CLUSTER, serviceName="web", taskDefinition=a_definition(ecs), desiredCount=1)
    ecs.delete_service(cluster=CLUSTER, service="web", force=True)
    assert ecs.describe_services(cluster=CLUSTER, services=["web"])["services"][0]["status"] == "INACTIVE"


@pytest.mark.parametrize(
    ("lacking", "text"),
    [
        ({"networkMode": "bridge"}, "network mode 'awsvpc'"),
        ({"cpu": ""}, "'cpu' be defined at the task level"),
        ({"memory": ""}, "'memory' be defined at the task level"),
        ({"volumes": [{"name": "data", "host": {"sourcePath": "/data"}}]}, "host sourcePath"),
    ],
)
def test_fargate_refuses_what_it_cannot_run(ecs: Any, lacking: dict[str, Any], text: str) -> None:
    """A task definition for Fargate is checked when it is registered."""
    containers = [{"name": "app", "image": "app:v1"}]
    asked = {"family": "web", "containerDefinitions": containers, **FARGATE, **lacking}
    code, message = refusal(ecs.register_task_definition, **asked)
    assert code == "ClientException"
    assert text in message


def test_compatibilities_say_where_a_definition_runs(ecs: Any) -> None:
    """One that Fargate takes runs on EC2 as well."""
    on_both, on_hosts = a_definition(ecs, **FARGATE), a_definition(ecs)
    shown = [ecs.describe_task_definition(taskDefinition=arn)["taskDefinition"] for arn in (on_both, on_hosts)]
    assert [each["compatibilities"] for each in shown] == [["EC2", "FARGATE"], ["EC2"]]
    asked = {"cluster": CLUSTER, "serviceName": "web", "taskDefinition": on_hosts, "launchType": "FARGATE"}
    assert refusal(ecs.create_service, **asked)[0] == "InvalidParameterException"


def test_tasks_of_a_fargate_service_say_so(stage: Stage, ecs: Any) -> None:
    """A task has its service's launch type."""
    asked = {"taskDefinition": a_definition(ecs, **FARGATE), "launchType": "FARGATE", "networkConfiguration": NETWORK}
    ecs.create_service(cluster=CLUSTER, serviceName="web", desiredCount=1, **asked)
    stage.run(2)
    arns = ecs.list_tasks(cluster=CLUSTER, serviceName="web")["taskArns"]
    tasks = ecs.describe_tasks(cluster=CLUSTER, tasks=arns)["tasks"]
    assert [task["launchType"] for task in tasks] == ["FARGATE"]


def test_awsvpc_needs_a_network(ecs: Any) -> None:
    """CreateService, UpdateService and RunTask refuse an awsvpc task definition without a network configuration."""
    arn, plain = a_definition(ecs, networkMode="awsvpc"), a_definition(ecs)
    expected = (
        "InvalidParameterException",
        "Network Configuration must be provided when networkMode 'awsvpc' is specified.",
    )
    assert refusal(ecs.create_service, cluster=CLUSTER, serviceName="web", taskDefinition=arn) == expected
    assert refusal(ecs.run_task, cluster=CLUSTER, taskDefinition=arn) == expected
    ecs.create_service(cluster=CLUSTER, serviceName="web", taskDefinition=plain, desiredCount=0)
    assert refusal(ecs.update_service, cluster=CLUSTER, service="web", taskDefinition=arn) == expected
    ecs.update_service(cluster=CLUSTER, service="web", taskDefinition=arn, networkConfiguration=NETWORK)
