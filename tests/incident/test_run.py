"""Delivery: one trouble, one ticket, never lost, never doubled, whatever the tracker does and wherever a tick dies."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from chalicelib.errors import AwsUnavailableError, LostRaceError, TicketUnavailableError
from chalicelib.incident.model import Grade, Report
from chalicelib.incident.run import Delivery, deliver_reports, retry_seconds
from chalicelib.rollout.model import GroupState
from tests.fakes.calls import Calls, Crash
from tests.fakes.ledger import FakeLedger
from tests.fakes.tracker import FakeTracker

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
KEY = "staging/nodes/r-1"


class Office:
    """A ledger with reports and a tracker, with a clock that the test moves."""

    def __init__(self) -> None:
        """Nothing to tell yet."""
        self.calls = Calls()
        self.ledger = FakeLedger(self.calls)
        self.tracker = FakeTracker(self.calls)
        self.now = NOW

    def note(self, *reports: Report) -> None:
        """Record reports, as a tick does at the time of the newest."""
        self.now = max(self.now, *(report.at for report in reports))
        claim = self.ledger.claim("nodes", owner="tick", now=self.now, lease_seconds=60)
        assert claim is not None
        self.ledger.release(self.ledger.record(claim, state=GroupState(group="nodes"), reports=reports), wake_at=None)

    def deliver(self, *, most: int = 10) -> Delivery:
        """One delivery run."""
        return deliver_reports(self.ledger, self.tracker, now=self.now, lease_seconds=60, most=most)

    def later(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)

    @property
    def pending(self) -> int:
        """How many reports nobody was told yet."""
        return sum(len(incident.pending) for incident in self.ledger.incidents(""))


@pytest.fixture
def office() -> Office:
    """An office with nothing to tell."""
    return Office()


def a_report(
    name: str = "rep-1", *, key: str = KEY, grade: Grade = Grade.P2, kind: str = "rolled_back", seconds: int = 0
) -> Report:
    """A report of trouble."""
    return Report(
        id=name, key=key, kind=kind, grade=grade, title=f"title of {name}", body=f"body of {name}",
        at=NOW + timedelta(seconds=seconds), labels=(kind, grade.value),
    )  # fmt: skip


def test_nothing_due_calls_no_tracker(office: Office) -> None:
    """An idle minute asks the tracker nothing."""
    assert office.deliver() == Delivery()
    assert office.calls.names == ["outbox.due_incidents"]


def test_first_report_opens_one_ticket(office: Office) -> None:
    """The ticket has the report's body, and title and labels with the grade."""
    office.note(a_report())
    assert office.deliver() == Delivery(delivered=1)
    assert office.deliver() == Delivery()
    (ticket,) = office.tracker.tickets
    assert (ticket.title, ticket.body, ticket.labels) == ("P2 title of rep-1", "body of rep-1", ("rolled_back", "P2"))
    assert (ticket.comments, office.pending, office.calls.count("tracker.amend")) == ({}, 0, 0)
    (incident,) = office.ledger.incidents(KEY)
    assert (incident.ticket, incident.attempts) == (ticket.id, 0)


def test_later_reports_become_comments_in_order(office: Office) -> None:
    """One trouble, one ticket: what comes later is told under it."""
    office.note(a_report())
    office.deliver()
    office.note(a_report("rep-3", seconds=3), a_report("rep-2", seconds=2))
    office.deliver()
    (ticket,) = office.tracker.tickets
    assert [body.rsplit(" ", 1)[-1] for body in ticket.comments.values()] == ["rep-2", "rep-3"]
    assert ticket.title.endswith("title of rep-3")  # the title tells how it stands now


def test_risen_grade_changes_title_and_labels(office: Office) -> None:
    """Whoever sees only the list of tickets sees that it got worse; a lower grade changes nothing."""
    office.note(a_report())
    office.deliver()
    office.note(a_report("rep-2", grade=Grade.P1, kind="held"), a_report("rep-3", grade=Grade.P4))
    office.deliver()
    (ticket,) = office.tracker.tickets
    assert ticket.title == "P1 title of rep-2"
    assert {"held", "P1", "rolled_back"} == set(ticket.labels)
    (incident,) = office.ledger.incidents(KEY)
    assert (incident.grade, incident.kind) == (Grade.P1, "held")


def test_reports_that_waited_together_open_a_ticket_of_the_worst_grade(office: Office) -> None:
    """After an outage the ticket is opened as bad as it got."""
    office.note(a_report(), a_report("rep-2", grade=Grade.P1, kind="held", seconds=1))
    office.deliver()
    (ticket,) = office.tracker.tickets
    assert (ticket.title, ticket.body) == ("P1 title of rep-2", "body of rep-1")
    assert len(ticket.comments) == 1


def test_tracker_down_for_an_hour_loses_nothing(office: Office) -> None:
    """Every try fails quietly with growing patience; once the tracker is back, all is told once."""
    office.note(a_report())
    office.tracker.down = True
    tries, until = [], NOW + timedelta(hours=1)
    while office.now < until:
        outcome = office.deliver()
        if outcome.failed:
            assert outcome.next_try is not None
            tries.append((outcome.next_try - office.now).total_seconds())
        office.later(15)
    assert tries == [15, 30, 60, 120, 240, 480, 900, 900, 900]
    office.note(a_report("rep-2", seconds=3000))
    office.tracker.down = False
    office.deliver()
    (ticket,) = office.tracker.tickets
    assert (ticket.body, len(ticket.comments), office.pending) == ("body of rep-1", 1, 0)


