"""The log of one task's container. Knows the awslogs driver's names for groups and streams, and GetLogEvents.

Source: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/using_awslogs.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chalicelib.aws.errors import translated
from chalicelib.aws.session import Aws
from chalicelib.errors import NotFoundError
from chalicelib.rollout.model import Task

LINES = 30
CHARACTERS = 8000  # a ticket has room for 65,536 and carries more than one log


class CloudWatchLogs:
    """The port `Logs`."""

    def __init__(self, aws: Aws) -> None:
        """Read log groups of this region."""
        self._aws = aws

    def tail(self, task: Task, definition: Mapping[str, Any], *, container: str) -> str:
        """The last lines of a task's container, "" when it logs elsewhere or never wrote."""
        place = _place(task, definition, container)
        if place is None:
            return ""
        group, stream = place
        try:
            with translated(missing={"ResourceNotFoundException"}):
                answer = self._aws.client("logs").get_log_events(
                    logGroupName=group, logStreamName=stream, limit=LINES, startFromHead=False
                )
        except NotFoundError:
            return ""
        return "\n".join(event["message"].rstrip("\n") for event in answer["events"])[-CHARACTERS:]


def _place(task: Task, definition: Mapping[str, Any], container: str) -> tuple[str, str] | None:
    found = next((c for c in definition.get("containerDefinitions", ()) if c["name"] == container), None)
    log = (found or {}).get("logConfiguration") or {}
    options = log.get("options") or {}
    group, prefix = options.get("awslogs-group"), options.get("awslogs-stream-prefix")
    if log.get("logDriver") != "awslogs" or not group or not prefix:
        return None  # without a prefix the stream has the container's runtime id, which ECS need not tell
    return group, f"{prefix}/{container}/{task.arn.rsplit('/', 1)[-1]}"
