"""Events as AWS documents them become signals; anything else is refused with field, finding and expectation."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.errors import BadEventError
from chalicelib.events.alarm import alarm_changed
from chalicelib.events.ecr import image_pushed
from chalicelib.events.ecs import deployment_changed, task_changed
from chalicelib.events.signals import AlarmChanged, ImagePushed, ServiceChanged

DATA = Path(__file__).parent / "data"
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
DIGEST = "sha256:7f5b2640fe6fb4f46592dfd3410c4a79dac4f89e4782432e0378abcd12340000"
SERVICE = ServiceChanged(cluster="xai-staging", service="xai-staging-node-1")
READERS: dict[str, Callable[[Any], Any]] = {
    "ecr_push": image_pushed,
    "ecs_deployment_failed": deployment_changed,
    "ecs_task_stopped": task_changed,
    "alarm_metric": alarm_changed,
}


def event(name: str) -> dict[str, Any]:
    """An event from data/."""
    loaded: dict[str, Any] = json.loads((DATA / f"{name}.json").read_text())
    return loaded


def changed(name: str, path: str, value: Any) -> dict[str, Any]:
    """An event with one field changed, or taken out where the value is `...`."""
    whole = event(name)
    *way, last = path.split("/")
    part = whole
    for key in way:
        part = part[key]
    if value is ...:
        del part[last]
    else:
        part[last] = value
    return whole


def test_push_becomes_a_signal() -> None:
    """Repository, digest, tag and moment; nothing else of the event is used."""
    expected = ImagePushed(repository="xai/node", digest=DIGEST, tag="2.1.0", pushed_at=NOON)
    assert image_pushed(event("ecr_push")) == expected


@pytest.mark.parametrize("untagged", [event("ecr_push_without_tag"), changed("ecr_push", "detail/image-tag", "")])
def test_push_without_tag_is_a_push_without_tag(untagged: dict[str, Any]) -> None:
    """Children of an index and attestations are pushed without one."""
    signal = image_pushed(untagged)
    assert signal is not None
    assert signal.tag is None


@pytest.mark.parametrize("name", ["ecr_push_failed", "ecr_delete", "ecr_archived"])
def test_other_image_action_is_no_signal(name: str) -> None:
    """Documented, and nothing to roll out."""
    assert image_pushed(event(name)) is None


def test_moment_with_an_offset_is_utc() -> None:
    """Every moment in this system is UTC."""
    signal = image_pushed(changed("ecr_push", "time", "2026-01-31T14:00:00+02:00"))
    assert signal is not None
    assert (signal.pushed_at, signal.pushed_at.tzinfo) == (NOON, UTC)


@pytest.mark.parametrize("name", ["ecs_deployment_in_progress", "ecs_deployment_failed", "ecs_deployment_rolling_back"])
def test_deployment_event_names_its_service(name: str) -> None:
    """Whatever happened to the deployment, the tick looks itself."""
    assert deployment_changed(event(name)) == SERVICE


def test_stopped_task_names_its_service() -> None:
    """The earliest sign of a bad release."""
    assert task_changed(event("ecs_task_stopped")) == SERVICE


def test_lone_task_is_no_signal() -> None:
    """A task that no service started, such as our own smoke."""
    assert task_changed(event("ecs_task_stopped_alone")) is None


def test_metric_alarm_becomes_a_signal_with_its_numbers() -> None:
    """What crossed which limit, and when it did."""
    name = "xai-production-node-1-height-flat"
    assert alarm_changed(event("alarm_metric")) == AlarmChanged(
        arn=f"arn:aws:cloudwatch:us-east-1:123456789012:alarm:{name}", name=name, state="ALARM", at=NOON,
        description="Height does not rise", namespace="xai", metric="chain_height_rate", stat="Maximum", period=300,
        reason="Threshold Crossed: 6 datapoints were not greater than the threshold (0.0).",
        dimensions=(("service", "xai-production-node-1"),), threshold=0.0, values=(0.0, 0.0, 0.0, 0.0, 0.0),
    )  # fmt: skip


def test_composite_alarm_becomes_a_signal_without_a_metric() -> None:
    """It has a rule of other alarms."""
    found = alarm_changed(event("alarm_composite"))
    assert (found.name, found.state, found.at) == ("xai-production-explorer-5xx", "OK", NOON)
    assert (found.metric, found.values, found.threshold) == (None, (), None)


@pytest.mark.parametrize("part", [None, 7, "x", [], {}, {"metrics": 3}, {"metrics": [{"metricStat": {"metric": 1}}]}])
def test_what_an_alarm_says_of_its_metric_is_never_needed(part: object) -> None:
    """An alarm on an expression, or of a shape that nobody has seen yet, is still an alarm."""
    raw = event("alarm_metric")
    raw["detail"]["configuration"] = part
    raw["detail"]["state"]["reasonData"] = part
    assert alarm_changed(raw).metric is None


@pytest.mark.parametrize("shape", [event("alarm_lambda_action"), {"AlarmName": "a", "NewStateValue": "ALARM"}])
def test_other_alarm_shape_is_refused_by_name(shape: dict[str, Any]) -> None:
    """An alarm bound the wrong way is answered with the right way."""
    with pytest.raises(BadEventError, match="bind the alarm by an EventBridge rule"):
        alarm_changed(shape)


@pytest.mark.parametrize(
    ("name", "path", "value", "says"),
    [
        ("ecr_push", "detail", ..., "detail.action-type is missing"),
        ("ecr_push", "detail", [], "detail is []; expected an object"),
        ("ecr_push", "detail/action-type", ..., "detail.action-type is missing; expected a text"),
        ("ecr_push", "detail/result", 1, "detail.result is 1; expected a text"),
        ("ecr_push", "detail/repository-name", "", "detail.repository-name is ''; expected a text"),
        ("ecr_push", "detail/image-digest", ..., "detail.image-digest is missing"),
        ("ecr_push", "detail/image-digest", DIGEST.upper(), "expected sha256: and 64 hex digits"),
        ("ecr_push", "detail/image-digest", DIGEST + "\n", "expected sha256: and 64 hex digits"),
        ("ecr_push", "detail/image-tag", ["2.1.0"], "detail.image-tag is ['2.1.0']; expected a text"),
        ("ecr_push", "detail/image-tag", False, "detail.image-tag is False; expected a text"),
        ("ecr_push", "time", "noon", "time is 'noon'; expected a moment such as"),
        ("ecr_push", "time", "2026-01-31T12:00:00", "expected a moment with its offset"),
        ("ecr_push", "time", "0001-01-01T00:00:00+10:00", "expected a moment"),
        ("ecr_push", "time", 1_769_860_800, "time is 1769860800; expected a text"),
        ("ecs_deployment_failed", "resources", [], "resources[0] is missing; expected arn:aws:ecs:"),
        ("ecs_deployment_failed", "resources", "x", "resources[0] is missing"),
        ("ecs_deployment_failed", "resources", [5], "resources[0] is 5"),
        ("ecs_deployment_failed", "resources", ["arn:aws:ecs:r:1:service/only"], "service/CLUSTER/SERVICE"),
        ("ecs_deployment_failed", "resources", ["arn:aws:ecs:r:1:service//b"], "service/CLUSTER/SERVICE"),
        ("ecs_task_stopped", "detail/group", ..., "detail.group is missing"),
        ("ecs_task_stopped", "detail/group", "service:", "expected service:NAME"),
        ("ecs_task_stopped", "detail/clusterArn", "xai", "detail.clusterArn is 'xai'; expected arn:aws:ecs:"),
        ("alarm_metric", "detail/state", "ALARM", "detail.state is 'ALARM'; expected an object with 'value'"),
        ("alarm_metric", "detail/state/value", "BROKEN", "expected one of OK, ALARM, INSUFFICIENT_DATA"),
        ("alarm_metric", "detail/alarmName", None, "detail.alarmName is missing"),
    ],
)
def test_malformed_event_names_field_finding_and_expectation(name: str, path: str, value: Any, says: str) -> None:
    """Whoever reads the log knows what came and what should have come."""
    with pytest.raises(BadEventError) as caught:
        READERS[name](changed(name, path, value))
    assert says in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("name", READERS)
def test_unknown_fields_are_tolerated(name: str) -> None:
    """AWS adds fields without notice."""
    extended = deepcopy(event(name))
    extended["new"] = {"a": 1}
    extended["detail"]["new"] = ["b"]
    assert READERS[name](extended) == READERS[name](event(name))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(READERS)), json_values)
def test_any_json_is_a_signal_nothing_or_a_bad_event(name: str, value: Any) -> None:
    """No event can fail a handler in any other way."""
    try:
        signal = READERS[name](value)
    except BadEventError:
        return
    assert signal is None or isinstance(signal, (ImagePushed, ServiceChanged, AlarmChanged))


@given(st.sampled_from(sorted(READERS)), st.data())
def test_any_field_replaced_is_a_signal_nothing_or_a_bad_event(name: str, data: st.DataObject) -> None:
    """An event that is right but for one field is read or refused, never anything else."""
    whole = event(name)
    part: dict[str, Any] = whole
    key = data.draw(st.sampled_from(sorted(part)))
    while isinstance(part[key], dict) and data.draw(st.booleans()):
        part = part[key]
        key = data.draw(st.sampled_from(sorted(part)))
    part[key] = data.draw(json_values | st.just([None]) | st.text(alphabet="0123456789-T:Z+", max_size=25))
    try:
        signal = READERS[name](whole)
    except BadEventError:
        return
    assert signal is None or isinstance(signal, (ImagePushed, ServiceChanged, AlarmChanged))
