"""`python -m sandbox` and its neighbours: wrong usage is told before anything is started."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests

from sandbox import __main__ as command
from sandbox import alarm, invoke, push
from sandbox.cloud import Cloud
from sandbox.dataplane.api import EcsApi
from sandbox.registry import Images
from sandbox.scenarios import SCENARIOS
from tests.nodes.loopback import nobody
from tests.sandbox.stage import REGION, staged

Said = pytest.CaptureFixture[str]
NOWHERE = f"http://{nobody()}"


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """The command sets what SIGTERM does; the test run keeps its own."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A cloud with an empty repository, and functions that answer or refuse."""

    def answer(function: str, payload: object, _kind: str) -> tuple[object, str | None]:
        match function.rsplit("-", 1)[-1]:
            case "status":
                return {"sent": payload}, None
            case "refuses":
                return {"error": "no such group"}, None
            case "fails":
                return {"errorType": "ValueError"}, "Unhandled"
        raise KeyError(function)

    with staged(tmp_path) as stage:
        images = Images(stage.clock, REGION, lambda _event: None)
        cloud = Cloud(EcsApi(stage.plane), images, stage.faults, answer, lambda *_: None)
        cloud.start()
        requests.post(f"{cloud.url}/moto-api/reset", timeout=10).raise_for_status()
        yield cloud.url
        cloud.stop()


def usage_error(argv: list[str], said: Said, main: object = command.main) -> str:
    """Run it; the exit code must be 2, and standard output empty."""
    try:
        code = main(argv)  # type: ignore[operator]
    except SystemExit as ended:  # argparse
        code = ended.code
    out, err = said.readouterr()
    assert (code, out) == (2, "")
    return err


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["--environment", "moon"], ["development", "staging", "production"]),
        (["--time-scale", "0"], ["--time-scale 0", "0.1 to 200"]),
        (["--time-scale", "5000"], ["--time-scale 5000", "0.1 to 200"]),
        (["--time-scale", "nan"], ["--time-scale nan", "0.1 to 200"]),
        (["--time-scale", "fast"], ["--time-scale", "fast"]),
        (["--scenario", "none"], ["'none'", "--list"]),
        (["--json"], ["--json goes with --push"]),
        (["--json", "--list", "--serve"], ["not allowed with"]),
        (["--push", "xai/node"], ["'xai/node'", "NAME:TAG"]),
        (["--push", "xai/node:"], ["NAME:TAG"]),
        (["--push", "nobody/knows:1.0"], ["nobody/knows", "xai/node", "xai/explorer"]),
        (["--push", "xai/node:latest", "--environment", "production"], ["'latest'", "tags that match"]),
        (["--push", "xai/node:2", "--image", "xai/node:2"], ["--image", "NAME:TAG='COMMAND'"]),
        (["--push", "xai/node:2", "--image", "xai/node:2="], ["the command of xai/node:2 is empty"]),
        (["--push", "xai/node:2", "--image", "xai/node:2=a 'b"], ["cannot be split", "xai/node:2"]),
        (["--push", "xai/node:2", "--image", "nobody/knows:1=x"], ["--image", "nobody/knows", "xai/node"]),
        (["--push", "xai/node:2", "--stable", "xai/node"], ["--stable", "NAME:TAG"]),
        (["--push", "xai/node:2", "--stable", "nobody/knows:1"], ["--stable", "nobody/knows", "xai/node"]),
        (["--push", "xai/node:2", "--fleet", "/no/such.yaml"], ["/no/such.yaml", "does not exist"]),
        (["--image", "xai/node:2=x"], ["--push", "--serve"]),
        (["--stable", "xai/node:2"], ["--push", "--serve"]),
        (["--fleet", "/no/such.yaml"], ["--push", "--serve"]),
        (["--push", ""], ["''", "NAME:TAG"]),
        (["--push", "xai/node:bad tag"], ["'xai/node:bad tag'", "NAME:TAG"]),
        (
            ["--push", "xai/node:2.1.0", "--image", "xai/node:2.1.O=x"],
            ["xai/node:2.1.O", "neither pushed nor --stable"],
        ),
        (
            ["--push", "xai/node:2", "--environment", "production", "--fleet", "chalicelib/fleet/staging.yaml"],
            ["--environment production", "is of staging"],
        ),
        (["surprise"], ["surprise"]),
    ],
)
def test_wrong_argument_is_refused_and_says_what_is_allowed(argv: list[str], named: list[str], capsys: Said) -> None:
    """Exit code 2, at once, and the message helps."""
    told = usage_error(argv, capsys)
    assert all(word in told for word in named), told
    assert "Traceback" not in told


def test_wrong_argument_leaves_no_folder_behind(capsys: Said) -> None:
    """A refused call has made nothing."""
    before = set(Path(tempfile.gettempdir()).glob("xai-sandbox-*"))
    usage_error(["--push", "xai/node:latest", "--environment", "production"], capsys)
    assert set(Path(tempfile.gettempdir()).glob("xai-sandbox-*")) <= before


def test_broken_fleet_file_is_refused(tmp_path: Path, capsys: Said) -> None:
    """The loader's own message, and the file's name."""
    path = tmp_path / "fleet.yaml"
    path.write_text("environment: staging\ngroups: [")
    told = usage_error(["--push", "xai/node:2", "--fleet", str(path)], capsys)
    assert "fleet.yaml" in told
    assert "Traceback" not in told


