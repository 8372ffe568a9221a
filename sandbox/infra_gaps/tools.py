"""How moto is patched and given back, and where what it lacks is kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from moto.core.responses import BaseResponse

Undo = Callable[[], None]


def put(owner: Any, **replacements: Any) -> Undo:
    """Set attributes of a class or module; call what it returns to have the old ones back."""
    known = {name: vars(owner)[name] for name in replacements if name in vars(owner)}
    for name, value in replacements.items():
        setattr(owner, name, value)

    def restore() -> None:
        for name in replacements:
            if name in known:
                setattr(owner, name, known[name])
            else:
                delattr(owner, name)

    return restore


def undo_all(*undo: Undo) -> Undo:
    """One step that undoes all of these, the last first."""

    def restore() -> None:
        for step in reversed(undo):
            step()

    return restore


def add_paths(urls: dict[str, Any], *paths: str) -> Undo:
    """Let a service of moto answer these paths as it answers its others."""
    fresh = [path for path in paths if path not in urls]
    urls.update(dict.fromkeys(fresh, next(iter(urls.values()))))

    def restore() -> None:
        for path in fresh:
            del urls[path]

    return restore


def kept(backend: Any, name: str) -> dict[Any, Any]:
    """A dictionary of ours on a backend of moto's."""
    found: dict[Any, Any] = vars(backend).setdefault(f"infra_{name}", {})
    return found


def asked_of(response: BaseResponse) -> dict[str, Any]:
    """The parameters of a JSON call: its body, and what its path names."""
    return {**json.loads(response.body or "{}"), **(response.uri_match or {})}


def now() -> float:
    """The time as AWS' JSON says it."""
    return datetime.now(UTC).timestamp()


def merged(known: Iterable[Any], added: Iterable[Any], removed: Iterable[Any]) -> list[Any]:
    """What is known and what is added, each once, without what is removed."""
    gone = list(removed)
    return [each for each in dict.fromkeys([*known, *added]) if each not in gone]
