"""What explains trouble for now: a maintenance window, an open rollout, or other trouble of the same group. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from chalicelib.fleet.model import Fleet, Incidents, Maintenance
from chalicelib.incident.model import Grade, Incident, Stage
from chalicelib.incident.ports import Explanation

STEP = timedelta(minutes=1)
A_DAY = 24 * 60  # steps


def maintenance(incidents: Incidents, group: str | None, now: datetime) -> Explanation | None:
    """The maintenance window that covers this group now, and when it ends."""
    for window in incidents.maintenance:
        if (not window.groups or group in window.groups) and window.covers(now):
            return Explanation(text=f"maintenance: {window.why}", until=_end_of(window, now))
    return None


def _end_of(window: Maintenance, now: datetime) -> datetime | None:
    """The first minute out of the window; None when a day does not see it."""
    minute = now.replace(second=0, microsecond=0)
    return next((minute + STEP * i for i in range(1, A_DAY + 1) if not window.covers(minute + STEP * i)), None)


def is_judged(incident: Incident, fleet: Fleet) -> bool:
    """Whether an open rollout of the group looks at this itself: at the alarms that are bound to its services. Never a P1."""
    group = fleet.groups.get(incident.group or "")
    bound = {alarm for service in group.services.values() for alarm in service.alarms} if group is not None else set()
    return incident.grade is not Grade.P1 and all(member.alarm in bound for member in incident.firing)


def rollout_under_way(rollout: str, phase: str, incident: str) -> Explanation:
    """An open rollout that moves the group's services: what fires now is judged by it, and told with it."""
    return Explanation(text=f"rollout {rollout} is {phase}: it judges this", incident=incident)


def inhibited_by(other: Incident | None) -> Explanation | None:
    """Open trouble that explains this; closed by a person or over, it explains nothing."""
    if other is None or not other.firing or other.stage in (Stage.CLOSED, Stage.RESOLVED, Stage.ENDED):
        return None
    return Explanation(text=f"{other.kind} explains this", incident=other.key)
