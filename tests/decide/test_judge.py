"""Numbers against limits: each judge at its limit and just over it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from chalicelib.health.judge import (
    Node,
    judge_alarms,
    judge_answers,
    judge_chain,
    judge_counts,
    judge_targets,
    judge_tasks,
    settled_height,
)
from chalicelib.health.model import EMPTY_DIGEST, Answer, Baseline, Endpoint, Finding, Standing, Verdict, verdict_of
from chalicelib.rollout.decide import decide
from chalicelib.rollout.findings import judge_step
from chalicelib.rollout.model import Phase, Snapshot
from tests.decide.build import (
    ALL_MEASURED,
    DAMAGE,
    NOW,
    STABLE,
    TARGET,
    ago,
    make_baseline,
    make_group,
    make_limits,
    make_node,
    make_reading,
    make_rollout,
    make_state,
    make_step,
    make_task,
    make_view,
    untouched,
)

GOOD, NOT_YET, UNKNOWN, BAD, DAMAGED = Standing.GOOD, Standing.NOT_YET, Standing.UNKNOWN, Standing.BAD, Standing.DAMAGED
LIMITS = make_limits()


def chain(node: Node, **limits: Any) -> dict[str, Standing]:
    """What the chain's checks say, by name."""
    return {f.check: f.standing for f in judge_chain(node, make_limits(**limits))}


def rising(**more: Any) -> Any:
    """A step that rose a moment ago."""
    return make_step(**{"highest": 105, "advanced": True, "advanced_at": ago(5), **more})


# ---------------------------------------------------------------------------------------------------------- tasks


@pytest.mark.parametrize(
    ("deaths", "desired", "lived", "allowed", "standing"),
    [
        (0, 1, 60, 1, GOOD),
        (1, 1, 60, 1, BAD),  # one task desired: the first death decides
        (1, 1, 600, 5, BAD),  # whatever max_failed_tasks says
        (1, 2, 60, 1, GOOD),  # at the limit: tolerated
        (2, 2, 60, 1, BAD),  # over it
        (2, 3, 60, 2, GOOD),
        (3, 3, 60, 2, BAD),
        (1, 3, 29, 2, BAD),  # exits at once: certain
        (1, 3, 30, 2, GOOD),
    ],
)
def test_dead_tasks_count_against_their_limit(
    deaths: int, desired: int, lived: float, allowed: int, standing: Standing
) -> None:
    """With one task desired the first death is one too many; with more, max_failed_tasks; a certain one always."""
    dead = [make_task(arn=f"task/{i}", started_at=ago(lived + 40), stopped_at=ago(40)) for i in range(deaths)]
    found = judge_tasks("n1", dead, desired=desired, limits=make_limits(max_failed_tasks=allowed), damage=DAMAGE)
    assert found.standing is standing


@pytest.mark.parametrize(("known", "standing"), [((), GOOD), (("task/9",), GOOD), (("task/9", "task/8"), BAD)])
def test_death_that_ecs_forgot_still_counts(known: tuple[str, ...], standing: Standing) -> None:
    """DescribeTasks shows a stopped task for about an hour; our own count lasts as long as the rollout."""
    found = judge_tasks("n1", (), desired=2, limits=LIMITS, damage=DAMAGE, known=known)
    assert found.standing is standing
    both = judge_tasks("n1", [make_task(arn="task/9")], desired=2, limits=LIMITS, damage=DAMAGE, known=known)
    assert both.standing is standing  # the same death is not counted twice


def test_task_that_refuses_its_data_is_damage_whatever_else_died() -> None:
    """A damaged volume is not the version's fault, also when other tasks died of the version."""
    dead = [make_task(log="Blockchain data integrity check failed"), make_task(arn="task/2")]
    assert judge_tasks("n1", dead, desired=1, limits=LIMITS, damage=DAMAGE).standing is DAMAGED


@pytest.mark.parametrize("code", ["SpotInterruption", "TerminationNotice", "UserInitiated"])
def test_task_that_the_platform_or_a_person_stopped_is_not_counted(code: str) -> None:
    """Spot, terminations and people say nothing about the version."""
    dead = [make_task(stop_code=code)]
    assert judge_tasks("n1", dead, desired=1, limits=LIMITS, damage=DAMAGE).standing is GOOD


