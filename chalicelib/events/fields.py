"""Read a field of foreign JSON, or say exactly what is wrong with it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from chalicelib.errors import BadEventError

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def text(event: Any, *path: str) -> str:
    """A non-empty text at this path."""
    value = _at(event, path)
    if not isinstance(value, str) or not value:
        raise BadEventError(f"{'.'.join(path)} is {_shown(value)}; expected a text")
    return value


def text_or_none(event: Any, *path: str) -> str | None:
    """A text at this path, or None where it is missing or null."""
    value = _at(event, path)
    return None if value is None else text(event, *path)


def moment(event: Any, *path: str) -> datetime:
    """An ISO 8601 moment with its offset at this path, as aware UTC."""
    raw = text(event, *path)
    try:
        found = datetime.fromisoformat(raw.replace("Z", "+00:00"))
    except ValueError as error:
        raise BadEventError(f"{'.'.join(path)} is {_shown(raw)}; expected a moment such as 2026-01-31T12:00:00Z") from error
    if found.tzinfo is None:
        raise BadEventError(f"{'.'.join(path)} is {_shown(raw)}; expected a moment with its offset, such as a final Z")
    return found.astimezone(UTC)


def digest(event: Any, *path: str) -> str:
    """An image digest at this path."""
    value = text(event, *path)
    if not DIGEST.fullmatch(value):
        raise BadEventError(f"{'.'.join(path)} is {_shown(value)}; expected sha256: and 64 hex digits")
    return value


def _at(event: Any, path: tuple[str, ...]) -> Any:
    for depth, key in enumerate(path):
        if not isinstance(event, dict):
            where = ".".join(path[:depth]) or "the event"
            raise BadEventError(f"{where} is {_shown(event)}; expected an object with {key!r}")
        event = event.get(key)
        if event is None:
            return None
    return event


def _shown(value: Any) -> str:
    shown = repr(value)
    return "missing" if value is None else shown if len(shown) <= 80 else f"{shown[:77]}..."
