"""The contract of `Ledger` and `LedgerView`: on the fake, and on DynamoDB as moto plays it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from chalicelib.aws.ledger import DynamoLedger
from chalicelib.errors import LostRaceError
from chalicelib.health.model import Baseline, Endpoint, Finding, Standing
from chalicelib.incident.document import paragraph
from chalicelib.incident.model import Grade, Report
from chalicelib.rollout.model import (
    GroupState,
    Hold,
    Origin,
    Phase,
    Promotion,
    Request,
    Rollout,
    Stable,
    Step,
    Word,
)
from chalicelib.rollout.ports import Claim, Entry
from tests.fakes.cloud import TABLE, make_table
from tests.fakes.ledger import FakeLedger

NOW = datetime(2026, 1, 5, 12, 0, 0, 250_000, tzinfo=UTC)
DIGEST = "sha256:" + "a" * 64
Either = FakeLedger | DynamoLedger


@pytest.fixture(params=["fake", "dynamodb"])
def ledger(request: pytest.FixtureRequest) -> Iterator[Either]:
    """An empty ledger of either kind."""
    if request.param == "fake":
        yield FakeLedger()
    else:
        aws = request.getfixturevalue("aws")
        make_table(aws)
        yield DynamoLedger(aws, TABLE)


def a_rollout(name: str = "r-1", *, minutes: int = 0, **changes: object) -> Rollout:
    """A rollout with something in every kind of field."""
    rollout = Rollout(
        id=name,
        environment="staging",
        group="nodes",
        origin=Origin.IMAGE,
        repository="xai/node",
        digest=DIGEST,
        tag="2.0.1",
        requested_by="ecr push",
        requested_at=NOW + timedelta(minutes=minutes),
        phase=Phase.BAKING,
        forced=frozenset({"freeze"}),
        alarms={"height-flat": "OK"},
        evidence=(Finding(check="height", service="n1", standing=Standing.BAD, text="height 4 < 9"),),
        timeline=((NOW, "requested"),),
        steps=(
            Step(
                service="n1",
                wave=0,
                stable=Stable(revision="arn:1", digest=DIGEST),
                shifted_at=NOW,
                baseline=Baseline(height=9, offered=frozenset({Endpoint.STATS})),
                dead=("task-1",),
            ),
        ),
    )
    return replace(rollout, **changes)  # type: ignore[arg-type]


def a_push(*, seconds: int = 0, digest: str = DIGEST) -> Request:
    """A pushed image."""
    pushed_at = NOW + timedelta(seconds=seconds)
    return Request(
        word=Word.START,
        group="nodes",
        by="ecr push",
        at=pushed_at,
        repository="xai/node",
        digest=digest,
        tag="2.0.1",
        pushed_at=pushed_at,
    )


def a_hold(why: str = "maintenance") -> Request:
    """A person's word."""
    return Request(word=Word.HOLD, group="nodes", by="alice", at=NOW, why=why)


def a_report(name: str = "rep-1") -> Report:
    """A report of trouble."""
    return Report(
        id=name, key="rollout/r-1", kind="held", grade=Grade.P2, title="r-1 is held", at=NOW,
        body=(paragraph("see there"),),
    )  # fmt: skip


def claimed(ledger: Either, owner: str = "tick-1", *, now: datetime = NOW) -> Claim:
    """A claim that must succeed."""
    claim = ledger.claim("nodes", owner=owner, now=now, lease_seconds=60)
    assert claim is not None
    return claim


def test_first_claim_of_a_group_makes_its_record(ledger: Either) -> None:
    """A group needs no preparation."""
    claim = claimed(ledger)
    assert claim.state == GroupState(group="nodes")
    assert (claim.version, claim.rollouts, claim.requests) == (1, {}, ())
    assert ledger.group("nodes") == (GroupState(group="nodes"), 1)


def test_group_never_recorded_is_empty_at_version_zero(ledger: Either) -> None:
    """Reading makes nothing."""
    assert ledger.group("nodes") == (GroupState(group="nodes"), 0)
    assert ledger.rollout("r-1") is None
    assert ledger.rollouts("nodes") == ()
    assert ledger.journal("r-1") == ()


def test_claim_held_by_another_tick_is_refused(ledger: Either) -> None:
    """One tick at a time."""
    claimed(ledger)
    assert ledger.claim("nodes", owner="tick-2", now=NOW + timedelta(seconds=59), lease_seconds=60) is None


def test_claim_whose_answer_was_lost_is_taken_again_by_its_owner(ledger: Either) -> None:
    """The lease is no obstacle to the tick that holds it."""
    first = claimed(ledger)
    assert claimed(ledger).version > first.version


