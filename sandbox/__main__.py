"""`python -m sandbox`: the whole system on one machine, no AWS account.

Without arguments it tells the story of a good push and a bad one. Exit status: 0 as it should be, 1 another end,
2 wrong usage.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
import time
from collections.abc import Mapping, Sequence
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

DEFAULT_SCALE, FASTEST = 20.0, 200.0
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")  # of an image, as registries take it


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
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupted)
    try:
        return _run(arguments, console)
    except (UsageError, MisconfiguredError, SandboxError) as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return 2
    except TimeoutError as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        if arguments.serve:
            return 0  # as its prompt says
        print("sandbox: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT


def _interrupted(number: int, _frame: object) -> None:
    print(f"sandbox: interrupted by {signal.Signals(number).name}", file=sys.stderr)
    sys.exit(128 + number)


def _run(arguments: argparse.Namespace, console: Console) -> int:
    if arguments.list:
        for scenario in SCENARIOS.values():
            console.print(f"{scenario.name:18} {scenario.ends:12} {scenario.tells}", markup=False)
        return 0
    scale = arguments.time_scale if arguments.time_scale is not None else DEFAULT_SCALE
    if not 0.1 <= scale <= FASTEST:
        raise UsageError(f"--time-scale {scale:g}: allowed is 0.1 to {FASTEST:g}; faster than that no process keeps up")
    if arguments.json and arguments.push is None:
        raise UsageError("--json goes with --push")
    if arguments.scenario:
        return _scenario(arguments.scenario, scale, console)
    if arguments.push is not None or arguments.serve:
        return _run_fleet(arguments, scale, console)
    if arguments.image or arguments.stable or arguments.fleet:
        raise UsageError("--image, --stable and --fleet go with --push or --serve")
    return tell_story(console, environment=arguments.environment or "staging", time_scale=arguments.time_scale)


def _run_fleet(arguments: argparse.Namespace, scale: float, console: Console) -> int:
    """One fleet on images of one's own. All that can be wrong with the arguments is said before anything is made."""
    fleet_file = arguments.fleet or FLEETS / f"{arguments.environment or 'staging'}.yaml"
    fleet = _fleet(fleet_file)
    if arguments.environment and arguments.environment != fleet.environment:
        raise UsageError(f"--environment {arguments.environment}, but {fleet_file} is of {fleet.environment}")
    images = _images(arguments.image, fleet)
    stable = _stable(arguments.stable, images, fleet)
    if arguments.push is not None:
        _wanted(arguments.push, fleet)
        _used(images, (arguments.push, *arguments.stable))
    world = World(fleet_file=fleet_file, time_scale=scale, stable=stable)
    return _push(arguments, world, images, console) if arguments.push is not None else _serve(world, images, console)


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
    if not colon or not repository or not TAG.fullmatch(tag):
        raise UsageError(f"{option} {argument!r} is not NAME:TAG, such as xai/node:2.1.0")
    return repository, tag


def _used(images: Mapping[tuple[str, str], object], named: Sequence[str]) -> None:
    """A command of an image that nothing runs is a slip of the pen, and the stand-in would run in its place."""
    for repository, tag in images:
        if f"{repository}:{tag}" not in named:
            raise UsageError(
                f"--image names {repository}:{tag}, which is neither pushed nor --stable ({', '.join(named)})"
            )


def _wanted(argument: str, fleet: Fleet) -> None:
    repository, tag = _named(argument, "--push")
    _known(repository, fleet, "--push")
    name = fleet.group_of_repository(repository) or ""
    if not fleet.groups[name].wants(tag):
        patterns = ", ".join(fleet.groups[name].tags)
        raise UsageError(f"--push: group {name} of {fleet.environment} takes tags that match {patterns}; not {tag!r}")


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
    group = world.fleet.group_of_repository(repository) or ""
    console.print(f"starting {world.fleet.environment} at {world.scale:g} sandbox seconds a second")
    with world:
        command = images.get((repository, tag)) or _stand_in(repository, world.fleet)
        there = world.images.command_of(f"{repository}:{tag}")
        digest = world.push(repository, tag, command)
        if there is not None and there.digest == digest:  # ECR sends no event of a push that changes nothing
            world.invoke("rollout", {"group": group, "image": tag, "why": "pushed again"})
        rollout = follow(world, group, digest, lambda r: _say(console, r))
        await_tickets(world)
        found = summary(world, rollout)
    if rollout.phase is not Phase.PROMOTED and rollout.log:
        console.print("log tail:\n" + "\n".join(rollout.log.splitlines()[-10:]), markup=False)
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
  the tickets      {world.desk.url}

push an image      python -m sandbox.push --endpoint {world.cloud.url} {repository}:2.1.0='{" ".join(NODE_COMMAND)}'
see the state      python -m sandbox.invoke --endpoint {world.cloud.url} --stage {stage} status
let an alarm fire  python -m sandbox.alarm --endpoint {world.cloud.url} xai-{stage}-node-1-memory-high ALARM
invoke a function  echo '{{"group": "nodes", "why": "test"}}' | python -m sandbox.invoke --endpoint {world.cloud.url} --stage {stage} rollback
""",
            markup=False,
        )
        while True:
            time.sleep(0.5)


if __name__ == "__main__":
    os.environ.setdefault("XAI_OPS_LOG_LEVEL", "CRITICAL")
    sys.exit(main())
