"""Follow a push to its end, and say what came of it as one JSON object."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from chalicelib.aws.documents import load
from chalicelib.aws.table import RECORD
from chalicelib.incident.model import Incident, Stage
from chalicelib.rollout.model import TERMINAL, Phase, Rollout
from chalicelib.rollout.render import seconds_to_rollback
from chalicelib.rollout.revision import digest_in
from sandbox.world import World

ENDS = TERMINAL | {Phase.HELD, Phase.AWAITING_APPROVAL}
LONGEST_SECONDS, LONGEST_ROLLOUT = 120.0, 7200.0  # real and sandbox seconds: a guard, beyond the deadlines of staging
TICKET_PATIENCE_SECONDS = (
    45.0  # real, for the ticket to arrive after the end: longer than the claim of a tick that died
)


def follow(world: World, group: str, digest: str, tell: Callable[[Rollout], None] = lambda _rollout: None) -> Rollout:
    """Watch the newest rollout of a digest until it ends or a person is needed. Raises TimeoutError."""
    longest = LONGEST_SECONDS + world.clock.to_real(LONGEST_ROLLOUT)
    give_up = time.monotonic() + longest
    said: tuple[str, int] | None = None
    while time.monotonic() < give_up:
        rollout: Rollout | None = world.rollout_of(group, digest)
        if rollout is not None:
            if (rollout.phase.value, rollout.wave) != said:
                said = (rollout.phase.value, rollout.wave)
                tell(rollout)
            if rollout.phase in ENDS:
                return rollout
        time.sleep(0.1)
    raise TimeoutError(f"no end of the rollout of {digest} within {longest:.0f} s")


def await_tickets(world: World) -> None:
    """Give the outbox a moment to empty; a tracker that is down keeps what it cannot deliver pending."""
    give_up = time.monotonic() + TICKET_PATIENCE_SECONDS
    while time.monotonic() < give_up:
        if not any(_is_to_be_told(each) for each in world.ledger.open_incidents()):
            return
        time.sleep(0.1)


def _is_to_be_told(incident: Incident) -> bool:
    """Whether trackers do not know it yet. A record that was read before its reports were folded in has neither."""
    begins = incident.stage is Stage.GATHERING and (incident.direct or bool(incident.members))
    return bool(incident.pending or incident.letters) or begins


def summary(world: World, rollout: Rollout) -> dict[str, Any]:
    """The JSON object that `--push --json` prints."""
    group = world.fleet.groups[rollout.group]
    state, _ = world.ledger.group(rollout.group)
    services = {}
    for name in group.services:
        service = world.plane.services[(world.fleet.cluster, name)]
        definition = service.primary.definition
        container = next(c for c in definition.raw["containerDefinitions"] if c["name"] == group.container)
        stable = state.stable.get(name)
        services[name] = {
            "digest": digest_in(container["image"]),
            "revision": definition.arn,
            "stable_revision": stable.revision if stable else None,
        }
    return {
        "phase": rollout.phase.value,
        "reason": rollout.reason,
        "services": services,
        "tickets": tickets(world),
        "aws_calls": world.cloud.calls(),
        "seconds_to_rollback": seconds_to_rollback(rollout),
        "why": rollout.why,
        "rollout": rollout.id,
    }


def _incidents(world: World) -> list[Incident]:
    """Every incident of this sandbox's life, oldest first. The ledger itself lists only those that are open."""
    pages = world.ground.client("dynamodb").get_paginator("scan").paginate(TableName=world.ground.table)
    records = (item for page in pages for item in page["Items"] if item["pk"]["S"].startswith("INCIDENT#"))
    docs = (item["doc"]["S"] for item in records if item["sk"]["S"] == RECORD)
    return sorted((load(Incident, doc) for doc in docs), key=lambda incident: incident.opened_at)


def tickets(world: World) -> list[dict[str, Any]]:
    """Every incident that has a ticket: its id in the first tracker, and what our record says of it."""
    found = []
    for incident in _incidents(world):
        copy = next((copy for copy in incident.copies if copy.ticket is not None), None)
        if copy is None:
            continue
        found.append(
            {
                "id": copy.ticket,
                "kind": incident.kind,
                "severity": incident.grade.value,
                "state": (copy.shown or copy.seen).value,
                "title": copy.title or incident.title,
                "trackers": [each.tracker for each in incident.copies if each.ticket is not None],
            }
        )
    return found
