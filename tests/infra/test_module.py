"""Terraform's files before anything is applied: in shape, valid, planned on mocks, scanned, and of the form that keeps data and rollouts safe.

What a plan holds is asserted in terraform/tests. Here stands what no plan shows (lifecycle, names, reasons) and what refusals say.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import hcl2
import pytest

from chalicelib.fleet.load import load
from sandbox.terraform import MODULE, ROOT, copy_module, terraform_environment
from tests.infra.terraform import needs_terraform

CHECKOV = ROOT / ".venv-checkov" / "bin" / "checkov"
FLEET = ROOT / "chalicelib" / "fleet" / "production.yaml"
STAGES = ("development", "staging", "production")

# What keeps data, and the buckets that do not, each with its reason.
KEEPS_DATA = {
    "aws_backup_vault", "aws_dynamodb_table", "aws_ebs_volume", "aws_ecr_repository", "aws_kms_key", "aws_rds_cluster", "aws_s3_bucket",
    "aws_secretsmanager_secret",
}  # fmt: skip
MAY_GO = {
    "aws_secretsmanager_secret.tracker": "trackers give another token",
    "aws_s3_bucket.ops": "pictures, which the functions draw anew",
    "aws_s3_bucket.access_logs": "logs of 90 days; S3 itself deletes no bucket that is not empty",
}
# What Terraform must leave to others, and to whom.
LEFT_TO_OTHERS = {
    "aws_ecs_service.node": {"task_definition", "desired_count"},  # rollouts, people
    "aws_ecs_service.web": {"task_definition", "desired_count"},  # rollouts, autoscaling
    "aws_ebs_volume.node": {"availability_zone"},  # a volume cannot move, whoever comes before it in the alphabet
}
OPEN_TO_THE_WORLD = {
    "aws_route.internet": "the way out of public subnets",
    "aws_route.nat": "the way out of private subnets",
    "aws_vpc_security_group_ingress_rule.world": "the load balancer's 80 and 443",
    "aws_vpc_security_group_egress_rule.world": "AWS, trackers and registries on 443, peers on their port",
}


def said(module: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What Terraform said and how it ended; lines as it printed them."""
    return subprocess.run(
        ["terraform", *arguments], cwd=module, env=terraform_environment(), capture_output=True, text=True, check=False, timeout=280,
    )  # fmt: skip


def in_one_line(text: str) -> str:
    """A message without the line breaks that Terraform puts into it."""
    return " ".join(text.split())


@pytest.fixture(scope="session")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the module, with the provider found."""
    copy = copy_module(tmp_path_factory.mktemp("module"))
    started = said(copy, "init", "-no-color")
    assert started.returncode == 0, started.stderr
    return copy


# ---- Terraform's own judgement


@needs_terraform
def test_files_are_formatted() -> None:
    """`terraform fmt -recursive` would change nothing."""
    done = said(MODULE, "fmt", "-check", "-recursive", "-diff", "-no-color")
    assert done.returncode == 0, done.stdout + done.stderr


@needs_terraform
def test_root_is_valid(module: Path) -> None:
    """The root module is valid, without a warning."""
    judged = json.loads(said(module, "validate", "-json").stdout)
    assert judged["valid"], judged["diagnostics"]
    assert judged["diagnostics"] == []


@needs_terraform
def test_bootstrap_is_valid(module: Path) -> None:
    """So is the module that makes the state's bucket."""
    bootstrap = module / "bootstrap"
    assert said(bootstrap, "init", "-no-color").returncode == 0
    judged = json.loads(said(bootstrap, "validate", "-json").stdout)
    assert judged["valid"], judged["diagnostics"]
    assert judged["diagnostics"] == []


@needs_terraform
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            path.name,
            marks=pytest.mark.every_stage if path.name == "staging.tftest.hcl" else (),
        )
        for path in sorted((MODULE / "tests").glob("*.tftest.hcl"))
    ],
)
def test_terraforms_own_tests_pass(name: str, module: Path) -> None:
    """`terraform test`, file by file: each stage as its files have it, what exists is adopted, what is wrong is refused."""
    done = said(module, "test", "-no-color", f"-filter=tests/{name}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Success! \d+ passed, 0 failed", done.stdout)


