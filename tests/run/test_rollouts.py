"""Rollouts as ticks on fakes: the world is made, time passes, the end is looked at."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from chalicelib.errors import AwsUnavailableError, DeniedError, MisconfiguredError, ThrottledError
from chalicelib.health.model import Answer, Endpoint
from chalicelib.incident.model import Grade
from chalicelib.rollout.model import Origin, Phase, Word
from tests.fakes.calls import Crash
from tests.run.stage import NEWER, REPOSITORY, STABLE, TARGET, Stage, Talk


def test_good_push_is_promoted_on_every_service() -> None:
    """Every wave bakes and the target becomes stable; desired count, sidecars and unknown fields stay."""
    stage = Stage()
    stage.push()
    rollout = stage.run()
    assert rollout.phase is Phase.PROMOTED
    assert stage.digests() == [TARGET, TARGET]
    assert {s.digest for s in stage.stable().values()} == {TARGET}
    definition = stage.ecs.revisions[stage.ecs.services[stage.names[0]].primary.revision].definition
    assert definition["containerDefinitions"][0]["unheardOf"] == {"kept": True}
    assert definition["containerDefinitions"][1]["image"] == "public.ecr.aws/envoy:1"
    assert not stage.tracker.tickets


def test_waves_move_one_after_the_other_and_each_bakes() -> None:
    """The second node is not touched before the first has baked for bake_seconds."""
    stage = Stage()
    stage.push()
    first = stage.run(until=lambda r: r.phase is Phase.BAKING and r.bake_since is not None)
    assert stage.digests() == [TARGET, STABLE]
    second = stage.run(until=lambda r: r.wave == 1)
    assert second.wave_since is not None
    assert first.bake_since is not None
    assert (second.wave_since - first.bake_since).total_seconds() >= stage.group.limits.bake_seconds


def test_smoke_task_that_dies_rejects_and_touches_nothing() -> None:
    """A release that cannot even start is refused at smoke, quarantined, with one ticket."""
    stage = Stage()
    stage.push()
    smoke = next(t for t in stage.ecs.all_tasks.values() if t.service is None)
    del stage.nodes.all["smoke of nodes"]
    stage.ecs.kill_lone(smoke.arn)
    rollout = stage.run()
    assert (rollout.phase, rollout.reason) == (Phase.REJECTED, "smoke_failed")
    assert stage.calls.count("ecs.point") == 0
    assert TARGET in stage.ledger.group("nodes")[0].quarantine
    assert len(stage.tracker.tickets) == 1


def test_smoke_task_runs_without_the_volume_and_is_stopped() -> None:
    """Two tasks on one data directory corrupt the chain, so smoke gets scratch storage."""
    stage = Stage()
    stage.push()
    smoke = next(t for t in stage.ecs.all_tasks.values() if t.service is None)
    assert stage.ecs.revisions[smoke.revision].definition["volumes"] == []
    stage.run()
    assert stage.ecs.all_tasks[smoke.arn].status == "STOPPED"


@pytest.mark.parametrize(
    ("talk", "reason"),
    [
        (Talk(supply=0.0), "supply"),
        (Talk(chain="other"), "forked"),
        (Talk(lag=50), "height_regressed"),
        (Talk(answers={Endpoint.STATS: Answer.SICK}), "answers"),
    ],
)
def test_sick_chain_takes_everything_back(talk: Talk, reason: str) -> None:
    """What the node says on the target is over a limit: every touched service goes back to stable."""
    stage = Stage()
    stage.bad[stage.names[0]] = talk
    stage.push()
    rollout = stage.run()
    assert (rollout.phase, rollout.reason) == (Phase.ROLLED_BACK, reason)
    assert stage.digests() == [STABLE, STABLE]
    assert len(stage.tracker.tickets) == 1
    assert TARGET in stage.ledger.group("nodes")[0].quarantine


def test_second_wave_fails_and_the_first_goes_back_too() -> None:
    """The fleet never stays split."""
    stage = Stage()
    stage.bad[stage.names[1]] = Talk(supply=0.0)
    stage.push()
    rollout = stage.run()
    assert rollout.phase is Phase.ROLLED_BACK
    assert stage.digests() == [STABLE, STABLE]
    assert all(step.restored_at for step in rollout.steps)


def test_stalled_node_is_taken_back() -> None:
    """A node that advanced on stable and does not on the target is sick."""
    stage = Stage()
    stage.bad[stage.names[0]] = Talk(stands_since=stage.now + timedelta(seconds=60))
    stage.push()
    rollout = stage.run()
    assert rollout.phase is Phase.ROLLED_BACK
    assert rollout.reason in ("height_stalled", "lag")


def test_first_dead_task_decides_where_one_task_is_desired() -> None:
    """Long before ECS' breaker: the first proof is enough."""
    stage = Stage()
    stage.push()
    stage.run(until=lambda r: r.phase is Phase.SHIFTING and bool(r.touched))
    stage.ecs.crash(stage.names[0])
    stage.tick()
    rollout = stage.rollout()
    assert rollout is not None
    assert (rollout.phase, rollout.reason) == (Phase.ROLLING_BACK, "tasks_died")


