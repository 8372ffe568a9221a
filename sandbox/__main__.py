"""`python -m sandbox`: the whole system on one machine, no AWS account.

Without arguments it tells the story of a good push and a bad one. Exit status: 0 as it should be, 1 another end,
2 wrong usage.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from chalicelib.errors import MisconfiguredError
from chalicelib.fleet.load import load
from chalicelib.fleet.model import Fleet, Kind
from chalicelib.rollout.model import Phase, Rollout
from sandbox.follow import await_tickets, follow, summary
from sandbox.push import parse_image
from sandbox.scenarios import SCENARIOS, run
from sandbox.story import tell_story
from sandbox.world import EXPLORER_COMMAND, FLEETS, NODE_COMMAND, SandboxError, World

DEFAULT_SCALE = 20.0


class UsageError(Exception):
    """The arguments contradict each other or name what is not there."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--push", metavar="NAME:TAG", help="push this image, follow its rollout to the end")
    what.add_argument("--scenario", metavar="NAME", help="run one scenario")
    what.add_argument("--list", action="store_true", help="list the scenarios")
    what.add_argument("--serve", action="store_true", help="keep it all up until Ctrl-C")
    parser.add_argument("--image", metavar="NAME:TAG='COMMAND'", action="append", default=[],
                        help="what an image runs; {port} {p2p_port} {data_dir} {peers} {name} are filled in; may be repeated")  # fmt: skip
    parser.add_argument(
        "--stable", metavar="NAME:TAG", action="append", default=[], help="what the fleet runs at the start"
    )
    parser.add_argument("--environment", choices=("development", "staging", "production"))
    parser.add_argument("--fleet", type=Path, metavar="FILE", help="another fleet file")
    parser.add_argument("--time-scale", type=float, metavar="N", help="sandbox seconds per real second (default 20)")
    parser.add_argument("--json", action="store_true", help="with --push: print one JSON object as the last line")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run what was asked for."""
    arguments = _parser().parse_args(argv)
    # All but the JSON object goes to standard error, so that the last line of standard output is the result.
    console = Console(stderr=arguments.json, highlight=False, soft_wrap=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        return _run(arguments, console)
    except (UsageError, MisconfiguredError) as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return 2
    except (SandboxError, TimeoutError) as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 1


def _run(arguments: argparse.Namespace, console: Console) -> int:
    if arguments.list:
        for scenario in SCENARIOS.values():
            console.print(f"{scenario.name:18} {scenario.ends:12} {scenario.tells}", markup=False)
        return 0
    scale = arguments.time_scale if arguments.time_scale is not None else DEFAULT_SCALE
    if not 0.1 <= scale <= 1000:
        raise UsageError(f"--time-scale {scale:g}: allowed is 0.1 to 1000")
    if arguments.json and not arguments.push:
        raise UsageError("--json goes with --push")
    if arguments.scenario:
        return _scenario(arguments.scenario, scale, console)
    if arguments.push or arguments.serve:
        fleet_file = arguments.fleet or FLEETS / f"{arguments.environment or 'staging'}.yaml"
        fleet = _fleet(fleet_file)
        images = _images(arguments.image, fleet)
        world = World(fleet_file=fleet_file, time_scale=scale, stable=_stable(arguments.stable, images, fleet))
        return _push(arguments, world, images, console) if arguments.push else _serve(world, images, console)
    if arguments.image or arguments.stable or arguments.fleet:
        raise UsageError("--image, --stable and --fleet go with --push or --serve")
    return tell_story(console, environment=arguments.environment or "staging", time_scale=arguments.time_scale)


def _fleet(path: Path) -> Fleet:
    if not path.is_file():
        raise UsageError(f"fleet file {path} does not exist")
    return load(path)


def _images(arguments: Sequence[str], fleet: Fleet) -> dict[tuple[str, str], tuple[str, ...]]:
    images = {}
    for argument in arguments:
        try:
            repository, tag, command = parse_image(argument)
        except ValueError as error:
            raise UsageError(f"--image: {error}") from error
        _known(repository, fleet, "--image")
        images[(repository, tag)] = command
    return images


def _stable(
    arguments: Sequence[str], images: dict[tuple[str, str], tuple[str, ...]], fleet: Fleet
) -> dict[str, tuple[str, tuple[str, ...]]]:
    stable = {}
    for argument in arguments:
        repository, tag = _named(argument, "--stable")
        _known(repository, fleet, "--stable")
        stable[repository] = (tag, images.get((repository, tag)) or _stand_in(repository, fleet))
    return stable


def _named(argument: str, option: str) -> tuple[str, str]:
    repository, colon, tag = argument.rpartition(":")
    if not colon or not repository or not tag:
        raise UsageError(f"{option} {argument!r} is not NAME:TAG, such as xai/node:2.1.0")
    return repository, tag


def _known(repository: str, fleet: Fleet, option: str) -> None:
    if fleet.group_of_repository(repository) is None:
        known = ", ".join(group.repository for group in fleet.groups.values())
        raise UsageError(f"{option}: no group of {fleet.environment} runs {repository}; its repositories are: {known}")


def _stand_in(repository: str, fleet: Fleet) -> tuple[str, ...]:
    group = fleet.groups[fleet.group_of_repository(repository) or ""]
    return NODE_COMMAND if group.kind is Kind.NODE else EXPLORER_COMMAND


def _push(
    arguments: argparse.Namespace, world: World, images: dict[tuple[str, str], tuple[str, ...]], console: Console
) -> int:
    repository, tag = _named(arguments.push, "--push")
    _known(repository, world.fleet, "--push")
    group = world.fleet.group_of_repository(repository) or ""
    if not world.fleet.groups[group].wants(tag):
        patterns = ", ".join(world.fleet.groups[group].tags)
        raise UsageError(
            f"--push: group {group} of {world.fleet.environment} takes tags that match {patterns}; not {tag!r}"
        )
    console.print(f"starting {world.fleet.environment} at {world.scale:g} sandbox seconds a second")
    with world:
        command = images.get((repository, tag)) or _stand_in(repository, world.fleet)
        digest = world.push(repository, tag, command)
        rollout = follow(world, group, digest, lambda r: _say(console, r))
        await_tickets(world)
        found = summary(world, rollout)
    for ticket in found["tickets"]:
        console.print(f"ticket {ticket['id']} {ticket['severity']} {ticket['title']}", markup=False)
    if arguments.json:
        print(json.dumps(found), flush=True)
    return 0 if rollout.phase is Phase.PROMOTED else 1


def _say(console: Console, rollout: Rollout) -> None:
    console.print(f"{rollout.phase:17} {rollout.why}", markup=False)


def _scenario(name: str, scale: float, console: Console) -> int:
    scenario = SCENARIOS.get(name)
    if scenario is None:
        raise UsageError(f"no scenario {name!r}; --list lists them")
    console.print(f"{scenario.name}: {scenario.tells}; must end {scenario.ends}", markup=False)
    result = run(scenario, time_scale=scale, tell=lambda r: _say(console, r))
    for complaint in result.wrong:
        console.print(f"WRONG: {complaint}", markup=False)
    console.print(f"{'as it should be' if not result.wrong else 'not as it should be'}, {result.seconds:.0f} s")
    return 1 if result.wrong else 0


def _serve(world: World, images: dict[tuple[str, str], tuple[str, ...]], console: Console) -> int:
    with world:
        stage, repository = world.fleet.environment, next(iter(world.fleet.groups.values())).repository
        for (name, tag), command in images.items():
            world.push(name, tag, command)
        console.print(
            f"""{stage} is up at {world.scale:g} sandbox seconds a second; Ctrl-C ends it.

  the cloud        {world.cloud.url}   (AWS_ENDPOINT_URL of every AWS client)
  the tickets      {world.tracker.url}

push an image      python -m sandbox.push --endpoint {world.cloud.url} {repository}:2.1.0='{" ".join(NODE_COMMAND)}'
see the state      python -m sandbox.invoke --endpoint {world.cloud.url} --stage {stage} status
invoke a function  echo '{{"group": "nodes", "why": "test"}}' | python -m sandbox.invoke --endpoint {world.cloud.url} --stage {stage} rollback
""",
            markup=False,
        )
        while True:
            time.sleep(0.5)


if __name__ == "__main__":
    os.environ.setdefault("XAI_OPS_LOG_LEVEL", "CRITICAL")
    sys.exit(main())
