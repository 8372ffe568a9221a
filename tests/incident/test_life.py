"""The life of an incident as ticks on fakes: gathered, opened, updated, resolved, reopened; people and windows respected."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from chalicelib.aws.documents import dump
from chalicelib.errors import AwsUnavailableError, TicketUnavailableError
from chalicelib.fleet.model import Incidents
from chalicelib.incident.document import Document
from chalicelib.incident.model import Grade, Says, Stage, TicketState
from chalicelib.incident.ports import Explanation
from tests.incident.office import KEY, NOW, POLICY, Office


@pytest.fixture
def office() -> Office:
    """An office with nothing to tell."""
    return Office()


def words(document: Document) -> str:
    """All texts of a document."""
    return repr(document)


def opened(office: Office, *members: str) -> None:
    """Trouble that was told."""
    office.note(*(office.report(member) for member in members or ("node-1",)))
    office.pass_time(60)
    assert office.incident().stage is Stage.OPEN


def test_trouble_is_gathered_and_then_one_ticket_in_each_tracker_of_its_grade(office: Office) -> None:
    """group_wait: three members that fail within it are one ticket that names them."""
    office.note(office.report("node-1"))
    office.tick()
    assert not office.main.tickets
    office.note(office.report("node-2"), office.report("node-3"))
    office.pass_time(60)
    (ticket,) = office.main.tickets
    assert ticket.title == "P2 [staging] nodes: memory_high (3 in all: node-1, node-2, node-3)"
    assert all(name in words(ticket.body) for name in ("node-1", "node-2", "node-3", "memory_high.md", "evidence"))
    assert ticket.labels == ("memory_high", "P2")
    assert len(office.trackers["chat"].tickets) == 1
    assert not office.trackers["mail"].tickets


def test_trouble_that_is_over_before_it_was_told_opens_nothing(office: Office) -> None:
    """As an alert that resolves within group_wait."""
    office.note(office.report())
    office.pass_time(10, step=10)
    office.note(office.report(says=Says.RESOLVED))
    office.pass_time(120)
    assert not office.main.tickets
    assert office.incident().stage is Stage.ENDED


def test_equal_reports_count_and_are_not_told_one_by_one(office: Office) -> None:
    """A thousand equal alarms are one ticket with a count, in the next reminder."""
    opened(office)
    for _ in range(1000):
        office.now += timedelta(seconds=1)
        office.note(office.report())
    office.pass_time(POLICY.repeat_seconds)
    (ticket,) = office.main.tickets
    assert office.incident().count == 1001
    assert len(ticket.comments) == 1
    assert "1001 times reported" in words(next(iter(ticket.comments.values())))


def test_new_member_is_told_after_the_update_interval(office: Office) -> None:
    """group_interval: not at once, not never, and all that came meanwhile in one comment."""
    opened(office)
    office.note(office.report("node-2"))
    office.pass_time(30)
    office.note(office.report("node-3"))
    office.pass_time(60)
    assert not office.main.tickets[0].comments
    office.pass_time(POLICY.update_seconds)
    (comment,) = office.main.tickets[0].comments.values()
    assert "node-2" in words(comment)
    assert "node-3" in words(comment)
    assert "node-3" in office.main.tickets[0].title


def test_worse_grade_is_told_at_once_and_goes_to_more_trackers(office: Office) -> None:
    """A P3 that becomes a P1 waits for no interval."""
    office.note(office.report(grade=Grade.P3))
    office.pass_time(60)
    assert not office.trackers["chat"].tickets
    office.note(office.report("node-2", grade=Grade.P1))
    office.pass_time(30)
    assert office.main.tickets[0].title.startswith("P1 ")
    assert set(office.main.tickets[0].labels) == {"memory_high", "P1"}
    assert len(office.main.tickets[0].comments) == 1
    (chat,) = office.trackers["chat"].tickets
    assert chat.title.startswith("P1 ")


def test_trouble_that_is_gone_for_the_settling_time_resolves_its_tickets(office: Office) -> None:
    """With the duration and the draft of a post-mortem; then nothing wakes any more."""
    opened(office)
    office.note(office.report(says=Says.RESOLVED))
    office.pass_time(60)
    assert office.main.tickets[0].state is TicketState.OPEN
    office.pass_time(POLICY.settle_seconds)
    for name in ("main", "chat"):
        (ticket,) = office.trackers[name].tickets
        assert ticket.state is TicketState.CLOSED
        (comment,) = ticket.comments.values()
        for section in ("Resolved", "Summary", "Timeline", "Cause", "Impact", "Resolution", "Prevention", "Follow-ups"):
            assert section in words(comment)
    assert office.ledger.due_incidents(NOW + timedelta(days=30)) == ()


def test_trouble_that_comes_back_soon_reopens_its_ticket(office: Office) -> None:
    """No second ticket for the same trouble."""
    opened(office)
    office.note(office.report(says=Says.RESOLVED))
    office.pass_time(600)
    office.note(office.report())
    office.pass_time(30)
    (ticket,) = office.main.tickets
    assert ticket.state is TicketState.OPEN
    assert "Reopened" in words(list(ticket.comments.values())[-1])


def test_trouble_that_comes_back_late_is_a_ticket_of_its_own(office: Office) -> None:
    """The first one stays as it was left."""
    opened(office)
    office.note(office.report(says=Says.RESOLVED))
    office.pass_time(600)
    office.now += timedelta(seconds=POLICY.reopen_seconds)
    office.note(office.report())
    office.pass_time(60)
    first, second = office.main.tickets
    assert (first.state, second.state) == (TicketState.CLOSED, TicketState.OPEN)
    assert first.marker != second.marker
    assert office.incident().count == 1


def test_one_of_two_members_well_does_not_resolve(office: Office) -> None:
    """All of it must be over."""
    opened(office, "node-1", "node-2")
    office.note(office.report("node-1", Says.RESOLVED))
    office.pass_time(1000)
    assert office.main.tickets[0].state is TicketState.OPEN
    office.note(office.report("node-2", Says.RESOLVED))
    office.pass_time(600)
    assert office.main.tickets[0].state is TicketState.CLOSED


def test_word_of_an_earlier_moment_that_comes_late_changes_nothing(office: Office) -> None:
    """Events come in any order: RESOLVED at 12:05 stands against FIRING at 12:00 that arrives after it."""
    early = office.report(at=NOW)
    office.now += timedelta(seconds=300)
    office.note(office.report(says=Says.RESOLVED))
    office.note(early)
    office.pass_time(3600)
    assert not office.main.tickets


def test_missing_data_is_no_recovery_and_no_trouble(office: Office) -> None:
    """ALARM to INSUFFICIENT_DATA stays open; INSUFFICIENT_DATA alone opens nothing."""
    office.note(office.report("node-9", Says.UNKNOWN, key="other"))
    opened(office)
    office.note(office.report(says=Says.UNKNOWN))
    office.pass_time(POLICY.settle_seconds * 4)
    (ticket,) = office.main.tickets
    assert ticket.state is TicketState.OPEN
    assert any("not measured any more" in words(comment) for comment in ticket.comments.values())


def test_flapping_is_said_once_and_settles_late(office: Office) -> None:
    """Ten changes are one comment, not ten, and the ticket does not open and close with them."""
    opened(office)
    for turn in range(10):
        office.now += timedelta(seconds=60)
        office.note(office.report(says=Says.RESOLVED if turn % 2 == 0 else Says.FIRING))
        office.pass_time(60)
    office.note(office.report(says=Says.RESOLVED))
    office.pass_time(POLICY.settle_seconds * 3)
    (ticket,) = office.main.tickets
    assert ticket.state is TicketState.OPEN
    assert sum("is flapping" in words(comment) for comment in ticket.comments.values()) == 1
    assert len(ticket.comments) <= 4
    office.pass_time(POLICY.flapping_settle_seconds)
    assert ticket.state is TicketState.CLOSED


def test_reminder_comes_until_somebody_takes_it_on(office: Office) -> None:
    """repeat_interval, and a person's acknowledgement ends it."""
    opened(office)
    office.pass_time(POLICY.repeat_seconds + 60)
    assert len(office.main.tickets[0].comments) == 1
    office.main.tickets[0].state = TicketState.ACKNOWLEDGED
    office.pass_time(POLICY.repeat_seconds * 3)
    assert len(office.main.tickets[0].comments) == 2
    assert office.incident().acknowledged
    office.main.tickets[0].state = TicketState.OPEN
    office.pass_time(POLICY.read_back_seconds + 60)
    assert len(office.main.tickets[0].comments) == 3


