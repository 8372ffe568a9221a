"""The data plane against what real ECS was seen to do: timelines, order of stopping and starting, breaker."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.dataplane.model import EcsError
from sandbox.dataplane.process import Tail
from tests.sandbox.stage import CLUSTER, FOREVER, STOPS_FIRST, STUBBORN, WHEN_TOLD, Stage, eventually, staged

DEPLOYMENT, ACTION, TASK = "ECS Deployment State Change", "ECS Service Action", "ECS Task State Change"
COMPLETED, FAILED = "SERVICE_DEPLOYMENT_COMPLETED", "SERVICE_DEPLOYMENT_FAILED"
SICK = {"healthCheck": {"command": ["CMD-SHELL", "exit 1"], "interval": 30, "retries": 3, "startPeriod": 120}}
WELL = {"healthCheck": {"command": ["CMD-SHELL", "exit 0"], "interval": 5, "retries": 3}}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A plane that knows two good images, a crashing one and one that will not stop."""
    with staged(tmp_path, v1=FOREVER, v2=FOREVER, crash=WHEN_TOLD, stubborn=STUBBORN) as found:
        yield found


def near(measured: list[float], *recorded: float) -> None:
    """Each recorded moment is met within 20 %."""
    assert len(measured) >= len(recorded), measured
    for ours, theirs in zip(measured, recorded, strict=False):
        assert ours == pytest.approx(theirs, rel=0.2), (measured, recorded)


def starts(stage: Stage) -> list[float]:
    """When each container since `zero` started."""
    moments = [task.started for task in stage.plane.tasks.values() if task.started and task.started >= stage.zero]
    return [(moment - stage.zero).total_seconds() for moment in sorted(moments)]


def alive(pid: int) -> bool:
    """Whether a process runs, and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[-1].split()[0] != "Z"
    except OSError:
        return False


def written(path: Path) -> int:
    """The number that a container writes into a file."""
    return int(eventually(lambda: path.exists() and path.read_text()))


# ---------------------------------------------------------------------------------------------- recorded timelines


def test_good_release_takes_as_long_as_recorded(stage: Stage) -> None:
    """RUNNING at +35, COMPLETED at +120."""
    stage.steady()
    stage.update("v2")
    stage.run(150)
    near(stage.times(TASK, lastStatus="RUNNING"), 35)
    near(stage.times(DEPLOYMENT, eventName=COMPLETED), 120)


def test_crash_at_start_takes_as_long_as_recorded(stage: Stage) -> None:
    """Starts, first proof, breaker and its rollback come when real ECS had them."""
    stage.steady()
    stage.update("crash")
    stage.run(300)
    near(starts(stage), 17, 69, 120, 170)
    near(stage.times(TASK, stopCode="EssentialContainerExited"), 27)
    near(stage.times(DEPLOYMENT, eventName=FAILED), 175)
    near(stage.times(DEPLOYMENT, eventName=COMPLETED), 254)


def test_missing_image_takes_as_long_as_recorded(stage: Stage) -> None:
    """Pulls are given up at +140, +272, +646; breaker at +704, back at +810."""
    stage.steady()
    stage.update("nowhere")
    stage.run(850)
    near(stage.times(TASK, stopCode="TaskFailedToStart"), 140, 272, 646)
    near(stage.times(DEPLOYMENT, eventName=FAILED), 704)
    near(stage.times(DEPLOYMENT, eventName=COMPLETED), 810)


def test_hung_container_takes_as_long_as_recorded(stage: Stage) -> None:
    """A container that is never healthy is replaced at +230, +568, +897; breaker at +934."""
    stage.steady()
    stage.update("v2", **SICK)
    stage.run(1000)
    deaths = [d for d in stage.details(TASK) if "failed container health checks" in d.get("stoppedReason", "")]
    assert {d["stopCode"] for d in deaths} == {"ServiceSchedulerInitiated"}
    killed = stage.times(TASK, stoppedReason="Task failed container health checks", lastStatus="STOPPED")
    near(killed, 230, 568, 897)
    near(stage.times(DEPLOYMENT, eventName=FAILED), 934)


def test_target_that_never_answers_is_replaced_as_late_as_recorded(stage: Stage) -> None:
    """A load balancer's target on which nobody listens is killed as the hung container is."""
    balancers = [{"targetGroupArn": "arn:tg", "containerName": "app", "containerPort": 80}]
    stage.service(container={"portMappings": [{"containerPort": 80}]}, loadBalancers=balancers)
    stage.run(280)
    deaths = [d for d in stage.details(TASK) if d["lastStatus"] == "STOPPED"]
    assert "failed ELB health checks in (target-group arn:tg)" in deaths[0]["stoppedReason"]
    near(stage.times(TASK, lastStatus="STOPPED"), 230)