def test_lease_that_ran_out_lets_another_tick_in_and_fences_the_first_out(ledger: Either) -> None:
    """A tick that was away too long can write nothing any more."""
    late = claimed(ledger)
    claimed(ledger, "tick-2", now=NOW + timedelta(seconds=61))
    with pytest.raises(LostRaceError):
        ledger.record(late, state=late.state, rollouts=[a_rollout()])
    with pytest.raises(LostRaceError):
        ledger.release(late, wake_at=None)
    assert ledger.rollout("r-1") is None


def test_sixteen_ticks_claim_at_once_and_one_wins(ledger: Either) -> None:
    """Compare-and-set has one winner."""
    with ThreadPoolExecutor(16) as pool:
        claims = list(
            pool.map(lambda i: ledger.claim("nodes", owner=f"tick-{i}", now=NOW, lease_seconds=60), range(16))
        )
    assert len([claim for claim in claims if claim is not None]) == 1


def test_second_writer_of_one_claim_loses_and_nothing_of_it_is_written(ledger: Either) -> None:
    """All or nothing: no rollout, no journal, no report and no deletion of the loser stands."""
    ledger.put_request(a_hold(), now=NOW)
    claim = claimed(ledger)
    ledger.record(claim, state=replace(claim.state, active="r-1"), rollouts=[a_rollout()])
    entry = Entry(rollout="r-2", at=NOW, phase="BAKING", why="", detail={})
    with pytest.raises(LostRaceError):
        ledger.record(
            claim,
            state=claim.state,
            rollouts=[a_rollout("r-2")],
            journal=[entry],
            reports=[a_report()],
            done=[claim.requests[0][0]],
        )
    assert ledger.group("nodes")[0].active == "r-1"
    assert ledger.rollout("r-2") is None
    assert ledger.rollouts("nodes") == (a_rollout(),)
    assert ledger.journal("r-2") == ()
    assert ledger.open_incidents() == ()
    assert len(claimed(ledger).requests) == 1


def test_what_was_recorded_is_read_back_equal(ledger: Either) -> None:
    """Every kind of field survives storage."""
    claim = claimed(ledger)
    state = GroupState(
        group="nodes",
        stable={"n1": Stable(revision="arn:1", digest=DIGEST)},
        history=(Promotion(rollout="r-0", digest=DIGEST, at=NOW, revisions={"n1": "arn:1"}),),
        hold=Hold(by="alice", why="maintenance", at=NOW),
        active="r-1",
        queued="r-2",
        quarantine={DIGEST: "smoke_failed"},
    )
    ledger.record(claim, state=state, rollouts=[a_rollout(), a_rollout("r-2"), a_rollout("r-3")])
    again = claimed(ledger)
    assert again.state == state
    assert again.rollouts == {"r-1": a_rollout(), "r-2": a_rollout("r-2")}
    assert ledger.rollout("r-3") == a_rollout("r-3")


def test_claim_after_record_can_record_again_and_knows_what_is_open(ledger: Either) -> None:
    """Intent and result are two records under one claim."""
    claim = claimed(ledger)
    state = replace(claim.state, active="r-1")
    kept = ledger.record(claim, state=state, rollouts=[a_rollout()])
    assert kept.rollouts == {"r-1": a_rollout()}
    done = ledger.record(kept, state=replace(state, active=None), rollouts=[a_rollout(phase=Phase.PROMOTED)])
    assert done.rollouts == {}
    assert done.version == claim.version + 2
    assert ledger.rollouts("nodes") == (a_rollout(phase=Phase.PROMOTED),)


def test_rollouts_are_listed_newest_first_up_to_the_limit(ledger: Either) -> None:
    """A status page asks for the newest."""
    claim = claimed(ledger)
    ledger.record(claim, state=claim.state, rollouts=[a_rollout(f"r-{i}", minutes=i) for i in (1, 3, 2)])
    assert [rollout.id for rollout in ledger.rollouts("nodes", limit=2)] == ["r-3", "r-2"]
    assert ledger.rollouts("explorers") == ()


def test_journal_keeps_the_order_of_records_and_of_entries(ledger: Either) -> None:
    """Oldest first, also past ten records."""
    claim = claimed(ledger)
    expected = []
    for number in range(12):
        entries = [
            Entry(rollout="r-1", at=NOW, phase="BAKING", why=f"{number}.{n}", detail={"height": n, "names": ["a"]})
            for n in range(2)
        ]
        claim = ledger.record(claim, state=claim.state, journal=entries)
        expected += entries
    assert ledger.journal("r-1") == tuple(expected)


