"""Every word in every phase: it fits and changes what it should, or it says so and changes nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import product
from typing import Any

import pytest

from chalicelib.rollout.decide import decide
from chalicelib.rollout.model import (
    IDLE,
    SMOKE_MARK,
    TERMINAL,
    Hold,
    Origin,
    Phase,
    Promotion,
    Request,
    Rollout,
    Stable,
    StopSmoke,
    Word,
)
from chalicelib.rollout.words import Desk, carry_out
from tests.decide.build import (
    NOW,
    STABLE,
    STABLE_DIGEST,
    TARGET_DIGEST,
    ago,
    make_group,
    make_rollout,
    make_state,
    make_step,
    make_task,
    quiet_snapshot,
    untouched,
)

NEWER = "sha256:" + "c" * 64
TOUCHING = (Phase.SHIFTING, Phase.BAKING, Phase.ROLLING_BACK)


def in_phase(phase: Phase, **more: Any) -> Rollout:
    """A rollout as it is in this phase: from SHIFTING on it has touched its first service."""
    touched = phase in (*TOUCHING, Phase.HELD)
    steps = (make_step("n1"), untouched("n2")) if touched else ()
    held = {"held_from": Phase.BAKING} if phase is Phase.HELD else {}
    return make_rollout(*steps, **{"phase": phase, **held, **more})


def desk_of(active: Rollout | None, queued: Rollout | None = None, **state: Any) -> Desk:
    """A desk with these two on it."""
    rollouts = {r.id: r for r in (active, queued) if r is not None}
    facts = {"active": active.id if active else None, "queued": queued.id if queued else None, **state}
    return Desk(state=make_state(**facts), rollouts=rollouts)


def say(word: Word, desk: Desk, **more: Any) -> Desk:
    """One word, carried out."""
    facts: dict[str, Any] = {"by": "ann", "at": NOW, "why": "because"}
    if word is Word.START:
        facts |= {"digest": NEWER, "tag": "2.2.0", "repository": "xai/node", "pushed_at": NOW}
    request = Request(word=word, group="nodes", **{**facts, **more})
    return carry_out("INBOX#2026#0001", request, desk, make_group(), "staging", NOW)


def fits(word: Word, phase: Phase) -> bool:
    """Whether this word changes a rollout that is active in this phase."""
    match word:
        case Word.APPROVE:
            return phase is Phase.AWAITING_APPROVAL
        case Word.RELEASE:
            return phase is Phase.HELD
        case Word.ABORT | Word.ROLLBACK:
            return phase is not Phase.ROLLING_BACK
        case Word.START:
            return phase in IDLE  # it takes the place of what has not begun
        case _:
            return False


OPEN = [phase for phase in Phase if phase not in TERMINAL]


@pytest.mark.parametrize(("word", "phase"), list(product(Word, OPEN)))
def test_word_changes_the_active_rollout_only_where_it_fits(word: Word, phase: Phase) -> None:
    """Total: never an exception, always an answer, and no change where it does not fit."""
    active = in_phase(phase)
    after = say(word, desk_of(active))
    assert after.told
    assert (after.rollouts[active.id] != active) is fits(word, phase)
    if not fits(word, phase) and word not in (Word.HOLD, Word.RELEASE, Word.START):
        assert after.state == make_state()


@pytest.mark.parametrize("word", [word for word in Word if word not in (Word.START, Word.HOLD)])
def test_word_without_anything_open_changes_no_record(word: Word) -> None:
    """Nothing to approve, abort, release or return to."""
    desk = desk_of(None)
    after = say(word, desk)
    assert after.told
    assert (after.rollouts, after.state) == (desk.rollouts, desk.state)


@pytest.mark.parametrize("word", [Word.ABORT, Word.ROLLBACK, Word.APPROVE])
@pytest.mark.parametrize("phase", OPEN)
def test_word_for_another_rollout_changes_nothing(word: Word, phase: Phase) -> None:
    """A word that names a rollout means that one alone."""
    desk = desk_of(in_phase(phase))
    after = say(word, desk, rollout="r-other")
    assert (after.rollouts, after.state) == (desk.rollouts, desk.state)


@pytest.mark.parametrize(("word", "condemned"), [(Word.ABORT, False), (Word.ROLLBACK, True)])
@pytest.mark.parametrize("phase", [Phase.SHIFTING, Phase.BAKING, Phase.HELD])
def test_touched_rollout_goes_back(word: Word, condemned: bool, phase: Phase) -> None:
    """And only a rollback condemns its image."""
    after = say(word, desk_of(in_phase(phase))).rollouts["r1"]
    assert (after.phase, after.condemned, after.rollback_since) == (Phase.ROLLING_BACK, condemned, NOW)


@pytest.mark.parametrize("word", [Word.ABORT, Word.ROLLBACK])
@pytest.mark.parametrize("phase", sorted(IDLE))
def test_untouched_rollout_is_rejected(word: Word, phase: Phase) -> None:
    """Nothing was touched, so there is nothing to take back, and the group is free for the next."""
    after = say(word, desk_of(in_phase(phase), in_phase(Phase.WAITING, id="r2")))
    assert after.rollouts["r1"].phase is Phase.REJECTED
    assert (after.state.active, after.state.queued) == ("r2", None)
    assert say(word, desk_of(in_phase(phase))).state.active is None


@pytest.mark.parametrize("word", [Word.ABORT, Word.ROLLBACK])
@pytest.mark.parametrize("held", [False, True])
def test_smoke_is_stopped_before_its_rollout_ends(word: Word, held: bool) -> None:
    """Also when the rollout was HELD in its smoke and nobody had stopped the task yet."""
    more = {"phase": Phase.HELD, "held_from": Phase.SMOKING} if held else {"phase": Phase.SMOKING}
    after = say(word, desk_of(make_rollout(**more))).rollouts["r1"]
    assert (after.phase, after.smoke_result) == (Phase.SMOKING, "cancelled")
    task = make_task(service=None, status="RUNNING", desired="RUNNING", stopped_at=None)
    first = decide(after, quiet_snapshot(smoke=task), make_state(), make_group(), NOW)
    assert first.actions == (StopSmoke(task=task.arn),)
    gone = replace(task, status="STOPPED", desired="STOPPED")
    assert decide(after, quiet_snapshot(smoke=gone), make_state(), make_group(), NOW).rollout.phase is Phase.REJECTED


def test_smoke_task_of_a_superseded_rollout_is_stopped_by_the_next() -> None:
    """A queued rollout that a newer push pushes out while it smokes leaves its task to the newer one."""
    queued = in_phase(Phase.SMOKING, id="r2", digest="sha256:" + "d" * 64, requested_at=ago(5))
    after = say(Word.START, desk_of(in_phase(Phase.BAKING), queued))
    newest = after.rollouts[after.state.queued or ""]
    assert after.rollouts["r2"].phase is Phase.SUPERSEDED
    assert newest.strays == ("r2",)
    left = make_task(arn="t/r2", service=None, status="RUNNING", desired="RUNNING", started_by=f"{SMOKE_MARK}/r2/0")
    others = make_task(arn="t/r22", service=None, status="RUNNING", desired="RUNNING", started_by=f"{SMOKE_MARK}/r22/0")
    steps = (untouched("n1", 0), untouched("n2", 1))
    decision = decide(
        replace(newest, steps=steps), quiet_snapshot(tasks=(left, others)), make_state(), make_group(), NOW
    )
    assert [a for a in decision.actions if isinstance(a, StopSmoke)] == [StopSmoke(task="t/r2")]


def test_smoke_task_of_an_aborted_queued_rollout_is_left_to_the_active_one() -> None:
    """Abort names the queued one: it ends, and the active one stops its smoke."""
    queued = in_phase(Phase.SMOKING, id="r2")
    after = say(Word.ABORT, desk_of(in_phase(Phase.BAKING), queued), rollout="r2")
    assert after.rollouts["r2"].phase is Phase.SUPERSEDED
    assert after.rollouts["r1"].strays == ("r2",)
    assert after.state.queued is None


# ---------------------------------------------------------------------------------------------------------- start


@pytest.mark.parametrize("phase", [phase for phase in OPEN if phase not in IDLE])
def test_newer_push_queues_behind_what_has_begun(phase: Phase) -> None:
    """The active one ends in order first."""
    after = say(Word.START, desk_of(in_phase(phase)))
    assert after.state.active == "r1"
    assert after.state.queued in after.rollouts


def test_third_push_takes_the_place_of_the_second() -> None:
    """Only the newest waits."""
    waiting = in_phase(Phase.WAITING, id="r2", digest="sha256:" + "d" * 64, requested_at=ago(5))
    after = say(Word.START, desk_of(in_phase(Phase.BAKING), waiting))
    assert after.rollouts["r2"].phase is Phase.SUPERSEDED
    assert after.state.queued not in (None, "r2")


def test_held_rollout_that_touched_nothing_gives_way() -> None:
    """A person's release of it is not awaited: nothing is split."""
    held = make_rollout(phase=Phase.HELD, held_from=Phase.WAITING)
    after = say(Word.START, desk_of(held))
    assert after.rollouts["r1"].phase is Phase.SUPERSEDED
    assert after.state.active != "r1"