# ---------------------------------------------------------------------------------------------- order of stop and start


def test_stop_before_start_begins_the_new_task_while_the_old_is_stopping(stage: Stage) -> None:
    """0/100 is no fence: the replacement starts inside the old container's stopTimeout."""
    stage.steady("stubborn", configuration=STOPS_FIRST, container={"stopTimeout": 120})
    old = stage.tasks()[0]
    written(old.data_dir / "child")  # from now on it ignores TERM
    stage.update("v2")
    stage.run(40)
    new = next(task for task in stage.tasks() if task is not old)
    assert (old.status, new.status) == ("STOPPING", "RUNNING")
    assert old.process is not None
    assert old.process.exit_code() is None


def test_start_before_stop_keeps_the_old_task_until_the_new_one_serves(stage: Stage) -> None:
    """100/200 never has less than one task that runs."""
    stage.steady()
    old = stage.tasks()[0]
    stage.update("v2", **WELL)
    stage.run(100, until=lambda: old.desired == "STOPPED")
    new = next(task for task in stage.plane.tasks.values() if task is not old)
    assert (new.status, new.health) == ("RUNNING", "HEALTHY")
    assert old.stop_code == "ServiceSchedulerInitiated"


def test_start_before_stop_keeps_the_old_task_while_the_new_one_crashes(stage: Stage) -> None:
    """Until the breaker's rollback is done, the old task serves."""
    stage.steady()
    old = stage.tasks()[0]
    stage.update("crash")
    stage.run(174)
    assert old.status == "RUNNING"
    assert old.live


def test_stopped_task_is_asked_and_killed_after_its_timeout(stage: Stage) -> None:
    """TERM at once, KILL to the whole group after stopTimeout, exit code 137."""
    service = stage.steady("stubborn", container={"stopTimeout": 50})
    task = stage.tasks()[0]
    child = written(task.data_dir / "child")
    stage.call("UpdateService", service=service.name, desiredCount=0)
    stage.run(49)
    assert (task.status, alive(child)) == ("STOPPING", True)
    stage.run(5)
    assert (task.status, task.exit_code) == ("STOPPED", 137)
    eventually(lambda: not alive(child))


def test_children_of_an_exited_container_die_with_it(tmp_path: Path) -> None:
    """What the first process leaves behind does not outlive the task."""
    leaves = ("sh", "-c", "sleep 600 >/dev/null 2>&1 & echo $! > $SHARED/child; until [ -e end ]; do sleep 0.02; done")
    with staged(tmp_path, leaves=leaves) as stage:
        stage.service("leaves", container={"environment": [{"name": "SHARED", "value": str(tmp_path)}]})
        stage.run(20)
        task = stage.tasks()[0]
        child = written(tmp_path / "child")
        (task.data_dir / "end").touch()
        process = task.process
        assert process is not None
        eventually(lambda: process.exit_code() is not None)
        stage.run(1)
        assert (task.status, task.exit_code, task.stop_code) == ("STOPPED", 0, "EssentialContainerExited")
        eventually(lambda: not alive(child))


def test_node_keeps_its_address_over_a_replacement(stage: Stage) -> None:
    """Stop before start reuses the host port, so that peers find the node again."""
    ports = {"portMappings": [{"containerPort": 12001}]}
    stage.steady(configuration=STOPS_FIRST, container=ports)
    before = stage.tasks()[0].ports
    stage.update("v2", **ports)
    stage.run(40)
    assert [task.ports for task in stage.tasks()] == [before]


# ---------------------------------------------------------------------------------------------- the breaker


