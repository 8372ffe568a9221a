"""Logs, metrics and traces: one JSON line a step, no secrets, and nothing paid for what is off."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from chalicelib import observe

SAY = """
from chalicelib import observe
{code}
"""


def lines_of(code: str, **environment: str) -> list[dict[str, Any]]:
    """Run code in a process of its own, as Lambda would, and return the JSON lines that it wrote."""
    done = subprocess.run(
        [sys.executable, "-c", SAY.format(code=code)], capture_output=True, text=True, check=True, env=environment
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_line_is_json_with_event_and_fields() -> None:
    """The message is the event's name, facts are fields, and what was bound is in every line."""
    first, second = lines_of(
        'observe.bind(function="tick", rollout_id="r1", trace_id=None); observe.log("rollout_phase_changed", phase="BAKING")\n'
        'observe.alert("tick_failed", error="no")'
    )
    assert first["message"] == "rollout_phase_changed"
    assert (first["level"], first["function"], first["rollout_id"], first["phase"]) == ("INFO", "tick", "r1", "BAKING")
    assert "trace_id" not in first
    assert (second["message"], second["level"], second["rollout_id"]) == ("tick_failed", "ERROR", "r1")


def test_binding_anew_forgets_what_was_bound() -> None:
    """A warm Lambda must not carry one event's fields into the next."""
    (line,) = lines_of('observe.bind(group="nodes"); observe.bind(function="tick"); observe.log("tick_done")')
    assert "group" not in line


def test_field_named_like_a_log_record_attribute_is_kept() -> None:
    """Facts called `message` or `name` neither break the line nor hide the event."""
    (line,) = lines_of('observe.log("word_heard", message="m", name="n", level="l", args=[1])')
    assert (line["message"], line["level"]) == ("word_heard", "INFO")
    assert (line["message_"], line["name_"], line["level_"]) == ("m", "n", "l")


def test_log_level_silences_lines_and_metrics() -> None:
    """The sandbox's screen stays its own: at CRITICAL nothing is written."""
    code = 'observe.log("a"); observe.alert("b"); observe.count("C")'
    assert lines_of(code, XAI_OPS_LOG_LEVEL="CRITICAL") == []


def test_metric_is_in_embedded_metric_format() -> None:
    """CloudWatch reads the metric from the line itself; no call is made."""
    (line,) = lines_of('observe.count("EventMalformed", kind="ecr")', XAI_OPS_ENVIRONMENT="staging")
    (told,) = line["_aws"]["CloudWatchMetrics"]
    assert told["Namespace"] == "xai-ops"
    assert (line["EventMalformed"], line["kind"], line["environment"]) == ([1.0], "ecr", "staging")


@pytest.mark.parametrize(
    "secret",
    [
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_" + "a1" * 18,
        "github_pat_" + "a1" * 20,
        "xoxb-1234567890-abcdef",
        "Authorization: Bearer abcdefghijklmnop",
        "password=hunter2hunter2",
    ],
)
def test_secret_in_a_text_is_masked_wherever_it_stands(secret: str) -> None:
    """A token in an error's text, a list or a mapping never reaches a log or a ticket."""
    masked = observe.redact({"error": f"refused: {secret} said no", "more": [secret, {"deep": secret}]})
    assert secret.rsplit(maxsplit=1)[-1] not in json.dumps(masked)
    assert "refused: " in masked["error"]


@pytest.mark.parametrize("key", ["token", "github_token", "password", "client_secret", "Authorization", "api_key"])
def test_field_named_like_a_secret_is_masked(key: str) -> None:
    """Whatever the value looks like, a field of such a name is not shown."""
    assert observe.redact({key: "short"}) == {key: "[redacted]"}


@pytest.mark.parametrize(
    "text",
    ["image sha256:" + "ab" * 32, "token_secret", "arn:aws:ecs:us-east-1:123456789012:task/xai/abc", "height 12"],
)
def test_fact_is_not_masked(text: str) -> None:
    """Digests, ARNs and numbers are what people need to see."""
    assert observe.redact(text) == text


def test_nothing_is_imported_for_what_is_not_used() -> None:
    """Without a daemon and without a line, neither powertools nor the X-Ray SDK is paid for."""
    (line,) = lines_of(
        "import json, sys\n"
        "from chalicelib import observe_tracing\n"
        'observe.bind(function="tick")\n'
        'with observe_tracing.traced("handler"): pass\n'
        'names = ("aws_lambda_powertools", "aws_xray_sdk", "boto3", "pydantic")\n'
        'print(json.dumps({"found": [name for name in names if name in sys.modules]}))'
    )
    assert line == {"found": []}


def test_tracing_records_a_subsegment_when_there_is_a_daemon() -> None:
    """In a sampled request the block is a subsegment of Lambda's own segment."""
    (line,) = lines_of(
        "import json, sys\n"
        "from chalicelib import observe_tracing\n"
        'with observe_tracing.traced("handler"): pass\n'
        'print(json.dumps({"on": observe_tracing.tracing_is_on(), "sdk": "aws_xray_sdk" in sys.modules}))',
        AWS_XRAY_DAEMON_ADDRESS="127.0.0.1:2000",
        LAMBDA_TASK_ROOT="/var/task",
        _X_AMZN_TRACE_ID="Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1",
    )
    assert line == {"on": True, "sdk": True}