def test_release_says_when_to_come_back(ledger: Either) -> None:
    """The group is due from wake_at on, with the version that a wake message carries."""
    version = ledger.release(claimed(ledger), wake_at=NOW + timedelta(seconds=30))
    assert ledger.due_groups(NOW + timedelta(seconds=29)) == ()
    assert ledger.due_groups(NOW + timedelta(seconds=30)) == (("nodes", version),)
    assert ledger.group("nodes")[1] == version


def test_release_without_wake_leaves_nothing_due(ledger: Either) -> None:
    """A group at rest costs nothing."""
    ledger.release(claimed(ledger), wake_at=NOW)
    ledger.release(claimed(ledger), wake_at=None)
    assert ledger.due_groups(NOW + timedelta(days=1)) == ()


def test_group_of_a_tick_that_died_is_due_when_its_lease_is_over(ledger: Either) -> None:
    """Nobody has to notice the death."""
    ledger.release(claimed(ledger), wake_at=None)
    claim = claimed(ledger)
    assert ledger.due_groups(NOW + timedelta(seconds=59)) == ()
    assert ledger.due_groups(NOW + timedelta(seconds=60)) == (("nodes", claim.version),)


def test_released_claim_writes_no_more(ledger: Either) -> None:
    """What is let go is let go."""
    claim = claimed(ledger)
    ledger.release(claim, wake_at=None)
    with pytest.raises(LostRaceError):
        ledger.record(claim, state=claim.state)


def test_request_makes_its_group_due_and_waits_in_the_inbox(ledger: Either) -> None:
    """A wake message that is lost loses no word."""
    assert ledger.put_request(a_hold(), now=NOW)
    assert ledger.due_groups(NOW) == (("nodes", 0),)
    claim = claimed(ledger)
    assert [request for _, request in claim.requests] == [a_hold()]
    kept = ledger.record(claim, state=claim.state, done=[claim.requests[0][0]])
    assert kept.requests == ()
    ledger.release(kept, wake_at=None)
    assert claimed(ledger, "tick-2").requests == ()


def test_request_during_a_claim_outlives_the_release(ledger: Either) -> None:
    """The tick that did not see it must not send the group to sleep, nor must its record be refused."""
    claim = claimed(ledger)
    ledger.put_request(a_hold(), now=NOW + timedelta(seconds=1))
    kept = ledger.record(claim, state=claim.state, rollouts=[a_rollout()])
    version = ledger.release(kept, wake_at=NOW + timedelta(hours=1))
    assert ledger.due_groups(NOW + timedelta(seconds=1)) == (("nodes", version),)
    assert [request for _, request in claimed(ledger).requests] == [a_hold()]


def test_requests_of_many_at_once_are_all_kept_in_order_of_time(ledger: Either) -> None:
    """Nothing is lost while a tick claims and records."""
    wanted = [replace(a_hold(str(i)), at=NOW + timedelta(seconds=i)) for i in range(12)]
    with ThreadPoolExecutor(4) as pool:
        puts = [pool.submit(ledger.put_request, request, now=NOW) for request in wanted]
        claim = claimed(ledger)
        ledger.release(ledger.record(claim, state=claim.state), wake_at=None)
        assert all(put.result() for put in puts)
    found = [request for _, request in claimed(ledger, "tick-2").requests]
    assert sorted(found, key=lambda request: request.at) == wanted


def test_same_word_put_twice_is_one(ledger: Either) -> None:
    """Lambda repeats an invocation; the person said it once."""
    ledger.put_request(a_hold(), now=NOW)
    ledger.put_request(a_hold(), now=NOW)
    assert len(claimed(ledger).requests) == 1


def test_push_seen_before_is_put_once(ledger: Either) -> None:
    """The event, its duplicate and the sweep tell of one push."""
    assert ledger.put_request(a_push(), now=NOW)
    assert not ledger.put_request(a_push(seconds=60), now=NOW)
    assert not ledger.put_request(a_push(seconds=-30), now=NOW)
    assert len(claimed(ledger).requests) == 1


def test_push_of_the_same_digest_later_on_is_a_push_of_its_own(ledger: Either) -> None:
    """A person who pushes again wants another try."""
    assert ledger.put_request(a_push(), now=NOW)
    assert ledger.put_request(a_push(seconds=61), now=NOW)
    assert ledger.put_request(a_push(digest="sha256:" + "b" * 64), now=NOW)


def test_start_by_a_person_is_never_taken_for_a_push_seen_before(ledger: Either) -> None:
    """Only pushes are deduplicated."""
    ledger.put_request(a_push(), now=NOW)
    by_hand = replace(a_push(), by="alice", pushed_at=None)
    assert ledger.put_request(by_hand, now=NOW)