@pytest.mark.parametrize(
    ("change", "check", "standing"),
    [
        ({}, "tasks_running", GOOD),
        ({"revision": STABLE.format("n1")}, "tasks_running", NOT_YET),
        ({"running": 0, "pending": 1}, "tasks_running", NOT_YET),
        ({"running": 0, "unplaced": "was unable to place a task"}, "no_capacity", UNKNOWN),
        ({"unplaced": "was unable to place a task"}, "tasks_running", GOOD),  # an old event, all run
        ({"deployments": ()}, "tasks_running", NOT_YET),
    ],
)
def test_running_tasks_are_judged_and_missing_room_is_unknown(
    change: Mapping[str, Any], check: str, standing: Standing
) -> None:
    """Only a steady primary on the judged revision is good; no capacity is never the version's."""
    found = judge_counts(make_view(**change), TARGET.format("n1"))
    assert (found.check, found.standing) == (check, standing)


# ---------------------------------------------------------------------------------------------- targets and alarms


@pytest.mark.parametrize(
    ("states", "desired", "patient", "standing"),
    [
        (("healthy",), 1, False, GOOD),
        (("healthy", "draining"), 1, False, GOOD),
        (("healthy", "unhealthy"), 2, False, BAD),
        (("initial",), 1, True, NOT_YET),
        (("initial",), 1, False, BAD),
        ((), 1, True, NOT_YET),
        ((), 1, False, BAD),
        (None, 1, False, UNKNOWN),
    ],
)
def test_targets_are_healthy_patient_or_bad(
    states: tuple[str, ...] | None, desired: int, patient: bool, standing: Standing
) -> None:
    """As many healthy targets as tasks desired; within the start period nothing is held against a slow one."""
    found = judge_targets(make_view(desired=desired, target_groups=("tg",)), states, patient=patient)
    assert found is not None
    assert found.standing is standing


def test_service_without_a_load_balancer_has_no_target_finding() -> None:
    """A node without a target group is not judged by one."""
    assert judge_targets(make_view(), None, patient=False) is None


@pytest.mark.parametrize(
    ("at_start", "now", "standing"),
    [
        ("OK", "OK", GOOD),
        ("OK", "INSUFFICIENT_DATA", GOOD),
        ("INSUFFICIENT_DATA", "INSUFFICIENT_DATA", GOOD),
        ("ALARM", "ALARM", GOOD),
        ("ALARM", "OK", GOOD),
        ("OK", "ALARM", BAD),
        ("INSUFFICIENT_DATA", "ALARM", BAD),
        (None, "ALARM", BAD),
        ("OK", None, UNKNOWN),
    ],
)
def test_alarm_counts_against_its_state_at_the_start(at_start: str | None, now: str | None, standing: Standing) -> None:
    """An old alarm is not the release's; no data is no alarm; a missing one is unknown."""
    start = {"a": at_start} if at_start else {}
    (found,) = judge_alarms("n1", ["a"], {"a": now} if now else {}, start)
    assert found.standing is standing


def test_alarms_that_cannot_be_read_are_unknown_each() -> None:
    """Denied metrics are our side's trouble, never sickness."""
    found = judge_alarms("n1", ["a", "b"], None, {"a": "OK"})
    assert [f.standing for f in found] == [UNKNOWN, UNKNOWN]


def test_alarm_of_another_service_is_not_looked_at() -> None:
    """Only bound alarms count."""
    assert judge_alarms("n1", [], {"other": "ALARM"}, {}) == ()


# -------------------------------------------------------------------------------------------------------- answers


def answers(**more: Answer) -> dict[Endpoint, Answer]:
    """All measured, but those named (by the endpoint's name)."""
    return {**ALL_MEASURED, **{Endpoint[name.upper()]: answer for name, answer in more.items()}}


