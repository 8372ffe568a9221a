"""The base infrastructure of one stage as Terraform builds it: terraform/ as it is, applied to the sandbox's cloud.

What stands in for AWS' own side is put beside a copy of the module, never into it: a local state, and a provider that does not try
a call twenty-five times. What people do by hand is done here by hand: the zone of the domain, the values of secrets.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sandbox.ground import Ground
from sandbox.infra_gaps import close_infra_gaps
from sandbox.world import World

ROOT = Path(__file__).parent.parent
MODULE = ROOT / "terraform"
BESIDE = (".chalice", "chalicelib/fleet", "fence")  # what the module reads outside its own folder
MOTO = {"MOTO_IAM_LOAD_MANAGED_POLICIES": "true", "MOTO_ACM_VALIDATION_WAIT": "0"}
# Plain Terraform looks into Terraform's own folders of providers; some machines carry them under /opt.
MIRRORS = tuple(Path("/opt").glob("*/registry.terraform.io"))
OVERRIDE = """
terraform {
  backend "local" {}
}

provider "aws" {
  max_retries       = 2
  s3_use_path_style = true
}

provider "aws" {
  alias             = "replica"
  max_retries       = 2
  s3_use_path_style = true
}
"""


class TerraformError(Exception):
    """A command of Terraform failed; the message is what it said."""


def find_terraform() -> str | None:
    """The program, None where there is none."""
    return shutil.which("terraform")


def terraform_environment(endpoint: str | None = None) -> dict[str, str]:
    """The environment in which Terraform talks to nobody but this endpoint."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("TF_CLI_CONFIG", "AWS_"))}
    mine = {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_EC2_METADATA_DISABLED": "true",
        "CHECKPOINT_DISABLE": "1",
        "TF_IN_AUTOMATION": "1",
        "TF_INPUT": "0",
    }
    if endpoint:
        mine["AWS_ENDPOINT_URL"] = endpoint
    if MIRRORS and "TF_CLI_ARGS_init" not in os.environ:
        mine["TF_CLI_ARGS_init"] = f"-plugin-dir={MIRRORS[0].parent}"
    return {**kept, **mine}


def copy_module(target: Path, fleet_file: Path | None = None) -> Path:
    """A copy of the module and of what it reads; returns its folder. The copy's state is local."""
    for name in BESIDE:
        shutil.copytree(ROOT / name, target / name, dirs_exist_ok=True, ignore=shutil.ignore_patterns("deploy*"))
    module = target / "terraform"
    shutil.copytree(MODULE, module, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"))
    if fleet_file is not None:
        for known in (target / "chalicelib" / "fleet").glob("*.yaml"):
            if known.name == fleet_file.name:
                shutil.copy(fleet_file, known)
    (module / "sandbox_override.tf").write_text(OVERRIDE, encoding="utf-8")
    return module


class Terraform:
    """Commands on one copy of the module, for one stage."""

    def __init__(self, module: Path, stage: str, endpoint: str | None) -> None:
        """Nothing is run until `init`."""
        self.module, self.stage, self._environment = module, stage, terraform_environment(endpoint)
        self.variables: dict[str, Any] = {}

    def init(self) -> None:
        """Find the provider."""
        self.run("init", "-no-color")

    def apply(self) -> None:
        """Build what the module says."""
        self.run("apply", "-no-color", "-auto-approve", "-parallelism=30", *self.given())

    def plan(self, *, refresh: bool = True) -> dict[str, Any]:
        """What another apply would do, as Terraform's JSON describes it."""
        self.run("plan", "-no-color", "-out=plan.bin", f"-refresh={json.dumps(refresh)}", *self.given())
        plan: dict[str, Any] = json.loads(self.run("show", "-json", "plan.bin"))
        return plan

    def output(self, name: str) -> str:
        """An output as JSON."""
        return self.run("output", "-json", name)

    def run(self, *arguments: str) -> str:
        """Run one command; returns what it printed. Raises TerraformError."""
        done = subprocess.run(
            ["terraform", *arguments], cwd=self.module, env=self._environment, capture_output=True, text=True, check=False,
            timeout=900,
        )  # fmt: skip
        if done.returncode != 0:
            raise TerraformError(f"terraform {arguments[0]} ended with {done.returncode}:\n{done.stderr}")
        return done.stdout

    def given(self) -> list[str]:
        """The options that name the stage's variables, and ours."""
        path = self.module / "given.tfvars.json"
        path.write_text(json.dumps(self.variables), encoding="utf-8")
        return [f"-var-file=environments/{self.stage}.tfvars", f"-var-file={path.name}"]


class TerraformGround(Ground):
    """A stage's base infrastructure, built by Terraform."""

    def __init__(self, world: World) -> None:
        """Apply a copy of the module in the sandbox's folder; moto gets what the provider needs of it."""
        super().__init__(world.cloud.url, world.fleet)
        self._cloud = world.cloud
        os.environ.update(MOTO)
        self._restore = close_infra_gaps(lambda name: tuple(name.split("/")[1:]) in world.plane.services)
        self.terraform = Terraform(
            copy_module(world.root / "terraform", world.fleet_file), world.fleet.environment, self.url
        )

    def apply(self) -> None:
        """Apply; when that fails it is also said whether the sandbox's cloud broke. Raises TerraformError."""
        try:
            self.terraform.apply()
        except TerraformError as error:
            broken = self._cloud.failures()
            raise TerraformError(
                f"{error}\nThe cloud itself failed {len(broken)} times:\n" + "\n".join(broken[-5:])
            ) from error

    def leave(self) -> None:
        """Moto is as it was."""
        self._restore()
        for key in MOTO:
            os.environ.pop(key, None)

    def lay(self) -> None:
        """Apply the module; services wait for their groups' first images."""
        self.terraform.init()
        zone = self.client("route53").create_hosted_zone(Name="xai.example.org", CallerReference="1")
        self.terraform.variables = {"hosted_zone_id": zone["HostedZone"]["Id"].rsplit("/", 1)[-1]}
        self.apply()
        self._put_secrets()
        cloudwatch = self.client("cloudwatch")
        for page in cloudwatch.get_paginator("describe_alarms").paginate():
            for alarm in page["MetricAlarms"]:
                cloudwatch.set_alarm_state(AlarmName=alarm["AlarmName"], StateValue="OK", StateReason="sandbox starts")

    def deploy(self, stable: Mapping[str, str]) -> None:
        """The services, each on its group's stable image."""
        self.terraform.variables["first_images"] = {group: image.rsplit("@", 1)[-1] for group, image in stable.items()}
        self.apply()

    def _put_secrets(self) -> None:
        secrets, tokens = self.client("secretsmanager"), self._tokens()
        for page in secrets.get_paginator("list_secrets").paginate():
            for secret in page["SecretList"]:
                value = json.dumps({"token": tokens[secret["Name"]]}) if secret["Name"] in tokens else "0" * 32
                secrets.put_secret_value(SecretId=secret["ARN"], SecretString=value)
