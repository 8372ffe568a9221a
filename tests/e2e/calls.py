"""Nothing that is never called: which scenario really makes each call that a policy allows.

Read by the end-to-end tests, which assert it of every scenario that is named here, and by the architecture tests, which
want a row for each of tools.policies.CALLS.
"""

from __future__ import annotations

from collections.abc import Mapping

# What these call, their ticks call; beside that, the ledger and the queue, and the sweep its own alarms and images.
TICKERS = frozenset(
    {"deployment_changed", "event_sweep", "image_pushed", "rollout_tick", "task_changed", "tick_schedule"}
)
MAIL_TEST = "test_mail_speaks_when_every_tracker_fails"

MADE_IN: Mapping[str, str] = {
    "cloudwatch:describe_alarms": "dies-later",
    "cloudwatch:get_metric_widget_image": "alarm-storm",
    "dynamodb:batch_get_item": "dies-later",
    "dynamodb:get_item": "dies-later",
    "dynamodb:query": "dies-later",
    "dynamodb:transact_write_items": "dies-later",
    "dynamodb:update_item": "dies-later",
    "ecr:batch_get_image": "dies-later",
    "ecr:describe_image_scan_findings": "dies-later",
    "ecr:describe_images": "events-lost",
    "ecr:describe_repositories": "dies-later",
    "ecr:get_download_url_for_layer": "dies-later",
    "ecr:put_image": "dies-later",
    "ecs:describe_service_deployments": "breaker-first",
    "ecs:describe_services": "dies-later",
    "ecs:describe_task_definition": "dies-later",
    "ecs:describe_tasks": "dies-later",
    "ecs:list_service_deployments": "breaker-first",
    "ecs:list_task_definitions": "dies-later",
    "ecs:list_tasks": "dies-later",
    "ecs:register_task_definition": "dies-later",
    "ecs:run_task": "dies-later",
    "ecs:stop_task": "dies-later",
    "ecs:tag_resource": "dies-later",
    "ecs:update_service": "dies-later",
    "elbv2:describe_target_health": "bad-explorer",
    "logs:get_log_events": "dies-later",
    "s3:get_object": "alarm-storm",  # the browser's, by the link that api_handler signed
    "s3:put_object": "alarm-storm",
    "secretsmanager:get_secret_value": "dies-later",
    "sns:publish": MAIL_TEST,
    "sqs:send_message": "dies-later",
}
