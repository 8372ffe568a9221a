"""What moto lacks and the sandbox needs, each a small named patch of one moto method; `close_gaps` returns the undoing.

sqs_delay        delays run on the sandbox's clock
alarm_events     SetAlarmState sends `CloudWatch Alarm State Change`
metric_image     GetMetricWidgetImage draws the datapoints that were put
target_health    the data plane's probes answer DescribeTargetHealth
atomic_writes    a conditional write looks and writes in one step, as DynamoDB does; moto's threads may come between
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from moto.apigateway.models import APIGatewayBackend
from moto.awslambda.models import LambdaBackend
from moto.cloudwatch.models import CloudWatchBackend
from moto.cloudwatch.responses import CloudWatchResponse
from moto.core.responses import ActionResult
from moto.core.utils import unix_time_millis
from moto.dynamodb.models import DynamoDBBackend
from moto.elbv2.models import ELBv2Backend, FakeHealthStatus
from moto.sqs.models import Message

from sandbox import graph
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
        metric_images(),
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


def metric_images() -> Callable[[], None]:
    """Let moto draw metrics; call what it returns to undo."""
    return _patch(CloudWatchResponse, "get_metric_widget_image", _metric_image)


def _patch(owner: type, name: str, replacement: Callable[..., Any]) -> Callable[[], None]:
    known = getattr(owner, name, None)
    setattr(owner, name, replacement)
    return lambda: setattr(owner, name, known) if known is not None else delattr(owner, name)


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
            "configuration": {"description": alarm.description or "", "metrics": _watched(alarm)},
        }
        publish(envelope("aws.cloudwatch", "CloudWatch Alarm State Change", detail, [alarm.alarm_arn], region, now))

    return set_alarm_state


def _watched(alarm: Any) -> list[dict[str, Any]]:
    if alarm.metric_name is None:
        return []
    dimensions = {each.name: each.value for each in alarm.dimensions}
    metric = {"namespace": alarm.namespace, "name": alarm.metric_name, "dimensions": dimensions}
    stat = {"metric": metric, "period": int(alarm.period), "stat": alarm.statistic}
    return [{"id": "m1", "metricStat": stat, "returnData": True}]


def _metric_image(self: CloudWatchResponse) -> ActionResult:
    widget = json.loads(self._get_param("MetricWidget"))
    since, until = graph.moment(widget["start"]), graph.moment(widget["end"])
    lines = []
    for namespace, name, *rest in widget["metrics"]:
        named = [each for each in rest if isinstance(each, str)]
        wanted = (namespace, name, dict(zip(named[::2], named[1::2], strict=True)))
        lines.append((name, sorted(_points(self.cloudwatch_backend, wanted, since, until))))
    return ActionResult({"MetricWidgetImage": graph.draw(widget, lines)})


def _points(
    backend: CloudWatchBackend, wanted: tuple[str, str, dict[str, str]], since: datetime, until: datetime
) -> Iterator[tuple[datetime, float]]:
    for datum in backend.metric_data:
        at = datum.timestamp.replace(tzinfo=datum.timestamp.tzinfo or UTC)
        its = (datum.namespace, datum.name, {each.name: each.value for each in datum.dimensions})
        if its == wanted and since <= at <= until:
            yield at, datum.value


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
