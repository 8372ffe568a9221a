"""The story that `make demo` tells: a good push is promoted, a bad one takes itself back, in under a minute."""

from __future__ import annotations

import sys
import time
from contextlib import nullcontext
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from chalicelib.rollout.model import Phase, Rollout
from sandbox.follow import await_tickets, follow, summary
from sandbox.scenarios import with_faults
from sandbox.world import NODE_COMMAND, World

STORY_SCALE = 50.0  # two rollouts of two waves fit into a minute; the bake is never shortened
_STYLE = {
    Phase.PROMOTED: "bold green",
    Phase.ROLLED_BACK: "bold yellow",
    Phase.ROLLING_BACK: "yellow",
    Phase.HELD: "bold red",
}


def tell_story(console: Console, *, environment: str, time_scale: float | None) -> int:
    """Tell it; 0 only if both pushes ended as they should."""
    scale = time_scale or STORY_SCALE
    began = time.monotonic()
    console.print(f"One fleet, two pushes: {environment}, {scale:g} sandbox seconds a second. Starting the cloud ...")
    with World(environment=environment, time_scale=scale) as world:
        nodes = world.fleet.group_of_repository("xai/node") or ""
        last = list(world.fleet.groups[nodes].services)[-1]
        console.print("The fleet runs xai/node:2.0.0, promoted. Pushing xai/node:2.1.0, which is good.")
        good = _act(console, world, nodes, "2.1.0", ())
        console.print(f"Pushing xai/node:2.2.0, which loses the UTXO set on {last}.")
        bad = _act(console, world, nodes, "2.2.0", (f"lose-utxo@{last}",))
        await_tickets(world)
        found = summary(world, bad)
    console.print(f"Every service is back on its stable revision, {_stable(found)}.")
    for ticket in found["tickets"]:
        console.print(f"Ticket {ticket['id']} ({ticket['severity']}): {ticket['title']}", markup=False)
    if bad.rollback_since is not None:
        console.print(
            f"From the update to the decision to take it back: {found['seconds_to_rollback']:g} s of the fleet's time."
        )
    ended = good.phase is Phase.PROMOTED and bad.phase is Phase.ROLLED_BACK
    console.print(
        f"{'Both ended as they should' if ended else 'NOT as it should be'}, in {time.monotonic() - began:.0f} s."
    )
    return 0 if ended else 1


def _act(console: Console, world: World, group: str, tag: str, faults: tuple[str, ...]) -> Rollout:
    digest = world.push("xai/node", tag, with_faults(NODE_COMMAND, faults))
    if not console.is_terminal:
        return follow(world, group, digest, lambda rollout: console.print(_line(rollout), markup=False))
    screen = Live(console=console, refresh_per_second=10, transient=False)
    with screen if sys.stdout.isatty() else nullcontext():
        lines: list[tuple[str, Phase]] = []

        def tell(rollout: Rollout) -> None:
            lines.append((_line(rollout), rollout.phase))
            screen.update(_table(world, group, lines))

        return follow(world, group, digest, tell)


def _line(rollout: Rollout) -> str:
    return f"{rollout.phase:17} {rollout.why}"


def _table(world: World, group: str, lines: list[tuple[str, Phase]]) -> Table:
    table = Table(show_header=False, box=None, pad_edge=False)
    now: datetime = world.now()
    for text, phase in lines:
        table.add_row(text, style=_STYLE.get(phase, ""))
    for name in world.fleet.groups[group].services:
        service = world.plane.services[(world.fleet.cluster, name)]
        running = sum(1 for task in world.plane.tasks.values() if task.service is service and task.status == "RUNNING")
        revision = service.primary.definition.revision
        table.add_row(
            f"  {name}  revision {revision}  {running} running  {service.primary.state}  {now:%H:%M:%S}", style="dim"
        )
    return table


def _stable(found: dict[str, Any]) -> str:
    services = found["services"]
    return ", ".join(
        f"{name} {str(s['stable_revision']).rsplit('/', 1)[-1]}" for name, s in services.items() if "node" in name
    )
