"""What moto's SQS, KMS and S3 lack."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

from moto.core.responses import ActionResult
from moto.s3.exceptions import ReplicationConfigurationNotFoundError
from moto.s3.responses import S3Response
from moto.sqs.models import Queue, SQSBackend

from sandbox.infra_gaps.tools import Undo, put, undo_all


def redrive_allow_policies() -> Undo:
    """Show RedriveAllowPolicy; setting one policy of a queue leaves the others; policies are shown without spaces."""
    plain, set_attributes = Queue.attributes.fget, Queue._set_attributes  # noqa: SLF001 - moto has no other door
    get_attributes = SQSBackend.get_queue_attributes

    def attributes(self: Queue) -> dict[str, Any]:
        found: dict[str, Any] = plain(self)
        if self.redrive_policy:
            found["RedrivePolicy"] = json.dumps(self.redrive_policy, separators=(",", ":"))
        allowed = getattr(self, "redrive_allow_policy", None)
        return {**found, "RedriveAllowPolicy": allowed} if allowed else found

    def keep_policy(self: Queue, attributes: dict[str, Any], now: float | None = None) -> None:
        policy = getattr(self, "policy", None)
        set_attributes(self, {"Policy": policy, **attributes} if policy else attributes, now)

    def get_queue_attributes(self: SQSBackend, queue_name: str, attribute_names: list[str]) -> dict[str, Any]:
        known = [name for name in attribute_names if name != "RedriveAllowPolicy"]
        found: dict[str, Any] = get_attributes(self, queue_name, known) if known else {}
        shown = {} if known == attribute_names else self.get_queue(queue_name).attributes
        return {**found, **{name: shown[name] for name in ("RedriveAllowPolicy",) if name in shown}}

    return undo_all(
        put(Queue, attributes=property(attributes), _set_attributes=keep_policy),
        put(SQSBackend, get_queue_attributes=get_queue_attributes),
    )


def bucket_events() -> Undo:
    """Show that a bucket's events go to EventBridge, which moto keeps and does not say."""
    plain = S3Response.get_bucket_notification

    def get_bucket_notification(self: S3Response) -> Any:
        answer = plain(self)
        known = self.backend.get_bucket_notification_configuration(self.bucket_name)
        if known is None or known.event_bridge is None:
            return answer
        status, headers, body = answer
        text = body if isinstance(body, str) else body.decode()
        shown = "<EventBridgeConfiguration></EventBridgeConfiguration></NotificationConfiguration>"
        bare = re.sub(r"(<NotificationConfiguration[^>]*)/>", r"\1></NotificationConfiguration>", text)
        return status, headers, bare.replace("</NotificationConfiguration>", shown)

    return put(S3Response, get_bucket_notification=get_bucket_notification)


def bucket_replication() -> Undo:
    """Show a replication rule as it was put; moto drops its filter and what it selects."""

    def get_bucket_replication(self: S3Response) -> Any:
        self.data["Action"] = "GetBucketReplication"
        known = self.backend.get_bucket_replication(self.bucket_name)
        if not known:
            raise ReplicationConfigurationNotFoundError(bucket_name=self.bucket_name)
        rules = [_replication_rule(rule) for rule in known["Rule"]]
        return self.serialized(ActionResult({"ReplicationConfiguration": {"Role": known["Role"], "Rules": rules}}))

    return put(S3Response, get_bucket_replication=get_bucket_replication)


def _replication_rule(rule: dict[str, Any]) -> dict[str, Any]:
    """A rule as it is kept (of XML, where everything is text, and an empty element is None) as botocore knows it."""
    shown = {key: value for key, value in rule.items() if value is not None}
    shown["Priority"] = int(rule["Priority"])
    if "Filter" in rule:
        shown["Filter"] = _replication_filter(rule["Filter"] or {"Prefix": ""})
    destination = copy.deepcopy(rule["Destination"])
    for part, key in (("ReplicationTime", "Time"), ("Metrics", "EventThreshold")):
        if key in (destination.get(part) or {}):
            destination[part][key] = {"Minutes": int(destination[part][key]["Minutes"])}
    return {**shown, "Destination": destination}


def _replication_filter(given: dict[str, Any]) -> dict[str, Any]:
    both = given.get("And")
    if both is None:
        return {key: value or "" for key, value in given.items()}
    tags = both.get("Tag", [])
    rest = {key: value or "" for key, value in both.items() if key != "Tag"}
    return {"And": {**rest, "Tags": tags if isinstance(tags, list) else [tags]}}