def test_late_event_of_an_older_push_is_superseded_at_once() -> None:
    """Events come in any order; the newest push wins."""
    after = say(Word.START, desk_of(in_phase(Phase.WAITING, requested_at=ago(10))), pushed_at=ago(60))
    assert after.state.active == "r1"
    (late,) = [r for r in after.rollouts.values() if r.id != "r1"]
    assert (late.phase, late.reason) == (Phase.SUPERSEDED, "newer_push")


def test_push_of_the_digest_under_way_starts_nothing() -> None:
    """Another tag, or another delivery, of the same image."""
    after = say(Word.START, desk_of(in_phase(Phase.BAKING)), digest=TARGET_DIGEST, tag="latest")
    assert set(after.rollouts) == {"r1"}
    assert after.state.queued is None


def test_digest_that_is_stable_everywhere_is_a_no_op() -> None:
    """It is PROMOTED on paper and owns nothing."""
    after = say(Word.START, desk_of(None), digest=STABLE_DIGEST)
    (done,) = after.rollouts.values()
    assert (done.phase, done.reason) == (Phase.PROMOTED, "already_stable")
    assert after.state.active is None


def test_configuration_of_the_stable_digest_is_no_no_op() -> None:
    """Same digest, newest template: a rollout of its own."""
    after = say(Word.START, desk_of(None), digest=STABLE_DIGEST, origin=Origin.CONFIGURATION, pushed_at=None, tag=None)
    assert after.state.active is not None