def test_breaker_returns_to_the_last_completed_revision(stage: Stage) -> None:
    """Not to the one before, and by a deployment of its own."""
    service = stage.steady("v1")
    stage.update("v2")
    stage.run(150)
    second = service.primary
    stage.update("crash")
    bad = service.primary
    stage.run(300)
    assert (bad.state, bad.tripped, bad.failed) == ("FAILED", True, 3)
    assert service.primary.definition is second.definition
    assert service.primary is not second
    assert service.primary.state == "COMPLETED"


def test_breaker_waits_for_three_failures_even_of_one_task(stage: Stage) -> None:
    """The threshold is max(3, half of the desired count)."""
    service = stage.steady()
    stage.update("crash")
    stage.run(125)
    assert (service.primary.failed, service.primary.breaker_at) == (2, None)
    stage.run(10)
    assert service.primary.failed == 3
    assert service.primary.breaker_at is not None


def test_breaker_of_eight_tasks_waits_for_four_failures(stage: Stage) -> None:
    """Half of eight is more than three."""
    service = stage.steady(desired=8, configuration={"minimumHealthyPercent": 50, "maximumPercent": 100})
    stage.update("crash")
    stage.run(200, until=lambda: service.primary.failed >= 4)
    assert service.primary.breaker_at is not None


def test_breaker_with_nothing_completed_stalls(stage: Stage) -> None:
    """A first deployment has nothing to return to: FAILED, and no task is started any more."""
    service = stage.service("crash")
    stage.run(400)
    assert service.primary.state == "FAILED"
    assert len(service.history) == 1
    assert stage.tasks() == []
    started = len(starts(stage))
    stage.run(200)
    assert len(starts(stage)) == started


def test_disabled_breaker_goes_on_trying(stage: Stage) -> None:
    """Without a breaker a deployment never fails."""
    service = stage.service("crash", configuration={"deploymentCircuitBreaker": {"enable": False, "rollback": False}})
    stage.run(500)
    assert service.primary.state == "IN_PROGRESS"
    assert service.primary.failed > 5


def test_first_running_task_resets_the_count_of_failures(stage: Stage) -> None:
    """ECS counts consecutive failures, and forgets them at the first task that runs."""
    service = stage.steady()
    stage.update("crash")
    stage.run(90)
    assert service.primary.failed == 2
    stage.dies_after = 1000
    stage.run(60)
    assert stage.call("DescribeServices", services=["app"])["services"][0]["deployments"][-1]["failedTasks"] == 0
    assert service.primary.breaker_at is None


def test_first_running_task_of_several_resets_the_count_of_failures(stage: Stage) -> None:
    """One task that runs is enough; the deployment need not be complete."""
    service = stage.steady(desired=2, configuration={"minimumHealthyPercent": 50, "maximumPercent": 100})
    stage.update("crash")
    stage.run(50)
    assert service.primary.failed >= 1
    stage.dies_after = 1000
    stage.run(100, until=lambda: any(t.status == "RUNNING" and t.deployment is service.primary for t in stage.tasks()))
    stage.run(1)
    assert service.primary.failed == 0


# ---------------------------------------------------------------------------------------------- updates, capacity


def test_change_of_desired_count_starts_no_deployment(stage: Stage) -> None:
    """Scaling out adds a task to the deployment that there is; scaling in takes one away."""
    service = stage.steady()
    stage.call("UpdateService", service="app", desiredCount=2)
    stage.run(40)
    assert (len(service.history), len(stage.tasks())) == (1, 2)
    stage.call("UpdateService", service="app", desiredCount=1)
    stage.run(3)
    assert (len(service.history), len(stage.tasks())) == (1, 1)


def test_change_of_configuration_starts_no_deployment(stage: Stage) -> None:
    """Nor does an update to the revision that runs, unless it is forced."""
    service = stage.steady()
    running = service.primary.definition.arn
    stage.call("UpdateService", service="app", deploymentConfiguration={"maximumPercent": 150})
    stage.call("UpdateService", service="app", taskDefinition=running)
    assert len(service.history) == 1
    assert service.configuration["maximumPercent"] == 150
    stage.call("UpdateService", service="app", taskDefinition=running, forceNewDeployment=True)
    assert len(service.history) == 2


