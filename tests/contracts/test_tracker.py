"""The contract of `Tracker`: on the fake, and on GitHub's adapter against the sandbox's tracker over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from chalicelib.errors import TicketUnavailableError
from chalicelib.incident.ports import Tracker
from chalicelib.tickets.github import GitHubIssues
from sandbox.clock import ScaledClock
from sandbox.tracker import TOKEN
from sandbox.tracker import Tracker as LoopbackGitHub
from tests.fakes.tracker import FakeTracker

MARKER = "xai-ops:staging/nodes/r-1"


@dataclass
class Tried:
    """A tracker of either kind, and what people see there."""

    tracker: Tracker
    behind: FakeTracker | LoopbackGitHub

    def titles(self) -> list[str]:
        """The titles of all tickets, oldest first."""
        if isinstance(self.behind, FakeTracker):
            return [ticket.title for ticket in self.behind.tickets]
        return [issue["title"] for issue in self.behind.issues]

    def labels(self) -> set[str]:
        """The first ticket's labels."""
        if isinstance(self.behind, FakeTracker):
            return set(self.behind.tickets[0].labels)
        return {label["name"] for label in self.behind.issues[0]["labels"]}

    def comments(self) -> list[str]:
        """The first ticket's comments, oldest first."""
        if isinstance(self.behind, FakeTracker):
            return list(self.behind.tickets[0].comments.values())
        return [comment["body"] for comment in self.behind.comments[1]]


@pytest.fixture(params=["fake", "github"])
def tried(request: pytest.FixtureRequest) -> Iterator[Tried]:
    """An empty tracker of either kind."""
    if request.param == "fake":
        fake = FakeTracker()
        yield Tried(fake, fake)
        return
    server = LoopbackGitHub(ScaledClock())
    server.start()
    try:
        github = GitHubIssues(api_url=server.url, repository="xai/operations", token=lambda: TOKEN, labels=("xai-ops",))
        yield Tried(github, server)
    finally:
        server.stop()


def opened(tried: Tried, marker: str = MARKER, *, labels: tuple[str, ...] = ("rolled_back", "P2")) -> str:
    """Open a ticket and return its id."""
    return tried.tracker.create(marker=marker, title=f"about {marker}", body="body", labels=labels).id


def test_nothing_opened_finds_nothing(tried: Tried) -> None:
    """An unknown marker has no ticket."""
    assert tried.tracker.find(MARKER) is None


def test_opened_ticket_is_found_by_its_marker_only(tried: Tried) -> None:
    """Markers of which one begins like the other are told apart."""
    first, other = opened(tried), opened(tried, f"{MARKER}0")
    found, found_other = tried.tracker.find(MARKER), tried.tracker.find(f"{MARKER}0")
    assert found is not None
    assert found_other is not None
    assert (found.id, found.state, found_other.id) == (first, "open", other)
    assert found.url


def test_ticket_carries_title_and_labels(tried: Tried) -> None:
    """What was given is what people see."""
    opened(tried)
    assert tried.titles() == [f"about {MARKER}"]
    assert {"rolled_back", "P2"} <= tried.labels()


def test_comment_with_the_same_marker_is_added_once(tried: Tried) -> None:
    """A comment whose answer was lost is not doubled; another one is added."""
    ticket = opened(tried)
    tried.tracker.comment(ticket, "first", marker="rep-1")
    tried.tracker.comment(ticket, "first", marker="rep-1")
    tried.tracker.comment(ticket, "second", marker="rep-10")
    assert len(tried.comments()) == 2
    assert ["first" in tried.comments()[0], "second" in tried.comments()[1]] == [True, True]


def test_amended_ticket_has_new_title_and_grade_and_is_still_found(tried: Tried) -> None:
    """A risen grade takes the place of the outdated one."""
    ticket = opened(tried)
    tried.tracker.amend(ticket, title="worse", labels=("held", "P1"))
    tried.tracker.amend(ticket, title="worse", labels=("held", "P1"))
    assert tried.titles() == ["worse"]
    assert {"held", "P1"} <= tried.labels()
    assert "P2" not in tried.labels()
    found = tried.tracker.find(MARKER)
    assert found is not None
    assert found.id == ticket


CALLS: dict[str, Callable[[Tracker, str], object]] = {
    "find": lambda tracker, _: tracker.find(MARKER),
    "create": lambda tracker, _: tracker.create(marker="other", title="late", body="body", labels=()),
    "comment": lambda tracker, ticket: tracker.comment(ticket, "late", marker="rep-2"),
    "amend": lambda tracker, ticket: tracker.amend(ticket, title="late", labels=()),
}


@pytest.mark.parametrize("call", CALLS)
def test_tracker_that_is_down_is_unavailable(tried: Tried, call: str) -> None:
    """Every method says so with the one error that the outbox waits out, and nothing was changed."""
    ticket = opened(tried)
    tried.behind.down = True
    with pytest.raises(TicketUnavailableError):
        CALLS[call](tried.tracker, ticket)
    tried.behind.down = False
    assert (tried.titles(), tried.comments()) == ([f"about {MARKER}"], [])
