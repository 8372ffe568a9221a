"""An incident as JSON for commands: what on-call people ask at night, when a tracker may be what fails. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from chalicelib.incident.letters import title_of
from chalicelib.incident.model import Copy, Incident

MOST_NAMED = 50


def incident_summary(incident: Incident) -> dict[str, Any]:
    """Where an incident stands, and which tracker was told how much of it."""
    return {
        "key": incident.key,
        "kind": incident.kind,
        "grade": incident.grade.value,
        "title": title_of(incident),
        "stage": incident.stage.value,
        "why": incident.why,
        "opened_at": incident.opened_at.isoformat(),
        "stage_since": _iso(incident.since),
        "episode": incident.episode,
        "reports": incident.count,
        "reports_waiting": len(incident.pending),
        "acknowledged": incident.acknowledged,
        "flapping": incident.flapping,
        "in_trouble": [member.name for member in incident.firing[:MOST_NAMED]],
        "tickets": [_ticket(copy, incident) for copy in incident.copies],
    }


def _ticket(copy: Copy, incident: Incident) -> dict[str, Any]:
    return {
        "tracker": copy.tracker,
        "ticket": copy.ticket,
        "url": copy.url,
        "as_people_left_it": copy.seen.value,
        "letters_to_tell": max(0, incident.number - copy.told),
        "failing_since": _iso(copy.failing_since),
        "next_try": _iso(copy.next_try),
        "trouble": copy.trouble,
    }


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment is not None else None
