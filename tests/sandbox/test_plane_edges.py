"""The data plane at its edges: odd but legal task definitions, a way back that fails, updates that ECS does not drop."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError

from sandbox.cloud import Cloud
from sandbox.registry import Images
from tests.sandbox.stage import CLUSTER, FOREVER, REGION, WHEN_TOLD, Stage, eventually, staged

TASK, DEPLOYMENT = "ECS Task State Change", "ECS Deployment State Change"
BALANCER = {"targetGroupArn": "arn:tg", "containerName": "app", "containerPort": 80}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A plane in a folder below the test's own, so that an escape from it is seen."""
    with staged(tmp_path / "root", v1=FOREVER, v2=FOREVER, crash=WHEN_TOLD, fails=("sh", "-c", "exit 7")) as found:
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


def on_host_path(stage: Stage, source: str) -> Path:
    """The data folder of a task whose volume names this host path."""
    mounts = [{"sourceVolume": "data", "containerPath": "/data"}]
    stage.api.handle("RegisterTaskDefinition", {
        "family": "vol", "containerDefinitions": [{"name": "app", "image": "app:v1", "mountPoints": mounts}],
        "volumes": [{"name": "data", "host": {"sourcePath": source}}],
    })  # fmt: skip
    stage.call("RunTask", taskDefinition="vol")
    return stage.tasks()[0].data_dir


def newest(stage: Stage) -> dict[str, Any]:
    """The newest service deployment, described."""
    listed = stage.call("ListServiceDeployments", service="app")["serviceDeployments"]
    arn = listed[0]["serviceDeploymentArn"]
    shown = stage.api.handle("DescribeServiceDeployments", {"serviceDeploymentArns": [arn]})
    found: dict[str, Any] = shown["serviceDeployments"][0]
    return found


# ---------------------------------------------------------------------------------------------- this machine is safe


def test_absolute_host_path_stays_below_the_sandboxs_root(stage: Stage, tmp_path: Path) -> None:
    """A real fleet mounts absolute paths of its instances: here they never name folders of this machine."""
    outside = tmp_path / "mnt" / "xai"
    inside = on_host_path(stage, str(outside))
    assert not outside.exists()
    assert inside.is_dir()
    assert inside.is_relative_to(tmp_path / "root")


def test_climbing_host_path_stays_below_the_sandboxs_root(stage: Stage, tmp_path: Path) -> None:
    """`..` leads nowhere."""
    assert on_host_path(stage, "../../oops").resolve() == (tmp_path / "root" / "oops").resolve()


# ---------------------------------------------------------------------------------------------- nothing freezes it


@pytest.mark.parametrize(
    "container",
    [
        {"environment": [{"name": "EMPTY"}]},
        {"environment": None, "secrets": None, "portMappings": None, "mountPoints": None, "logConfiguration": None},
        {"portMappings": [{"containerPortRange": "80-90"}]},
        {"stopTimeout": None, "entryPoint": None, "command": None},
    ],
)
def test_odd_but_legal_container_runs(stage: Stage, container: dict[str, Any]) -> None:
    """What ECS takes does not stop the data plane."""
    stage.service(container=container)
    stage.run(40)
    assert [task.status for task in stage.tasks()] == ["RUNNING"]


def test_volume_without_a_host_is_scratch(stage: Stage) -> None:
    """`host` may be null, as Terraform writes it."""
    mounts = [{"sourceVolume": "data", "containerPath": "/data"}]
    containers = [{"name": "app", "image": "app:v1", "mountPoints": mounts}]
    volumes = [{"name": "data", "host": None}]
    stage.api.handle(
        "RegisterTaskDefinition", {"family": "vol", "containerDefinitions": containers, "volumes": volumes}
    )
    stage.call("RunTask", taskDefinition="vol")
    assert stage.tasks()[0].scratch


def pinned(host: str) -> list[dict[str, str]]:
    """A service that runs on one instance alone."""
    return [{"type": "memberOf", "expression": f"attribute:xai.node == {host}"}]