def test_alarm_that_fires_in_the_bake_takes_it_back_and_an_old_one_does_not() -> None:
    """An alarm counts against its state at the start."""
    stage = Stage()
    old, new = stage.group.services[stage.names[0]].alarms
    stage.alarms.all[old] = "ALARM"
    stage.push()
    stage.run(until=lambda r: r.phase is Phase.BAKING)
    stage.pass_time(10)
    stage.tick()
    assert (r := stage.rollout()) is not None and r.phase is Phase.BAKING
    stage.alarms.all[new] = "ALARM"
    assert stage.run().reason == "alarm"


def test_unmeasurable_fleet_is_held_not_rolled_back() -> None:
    """Probes time out from our side: UNKNOWN alone never rolls back and never promotes."""
    stage = Stage()
    stage.push()
    stage.run(until=lambda r: r.phase is Phase.SHIFTING and bool(r.touched))
    stage.nodes.all.clear()
    rollout = stage.run()
    assert (rollout.phase, rollout.reason) == (Phase.HELD, "not_measured")
    assert stage.digests()[0] == TARGET
    assert TARGET not in stage.ledger.group("nodes")[0].quarantine


@pytest.mark.parametrize("error", [DeniedError("no"), ThrottledError("slow down"), AwsUnavailableError("500")])
def test_unreadable_metrics_are_held(error: Exception) -> None:
    """CloudWatch denies or fails: held at the deadline, with the reason."""
    stage = Stage()
    stage.push()
    stage.run(until=lambda r: r.phase is Phase.BAKING)
    stage.calls.fail("alarms.states", error, times=10_000)
    rollout = stage.run()
    assert (rollout.phase, rollout.reason) == (Phase.HELD, "not_measured")


def test_breaker_that_went_to_stable_is_agreed_with() -> None:
    """ECS acted first: no second change of the service."""
    stage = Stage()
    stage.push()
    stage.run(until=lambda r: bool(r.touched) and r.steps[0].confirmed)
    points = stage.calls.count("ecs.point")
    name = stage.names[0]
    stage.ecs.roll_back(name, stage.stable()[name].revision)
    rollout = stage.run()
    assert (rollout.phase, rollout.reason) == (Phase.ROLLED_BACK, "circuit_breaker")
    assert stage.calls.count("ecs.point") == points


def test_breaker_that_went_elsewhere_is_corrected_to_stable() -> None:
    """A bad release that had reached steady state counts as COMPLETED for ECS; stable is what we promoted."""
    stage = Stage()
    name = stage.names[0]
    other = stage.ecs.add_revision(stage.ecs.revisions[stage.ecs.services[name].primary.revision].definition)
    stage.push()
    stage.run(until=lambda r: bool(r.touched) and r.steps[0].confirmed)
    stage.ecs.roll_back(name, other)
    rollout = stage.run()
    assert rollout.phase is Phase.ROLLED_BACK
    assert stage.ecs.services[name].primary.revision == stage.stable()[name].revision