def test_who_takes_it_on_in_one_tracker_is_known_in_all(office: Office) -> None:
    """Before a second person starts."""
    opened(office)
    office.trackers["chat"].tickets[0].state = TicketState.ACKNOWLEDGED
    office.pass_time(POLICY.read_back_seconds + 30)
    (said,) = office.main.tickets[0].comments.values()
    assert "taken on in chat" in words(said)


def test_ticket_that_a_person_closed_stays_closed_and_the_others_follow(office: Office) -> None:
    """More of the same is counted in silence; when it was over and comes back, it is a new ticket."""
    opened(office)
    office.main.tickets[0].state = TicketState.CLOSED
    office.pass_time(POLICY.read_back_seconds + 60)
    assert office.trackers["chat"].tickets[0].state is TicketState.CLOSED
    office.note(office.report())
    office.pass_time(POLICY.repeat_seconds * 2, step=300)
    office.note(office.report(says=Says.RESOLVED))
    office.pass_time(60)
    office.note(office.report())  # it flaps
    office.pass_time(600)
    (ticket,) = office.main.tickets
    assert ticket.state is TicketState.CLOSED
    comments = len(ticket.comments)
    office.note(office.report(says=Says.RESOLVED))
    office.pass_time(POLICY.settle_seconds * 2)
    assert len(ticket.comments) == comments
    office.note(office.report())
    office.pass_time(90)
    assert len(office.main.tickets) == 2


