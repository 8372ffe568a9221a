"""Each stage as Terraform builds it, in the sandbox's cloud: applied, planned again, deployed upon, used, and refused to be destroyed.

Nothing is switched off for the test, and there is no list of differences: what moto does not keep is mended in sandbox/infra_gaps.
"""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from chalicelib.rollout.model import TERMINAL, Phase, Rollout
from sandbox.follow import follow
from sandbox.terraform import ROOT, TerraformError, TerraformGround
from sandbox.world import NODE_COMMAND, World
from tests.e2e.deploy import CHALICE, copy_project, run
from tests.infra.terraform import needs_terraform
from tests.sandbox.stage import eventually
from tools.configure import main as configure

SCALE = {"production": 100, "staging": 40, "development": 40}
MADE_FOR_A_NODE = {
    "aws_autoscaling_group.node",
    "aws_cloudwatch_metric_alarm.computed",
    "aws_cloudwatch_metric_alarm.measured",
    "aws_ebs_volume.node",
    "aws_ecs_service.node",
    "aws_ecs_task_definition.node",
    "aws_iam_instance_profile.host",
    "aws_iam_role.host",
    "aws_iam_role_policy.host",
    "aws_iam_role_policy.host_volumes_key",
    "aws_iam_role_policy_attachment.host_agent",
    "aws_iam_role_policy_attachment.host_sessions",
    "aws_launch_template.node",
}
TOUCHED_BY_A_NODE = (
    r"aws_cloudwatch_metric_alarm\.computed.*-(backups|copy)-missing",  # count the volumes
    r"aws_cloudwatch_dashboard\.",
    r"aws_cloudwatch_metric_alarm\.computed.*-sync-lag",  # measured against the others
    r"aws_cloudwatch_composite_alarm\.headline.*chain-stands",
)


@pytest.mark.e2e
@needs_terraform
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    "stage",
    [
        "production",
        pytest.param("staging", marks=pytest.mark.every_stage),
        pytest.param("development", marks=pytest.mark.every_stage),
    ],
)
def test_stage_is_built_and_used(stage: str, tmp_path: Path, subtests: pytest.Subtests) -> None:
    """The world's start is the first half of the test: two applies, images, services steady, adopted by our functions."""
    grounds: list[TerraformGround] = []

    def ground(world: World) -> TerraformGround:
        grounds.append(TerraformGround(world))
        return grounds[0]

    with World(environment=stage, time_scale=SCALE[stage], ground=ground) as world:
        terraform = grounds[0].terraform
        plan = terraform.plan()
        with subtests.test("second plan is empty"):
            assert changes(plan) == {}
        with subtests.test("every alarm that the fleet file names is there, and all are complete"):
            check_alarms(world)
        with subtests.test("the functions are deployed on it"):
            deploy(stage, terraform.output("chalice"), tmp_path / "deployed")
        with subtests.test("a release rolls"):
            check_release(world)
        with subtests.test("a changed environment variable rolls, and its way back is still there"):
            check_configuration(world, grounds[0], plan["variables"])
        with subtests.test("one more node is one line"):
            check_one_more_node(world, grounds[0])
        with subtests.test("another threshold is one line"):
            check_threshold(world, grounds[0])
        with subtests.test("destroying is refused, naming each thing that holds data"):
            check_destroy(grounds[0])
        with subtests.test("the sweep for lost events ran, and no call of any function was denied"):
            assert {("event_sweep", "ecr:describe_images"), ("rollout_tick", "ecs:update_service")} <= set(
                world.cloud.made()
            )
            assert world.cloud.refused() == []


def changes(plan: Mapping[str, Any]) -> dict[str, set[str]]:
    """The addresses that a plan touches, by what is done to them."""
    found: dict[str, set[str]] = {}
    for change in plan["resource_changes"]:
        actions = "/".join(change["change"]["actions"])
        if actions not in ("no-op", "read"):
            found.setdefault(actions, set()).add(change["address"])
    return found