def test_deployment_that_failed_without_a_rollback_is_taken_back() -> None:
    """ECS says FAILED and stays on the target, as with a breaker that may not roll back: the way back is ours."""
    stage = Stage()
    stage.push()
    stage.run(until=lambda r: bool(r.touched) and r.steps[0].confirmed)
    name = stage.names[0]
    world = stage.ecs.services[name]
    stage.ecs.crash(name)
    world.deployments = [replace(d, state="FAILED") if d is world.primary else d for d in world.deployments]
    rollout = stage.run()
    assert (rollout.phase, rollout.reason) == (Phase.ROLLED_BACK, "tasks_died")
    assert world.primary.revision == stage.stable()[name].revision


def test_service_that_is_gone_is_held_at_the_highest_grade() -> None:
    """Somebody deleted the service in mid-rollout: there is nothing left to take back."""
    stage = Stage()
    stage.push()
    stage.run(until=lambda r: r.phase is Phase.BAKING)
    for task in stage.ecs.running(stage.names[0]):
        stage.ecs.stop(task.arn, "service deleted")
    del stage.ecs.services[stage.names[0]]
    rollout = stage.run(settle=False)
    assert (rollout.phase, rollout.reason) == (Phase.HELD, "service_gone")
    assert [ticket.title[:2] for ticket in stage.tracker.tickets] == ["P1"]


def test_way_back_is_kept_before_the_image_runs_anywhere() -> None:
    """A lifecycle rule may fire at any moment; stable's images are tagged first."""
    stage = Stage()
    stage.push()
    stage.run(until=lambda r: bool(r.touched))
    names = stage.calls.names
    assert max(i for i, name in enumerate(names) if name == "ecr.keep") < names.index("ecs.run_alone")


@pytest.mark.parametrize("phase", [Phase.SHIFTING, Phase.BAKING])
def test_observation_makes_as_many_calls_for_two_services_as_for_thirty(phase: Phase) -> None:
    """All services are asked for at once; what a call of the port costs in AWS calls, its adapter's tests say."""

    def calls_of_a_tick(nodes: int) -> list[str]:
        stage = Stage(nodes=nodes)
        stage.push()
        stage.run(until=lambda r: r.phase is phase)
        before = len(stage.calls.names)
        stage.pass_time(10)
        stage.tick()
        return sorted(name for name in stage.calls.names[before:] if not name.startswith("ledger."))

    few = calls_of_a_tick(2)
    assert "nodes.read" in few
    assert few == calls_of_a_tick(10) == calls_of_a_tick(30)


def test_foreign_change_is_held_and_not_fought() -> None:
    """Someone else changes the service mid-way."""
    stage = Stage()
    stage.push()
    stage.run(until=lambda r: r.phase is Phase.BAKING)
    name = stage.names[0]
    theirs = stage.ecs.add_revision(stage.ecs.revisions[stage.stable()[name].revision].definition)
    stage.ecs.point(name, theirs)
    rollout = stage.run()
    assert (rollout.phase, rollout.reason) == (Phase.HELD, "foreign_change")
    assert stage.ecs.services[name].primary.revision == theirs


def test_nothing_stable_is_held_and_touches_nothing() -> None:
    """The first deployment ever has no way back."""
    stage = Stage(adopted=False)
    stage.push()
    rollout = stage.run()
    assert (rollout.phase, rollout.reason) == (Phase.HELD, "nothing_stable")
    assert stage.calls.count("ecs.point") == 0


def test_no_capacity_waits_and_is_held() -> None:
    """Missing capacity is not the version's fault."""
    stage = Stage()
    stage.push()
    stage.run(until=lambda r: bool(r.touched))
    stage.ecs.services[stage.names[0]].unplaced = "was unable to place a task"
    for task in stage.ecs.running(stage.names[0]):  # stop before start: the stable task is gone already
        stage.ecs.stop(task.arn, "replaced")
    rollout = stage.run(settle=False)
    assert (rollout.phase, rollout.reason) == (Phase.HELD, "no_capacity")


