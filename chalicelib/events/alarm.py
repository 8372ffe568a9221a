"""`CloudWatch Alarm State Change` -> AlarmChanged. EventBridge's shape only.

An alarm's direct Lambda action (`alarmData`) and its SNS message have other shapes and are refused by name: bind alarms
by an EventBridge rule.
Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html
"""

from __future__ import annotations

from typing import Any

from chalicelib.errors import BadEventError
from chalicelib.events.fields import moment, text, wrong
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
    return AlarmChanged(name=text(event, "detail", "alarmName"), state=state, at=moment(event, "time"))
