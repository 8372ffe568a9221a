"""Delivery: one trouble, one ticket in each tracker, never lost, never doubled, whatever fails and wherever a tick dies."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.errors import AwsUnavailableError, LostRaceError, TicketUnavailableError
from chalicelib.incident.model import Grade, Says, Stage, TicketState
from chalicelib.incident.run import advance_incidents, retry_seconds
from tests.fakes.calls import Crash
from tests.incident.office import KEY, NOW, POLICY, Office


@pytest.fixture
def office() -> Office:
    """An office with nothing to tell."""
    return Office()


def direct(office: Office, title: str = "ROLLED_BACK", *, key: str = KEY, grade: Grade = Grade.P2) -> None:
    """Our own word, told at once."""
    office.note(office.report("r-1", key=key, title=title, grade=grade, direct=True))


def told(office: Office) -> list[int]:
    """How many tickets each tracker of P2 has."""
    return [len(office.trackers[name].tickets) for name in ("main", "chat")]


def test_nothing_due_calls_no_tracker(office: Office) -> None:
    """An idle minute asks nobody anything."""
    assert office.tick() == 0
    assert office.calls.names == ["outbox.due_incidents"]


def test_dead_tracker_holds_up_no_other(office: Office) -> None:
    """The chat is told although the tracker is down."""
    office.main.down = True
    direct(office)
    office.tick()
    assert told(office) == [0, 1]
    assert office.incident().copies[0].trouble == "could not reach the tracker"


def test_tracker_down_for_an_hour_loses_and_doubles_nothing(office: Office) -> None:
    """Every try fails quietly with growing patience; once it is back, it has the ticket and every word."""
    office.main.down = True
    direct(office)
    office.pass_time(1800)
    direct(office, "ROLLED_BACK at last")
    office.pass_time(1800)
    assert office.calls.count("tracker.find") < 20
    office.main.down = False
    office.pass_time(960)
    assert told(office) == [1, 1]
    (ticket,) = office.main.tickets
    assert "ROLLED_BACK at last" in ticket.title
    assert "ROLLED_BACK at last" in repr(ticket.body)
    assert office.incident().letters == ()


def test_fallback_speaks_after_the_budget_and_the_ticket_stays_pending(office: Office) -> None:
    """People hear of it by mail; the tracker gets its ticket when it is back."""
    office.main.down = office.trackers["chat"].down = True
    direct(office)
    office.pass_time(POLICY.budget_seconds - 60)
    assert not office.trackers["mail"].tickets
    office.pass_time(960)
    assert len(office.trackers["mail"].tickets) == 1
    office.main.down = office.trackers["chat"].down = False
    office.pass_time(960)
    assert told(office) == [1, 1]
    assert len(office.trackers["mail"].tickets) == 1


def test_tracker_that_fails_once_its_ticket_is_open_is_counted_and_spoken_for(office: Office) -> None:
    """An expired token is found out by reading: the trouble gets worse, and the fallback says so."""
    office.note(office.report())
    office.pass_time(60)
    assert told(office) == [1, 1]
    office.main.down = office.trackers["chat"].down = True
    office.note(office.report("node-2", grade=Grade.P1))
    office.pass_time(POLICY.read_back_seconds + POLICY.budget_seconds + 900)
    copy = office.incident().copies[0]
    assert copy.attempts > 1
    assert copy.trouble == "could not reach the tracker"
    assert [ticket.title[:2] for ticket in office.trackers["mail"].tickets] == ["P1"]
    office.main.down = office.trackers["chat"].down = False
    office.pass_time(960)
    assert office.main.tickets[0].title.startswith("P1")
    assert office.incident().copies[0].failing_since is None


def test_dead_tracker_fails_every_incident_that_it_has(office: Office) -> None:
    """Only one of them asks it in a call; the others are not forgotten for that."""
    for number in range(3):
        office.note(office.report(key=f"k-{number}"))
    office.pass_time(60)
    office.main.down = office.trackers["chat"].down = True
    office.pass_time(POLICY.read_back_seconds + POLICY.budget_seconds + 900)
    assert len(office.trackers["mail"].tickets) == 3


def test_tracker_that_asks_for_patience_when_it_is_read_gets_it(office: Office) -> None:
    """It bans who goes on asking."""
    direct(office)
    office.tick()
    office.calls.fail("tracker.read", TicketUnavailableError("rate limit", retry_after=3000), times=2)
    office.pass_time(POLICY.read_back_seconds)
    reads = office.calls.count("tracker.read")
    assert reads == 2
    office.pass_time(POLICY.budget_seconds - 60)
    assert office.calls.count("tracker.read") == reads


def test_call_whose_time_is_up_begins_nothing_and_loses_nothing(office: Office) -> None:
    """A Lambda that is killed half way would leave its claims to their leases."""
    direct(office)
    office.time_is_up = True
    assert office.tick() == 0
    office.time_is_up = False
    assert office.tick() == 1
    assert told(office) == [1, 1]


def test_time_that_ends_between_two_trackers_leaves_the_second_to_the_next_call(office: Office) -> None:
    """What the first was told is recorded."""
    direct(office)
    answers = iter([True, True, False, *[True] * 9])
    advance_incidents(replace(office.desk, may_go_on=lambda: next(answers)), now=office.now)
    assert told(office) == [1, 0]
    office.tick()
    assert told(office) == [1, 1]


def test_tracker_that_asks_for_patience_gets_it(office: Office) -> None:
    """Retry-After is longer than our own patience."""
    direct(office)
    office.calls.fail("tracker.find", TicketUnavailableError("rate limit", retry_after=600))
    office.tick()
    assert office.incident().copies[0].next_try == NOW + timedelta(seconds=600)
    office.pass_time(599)
    assert told(office) == [0, 1]
    office.pass_time(30)
    assert told(office) == [1, 1]


def test_success_resets_patience(office: Office) -> None:
    """The next outage begins with a short wait again."""
    office.main.down = True
    direct(office)
    office.pass_time(300)
    office.main.down = False
    office.pass_time(960)
    copy = office.incident().copies[0]
    assert (copy.attempts, copy.failing_since, copy.next_try, copy.trouble) == (0, None, None, "")


def test_hanging_tracker_costs_a_call_one_time_out(office: Office) -> None:
    """Not one for each incident; the others have their turn later."""
    for number in range(5):
        direct(office, key=f"k-{number}")
    office.main.down = True
    office.tick()
    assert office.calls.count("tracker.find") == 1 + 5
    office.main.down = False
    office.pass_time(60)
    assert told(office) == [5, 5]


def test_incident_whose_tick_fails_stops_no_other(office: Office) -> None:
    """The table throttles one of them: it is due again when its claim ends."""
    for number in range(3):
        direct(office, key=f"k-{number}")
    office.calls.fail("outbox.save_incident", AwsUnavailableError("throttled"))
    assert office.tick() == 2
    assert told(office) == [2, 2]
    office.pass_time(90)
    assert told(office) == [3, 3]


def test_storm_is_told_in_portions(office: Office) -> None:
    """One call handles a bounded number of incidents; the rest stays due."""
    for number in range(25):
        direct(office, key=f"k-{number:02}")
    assert [office.tick() for _ in range(4)] == [10, 10, 5, 0]


def test_lost_answer_of_create_opens_no_second_ticket(office: Office) -> None:
    """The ticket was made, the answer was not heard: it is found by its marker."""
    direct(office)
    office.calls.fail("tracker.create", TicketUnavailableError("connection closed"), after=True)
    office.pass_time(60)
    assert told(office) == [1, 1]
    assert office.incident().copies[0].ticket == "1"


def resolved_but_unheard(office: Office, **fault: bool) -> None:
    """Trouble that was over: its ticket was closed by us, and the answer was lost."""
    office.note(office.report())
    office.pass_time(60)
    office.note(office.report(says=Says.RESOLVED))
    office.pass_time(POLICY.settle_seconds - 60)
    office.calls.fail("tracker.update", TicketUnavailableError("connection closed"), after=True, **fault)
    office.pass_time(60)
    assert office.incident().stage is Stage.RESOLVED
    assert office.main.tickets[0].state is TicketState.CLOSED


def test_our_own_close_whose_answer_was_lost_is_no_person_s(office: Office) -> None:
    """The trouble comes back before the next try: it is told, and its ticket is open."""
    resolved_but_unheard(office)
    office.note(office.report())
    office.tick()
    office.pass_time(POLICY.read_back_seconds + 120)
    assert office.incident().stage is Stage.OPEN
    assert [office.trackers[name].tickets[0].state for name in ("main", "chat")] == [TicketState.OPEN] * 2


def test_ticket_that_a_person_closed_before_we_heard_of_it_stays_closed(office: Office) -> None:
    """The answer of its creation was lost, and somebody was faster than the next try."""
    direct(office)
    office.calls.fail("tracker.create", TicketUnavailableError("connection closed"), after=True)
    office.tick()
    office.main.tickets[0].state = TicketState.CLOSED
    office.pass_time(POLICY.read_back_seconds + 120)
    assert office.main.tickets[0].state is TicketState.CLOSED
    assert office.incident().stage is Stage.CLOSED


def test_what_we_did_after_a_person_closed_the_ticket_is_told(office: Office) -> None:
    """Held, released, closed by the operator; then the next wave goes back: nobody has seen that."""
    direct(office, "HELD")
    office.tick()
    office.main.tickets[0].state = TicketState.CLOSED
    office.pass_time(POLICY.read_back_seconds + 60)
    assert office.incident().stage is Stage.CLOSED
    direct(office, "ROLLING_BACK")
    office.tick()
    assert told(office) == [2, 2]


def test_ticket_of_an_episode_whose_end_a_tracker_could_not_hear_is_closed_later(office: Office) -> None:
    """A person closed it in one tracker, the other was down; worse trouble came: no ticket stays open for ever."""
    office.note(office.report())
    office.pass_time(60)
    chat = office.trackers["chat"]
    chat.down = True
    office.main.tickets[0].state = TicketState.CLOSED
    office.pass_time(POLICY.read_back_seconds + 60)
    office.note(office.report(grade=Grade.P1))
    office.pass_time(60)
    assert len(office.main.tickets) == 2
    chat.down = False
    office.pass_time(1800)
    assert [ticket.state for ticket in chat.tickets] == [TicketState.CLOSED, TicketState.OPEN]
    assert office.incident().leftovers == ()


def test_tracker_that_never_comes_back_is_given_up(office: Office) -> None:
    """Nothing is tried for ever, and later trouble has tickets of its own."""
    office.note(office.report())
    office.pass_time(60)
    office.trackers["chat"].down = True
    office.note(office.report(says=Says.RESOLVED))
    office.pass_time(8 * 86_400, step=600)
    assert office.ledger.all_incidents[KEY].wake_at is None
    office.note(office.report())
    office.pass_time(90)
    assert len(office.main.tickets) == 2


def test_storm_is_folded_without_waiting_for_the_schedule(office: Office) -> None:
    """A P1 behind five thousand reports of its key is seen as fast as the queue delivers."""
    woken: list[tuple[str, float]] = []
    office.note(*(office.report(f"node-{i}") for i in range(200)), office.report("node-999", grade=Grade.P1))
    desk = replace(office.desk, wake=lambda key, seconds: woken.append((key, seconds)))
    for _ in range(3):
        advance_incidents(desk, now=office.now)
    assert woken[:2] == [(KEY, 0.0)] * 2
    assert woken[2][1] > 0
    assert office.incident().grade is Grade.P1


def test_incident_wakes_itself_for_its_next_look(office: Office) -> None:
    """The schedule is for what was lost."""
    woken: list[tuple[str, float]] = []
    direct(office)
    advance_incidents(replace(office.desk, wake=lambda key, seconds: woken.append((key, seconds))), now=office.now)
    assert woken == [(KEY, float(POLICY.read_back_seconds))]


def test_incidents_that_failed_together_do_not_come_back_together() -> None:
    """Jitter by name: up to a fifth less, never more."""
    waits = {retry_seconds(3, f"k-{number}") for number in range(50)}
    assert len(waits) > 30
    assert 48 <= min(waits) <= max(waits) <= 60


def test_comment_that_failed_is_told_once(office: Office) -> None:
    """What was told before the failure is recorded and not told again."""
    direct(office)
    office.tick()
    direct(office, "HELD")
    office.calls.fail("tracker.comment", TicketUnavailableError("down"), after=True)
    office.pass_time(60)
    assert [len(office.trackers[name].tickets[0].comments) for name in ("main", "chat")] == [1, 1]
    assert office.incident().letters == ()


def test_failing_update_is_tried_again(office: Office) -> None:
    """The title tells how it stands, also when the comment came through and the title did not."""
    direct(office)
    office.tick()
    direct(office, "HELD", grade=Grade.P1)
    office.calls.fail("tracker.update", TicketUnavailableError("down"))
    office.tick()
    assert office.main.tickets[0].title == "P2 ROLLED_BACK"
    office.pass_time(30)
    assert office.main.tickets[0].title == "P1 HELD"
    assert len(office.main.tickets[0].comments) == 1


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("call", range(1, 16))
def test_tick_killed_at_any_call_is_finished_once_by_another(office: Office, call: int, *, after: bool) -> None:
    """A Lambda that dies anywhere leaves a lease that runs out; nothing is told twice and nothing is lost."""
    direct(office)
    office.tick()
    direct(office, "HELD", grade=Grade.P1)
    office.note(office.report("r-2", key="other", direct=True))
    office.calls.fail(None, Crash(), at=call, after=after)
    with suppress(Crash):
        office.tick()
    office.calls.heal()
    office.pass_time(300)
    assert told(office) == [2, 2]
    for name in ("main", "chat"):
        first = office.trackers[name].tickets[0]
        assert (first.title, len(first.comments)) == ("P1 HELD", 1)
    assert all(not record.reports for record in office.ledger.all_incidents.values())


def test_incident_of_another_tick_is_left_alone(office: Office) -> None:
    """A claimed incident is being told already."""
    direct(office)
    office.ledger.claim_incident(KEY, now=NOW, lease_seconds=60)
    assert office.tick() == 0
    assert not office.main.tickets


def test_lost_race_is_quiet_and_doubles_nothing(office: Office) -> None:
    """Our lease ran out while we told it: the other tick finds our ticket by its marker."""
    direct(office)
    office.calls.fail("outbox.save_incident", LostRaceError("another tick"), at=2)
    assert office.tick() == 0
    office.pass_time(120)
    assert told(office) == [1, 1]


@pytest.mark.parametrize(("attempts", "seconds"), [(0, 15), (1, 15), (2, 30), (6, 480), (7, 900), (10_000, 900)])
def test_patience_doubles_up_to_a_quarter_of_an_hour(attempts: int, seconds: float) -> None:
    """15 s, doubled, at most 15 minutes, for ever."""
    assert retry_seconds(attempts) == seconds


def test_storm_of_ten_thousand_events_is_fifty_tickets(office: Office) -> None:
    """200 alarms of each of 50 causes, each event twice, shuffled over an hour: 50 tickets, and the counts are right."""
    start = office.now
    events = [
        office.report(
            f"node-{number % 20}",
            key=f"staging/cause-{cause:02}",
            at=start + timedelta(seconds=number * 18, milliseconds=cause),
        )
        for cause in range(50)
        for number in range(200)
    ]
    stream = [*events, *events]
    random.Random(7).shuffle(stream)
    for number, report in enumerate(stream):
        office.now = start + timedelta(seconds=number * 0.18)
        office.ledger.put_reports([report], wake_at=office.now + timedelta(seconds=POLICY.gather_seconds))
        if number % 160 == 0:  # about twice a minute
            office.tick()
    office.pass_time(3600, step=30)
    assert told(office) == [50, 50]
    assert {record.incident.count for record in office.ledger.all_incidents.values()} == {200}
    assert all(len(ticket.comments) <= 30 for ticket in office.main.tickets)


WORDS = st.lists(
    st.tuples(
        st.sampled_from(["node-1", "node-2", "node-3"]),
        st.sampled_from([Says.FIRING, Says.RESOLVED]),
        st.integers(0, 40),
    ),
    min_size=1,
    max_size=12,
    unique_by=lambda word: (word[0], word[2]),
)


@settings(max_examples=60, deadline=None)
@given(words=WORDS, seed=st.integers(0, 2**16))
def test_any_order_of_the_same_events_ends_in_the_same_state(words: list[tuple[str, Says, int]], seed: int) -> None:
    """Shuffled and doubled, all before the gathering ends: who is in trouble at the end is the same, and one ticket at most."""

    def run(order: list[tuple[str, Says, int]]) -> tuple[object, ...]:
        office = Office()
        for member, says, second in order:
            office.note(office.report(member, says, at=NOW + timedelta(seconds=second)))
        office.now = NOW + timedelta(seconds=60)
        office.pass_time(1200)
        known = office.incident()
        firing = sorted(member.name for member in known.firing)
        assert len(office.main.tickets) <= 1
        assert bool(firing) == (known.stage is Stage.OPEN)
        if not firing and office.main.tickets:
            assert office.main.tickets[0].state is TicketState.CLOSED
        return firing, known.count

    shuffled = [*words, *words]
    random.Random(seed).shuffle(shuffled)
    assert run(shuffled) == run(sorted(words, key=lambda word: word[2]))