def test_update_to_an_inactive_revision_is_refused(stage: Stage) -> None:
    """A deregistered revision is no way back."""
    service = stage.steady()
    gone = stage.revision("v2")
    stage.api.handle("DeregisterTaskDefinition", {"taskDefinition": gone})
    with pytest.raises(EcsError, match="inactive") as refused:
        stage.call("UpdateService", service="app", taskDefinition=gone)
    assert refused.value.code == "ClientException"
    assert len(service.history) == 1


def test_update_of_a_deleted_service_is_refused(stage: Stage) -> None:
    """A service that is INACTIVE stays so."""
    stage.steady()
    stage.call("DeleteService", service="app", force=True)
    with pytest.raises(EcsError) as refused:
        stage.call("UpdateService", service="app", desiredCount=1)
    assert refused.value.code == "ServiceNotActiveException"
    stage.run(3)
    assert stage.tasks() == []


def test_missing_capacity_is_said_and_tried_again(stage: Stage) -> None:
    """A placement failure is an ERROR event and a service event; the task comes when there is room."""
    stage.faults.no_capacity = True
    service = stage.service()
    stage.run(70)
    failures = [d for d in stage.details(ACTION) if d["eventName"] == "SERVICE_TASK_PLACEMENT_FAILURE"]
    assert len(failures) == 3
    assert (failures[0]["eventType"], failures[0]["reason"]) == ("ERROR", "RESOURCE:MEMORY")
    assert "was unable to place a task" in service.events[0]["message"]
    assert service.primary.failed == 0
    stage.faults.no_capacity = False
    stage.run(100)
    assert [task.status for task in stage.tasks()] == ["RUNNING"]


def test_stopped_deployment_returns_to_what_was_completed(stage: Stage) -> None:
    """StopServiceDeployment rolls back, and refuses what has ended."""
    service = stage.steady()
    good = service.primary
    stage.update("v2")
    arns = [
        d["serviceDeploymentArn"] for d in stage.call("ListServiceDeployments", service="app")["serviceDeployments"]
    ]
    stage.call("StopServiceDeployment", serviceDeploymentArn=arns[0], stopType="ROLLBACK")
    assert service.primary.definition is good.definition
    with pytest.raises(EcsError) as refused:
        stage.call("StopServiceDeployment", serviceDeploymentArn=arns[1], stopType="ROLLBACK")
    assert refused.value.code == "ConflictException"


def test_person_that_stops_a_task_counts_as_no_failure(stage: Stage) -> None:
    """UserInitiated is nobody's fault, and the task is replaced."""
    service = stage.steady()
    stage.call("StopTask", task=stage.tasks()[0].arn, reason="looking")
    stage.run(60)
    stopped = [d for d in stage.details(TASK) if d["lastStatus"] == "STOPPED"]
    assert (stopped[0]["stopCode"], stopped[0]["stoppedReason"]) == ("UserInitiated", "looking")
    assert service.primary.failed == 0
    assert [task.status for task in stage.tasks()] == ["RUNNING"]


# ---------------------------------------------------------------------------------------------- containers


def test_container_sees_its_environment_and_nothing_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PATH, HOME and LANG are inherited, the container's own and the sandbox's are added."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "ours")
    lines: list[str] = []
    with staged(tmp_path, shows=("sh", "-c", "env; pwd; exec sleep 600")) as stage:
        stage.plane.write_log = lambda _group, _stream, fresh: lines.extend(fresh)
        log = {"logDriver": "awslogs", "options": {"awslogs-group": "/x", "awslogs-stream-prefix": "app"}}
        stage.service("shows", container={
            "logConfiguration": log, "portMappings": [{"containerPort": 80}],
            "environment": [{"name": "A", "value": "1"}],
        })  # fmt: skip
        stage.run(20)
        task = stage.tasks()[0]
        eventually(lambda: str(task.data_dir) in task.log.last(9))
        stage.call("UpdateService", service="app", desiredCount=0)
        stage.run(5)
    shown = dict(line.partition("=")[::2] for line in lines)
    assert (shown["A"], shown["PATH"], shown["SANDBOX_BLOCK_SECONDS"]) == ("1", os.environ["PATH"], "10")
    assert (shown["XAI_API_PORT"], shown["XAI_DATA_DIR"]) == (str(task.ports[80]), str(task.data_dir))
    assert "AWS_SECRET_ACCESS_KEY" not in shown
    assert str(task.data_dir) in lines


