"""The step between Terraform and `chalice deploy`: what Terraform made is written into .chalice/config.json, never by hand.

    terraform -chdir=terraform output -json chalice | python -m tools.configure --stage staging [--check]

Writes the stage's subnets, security group and names, then the functions' policies, which carry the account. Repeating it changes
nothing. Exit status: 0 done or nothing to do, 1 with --check: something differs, 2 what came is not Terraform's output or not
this stage's; nothing is written then. Knows config.json and the output `chalice`. Must not know AWS.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chalicelib.fleet.load import load
from tools import policies
from tools.stages import ROOT, read_config, stage_names

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

SOURCE = "terraform output -json chalice"
QUEUE = r"^arn:aws:sqs:[a-z0-9-]+:\d{12}:[\w-]+$"
Text = Annotated[str, Field(min_length=1)]
# Key => what may stand there.
ALLOWED = {
    "subnet_ids": "ids of subnets, one at least, each like subnet-0123abcd",
    "security_group_ids": "ids of security groups, one at least, each like sg-0123abcd",
    "XAI_OPS_TICK_QUEUE_ARN": "the ARN of a queue",
    "XAI_OPS_DEAD_QUEUE_ARN": "the ARN of a queue",
    "XAI_OPS_TICK_QUEUE_URL": "the URL of a queue",
}


class Variables(BaseModel):
    """The environment variables that name what the functions stand on."""

    model_config = ConfigDict(extra="forbid")

    XAI_OPS_TABLE: Text
    XAI_OPS_BUCKET: Text
    XAI_OPS_TICK_QUEUE_ARN: Annotated[str, Field(pattern=QUEUE)]
    XAI_OPS_TICK_QUEUE_URL: Annotated[str, Field(pattern=r"^https?://")]
    XAI_OPS_DEAD_QUEUE_ARN: Annotated[str, Field(pattern=QUEUE)]


class Output(BaseModel):
    """Terraform's output `chalice`."""

    model_config = ConfigDict(extra="forbid")

    environment: Text
    subnet_ids: Annotated[list[Annotated[str, Field(pattern=r"^subnet-[0-9a-f]+$")]], Field(min_length=1)]
    security_group_ids: Annotated[list[Annotated[str, Field(pattern=r"^sg-[0-9a-f]+$")]], Field(min_length=1)]
    environment_variables: Variables


class WrongOutputError(Exception):
    """What came is not what this stage's Terraform prints."""


def read_output(text: str, stage: str) -> Output:
    """Terraform's output of this stage. Raises WrongOutputError with a line for each thing that is wrong."""
    try:
        output = Output.model_validate_json(text)
    except ValidationError as error:
        told = "\n".join(_told(each) for each in error.errors())
        raise WrongOutputError(f"this is not what `{SOURCE}` prints of an applied stage:\n{told}") from error
    if output.environment != stage:
        text = f"this is the output of {output.environment}, and --stage is {stage}: give one of the two"
        raise WrongOutputError(text)
    region = load(ROOT / "chalicelib" / "fleet" / f"{stage}.yaml").region
    for queue in (
        output.environment_variables.XAI_OPS_TICK_QUEUE_ARN,
        output.environment_variables.XAI_OPS_DEAD_QUEUE_ARN,
    ):
        if queue.split(":")[3] != region:
            raise WrongOutputError(
                f"queue {queue} is not in {region}, where the fleet file of {stage} runs: apply that stage first"
            )
    return output


def _told(error: ErrorDetails) -> str:
    """Where something is wrong, what was found, and what is allowed."""
    place = ".".join(map(str, error["loc"]))
    match error["type"]:
        case "missing":
            return f"{place} is missing"
        case "extra_forbidden":
            return f"{place} is not known here; allowed: what the output `chalice` has (its name stands after -json)"
        case "json_invalid":
            return f"{error['msg']}; allowed: JSON"
    allowed = next((ALLOWED[key] for key in error["loc"] if key in ALLOWED), error["msg"])
    return f"{place} is {json.dumps(error['input'])}; allowed: {allowed}"


def configured(config: Mapping[str, Any], stage: str, output: Output) -> dict[str, Any]:
    """config.json with this stage as Terraform made it; all else stays as it is."""
    settings = config["stages"][stage]
    variables = {**settings["environment_variables"], **output.environment_variables.model_dump()}
    made = output.model_dump(include={"subnet_ids", "security_group_ids"})
    return {
        **config,
        "stages": {**config["stages"], stage: {**settings, **made, "environment_variables": variables}},
    }


def differences(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """One line for each value that differs."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in after.items():
            yield from differences(before.get(key), value, f"{path}.{key}".lstrip("."))
    elif before != after:
        yield f"{path}: {json.dumps(before)} -> {json.dumps(after)}"


def main(arguments: Sequence[str] | None = None, *, source: TextIO = sys.stdin, project: Path = ROOT) -> int:
    """Write what Terraform made into config.json, and the policies."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.configure", description="Reads `terraform output -json chalice`."
    )
    parser.add_argument("--stage", required=True, choices=stage_names())
    parser.add_argument("--check", action="store_true", help="say what would be changed, and change nothing")
    options = parser.parse_args(arguments)
    before = read_config(project)
    try:
        after = configured(before, options.stage, read_output(source.read(), options.stage))
    except WrongOutputError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    changed = list(differences(before, after))
    print("\n".join([*changed, f"{len(changed)} {'to change' if options.check else 'changed'}"]))
    if options.check:
        return 1 if changed else 0
    if changed:
        path = project / ".chalice" / "config.json"
        path.write_text(json.dumps(after, indent=2) + "\n", encoding="utf-8")
    return policies.main([]) if project == ROOT else 0


if __name__ == "__main__":
    raise SystemExit(main())