def closed_by_a_person(office: Office, *members: str, alarm: str | None = None) -> None:
    """Trouble whose ticket a person closed while it fires."""
    office.note(*(office.report(member, alarm=alarm) for member in members or ("node-1",)))
    office.pass_time(60)
    office.main.tickets[0].state = TicketState.CLOSED
    office.pass_time(POLICY.read_back_seconds + 60)
    assert office.incident().stage is Stage.CLOSED


def test_member_that_nobody_closed_a_ticket_of_is_told(office: Office) -> None:
    """Who closed it knew of node-1, not of node-2's full disk."""
    closed_by_a_person(office)
    office.note(office.report("node-2"))
    office.pass_time(90)
    assert [ticket.state for ticket in office.main.tickets] == [TicketState.CLOSED, TicketState.OPEN]


def test_member_that_was_well_for_a_while_before_the_close_is_told(office: Office) -> None:
    """It was over for node-2 when the person closed it for node-1."""
    office.note(office.report("node-1"), office.report("node-2"))
    office.pass_time(60)
    office.note(office.report("node-2", Says.RESOLVED))
    office.pass_time(POLICY.settle_seconds)
    office.main.tickets[0].state = TicketState.CLOSED
    office.pass_time(POLICY.read_back_seconds + 60)
    office.note(office.report("node-2"))
    office.pass_time(90)
    assert len(office.main.tickets) == 2


