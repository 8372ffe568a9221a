"""What a stage costs in a month before anybody uses it, from Terraform's own plans.

    terraform -chdir=terraform show -json stage.tfplan | python -m tools.cost

Several plans may come one after the other; each is a column of the table. Counted is what a plan has and what is billed by
the hour or month. Traffic, requests, storage that grows, logs and the functions are billed by use, and no plan knows them.
Exit status: 0 done, 1 a plan has a resource or a size without a price here (it says which), 2 what came is no plan.

Prices are those of US East (N. Virginia), on demand, before taxes and discounts, as they were in November 2026. They change:
look at the page beside each. Knows the format of `terraform show -json` and prices. Must not know AWS' APIs.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TextIO

HOURS: Final = 730  # in a month, as AWS' own calculator has it
AWS: Final = "https://aws.amazon.com"
# terraform/hosts/node-boot.sh: BlockHeight, Peers, DiskFreePercent, RootDiskFreePercent, AgentUp. BootFailed costs the hours that have one.
PUBLISHED_BY_HOST: Final = 5
DETAILED_METRICS: Final = 7  # what a Linux instance of one disk tells each minute, by AWS' own example
FREE_IOPS, FREE_MIBPS = 3000, 125  # come with every gp3 volume

Resource = Mapping[str, Any]  # one element of a plan's resource_changes


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What one of a thing costs, in USD, and where AWS says so."""

    usd: float
    page: str
    hourly: bool = False

    def a_month(self) -> float:
        """For a month of it."""
        return self.usd * (HOURS if self.hourly else 1)


def hourly(usd: float, page: str) -> Price:
    """A price for each hour."""
    return Price(usd=usd, page=f"{AWS}/{page}/", hourly=True)


def monthly(usd: float, page: str) -> Price:
    """A price for each month."""
    return Price(usd=usd, page=f"{AWS}/{page}/")


PRICES: Final[Mapping[str, Price]] = {
    "EC2 m6i.large": hourly(0.096, "ec2/pricing/on-demand"),
    "EC2 m6i.xlarge": hourly(0.192, "ec2/pricing/on-demand"),
    "EBS gp3, GiB": monthly(0.08, "ebs/pricing"),
    "EBS gp3, IOPS over 3000": monthly(0.005, "ebs/pricing"),
    "EBS gp3, MiB/s over 125": monthly(0.04, "ebs/pricing"),
    "Fargate vCPU": hourly(0.04048, "fargate/pricing"),
    "Fargate GiB": hourly(0.004445, "fargate/pricing"),
    "Fargate vCPU, arm64": hourly(0.03238, "fargate/pricing"),
    "Fargate GiB, arm64": hourly(0.00356, "fargate/pricing"),
    "Load balancer": hourly(0.0225, "elasticloadbalancing/pricing"),
    "WAF web ACL": monthly(5.00, "waf/pricing"),
    "WAF rule": monthly(1.00, "waf/pricing"),
    "NAT gateway": hourly(0.045, "vpc/pricing"),
    "Public IPv4 address": hourly(0.005, "vpc/pricing"),
    "Interface endpoint, a zone": hourly(0.01, "privatelink/pricing"),
    "Aurora db.r6g.xlarge": hourly(0.519, "rds/aurora/pricing"),
    "Aurora db.t4g.medium": hourly(0.073, "rds/aurora/pricing"),
    "Redis cache.r6g.xlarge": hourly(0.411, "elasticache/pricing"),
    "Redis cache.t4g.small": hourly(0.032, "elasticache/pricing"),
    "Private zone of names": monthly(0.50, "route53/pricing"),
    "KMS key": monthly(1.00, "kms/pricing"),
    "Secret": monthly(0.40, "secrets-manager/pricing"),
    "Alarm, a metric": monthly(0.10, "cloudwatch/pricing"),
    "Composite alarm": monthly(0.50, "cloudwatch/pricing"),
    "Metric of ours or of an instance": monthly(0.30, "cloudwatch/pricing"),
    "Dashboard": monthly(3.00, "cloudwatch/pricing"),
}

