"""The order in which services move, and how many at once."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.fleet.model import Role, Service
from chalicelib.rollout.plan import plan_waves
from tests.decide.build import make_group, sentry, validator

roles = st.sampled_from([Role.VALIDATOR, Role.SENTRY, Role.BACKUP])
services = st.builds(Service, wave=st.integers(1, 4), role=roles)
fleets = st.dictionaries(st.integers(1, 30).map(lambda n: f"n{n}"), services, min_size=1, max_size=12)
quorums = st.sampled_from([0.5, 0.51, 0.67, 0.75, 0.9, 1.0])


def test_three_validators_move_one_at_a_time_and_the_pause_is_announced() -> None:
    """3 at 0.67 need all 3: any restart pauses finality, so the plan says so."""
    plan = plan_waves(make_group({f"n{i}": validator(1) for i in range(3)}))
    assert plan.waves == (("n0",), ("n1",), ("n2",))
    assert any("finality pauses" in note and "300 s" in note for note in plan.notes)
    assert any("split" in note for note in plan.notes)


def test_four_validators_can_spare_one() -> None:
    """4 at 0.67 need 3: one may be down, and nothing pauses."""
    plan = plan_waves(make_group({f"n{i}": validator(1) for i in range(4)}))
    assert plan.waves == (("n0",), ("n1",), ("n2",), ("n3",))
    assert not any("finality pauses" in note for note in plan.notes)


def test_seven_validators_can_spare_two() -> None:
    """7 at 0.67 need 5."""
    plan = plan_waves(make_group({f"n{i}": validator(1) for i in range(7)}))
    assert [len(wave) for wave in plan.waves] == [2, 2, 2, 1]


def test_who_does_not_vote_moves_with_the_first_batch_of_its_wave() -> None:
    """Sentries and backups cost no quorum."""
    plan = plan_waves(make_group({"v1": validator(1), "s1": sentry(1), "v2": validator(1), "s2": sentry(2)}))
    assert plan.waves == (("s1", "v1"), ("v2",), ("s2",))


def test_plan_tells_in_which_wave_a_service_moves() -> None:
    """By its index."""
    plan = plan_waves(make_group())
    assert (plan.wave_of("n1"), plan.wave_of("n2")) == (0, 1)
    assert not any("split" in note for note in plan.notes)


@settings(max_examples=150, deadline=None)
@given(fleet=fleets, quorum=quorums)
def test_no_wave_takes_down_more_validators_than_the_quorum_can_spare(fleet: dict[str, Service], quorum: float) -> None:
    """Whatever the fleet file says."""
    group = make_group(fleet, finality_quorum=quorum)
    spare = group.validators_may_be_down
    total = sum(1 for service in fleet.values() if service.role is Role.VALIDATOR)
    assert total - spare >= total * quorum - 1e-6  # what is left is a quorum
    for wave in plan_waves(group).waves:
        down = sum(1 for name in wave if fleet[name].role is Role.VALIDATOR)
        assert down <= max(1, spare)


@settings(max_examples=150, deadline=None)
@given(fleet=fleets, quorum=quorums)
def test_every_service_moves_exactly_once_and_in_the_files_order(fleet: dict[str, Service], quorum: float) -> None:
    """No wave is empty, none is left out, and the fleet file's waves are kept."""
    waves = plan_waves(make_group(fleet, finality_quorum=quorum)).waves
    order = [name for wave in waves for name in wave]
    assert sorted(order) == sorted(fleet)
    assert all(waves)
    numbers = [fleet[name].wave for name in order]
    assert numbers == sorted(numbers)
    assert all(len({fleet[name].wave for name in wave}) == 1 for wave in waves)
