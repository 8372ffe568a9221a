"""Read a field of foreign JSON, or say exactly what is wrong with it: its path, what was found, what is expected.

Plain checks, no pydantic: importing it would cost an event's cold start more than the event.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from chalicelib.errors import BadEventError

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def text(event: Any, *path: str) -> str:
    """A non-empty text at this path. Raises BadEventError."""
    value = _at(event, path)
    if not isinstance(value, str) or not value:
        raise wrong(path, value, "a text")
    return value


def text_or_none(event: Any, *path: str) -> str | None:
    """A text at this path, or None where it is missing, null or empty. Raises BadEventError."""
    return None if _at(event, path) in (None, "") else text(event, *path)


def moment(event: Any, *path: str) -> datetime:
    """An ISO 8601 moment with its offset at this path, as aware UTC. Raises BadEventError."""
    raw = text(event, *path)
    try:
        found = datetime.fromisoformat(raw)
        if found.tzinfo is not None:
            return found.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise wrong(path, raw, "a moment such as 2026-01-31T12:00:00Z") from error
    raise wrong(path, raw, "a moment with its offset, such as a final Z")


def digest(event: Any, *path: str) -> str:
    """An image digest at this path. Raises BadEventError."""
    value = text(event, *path)
    if not DIGEST.fullmatch(value):
        raise wrong(path, value, "sha256: and 64 hex digits")
    return value


def wrong(path: tuple[str, ...], found: Any, expected: str) -> BadEventError:
    """The error for a field that is not what its source documents."""
    shown = "missing" if found is None else repr(found)
    shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
    return BadEventError(f"{'.'.join(path) or 'the event'} is {shown}; expected {expected}")


def _at(event: Any, path: tuple[str, ...]) -> Any:
    for depth, key in enumerate(path):
        if not isinstance(event, dict):
            raise wrong(path[:depth], event, f"an object with {key!r}")
        event = event.get(key)
        if event is None:
            return None
    return event