# Free, or billed by use alone. A type that is neither here nor priced stops the count, so that none is forgotten.
UNCOUNTED: Final = {
    "aws_acm_certificate", "aws_acm_certificate_validation", "aws_appautoscaling_policy", "aws_appautoscaling_target",
    "aws_backup_plan", "aws_backup_selection", "aws_backup_vault", "aws_backup_vault_lock_configuration",
    "aws_backup_vault_notifications", "aws_backup_vault_policy", "aws_budgets_budget", "aws_cloudtrail",
    "aws_cloudwatch_event_archive", "aws_cloudwatch_event_rule", "aws_cloudwatch_event_target",
    "aws_cloudwatch_log_group", "aws_cloudwatch_log_resource_policy", "aws_db_subnet_group", "aws_default_security_group", "aws_dynamodb_table",
    "aws_ecr_lifecycle_policy", "aws_ecr_repository", "aws_ecs_cluster", "aws_ecs_task_definition",
    "aws_elasticache_parameter_group", "aws_elasticache_subnet_group", "aws_elasticache_user",
    "aws_elasticache_user_group", "aws_flow_log", "aws_iam_instance_profile", "aws_iam_openid_connect_provider",
    "aws_iam_role", "aws_iam_role_policy", "aws_iam_role_policy_attachment", "aws_internet_gateway", "aws_kms_alias",
    "aws_launch_template", "aws_lb_listener", "aws_lb_listener_rule", "aws_lb_target_group",
    "aws_rds_cluster_parameter_group", "aws_route", "aws_route53_record", "aws_route_table",
    "aws_route_table_association", "aws_s3_bucket", "aws_s3_bucket_lifecycle_configuration", "aws_s3_bucket_logging",
    "aws_s3_bucket_notification", "aws_s3_bucket_object_lock_configuration", "aws_s3_bucket_ownership_controls",
    "aws_s3_bucket_policy", "aws_s3_bucket_public_access_block", "aws_s3_bucket_replication_configuration",
    "aws_s3_bucket_server_side_encryption_configuration", "aws_s3_bucket_versioning", "aws_security_group",
    "aws_service_discovery_service", "aws_sns_topic", "aws_sns_topic_policy", "aws_sns_topic_subscription",
    "aws_sqs_queue", "aws_sqs_queue_policy", "aws_sqs_queue_redrive_allow_policy", "aws_subnet", "aws_vpc",
    "aws_vpc_security_group_egress_rule", "aws_vpc_security_group_ingress_rule", "aws_wafv2_web_acl_association",
    "aws_wafv2_web_acl_logging_configuration",
}  # fmt: skip


class WrongPlanError(Exception):
    """What came is not what `terraform show -json` prints of a plan."""


class UnpricedError(Exception):
    """A plan has what no price is known of here."""


