"""The contract of `Outbox`: on the fake, and on DynamoDB as moto plays it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from chalicelib.aws.ledger import DynamoLedger
from chalicelib.errors import LostRaceError
from chalicelib.incident.document import paragraph
from chalicelib.incident.model import Grade, Incident, Report, Stage
from tests.contracts.test_ledger import NOW, Either, claimed
from tests.fakes.cloud import TABLE, make_table
from tests.fakes.ledger import FakeLedger

KEY = "rollout/r-1"


@pytest.fixture(params=["fake", "dynamodb"])
def outbox(request: pytest.FixtureRequest) -> Iterator[Either]:
    """An empty ledger of either kind."""
    if request.param == "fake":
        yield FakeLedger()
    else:
        aws = request.getfixturevalue("aws")
        make_table(aws)
        yield DynamoLedger(aws, TABLE)


def a_report(name: str = "rep-1", *, key: str = KEY, seconds: int = 0, grade: Grade = Grade.P2) -> Report:
    """A report of trouble."""
    return Report(
        id=name,
        key=key,
        kind="held",
        grade=grade,
        title=f"title of {name}",
        body=(paragraph("body"),),
        at=NOW + timedelta(seconds=seconds),
        labels=("a", "b"),
        group="nodes",
    )


def noted(outbox: Either, *reports: Report) -> None:
    """Record reports, as a tick does."""
    claim = claimed(outbox)
    outbox.release(outbox.record(claim, state=claim.state, reports=reports), wake_at=None)


def taken(outbox: Either, *, now: datetime = NOW) -> Incident:
    """A claim of the incident that must succeed."""
    incident = outbox.claim_incident(KEY, now=now, lease_seconds=60)
    assert incident is not None
    return incident


def folded(incident: Incident) -> Incident:
    """The incident after a tick folded its reports in."""
    return replace(incident, count=incident.count + len(incident.pending), stage=Stage.OPEN, pending=())


def saved(outbox: Either, incident: Incident, *, wake_at: datetime | None = None) -> None:
    """A tick records what it made of a claim."""
    outbox.save_incident(folded(incident), folded=incident.pending, wake_at=wake_at)


def test_report_makes_an_incident_that_is_due(outbox: Either) -> None:
    """Trouble is told from the moment on in which it was recorded."""
    noted(outbox, a_report())
    assert outbox.due_incidents(NOW) == (KEY,)
    assert outbox.due_incidents(NOW - timedelta(seconds=1)) == ()
    assert outbox.due_groups(NOW) == ()
    incident = taken(outbox)
    assert (incident.title, incident.grade, incident.kind) == ("title of rep-1", Grade.P2, "held")
    assert (incident.opened_at, incident.labels, incident.group) == (NOW, ("a", "b"), "nodes")
    assert (incident.stage, incident.pending) == (Stage.GATHERING, (a_report(),))


def test_reports_of_one_key_join_one_incident_in_their_order(outbox: Either) -> None:
    """One key, one incident, whatever comes first."""
    noted(outbox, a_report("rep-2", seconds=1, grade=Grade.P1), a_report())
    outbox.put_reports([a_report("rep-0", seconds=2)], wake_at=NOW)
    incident = taken(outbox, now=NOW + timedelta(seconds=2))
    assert [report.id for report in incident.pending] == ["rep-1", "rep-2", "rep-0"]


def test_report_put_twice_is_one_also_after_it_was_folded_in(outbox: Either) -> None:
    """An event may come again hours later."""
    for _ in range(2):
        outbox.put_reports([a_report()], wake_at=NOW)
    incident = taken(outbox)
    assert incident.pending == (a_report(),)
    saved(outbox, incident)
    assert outbox.claim_incident(KEY, now=NOW, lease_seconds=60) is None
    outbox.put_reports([a_report()], wake_at=NOW)
    assert taken(outbox).pending == ()


def test_first_report_sets_the_wake_and_later_ones_do_not_push_it_away(outbox: Either) -> None:
    """A storm neither delays a ticket nor wakes a tick for each of its events."""
    soon, later = NOW + timedelta(seconds=30), NOW + timedelta(seconds=45)
    assert outbox.put_reports([a_report()], wake_at=soon) == (KEY,)
    assert outbox.put_reports([a_report("rep-2")], wake_at=later) == ()
    assert outbox.due_incidents(NOW + timedelta(seconds=29)) == ()
    assert outbox.due_incidents(soon) == (KEY,)
    saved(outbox, taken(outbox, now=soon), wake_at=NOW + timedelta(hours=4))
    assert outbox.put_reports([a_report("rep-3")], wake_at=later) == (KEY,)
    assert outbox.due_incidents(later) == (KEY,)


def test_more_reports_than_a_claim_takes_leave_the_incident_due(outbox: Either) -> None:
    """The rest is the next claim's."""
    outbox.put_reports([a_report(f"rep-{i:03}") for i in range(95)], wake_at=NOW)
    incident = taken(outbox)
    assert len(incident.pending) == 90
    saved(outbox, incident)
    assert outbox.due_incidents(NOW) == (KEY,)
    assert [report.id for report in taken(outbox).pending] == [f"rep-{i:03}" for i in range(90, 95)]