def test_thousand_members_of_a_closed_incident_are_one_ticket_more_at_most(office: Office) -> None:
    """Those that the record cannot name are not each a stranger."""
    office.note(*(office.report(f"node-{i}") for i in range(900)))
    office.pass_time(600)
    office.main.tickets[0].state = TicketState.CLOSED
    office.pass_time(POLICY.read_back_seconds + 60)
    for _ in range(3):
        office.note(*(office.report(f"node-{i}") for i in range(900)))
        office.pass_time(600)
    assert len(office.main.tickets) == 1


def test_closed_while_it_fires_and_its_end_lost_is_over_all_the_same(office: Office) -> None:
    """CloudWatch is asked on: the next outage of that node is not mute."""
    office.alarms.all["a-1"] = "ALARM"
    closed_by_a_person(office, alarm="a-1")
    office.alarms.all["a-1"] = "OK"
    office.pass_time(POLICY.read_back_seconds + POLICY.settle_seconds + 120)
    assert office.incident().stage is Stage.ENDED
    office.alarms.all["a-1"] = "ALARM"
    office.note(office.report(alarm="a-1"))
    office.pass_time(90)
    assert len(office.main.tickets) == 2


def test_ticket_that_a_person_opens_again_lives_on(office: Office) -> None:
    """It was closed by mistake: news are told again, and its end too."""
    closed_by_a_person(office)
    office.main.tickets[0].state = TicketState.OPEN
    office.pass_time(POLICY.read_back_seconds + 60)
    (ticket,) = office.main.tickets
    assert office.trackers["chat"].tickets[0].state is TicketState.OPEN
    office.note(office.report("node-2"))
    office.pass_time(POLICY.update_seconds + 60)
    assert "node-2" in words(list(ticket.comments.values())[-1])
    office.note(office.report(says=Says.RESOLVED), office.report("node-2", Says.RESOLVED))
    office.pass_time(POLICY.settle_seconds + 120)
    assert ticket.state is TicketState.CLOSED
    assert "Post-mortem" in words(list(ticket.comments.values())[-1])


def test_ticket_that_somebody_deleted_is_opened_anew_while_the_trouble_lasts(office: Office) -> None:
    """A deleted ticket would be an outage that nobody hears of."""
    opened(office)
    office.main.tickets.clear()
    office.pass_time(POLICY.read_back_seconds + 60)
    (ticket,) = office.main.tickets
    assert ticket.state is TicketState.OPEN
    office.note(office.report(says=Says.RESOLVED))
    office.pass_time(POLICY.settle_seconds + 60)
    assert ticket.state is TicketState.CLOSED


def test_ticket_that_was_deleted_when_it_was_over_is_let_go(office: Office) -> None:
    """Nobody needs a ticket for what is over, and nothing is tried for ever."""
    opened(office)
    office.note(office.report(says=Says.RESOLVED))
    office.pass_time(POLICY.settle_seconds - 60)
    office.calls.fail("tracker.read", TicketUnavailableError("busy"), times=4)
    office.main.tickets.clear()
    office.pass_time(3600)
    assert not office.main.tickets
    assert office.ledger.all_incidents[KEY].wake_at is None


def test_worse_trouble_than_a_person_closed_is_a_ticket_of_its_own(office: Office) -> None:
    """A person's word holds for what that person saw."""
    opened(office)
    office.main.tickets[0].state = TicketState.CLOSED
    office.pass_time(POLICY.read_back_seconds + 60)
    office.note(office.report(grade=Grade.P1))
    office.pass_time(90)
    assert [ticket.title[:2] for ticket in office.main.tickets] == ["P2", "P1"]