def test_each_instance_has_its_own_file_system(stage: Stage) -> None:
    """The same path on two hosts is two folders; a service that moves to the other host finds the other's data."""
    mounts = [{"sourceVolume": "data", "containerPath": "/data"}]
    containers = [{"name": "app", "image": "app:v1", "mountPoints": mounts}]
    volumes = [{"name": "data", "host": {"sourcePath": "/var/lib/data"}}]
    stage.api.handle(
        "RegisterTaskDefinition", {"family": "vol", "containerDefinitions": containers, "volumes": volumes}
    )
    for host in ("one", "two"):
        stage.call(
            "CreateService", serviceName=host, taskDefinition="vol", desiredCount=1, placementConstraints=pinned(host)
        )
    stage.run(20)
    folders = {task.group: task.data_dir for task in stage.tasks()}
    root = stage.plane.root
    assert folders == {f"service:{host}": root / host / "var" / "lib" / "data" for host in ("one", "two")}


def test_definitions_command_belongs_to_the_real_image(stage: Stage) -> None:
    """An image of the sandbox is its program; only RunTask's override replaces it."""
    stage.service(container={"command": ["python", "-m", "not.here"]})
    stage.run(40)
    assert stage.tasks()[0].status == "RUNNING"


@pytest.mark.parametrize("command", [(), ("sh\0",)])
def test_image_without_a_command_that_can_be_started_fails_to_start(tmp_path: Path, command: tuple[str, ...]) -> None:
    """It is the task that ends, not the data plane."""
    with staged(tmp_path, v1=FOREVER) as stage:
        images = stage.plane.images
        found = images.command_of("app:v1")
        assert found is not None
        object.__setattr__(found, "command", command)
        images.command_of = lambda _reference: found  # type: ignore[method-assign]
        stage.service()
        stage.run(20)
        died = next(d for d in stage.details(TASK) if d["lastStatus"] == "STOPPED")
    assert died["stopCode"] == "TaskFailedToStart"
    assert died["stoppedReason"].startswith("CannotStartContainerError")