def test_damaged_data_is_held_without_quarantine() -> None:
    """A node that refuses its own data: another version would not mend it."""
    stage = Stage()
    stage.push()
    stage.run(until=lambda r: bool(r.touched) and r.steps[0].confirmed)
    dead = stage.ecs.crash(stage.names[0])
    stage.logs.all[dead.arn] = "Blockchain data integrity check failed"
    stage.tick()
    rollout = stage.rollout()
    assert rollout is not None
    assert (rollout.phase, rollout.reason) == (Phase.HELD, "data_damaged")
    assert TARGET not in stage.ledger.group("nodes")[0].quarantine
    assert stage.tracker.tickets[0].title.startswith(Grade.P1)


def test_way_back_that_fails_is_held_at_the_highest_grade() -> None:
    """Stable is sick too: nothing more is tried, a person is told which node."""
    stage = Stage()
    stage.bad[stage.names[0]] = Talk(supply=0.0)
    stage.push()
    stage.run(until=lambda r: r.phase is Phase.ROLLING_BACK)
    stage.talks[stage.names[0]] = Talk(supply=0.0)
    rollout = stage.run()
    assert (rollout.phase, rollout.reason) == (Phase.HELD, "way_back_fails")
    assert stage.names[0] in rollout.why
    assert stage.tracker.tickets[0].title.startswith(Grade.P1)


def test_newer_push_takes_over_at_the_wave_boundary() -> None:
    """The active rollout ends, the newer one owns what it touched, and the group is never left split."""
    stage = Stage()
    stage.push()
    stage.run(until=lambda r: r.phase is Phase.BAKING)
    stage.push(NEWER, "2.2.0", later=1)
    old = stage.run()
    assert (old.phase, old.reason) == (Phase.SUPERSEDED, "newer_push")
    newer = stage.run(digest=NEWER)
    assert newer.phase is Phase.PROMOTED
    assert stage.digests() == [NEWER, NEWER]


def test_newer_push_that_fails_takes_back_what_it_inherited() -> None:
    """Stable is the last promoted release, not the superseded one."""
    stage = Stage()
    stage.push()
    stage.run(until=lambda r: r.phase is Phase.BAKING)
    stage.push(NEWER, "2.2.0", later=1)
    stage.run()
    stage.bad = dict.fromkeys(stage.names, Talk(supply=0.0))
    newer = stage.run(digest=NEWER)
    assert newer.phase is Phase.ROLLED_BACK
    assert stage.digests() == [STABLE, STABLE]


def test_same_push_twice_starts_once() -> None:
    """At least once means twice."""
    stage = Stage()
    assert stage.push()
    assert not stage.push()
    assert len(stage.ledger.rollouts("nodes")) == 1


def test_stable_digest_is_a_no_op() -> None:
    """A digest that is stable everywhere moves nothing."""
    stage = Stage()
    stage.push(STABLE, "again")
    rollout = stage.rollout(STABLE)
    assert rollout is not None
    assert (rollout.phase, rollout.reason) == (Phase.PROMOTED, "already_stable")
    assert stage.calls.count("ecs.run_alone") == 0


def test_quarantined_digest_is_refused() -> None:
    """What was taken back once does not come again by itself."""
    stage = Stage()
    stage.bad[stage.names[0]] = Talk(supply=0.0)
    stage.push()
    stage.run()
    stage.pass_time(3600)
    stage.ecr.tags[REPOSITORY, "2.1.1"] = TARGET
    stage.push(TARGET, "2.1.1")
    rollout = stage.rollout()
    assert rollout is not None
    assert (rollout.phase, rollout.reason) == (Phase.REJECTED, "quarantined")


