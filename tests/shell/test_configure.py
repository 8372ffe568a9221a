"""What Terraform made becomes the stage's configuration; what is not this stage's output changes nothing."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tools.configure import main
from tools.stages import ROOT, read_config

MADE: dict[str, Any] = {
    "environment": "staging",
    "subnet_ids": ["subnet-0a1", "subnet-0b2"],
    "security_group_ids": ["sg-0c3"],
    "environment_variables": {
        "XAI_OPS_TABLE": "ops-staging",
        "XAI_OPS_BUCKET": "ops-staging-210987654321",
        "XAI_OPS_TICK_QUEUE_ARN": "arn:aws:sqs:us-east-1:210987654321:xai-ops-staging-ticks",
        "XAI_OPS_TICK_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/210987654321/xai-ops-staging-ticks",
        "XAI_OPS_DEAD_QUEUE_ARN": "arn:aws:sqs:us-east-1:210987654321:xai-ops-staging-dead",
    },
}
ELSEWHERE = "arn:aws:sqs:eu-west-1:210987654321:xai-ops-staging-dead"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that was never configured."""
    (tmp_path / ".chalice").mkdir()
    shutil.copy(ROOT / ".chalice" / "config.json", tmp_path / ".chalice")
    return tmp_path


def configure(project: Path, output: Any, *more: str) -> int:
    """Give this output to the staging stage."""
    text = output if isinstance(output, str) else json.dumps(output)
    return main(["--stage", "staging", *more], source=io.StringIO(text), project=project)


def test_stage_gets_what_terraform_made_and_keeps_the_rest(project: Path) -> None:
    """Subnets, security group and names; the log level, the functions and the other stages stay."""
    before = read_config(project)
    assert configure(project, MADE) == 0
    after = read_config(project)
    stage = after["stages"]["staging"]
    assert (stage["subnet_ids"], stage["security_group_ids"]) == (["subnet-0a1", "subnet-0b2"], ["sg-0c3"])
    assert MADE["environment_variables"].items() <= stage["environment_variables"].items()
    assert stage["environment_variables"]["XAI_OPS_LOG_LEVEL"] == "INFO"
    assert stage["lambda_functions"] == before["stages"]["staging"]["lambda_functions"]
    assert after["stages"]["production"] == before["stages"]["production"]
    assert after["lambda_functions"] == before["lambda_functions"]


def test_second_run_changes_nothing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It may be repeated, and a check then finds nothing."""
    configure(project, MADE)
    capsys.readouterr()
    assert configure(project, MADE, "--check") == 0
    assert capsys.readouterr().out == "0 to change\n"


def test_check_says_each_difference_and_writes_nothing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For a pipeline that wants to know."""
    before = (project / ".chalice" / "config.json").read_text()
    assert configure(project, MADE, "--check") == 1
    assert 'stages.staging.security_group_ids: ["sg-00000000000000001"] -> ["sg-0c3"]' in capsys.readouterr().out
    assert (project / ".chalice" / "config.json").read_text() == before


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ({"chalice": {"value": MADE}}, "chalice is not known here; allowed: what the output `chalice` has"),
        (
            {**MADE, "environment_variables": {**MADE["environment_variables"], "XAI_OPS_DEAD_QUEUE_ARN": ELSEWHERE}},
            f"queue {ELSEWHERE} is not in us-east-1",
        ),
        ("", "is not what `terraform output -json chalice` prints"),
        ("{", "Invalid JSON"),
        ({**MADE, "environment": "production"}, "this is the output of production, and --stage is staging"),
        ({**MADE, "subnet_ids": []}, "subnet_ids is []; allowed: ids of subnets, one at least"),
        (
            {**MADE, "security_group_ids": ["default"]},
            'security_group_ids.0 is "default"; allowed: ids of security groups, one at least, each like sg-0123abcd',
        ),
        ({key: value for key, value in MADE.items() if key != "subnet_ids"}, "subnet_ids is missing"),
        (
            {**MADE, "environment_variables": {**MADE["environment_variables"], "XAI": "x"}},
            "environment_variables.XAI is not known here",
        ),
    ],
)
def test_wrong_output_is_told_and_changes_nothing(
    project: Path, capsys: pytest.CaptureFixture[str], output: Any, told: str
) -> None:
    """A stage is never half configured."""
    before = (project / ".chalice" / "config.json").read_text()
    assert configure(project, output) == 2
    assert told in capsys.readouterr().err
    assert (project / ".chalice" / "config.json").read_text() == before