@pytest.mark.parametrize(
    ("said", "strikes", "reaches_others", "answered", "standing"),
    [
        (answers(), 0, True, True, GOOD),
        (answers(finality=Answer.NOT_OFFERED), 0, True, True, GOOD),
        (answers(liveness=Answer.OUR_FAULT), 9, True, True, UNKNOWN),
        (answers(stats=Answer.OUR_FAULT), 9, True, True, UNKNOWN),
        (answers(liveness=Answer.NOT_OFFERED), 0, True, True, UNKNOWN),
        (answers(stats=Answer.SICK), 2, True, True, NOT_YET),  # the third in a row is sick
        (answers(stats=Answer.SICK), 3, True, True, BAD),
        (answers(liveness=Answer.SICK), 3, False, False, BAD),  # a 500 was an answer: our side is fine
        (answers(stats=Answer.TIMED_OUT), 3, False, False, UNKNOWN),  # nobody is reached: our side
        (answers(stats=Answer.TIMED_OUT), 99, False, False, UNKNOWN),
        (answers(stats=Answer.TIMED_OUT), 3, True, False, BAD),  # the same prober reaches others
        (answers(stats=Answer.TIMED_OUT), 3, False, True, BAD),  # it answered in this bake
        (answers(stats=Answer.TIMED_OUT), 2, True, True, NOT_YET),
        (answers(stats=Answer.TIMED_OUT, state=Answer.SICK), 3, False, False, BAD),
        (answers(stats=Answer.SICK, state=Answer.OUR_FAULT), 3, True, True, BAD),
    ],
)
def test_answers_are_classed_once_and_counted_in_a_row(
    said: Mapping[Endpoint, Answer], strikes: int, reaches_others: bool, answered: bool, standing: Standing
) -> None:
    """5xx and the like are sick after probe_failures in a row; a time-out only when our side is known to work."""
    step = make_step(strikes=strikes, answered_at=ago(60) if answered else None)
    found = judge_answers(step, make_reading(answers=said), reaches_others=reaches_others, limits=LIMITS)
    assert found.standing is standing


def test_endpoint_that_stable_never_answered_is_not_held_against_the_target() -> None:
    """A sick answer to a question that stable could not answer either says nothing about this release."""
    step = make_step(strikes=9, baseline=make_baseline(offered=frozenset({Endpoint.LIVENESS, Endpoint.STATS})))
    reading = make_reading(answers=answers(finality=Answer.SICK, state=Answer.TIMED_OUT))
    assert judge_answers(step, reading, reaches_others=True, limits=LIMITS).standing is GOOD


def test_service_that_could_not_be_asked_is_unknown() -> None:
    """No running task is ECS' to judge, not ours."""
    assert judge_answers(make_step(), None, reaches_others=True, limits=LIMITS).standing is UNKNOWN


# ---------------------------------------------------------------------------------------------------------- height


@pytest.mark.parametrize(
    ("height", "highest", "baseline", "check"),
    [
        (105, 105, 100, "height_kept"),
        (103, 105, 100, "height_kept"),  # a reorg of 2 blocks is normal
        (99, 105, 100, "height_kept"),  # reorg_depth under the highest
        (98, 105, 100, "height_regressed"),  # one more
        (94, None, 100, "height_kept"),  # against the baseline
        (93, None, 100, "height_regressed"),
        (1, 105, 100, "height_regressed"),  # started from genesis
    ],
)
def test_height_may_fall_by_a_reorg_and_no_further(height: int, highest: int | None, baseline: int, check: str) -> None:
    """More than reorg_depth under the highest that this node ever said is a lost chain, sync allowance or not."""
    step = rising(highest=highest, baseline=make_baseline(height=baseline))
    node = make_node(step=step, reading=make_reading(height=height, finalized=height - 3), may_sync=True)
    said = chain(node, reorg_depth=6)
    assert said[check] is (GOOD if check == "height_kept" else BAD)