def test_only_the_five_placeholders_are_filled_in(tmp_path: Path) -> None:
    """Other braces reach the program as they were written, and no shell reads them."""
    command = ("sh", "-c", 'for word; do echo "$word"; done; exec sleep 600', "sh",
               "{port} {p2p_port} {data_dir} {name}", "[{peers}]", "{other}", "$HOME;")  # fmt: skip
    with staged(tmp_path, shows=command) as stage:
        stage.service("shows", container={"portMappings": [{"containerPort": 80}, {"containerPort": 81}]})
        stage.run(20)
        task = stage.tasks()[0]
        eventually(lambda: task.log.total >= 4)
    assert task.log.last(9) == [f"{task.ports[80]} {task.ports[81]} {task.data_dir} app", "[]", "{other}", "$HOME;"]


def test_interrupt_works_in_a_container(tmp_path: Path) -> None:
    """SIGINT is not inherited as ignored: the node stops by it."""
    with staged(tmp_path, v1=("sh", "-c", "kill -INT $$; sleep 600")) as stage:
        stage.service()
        stage.run(18)
        process = next(iter(stage.plane.tasks.values())).process
        assert process is not None
        eventually(lambda: process.exit_code() == 130)


def test_command_that_cannot_be_executed_fails_to_start(tmp_path: Path) -> None:
    """CannotStartContainerError, as containerd says."""
    with staged(tmp_path, v1=("/no/such/program",)) as stage:
        stage.service()
        stage.run(20)
        died = next(d for d in stage.details(TASK) if d["lastStatus"] == "STOPPED")
    assert died["stopCode"] == "TaskFailedToStart"
    assert died["stoppedReason"].startswith("CannotStartContainerError")


def test_volume_outlives_its_task_and_a_scratch_folder_does_not(stage: Stage, tmp_path: Path) -> None:
    """A mounted host path is the same for the next task; a lone task's folder goes with it."""
    container = {"name": "app", "image": "app:v1", "mountPoints": [{"sourceVolume": "data", "containerPath": "/data"}]}
    volumes = [{"name": "data", "host": {"sourcePath": "volumes/app"}}]
    stage.api.handle(
        "RegisterTaskDefinition", {"family": "vol", "containerDefinitions": [container], "volumes": volumes}
    )
    stage.call("RunTask", taskDefinition="vol")
    stage.call("RunTask", taskDefinition=stage.revision("v1"))
    kept, lost = stage.tasks()
    stage.run(20)
    assert kept.data_dir == tmp_path / "volumes" / "app"
    for task in (kept, lost):
        stage.call("StopTask", task=task.arn)
    stage.run(3)
    assert kept.data_dir.is_dir()
    assert not lost.data_dir.exists()


# ---------------------------------------------------------------------------------------------- events


def event(stage: Stage, kind: str, **wanted: Any) -> dict[str, Any]:
    """The first event since `zero` of this kind whose detail says so, whole."""
    return next(
        e
        for at, e in stage.said
        if at >= stage.zero and e["detail-type"] == kind and all(e["detail"].get(k) == v for k, v in wanted.items())
    )