def test_person_rolls_back_a_promoted_release_to_the_one_before() -> None:
    """With nothing under way, rollback returns to the release promoted before, without a smoke."""
    stage = Stage()
    stage.push()
    stage.run()
    smokes = stage.calls.count("ecs.run_alone")
    stage.say(Word.ROLLBACK)
    rollout = stage.run(digest=STABLE)
    assert rollout.phase is Phase.PROMOTED
    assert stage.digests() == [STABLE, STABLE]
    assert stage.calls.count("ecs.run_alone") == smokes
    assert TARGET in stage.ledger.group("nodes")[0].quarantine


def test_person_rolls_back_an_open_rollout() -> None:
    """A person's word is enough."""
    stage = Stage()
    stage.push()
    stage.run(until=lambda r: r.phase is Phase.BAKING)
    stage.say(Word.ROLLBACK)
    rollout = stage.run()
    assert (rollout.phase, rollout.reason) == (Phase.ROLLED_BACK, "rollback_requested")


def test_abort_does_not_condemn_the_image() -> None:
    """An abort takes back but quarantines nothing."""
    stage = Stage()
    stage.push()
    stage.run(until=lambda r: r.phase is Phase.BAKING)
    stage.say(Word.ABORT)
    assert stage.run().phase is Phase.ROLLED_BACK
    assert stage.ledger.group("nodes")[0].quarantine == {}


def test_abort_in_the_smoke_stops_the_task_and_rejects() -> None:
    """Nothing was touched."""
    stage = Stage()
    del stage.nodes.all["smoke of nodes"]
    stage.push()
    stage.say(Word.ABORT)
    assert stage.run().phase is Phase.REJECTED
    assert all(t.status == "STOPPED" for t in stage.ecs.all_tasks.values() if t.service is None)


def test_hold_defers_and_release_lets_go() -> None:
    """A held group starts nothing; released, the waiting rollout goes on."""
    stage = Stage()
    stage.say(Word.HOLD)
    stage.push()
    stage.run(until=lambda r: r.phase is Phase.WAITING and r.reason == "on_hold")
    stage.say(Word.RELEASE)
    assert stage.run().phase is Phase.PROMOTED


def test_approval_gate_waits_for_a_person() -> None:
    """Production asks; nothing starts before somebody approved."""
    stage = Stage()
    stage.fleet = stage.fleet.model_copy(
        update={"groups": {**stage.fleet.groups, "nodes": stage.group.model_copy(update={"approval": True})}}
    )
    stage.push()
    stage.run(until=lambda r: r.phase is Phase.AWAITING_APPROVAL)
    assert stage.calls.count("ecs.run_alone") == 0
    stage.say(Word.APPROVE)
    rollout = stage.run()
    assert (rollout.phase, rollout.approved_by) == (Phase.PROMOTED, "ann")


def test_held_rollout_goes_back_when_a_person_says_so() -> None:
    """Release with then=rollback."""
    stage = Stage()
    stage.push()
    stage.run(until=lambda r: r.phase is Phase.SHIFTING and bool(r.touched))
    talks, stage.nodes.all = stage.nodes.all, {}
    stage.run()
    stage.nodes.all = talks
    stage.say(Word.RELEASE, then="rollback")
    assert stage.run().phase is Phase.ROLLED_BACK


def test_held_rollout_resumes() -> None:
    """Release lets it go on where it stopped."""
    stage = Stage()
    stage.push()
    stage.run(until=lambda r: r.phase is Phase.SHIFTING and bool(r.touched))
    talks, stage.nodes.all = stage.nodes.all, {}
    stage.run()
    stage.nodes.all = talks
    stage.say(Word.RELEASE)
    assert stage.run().phase is Phase.PROMOTED


def test_tracker_down_does_not_delay_the_rollback_and_the_ticket_comes_later() -> None:
    """The outbox keeps it."""
    stage = Stage()
    stage.tracker.down = True
    stage.bad[stage.names[0]] = Talk(supply=0.0)
    stage.push()
    assert stage.run().phase is Phase.ROLLED_BACK
    assert not stage.tracker.tickets
    stage.tracker.down = False
    for _ in range(5):
        stage.pass_time(1000)
        stage.tick()
    assert len(stage.tracker.tickets) == 1