def test_explained_trouble_is_not_told_but_attached_and_told_if_it_outlasts(office: Office) -> None:
    """An open rollout judges it; when that is over and it still fires, people hear of it."""
    office.explanation = Explanation(text="rollout r-1 is BAKING", incident="staging/nodes/r-1")
    office.note(office.report())
    office.pass_time(600)
    assert not office.main.tickets
    assert office.incident().stage is Stage.SUPPRESSED
    office.note(office.report("r-1", key="staging/nodes/r-1", title="[staging] nodes: ROLLING_BACK", direct=True))
    office.pass_time(30)
    (rollout,) = office.main.tickets
    assert "memory_high" in words(rollout.body)
    assert "rollout r-1 is BAKING" in words(rollout.body)
    office.explanation = None
    office.pass_time(120)
    assert [ticket.title for ticket in office.main.tickets][1:] == ["P2 [staging] nodes: memory_high (node-1)"]


def test_window_never_swallows_an_end(office: Office) -> None:
    """Trouble told before a window is resolved within it; trouble that began in it and ended in it is never told."""
    opened(office)
    office.explanation = Explanation(text="maintenance: disks", until=NOW + timedelta(hours=3))
    office.note(office.report(says=Says.RESOLVED), office.report("node-2", key="other"))
    office.pass_time(600)
    assert office.main.tickets[0].state is TicketState.CLOSED
    office.note(office.report("node-2", Says.RESOLVED, key="other"))
    office.pass_time(4 * 3600, step=60)
    assert len(office.main.tickets) == 1


def test_low_grades_wait_for_the_end_of_quiet_hours_and_high_ones_do_not() -> None:
    """A P4 at 23:00 is read at 7:00."""
    office = Office()
    office.now = NOW.replace(hour=23)
    office.note(office.report(grade=Grade.P4), office.report("node-9", key="other", grade=Grade.P1))
    office.pass_time(3600, step=60)
    assert [ticket.title[:2] for ticket in office.main.tickets] == ["P1"]
    office.pass_time(8 * 3600, step=300)
    assert [ticket.title[:2] for ticket in office.main.tickets] == ["P1", "P4"]


def quiet_office(*quiet: str, hour: int = 23) -> Office:
    """P1 to P4 go to main; the low grades to chat too. These trackers have quiet hours for low grades."""
    window = [{"start": "20:00", "end": "07:00"}]
    routes = [
        {"grades": ["P1", "P2"], "to": ["main"]},
        {"grades": ["P3", "P4"], "to": ["main"], "quiet": window if "main" in quiet else []},
        {"grades": ["P3", "P4"], "to": ["chat"], "quiet": window if "chat" in quiet else []},
    ]
    office = Office(Incidents.model_validate({**POLICY.model_dump(mode="json"), "routes": routes}))
    office.now = NOW.replace(hour=hour)
    return office


def test_quiet_hours_are_of_a_route_not_of_an_incident() -> None:
    """Chat sleeps, the tracker does not: chat hears in the morning of what still fires then, never of what was over."""
    office = quiet_office("chat")
    office.note(office.report(grade=Grade.P4), office.report("node-9", key="other", grade=Grade.P4))
    office.pass_time(600)
    assert len(office.main.tickets) == 2
    assert not office.trackers["chat"].tickets
    office.note(office.report("node-9", Says.RESOLVED, key="other"))
    office.pass_time(9 * 3600, step=60)
    assert ["node-1" in ticket.title for ticket in office.trackers["chat"].tickets] == [True]


def test_quiet_hours_keep_updates_reminders_and_reopening_until_the_morning() -> None:
    """A ticket of the evening says nothing at night, but that it is over; and all of it at seven."""
    office = quiet_office("main", "chat", hour=19)
    office.note(office.report(grade=Grade.P4), office.report("node-9", key="other", grade=Grade.P4))
    office.pass_time(600)
    office.pass_time(5000, step=60)
    office.note(office.report("node-2", grade=Grade.P4), office.report("node-9", Says.RESOLVED, key="other"))
    office.pass_time(3600, step=60)
    office.note(office.report("node-9", key="other", grade=Grade.P4))
    office.pass_time(7 * 3600, step=60)
    one, other = office.main.tickets
    assert not one.comments
    assert [other.state, len(other.comments)] == [TicketState.CLOSED, 1]
    office.pass_time(3 * 3600, step=60)
    assert "node-2" in words(one.comments)
    assert other.state is TicketState.OPEN