def check_alarms(world: World) -> None:
    """Thirty or more in production; each with dimensions, actions both ways, a runbook, and a decision on missing data."""
    cloudwatch = world.ground.client("cloudwatch")
    alarms = [a for page in cloudwatch.get_paginator("describe_alarms").paginate() for a in page["MetricAlarms"]]
    named = {alarm for g in world.fleet.groups.values() for s in g.services.values() for alarm in s.alarms}
    assert named <= {alarm["AlarmName"] for alarm in alarms}
    assert len(alarms) >= 30
    for alarm in alarms:
        name = alarm["AlarmName"]
        if name.startswith("TargetTracking-"):
            continue  # autoscaling's own
        assert alarm["AlarmActions"], name
        assert alarm["OKActions"], name
        assert alarm.get("TreatMissingData"), name
        page = re.search(r"/runbooks/(\w+\.md)", alarm["AlarmDescription"])
        assert page, f"{name}: {alarm['AlarmDescription']}"
        assert (ROOT / "docs" / "runbooks" / page[1]).is_file(), name
        assert all(dimensions_of(alarm)), name


def dimensions_of(alarm: Mapping[str, Any]) -> list[Any]:
    """The dimensions of each metric that an alarm looks at; a Metrics Insights query names its own."""
    queries = alarm.get("Metrics") or [{"MetricStat": {"Metric": alarm}}]
    stats = [each["MetricStat"]["Metric"]["Dimensions"] for each in queries if "MetricStat" in each]
    return stats or [re.search(r"FROM SCHEMA\(.*\) WHERE (.+)", each["Expression"]) for each in queries]


def deploy(stage: str, output: str, folder: Path) -> None:
    """Terraform's output configures the stage, `chalice deploy` deploys it, after_deploy completes it and then has nothing to do."""
    project = copy_project(folder)
    assert configure(["--stage", stage], source=io.StringIO(output), project=project) == 0
    run(project, CHALICE, "deploy", "--stage", stage)
    first = run(project, sys.executable, "-m", "tools.after_deploy", "--stage", stage)
    again = run(project, sys.executable, "-m", "tools.after_deploy", "--stage", stage)
    assert "reports the failed messages of a batch" in first
    assert again.strip().endswith("0 changed")
    told = json.loads(run(project, CHALICE, "invoke", "-n", "status", "--stage", stage, stdin="{}"))
    assert "groups" in told


def check_release(world: World) -> None:
    """A release reaches every node: its pinned host, its volume, the load balancer, the alarms and permissions are as it needs them."""
    digest = world.push("xai/node", "candidate", NODE_COMMAND)  # no tag that starts a rollout by itself in production
    if world.fleet.groups["nodes"].wants("candidate"):
        rollout = follow(world, "nodes", digest)
    else:
        rollout = roll(world, "nodes", {"image": "candidate"})
    assert rollout.phase is Phase.PROMOTED, f"{rollout.reason}: {rollout.why}"


def check_configuration(world: World, ground: TerraformGround, variables: Mapping[str, Any]) -> None:
    """Terraform registers a revision and touches no service; a rollout moves them; the old revision is the way back."""
    group = "explorers" if "explorers" in world.fleet.groups else "nodes"
    services = list(world.fleet.groups[group].services)
    stable = {service: revision_of(world, service) for service in services}
    if group == "nodes":
        ground.terraform.variables["node_environment"] = {**variables["node_environment"]["value"], "XAI_SHOWN": "yes"}
    else:
        web = {name: dict(size) for name, size in variables["web"]["value"].items()}
        web[group]["environment"] = {**web[group]["environment"], "XAI_SHOWN": "yes"}
        ground.terraform.variables["web"] = web
    ground.apply()
    assert {service: revision_of(world, service) for service in services} == stable

    moved = roll(world, group, {"configuration": True})
    assert moved.phase is Phase.PROMOTED, f"{moved.reason}: {moved.why}"
    for service in services:
        assert {"name": "XAI_SHOWN", "value": "yes"} in environment_of(world, revision_of(world, service))

    world.invoke("rollback", {"group": group, "why": "the test wants it back"})
    eventually(lambda: {service: revision_of(world, service) for service in services} == stable, seconds=120)
    for revision in stable.values():
        assert definition(world, revision)["status"] == "ACTIVE"


def roll(world: World, group: str, asked: Mapping[str, Any]) -> Rollout:
    """Start a rollout as a person does, past any freeze, approve it where that is asked for, and follow it to its end."""
    known = {rollout.id for rollout in world.ledger.rollouts(group, limit=20)}
    answer = world.invoke("rollout", {"group": group, "force": ["frozen"], **asked})
    assert "error" not in answer, answer
    mine: Rollout = eventually(
        lambda: next((r for r in world.ledger.rollouts(group, limit=20) if r.id not in known), None), seconds=60
    )
    if world.fleet.groups[group].approval:
        eventually(lambda: world.ledger.rollout(mine.id).phase is Phase.AWAITING_APPROVAL, seconds=60)
        world.invoke("approve", {"group": group})
    return eventually(lambda: _ended(world, mine.id), seconds=240)