def test_tracker_that_asks_for_patience_gets_it(office: Office) -> None:
    """Retry-After is longer than our own patience."""
    office.note(a_report())
    office.calls.fail("tracker.find", TicketUnavailableError("rate limit", retry_after=600))
    assert office.deliver().next_try == NOW + timedelta(seconds=600)


def test_success_resets_patience(office: Office) -> None:
    """The next outage begins with a short wait again."""
    office.note(a_report())
    office.tracker.down = True
    office.deliver()
    office.tracker.down = False
    office.later(15)
    office.deliver()
    (incident,) = office.ledger.incidents(KEY)
    assert incident.attempts == 0


def test_first_failure_ends_the_call(office: Office) -> None:
    """A tracker that hangs costs a tick one time-out, not one for each incident; the others have their turn next."""
    office.note(*(a_report(f"rep-{n}", key=f"k-{n}") for n in range(3)))
    office.calls.fail("tracker.create", TicketUnavailableError("answered 422"))
    assert office.deliver().failed == 1
    assert office.calls.count("tracker.find") == 1
    assert office.deliver() == Delivery(delivered=2)
    office.later(15)
    assert office.deliver() == Delivery(delivered=1)
    assert len(office.tracker.tickets) == 3


def test_storm_is_delivered_in_portions(office: Office) -> None:
    """One call handles a bounded number of incidents; the rest stays due."""
    office.note(*(a_report(f"rep-{n}", key=f"k-{n}") for n in range(5)))
    assert [office.deliver(most=2).delivered for _ in range(4)] == [2, 2, 1, 0]


def test_lost_answer_of_create_opens_no_second_ticket(office: Office) -> None:
    """The ticket was made, the answer was not heard: it is found by its marker."""
    office.note(a_report())
    office.calls.fail("tracker.create", TicketUnavailableError("connection closed"), after=True)
    assert office.deliver().failed == 1
    office.later(15)
    assert office.deliver().delivered == 1
    assert (len(office.tracker.tickets), office.tracker.tickets[0].comments, office.pending) == (1, {}, 0)


def test_known_ticket_survives_a_failing_comment(office: Office) -> None:
    """What was told before the failure is recorded and not told again."""
    office.note(a_report(), a_report("rep-2", seconds=1), a_report("rep-3", seconds=2))
    office.calls.fail("tracker.comment", TicketUnavailableError("down"), at=2)
    assert office.deliver().failed == 1
    (incident,) = office.ledger.incidents(KEY)
    assert (incident.ticket, incident.attempts, office.pending) == ("1", 1, 1)
    office.later(15)
    office.deliver()
    assert (office.calls.count("tracker.comment"), len(office.tracker.tickets[0].comments)) == (3, 2)


def test_failing_amend_is_tried_again(office: Office) -> None:
    """The title is changed before the comment is told, or nothing would remember it."""
    office.note(a_report())
    office.deliver()
    office.note(a_report("rep-2", grade=Grade.P1, seconds=1))
    office.calls.fail("tracker.amend", TicketUnavailableError("down"))
    office.deliver()
    assert office.tracker.tickets[0].title == "P2 title of rep-1"
    office.later(16)
    office.deliver()
    assert office.tracker.tickets[0].title == "P1 title of rep-2"


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("call", range(1, 9))
def test_delivery_killed_at_any_call_is_finished_once_by_another(office: Office, call: int, *, after: bool) -> None:
    """A Lambda that dies anywhere leaves a lease that runs out; nothing is told twice and nothing is lost."""
    office.note(a_report(), a_report("rep-2", seconds=1), a_report("rep-3", grade=Grade.P1, seconds=2))
    office.calls.fail(None, Crash(), at=call, after=after)
    with suppress(Crash):
        office.deliver()
    office.calls.heal()
    for _ in range(3):
        office.later(61)
        office.deliver()
    (ticket,) = office.tracker.tickets
    assert (ticket.title, ticket.body, len(ticket.comments)) == ("P1 title of rep-3", "body of rep-1", 2)
    assert office.pending == 0


def test_incident_of_another_tick_is_left_alone(office: Office) -> None:
    """A claimed incident is being told already."""
    office.note(a_report())
    office.ledger.claim_incident(KEY, now=NOW, lease_seconds=60)
    assert office.deliver() == Delivery()
    assert office.tracker.tickets == []


def test_lost_race_at_the_end_is_quiet(office: Office) -> None:
    """Our lease ran out while we told it: the other tick finds our ticket by its marker."""
    office.note(a_report())
    office.calls.fail("outbox.save_incident", LostRaceError("another tick"))
    assert office.deliver() == Delivery()
    office.later(61)
    office.deliver()
    assert (len(office.tracker.tickets), office.pending) == (1, 0)


def test_failing_outbox_is_not_the_trackers_failure(office: Office) -> None:
    """Our own table's trouble goes through: the caller's policy decides."""
    office.note(a_report())
    office.calls.fail("outbox.save_incident", AwsUnavailableError("table"))
    with pytest.raises(AwsUnavailableError):
        office.deliver()


@pytest.mark.parametrize(("attempts", "seconds"), [(0, 15), (1, 15), (2, 30), (6, 480), (7, 900), (10_000, 900)])
def test_patience_doubles_up_to_a_quarter_of_an_hour(attempts: int, seconds: float) -> None:
    """15 s, doubled, at most 15 minutes, for ever."""
    assert retry_seconds(attempts) == seconds