def test_trouble_that_gets_worse_is_told_though_something_explains_it(office: Office) -> None:
    """Every tracker hears of a P1, not only those that it is new to."""
    opened(office)
    office.explanation = Explanation(text="maintenance: disks", until=NOW + timedelta(hours=3))
    office.note(office.report(grade=Grade.P1))
    office.pass_time(120)
    assert office.main.tickets[0].title.startswith("P1")


def test_trouble_that_a_rollout_explains_is_told_in_the_open_ticket_of_the_rollout(office: Office) -> None:
    """Alarms that fire while it goes back are what one wants to read there."""
    rollout = "staging/nodes/r-1"
    office.note(office.report("r-1", key=rollout, direct=True, title="[staging] nodes: ROLLING_BACK"))
    office.tick()
    office.explanation = Explanation(text="rollout r-1 is ROLLING_BACK", incident=rollout)
    office.note(office.report())
    office.pass_time(120)
    (ticket,) = office.main.tickets
    assert "memory_high" in words(ticket.comments)


def test_deleted_alarm_is_the_end_of_its_trouble(office: Office) -> None:
    """Its node was replaced: it will never say OK."""
    office.alarms.all["a-1"] = "ALARM"
    office.note(office.report(alarm="a-1"))
    office.pass_time(60)
    del office.alarms.all["a-1"]
    office.pass_time(POLICY.read_back_seconds + POLICY.settle_seconds + 120)
    assert office.main.tickets[0].state is TicketState.CLOSED


def test_reopened_ticket_gets_what_was_gathered_anew(office: Office) -> None:
    """What changed lately is another thing a day later."""
    opened(office)
    office.note(office.report(says=Says.RESOLVED))
    office.pass_time(POLICY.settle_seconds + 60)
    office.note(office.report())
    office.pass_time(60)
    assert "evidence" in words(list(office.main.tickets[0].comments.values())[-1])


def test_our_own_word_is_told_at_once_and_its_end_too(office: Office) -> None:
    """A rollback that people hear of half a minute late is one that they hear of from customers."""
    office.note(office.report("r-1", direct=True, title="[staging] nodes: ROLLING_BACK"))
    office.tick()
    (ticket,) = office.main.tickets
    office.note(office.report("r-1", direct=True, title="[staging] nodes: ROLLED_BACK"))
    office.tick()
    assert len(ticket.comments) == 1
    assert "ROLLED_BACK" in ticket.title
    office.note(replace(office.report("r-1", Says.RESOLVED, direct=True), at=office.now + timedelta(seconds=1)))
    office.now += timedelta(seconds=2)
    office.tick()
    assert ticket.state is TicketState.CLOSED


def test_lost_ok_event_is_found_by_reading_the_alarm(office: Office) -> None:
    """An event is a hint; CloudWatch is asked."""
    office.note(office.report(alarm="a-1"))
    office.alarms.all["a-1"] = "ALARM"
    office.pass_time(120)
    office.alarms.error = AwsUnavailableError("no answer")
    office.pass_time(600)
    assert office.main.tickets[0].state is TicketState.OPEN
    office.alarms.error = None
    office.alarms.all["a-1"] = "OK"
    office.pass_time(POLICY.read_back_seconds + POLICY.settle_seconds + 120)
    assert office.main.tickets[0].state is TicketState.CLOSED


def test_alarm_that_fires_again_unheard_keeps_its_ticket_open(office: Office) -> None:
    """Its OK came, its next ALARM was lost: CloudWatch is asked before the ticket is resolved."""
    office.note(office.report(alarm="a-1"))
    office.alarms.all["a-1"] = "ALARM"
    office.pass_time(60)
    office.note(office.report(says=Says.RESOLVED, alarm="a-1"))
    office.pass_time(POLICY.settle_seconds * 2)
    assert office.main.tickets[0].state is TicketState.OPEN
    assert office.incident().stage is Stage.OPEN