def test_two_ticks_at_once_only_one_acts() -> None:
    """The claim decides; the loser stops quietly."""
    stage = Stage()
    claim = stage.ledger.claim("nodes", owner="other", now=stage.now, lease_seconds=90)
    assert claim is not None
    assert stage.tick().ran is False


def test_lost_wake_is_picked_up_by_the_schedule() -> None:
    """An open rollout is always due at some time."""
    stage = Stage()
    stage.push()
    assert stage.ledger.due_groups(stage.now + timedelta(minutes=20))


def _calls_of(bad: bool) -> int:
    stage = Stage()
    if bad:
        stage.bad[stage.names[1]] = Talk(supply=0.0)
    start = len(stage.calls.names)
    stage.push()
    stage.run()
    return len(stage.calls.names) - start


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("bad", [False, True])
def test_lambda_killed_at_any_call_ends_the_same(bad: bool, after: bool) -> None:
    """Wherever a tick dies, the next finishes the job: no orphan revision, no second ticket."""
    total = _calls_of(bad)
    for at in range(1, total, 7):
        stage = Stage()
        if bad:
            stage.bad[stage.names[1]] = Talk(supply=0.0)
        stage.calls.fail(None, Crash(), at=at, after=after)
        try:
            stage.push()
        except Crash:
            stage.pass_time(100)
            stage.push()
        rollout = stage.run()
        assert rollout.phase is (Phase.ROLLED_BACK if bad else Phase.PROMOTED), f"killed at call {at}: {rollout.why}"
        assert stage.digests() == ([STABLE, STABLE] if bad else [TARGET, TARGET])
        families = [a for a in stage.ecs.revisions if "smoke" not in a]
        assert len(families) == 4, f"killed at call {at}: orphan revisions {families}"
        assert len(stage.tracker.tickets) == (1 if bad else 0), f"killed at call {at}"
        lone = [t for t in stage.ecs.all_tasks.values() if t.service is None]
        assert len(lone) == 1
        assert lone[0].status == "STOPPED"


@pytest.mark.parametrize("error", [ThrottledError("slow"), AwsUnavailableError("500")])
def test_failing_aws_calls_are_never_taken_for_sickness(error: Exception) -> None:
    """A call that fails now and then delays and changes nothing."""
    for at in range(1, _calls_of(bad=False), 11):
        stage = Stage()
        stage.push()
        for name in ("ecs.describe", "ecs.tasks", "ecs.point", "ecs.register_once", "alarms.states", "ecr.facts"):
            stage.calls.fail(name, error, at=1 + at % 5, times=2)
        assert stage.run().phase is Phase.PROMOTED


def test_way_back_that_is_not_proven_refuses() -> None:
    """Stable's image is gone: there would be no way back, so nothing starts."""
    stage = Stage()
    stage.ecr.remove(REPOSITORY, STABLE)
    stage.push()
    rollout = stage.run()
    assert (rollout.phase, rollout.reason) == (Phase.REJECTED, "way_back")


def test_unsteady_service_waits() -> None:
    """A service that is not steady defers the start, and after the deadline a person is told."""
    stage = Stage()
    stage.ecs.services[stage.names[0]].desired = 2
    stage.push()
    rollout = stage.rollout()
    assert rollout is not None
    assert (rollout.phase, rollout.reason) == (Phase.WAITING, "unsteady")
    assert stage.run(settle=False).phase is Phase.HELD


def test_release_labelled_irreversible_needs_a_person() -> None:
    """It cannot be taken back, so somebody must approve."""
    stage = Stage()
    key = (REPOSITORY, TARGET)
    stage.ecr.images[key] = replace(stage.ecr.images[key], irreversible=True)
    stage.push()
    assert (r := stage.rollout()) is not None and r.phase is Phase.AWAITING_APPROVAL


