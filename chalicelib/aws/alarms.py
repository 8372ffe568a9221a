"""CloudWatch alarms, read only. Knows DescribeAlarms. Must not know what an alarm means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chalicelib.aws.errors import translated
from chalicelib.aws.session import Aws
from chalicelib.events.signals import AlarmChanged

PAGE = 100  # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_DescribeAlarms.html


TYPES = ["MetricAlarm", "CompositeAlarm"]  # without it AWS leaves composite alarms out


class CloudWatchAlarms:
    """The port `Alarms`."""

    def __init__(self, aws: Aws) -> None:
        """Read alarms of this region."""
        self._aws = aws

    def states(self, names: Sequence[str]) -> Mapping[str, str]:
        """The state of each alarm that exists, composite alarms too."""
        found: dict[str, str] = {}
        for start in range(0, len(names), PAGE):
            with translated():
                answer = self._aws.client("cloudwatch").describe_alarms(
                    AlarmNames=list(names[start : start + PAGE]),
                    AlarmTypes=TYPES,
                    MaxRecords=PAGE,
                )
            for alarm in (*answer.get("MetricAlarms", ()), *answer.get("CompositeAlarms", ())):
                found[alarm["AlarmName"]] = alarm["StateValue"]
        return found

    def firing(self) -> tuple[AlarmChanged, ...]:
        """Every alarm that is in ALARM, as the event of that change would have told it; the newest change first."""
        found: list[AlarmChanged] = []
        with translated():
            pages = self._aws.client("cloudwatch").get_paginator("describe_alarms")
            for page in pages.paginate(StateValue="ALARM", AlarmTypes=TYPES, MaxRecords=PAGE):
                found += [
                    _changed(alarm) for alarm in (*page.get("MetricAlarms", ()), *page.get("CompositeAlarms", ()))
                ]
        return tuple(sorted(found, key=lambda alarm: alarm.at, reverse=True))


def _changed(alarm: Mapping[str, Any]) -> AlarmChanged:
    return AlarmChanged(
        arn=alarm["AlarmArn"],
        name=alarm["AlarmName"],
        state=alarm["StateValue"],
        at=alarm.get("StateTransitionedTimestamp") or alarm["StateUpdatedTimestamp"],
        description=alarm.get("AlarmDescription", ""),
        reason=alarm.get("StateReason", ""),
        namespace=alarm.get("Namespace"),
        metric=alarm.get("MetricName"),
        dimensions=tuple((each["Name"], each["Value"]) for each in alarm.get("Dimensions", ())),
        stat=alarm.get("Statistic") or alarm.get("ExtendedStatistic") or "Average",
        period=alarm.get("Period", 60),
        threshold=alarm.get("Threshold"),
    )
