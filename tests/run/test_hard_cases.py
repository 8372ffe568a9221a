"""Rollouts that look healthy and are not, ways back that could stop half-way, and words that could block a group."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from chalicelib.errors import DeniedError, MisconfiguredError, NotFoundError, OpsError
from chalicelib.health.model import Answer, Endpoint, Reading
from chalicelib.rollout.model import Origin, Phase, Request, Word
from chalicelib.rollout.ports import Ask
from tests.fakes.ecs import START
from tests.run.stage import NEWER, REPOSITORY, STABLE, TARGET, Stage, Talk, block_hash


def configured(stage: Stage, cpu: str) -> None:
    """Terraform registers a newer revision of each family."""
    for name in stage.names:
        definition = stage.ecs.revisions[stage.ecs.services[name].primary.revision].definition
        stage.ecs.add_revision({**definition, "cpu": cpu})


def quarantine(stage: Stage) -> set[str]:
    """The digests that are condemned."""
    return set(stage.ledger.group("nodes")[0].quarantine)


# ------------------------------------------------------------------------------------- what must not be promoted


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_release_that_stops_finality_is_taken_back(environment: str) -> None:
    """A whole rollout is shorter than the limit of the lag; what went on upon stable must go on upon the target."""
    stage = Stage(environment)
    stopped: dict[str, int] = {}

    def says(ask: Ask, now: datetime) -> Reading:
        height = 1000 + int((now - START).total_seconds() // stage.group.limits.block_seconds)
        if any(not stage.ecs.services[name].primary.revision.endswith(":1") for name in stage.names):
            stopped.setdefault("at", height - 3)
        tip = block_hash(height - 1)
        reading = stage._says(ask, now)
        hashes = {h: block_hash(h) for h in ask.heights}
        return replace(
            reading, height=height, tip=tip, digest_tip=tip, hashes=hashes, finalized=stopped.get("at", height - 3)
        )

    for name in stage.names:
        stage.nodes.all[name] = says
    stage.push()
    stage.run(until=lambda r: r.phase is not Phase.WAITING)
    stage.say(Word.APPROVE)
    rollout = stage.run(most=5000, until=lambda r: not r.open or r.phase in (Phase.HELD, Phase.ROLLING_BACK))
    assert (rollout.phase, rollout.reason) == (Phase.ROLLING_BACK, "finality")


def test_what_stable_could_not_be_asked_is_waited_for_before_anything_is_touched() -> None:
    """A time-out is not "not offered": a target would be promoted unjudged."""
    stage = Stage()
    silent = dict.fromkeys((Endpoint.STATS, Endpoint.STATE), Answer.TIMED_OUT)
    for name in stage.names:
        stage.talks[name] = Talk(answers=silent)
    stage.bad = {name: Talk(supply=0.0, chain="other", lag=90) for name in stage.names}
    stage.push()
    rollout = stage.run()
    assert (rollout.phase, rollout.reason) == (Phase.HELD, "not_measured")
    assert not rollout.touched
    assert "/stats" in rollout.why


def test_service_scaled_to_zero_in_mid_rollout_is_held_and_never_promoted() -> None:
    """Nothing ran, so nothing was proven."""
    stage = Stage()
    stage.push()
    stage.run(until=lambda r: r.phase is Phase.SHIFTING)
    name = stage.names[1]
    stage.run(until=lambda r: r.wave == 1)
    stage.ecs.services[name].desired = 0
    for task in stage.ecs.running(name):
        stage.ecs.stop(task.arn, "scaled in")
    rollout = stage.run()
    assert (rollout.phase, rollout.reason) == (Phase.HELD, "no_tasks_wanted")
    assert "scaled to 0" in rollout.why


def test_node_beside_a_task_that_never_stops_is_not_promoted_unjudged() -> None:
    """An agent that is lost leaves a task that was told to stop; until it is gone the node may wait behind its fence."""
    stage = Stage()
    stage.push()
    stage.bad = {name: Talk(supply=0.0) for name in stage.names}
    stage.run(until=lambda r: bool(r.touched), settle=False)
    known = next(t for t in stage.ecs.all_tasks.values() if t.service == stage.names[0])
    ghost = replace(known, arn="arn:aws:ecs:x:task/c/ghost", status="DEACTIVATING", desired="STOPPED", address=None)
    stage.ecs.all_tasks[ghost.arn] = ghost
    rollout = stage.run(until=lambda r: not r.open or r.wave == 1 or r.phase in (Phase.HELD, Phase.ROLLING_BACK))
    assert rollout.phase in (Phase.HELD, Phase.ROLLING_BACK)
    assert rollout.wave == 0


def test_image_that_is_not_scanned_yet_waits() -> None:
    """The push event is faster than the scan on push."""
    stage = Stage()
    facts = stage.ecr.images[REPOSITORY, TARGET]
    stage.ecr.images[REPOSITORY, TARGET] = replace(facts, scanned=False)
    stage.push()
    assert (r := stage.rollout()) is not None and (r.phase, r.reason) == (Phase.WAITING, "not_scanned")
    stage.ecr.images[REPOSITORY, TARGET] = replace(facts, scanned=True)
    assert stage.run().phase is Phase.PROMOTED


# --------------------------------------------------------------------------- services that have not moved yet


def test_next_wave_does_not_move_while_a_service_that_has_not_moved_is_down() -> None:
    """Two of three validators down would be more than the quorum spares."""
    stage = Stage(nodes=3)
    stage.push()
    stage.run(until=lambda r: r.phase is Phase.BAKING)
    last = stage.names[2]
    for task in stage.ecs.running(last):
        stage.ecs.stop(task.arn, "instance lost")
    stage.nodes.all.pop(last)
    settle = stage.ecs.settle
    stage.ecs.settle = lambda *_: settle(*stage.names[:2])  # type: ignore[method-assign]
    stage.ecs._count(last)
    rollout = stage.run()
    assert (rollout.phase, rollout.wave, rollout.reason) == (Phase.HELD, 0, "unsteady")
    assert last in rollout.why


def test_foreign_change_of_a_service_that_has_not_moved_is_held() -> None:
    """A hotfix on the second wave's service must not be overwritten."""
    stage = Stage()
    stage.push()
    stage.run(until=lambda r: r.phase is Phase.BAKING)
    name = stage.names[1]
    theirs = stage.ecs.add_revision(stage.ecs.revisions[stage.stable()[name].revision].definition)
    stage.ecs.point(name, theirs)
    rollout = stage.run()
    assert (rollout.phase, rollout.reason) == (Phase.HELD, "foreign_change")
    assert stage.ecs.services[name].primary.revision == theirs


