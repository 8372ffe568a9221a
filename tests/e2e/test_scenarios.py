"""Every scenario of the sandbox, end to end: real processes, real HTTP, our own handlers."""

from __future__ import annotations

import pytest

from sandbox.scenarios import SCENARIOS, run

SCALE = 32  # faster ones are at the mercy of a loaded machine: a second lost is half of the stall limit


@pytest.mark.e2e
@pytest.mark.parametrize("name", list(SCENARIOS))
def test_scenario_ends_as_it_must(name: str) -> None:
    """The rollout ends in its phase, for its reason, with its tickets, and leaves the world as it should be."""
    result = run(SCENARIOS[name], time_scale=SCALE)
    assert not result.wrong, "\n".join(result.wrong)