# ---- what refusals say


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Something wrong, and words that must be said of it: what was found, what is allowed."""

    words: tuple[str, ...]
    variables: Mapping[str, Any] = field(default_factory=dict)
    fleet: Callable[[str], str] | None = None
    targets: tuple[str, ...] = ()


def replaced(*pairs: tuple[str, str]) -> Callable[[str], str]:
    """The fleet file with these texts in place of those, each of which it must have."""

    def replace(text: str) -> str:
        for old, new in pairs:
            assert old in text, f"the fleet file has no {old}"
            text = text.replace(old, new)
        return text

    return replace


CROWD = [f"site-{number}" for number in range(25)]


def crowded(text: str) -> str:
    """The fleet file with many public groups, and with a limit that AWS Backup cannot keep."""
    grafana = text[text.index("  grafana:\n") :]
    more = "".join(grafana.replace("grafana", name) for name in CROWD)
    return replaced(("backup_max_age_seconds: 25200", "backup_max_age_seconds: 7200"))(text) + more


REFUSALS = {
    "variables": Refusal(
        variables={
            "zones": ["a"],
            "domain": "XAI.example.org",
            "log_days": 2,
            "backup": {"keep_days": 7, "lock_days": 8, "copy": False},
            "alert_emails": ["operations"],
            "web": {"explorers": {"min": 3, "max": 2}},
        },
        words=(
            "zones is [a]; allowed: two to six different letters from a to f.",
            'domain is "XAI.example.org"; allowed: a domain name in lower case',
            "log_days is 2; allowed: 1, 3, 5, 7,",
            "backup.lock_days must be at least 1 and at most keep_days",
            "alert_emails: [operations] has something that is no e-mail address.",
            "web: min must be at least 1 and max at least min, in each of explorers.",
        ),
    ),
    "no way to a certificate": Refusal(
        variables={"hosted_zone_id": None},
        words=(
            "Name certificate_arn (a certificate of *.domain that you have) or hosted_zone_id",
            "without either there is no HTTPS.",
        ),
    ),
    "disagreements with the fleet file": Refusal(
        variables={
            "environment": "staging",
            "replica_region": "us-east-1",
            "public_hosts": {"nodes": "api", "wallets": "wallet"},
            "first_images": {"bridges": "1.0.0"},
            "web": {"explorers": {}, "prometheus": {}, "wallets": {}},
            "certificate_arn": "arn:aws:acm:eu-west-1:123456789012:certificate/other",
            "node_environment": {"XAI_PEER_API_KEY": "open"},
            "node_secrets": {"XAI_PEER_API_KEY": "xai/production/peer-api-key"},
        },
        fleet=replaced(("      xai-production-node-3:", "      node-3:")),
        targets=("terraform_data.fleet",),
        words=(
            "is the fleet file of production, and environment is staging: name the same one in both.",
            "replica_region is us-east-1, where the fleet itself runs",
            "do not begin with the cluster's name and a hyphen, as the functions' permissions need it: node-3.",
            "public_hosts names wallets, which is no group of",
            "first_images names bridges, which is no group of",
            "allowed: explorers, grafana, nodes, prometheus.",
            "web has no size for grafana, of kind http in",
            "web names wallets, which is no group of kind http in",
            "XAI_PEER_API_KEY stands in node_secrets and in node_environment, and ECS takes a name once",
            "certificate_arn is of eu-west-1, and the load balancer of us-east-1 takes only a certificate of its own region.",
        ),
    ),
    "two that would share their alarms": Refusal(
        fleet=replaced(("container: explorer", "container: node")),
        targets=("terraform_data.fleet",),
        words=("The groups of public_hosts have the containers node, node in", "so each needs a name of its own."),
    ),
    "alarms that cannot be": Refusal(
        variables={"database": {"instance_class": "db.x99.large", "instances": 1, "backup_days": 7}},
        fleet=replaced(
            ("[xai-production-node-1-height-flat,", "[xai-production-node-1-height-flatt,"),
            ("    - {match: 'xai-production-(?P<resource>.+)', kind: alarm, grade: P3}\n", ""),
            ("height_flat_seconds: 1800", "height_flat_seconds: 1801"),
            ("backup_max_age_seconds: 25200", "backup_max_age_seconds: 86460"),
            ("min_peers: 3", "min_peers: 4"),
        ),
        targets=("terraform_data.alarms",),
        words=(
            "binds xai-production-node-1-height-flatt to services, and no such alarm is built",
            "Add a last rule that matches 'xai-production-(?P<resource>.+)'.",
            "is 1801; allowed: a multiple of 60 up to 86400 (CloudWatch's own).",
            "is 86460; allowed: a multiple of 60 up to 86400, the longest in which CloudWatch counts backups together.",
            "watch.min_peers of",
            "is 4, and a node cannot count on more peers than the others of its group: nodes has 4 nodes. Allowed: less than",
            "database.instance_class is db.x99.large, whose memory is not known here",
        ),
    ),
    "names that AWS does not take": Refusal(
        fleet=replaced(("xai-production", "xai-production-of-nearly-everybody")),
        targets=("aws_lb.edge", "aws_lb_target_group.group"),
        words=(
            "The load balancer would be called xai-production-of-nearly-everybody-edge, 39 characters; AWS allows 32.",
            "would be called xai-production-of-nearly-everybody-explorers, 44 characters; AWS allows 32, of letters, digits and hyphens.",
        ),
    ),
    "more than CloudWatch and Backup take": Refusal(
        variables={
            "public_hosts": {"nodes": "api", "explorers": "explorer", **{name: name for name in CROWD}},
            "web": {name: {} for name in ["explorers", "prometheus", "grafana", *CROWD]},
            "backup": {"keep_days": 7, "lock_days": 1, "copy": False},
        },
        fleet=crowded,
        targets=("aws_cloudwatch_composite_alarm.headline", "aws_backup_plan.fleet"),
        words=(
            "xai-ops-production-trouble-edge would stand over",
            "alarms; CloudWatch allows 100. Split its row in alarms_composite.tf.",
            "is 7200; allowed with backups: 10800 or more",
        ),
    ),
    "a Redis that knows no IAM": Refusal(
        variables={"cache": {"node_type": "cache.t4g.small", "nodes": 1, "engine_version": "6.2", "snapshot_days": 0}},
        targets=("aws_elasticache_replication_group.cache",),
        words=("cache.engine_version is 6.2; allowed: 7.0 or later, which know users of IAM.",),
    ),
}
GOOD: Mapping[str, Any] = {
    "environment": "production",
    "domain": "xai.example.org",
    "hosted_zone_id": "Z0000000000TEST",
    "public_hosts": {"nodes": "api", "explorers": "explorer"},
    "node": {"instance_type": "m6i.large", "volume_gib": 20, "memory_mib": 3072, "cpu_units": 768},
    "web": {"explorers": {}, "prometheus": {}, "grafana": {}},
    "monthly_budget_usd": 1,
}


def tried(module: Path, refusal: Refusal, folder: Path) -> str:
    """What Terraform says of it, planned on the mocks of terraform/tests; nothing is expected there, so its errors are printed."""
    variables = {**GOOD, **refusal.variables}
    if refusal.fleet is not None:
        fleet = folder / "fleet.yaml"
        fleet.write_text(refusal.fleet(FLEET.read_text(encoding="utf-8")), encoding="utf-8")
        variables["fleet_file"] = str(fleet)
    done = planned(module, variables, refusal.targets)
    assert done.returncode != 0, done.stdout
    return in_one_line(done.stdout + done.stderr)


def planned(
    module: Path, variables: Mapping[str, Any], targets: Collection[str], more: str = ""
) -> subprocess.CompletedProcess[str]:
    """A plan on the mocks of terraform/tests; `more` stands in its run block."""
    values = "\n".join(f"    {name} = {json.dumps(value)}" for name, value in variables.items())
    options = f"  plan_options {{\n    target = [{', '.join(targets)}]\n  }}\n" if targets else ""
    mocks = 'mock_provider "aws" {\n  source = "./tests/mocks"\n}\nmock_provider "aws" {\n  alias  = "replica"\n  source = "./tests/mocks"\n}\n'
    test = module / "tests" / "refused.tftest.hcl"
    test.write_text(
        f'{mocks}run "refused" {{\n  command = plan\n  variables {{\n{values}\n  }}\n{options}{more}}}\n',
        encoding="utf-8",
    )
    try:
        return said(module, "test", "-no-color", f"-filter=tests/{test.name}")
    finally:
        test.unlink()


@needs_terraform
def test_what_the_fleet_file_leaves_out_has_the_functions_default(module: Path, tmp_path: Path) -> None:
    """One meaning: the defaults of the functions' model, of which Terraform reads the schema."""
    text = FLEET.read_text(encoding="utf-8")
    for line in (
        r"    architecture: amd64\n",
        r"    liveness: /  .*\n",
        r"      max_lag_blocks: .*\n",
        r", alarms: \[\]",
    ):
        text, count = re.subn(line, "", text)
        assert count, line
    sparse = tmp_path / "sparse.yaml"
    sparse.write_text(text, encoding="utf-8")
    group = load(sparse).groups["nodes"]
    condition = " && ".join(
        [
            f"local.fleet.groups.nodes.architecture == {json.dumps(group.architecture)}",
            f"local.fleet.groups.nodes.liveness == {json.dumps(group.liveness)}",
            f"local.fleet.groups.nodes.limits.max_lag_blocks == {group.limits.max_lag_blocks}",
            'length(local.services["xai-production-grafana-1"].alarms) == 0',
        ]
    )
    more = f'  assert {{\n    condition = {condition}\n    error_message = "another default"\n  }}\n'
    done = planned(module, {**GOOD, "fleet_file": str(sparse)}, ["terraform_data.fleet"], more)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_terraform