# ------------------------------------------------------------------------------------------------ release, rollback


def test_release_lifts_the_hold() -> None:
    """And says so."""
    after = say(Word.RELEASE, desk_of(None, hold=Hold(by="bob", why="", at=NOW)))
    assert after.state.hold is None


def test_hold_is_remembered_with_who_and_why() -> None:
    """For the ticket and the status."""
    after = say(Word.HOLD, desk_of(None))
    assert after.state.hold == Hold(by="ann", why="because", at=NOW)


@pytest.mark.parametrize(
    ("held_from", "phase"),
    [
        (Phase.SHIFTING, Phase.SHIFTING),
        (Phase.BAKING, Phase.BAKING),
        (Phase.ROLLING_BACK, Phase.ROLLING_BACK),
        (Phase.SMOKING, Phase.WAITING),
        (Phase.WAITING, Phase.WAITING),
        (None, Phase.WAITING),
    ],
)
def test_released_rollout_goes_on_where_it_stopped(held_from: Phase | None, phase: Phase) -> None:
    """With new deadlines, and what died before forgiven."""
    held = replace(
        in_phase(Phase.HELD, held_from=held_from), steps=(make_step("n1", dead=("t",), strikes=3), untouched("n2"))
    )
    after = say(Word.RELEASE, desk_of(held)).rollouts["r1"]
    assert (after.phase, after.wave_since, after.held_from) == (phase, NOW, None)
    assert (after.steps[0].dead, after.steps[0].strikes, after.steps[0].shifted_at) == ((), 0, NOW)