def test_deployment_events_have_the_documented_shape(stage: Stage) -> None:
    """Five keys, the service as resource, INFO and ERROR, and the breaker's words."""
    service = stage.steady()
    arn = f"arn:aws:ecs:us-east-1:123456789012:service/{CLUSTER}/app"
    stage.update("crash")
    stage.run(300)
    bad, back = service.history[1], service.history[2]
    begun, failed = event(stage, DEPLOYMENT), event(stage, DEPLOYMENT, eventName=FAILED)
    rolling, done = event(stage, DEPLOYMENT, deploymentId=back.id), event(stage, DEPLOYMENT, eventName=COMPLETED)
    for each in (begun, failed, rolling, done):
        assert set(each["detail"]) == {"eventType", "eventName", "deploymentId", "updatedAt", "reason"}
        assert set(each) == {
            "version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail",
        }  # fmt: skip
        assert (each["source"], each["resources"], each["region"]) == ("aws.ecs", [arn], "us-east-1")
    assert begun["detail"]["reason"] == f"ECS deployment {bad.id} in progress."
    assert (failed["detail"]["eventType"], failed["detail"]["deploymentId"]) == ("ERROR", bad.id)
    assert failed["detail"]["reason"] == "ECS deployment circuit breaker: tasks failed to start."
    assert rolling["detail"]["eventName"] == "SERVICE_DEPLOYMENT_IN_PROGRESS"
    assert rolling["detail"]["reason"].startswith(
        "ECS deployment circuit breaker: rolling back to deploymentId ecs-svc/"
    )
    assert (done["detail"]["eventType"], done["detail"]["reason"]) == ("INFO", f"ECS deployment {back.id} completed.")


def test_task_events_have_the_documented_shape(stage: Stage) -> None:
    """Group and startedBy tie a dead task to its deployment; `version` rises."""
    service = stage.steady()
    stage.update("crash")
    stage.run(40)
    dead = event(stage, TASK, lastStatus="STOPPED", startedBy=service.primary.id)
    detail = dead["detail"]
    assert dead["resources"] == [detail["taskArn"]]
    assert detail["clusterArn"] == f"arn:aws:ecs:us-east-1:123456789012:cluster/{CLUSTER}"
    assert detail["taskArn"].startswith(f"arn:aws:ecs:us-east-1:123456789012:task/{CLUSTER}/")
    assert (detail["group"], detail["desiredStatus"]) == ("service:app", "STOPPED")
    assert (detail["stopCode"], detail["stoppedReason"]) == (
        "EssentialContainerExited",
        "Essential container in task exited",
    )
    assert {"createdAt", "startedAt", "stoppedAt", "taskDefinitionArn"} <= set(detail)
    container = detail["containers"][0]
    assert (container["name"], container["exitCode"], container["lastStatus"]) == ("app", 1, "STOPPED")
    assert container["imageDigest"].startswith("sha256:")
    stage.run(30)
    old = [d["version"] for d in stage.details(TASK) if d["taskArn"] == detail["taskArn"]]
    assert old == sorted(set(old))
    assert "healthStatus" not in detail


def test_steady_state_event_names_the_cluster_and_no_version(stage: Stage) -> None:
    """ECS Service Action knows no task definition."""
    stage.steady()
    told = event(stage, ACTION, eventName="SERVICE_STEADY_STATE")
    assert set(told["detail"]) == {"eventType", "eventName", "clusterArn", "createdAt"}
    assert told["detail"]["eventType"] == "INFO"


def test_program_that_talks_without_end_is_kept_by_its_tail() -> None:
    """And what was left out is said."""
    tail = Tail()
    for number in range(5000):
        tail.append(str(number))
    assert tail.last(2) == ["4998", "4999"]
    assert tail.after(4998) == ["4998", "4999"]
    assert tail.after(5000) == []
    assert tail.after(100)[:2] == [f"({4900 - Tail.MOST} lines left out)", str(5000 - Tail.MOST)]


def test_what_left_its_session_is_killed_at_the_end(tmp_path: Path) -> None:
    """A container's stop ends all of its processes, also those that called setsid."""
    leaves = "import os, subprocess; subprocess.Popen(['sleep', '987'], start_new_session=True)"
    with staged(tmp_path, leaves=("sh", "-c", f'{sys.executable} -c "{leaves}"; exec sleep 600')) as stage:
        stage.service("leaves")
        stage.run(20)
        eventually(lambda: bool(left_under(tmp_path)))
    eventually(lambda: not left_under(tmp_path))


def left_under(root: Path) -> list[str]:
    """Processes whose environment names this folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if str(root).encode() in (entry / "environ").read_bytes() and int(entry.name) != os.getpid():
                found.append((entry / "cmdline").read_bytes().decode())
        except OSError:
            continue
    return [line for line in found if line.startswith("sleep")]
