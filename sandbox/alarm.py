"""Put an alarm of a running sandbox into a state: `python -m sandbox.alarm --endpoint URL NAME ALARM|OK|INSUFFICIENT_DATA`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import boto3
import requests
from botocore.exceptions import BotoCoreError, ClientError

from sandbox.ground import watched

STATES = ("ALARM", "OK", "INSUFFICIENT_DATA")


def set_alarm(cloudwatch: Any, name: str, state: str, now: datetime) -> None:
    """Put an alarm into a state, as CloudWatch would, with the numbers that decided."""
    _, _, limit, comparison = watched(name)
    crosses = (state == "ALARM") == (comparison == "GreaterThanThreshold")
    value = limit * 1.08 + 0.5 if crosses else limit * 0.7 - 0.5
    data = {
        "version": "1.0", "queryDate": f"{now:%Y-%m-%dT%H:%M:%S.000+0000}", "statistic": "Maximum", "period": 60,
        "recentDatapoints": [value], "threshold": limit,
    }  # fmt: skip
    said = f"Threshold Crossed: 1 datapoint [{value:g}] compared with the limit {limit:g}."
    cloudwatch.set_alarm_state(AlarmName=name, StateValue=state, StateReason=said, StateReasonData=json.dumps(data))


def put_history(cloudwatch: Any, name: str, now: datetime) -> None:
    """Three hours of an alarm's metric, within its limit until ten minutes ago."""
    namespace, metric, limit, comparison = watched(name)
    above = comparison == "GreaterThanThreshold"
    well, ill = (0.7, 1.08) if above else (12.0, 0.0)
    data = [
        {
            "MetricName": metric, "Dimensions": [{"Name": "Alarm", "Value": name}], "Timestamp": now - timedelta(minutes=minutes),
            "Value": limit * (ill if minutes < 10 else well + 0.05 * ((minutes * 7) % 5)),
        }
        for minutes in range(180, -1, -2)
    ]  # fmt: skip
    cloudwatch.put_metric_data(Namespace=namespace, MetricData=data)


def main(argv: Sequence[str] | None = None) -> int:
    """Let an alarm fire or clear in a sandbox that runs with --serve."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.alarm", description=__doc__)
    parser.add_argument("--endpoint", required=True, help="the sandbox's address, as --serve prints it")
    parser.add_argument("--region", default="us-east-1")
    parser.add_argument("name", help="the alarm, such as xai-staging-node-1-memory-high")
    parser.add_argument("state", choices=STATES)
    arguments = parser.parse_args(argv)
    try:
        cloudwatch = boto3.client(
            "cloudwatch", endpoint_url=arguments.endpoint, region_name=arguments.region,
            aws_access_key_id="testing", aws_secret_access_key="testing",
        )  # fmt: skip
        now = datetime.fromisoformat(requests.get(f"{arguments.endpoint}/_clock", timeout=10).text)
        if arguments.state == "ALARM":
            put_history(cloudwatch, arguments.name, now)
        set_alarm(cloudwatch, arguments.name, arguments.state, now)
    except cloudwatch.exceptions.ResourceNotFound:
        pages = cloudwatch.get_paginator("describe_alarms").paginate()
        names = sorted(alarm["AlarmName"] for page in pages for alarm in page["MetricAlarms"])
        print(f"no alarm {arguments.name}; there are: {', '.join(names)}", file=sys.stderr)
        return 2
    except (BotoCoreError, ClientError, requests.RequestException, ValueError) as error:
        print(f"could not set the alarm: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