def _ended(world: World, rollout_id: str) -> Rollout | None:
    rollout: Rollout = world.ledger.rollout(rollout_id)
    return rollout if rollout.phase in (*TERMINAL, Phase.HELD) else None


def revision_of(world: World, service: str) -> str:
    """The revision that a service has."""
    answer = world.ground.client("ecs").describe_services(cluster=world.fleet.cluster, services=[service])
    return str(answer["services"][0]["taskDefinition"])


def definition(world: World, revision: str) -> dict[str, Any]:
    """A task definition."""
    answer: dict[str, Any] = world.ground.client("ecs").describe_task_definition(taskDefinition=revision)[
        "taskDefinition"
    ]
    return answer


def environment_of(world: World, revision: str) -> list[dict[str, str]]:
    """The environment of a revision's container."""
    containers: list[dict[str, Any]] = definition(world, revision)["containerDefinitions"]
    return list(containers[0]["environment"])


def planned(world: World, ground: TerraformGround, old: str, new: str) -> dict[str, set[str]]:
    """What follows from a change of the fleet file: the addresses by what is done to them."""
    path = ground.terraform.module.parent / "chalicelib" / "fleet" / world.fleet_file.name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    try:
        plan = ground.terraform.plan(refresh=False)
    finally:
        path.write_text(text)
    return changes(plan)


def check_one_more_node(world: World, ground: TerraformGround) -> None:
    """One line in the fleet file; the plan makes what a node has, and changes only what looks at all nodes together."""
    node, other = f"{world.fleet.cluster}-node-9", f"      {world.fleet.cluster}-node-1: "
    found = planned(world, ground, other, f"      {node}: {{wave: 9, role: validator, alarms: []}}\n{other}")
    assert set(found) == {"create", "update"}
    own = {address for address in found["create"] if f'"{node}' in address}
    assert {address.split("[")[0] for address in own} == MADE_FOR_A_NODE
    # A fleet of one has nobody to lag behind, and no peers.
    strange = [a for a in found["create"] - own if not re.search(r"-sync-lag|-peers-low|chain-stands", a)]
    strange += [a for a in found["update"] if not re.match("|".join(TOUCHED_BY_A_NODE), a)]
    assert not strange, strange


def check_threshold(world: World, ground: TerraformGround) -> None:
    """One number in the fleet file; the plan changes the alarms of that number, and nothing else but the dashboard that draws it."""
    found = planned(world, ground, "memory_percent: 85", "memory_percent: 90")
    assert set(found) == {"update"}
    assert [
        a for a in found["update"] if "-memory-high" not in a and not a.startswith("aws_cloudwatch_dashboard.")
    ] == []
    for group in world.fleet.groups.values():
        for service in group.services:
            assert any(f'"{service}-memory-high"' in address for address in found["update"])


def check_destroy(ground: TerraformGround) -> None:
    """Terraform's own refusal names each resource that holds data; nothing is destroyed."""
    with pytest.raises(TerraformError) as refused:
        ground.terraform.run("plan", "-destroy", "-no-color", *ground.terraform.given())
    state = json.loads(ground.terraform.run("show", "-json"))
    there = {each["address"]: f"{each['type']}.{each['name']}" for each in state["values"]["root_module"]["resources"]}
    holds_data = protected(ground.terraform.module)
    # A key goes after all that it encrypts, so Terraform stops before it says so of the key.
    wanted = {address for address, name in there.items() if name in holds_data and not name.startswith("aws_kms_key")}
    said = " ".join(str(refused.value).split())
    assert [
        address for address in sorted(wanted) if f"Resource {address} has lifecycle.prevent_destroy" not in said
    ] == []
    assert {"aws_dynamodb_table.ops", "aws_ebs_volume.node"} <= {there[address] for address in wanted}


def protected(module: Path) -> set[str]:
    """The resources whose destruction Terraform refuses, as the module's own text says."""
    found = set()
    for path in module.glob("*.tf"):
        for block in re.finditer(r'^resource "(\w+)" "(\w+)" \{\n(.*?)^\}', path.read_text(), re.MULTILINE | re.DOTALL):
            if re.search(r"prevent_destroy\s+= true", block[3]):
                found.add(f"{block[1]}.{block[2]}")
    return found
