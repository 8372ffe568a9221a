"""Logs and metrics in one place: one JSON line a step with a snake_case event name, CloudWatch metrics in EMF.

Knows powertools, which is imported at the first line that is written and not before. Tracing stands in
observe_tracing.py. Must not know any domain.
"""

from __future__ import annotations

import logging
import os
import re
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aws_lambda_powertools import Logger

NAMESPACE = "xai-ops"
_SECRET = re.compile(
    r"(AKIA|ASIA)[A-Z0-9]{16}|gh[pousr]_\w{20,}|github_pat_\w{20,}|xox[abpr]-[\w-]{10,}|(?i:bearer|token|password|secret)"
    r"(?i:\s*[=:]\s*|\s+)[^\s\"',;]{8,}"
)
_SECRET_KEY = re.compile(r"(?i)(^|_)(token|password|passwd|secret|authorization|api_?key|private_?key)$")
# What the logging module and the formatter keep for themselves: a field of such a name gets an underscore at its end.
_TAKEN = frozenset(logging.makeLogRecord({}).__dict__) | {
    "message",
    "asctime",
    "level",
    "location",
    "timestamp",
    "service",
}
_bound: ContextVar[dict[str, Any] | None] = ContextVar("bound", default=None)


@cache
def _logger() -> Logger:
    from aws_lambda_powertools import Logger  # noqa: PLC0415 - 60 ms that an idle tick, which writes no line, need not pay

    level = os.environ.get("XAI_OPS_LOG_LEVEL", "INFO")
    return Logger(service="xai-ops", level=level, use_rfc3339=True, utc=True, location=None)


def log(event: str, **fields: Any) -> None:
    """Write one line; facts are fields, values that look like secrets are masked."""
    _logger().info(event, extra=_extra(fields))


def alert(event: str, **fields: Any) -> None:
    """Write one line at ERROR: a human must act."""
    _logger().error(event, extra=_extra(fields))


def bind(**fields: Any) -> None:
    """Start a new line of thought: forget what was bound, and put these fields into every further line of this thread."""
    _bound.set(fields)


def _extra(fields: dict[str, Any]) -> dict[str, Any]:
    known = {key: value for key, value in (_bound.get() or {}).items() if value is not None}
    return {f"{key}_" if key in _TAKEN else key: value for key, value in redact({**known, **fields}).items()}


def count(metric: str, value: float = 1.0, **dimensions: str) -> None:
    """Count one thing as a CloudWatch metric (embedded metric format on standard output)."""
    if os.environ.get("XAI_OPS_LOG_LEVEL") == "CRITICAL":
        return
    from aws_lambda_powertools import single_metric  # noqa: PLC0415
    from aws_lambda_powertools.metrics import MetricUnit  # noqa: PLC0415

    environment = os.environ.get("XAI_OPS_ENVIRONMENT", "unknown")
    with single_metric(name=metric, unit=MetricUnit.Count, value=value, namespace=NAMESPACE) as metrics:
        metrics.add_dimension("environment", environment)
        for name, text in dimensions.items():
            metrics.add_dimension(name, text)


def redact(value: Any) -> Any:
    """Mask what looks like a secret in a text, or in the texts of a list or mapping; what is named like one, in any case."""
    if isinstance(value, str):
        return _SECRET.sub("[redacted]", value)
    if isinstance(value, dict):
        return {key: "[redacted]" if _SECRET_KEY.search(str(key)) else redact(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [redact(part) for part in value]
    return value
