"""`CloudWatch Alarm State Change` (the EventBridge shape only, not an alarm's direct Lambda action) -> AlarmChanged.

Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html
"""

from __future__ import annotations

from typing import Any

from chalicelib.errors import BadEventError
from chalicelib.events.fields import moment, text
from chalicelib.events.signals import AlarmChanged

STATES = ("OK", "ALARM", "INSUFFICIENT_DATA")


def alarm_changed(event: Any) -> AlarmChanged:
    """Read which alarm went where. Raises BadEventError."""
    state = text(event, "detail", "state", "value")
    if state not in STATES:
        raise BadEventError(f"detail.state.value is {state[:80]!r}; expected one of {', '.join(STATES)}")
    return AlarmChanged(name=text(event, "detail", "alarmName"), state=state, at=moment(event, "time"))
