"""What a plan costs in a month: each thing counted once, at the price that stands in the tool, and nothing left out unsaid."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import pytest

from tools.cost import COUNTED, HOURS, PRICES, UNCOUNTED, main
from tools.stages import ROOT

PAGE = ROOT / "docs" / "infrastructure.md"


def resource(address: str, index: Any = None, **after: Any) -> dict[str, Any]:
    """One resource as a plan has it."""
    kind, name = address.split(".")
    change = {"after": after}
    return {"address": address, "mode": "managed", "type": kind, "name": name, "index": index, "change": change}


def a_plan(*resources: dict[str, Any], **variables: Any) -> dict[str, Any]:
    """A plan of a stage called small."""
    given = {"environment": "small", **variables}
    return {"variables": {name: {"value": value} for name, value in given.items()}, "resource_changes": list(resources)}


def a_host(index: str, instance_type: str = "m6i.large", *, detailed: bool = True) -> list[dict[str, Any]]:
    """A node's group of one, and what it starts."""
    disk = {"ebs": [{"volume_size": 30}]}
    return [
        resource("aws_autoscaling_group.node", index, desired_capacity=1),
        resource(
            "aws_launch_template.node",
            index,
            instance_type=instance_type,
            block_device_mappings=[disk],
            monitoring=[{"enabled": detailed}],
        ),
    ]


def a_service(cpu: str, memory: str, architecture: str = "X86_64", tasks: int = 1) -> list[dict[str, Any]]:
    """A service on Fargate."""
    return [
        resource("aws_ecs_service.web", "w", launch_type="FARGATE", desired_count=tasks),
        resource(
            "aws_ecs_task_definition.web",
            "w",
            cpu=cpu,
            memory=memory,
            runtime_platform=[{"cpu_architecture": architecture}],
        ),
    ]


def cost(capsys: pytest.CaptureFixture[str], *plans: Any) -> dict[str, list[str]]:
    """The table's rows by their first cell without its link."""
    text = "\n".join(json.dumps(plan) for plan in plans)
    assert main([], source=io.StringIO(text)) == 0
    return rows(capsys.readouterr().out)


def rows(text: str) -> dict[str, list[str]]:
    """The rows of a table in Markdown."""
    found = {}
    for line in text.splitlines():
        first, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        found[re.sub(r"\[(.*)\]\(.*\)", r"\1", first)] = cells
    return found


def test_hosts_cost_their_hours_disks_and_metrics(capsys: pytest.CaptureFixture[str]) -> None:
    """The type stands in the launch template, which belongs to the group of the same index."""
    found = cost(capsys, a_plan(*a_host("a"), *a_host("b", "m6i.xlarge", detailed=False)))
    assert found["EC2 m6i.large"] == ["70.08", "1: 70.08"]
    assert found["EC2 m6i.xlarge"] == ["140.16", "1: 140.16"]
    assert found["EBS gp3, GiB"] == ["0.08", "60: 4.80"]
    assert found["Metric of ours or of an instance"] == ["0.30", "17: 5.10"]
    assert found["**total**"] == ["", "**220**"]


def test_a_volume_pays_for_what_is_over_the_free_share(capsys: pytest.CaptureFixture[str]) -> None:
    """3000 IOPS and 125 MiB/s come with every gp3 volume."""
    plain = resource("aws_ebs_volume.node", "a", type="gp3", size=100, iops=3000, throughput=125)
    fast = resource("aws_ebs_volume.node", "b", type="gp3", size=100, iops=4000, throughput=225)
    found = cost(capsys, a_plan(plain, fast))
    assert found["EBS gp3, GiB"] == ["0.08", "200: 16.00"]
    assert found["EBS gp3, IOPS over 3000"] == ["0.01", "1000: 5.00"]
    assert found["EBS gp3, MiB/s over 125"] == ["0.04", "100: 4.00"]


def test_fargate_counts_tasks_by_size_and_architecture(capsys: pytest.CaptureFixture[str]) -> None:
    """A service on our own instances costs nothing beside them."""
    on_a_host = resource("aws_ecs_service.node", "n", launch_type="EC2", desired_count=1)
    found = cost(capsys, a_plan(on_a_host, *a_service("512", "2048", tasks=2)))
    assert found["Fargate vCPU"] == ["29.55", "1: 29.55"]
    assert found["Fargate GiB"] == ["3.24", "4: 12.98"]
    found = cost(capsys, a_plan(*a_service("1024", "2048", "ARM64")))
    assert found["Fargate vCPU, arm64"] == ["23.64", "1: 23.64"]
    assert "Fargate vCPU" not in found


def test_what_is_in_each_zone_counts_by_zone(capsys: pytest.CaptureFixture[str]) -> None:
    """A load balancer has an address in each public subnet, an interface endpoint an hour in each private one; gateways are free."""
    subnets = [resource(f"aws_subnet.{kind}", zone) for kind in ("public", "private") for zone in "ab"]
    edge = resource("aws_lb.edge")
    endpoints = [
        resource("aws_vpc_endpoint.interface", "kms", vpc_endpoint_type="Interface"),
        resource("aws_vpc_endpoint.gateway", "s3", vpc_endpoint_type="Gateway"),
    ]
    address = resource("aws_eip.nat", "a")
    found = cost(capsys, a_plan(*subnets, edge, *endpoints, address))
    assert found["Public IPv4 address"] == ["3.65", "3: 10.95"]
    assert found["Interface endpoint, a zone"] == ["7.30", "2: 14.60"]
    own = {"public_subnets": {"a": "subnet-1", "b": "subnet-2", "c": "subnet-3"}}
    assert cost(capsys, a_plan(edge, existing_network=own))["Public IPv4 address"] == ["3.65", "3: 10.95"]


