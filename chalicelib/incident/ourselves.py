"""Our own trouble as a report: a group's tick fails, because AWS refuses, throttles or does not answer. Pure.

All groups share one incident, which names them: the cause is ours or the region's, not theirs. Nobody says when it is over,
so a report holds for a while; the next tick that comes through says so at once.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from chalicelib.errors import OpsError
from chalicelib.incident.document import bullets, paragraph, strong
from chalicelib.incident.model import Grade, Report, Says

HOLDS = timedelta(minutes=3)  # a failing group is tried again every minute
KIND = "tick_failed"


def tick_failed(environment: str, group: str, error: OpsError, now: datetime) -> Report:
    """A group's tick failed: what is under way there stands still until one comes through."""
    what = type(error).__name__.removesuffix("Error")
    return Report(
        id=f"{group}/{KIND}/{now.isoformat()}",
        key=_key(environment),
        kind=KIND,
        grade=Grade.P2,
        title=f"[{environment}] xai-ops cannot work: {what}",
        at=now,
        body=(
            paragraph(strong(group), ": nothing is rolled out, judged or taken back there"),
            bullets(f"{what}: {error}"),
        ),
        member=group,
        labels=(KIND,),
        until=now + HOLDS,
    )


def tick_works(environment: str, group: str, now: datetime) -> Report:
    """A group's tick came through again."""
    return Report(
        id=f"{group}/{KIND}/over/{now.isoformat()}", key=_key(environment), kind=KIND, grade=Grade.P4,
        title="its tick came through", at=now, says=Says.RESOLVED, member=group,
    )  # fmt: skip


def _key(environment: str) -> str:
    return f"{environment}/{KIND}"
