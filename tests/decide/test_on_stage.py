"""What the searches and tables found, told as stories on fakes: each was a defect once."""

from __future__ import annotations

from chalicelib.incident.model import Grade
from chalicelib.rollout.model import Phase, Rollout, Word
from tests.run.stage import NEWER, REPOSITORY, STABLE, TARGET, Stage, Talk

THIRD = "sha256:" + "d" * 64


def baking(rollout: Rollout) -> bool:
    """Its wave is being watched."""
    return rollout.phase is Phase.BAKING


def test_release_is_not_condemned_for_the_alarm_of_the_one_before_it() -> None:
    """The fix is pushed while the bad release's alarm still stands: it is judged against the states at its own start."""
    stage = Stage()
    alarm = stage.group.services[stage.names[0]].alarms[0]
    stage.push()
    stage.run(until=baking)
    stage.push(NEWER, "2.2.0", later=1)
    for _ in range(2):  # the fix passes its smoke while all alarms are OK
        stage.pass_time(5)
        stage.tick()
    stage.alarms.all[alarm] = "ALARM"
    assert stage.run().reason == "alarm"
    assert stage.run(digest=NEWER).phase is Phase.PROMOTED


def test_tolerated_death_does_not_keep_a_release_from_promotion() -> None:
    """Two tasks desired, max_failed_tasks 1: one death within the limit is no reason to run into the deadline."""
    stage = Stage()
    for name in stage.names:
        stage.ecs.services[name].desired = 2
    stage.ecs.settle()
    stage.push()
    stage.run(until=baking)
    stage.pass_time(60)
    stage.tick()
    stage.ecs.crash(stage.names[0])
    assert stage.run().phase is Phase.PROMOTED


def test_deaths_add_up_also_when_ecs_forgot_the_first() -> None:
    """ECS shows stopped tasks for about an hour; the second death is one too many all the same."""
    stage = Stage()
    for name in stage.names:
        stage.ecs.services[name].desired = 2
    stage.ecs.settle()
    stage.push()
    stage.run(until=baking)
    stage.pass_time(60)
    stage.tick()
    first = stage.ecs.crash(stage.names[0])
    stage.pass_time(10)
    stage.tick()
    del stage.ecs.all_tasks[first.arn]
    stage.pass_time(60)
    stage.ecs.crash(stage.names[0])
    stage.tick()
    assert (r := stage.rollout()) is not None and (r.phase, r.reason) == (Phase.ROLLING_BACK, "tasks_died")


def test_return_is_not_condemned_for_a_death_before_it() -> None:
    """The earlier release had lost a task once, long before a person returns to it."""
    stage = Stage()
    stage.pass_time(60)
    stage.ecs.crash(stage.names[0])
    stage.pass_time(60)
    stage.push()
    assert stage.run().phase is Phase.PROMOTED
    stage.say(Word.ROLLBACK)
    assert stage.run(digest=STABLE).phase is Phase.PROMOTED


def test_released_rollout_is_not_held_again_for_what_was_mended() -> None:
    """The volume was restored by hand; the dead task that ECS still shows is of before the release."""
    stage = Stage()
    stage.push()
    stage.run(until=lambda r: bool(r.touched) and r.steps[0].confirmed)
    dead = stage.ecs.crash(stage.names[0])
    stage.logs.all[dead.arn] = "Blockchain data integrity check failed"
    stage.tick()
    assert (r := stage.rollout()) is not None and (r.phase, r.reason) == (Phase.HELD, "data_damaged")
    stage.pass_time(300)
    stage.say(Word.RELEASE)
    assert stage.run().phase is Phase.PROMOTED


def test_smoke_of_a_push_that_was_pushed_out_is_stopped() -> None:
    """The second push smokes behind the first when the third takes its place."""
    stage = Stage()
    stage.ecr.push(REPOSITORY, THIRD, "2.3.0")
    stage.push()
    stage.run(until=baking)
    smoke = stage.nodes.all.pop("smoke of nodes")
    stage.push(NEWER, "2.2.0", later=1)
    stage.pass_time(3)
    stage.push(THIRD, "2.3.0", later=2)
    stage.nodes.all["smoke of nodes"] = smoke
    assert stage.run(digest=THIRD).phase is Phase.PROMOTED
    lone = [task for task in stage.ecs.all_tasks.values() if task.service is None]
    assert len(lone) == 3
    assert {task.status for task in lone} == {"STOPPED"}


def test_abort_of_a_waiting_rollout_frees_the_group() -> None:
    """The next push must not queue behind a rollout that has ended."""
    stage = Stage()
    stage.say(Word.HOLD)
    stage.push()
    stage.say(Word.ABORT)
    assert (r := stage.rollout()) is not None and r.phase is Phase.REJECTED
    stage.say(Word.RELEASE)
    stage.pass_time(60)
    stage.push(NEWER, "2.2.0")
    assert stage.run(digest=NEWER).phase is Phase.PROMOTED


def test_ticket_of_a_way_back_that_somebody_stopped_keeps_the_evidence() -> None:
    """Why it was taken back matters most when the way back is held."""
    stage = Stage()
    stage.bad[stage.names[0]] = Talk(supply=0.0)
    stage.push()
    stage.run(until=lambda r: r.phase is Phase.ROLLING_BACK and r.steps[0].restored_at is not None)
    target = stage.run(until=lambda r: r.steps[0].confirmed).steps[0].target
    assert target is not None
    stage.ecs.point(stage.names[0], target)
    held = stage.run()
    assert (held.phase, held.reason) == (Phase.HELD, "way_back_fails")
    assert {"supply", "utxo_lost"} <= {finding.check for finding in held.evidence}
    (ticket,) = stage.tracker.tickets
    assert ticket.title.startswith(Grade.P1)
    assert any("supply 0" in repr(body) for body in ticket.comments.values())
    assert stage.digests() == [TARGET, STABLE]
