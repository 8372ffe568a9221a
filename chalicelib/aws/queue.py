"""The delayed message that wakes the next tick. Knows SQS' delay. Must not know what a tick does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import ceil

from chalicelib.aws.errors import translated
from chalicelib.aws.session import Aws

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
MAX_DELAY_SECONDS = 900


class SqsWakeQueue:
    """The ports `WakeQueue` of rollouts and of incidents."""

    def __init__(self, aws: Aws, queue_url: str) -> None:
        """Send to this queue."""
        self._aws = aws
        self._queue_url = queue_url

    def wake(self, group: str, *, version: int, delay_seconds: float) -> None:
        """Send one wake-up for this version of the group's record; a later wake is reached in hops of 900 s."""
        self._send({"group": group, "version": version}, delay_seconds)

    def wake_incident(self, key: str, *, delay_seconds: float) -> None:
        """Send one wake-up for an incident; one that is not due then is left alone."""
        self._send({"incident": key}, delay_seconds)

    def _send(self, message: Mapping[str, object], delay_seconds: float) -> None:
        # Rounded up: a message that comes before wake_at finds nothing to do and has to be sent again.
        delay = min(MAX_DELAY_SECONDS, max(0, ceil(delay_seconds)))
        with translated(missing={"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"}):
            self._aws.client("sqs").send_message(
                QueueUrl=self._queue_url, MessageBody=json.dumps(message), DelaySeconds=delay
            )