@pytest.mark.parametrize(
    ("still", "advanced", "stands", "check", "standing"),
    [
        (60, True, False, "height_advancing", GOOD),
        (60, False, False, "height_advancing", NOT_YET),  # no rise since the update: it must show one
        (61, True, False, "height_stalled", BAD),
        (61, False, False, "height_stalled", BAD),
        (61, True, True, "chain_stands", NOT_YET),  # nobody else rises either
        (60, True, True, "height_advancing", GOOD),
    ],
)
def test_node_must_rise_within_stall_seconds(
    still: float, advanced: bool, stands: bool, check: str, standing: Standing
) -> None:
    """A node that stands too long is stalled, unless the whole chain of stable nodes stands as well."""
    node = make_node(step=rising(advanced=advanced, advanced_at=ago(still)), chain_stands=stands)
    assert chain(node)[check] is standing


@pytest.mark.parametrize(
    ("best", "may_sync", "standing"),
    [
        (105, False, GOOD),
        (115, False, GOOD),
        (116, False, BAD),
        (116, True, NOT_YET),
        (999, True, NOT_YET),
        (90, False, GOOD),
    ],
)
def test_lag_is_judged_once_the_sync_allowance_is_over(best: int, may_sync: bool, standing: Standing) -> None:
    """max_lag_blocks behind the fleet's best is within; more is not yet, then bad."""
    node = make_node(others=(make_reading("n2", height=best),), may_sync=may_sync)
    assert chain(node)["lag"] is standing


def test_fleet_of_one_has_no_lag_and_no_fork() -> None:
    """A lone node is judged against itself alone, and that is enough to promote."""
    said = chain(make_node())
    assert "lag" not in said
    assert "same_chain" not in said
    assert set(said.values()) == {GOOD}


def test_height_that_stable_said_and_the_target_does_not_is_unknown() -> None:
    """PROMOTED needs the height measured."""
    reading = make_reading(height=None, finalized=None, answers=answers(stats=Answer.NOT_OFFERED))
    assert chain(make_node(reading=reading))["height_measured"] is UNKNOWN


def test_unreached_node_says_nothing_of_its_chain() -> None:
    """Time-outs are judge_answers' to judge."""
    reading = make_reading(answers=dict.fromkeys(Endpoint, Answer.TIMED_OUT), height=None)
    assert judge_chain(make_node(reading=reading), LIMITS) == ()
    assert judge_chain(make_node(reading=None), LIMITS) == ()


# ---------------------------------------------------------------------------------------------------------- hashes


@pytest.mark.parametrize(
    ("hashes", "check", "standing"),
    [
        ({93: "h93"}, "anchor_hash", GOOD),
        ({93: "other"}, "forked", BAD),
        ({}, "anchor_hash", UNKNOWN),
    ],
)
def test_hash_at_the_anchor_never_changes(hashes: Mapping[int, str], check: str, standing: Standing) -> None:
    """Another hash at the baseline's settled height is a fork at once; one that could not be read is unknown."""
    assert chain(make_node(reading=make_reading(hashes=hashes), may_sync=True))[check] is standing


def test_anchor_that_all_nodes_changed_is_still_a_fork() -> None:
    """What was final on stable stays final, whoever else shares the new hash."""
    others = (make_reading("n2", hashes={93: "other"}), make_reading("n3", hashes={93: "other"}))
    node = make_node(reading=make_reading(hashes={93: "other"}), others=others)
    assert chain(node)["forked"] is BAD


@pytest.mark.parametrize("baseline", [make_baseline(anchor=None, anchor_hash=None), make_baseline(anchor_hash=None)])
def test_stable_that_offered_no_hash_asks_for_none(baseline: Baseline) -> None:
    """Save what stable does not offer either."""
    said = chain(make_node(step=rising(baseline=baseline), reading=make_reading(hashes={})))
    assert "anchor_hash" not in said