def test_data_plane_outlives_a_listener_that_fails(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """Its thread says so and goes on: the task comes up all the same."""
    stage.service()

    def passes() -> None:
        stage.clock.at += timedelta(seconds=1)

    def deaf(_event: dict[str, Any]) -> None:
        raise ConnectionError("nobody listens")

    hears, stage.plane.publish = stage.plane.publish, deaf
    stage.plane.start()
    eventually(lambda: passes() or "could not take a step" in caplog.text)
    stage.plane.publish = hears
    eventually(lambda: passes() or [task.status for task in stage.tasks()] == ["RUNNING"])


def test_log_that_could_not_be_written_is_written_later(tmp_path: Path) -> None:
    """CloudWatch's failure costs no line."""
    lines: list[str] = []
    with staged(tmp_path, v1=("sh", "-c", "echo hello; exec sleep 600")) as stage:

        def fails(*_: Any) -> None:
            raise ConnectionError("no logs")

        stage.plane.write_log = fails
        stage.service(container={"logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "/x"}}})
        with pytest.raises(ConnectionError):
            eventually(lambda: stage.run(20))
        stage.plane.write_log = lambda _group, _stream, fresh: lines.extend(fresh)
        eventually(lambda: stage.run(1) or lines)
    assert lines == ["hello"]


# ---------------------------------------------------------------------------------------------- the way back


def test_breaker_whose_way_back_fails_takes_no_other(stage: Stage) -> None:
    """ROLLBACK_FAILED is an end: ECS does not roll a rollback back."""
    service = stage.steady()
    stage.update("crash")
    stage.run(180)
    stage.plane.images.commands.pop("app:v1")  # type: ignore[attr-defined]
    for task in stage.tasks():
        stage.call("StopTask", task=task.arn)
    stage.run(3000)
    assert [deployment.state for deployment in service.history] == ["COMPLETED", "FAILED", "FAILED"]
    assert newest(stage)["status"] == "ROLLBACK_FAILED"


def test_stopped_service_deployment_is_shown_as_rolled_back(stage: Stage) -> None:
    """The way back is a part of what it takes back, as with the breaker."""
    stage.steady()
    stage.update("v2")
    stage.call("StopServiceDeployment", serviceDeploymentArn=newest(stage)["serviceDeploymentArn"])
    assert newest(stage)["status"] == "ROLLBACK_IN_PROGRESS"
    stage.run(150)
    shown = newest(stage)
    assert shown["status"] == "ROLLBACK_SUCCESSFUL"
    assert shown["finishedAt"] > shown["startedAt"]
    assert len(stage.call("ListServiceDeployments", service="app")["serviceDeployments"]) == 2


@pytest.mark.parametrize(("desired", "threshold"), [(1, 3), (10, 5), (25, 13), (800, 200)])
def test_threshold_is_shown_as_documented(stage: Stage, desired: int, threshold: int) -> None:
    """Half of the desired count, within 3 and 200."""
    stage.service(desired=desired)
    assert newest(stage)["deploymentCircuitBreaker"] == {
        "status": "MONITORING", "failureCount": 0, "threshold": threshold,
    }  # fmt: skip


# ---------------------------------------------------------------------------------------------- services


def test_changed_network_starts_a_deployment_and_a_grace_period_none(stage: Stage) -> None:
    """What UpdateService is given is kept; only what API_UpdateService says so starts anew."""
    service = stage.steady()
    stage.call("UpdateService", service="app", healthCheckGracePeriodSeconds=5, propagateTags="SERVICE")
    assert len(service.history) == 1
    network = {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}
    shown = stage.call("UpdateService", service="app", networkConfiguration=network)["service"]
    assert (len(service.history), shown["networkConfiguration"], shown["healthCheckGracePeriodSeconds"]) == (
        2, network, 5,
    )  # fmt: skip
    stage.call("UpdateService", service="app", networkConfiguration=network)
    assert len(service.history) == 2


def test_target_is_the_port_that_the_load_balancer_names(stage: Stage) -> None:
    """Not the container's first."""
    ports = [{"containerPort": 9000}, {"containerPort": 80}]
    stage.service(container={"portMappings": ports}, loadBalancers=[BALANCER])
    stage.run(20)
    target = stage.plane.target_states("arn:tg")[0]["Target"]
    assert target == {"Id": "127.0.0.1", "Port": stage.tasks()[0].ports[80]}


def test_service_says_what_it_does(stage: Stage) -> None:
    """Its events name the tasks and deployments, newest first."""
    service = stage.steady()
    good = service.primary.id
    stage.update("crash")
    bad = service.primary.id
    stage.run(300)
    said = [event["message"] for event in service.events]
    assert f"(service app) (deployment {bad}) deployment failed: tasks failed to start." in said
    assert f"(service app) rolling back to (deployment {good})." in said
    assert said[0] == "(service app) has reached a steady state."
    assert said[-1].startswith("(service app) has started 1 tasks: (task ")


# ---------------------------------------------------------------------------------------------- tasks


def test_every_status_of_a_task_is_an_event_of_its_own_version(stage: Stage) -> None:
    """From PENDING to STOPPED, with when and why it was told to stop."""
    stage.service()
    stage.run(40)
    stage.call("StopTask", task=stage.tasks()[0].arn, reason="enough")
    stage.run(3)
    first = stage.details(TASK)[0]["taskArn"]
    mine = [d for d in stage.details(TASK) if d["taskArn"] == first]
    assert [(d["lastStatus"], d["desiredStatus"]) for d in mine] == [
        ("PENDING", "RUNNING"), ("ACTIVATING", "RUNNING"), ("RUNNING", "RUNNING"), ("STOPPING", "STOPPED"),
        ("STOPPED", "STOPPED"),
    ]  # fmt: skip
    assert [d["version"] for d in mine] == [2, 3, 4, 5, 6]
    assert (mine[3]["stopCode"], mine[3]["stoppedReason"]) == ("UserInitiated", "enough")
    assert {"stoppingAt", "executionStoppedAt", "stoppedAt"} <= set(mine[4])


def test_sidecar_is_shown_and_the_essential_container_runs(stage: Stage) -> None:
    """Whichever stands first in the task definition."""
    side = {"name": "side", "image": "nowhere:1", "essential": False}
    stage.api.handle("RegisterTaskDefinition", {
        "family": "pair", "containerDefinitions": [side, {"name": "app", "image": "app:v1"}],
    })  # fmt: skip
    stage.call("RunTask", taskDefinition="pair")
    stage.run(40)
    task = stage.call("DescribeTasks", tasks=[stage.tasks()[0].arn])["tasks"][0]
    assert [(c["name"], c["lastStatus"]) for c in task["containers"]] == [("app", "RUNNING"), ("side", "RUNNING")]


def test_overridden_command_and_environment_reach_the_container(stage: Stage) -> None:
    """RunTask's overrides replace the command and add to the environment."""
    environment = [{"name": "A", "value": "1"}, {"name": "B", "value": "1"}]
    shows = {"name": "app", "command": ["sh", "-c", "exit $A$B"], "environment": [{"name": "B", "value": "2"}]}
    revision = stage.revision("v1", environment=environment)
    stage.call("RunTask", taskDefinition=revision, overrides={"containerOverrides": [shows]})
    task = stage.tasks()[0]
    eventually(lambda: stage.run(1) or task.status == "STOPPED")
    assert task.exit_code == 12


# ---------------------------------------------------------------------------------------------- as botocore reads it


def test_same_token_shows_every_task_that_it_started(stage: Stage, ecs: Any) -> None:
    """Also when there were several, and nothing once they are forgotten."""
    asked = {"cluster": CLUSTER, "taskDefinition": stage.revision("fails"), "count": 2, "clientToken": "once"}
    first, again = (sorted(t["taskArn"] for t in ecs.run_task(**asked)["tasks"]) for _ in range(2))
    assert (len(first), again) == (2, first)
    eventually(lambda: stage.run(1) or not stage.tasks())
    stage.run(3605)
    assert not set(first) & {t["taskArn"] for t in ecs.run_task(**asked)["tasks"]}


def test_services_clusters_and_tasks_are_tagged(stage: Stage, ecs: Any) -> None:
    """Their tags are listed, described when asked for, and nothing else has any."""
    service = stage.service(tags=[{"key": "a", "value": "1"}])
    task = ecs.run_task(cluster=CLUSTER, taskDefinition=stage.revision("v1"), tags=[{"key": "t", "value": "1"}])
    for arn in (service.arn, stage.plane.clusters[CLUSTER], task["tasks"][0]["taskArn"]):
        ecs.tag_resource(resourceArn=arn, tags=[{"key": "b", "value": "2"}])
        assert {"key": "b", "value": "2"} in ecs.list_tags_for_resource(resourceArn=arn)["tags"]
    ecs.untag_resource(resourceArn=service.arn, tagKeys=["b"])
    asked = {"cluster": CLUSTER, "services": ["app"]}
    assert ecs.describe_services(**asked, include=["TAGS"])["services"][0]["tags"] == [{"key": "a", "value": "1"}]
    assert "tags" not in ecs.describe_services(**asked)["services"][0]
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        ecs.list_tags_for_resource(resourceArn=service.arn.replace("app", "none"))


def test_service_deployment_and_revision_parse_whole(stage: Stage, ecs: Any) -> None:
    """Which digest is live, how many tasks run, when it was done."""
    stage.steady()
    listed = ecs.list_service_deployments(cluster=CLUSTER, service="app")["serviceDeployments"][0]
    assert listed["finishedAt"] > listed["startedAt"]
    shown = ecs.describe_service_deployments(serviceDeploymentArns=[listed["serviceDeploymentArn"]])
    deployment = shown["serviceDeployments"][0]
    assert deployment["targetServiceRevision"]["runningTaskCount"] == 1
    assert deployment["deploymentCircuitBreaker"]["status"] == "MONITORING_COMPLETE"
    revisions = ecs.describe_service_revisions(serviceRevisionArns=[listed["targetServiceRevisionArn"], "arn:none"])
    images = revisions["serviceRevisions"][0]["containerImages"]
    assert (images[0]["containerName"], images[0]["image"]) == ("app", "app:v1")
    assert images[0]["imageDigest"].startswith("sha256:")
    assert revisions["failures"] == [{"arn": "arn:none", "reason": "MISSING"}]


def test_list_of_an_unknown_service_or_page_is_refused(stage: Stage, ecs: Any) -> None:
    """As ECS does, and not with an empty list or a 500."""
    with pytest.raises(ClientError, match="ServiceNotFoundException"):
        ecs.list_tasks(cluster=CLUSTER, serviceName="none")
    with pytest.raises(ClientError, match="InvalidParameterException"):
        ecs.list_tasks(cluster=CLUSTER, nextToken="nonsense")
    stage.service(configuration={"deploymentCircuitBreaker": {"enable": False, "rollback": False}})
    assert newest(stage)["deploymentCircuitBreaker"]["status"] == "DISABLED"
