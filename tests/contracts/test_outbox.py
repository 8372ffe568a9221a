"""The contract of `Outbox`: on the fake, and on DynamoDB as moto plays it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from chalicelib.aws.ledger import DynamoLedger
from chalicelib.errors import LostRaceError
from chalicelib.incident.model import Grade, Incident, Report
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
        body="body",
        at=NOW + timedelta(seconds=seconds),
        labels=("a", "b"),
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


def told(incident: Incident) -> Incident:
    """The incident after all its reports were told."""
    ids = tuple(report.id for report in incident.pending)
    return replace(incident, ticket="7", url="https://t/7", told=(*incident.told, *ids), pending=(), attempts=0)


def test_report_makes_an_incident_that_is_due(outbox: Either) -> None:
    """Trouble is told from the moment on in which it was recorded."""
    noted(outbox, a_report())
    (due,) = outbox.due_incidents(NOW)
    assert (due.key, due.title, due.grade, due.kind) == (KEY, "title of rep-1", Grade.P2, "held")
    assert (due.opened_at, due.labels, due.ticket) == (NOW, ("a", "b"), None)
    assert due.pending == (a_report(),)
    assert outbox.due_incidents(NOW - timedelta(seconds=1)) == ()
    assert outbox.due_groups(NOW) == ()


def test_later_reports_join_the_incident_and_keep_its_first_title(outbox: Either) -> None:
    """One key, one incident."""
    noted(outbox, a_report(), a_report("rep-2", seconds=1, grade=Grade.P1))
    noted(outbox, a_report("rep-3", seconds=2))
    incident = taken(outbox, now=NOW + timedelta(seconds=2))
    assert (incident.title, incident.grade) == ("title of rep-1", Grade.P2)
    assert [report.id for report in incident.pending] == ["rep-1", "rep-2", "rep-3"]


def test_report_recorded_twice_is_one(outbox: Either) -> None:
    """Before it was told, and after."""
    noted(outbox, a_report())
    noted(outbox, a_report())
    incident = taken(outbox)
    assert incident.pending == (a_report(),)
    outbox.save_incident(told(incident), next_try=None)
    noted(outbox, a_report())
    assert outbox.claim_incident(KEY, now=NOW, lease_seconds=60) is None
    assert outbox.due_incidents(NOW + timedelta(days=1)) == ()


def test_incident_that_does_not_exist_cannot_be_claimed(outbox: Either) -> None:
    """Nothing is made by asking."""
    assert outbox.claim_incident(KEY, now=NOW, lease_seconds=60) is None
    assert outbox.incidents("") == ()


def test_eight_deliverers_claim_at_once_and_one_wins(outbox: Either) -> None:
    """One trouble, one ticket."""
    noted(outbox, a_report())
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda _: outbox.claim_incident(KEY, now=NOW, lease_seconds=60), range(8)))
    assert len([claim for claim in claims if claim is not None]) == 1


def test_saved_incident_is_known_and_no_longer_due(outbox: Either) -> None:
    """What was told is not told again."""
    noted(outbox, a_report())
    outbox.save_incident(told(taken(outbox)), next_try=None)
    assert outbox.due_incidents(NOW + timedelta(days=1)) == ()
    (known,) = outbox.incidents("rollout/")
    assert (known.ticket, known.url, known.told, known.pending) == ("7", "https://t/7", ("rep-1",), ())


def test_failed_delivery_is_due_again_at_its_next_try(outbox: Either) -> None:
    """A tracker that is down postpones."""
    noted(outbox, a_report())
    later = NOW + timedelta(seconds=30)
    outbox.save_incident(replace(taken(outbox), attempts=1), next_try=later)
    assert outbox.due_incidents(later - timedelta(seconds=1)) == ()
    (due,) = outbox.due_incidents(later)
    assert (due.attempts, due.pending) == (1, (a_report(),))


def test_second_save_of_one_claim_counts(outbox: Either) -> None:
    """A deliverer saves the ticket's number as soon as it has one, and goes on."""
    noted(outbox, a_report(), a_report("rep-2", seconds=1))
    incident = taken(outbox, now=NOW + timedelta(seconds=1))
    opened = replace(incident, ticket="7", told=("rep-1",), pending=incident.pending[1:])
    outbox.save_incident(opened, next_try=NOW)
    outbox.save_incident(told(opened), next_try=None)
    (known,) = outbox.incidents(KEY)
    assert (known.told, known.pending) == (("rep-1", "rep-2"), ())
    assert outbox.due_incidents(NOW + timedelta(days=1)) == ()


def test_report_during_a_delivery_stays_due(outbox: Either) -> None:
    """A deliverer that did not see it cannot close it."""
    noted(outbox, a_report())
    incident = taken(outbox)
    noted(outbox, a_report("rep-2", seconds=1))
    outbox.save_incident(told(incident), next_try=None)
    (due,) = outbox.due_incidents(NOW + timedelta(seconds=1))
    assert [report.id for report in due.pending] == ["rep-2"]


def test_deliverer_that_was_away_too_long_cannot_save(outbox: Either) -> None:
    """Its lease ran out, and another has the incident."""
    noted(outbox, a_report())
    late = taken(outbox)
    assert outbox.claim_incident(KEY, now=NOW + timedelta(seconds=59), lease_seconds=60) is None
    taken(outbox, now=NOW + timedelta(seconds=61))
    with pytest.raises(LostRaceError):
        outbox.save_incident(told(late), next_try=None)


def test_incident_of_a_deliverer_that_died_is_due_when_its_lease_is_over(outbox: Either) -> None:
    """A ticket is never lost."""
    noted(outbox, a_report())
    taken(outbox)
    assert outbox.due_incidents(NOW + timedelta(seconds=59)) == ()
    assert len(outbox.due_incidents(NOW + timedelta(seconds=60))) == 1


def test_incidents_are_listed_by_prefix_newest_first(outbox: Either) -> None:
    """A status page asks for a group's."""
    noted(
        outbox,
        a_report("rep-1", key="rollout/b"),
        a_report("rep-2", key="rollout/a", seconds=5),
        a_report("rep-3", key="sweep/c", seconds=9),
    )
    assert [incident.key for incident in outbox.incidents("rollout/")] == ["rollout/a", "rollout/b"]
    assert len(outbox.incidents("")) == 3