@pytest.mark.parametrize(
    ("mine", "theirs", "trusted", "standing"),
    [
        ("x", ("x",), {"n2"}, GOOD),
        ("y", ("x",), {"n2"}, BAD),  # two nodes, no majority: the one on stable decides
        ("y", ("x",), set(), BAD),  # neither is on stable: they must not differ
        ("x", ("x", "y"), {"n3"}, GOOD),  # the majority, also against a stable one
        ("y", ("x", "x"), set(), BAD),
        ("y", ("y", "x"), set(), GOOD),
        ("x", ("y", "z"), {"n2"}, BAD),  # three opinions: stable's decides
        ("y", ("y", "x", "x"), {"n3", "n4"}, BAD),  # two against two: those on stable decide
        ("x", ("x", "y", "y"), {"n2"}, GOOD),
    ],
)
def test_fork_at_a_common_height_is_decided_by_the_majority_or_by_stable(
    mine: str, theirs: tuple[str, ...], trusted: set[str], standing: Standing
) -> None:
    """With three there is a majority; with two, or a tie, the nodes that still run stable decide."""
    others = tuple(make_reading(f"n{i}", hashes={97: said}) for i, said in enumerate(theirs, start=2))
    node = make_node(reading=make_reading(hashes={93: "h93", 97: mine}), others=others, trusted=frozenset(trusted))
    assert chain(node)["same_chain" if standing is GOOD else "forked"] is standing


def test_no_common_height_compares_nothing() -> None:
    """Hashes of different heights cannot be compared."""
    node = make_node(reading=make_reading(hashes={93: "h93", 97: "x"}), others=(make_reading("n2", hashes={98: "y"}),))
    assert "same_chain" not in chain(node)


@pytest.mark.parametrize(
    ("height", "finalized", "depth", "settled"),
    [(100, 90, 6, 90), (100, None, 6, 93), (100, 100, 6, 93), (100, -1, 6, 93), (3, None, 6, 0), (1, 0, 6, 0)],
)
def test_settled_height_is_finalised_or_reorg_depth_under_the_tip(
    height: int, finalized: int | None, depth: int, settled: int
) -> None:
    """A finality that makes no sense is not believed."""
    assert settled_height(height, finalized, depth) == settled


# ------------------------------------------------------------------------------------------------- supply and UTXO


@pytest.mark.parametrize(
    ("before", "now", "standing"),
    [
        (1000.0, 1000.0, GOOD),
        (1000.0, 1010.0, GOOD),
        (1000.0, 990.0, GOOD),  # max_supply_drop_ratio 0.01
        (1000.0, 989.9, BAD),
        (1000.0, 0.0, BAD),
        (1000.0, None, UNKNOWN),
    ],
)
def test_supply_may_drop_by_its_ratio(before: float, now: float | None, standing: Standing) -> None:
    """The supply that stable said is the measure."""
    node = make_node(step=rising(baseline=make_baseline(supply=before)), reading=make_reading(supply=now))
    assert chain(node)["supply"] is standing


@pytest.mark.parametrize("before", [None, 0.0])
@pytest.mark.parametrize("now", [None, 0.0, 5.0])
def test_supply_that_stable_never_offered_is_not_asked_for(before: float | None, now: float | None) -> None:
    """Neither a reason to roll back nor one to hold."""
    node = make_node(step=rising(baseline=make_baseline(supply=before)), reading=make_reading(supply=now))
    assert "supply" not in chain(node)


@pytest.mark.parametrize(
    ("before", "now", "check", "standing"),
    [
        ("u", "v", "utxo_digest", GOOD),
        ("u", EMPTY_DIGEST, "utxo_lost", BAD),
        ("u", None, "utxo_digest", UNKNOWN),
        (None, EMPTY_DIGEST, None, None),
        (EMPTY_DIGEST, EMPTY_DIGEST, None, None),  # stable had an empty set too
    ],
)
def test_utxo_digest_is_never_that_of_an_empty_set(
    before: str | None, now: str | None, check: str | None, standing: Standing | None
) -> None:
    """Unless stable had none either."""
    node = make_node(step=rising(baseline=make_baseline(utxo_digest=before)), reading=make_reading(utxo_digest=now))
    said = {name: s for name, s in chain(node).items() if name.startswith("utxo")}
    assert said == ({check: standing} if check else {})