def test_service_that_does_not_run_what_is_stable_holds_the_start() -> None:
    """Somebody's change would be lost, and stable would be no way back to it."""
    stage = Stage()
    name = stage.names[1]
    theirs = stage.ecs.add_revision(stage.ecs.revisions[stage.stable()[name].revision].definition)
    stage.ecs.point(name, theirs)
    stage.ecs.settle()
    stage.push()
    rollout = stage.run()
    assert (rollout.phase, rollout.reason) == (Phase.HELD, "drifted")
    assert stage.ecs.services[name].primary.revision == theirs


def test_fleet_file_that_merges_waves_meanwhile_leaves_no_service_behind() -> None:
    """The record's waves are gone through, whatever the plan would be now."""
    stage = Stage(nodes=4)
    stage.push()
    stage.run(until=lambda r: r.phase is Phase.BAKING and r.wave == 1)
    group = stage.group
    services = {n: s.model_copy(update={"wave": min(s.wave, 3), "role": "sentry"}) for n, s in group.services.items()}
    changed = group.model_copy(update={"services": services})
    stage.fleet = stage.fleet.model_copy(update={"groups": {**stage.fleet.groups, "nodes": changed}})
    assert stage.run().phase is Phase.PROMOTED
    assert stage.digests() == [TARGET] * 4
    assert set(stage.stable()) == set(stage.names)


@pytest.mark.parametrize("touched", [False, True])
def test_service_that_leaves_the_fleet_file_meanwhile_is_noticed(touched: bool) -> None:
    """Before anything is touched the waves are planned anew; afterwards a person must look."""
    stage = Stage(nodes=3)
    stage.push()
    stage.run(until=lambda r: bool(r.touched) is touched and r.phase in (Phase.BAKING, Phase.SMOKING))
    services = {n: s for n, s in stage.group.services.items() if n != "node-3"}
    changed = stage.group.model_copy(update={"services": services})
    stage.fleet = stage.fleet.model_copy(update={"groups": {**stage.fleet.groups, "nodes": changed}})
    rollout = stage.run()
    if touched:
        assert (rollout.phase, rollout.reason) == (Phase.HELD, "fleet_changed")
    else:
        assert rollout.phase is Phase.PROMOTED
        assert stage.digests() == [TARGET, TARGET, STABLE]


# --------------------------------------------------------------------------------------------- the whole way back


