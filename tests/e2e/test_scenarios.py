"""Every scenario of the sandbox, end to end: real processes, real HTTP, our own handlers, each with its policy."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import pytest
from chalice.config import Config
from chalice.local import LocalGateway

from chalicelib.rollout.model import Phase, Rollout
from sandbox.alarm import set_alarm
from sandbox.follow import follow
from sandbox.lambdas import running
from sandbox.scenarios import SCENARIOS, Check, run
from sandbox.world import FLEETS, NODE_COMMAND, World
from tests.e2e.calls import MADE_IN, TICKERS
from tests.sandbox.stage import eventually
from tools.policies import TICKING, calls_of
from tools.stages import API_HANDLER

SCALE = 32  # faster ones are at the mercy of a loaded machine: a second lost is half of the stall limit


def only_what_is_allowed(world: World, _rollout: Rollout) -> str | None:
    """Nothing was refused by a policy, not even what is only read for a ticket; and no call was made in nobody's name."""
    nobodys = sorted(call for function, call in world.cloud.made() if not function)
    return "; ".join([*sorted(set(world.cloud.refused())), *(f"nobody's call: {call}" for call in nobodys)]) or None


def makes(calls: Collection[str]) -> Check:
    """Each of these calls was made by a function that may: one that runs ticks, where every tick may."""

    def check(world: World, _rollout: Rollout) -> str | None:
        made = set(world.cloud.made())
        missing = [call for call in calls if not any((function, call) in made for function in makers(call))]
        return f"never called by whom the table says: {', '.join(missing)}" if missing else None

    return check


def makers(call: str) -> Collection[str]:
    """Who shows that a call is needed."""
    return TICKERS if call in TICKING else [name for name in (*TICKERS, API_HANDLER) if call in calls_of(name)]


@pytest.mark.e2e
@pytest.mark.parametrize("name", list(SCENARIOS))
def test_scenario_ends_as_it_must(name: str) -> None:
    """The rollout ends in its phase, for its reason, with its tickets, and leaves the world as it should be.

    No policy was in its way, and it made the calls for which it stands in the table.
    """
    claimed = [call for call, scenario in MADE_IN.items() if scenario == name]
    scenario = SCENARIOS[name]
    result = run(replace(scenario, checks=(*scenario.checks, only_what_is_allowed, makes(claimed))), time_scale=SCALE)
    assert not result.wrong, "\n".join(result.wrong)


@pytest.mark.e2e
def test_mail_speaks_when_every_tracker_fails() -> None:
    """Production's fallback: the one function that tells it by SNS is allowed to."""
    with World(environment="production", time_scale=SCALE) as world:
        world.desk.down = True
        set_alarm(world.ground.client("cloudwatch"), "xai-production-node-1-memory-high", "ALARM", world.now())
        told = [(function, "sns:publish") for function in TICKERS]
        eventually(lambda: any(each in world.cloud.made() for each in told), seconds=120)
        assert world.cloud.refused() == []


@pytest.mark.e2e
def test_each_function_is_allowed_what_it_calls() -> None:
    """Every function of the stage runs, people's words too; status and incidents make each call that they are allowed."""
    with World(time_scale=SCALE) as world:
        set_alarm(world.ground.client("cloudwatch"), "xai-staging-node-1-memory-high", "ALARM", world.now())
        for word in ("abort", "rollback", "hold", "release", "approve"):
            world.invoke(word, {"group": "nodes"})
        world.invoke("rollout", {"group": "explorers", "image": "2.0.0"})
        assert post("/rollouts", {"group": "explorers", "image": "2.0.0"}) == 202
        digest = world.push("xai/node", "2.1.0", NODE_COMMAND)  # its tasks and deployments wake the others
        rollout = eventually(lambda: world.rollout_of("nodes", digest))
        assert rollout.id in json.dumps(world.invoke("status", {}))
        assert world.invoke("incidents", {})["incidents"]
        wanted = {*world.lambdas.functions(), API_HANDLER}
        eventually(lambda: wanted <= {function for function, _ in world.cloud.made()}, seconds=60)
        assert world.cloud.refused() == []
        for function in ("status", "incidents"):
            assert {call for name, call in world.cloud.made() if name == function} == calls_of(function)


def post(path: str, payload: object) -> int:
    """Post to our HTTP API, as somebody whom IAM let through; returns the status."""
    import app  # noqa: PLC0415 - Chalice reads the stage's environment, which the world has set

    with running(API_HANDLER):
        headers = {"content-type": "application/json"}
        body = json.dumps(payload).encode()
        return int(LocalGateway(app.app, Config()).handle_request("POST", path, headers, body)["statusCode"])


@pytest.mark.e2e
def test_missing_permission_fails_a_rollout() -> None:
    """Were the policy without StopTask, the smoke task could not be ended: the rollout is held, and says why."""
    with World(time_scale=SCALE) as world:
        world.permissions.forget("ecs:StopTask")
        rollout = follow(world, "nodes", world.push("xai/node", "2.1.0", NODE_COMMAND))
        assert (rollout.phase, rollout.reason) == (Phase.HELD, "action_refused")
        assert "is not authorized to perform: ecs:StopTask on resource: arn:aws:ecs:" in rollout.why
        assert only_what_is_allowed(world, rollout)


@pytest.mark.e2e
def test_fleet_file_of_ones_own_is_allowed_its_own_names(tmp_path: Path) -> None:
    """The policies follow from the fleet file, also where no name of it is like ours."""
    text = (FLEETS / "development.yaml").read_text()
    own = tmp_path / "own.yaml"
    own.write_text(text.replace("xai-development-node-1", "lonely").replace("xai-development", "elsewhere"))
    with World(fleet_file=own, time_scale=SCALE) as world:
        assert (world.fleet.cluster, list(world.fleet.groups["nodes"].services)) == ("elsewhere", ["lonely"])
        rollout = follow(world, "nodes", world.push("xai/node", "2.1.0", NODE_COMMAND))
        assert rollout.phase is Phase.PROMOTED, rollout.why
        assert only_what_is_allowed(world, rollout) is None
