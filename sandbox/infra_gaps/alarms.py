"""What moto's CloudWatch and Budgets lack."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from moto.budgets.exceptions import NotFoundException
from moto.budgets.models import Budget, Notification
from moto.budgets.responses import BudgetsResponse
from moto.cloudwatch.responses import CloudWatchResponse
from moto.core.responses import ActionResult, EmptyResult

from sandbox.infra_gaps.tools import Undo, asked_of, kept, now, put, undo_all


def composite_alarms() -> Undo:
    """PutCompositeAlarm, kept beside moto's metric alarms; DescribeAlarms shows composites only if asked to."""
    plain = CloudWatchResponse.describe_alarms

    def put_composite_alarm(self: CloudWatchResponse) -> ActionResult:
        asked = dict(self._get_params())
        known = self.cloudwatch_backend.alarms.get(asked["AlarmName"])
        alarm = self.cloudwatch_backend.put_metric_alarm(
            name=asked["AlarmName"], namespace=None, metric_name=None, comparison_operator=None,
            evaluation_periods=None, period=None, threshold=None, statistic=None,
            description=asked.get("AlarmDescription"), dimensions=[], alarm_actions=asked.get("AlarmActions", []),
            ok_actions=asked.get("OKActions", []), insufficient_data_actions=asked.get("InsufficientDataActions", []),
            actions_enabled=asked.get("ActionsEnabled", True), rule=asked["AlarmRule"], tags=asked.get("Tags", []),
        )  # fmt: skip
        alarm.actions_suppressor = asked.get("ActionsSuppressor")
        alarm.actions_suppressor_wait_period = asked.get("ActionsSuppressorWaitPeriod")
        alarm.actions_suppressor_extension_period = asked.get("ActionsSuppressorExtensionPeriod")
        if known is not None:
            alarm.state_value, alarm.state_reason = known.state_value, known.state_reason
        return EmptyResult()

    def describe_alarms(self: CloudWatchResponse) -> ActionResult:
        shown: dict[str, Any] = dict(plain(self).result)
        wanted = self._get_param("AlarmTypes", []) or ["MetricAlarm"]
        for kind in ("MetricAlarm", "CompositeAlarm"):
            if kind not in wanted:
                shown[f"{kind}s"] = []
        return ActionResult(shown)

    return put(CloudWatchResponse, put_composite_alarm=put_composite_alarm, describe_alarms=describe_alarms)


def budget_notifications() -> Undo:
    """Notifications with a state and subscribers, UpdateBudget, and tags."""
    plain = BudgetsResponse.create_budget

    def create_budget(self: BudgetsResponse) -> str:
        answer: str = plain(self)
        asked = asked_of(self)
        _budget_tags(self, _budget_arn(asked)).update(_pairs(asked.get("ResourceTags", [])))
        return answer

    def update_budget(self: BudgetsResponse) -> ActionResult:
        asked = asked_of(self)
        budget = _budget(self, asked | {"BudgetName": asked["NewBudget"]["BudgetName"]})
        budget.budget = {**asked["NewBudget"], "LastUpdatedTime": now()}
        return EmptyResult()

    def update_notification(self: BudgetsResponse) -> ActionResult:
        asked = asked_of(self)
        _notification(self, asked, "OldNotification").details = asked["NewNotification"]
        return EmptyResult()

    def describe_subscribers_for_notification(self: BudgetsResponse) -> ActionResult:
        return ActionResult({"Subscribers": _notification(self, asked_of(self)).subscribers})

    def create_subscriber(self: BudgetsResponse) -> ActionResult:
        asked = asked_of(self)
        notification = _notification(self, asked)
        notification.subscribers = [*notification.subscribers, asked["Subscriber"]]
        return EmptyResult()

    def delete_subscriber(self: BudgetsResponse) -> ActionResult:
        asked = asked_of(self)
        notification = _notification(self, asked)
        notification.subscribers = [each for each in notification.subscribers if each != asked["Subscriber"]]
        return EmptyResult()

    return undo_all(
        put(
            BudgetsResponse, create_budget=create_budget, update_budget=update_budget,
            update_notification=update_notification, create_subscriber=create_subscriber,
            delete_subscriber=delete_subscriber,
            describe_subscribers_for_notification=describe_subscribers_for_notification,
        ),
        _budget_tagging(),
    )  # fmt: skip


def _budget_tagging() -> Undo:
    def list_tags_for_resource(self: BudgetsResponse) -> ActionResult:
        tags = _budget_tags(self, asked_of(self)["ResourceARN"])
        return ActionResult({"ResourceTags": [{"Key": key, "Value": value} for key, value in tags.items()]})

    def tag_resource(self: BudgetsResponse) -> ActionResult:
        asked = asked_of(self)
        _budget_tags(self, asked["ResourceARN"]).update(_pairs(asked["ResourceTags"]))
        return EmptyResult()

    def untag_resource(self: BudgetsResponse) -> ActionResult:
        asked = asked_of(self)
        for key in asked["ResourceTagKeys"]:
            _budget_tags(self, asked["ResourceARN"]).pop(key, None)
        return EmptyResult()

    return put(
        BudgetsResponse,
        list_tags_for_resource=list_tags_for_resource,
        tag_resource=tag_resource,
        untag_resource=untag_resource,
    )


def _budget(response: BudgetsResponse, asked: dict[str, Any]) -> Budget:
    name = asked["BudgetName"]
    found: Budget | None = response.backend.budgets[asked["AccountId"]].get(name)
    if found is None:
        raise NotFoundException(f"Unable to get budget: {name} - the budget doesn't exist.")
    return found


def _notification(response: BudgetsResponse, asked: dict[str, Any], key: str = "Notification") -> Notification:
    def face(details: dict[str, Any]) -> dict[str, Any]:
        return {"ThresholdType": "PERCENTAGE", **{k: v for k, v in details.items() if k != "NotificationState"}}

    wanted = face(asked[key])
    for known in _budget(response, asked).notifications:
        if face(known.details) == wanted:
            found: Notification = known
            return found
    raise NotFoundException("Unable to get notification - the notification doesn't exist.")


def _budget_arn(asked: dict[str, Any]) -> str:
    return f"arn:aws:budgets::{asked['AccountId']}:budget/{asked['Budget']['BudgetName']}"


def _budget_tags(response: BudgetsResponse, arn: str) -> dict[str, str]:
    tags: dict[str, str] = kept(response.backend, "tags").setdefault(arn, {})
    return tags


def _pairs(tags: Iterable[dict[str, str]]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in tags}