class Plan:
    """What will stand when a plan has been applied."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        """Raises WrongPlanError."""
        try:
            variables = document["variables"]
            self.stage = str(variables["environment"]["value"])
            self._own_network = variables.get("existing_network", {}).get("value")
            changes = document["resource_changes"]
            self.resources: list[Resource] = [
                each for each in changes if each["mode"] == "managed" and each["change"]["after"] is not None
            ]
        except (AttributeError, KeyError, TypeError) as error:
            raise WrongPlanError(
                f"this is no plan of terraform/, as `terraform show -json` prints it: {error!r}"
            ) from error

    def values(self, address: str, index: Any) -> Mapping[str, Any]:
        """What one of several resources, such as aws_launch_template.node["a"], will be."""
        for each in self.resources:
            if f"{each['type']}.{each['name']}" == address and each.get("index") == index:
                values: Mapping[str, Any] = each["change"]["after"]
                return values
        raise WrongPlanError(f"the plan has no {address}[{json.dumps(index)}], which another resource of it needs")

    def zones(self, kind: str) -> int:
        """In how many zones there are public, or private, subnets."""
        if self._own_network:
            return len(self._own_network[f"{kind}_subnets"])
        return sum(each["type"] == "aws_subnet" and each["name"] == kind for each in self.resources)


Line = tuple[str, float]  # a key of PRICES, and how many


def _host(plan: Plan, group: Resource) -> Iterator[Line]:
    count = group["change"]["after"]["desired_capacity"]
    template = plan.values(f"aws_launch_template.{group['name']}", group.get("index"))
    yield f"EC2 {template['instance_type']}", count
    for disk in template["block_device_mappings"]:
        yield "EBS gp3, GiB", count * disk["ebs"][0]["volume_size"]
    detailed = DETAILED_METRICS if template["monitoring"][0]["enabled"] else 0
    yield "Metric of ours or of an instance", count * (PUBLISHED_BY_HOST + detailed)


def _volume(_plan: Plan, volume: Resource) -> Iterator[Line]:
    after = volume["change"]["after"]
    yield f"EBS {after['type']}, GiB", after["size"]
    yield "EBS gp3, IOPS over 3000", max(0, after["iops"] - FREE_IOPS)
    yield "EBS gp3, MiB/s over 125", max(0, after["throughput"] - FREE_MIBPS)


def _service(plan: Plan, service: Resource) -> Iterator[Line]:
    after = service["change"]["after"]
    if after["launch_type"] != "FARGATE":
        return  # what runs on our instances costs the instances
    task = plan.values(f"aws_ecs_task_definition.{service['name']}", service.get("index"))
    kind = ", arm64" if task["runtime_platform"][0]["cpu_architecture"] == "ARM64" else ""
    yield f"Fargate vCPU{kind}", after["desired_count"] * int(task["cpu"]) / 1024
    yield f"Fargate GiB{kind}", after["desired_count"] * int(task["memory"]) / 1024


def _load_balancer(plan: Plan, _balancer: Resource) -> Iterator[Line]:
    yield "Load balancer", 1
    yield "Public IPv4 address", plan.zones("public")  # one in each zone at least; more under load


def _endpoint(plan: Plan, endpoint: Resource) -> Iterator[Line]:
    if endpoint["change"]["after"]["vpc_endpoint_type"] == "Interface":  # gateways are free
        yield "Interface endpoint, a zone", plan.zones("private")


def _web_acl(_plan: Plan, acl: Resource) -> Iterator[Line]:
    yield "WAF web ACL", 1
    yield "WAF rule", len(acl["change"]["after"]["rule"])


def _database(_plan: Plan, cluster: Resource) -> Iterator[Line]:
    yield "Secret", 1 if cluster["change"]["after"]["manage_master_user_password"] else 0


def _alarm(_plan: Plan, alarm: Resource) -> Iterator[Line]:
    queries = alarm["change"]["after"].get("metric_query") or []
    yield "Alarm, a metric", max(1, sum(bool(query["metric"]) for query in queries))


def _one(key: str) -> Callable[[Plan, Resource], Iterator[Line]]:
    """Each of a type is one of a thing."""
    return lambda _plan, _resource: iter([(key, 1)])


COUNTED: Final[Mapping[str, Callable[[Plan, Resource], Iterator[Line]]]] = {
    "aws_autoscaling_group": _host,
    "aws_cloudwatch_composite_alarm": _one("Composite alarm"),
    "aws_cloudwatch_dashboard": _one("Dashboard"),
    "aws_cloudwatch_metric_alarm": _alarm,
    "aws_ebs_volume": _volume,
    "aws_ecs_service": _service,
    "aws_eip": _one("Public IPv4 address"),
    "aws_elasticache_replication_group": lambda _plan, group: iter(
        [(f"Redis {group['change']['after']['node_type']}", group["change"]["after"]["num_cache_clusters"])]
    ),
    "aws_kms_key": _one("KMS key"),
    "aws_lb": _load_balancer,
    "aws_nat_gateway": _one("NAT gateway"),
    "aws_rds_cluster": _database,
    "aws_rds_cluster_instance": lambda _plan, instance: iter(
        [(f"Aurora {instance['change']['after']['instance_class']}", 1)]
    ),
    "aws_secretsmanager_secret": _one("Secret"),
    "aws_service_discovery_private_dns_namespace": _one("Private zone of names"),
    "aws_vpc_endpoint": _endpoint,
    "aws_wafv2_web_acl": _web_acl,
}


def count(plan: Plan) -> dict[str, float]:
    """How many of each priced thing a plan has. Raises UnpricedError with a line for each thing without a price."""
    found: dict[str, float] = {}
    unpriced: set[str] = set()
    for resource in plan.resources:
        kind = resource["type"]
        if kind not in COUNTED:
            if kind != "terraform_data" and kind not in UNCOUNTED:
                unpriced.add(f"{kind} has no price, and is not known to be free or billed by use alone")
            continue
        for key, many in COUNTED[kind](plan, resource):
            if key in PRICES:
                found[key] = found.get(key, 0) + many
            else:
                unpriced.add(f"{resource['address']}: {key} has no price")
    if unpriced:
        raise UnpricedError("\n".join([*sorted(unpriced), "add what is missing to tools/cost.py"]))
    return found


def table(plans: Sequence[Plan]) -> Iterator[str]:
    """Lines of a table in Markdown: a row for each thing, a column for each plan, the totals last."""
    counts = [count(plan) for plan in plans]
    yield "| " + " | ".join(["USD a month", "each", *(plan.stage for plan in plans)]) + " |"
    yield "|---|" + "--:|" * (len(plans) + 1)
    for key, price in PRICES.items():
        if any(counted.get(key) for counted in counts):
            cells = [_cell(counted.get(key, 0), price) for counted in counts]
            yield "| " + " | ".join([f"[{key}]({price.page})", f"{price.a_month():,.2f}", *cells]) + " |"
    yield "| " + " | ".join(["**total**", "", *(f"**{_total(counted):,.0f}**" for counted in counts)]) + " |"


def _cell(many: float, price: Price) -> str:
    return f"{many:g}: {many * price.a_month():,.2f}" if many else ""


def _total(counted: Mapping[str, float]) -> float:
    return sum(many * PRICES[key].a_month() for key, many in counted.items())


def read_plans(text: str) -> list[Plan]:
    """Every plan in a text that has one after the other. Raises WrongPlanError."""
    plans, decoder, rest = [], json.JSONDecoder(), text.strip()
    while rest:
        try:
            document, end = decoder.raw_decode(rest)
        except ValueError as error:
            raise WrongPlanError(f"this is not JSON: {error}") from error
        plans.append(Plan(document))
        rest = rest[end:].lstrip()
    if not plans:
        raise WrongPlanError("there is no plan: give what `terraform show -json` prints of one")
    return plans


def main(arguments: Sequence[str] | None = None, *, source: TextIO = sys.stdin) -> int:
    """Print what the plans cost in a month."""
    parser = argparse.ArgumentParser(prog="python -m tools.cost", description="Reads `terraform show -json PLAN`.")
    parser.parse_args(arguments)
    try:
        lines = list(table(read_plans(source.read())))
    except (WrongPlanError, UnpricedError) as error:
        sys.stderr.write(f"{error}\n")
        return 1 if isinstance(error, UnpricedError) else 2
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