def test_node_that_finds_no_room_on_the_way_back_leaves_no_other_on_the_bad_release() -> None:
    """HELD at the end, but not with half a group on a condemned image."""
    stage = Stage()
    stage.push()
    stage.run(until=lambda r: r.phase is Phase.BAKING and r.wave == 1)
    name = stage.names[1]
    stage.bad = {name: Talk(supply=0.0)}
    stage.run(until=lambda r: r.phase is Phase.ROLLING_BACK)
    stage.ecs.services[name].unplaced = "was unable to place a task"
    settle = stage.ecs.settle

    def without_room(*_: str) -> None:
        for task in stage.ecs.running(name):
            stage.ecs._stop(task, "ServiceSchedulerInitiated", "Scaling activity initiated")
        stage.ecs._count(name)
        settle(stage.names[0])

    stage.ecs.settle = without_room  # type: ignore[method-assign]
    rollout = stage.run(most=2000)
    assert (rollout.phase, rollout.reason) == (Phase.HELD, "way_back_fails")
    assert name in rollout.why
    assert stage.digests() == [STABLE, STABLE]


def test_chain_that_the_bad_release_holds_still_goes_on_once_all_are_back() -> None:
    """The first node that is back cannot rise until the other is back too."""
    stage = Stage()
    since: list[datetime] = []

    def says(ask: Ask, now: datetime) -> Reading:
        moved = [name for name in stage.names if not stage.ecs.services[name].primary.revision.endswith(":1")]
        if len(moved) == len(stage.names) and not since:
            since.append(now)
        reading = stage._says(ask, now)
        if not (since and moved):
            return reading
        height = 100 + int((since[0] - START).total_seconds() // 10)
        tip = block_hash(height - 1)
        return replace(reading, height=height, tip=tip, digest_tip=tip, finalized=height - 3)

    for name in stage.names:
        stage.nodes.all[name] = says
    stage.push()
    rollout = stage.run(most=2000)
    assert rollout.phase is Phase.ROLLED_BACK, rollout.why
    assert stage.digests() == [STABLE, STABLE]


def test_way_back_does_not_hang_on_the_label_of_the_bad_revision() -> None:
    """Everything is back and steady: a denied tag is no reason to wake anybody, nor to forget the quarantine."""
    stage = Stage()
    stage.bad = {name: Talk(supply=0.0) for name in stage.names}
    stage.push()
    stage.calls.fail("ecs.tag", DeniedError("TagResource"), times=99)
    assert stage.run().phase is Phase.ROLLED_BACK
    assert TARGET in quarantine(stage)


# ---------------------------------------------------------------------------------------------- configurations


def test_bad_configuration_does_not_condemn_the_image_that_is_stable() -> None:
    """A corrected one must get its chance."""
    stage = Stage()
    configured(stage, "bad")
    stage.bad = {name: Talk(supply=0.0) for name in stage.names}
    stage.say(Word.START, origin=Origin.CONFIGURATION, repository=REPOSITORY, digest=STABLE)
    assert stage.run(digest=STABLE).phase is Phase.ROLLED_BACK
    assert quarantine(stage) == set()
    stage.bad = {}
    stage.pass_time(60)
    configured(stage, "good")
    stage.say(Word.START, origin=Origin.CONFIGURATION, repository=REPOSITORY, digest=STABLE)
    assert stage.run(digest=STABLE).phase is Phase.PROMOTED


def test_rollback_of_a_promoted_configuration_returns_to_the_revisions_before_it() -> None:
    """One step back, on the same image, which is not condemned."""
    stage = Stage()
    stage.push()
    stage.run()
    before = stage.stable()
    configured(stage, "more")
    stage.pass_time(10)
    stage.say(Word.START, origin=Origin.CONFIGURATION, repository=REPOSITORY, digest=TARGET)
    stage.run()
    assert stage.stable() != before
    stage.pass_time(10)
    stage.say(Word.ROLLBACK)
    stage.run()
    assert stage.stable() == before
    assert quarantine(stage) == set()


# ---------------------------------------------------------------------------------- words that must not block others


@pytest.mark.parametrize(
    "error", [NotFoundError("gone"), MisconfiguredError("no such container"), DeniedError("PutImage")]
)
def test_adopt_that_fails_says_so_and_blocks_no_other_word(error: OpsError) -> None:
    """A rollback behind it must be carried out."""
    stage = Stage(adopted=False)
    stage.calls.fail("ecr.keep", error)
    (told,) = stage.say(Word.ADOPT).told
    assert "nothing adopted" in told
    assert stage.say(Word.HOLD).told == ("on hold, by ann",)


def test_burst_of_pushes_ends_with_the_newest() -> None:
    """More than one transaction can carry out; the last of them is rolled out, and no word behind them waits for ever."""
    stage = Stage()
    for number in range(60):
        digest = f"sha256:{number:064x}"
        stage.ecr.push(REPOSITORY, digest, f"3.0.{number}")
        at = stage.now + timedelta(seconds=number)
        request = Request(
            word=Word.START, group="nodes", by="ecr push", at=at, repository=REPOSITORY, digest=digest, tag=f"3.0.{number}",
            pushed_at=at,
        )  # fmt: skip
        stage.ledger.put_request(request, now=stage.now)
    newest = f"sha256:{59:064x}"
    assert stage.run(digest=newest).phase is Phase.PROMOTED
    assert stage.digests() == [newest, newest]


def test_older_push_that_comes_late_does_not_roll_over_the_newer() -> None:
    """As from a dead-letter queue."""
    stage = Stage()
    pushed = stage.now
    stage.push(NEWER, "2.2.0")
    stage.run(digest=NEWER)
    stage.pass_time(60)
    request = Request(
        word=Word.START, group="nodes", by="ecr push", at=stage.now, repository=REPOSITORY, digest=TARGET, tag="2.1.0",
        pushed_at=pushed - timedelta(seconds=300),
    )  # fmt: skip
    stage.ledger.put_request(request, now=stage.now)
    stage.tick()
    assert (r := stage.rollout()) is not None and (r.phase, r.reason) == (Phase.SUPERSEDED, "newer_push")
    assert stage.digests() == [NEWER, NEWER]


def test_start_that_a_person_repeats_is_one() -> None:
    """CI tries again after a 504."""
    stage = Stage()
    start: Callable[[], object] = lambda: stage.say(Word.START, digest=TARGET, tag="2.1.0", repository=REPOSITORY)  # noqa: E731
    start()
    stage.run(until=lambda r: r.phase is Phase.BAKING)
    start()
    assert stage.run().phase is Phase.PROMOTED
    assert stage.ledger.group("nodes")[0].queued is None
    assert len(stage.ledger.all_rollouts) == 1


@pytest.mark.parametrize("name", ["20260101-000000-deadbeef", "ended"])
def test_rollback_of_a_rollout_that_is_not_open_takes_nothing_back(name: str) -> None:
    """A wrong id, or a repeated word about one that took itself back, must not take back what is stable."""
    stage = Stage()
    stage.push()
    ended = stage.run()
    before = stage.stable()
    told = stage.say(Word.ROLLBACK, rollout=ended.id if name == "ended" else name).told
    assert told == ("no such open rollout",)
    assert stage.ledger.group("nodes")[0].active is None
    assert stage.stable() == before


def test_release_of_nothing_says_so() -> None:
    """Whoever released the wrong group hears of it."""
    assert Stage().say(Word.RELEASE).told == ("nothing is on hold",)


def test_approval_of_a_push_that_took_anothers_place_must_name_it() -> None:
    """The person reviewed the one that was there five seconds ago."""
    stage = Stage("production")
    stage.push()
    stage.run(until=lambda r: r.phase is Phase.AWAITING_APPROVAL)
    stage.push(NEWER, "2.2.0", later=5)
    newer = stage.rollout(NEWER)
    assert newer is not None
    (told,) = stage.say(Word.APPROVE).told
    assert "name the rollout" in told
    assert (r := stage.rollout(NEWER)) is not None and r.phase is Phase.AWAITING_APPROVAL
    stage.say(Word.APPROVE, rollout=newer.id)
    assert (r := stage.rollout(NEWER)) is not None and r.phase is not Phase.AWAITING_APPROVAL


# --------------------------------------------------------------------------------------------------- heirs


def test_newer_push_that_may_not_start_does_not_take_over() -> None:
    """A hold comes while it waits: the group must not be left split behind it."""
    stage = Stage()
    stage.push()
    stage.run(until=lambda r: r.phase is Phase.BAKING)
    stage.push(NEWER, "2.2.0", later=1)
    stage.run(until=lambda r: r.smoked, digest=NEWER)
    stage.say(Word.HOLD)
    rollout = stage.run()
    assert (rollout.phase, rollout.reason) == (Phase.HELD, "on_hold")


def test_heir_that_has_to_wait_watches_what_it_inherited() -> None:
    """A node of the release before turns sick meanwhile: it is taken back, not left for a weekend."""
    stage = Stage()
    stage.push()
    stage.run(until=lambda r: r.phase is Phase.BAKING)
    stage.push(NEWER, "2.2.0", later=1)
    stage.run(until=lambda r: r.phase is Phase.SUPERSEDED)
    stage.say(Word.HOLD)
    assert (r := stage.rollout(NEWER)) is not None and r.touched
    assert (r.phase, r.reason) == (Phase.WAITING, "on_hold")
    stage.bad = {name: Talk(supply=0.0) for name in stage.names}
    assert stage.run(digest=NEWER).phase is Phase.ROLLED_BACK
    assert stage.digests() == [STABLE, STABLE]