@pytest.mark.parametrize(
    ("twins", "standing"),
    [
        ((("t105", "u105"),), GOOD),
        ((("t105", "other"),), BAD),
        ((("t104", "other"),), GOOD),  # another tip: not comparable
        ((("t105", "other"), ("t105", "u105")), GOOD),  # as many like it as unlike
        ((("t105", "other"), ("t105", "other"), ("t105", "u105")), BAD),
        ((("t105", EMPTY_DIGEST),), GOOD),  # the other one lost its set
        ((("t105", None),), GOOD),
    ],
)
def test_utxo_digest_is_equal_on_nodes_at_the_same_tip(
    twins: tuple[tuple[str, str | None], ...], standing: Standing
) -> None:
    """Same tip, other digest, and no more nodes like it: its state differs."""
    others = tuple(
        make_reading(f"n{i}", digest_tip=tip, utxo_digest=digest) for i, (tip, digest) in enumerate(twins, start=2)
    )
    assert chain(make_node(others=others))["utxo_digest"] is standing


# -------------------------------------------------------------------------------------------------------- finality


@pytest.mark.parametrize(
    ("lag", "before", "may_pause", "standing"),
    [
        (100, 2, False, GOOD),
        (101, 2, False, BAD),
        (101, 2, True, NOT_YET),  # the announced pause
        (101, 101, False, GOOD),  # stable was as far behind
        (102, 101, False, BAD),
    ],
)
def test_finality_lag_is_bounded_save_for_the_announced_pause(
    lag: int, before: int, may_pause: bool, standing: Standing
) -> None:
    """max_finality_lag_blocks, or what stable said if that was more."""
    step = rising(highest=300, baseline=make_baseline(height=290, finality_lag=before))
    reading = make_reading(height=300, finalized=299 - lag)
    assert chain(make_node(step=step, reading=reading, may_pause=may_pause))["finality"] is standing


@pytest.mark.parametrize(
    ("before", "answer"), [(None, Answer.MEASURED), (2, Answer.NOT_OFFERED), (2, Answer.TIMED_OUT)]
)
def test_finality_that_is_not_offered_is_not_measured(before: int | None, answer: Answer) -> None:
    """Releases differ: an endpoint that one lacks is never sickness."""
    step = rising(baseline=make_baseline(finality_lag=before))
    reading = make_reading(answers=answers(finality=answer), finalized=None)
    assert "finality" not in chain(make_node(step=step, reading=reading))


def test_finality_that_stands_since_the_update_is_no_health() -> None:
    """A rollout is shorter than the lag's limit: finality that went on upon stable must go on upon the target."""
    before = make_baseline(finality_lag=2, finality_rises=True)
    reading = make_reading(finalized=97)
    stands = rising(baseline=before, finalized=97, finalized_at=ago(60))
    for may_pause, standing in ((True, NOT_YET), (False, BAD)):
        assert chain(make_node(step=stands, reading=reading, may_pause=may_pause))["finality"] is standing
    rose = replace(stands, finality_rose=True)
    assert chain(make_node(step=rose, reading=reading, may_pause=False))["finality"] is GOOD
    stood = replace(stands, baseline=replace(before, finality_rises=False))  # as it did on stable
    assert chain(make_node(step=stood, reading=reading, may_pause=False))["finality"] is GOOD


def test_finality_pause_is_bounded_by_the_wave() -> None:
    """The pause is granted for finality_pause_max_seconds from the wave's start, then it counts."""
    group = make_group(limits={"max_finality_lag_blocks": 1})
    seen = Snapshot(at=NOW, services={"n1": make_view("n1")}, readings={"n1": make_reading(finalized=90)})
    step = rising(baseline=make_baseline(finality_lag=0), shifted_at=ago(900))
    for since, standing in ((ago(300), NOT_YET), (ago(301), BAD)):
        rollout = make_rollout(step, phase=Phase.BAKING, wave_since=since)
        found = {f.check: f.standing for f in judge_step(rollout, step, seen, group, NOW)}
        assert found["finality"] is standing


# -------------------------------------------------------------------------------------- all findings of one service