@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS.keys())
def test_refusal_says_what_was_found_and_what_is_allowed(refusal: Refusal, module: Path, tmp_path: Path) -> None:
    """Whoever made the mistake can mend it by what stands there."""
    output = tried(module, refusal, tmp_path)
    assert [words for words in refusal.words if words not in output] == [], output


@needs_terraform
def test_plan_itself_refuses_and_says_why(module: Path) -> None:
    """As people meet it: `terraform plan` ends with an error and the same words, before it asks AWS for anything."""
    done = said(
        module, "plan", "-no-color", "-target=terraform_data.fleet", "-var-file=environments/production.tfvars",
        "-var=replica_region=us-east-1", '-var=first_images={"bridges":"1.0.0"}',
    )  # fmt: skip
    output = in_one_line(done.stderr)
    assert done.returncode == 1
    assert (
        "replica_region is us-east-1, where the fleet itself runs: copies there would be lost with it. Name another region."
        in output
    )
    assert "first_images names bridges, which is no group of" in output


# ---- what the files say, read apart from Terraform


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block of a file; `address` is TYPE.NAME."""

    file: str
    address: str
    body: Mapping[str, Any]

    @property
    def type(self) -> str:
        """The resource's type."""
        return self.address.split(".")[0]

    @property
    def lifecycle(self) -> Mapping[str, Any]:
        """Its lifecycle block; empty without one."""
        found: list[Mapping[str, Any]] = self.body.get("lifecycle", [])
        return found[0] if found else {}