def test_changed_configuration_rolls_through_the_same_waves() -> None:
    """The stable digest on the family's newest revision, as Terraform left it: same waves, bake and way back."""
    stage = Stage()
    for name in stage.names:
        definition = dict(stage.ecs.revisions[stage.stable()[name].revision].definition)
        container, *rest = definition["containerDefinitions"]
        changed = {**container, "environment": [{"name": "XAI_LOG_LEVEL", "value": "DEBUG"}]}
        stage.ecs.add_revision({**definition, "containerDefinitions": [changed, *rest]})
    stage.say(Word.START, origin=Origin.CONFIGURATION, digest=STABLE, repository=REPOSITORY)
    rollout = stage.run(digest=STABLE)
    assert rollout.phase is Phase.PROMOTED
    for name in stage.names:
        running = stage.ecs.revisions[stage.ecs.services[name].primary.revision].definition
        assert running["containerDefinitions"][0]["environment"] == [{"name": "XAI_LOG_LEVEL", "value": "DEBUG"}]
    assert stage.digests() == [STABLE, STABLE]


def test_time_in_which_our_lambdas_were_down_counts_for_no_deadline() -> None:
    """Back after an hour, a healthy release is baked and promoted, not condemned for our absence."""
    stage = Stage()
    stage.push()
    stage.run(until=lambda r: r.phase is Phase.SHIFTING and bool(r.touched))
    stage.pass_time(3600)
    stage.tick()
    assert (r := stage.rollout()) is not None and r.phase in (Phase.SHIFTING, Phase.BAKING)
    assert stage.run().phase is Phase.PROMOTED


def test_inactive_stable_revision_refuses() -> None:
    """ECS would not return to a deregistered revision, so nothing starts."""
    stage = Stage()
    stage.ecs.revisions[stage.stable()[stage.names[1]].revision].definition["status"] = "INACTIVE"
    stage.push()
    rollout = stage.run()
    assert (rollout.phase, rollout.reason) == (Phase.REJECTED, "way_back")


def test_tag_that_moved_on_refuses() -> None:
    """The event's digest is pinned; a tag that points elsewhere by now has its own push."""
    stage = Stage()
    stage.ecr.tags[REPOSITORY, "2.1.0"] = NEWER
    stage.push()
    rollout = stage.run()
    assert (rollout.phase, rollout.reason) == (Phase.REJECTED, "tag_moved")


def test_missing_image_refuses() -> None:
    """Long before ECS would find out."""
    stage = Stage()
    stage.ecr.remove(REPOSITORY, TARGET)
    stage.push()
    rollout = stage.run()
    assert (rollout.phase, rollout.reason) == (Phase.REJECTED, "image_missing")


def test_change_that_ecs_refuses_is_held_with_its_words() -> None:
    """As with five active deployments: repeating it would not help, a person must look."""
    stage = Stage()
    stage.push()
    stage.calls.fail("ecs.point", MisconfiguredError("5 active deployments exist, unable to create new deployment"))
    rollout = stage.run()
    assert (rollout.phase, rollout.reason) == (Phase.HELD, "action_refused")
    assert "5 active deployments" in rollout.why


def test_service_scaled_to_zero_waits() -> None:
    """A rollout of nothing would succeed and prove nothing."""
    stage = Stage()
    stage.ecs.services[stage.names[0]].desired = 0
    stage.ecs.settle()
    for task in stage.ecs.running(stage.names[0]):
        stage.ecs.stop(task.arn, "scaled in")
    stage.push()
    assert (r := stage.rollout()) is not None and (r.phase, r.reason) == (Phase.WAITING, "unsteady")


def test_capacity_missing_for_the_smoke_waits_and_then_goes_on() -> None:
    """RESOURCE:* says nothing about the image."""
    stage = Stage()
    stage.ecs.no_room = True
    stage.push()
    stage.pass_time(60)
    stage.tick()
    assert (r := stage.rollout()) is not None and r.phase is Phase.SMOKING
    stage.ecs.no_room = False
    assert stage.run().phase is Phase.PROMOTED


