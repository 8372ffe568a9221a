"""What a rollout's end means for its group."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from chalicelib.health.model import Baseline
from chalicelib.rollout.model import HISTORY, TERMINAL, GroupState, Phase, Promotion, Stable
from chalicelib.rollout.settle import inherit, settle
from tests.decide.build import NOW, STABLE, TARGET, TARGET_DIGEST, make_rollout, make_state, make_step, untouched

ON_TARGET = (make_step("n1"), make_step("n2", wave=1))


def ended(phase: Phase, state: GroupState | None = None, **more: Any) -> GroupState:
    """The group's state after this rollout ended so."""
    before = make_rollout(*ON_TARGET, phase=Phase.BAKING)
    after = make_rollout(*ON_TARGET, phase=phase, **more)
    return settle(state or make_state(), before, after, NOW)


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase not in TERMINAL])
def test_open_rollout_changes_nothing_of_its_group(phase: Phase) -> None:
    """Stable is what was promoted, not what is on its way."""
    assert ended(phase) == make_state()


def test_rollout_that_had_ended_already_changes_nothing() -> None:
    """A late look at it must not settle twice."""
    done = make_rollout(*ON_TARGET, phase=Phase.PROMOTED)
    assert settle(make_state(), done, done, NOW) == make_state()


def test_promoted_target_is_stable_and_in_history() -> None:
    """And out of quarantine, should a person have forced it."""
    state = ended(Phase.PROMOTED, make_state(quarantine={TARGET_DIGEST: "old", "sha256:x": "other"}))
    assert state.stable["n1"] == Stable(revision=TARGET.format("n1"), digest=TARGET_DIGEST)
    assert state.history[-1].digest == TARGET_DIGEST
    assert dict(state.history[-1].revisions) == {"n1": TARGET.format("n1"), "n2": TARGET.format("n2")}
    assert set(state.quarantine) == {"sha256:x"}
    assert state.active is None


def test_no_op_promotion_makes_no_history() -> None:
    """A digest that was stable already has no steps."""
    done = replace(make_rollout(phase=Phase.PROMOTED), steps=())
    state = settle(make_state(active=None), make_rollout(), done, NOW)
    assert state == make_state(active=None)
    assert state.stable["n1"].revision == STABLE.format("n1")


@pytest.mark.parametrize(
    ("phase", "more", "quarantined"),
    [
        (Phase.ROLLED_BACK, {}, True),
        (Phase.ROLLED_BACK, {"condemned": False}, False),  # a person's abort
        (Phase.REJECTED, {"reason": "smoke_failed"}, True),
        (Phase.REJECTED, {"reason": "tag_moved"}, False),
        (Phase.SUPERSEDED, {"reason": "newer_push"}, False),
        (Phase.PROMOTED, {}, False),
    ],
)
def test_digest_is_quarantined_when_it_was_proven_bad(phase: Phase, more: dict[str, Any], quarantined: bool) -> None:
    """Rolled back or failed alone; not for a person's abort or a fact about the tag."""
    assert (TARGET_DIGEST in ended(phase, **more).quarantine) is quarantined


@pytest.mark.parametrize("phase", sorted(TERMINAL))
def test_end_gives_the_turn_to_the_one_behind(phase: Phase) -> None:
    """Whatever the end."""
    state = ended(phase, make_state(queued="r2"))
    assert (state.active, state.queued) == ("r2", None)


def test_end_of_the_queued_one_leaves_the_active_one() -> None:
    """It was refused, or failed its smoke."""
    state = ended(Phase.REJECTED, make_state(active="r0", queued="r1"))
    assert (state.active, state.queued) == ("r0", None)


def test_stable_survives_every_end_but_promotion() -> None:
    """Nothing that fails ever becomes the way back."""
    for phase in TERMINAL - {Phase.PROMOTED}:
        assert ended(phase).stable == make_state().stable


def test_history_keeps_its_newest() -> None:
    """At most HISTORY releases."""
    old = tuple(Promotion(rollout=f"r{i}", digest=f"d{i}", at=NOW, revisions={}) for i in range(HISTORY))
    state = ended(Phase.PROMOTED, make_state(history=old))
    assert len(state.history) == HISTORY
    assert state.history[-1].digest == TARGET_DIGEST
    assert state.history[0].digest == "d1"


def test_heir_owns_the_way_back_of_what_was_touched() -> None:
    """It starts from where the superseded one left the service, and is judged against stable's baseline."""
    old = make_rollout(make_step("n1", baseline=Baseline(height=7)), untouched("n2"))
    heir = inherit(make_rollout(untouched("n1", 0), untouched("n2", 1), id="r2"), old)
    first, second = heir.steps
    assert (first.touched, first.start, first.baseline) == (True, TARGET.format("n1"), Baseline(height=7))
    assert first.target is None
    assert not second.touched


def test_heir_of_nothing_touched_is_unchanged() -> None:
    """There is nothing to own."""
    heir = make_rollout(untouched("n1", 0), id="r2")
    assert inherit(heir, make_rollout()) == heir
