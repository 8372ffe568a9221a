"""CloudWatch alarms, read only. Knows DescribeAlarms. Must not know what an alarm means for a rollout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chalicelib.aws.errors import translated
from chalicelib.aws.session import Aws

PAGE = 100  # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_DescribeAlarms.html


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
                    AlarmTypes=["MetricAlarm", "CompositeAlarm"],  # without it AWS leaves composite alarms out
                    MaxRecords=PAGE,
                )
            for alarm in (*answer.get("MetricAlarms", ()), *answer.get("CompositeAlarms", ())):
                found[alarm["AlarmName"]] = alarm["StateValue"]
        return found