def test_queued_push_learns_nothing_from_the_release_before_it() -> None:
    """The one before it lost its supply and went back; the next is judged against stable, and starts from there."""
    stage = Stage()
    stage.bad = dict.fromkeys(stage.names, Talk(supply=0.0))
    stage.push()
    stage.run(until=lambda r: r.phase is Phase.SHIFTING and bool(r.touched))
    stage.push(NEWER, "2.2.0", later=1)
    assert stage.run().phase is Phase.ROLLED_BACK
    newer = stage.run(digest=NEWER)
    assert (newer.phase, newer.reason) == (Phase.ROLLED_BACK, "supply")
    assert stage.digests() == [STABLE, STABLE]


def test_heir_that_is_refused_takes_back_what_it_inherited() -> None:
    """A rollout that owns a half-moved group never just ends: the group must not stay split."""
    stage = Stage()
    stage.push()
    stage.run(until=lambda r: r.phase is Phase.BAKING)
    stage.push(NEWER, "2.2.0", later=1)
    stage.run()
    stage.ecr.tags[REPOSITORY, "2.2.0"] = STABLE
    newer = stage.run(digest=NEWER)
    assert (newer.phase, newer.reason) == (Phase.ROLLED_BACK, "tag_moved")
    assert stage.digests() == [STABLE, STABLE]


def test_smoke_task_of_a_held_rollout_is_stopped() -> None:
    """Whatever happens, nothing runs on."""
    stage = Stage()
    stage.nodes.all.clear()
    stage.ecs.lone_tasks_run = True
    stage.talks = {}
    stage.push()
    stage.run(until=lambda r: not r.open or r.phase in (Phase.HELD, Phase.WAITING))
    for _ in range(3):
        stage.pass_time(20)
        stage.tick()
    assert all(t.status == "STOPPED" for t in stage.ecs.all_tasks.values() if t.service is None)


def test_what_can_never_be_read_is_held_with_its_words() -> None:
    """A cluster that does not exist is not retried for ever in silence."""
    stage = Stage()
    stage.push()
    stage.run(until=lambda r: r.phase is Phase.BAKING)
    stage.calls.fail("ecs.describe", MisconfiguredError("Cluster not found."))
    rollout = stage.run()
    assert (rollout.phase, rollout.reason) == (Phase.HELD, "misconfigured")
    assert len(stage.tracker.tickets) == 1


def test_second_rollback_finds_nothing_and_condemns_nothing() -> None:
    """What runs as stable is never put into quarantine, and what was left is not returned to."""
    stage = Stage()
    stage.push()
    stage.run()
    stage.say(Word.ROLLBACK)
    stage.run(digest=STABLE)
    told = stage.say(Word.ROLLBACK).told
    assert told[0].startswith("nothing to roll back to")
    assert set(stage.ledger.group("nodes")[0].quarantine) == {TARGET}


def test_finding_that_came_to_light_since_does_not_bar_the_way_back() -> None:
    """A person returns to a promoted release whatever its scan says by now."""
    stage = Stage()
    stage.push()
    stage.run()
    key = (REPOSITORY, STABLE)
    stage.ecr.images[key] = replace(stage.ecr.images[key], findings={"CRITICAL": 1})
    stage.say(Word.ROLLBACK)
    assert stage.run(digest=STABLE).phase is Phase.PROMOTED


def test_smoke_that_the_platform_ends_again_and_again_is_held_and_condemns_nothing() -> None:
    """Spot interruptions are not the version's fault; released, the image is tried anew."""
    stage = Stage()
    smoke = stage.nodes.all.pop("smoke of nodes")
    stage.push()
    for _ in range(12):
        for task in [t for t in stage.ecs.all_tasks.values() if t.service is None and t.status != "STOPPED"]:
            stage.ecs._stop(task, "SpotInterruption", "Your Spot Task was interrupted.")
        stage.pass_time(40)
        stage.tick()
    rollout = stage.rollout()
    assert rollout is not None
    assert (rollout.phase, rollout.reason) == (Phase.HELD, "no_capacity")
    assert stage.ledger.group("nodes")[0].quarantine == {}
    stage.nodes.all["smoke of nodes"] = smoke
    stage.say(Word.RELEASE)
    assert stage.run().phase is Phase.PROMOTED