def judged(step: Any, *others: Any, readings: Mapping[str, Any], now: datetime = NOW) -> dict[str, Finding]:
    """What is found of a step's service in a rollout."""
    rollout = make_rollout(step, *others, phase=Phase.BAKING)
    views = {s.service: make_view(s.service, s.expected) for s in rollout.steps}
    seen = Snapshot(at=now, services=views, readings=readings)
    return {f.check: f for f in judge_step(rollout, step, seen, make_group(), now)}


def test_chain_that_stands_everywhere_is_not_the_releases() -> None:
    """No stable node rises either: not yet, and no rollback."""
    step = rising(advanced_at=ago(200), height=105)
    other = untouched(highest=105, height=105, advanced_at=ago(200))
    found = judged(step, other, readings={"n1": make_reading(), "n2": make_reading("n2")})
    assert found["chain_stands"].standing is NOT_YET


def test_node_that_stands_while_stable_rises_is_stalled() -> None:
    """One stable node that rises is enough."""
    step = rising(advanced_at=ago(200), height=105)
    other = untouched(highest=105, height=105, advanced_at=ago(5))
    found = judged(step, other, readings={"n1": make_reading(), "n2": make_reading("n2")})
    assert found["height_stalled"].standing is BAD


def test_fleet_of_one_that_stands_is_stalled() -> None:
    """A node that advanced before the update and does not after it is UNHEALTHY, with nobody to compare."""
    found = judged(rising(advanced_at=ago(61), advanced=False), readings={"n1": make_reading()})
    assert found["height_stalled"].standing is BAD


@pytest.mark.parametrize(("running_for", "standing"), [(120, NOT_YET), (121, BAD)])
def test_restarted_node_may_catch_up_within_its_sync_allowance(running_for: float, standing: Standing) -> None:
    """Counted from when its tasks ran."""
    step = rising(running_at=ago(running_for))
    found = judged(step, untouched(), readings={"n1": make_reading(), "n2": make_reading("n2", height=200)})
    assert found["lag"].standing is standing


@pytest.mark.parametrize(("answered", "running_for", "standing"), [
    (False, 60, NOT_YET), (False, 61, BAD), (True, 60, BAD),
])  # fmt: skip
def test_slow_start_is_not_held_against_it_within_the_start_period(
    answered: bool, running_for: float, standing: Standing
) -> None:
    """A node that has answered once is up: from then on wrong answers count."""
    step = rising(running_at=ago(running_for), strikes=5, answered_at=ago(30) if answered else None)
    reading = make_reading(answers=dict.fromkeys(Endpoint, Answer.SICK), height=None)
    found = judged(step, untouched(), readings={"n1": reading, "n2": make_reading("n2")})
    assert found["answers"].standing is standing


def test_reorg_of_two_blocks_in_the_bake_is_promoted() -> None:
    """Height and tip change above the settled height, and the rollout goes on to PROMOTED."""
    step = rising(height=105, bake_height=95, strikes=0)
    rollout = make_rollout(step, phase=Phase.BAKING, bake_since=ago(200))
    group = make_group({"n1": make_group().services["n1"]})
    reading = make_reading(height=103, tip="reorg", digest_tip="reorg", finalized=100)
    seen = Snapshot(at=NOW, services={"n1": make_view("n1")}, readings={"n1": reading})
    assert decide(rollout, seen, make_state(), group, NOW).rollout.phase is Phase.PROMOTED


@pytest.mark.parametrize(
    ("standings", "verdict"),
    [
        ((GOOD,), Verdict.HEALTHY),
        ((GOOD, GOOD), Verdict.HEALTHY),
        ((), Verdict.UNKNOWN),
        ((GOOD, NOT_YET), Verdict.UNKNOWN),
        ((GOOD, UNKNOWN), Verdict.UNKNOWN),
        ((GOOD, UNKNOWN, BAD), Verdict.UNHEALTHY),
        ((DAMAGED,), Verdict.UNHEALTHY),
    ],
)
def test_verdict_is_healthy_only_if_all_is_good(standings: tuple[Standing, ...], verdict: Verdict) -> None:
    """Unknown alone neither rolls back nor promotes; nothing measured is not healthy."""
    assert verdict_of(Finding(check="c", service="s", standing=s, text="") for s in standings) is verdict
