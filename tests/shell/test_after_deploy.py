"""The last step of a deployment sets what Chalice cannot, is safe to repeat, and says what it changed."""

from __future__ import annotations

import pytest

from tests.fakes.deployment import FakeDeployment
from tools.after_deploy import main
from tools.policies import EVENT_FUNCTIONS
from tools.stages import Stage, read_stage


@pytest.fixture
def stage() -> Stage:
    """The staging stage of config.json."""
    return read_stage("staging")


@pytest.fixture
def deployed(stage: Stage) -> FakeDeployment:
    """The stage as `chalice deploy` left it."""
    return FakeDeployment(stage)


def test_fresh_deployment_gets_what_chalice_cannot_set(stage: Stage, deployed: FakeDeployment) -> None:
    """Loop, destinations, batch failures, and rule retries are as they should be afterwards."""
    assert main(["--stage", "staging"], clients=deployed.client) == 0
    assert [name for name, state in deployed.recursion.items() if state == "Allow"] == ["xai-ops-staging-rollout_tick"]
    assert deployed.mappings[0]["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    for function in EVENT_FUNCTIONS:
        config = deployed.invoke_configs[stage.function_name(function)]
        assert config["DestinationConfig"] == {"OnFailure": {"Destination": stage.dead_queue_arn}}
        (target,) = deployed.targets[f"{stage.function_name(function)}-event"]
        assert (target["Id"], target["Arn"]) == ("1", function)
        assert target["DeadLetterConfig"] == {"Arn": stage.dead_queue_arn}
        assert target["RetryPolicy"]["MaximumRetryAttempts"] > 0


def test_second_run_changes_nothing(deployed: FakeDeployment, capsys: pytest.CaptureFixture[str]) -> None:
    """What is as it should be is not written again."""
    main(["--stage", "staging"], clients=deployed.client)
    deployed.writes.clear()
    assert main(["--stage", "staging"], clients=deployed.client) == 0
    assert deployed.writes == []
    assert capsys.readouterr().out.endswith("0 changed\n")


def test_rules_wiped_by_the_next_deploy_are_put_back(deployed: FakeDeployment) -> None:
    """`chalice deploy` wipes a target's retries and dead queue every time; only those are written again."""
    main(["--stage", "staging"], clients=deployed.client)
    deployed.writes.clear()
    deployed.targets["xai-ops-staging-image_pushed-event"] = [{"Id": "1", "Arn": "image_pushed", "Input": "kept"}]
    main(["--stage", "staging"], clients=deployed.client)
    assert deployed.writes == ["put_targets"]
    assert deployed.targets["xai-ops-staging-image_pushed-event"][0]["Input"] == "kept"


def test_function_that_may_loop_without_need_is_forbidden_to(deployed: FakeDeployment) -> None:
    """Only the tick function may be part of a loop."""
    deployed.recursion["xai-ops-staging-status"] = "Allow"
    main(["--stage", "staging"], clients=deployed.client)
    assert deployed.recursion["xai-ops-staging-status"] == "Terminate"


def test_dry_run_says_and_writes_nothing(deployed: FakeDeployment, capsys: pytest.CaptureFixture[str]) -> None:
    """A dry run prints each change that a real run would make."""
    assert main(["--stage", "staging", "--dry-run"], clients=deployed.client) == 0
    said = capsys.readouterr().out
    assert deployed.writes == []
    assert "xai-ops-staging-rollout_tick: recursive loop Terminate -> Allow" in said
    assert said.rstrip().endswith("to change")


def test_missing_function_stops_before_anything_is_written(
    deployed: FakeDeployment, capsys: pytest.CaptureFixture[str]
) -> None:
    """A stage that is not deployed is told, and left as it is."""
    del deployed.targets["xai-ops-staging-alarm_changed-event"]
    assert main(["--stage", "staging"], clients=deployed.client) == 1
    assert deployed.writes == []
    assert "there is no rule xai-ops-staging-alarm_changed-event: run `chalice deploy` first" in capsys.readouterr().err


def test_tick_function_without_its_queue_is_told(deployed: FakeDeployment, capsys: pytest.CaptureFixture[str]) -> None:
    """Without its mapping the tick function would never wake."""
    deployed.mappings.clear()
    assert main(["--stage", "staging"], clients=deployed.client) == 1
    assert "does not read" in capsys.readouterr().err


def test_without_credentials_it_is_said_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback, and not the status of a deployment that is incomplete."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    assert main(["--stage", "staging"]) == 3
    assert capsys.readouterr().err == "could not complete staging: Unable to locate credentials; it may be run again\n"