def test_alarms_cost_each_metric_that_they_read(capsys: pytest.CaptureFixture[str]) -> None:
    """An alarm on an expression reads several metrics; a query over a schema is one alarm."""
    plain = resource("aws_cloudwatch_metric_alarm.measured", "a", metric_query=[])
    three = [{"metric": []}, *({"metric": [{"stat": "Sum"}]} for _ in range(3))]
    computed = resource("aws_cloudwatch_metric_alarm.computed", "b", metric_query=three)
    query = resource("aws_cloudwatch_metric_alarm.computed", "c", metric_query=[{"metric": []}])
    assert cost(capsys, a_plan(plain, computed, query))["Alarm, a metric"] == ["0.10", "5: 0.50"]


def test_rules_secrets_instances_and_nodes_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """Also the secret that RDS makes for the master's password."""
    found = cost(
        capsys,
        a_plan(
            resource("aws_wafv2_web_acl.edge", rule=[{}, {}]),
            resource("aws_rds_cluster.database", 0, manage_master_user_password=True),
            resource("aws_rds_cluster_instance.database", "1", instance_class="db.t4g.medium"),
            resource("aws_secretsmanager_secret.tracker", "t"),
            resource("aws_elasticache_replication_group.cache", 0, node_type="cache.t4g.small", num_cache_clusters=2),
            resource("aws_kms_key.ops"),
        ),
    )
    assert found["WAF rule"] == ["1.00", "2: 2.00"]
    assert found["Secret"] == ["0.40", "2: 0.80"]
    assert found["Aurora db.t4g.medium"] == ["53.29", "1: 53.29"]
    assert found["Redis cache.t4g.small"] == ["23.36", "2: 46.72"]
    assert found["**total**"] == ["", "**109**"]


def test_each_plan_is_a_column(capsys: pytest.CaptureFixture[str]) -> None:
    """A thing that one of them lacks leaves its cell empty."""
    key = resource("aws_kms_key.ops")
    dashboard = resource("aws_cloudwatch_dashboard.stage")
    found = cost(capsys, a_plan(key), {**a_plan(key, dashboard), "variables": {"environment": {"value": "large"}}})
    assert found["USD a month"] == ["each", "small", "large"]
    assert found["Dashboard"] == ["3.00", "", "1: 3.00"]
    assert found["**total**"] == ["", "**1**", "**4**"]


def test_what_is_to_be_destroyed_or_only_read_costs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """The table is of what stands afterwards."""
    gone = {**resource("aws_kms_key.ops"), "change": {"after": None}}
    read = {**resource("aws_kms_key.ops"), "mode": "data"}
    assert cost(capsys, a_plan(gone, read))["**total**"] == ["", "**0**"]


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (a_host("a", "m9z.huge"), "aws_autoscaling_group.node: EC2 m9z.huge has no price"),
        ([resource("aws_msk_cluster.events")], "aws_msk_cluster has no price, and is not known to be free"),
    ],
)
def test_what_has_no_price_stops_the_count(
    found: list[dict[str, Any]], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sum that silently lacks something is worse than none."""
    assert main([], source=io.StringIO(json.dumps(a_plan(*found)))) == 1
    output = capsys.readouterr()
    assert told in output.err
    assert output.out == ""


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", json.dumps({"variables": {}, "resource_changes": []}), json.dumps(a_plan(a_host("a")[0]))],
)
def test_what_is_no_plan_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With a sentence, and no table."""
    assert main([], source=io.StringIO(text)) == 2
    output = capsys.readouterr()
    assert "plan" in output.err or "JSON" in output.err
    assert output.out == ""


def test_every_type_of_the_module_is_priced_or_known_to_need_none() -> None:
    """One more type in terraform/ is decided upon here, and none stays that is not there any more."""
    files = (ROOT / "terraform").glob("*.tf")
    types = {kind for file in files for kind in re.findall(r'^resource "(aws_\w+)"', file.read_text(), re.MULTILINE)}
    assert types == {*COUNTED, *UNCOUNTED}


def test_every_size_of_a_stage_has_a_price() -> None:
    """The types that environments/ name."""
    files = (ROOT / "terraform" / "environments").glob("*.tfvars")
    text = "\n".join(file.read_text() for file in files)
    sizes = set(re.findall(r'(?:instance_type|instance_class|node_type)\s*=\s*"([\w.]+)"', text))
    assert sizes
    assert sizes <= {key.split()[-1] for key in PRICES}


def test_the_page_shows_what_the_tool_prints() -> None:
    """Its rows are at the tool's prices, and each column adds up to its total."""
    table = rows("\n".join(line for line in PAGE.read_text().splitlines() if re.match(r"\| (\[|USD|\*\*total)", line)))
    head, total = table.pop("USD a month"), table.pop("**total**")
    assert head == ["each", "development", "staging", "production"]
    sums = [0.0, 0.0, 0.0]
    for key, (each, *cells) in table.items():
        assert each == f"{PRICES[key].usd * (HOURS if PRICES[key].hourly else 1):,.2f}", key
        for column, cell in enumerate(cells):
            many, money = cell.split(": ") if cell else ("0", "0.00")
            assert money == f"{float(many) * PRICES[key].a_month():,.2f}" or not cell, key
            sums[column] += float(many) * PRICES[key].a_month()
    assert total == ["", *(f"**{each:,.0f}**" for each in sums)]