def test_incident_that_does_not_exist_cannot_be_claimed(outbox: Either) -> None:
    """Nothing is made by asking."""
    assert outbox.claim_incident(KEY, now=NOW, lease_seconds=60) is None
    assert outbox.open_incidents() == ()
    assert outbox.incident(KEY) is None


def test_eight_ticks_claim_at_once_and_one_wins(outbox: Either) -> None:
    """One trouble, one ticket."""
    noted(outbox, a_report())
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda _: outbox.claim_incident(KEY, now=NOW, lease_seconds=60), range(8)))
    assert len([claim for claim in claims if claim is not None]) == 1


def test_saved_incident_is_known_and_due_when_it_asked_to_be(outbox: Either) -> None:
    """What was folded in is not folded in again."""
    noted(outbox, a_report())
    later = NOW + timedelta(seconds=30)
    saved(outbox, taken(outbox), wake_at=later)
    assert outbox.due_incidents(later - timedelta(seconds=1)) == ()
    assert outbox.due_incidents(later) == (KEY,)
    saved(outbox, taken(outbox, now=later))
    assert outbox.due_incidents(NOW + timedelta(days=1)) == ()
    assert outbox.open_incidents() == ()
    known = outbox.incident(KEY)
    assert known is not None
    assert (known.count, known.stage, known.pending) == (1, Stage.OPEN, ())


def test_second_save_of_one_claim_counts(outbox: Either) -> None:
    """A tick records its intent, acts, and records what came of it."""
    noted(outbox, a_report())
    incident = taken(outbox)
    intent = folded(incident)
    outbox.save_incident(intent, folded=incident.pending, wake_at=NOW, keep=True)
    assert outbox.claim_incident(KEY, now=NOW, lease_seconds=60) is None
    outbox.save_incident(replace(intent, why="told"), wake_at=None)
    known = outbox.incident(KEY)
    assert known is not None
    assert (known.why, known.pending) == ("told", ())
    assert outbox.due_incidents(NOW + timedelta(days=1)) == ()


def test_report_during_a_tick_stays_due(outbox: Either) -> None:
    """A tick that did not see it cannot put it to rest."""
    noted(outbox, a_report())
    incident = taken(outbox)
    noted(outbox, a_report("rep-2", seconds=1))
    saved(outbox, incident)
    assert outbox.due_incidents(NOW + timedelta(seconds=1)) == (KEY,)
    assert [report.id for report in taken(outbox, now=NOW + timedelta(seconds=1)).pending] == ["rep-2"]


@pytest.mark.parametrize("keep", [True, False])
def test_tick_that_was_away_too_long_cannot_save(outbox: Either, keep: bool) -> None:
    """Its lease ran out, and another has the incident."""
    noted(outbox, a_report())
    late = taken(outbox)
    assert outbox.claim_incident(KEY, now=NOW + timedelta(seconds=59), lease_seconds=60) is None
    taken(outbox, now=NOW + timedelta(seconds=61))
    with pytest.raises(LostRaceError):
        outbox.save_incident(folded(late), folded=late.pending, wake_at=None, keep=keep)
    assert len(taken(outbox, now=NOW + timedelta(seconds=130)).pending) == 1


def test_incident_of_a_tick_that_died_is_due_when_its_lease_is_over(outbox: Either) -> None:
    """A ticket is never lost."""
    noted(outbox, a_report())
    taken(outbox)
    assert outbox.due_incidents(NOW + timedelta(seconds=59)) == ()
    assert outbox.due_incidents(NOW + timedelta(seconds=60)) == (KEY,)


def test_open_incidents_are_listed_newest_first_with_what_waits(outbox: Either) -> None:
    """What on-call people ask for: whether due, or to be looked at tomorrow; what is over is not among them."""
    noted(outbox, a_report("rep-1", key="a"), a_report("rep-2", key="b", seconds=5), a_report("rep-3", seconds=-9))
    saved(outbox, taken(outbox), wake_at=NOW + timedelta(days=1))
    assert [(each.key, len(each.pending)) for each in outbox.open_incidents()] == [("b", 1), ("a", 1), (KEY, 0)]
    saved(outbox, taken(outbox, now=NOW + timedelta(days=1)))
    assert [each.key for each in outbox.open_incidents()] == ["b", "a"]