def test_alarm_that_cleared_unheard_opens_nothing(office: Office) -> None:
    """When the gathering ends it is OK again."""
    office.note(office.report(alarm="a-1"))
    office.alarms.all["a-1"] = "OK"
    office.pass_time(120)
    assert not office.main.tickets


def says_again(office: Office, seconds: float, *, member: str = "node-1", key: str = KEY) -> None:
    """A source that never says that it is over repeats itself each minute, for so long."""
    end = office.now + timedelta(seconds=seconds)
    while office.now < end:
        held = office.now + timedelta(seconds=180)
        office.note(replace(office.report(member, key=key), until=held))
        office.pass_time(60)


def test_trouble_that_is_not_said_again_is_over(office: Office) -> None:
    """As Alertmanager's endsAt: the last word holds until it ends, then the settling begins."""
    says_again(office, POLICY.settle_seconds + 120)
    (ticket,) = office.main.tickets
    assert ticket.state is TicketState.OPEN
    last = office.now - timedelta(seconds=60)
    office.pass_time(180 + POLICY.settle_seconds + 60)
    assert ticket.state is TicketState.CLOSED
    assert office.incident().members[0].since == last + timedelta(seconds=180)


def test_trouble_that_ends_by_itself_must_last_before_it_is_told(office: Office) -> None:
    """One bad minute is no ticket, be it said once or a few times."""
    says_again(office, 120)
    office.pass_time(3600)
    assert not office.main.tickets
    assert office.incident().stage is Stage.ENDED


def test_trouble_that_was_not_said_again_and_comes_back_begins_anew(office: Office) -> None:
    """A person closed its ticket; hours later it is another trouble."""
    says_again(office, POLICY.settle_seconds + 120)
    office.main.tickets[0].state = TicketState.CLOSED
    office.pass_time(POLICY.read_back_seconds + 60)
    assert office.incident().stage is Stage.CLOSED
    office.pass_time(7200)
    says_again(office, POLICY.settle_seconds + 120)
    assert [ticket.state for ticket in office.main.tickets] == [TicketState.CLOSED, TicketState.OPEN]


def test_time_in_trouble_is_not_the_time_until_the_end(office: Office) -> None:
    """A ticket that was reopened was not down all the while: two times of ten minutes, an hour apart."""
    opened(office)
    office.pass_time(540)
    office.note(office.report(says=Says.RESOLVED))
    office.pass_time(3600, step=60)
    office.note(office.report(), office.report("node-2"))
    office.pass_time(300)
    office.note(office.report(says=Says.RESOLVED))
    office.pass_time(300)
    office.note(office.report("node-2", Says.RESOLVED))
    office.pass_time(900, step=60)
    (ticket,) = office.main.tickets
    first, *_, last = (words(body) for body in ticket.comments.values() if "Post-mortem" in words(body))
    assert "after 10 min;" in first
    assert "after 1 h 20 min, of which 20 min in trouble" in last
    assert "2 in trouble, for 20 min in all" in last


def test_record_of_a_thousand_members_stays_small(office: Office) -> None:
    """A record is one item of 400 KB; the ones that it cannot name are counted."""
    office.note(*(office.report(f"xai-production-node-{i:04}") for i in range(1000)))
    office.pass_time(900)
    (ticket,) = office.main.tickets
    assert "1000 in all" in ticket.title
    assert len(office.incident().members) == 200
    assert len(dump(office.incident()).encode()) < 200_000


def test_key_is_told_in_its_own_incident(office: Office) -> None:
    """Another kind of trouble is another ticket."""
    office.note(office.report(), office.report(key=f"{KEY}2"))
    office.pass_time(60)
    assert len(office.main.tickets) == 2