def test_release_with_rollback_takes_it_back() -> None:
    """The other way out."""
    after = say(Word.RELEASE, desk_of(in_phase(Phase.HELD)), then="rollback").rollouts["r1"]
    assert after.phase is Phase.ROLLING_BACK


def promotion(rollout: str, digest: str, revision: int) -> Promotion:
    """A release that was promoted."""
    revisions = {name: f"{STABLE.format(name).removesuffix(':1')}:{revision}" for name in ("n1", "n2")}
    return Promotion(rollout=rollout, digest=digest, at=NOW, revisions=revisions)


def test_rollback_of_a_promoted_release_returns_to_the_one_before() -> None:
    """Its revisions are the targets; the release that is left is condemned when the return has come through, not now."""
    history = (promotion("r-a", STABLE_DIGEST, 1), promotion("r-b", TARGET_DIGEST, 2))
    desk = desk_of(None, history=history)
    runs = {n: Stable(revision=arn, digest=TARGET_DIGEST) for n, arn in history[1].revisions.items()}
    after = say(Word.ROLLBACK, replace(desk, state=replace(desk.state, stable=runs)))
    made = after.rollouts[after.state.active or ""]
    assert (made.origin, made.digest, made.returns["n1"]) == (Origin.RETURN, STABLE_DIGEST, STABLE.format("n1"))
    assert after.state.quarantine == {}


def test_rollback_of_a_rollback_goes_further_back_and_not_forth() -> None:
    """A, B, taken back to A: what stands before A is the way back, not B."""
    history = tuple(
        promotion(f"r-{n}", d, r)
        for n, d, r in (("0", TARGET_DIGEST, 7), ("a", STABLE_DIGEST, 1), ("b", "sha256:b", 2))
    )
    back_on_a = (*history, promotion("r-return", STABLE_DIGEST, 1))
    made = next(iter(say(Word.ROLLBACK, desk_of(None, history=back_on_a)).rollouts.values()))
    assert made.digest == TARGET_DIGEST


def test_rollback_of_a_configuration_returns_to_the_revisions_before_it() -> None:
    """The same image on other revisions is a release of its own, and its digest is not condemned."""
    history = (promotion("r-a", STABLE_DIGEST, 9), promotion("r-b", STABLE_DIGEST, 1))
    made = next(iter(say(Word.ROLLBACK, desk_of(None, history=history)).rollouts.values()))
    assert (made.digest, made.returns["n1"][-2:]) == (STABLE_DIGEST, ":9")


def test_rollback_with_one_release_in_history_has_nowhere_to_go() -> None:
    """It says so and quarantines nothing."""
    desk = desk_of(None, history=(promotion("r-a", STABLE_DIGEST, 1),))
    after = say(Word.ROLLBACK, desk)
    assert (after.state, after.rollouts) == (desk.state, desk.rollouts)


def test_same_word_makes_the_same_rollout_id() -> None:
    """A tick that died after reading its inbox carries the word out again: the id must not change."""
    first = say(Word.START, desk_of(None), pushed_at=NOW + timedelta(seconds=1))
    again = say(Word.START, desk_of(None), pushed_at=NOW + timedelta(seconds=1))
    assert first.state.active == again.state.active
    assert STABLE.format("n1") == first.state.stable["n1"].revision