def unquoted(text: str) -> str:
    """A string or a block's label as it is meant; the reader leaves the quotes on."""
    return text.removeprefix('"').removesuffix('"')


def sources() -> list[Path]:
    """Each file of configuration: the root's, bootstrap's, and what the tests read stages with."""
    return sorted(path for path in MODULE.rglob("*.tf") if ".terraform" not in path.parts)


@cache
def parsed() -> Mapping[str, Mapping[str, Any]]:
    """File => what it says; read once, for it takes seconds."""
    return {str(path.relative_to(MODULE)): hcl2.loads(path.read_text(encoding="utf-8")) for path in sources()}


def blocks(kind: str) -> Iterator[Block]:
    """Blocks of one kind, with one label or two."""
    for file, content in parsed().items():
        for entry in content.get(kind, []):
            for label, inner in entry.items():
                name = unquoted(label)
                if kind in ("resource", "data"):
                    yield from (
                        Block(file=file, address=f"{name}.{unquoted(own)}", body=body) for own, body in inner.items()
                    )
                else:
                    yield Block(file=file, address=name, body=inner)


def strings(value: Any) -> Iterator[str]:
    """Every string below a value, comments left out."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from strings(each)
    elif isinstance(value, dict):
        for key, each in value.items():
            if key != "__comments__":
                yield from strings(each)


def resources() -> list[Block]:
    """Every resource."""
    return list(blocks("resource"))


def test_reader_sees_every_resource() -> None:
    """What follows would hold for no resource at all: a plain count of the text says as many."""
    counted = sum(len(re.findall(r'^resource "', path.read_text(encoding="utf-8"), re.MULTILINE)) for path in sources())
    assert len(resources()) == counted > 100


def test_what_keeps_data_cannot_be_destroyed() -> None:
    """`terraform destroy` is refused by each of them, and nothing else hides one of them: what depends on a thing is refused first."""
    kept = {block.address for block in resources() if block.type in KEEPS_DATA and block.address not in MAY_GO}
    held = {block.address for block in resources() if block.lifecycle.get("prevent_destroy") is True}
    assert held == kept
    assert set(MAY_GO) < {block.address for block in resources()}


def test_nothing_is_forced() -> None:
    """No bucket or repository is emptied, and no last snapshot left out, so that it can be destroyed."""
    attributes = ("force_destroy", "force_delete", "skip_final_snapshot")
    assert [
        block.address for block in resources() for name in attributes if block.body.get(name, False) is not False
    ] == []


def test_replaced_revisions_stay() -> None:
    """ECS goes back to no revision that was deregistered."""
    definitions = {
        block.address: block.body.get("skip_destroy")
        for block in resources()
        if block.type == "aws_ecs_task_definition"
    }
    assert definitions == {"aws_ecs_task_definition.node": True, "aws_ecs_task_definition.web": True}


def test_only_what_others_own_is_ignored() -> None:
    """ignore_changes hides drift: it stands where docs/aws.md says, and nowhere else."""
    ignored = {
        block.address: set(block.lifecycle["ignore_changes"])
        for block in resources()
        if "ignore_changes" in block.lifecycle
    }
    assert ignored == LEFT_TO_OTHERS


def test_nothing_else_is_open_to_the_world() -> None:
    """Addresses of everybody stand where OPEN_TO_THE_WORLD says why."""
    wide = {
        block.address
        for block in resources()
        if any(re.search(r"0\.0\.0\.0/0|::/0", text) for text in strings(block.body))
    }
    assert wide == set(OPEN_TO_THE_WORLD)
    (door,) = (block for block in resources() if block.address == "aws_vpc_security_group_ingress_rule.world")
    assert door.body["security_group_id"] == "${aws_security_group.alb.id}"
    elsewhere = [path.name for path in sources() if re.search(r"0\.0\.0\.0/0|::/0", path.read_text(encoding="utf-8"))]
    assert set(elsewhere) == {"network.tf", "security_groups.tf"}


def test_rules_stand_alone() -> None:
    """A rule inside a security group would take away those that stand alone, at every apply."""
    groups = [block for block in resources() if block.type in ("aws_security_group", "aws_default_security_group")]
    assert groups
    assert [block.address for block in groups if {"ingress", "egress"} & block.body.keys()] == []


def test_names_say_what_a_thing_is() -> None:
    """this, main and default say nothing."""
    named = [*resources(), *blocks("data")]
    assert [block.address for block in named if block.address.split(".")[-1] in ("this", "main", "default")] == []


def test_a_plan_is_the_same_tomorrow() -> None:
    """No clock and no chance: a plan without a change is empty."""
    written = {path.name: path.read_text(encoding="utf-8") for path in sources()}
    assert [
        name for name, text in written.items() if re.search(r"\b(timestamp|plantimestamp|uuid|bcrypt)\(", text)
    ] == []
    assert [block.address for block in resources() if block.type.startswith(("random_", "time_", "null_"))] == []


def test_every_variable_is_described_and_decided() -> None:
    """A variable that is not null by default says that it is never null: a caller's null would otherwise reach what cannot take it."""
    variables = list(blocks("variable"))
    assert len(variables) > 20
    assert [
        block.address
        for block in variables
        if not unquoted(block.body.get("description", "")) or "type" not in block.body
    ] == []
    optional = [block.address for block in variables if "default" in block.body and block.body["default"] is None]
    assert [
        block.address
        for block in variables
        if block.address not in optional and block.body.get("nullable") is not False
    ] == []


