"""`CloudWatch Alarm State Change` -> AlarmChanged. EventBridge's shape only.

An alarm's direct Lambda action (`alarmData`) and its SNS message have other shapes and are refused by name: bind alarms
by an EventBridge rule.
Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html
"""

from __future__ import annotations

import json
import math
from typing import Any, TypeGuard

from chalicelib.errors import BadEventError
from chalicelib.events.fields import moment, text, text_or_none, wrong
from chalicelib.events.signals import AlarmChanged

STATES = ("OK", "ALARM", "INSUFFICIENT_DATA")


def alarm_changed(event: Any) -> AlarmChanged:
    """Read which alarm went where. Raises BadEventError."""
    if isinstance(event, dict) and ("alarmData" in event or "AlarmName" in event):
        raise BadEventError(
            "this is an alarm's direct Lambda action or SNS message; expected the EventBridge event "
            "'CloudWatch Alarm State Change': bind the alarm by an EventBridge rule"
        )
    state = text(event, "detail", "state", "value")
    if state not in STATES:
        raise wrong(("detail", "state", "value"), state, f"one of {', '.join(STATES)}")
    detail = event["detail"]
    resources = event.get("resources")
    name = text(event, "detail", "alarmName")
    return AlarmChanged(
        arn=str(resources[0]) if isinstance(resources, list) and resources else name,
        name=name,
        state=state,
        at=moment(event, "detail", "state", "timestamp") if detail["state"].get("timestamp") else moment(event, "time"),
        reason=text_or_none(event, "detail", "state", "reason") or "",
        **_what_it_watches(detail.get("configuration")),
        **_numbers(detail["state"].get("reasonData")),
    )


def _what_it_watches(configuration: Any) -> dict[str, Any]:
    """The metric of a plain metric alarm; alarms on expressions, composite ones and other shapes just have none."""
    if not isinstance(configuration, dict):
        return {}
    known: dict[str, Any] = {"description": str(configuration.get("description") or "")}
    metrics = configuration.get("metrics")
    if not isinstance(metrics, list) or len(metrics) != 1 or not isinstance(metrics[0], dict):
        return known
    stat = metrics[0].get("metricStat")
    metric = stat.get("metric") if isinstance(stat, dict) else None
    if not isinstance(stat, dict) or not isinstance(metric, dict):
        return known
    dimensions = metric.get("dimensions")
    if isinstance(dimensions, dict):
        known["dimensions"] = tuple((str(key), str(value)) for key, value in dimensions.items())
    if isinstance(stat.get("period"), int):
        known["period"] = stat["period"]
    names = {"namespace": metric.get("namespace"), "metric": metric.get("name"), "stat": stat.get("stat")}
    return known | {key: value for key, value in names.items() if isinstance(value, str) and value}


def _numbers(reason_data: Any) -> dict[str, Any]:
    """Threshold and datapoints from `reasonData`, which is JSON in a text and differs by kind of alarm."""
    try:
        data = json.loads(reason_data) if isinstance(reason_data, str) else {}
    except (ValueError, RecursionError):
        return {}
    if not isinstance(data, dict):
        return {}
    points = data.get("recentDatapoints")
    values = [p for p in points if _is_number(p)] if isinstance(points, list) else []
    limit = data.get("threshold")
    return {"values": tuple(map(float, values[-5:])), "threshold": float(limit) if _is_number(limit) else None}


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
