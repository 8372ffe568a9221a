"""What every loopback tracker is: an API that answers, people who act on its tickets, and what they see.

Faults (down, slow, refusing, losing answers) are the desk's, in front of all of them. Knows nothing of xai-ops.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One HTTP request, with the desk's prefix taken off its path."""

    method: str
    path: str  # begins with a slash, no query
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)  # names in lower case
    body: Any = None  # parsed JSON or form, None when there is none
    raw: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One HTTP answer."""

    status: int
    body: Any = None  # JSON
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A ticket as people see it: its opening text, then its comments, each as HTML that is safe to show."""

    id: str
    title: str
    state: str  # open | acknowledged | closed
    labels: tuple[str, ...]
    parts: tuple[str, ...]


class Service(Protocol):
    """A tracker. Made with `(url, clock)`: its own address with the desk's prefix, and a clock."""

    name: str

    def answer(self, asked: Asked) -> Answered:
        """Answer one API call as the vendor documents it."""
        ...

    def shown(self) -> list[Shown]:
        """Every ticket, oldest first."""
        ...

    def acknowledge(self, ticket: str) -> None:
        """A person takes the ticket on, as people do in this tracker."""
        ...

    def close(self, ticket: str) -> None:
        """A person closes the ticket."""
        ...