def test_every_output_is_described() -> None:
    """An output says what it is for."""
    outputs = list(blocks("output"))
    assert outputs
    assert [block.address for block in outputs if not unquoted(block.body.get("description", ""))] == []


@pytest.mark.parametrize("stage", STAGES)
def test_stage_has_its_files(stage: str) -> None:
    """A stage gives variables that exist, its own environment and domain, and a state of its own."""
    given = hcl2.loads((MODULE / "environments" / f"{stage}.tfvars").read_text(encoding="utf-8"))
    known = {block.address for block in blocks("variable") if block.file == "variables.tf"}
    assert {name for name in given if not name.startswith("__")} - known == set()
    assert unquoted(given["environment"]) == stage
    backend = hcl2.loads((MODULE / "environments" / f"{stage}.s3.tfbackend").read_text(encoding="utf-8"))
    assert unquoted(backend["key"]) == f"xai-ops/{stage}.tfstate"
    assert backend["use_lockfile"] is True
    assert backend["encrypt"] is True


# ---- the scanner


def test_every_skipped_check_has_a_reason() -> None:
    """`checkov:skip=CHECK:` is followed by words."""
    lines = [
        line for path in sources() for line in path.read_text(encoding="utf-8").splitlines() if "checkov:skip" in line
    ]
    assert lines
    assert [line for line in lines if not re.fullmatch(r"\s*#checkov:skip=CKV2?_[A-Z]+_\d+:\S.{15,}", line)] == []


@pytest.mark.skipif(
    not CHECKOV.exists() and not os.environ.get("CI"), reason="`make .venv-checkov/.ready` installs checkov"
)
def test_scanner_finds_nothing() -> None:
    """The scanner has no finding that is not answered where it arose."""
    done = subprocess.run(
        [CHECKOV, "--directory", "terraform", "--framework", "terraform", "--compact", "--quiet", "--skip-download"],
        cwd=ROOT, env={**os.environ, "LOG_LEVEL": "WARNING"}, capture_output=True, text=True, check=False, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
