"""What moto lacks and the sandbox needs, each a small named patch of one moto method; `close_gaps` returns the undoing.

sqs_delay        delays run on the sandbox's clock
alarm_events     SetAlarmState sends `CloudWatch Alarm State Change`
target_health    the data plane's probes answer DescribeTargetHealth
atomic_writes    a conditional write looks and writes in one step, as DynamoDB does; moto's threads may come between
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any

from moto.apigateway.models import APIGatewayBackend
from moto.awslambda.models import LambdaBackend
from moto.cloudwatch.models import CloudWatchBackend
from moto.core.utils import unix_time_millis
from moto.dynamodb.models import DynamoDBBackend
from moto.elbv2.models import ELBv2Backend, FakeHealthStatus
from moto.sqs.models import Message

from sandbox.clock import ScaledClock
from sandbox.dataplane.events import envelope


def close_gaps(
    clock: ScaledClock,
    region: str,
    publish: Callable[[dict[str, Any]], None],
    target_states: Callable[[str], list[dict[str, Any]]],
) -> Callable[[], None]:
    """Patch moto for this sandbox; call what it returns to undo."""
    undo = [
        _patch(Message, "delay", _sqs_delay(clock)),
        _patch(CloudWatchBackend, "set_alarm_state", _alarm_events(clock, region, publish)),
        _patch(ELBv2Backend, "describe_target_health", _target_health(target_states)),
        _patch(LambdaBackend, "list_event_source_mappings", _mapping_names()),
        _patch(APIGatewayBackend, "import_rest_api", _api_document(APIGatewayBackend.import_rest_api, 0)),
        atomic_writes(),
        _patch(APIGatewayBackend, "put_rest_api", _api_document(APIGatewayBackend.put_rest_api, 1)),
    ]

    def restore() -> None:
        for step in undo:
            step()

    return restore


def atomic_writes() -> Callable[[], None]:
    """Let one write of moto's DynamoDB begin when the one before it has ended; call what it returns to undo."""
    lock = threading.RLock()

    def alone(plain: Callable[..., Any]) -> Callable[..., Any]:
        def write(self: DynamoDBBackend, *arguments: Any, **more: Any) -> Any:
            with lock:
                return plain(self, *arguments, **more)

        return write

    names = ("put_item", "update_item", "delete_item", "transact_write_items")
    undo = [_patch(DynamoDBBackend, name, alone(getattr(DynamoDBBackend, name))) for name in names]

    def restore() -> None:
        for step in undo:
            step()

    return restore


def _patch(owner: type, name: str, replacement: Callable[..., Any]) -> Callable[[], None]:
    known = getattr(owner, name)
    setattr(owner, name, replacement)
    return lambda: setattr(owner, name, known)


def _sqs_delay(clock: ScaledClock) -> Callable[..., None]:
    def delay(self: Message, delay_seconds: int) -> None:
        self.delayed_until = unix_time_millis() + clock.to_real(delay_seconds) * 1000

    return delay


def _alarm_events(clock: ScaledClock, region: str, publish: Callable[[dict[str, Any]], None]) -> Callable[..., None]:
    plain = CloudWatchBackend.set_alarm_state

    def set_alarm_state(
        self: CloudWatchBackend, alarm_name: str, reason: str, reason_data: str, state_value: str
    ) -> None:
        before = self.alarms[alarm_name].state_value if alarm_name in self.alarms else "INSUFFICIENT_DATA"
        plain(self, alarm_name, reason, reason_data, state_value)
        alarm, now = self.alarms[alarm_name], clock()
        detail = {
            "alarmName": alarm_name,
            "state": {
                "value": state_value,
                "reason": reason,
                "reasonData": reason_data or "{}",
                "timestamp": _stamp(now),
            },
            "previousState": {"value": before, "reason": "", "timestamp": _stamp(now)},
            "configuration": {"description": alarm.description or "", "metrics": []},
        }
        publish(envelope("aws.cloudwatch", "CloudWatch Alarm State Change", detail, [alarm.alarm_arn], region, now))

    return set_alarm_state


def _target_health(target_states: Callable[[str], list[dict[str, Any]]]) -> Callable[..., list[FakeHealthStatus]]:
    def describe_target_health(
        self: ELBv2Backend,
        target_group_arn: str,
        targets: list[dict[str, Any]],
    ) -> list[FakeHealthStatus]:
        return [
            FakeHealthStatus(
                shown["Target"]["Id"],
                str(shown["Target"]["Port"]),
                shown["HealthCheckPort"],
                shown["TargetHealth"]["State"],
            )
            for shown in target_states(target_group_arn)
        ]

    return describe_target_health


def _mapping_names() -> Callable[..., Any]:
    plain = LambdaBackend.list_event_source_mappings

    def list_event_source_mappings(self: LambdaBackend, event_source_arn: str, function_name: str) -> list[Any]:
        found = plain(self, event_source_arn, "")
        wanted = (function_name or "").rsplit(":", 1)[-1]
        return [mapping for mapping in found if not wanted or mapping.function_name.rsplit(":", 1)[-1] == wanted]

    return list_event_source_mappings


def _api_document(plain: Callable[..., Any], position: int) -> Callable[..., Any]:
    """Rewrite the head of the document that stands at this place of the arguments."""

    def taken(self: APIGatewayBackend, *arguments: Any, **more: Any) -> Any:
        document = more["api_doc"] if "api_doc" in more else arguments[position]
        if document.pop("swagger", None):
            document["openapi"] = "3.0.0"
        document["info"].setdefault("description", "")
        return plain(self, *arguments, **more)

    return taken


def _stamp(now: datetime) -> str:
    return f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03}+0000"