def test_list_names_every_scenario(capsys: Said) -> None:
    """A line each, with its end and its story."""
    assert command.main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(SCENARIOS)
    assert all(scenario.tells in line for scenario, line in zip(SCENARIOS.values(), lines, strict=True))


def test_module_runs_as_a_program() -> None:
    """`python -m sandbox` ends with the code that main returns, and tells on standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "sandbox", "--json"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "sandbox: --json goes with --push\n"


# ---------------------------------------------------------------------------------------------- sandbox.push


@pytest.mark.parametrize("image", ["xai/node", "xai/node=x", ":1=x", "xai/node:=x", "xai/node:1=", "xai/node:1='"])
def test_image_that_cannot_be_read_is_refused(image: str, capsys: Said) -> None:
    """Before anybody is called."""
    told = usage_error(["--endpoint", NOWHERE, image], capsys, push.main)
    assert told.startswith("could not push: ")


def test_command_may_have_equals_signs_and_quotes() -> None:
    """Everything behind the first = is the command, split as a shell would, without a shell."""
    read = push.parse_image("host/xai/node:2.1=run --fault 'a=b c' $HOME")
    assert read == ("host/xai/node", "2.1", ("run", "--fault", "a=b c", "$HOME"))


def test_push_to_nobody_is_an_error(capsys: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the address."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    assert NOWHERE in usage_error(["--endpoint", NOWHERE, "xai/node:1=x"], capsys, push.main)


def test_push_to_an_unknown_repository_is_an_error(address: str, capsys: Said) -> None:
    """ECR's own message."""
    assert "'xai/none' does not exist" in usage_error(["--endpoint", address, "xai/none:1=x"], capsys, push.main)


def test_push_tells_the_digest(address: str, capsys: Said) -> None:
    """One line: what was pushed, and its digest."""
    ecr = push.boto3.client(
        "ecr", endpoint_url=address, region_name=REGION, aws_access_key_id="testing", aws_secret_access_key="testing"
    )
    ecr.create_repository(repositoryName="xai/node")
    assert push.main(["--endpoint", address, "xai/node:1=run {port}"]) == 0
    name, digest = capsys.readouterr().out.split()
    assert name == "xai/node:1"
    assert ecr.describe_images(repositoryName="xai/node")["imageDetails"][0]["imageDigest"] == digest


# ---------------------------------------------------------------------------------------------- sandbox.invoke


def test_invoke_prints_the_answer(address: str, capsys: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON in on standard input, JSON out."""
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"group": "nodes"}'))
    assert invoke.main(["--endpoint", address, "status"]) == 0
    assert json.loads(capsys.readouterr().out) == {"sent": {"group": "nodes"}}


@pytest.mark.parametrize("name", ["refuses", "fails"])
def test_invoke_of_what_refuses_or_fails_ends_with_1(
    address: str, name: str, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is printed all the same."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert invoke.main(["--endpoint", address, name]) == 1
    assert "error" in capsys.readouterr().out


def test_invoke_without_json_or_function_is_wrong_usage(
    address: str, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2, on standard error."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("{"))
    assert "no JSON" in usage_error(["--endpoint", address, "status"], capsys, invoke.main)
    monkeypatch.setattr(sys, "stdin", io.StringIO("{}"))
    assert "could not invoke nothing" in usage_error(["--endpoint", address, "nothing"], capsys, invoke.main)


def an_alarm(address: str, name: str = "xai-staging-node-1-memory-high") -> Any:
    """CloudWatch of the sandbox with one alarm."""
    client = boto3.client(
        "cloudwatch", endpoint_url=address, region_name=REGION, aws_access_key_id="t", aws_secret_access_key="t"
    )
    client.put_metric_alarm(
        AlarmName=name, MetricName="MemoryUtilization", Namespace="AWS/ECS", Period=60, EvaluationPeriods=1, Threshold=85,
        Statistic="Maximum", ComparisonOperator="GreaterThanThreshold",
    )  # fmt: skip
    return client


def test_alarm_fires_with_the_numbers_that_decided(address: str) -> None:
    """Whoever tries incidents sees what CloudWatch would have said."""
    client = an_alarm(address)
    assert alarm.main(["--endpoint", address, "--region", REGION, "xai-staging-node-1-memory-high", "ALARM"]) == 0
    (told,) = client.describe_alarms()["MetricAlarms"]
    assert told["StateValue"] == "ALARM"
    assert json.loads(told["StateReasonData"])["recentDatapoints"][0] > 85


def test_alarm_that_does_not_exist_is_told_with_those_that_do(address: str, capsys: Said) -> None:
    """A typing mistake costs one look."""
    an_alarm(address)
    assert alarm.main(["--endpoint", address, "--region", REGION, "nope", "ALARM"]) == 2
    assert capsys.readouterr().err == "no alarm nope; there are: xai-staging-node-1-memory-high\n"


def test_alarm_of_a_sandbox_that_is_not_there_is_told(capsys: Said) -> None:
    """No traceback."""
    assert alarm.main(["--endpoint", NOWHERE, "nope", "ALARM"]) == 2
    assert "could not set the alarm" in capsys.readouterr().err
