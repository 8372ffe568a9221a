"""What .chalice/config.json says of a stage, read for the tools. The one place with the account's own names.

`python -m tools.configure` writes there what Terraform made in your own account. Knows config.json. Must not know what the tools do with it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chalicelib.fleet.load import load
from chalicelib.fleet.model import Fleet

ROOT = Path(__file__).parent.parent
CONFIG = ROOT / ".chalice" / "config.json"
API_HANDLER = "api_handler"  # Chalice's name for the function behind the HTTP API


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage of the application: an environment of the fleet."""

    name: str
    app: str
    region: str
    account: str
    table: str
    tick_queue_arn: str
    dead_queue_arn: str
    bucket: str
    functions: tuple[str, ...]
    fleet: Fleet

    def function_name(self, function: str) -> str:
        """Lambda's name for a function. Source: Chalice names them APP-STAGE-NAME, and the HTTP handler APP-STAGE."""
        return f"{self.app}-{self.name}" + ("" if function == API_HANDLER else f"-{function}")


def read_config(project: Path = ROOT) -> dict[str, Any]:
    """The whole of a project's config.json."""
    config: dict[str, Any] = json.loads((project / ".chalice" / "config.json").read_text(encoding="utf-8"))
    return config


def read_stage(name: str) -> Stage:
    """One stage. Raises KeyError when config.json has none of that name."""
    config = read_config()
    stage: Mapping[str, Any] = config["stages"][name]
    variables: Mapping[str, str] = stage["environment_variables"]
    _, _, _, region, account, _ = variables["XAI_OPS_TICK_QUEUE_ARN"].split(":")
    return Stage(
        name=name,
        app=config["app_name"],
        region=region,
        account=account,
        table=variables["XAI_OPS_TABLE"],
        tick_queue_arn=variables["XAI_OPS_TICK_QUEUE_ARN"],
        dead_queue_arn=variables["XAI_OPS_DEAD_QUEUE_ARN"],
        bucket=variables["XAI_OPS_BUCKET"],
        functions=tuple(stage["lambda_functions"]),
        fleet=load(ROOT / "chalicelib" / "fleet" / f"{variables['XAI_OPS_ENVIRONMENT']}.yaml"),
    )


def stage_names() -> tuple[str, ...]:
    """The stages, in the order of config.json."""
    return tuple(read_config()["stages"])
