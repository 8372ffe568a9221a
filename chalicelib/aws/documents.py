"""Records as JSON text and back. Knows pydantic, and imports it only when there is a record to read or write.

Why lazily: an idle minute asks the table one question and finds nothing; it must not pay 100 ms of imports for that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

T = TypeVar("T")

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_adapters: dict[type, TypeAdapter[Any]] = {}


def dump(record: object) -> str:
    """A record as JSON text."""
    return _adapter(type(record)).dump_json(record).decode()


def load(kind: type[T], text: str) -> T:
    """The record in a JSON text that `dump` wrote; fields that a later release added take their defaults."""
    record: T = _adapter(kind).validate_json(text)
    return record


def _adapter(kind: type) -> TypeAdapter[Any]:
    if kind not in _adapters:
        from pydantic import TypeAdapter  # noqa: PLC0415 - see the module's why

        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]
