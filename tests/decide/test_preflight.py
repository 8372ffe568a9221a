"""May it start? One row for each reason against it, and what a person may override."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, time
from typing import Any

import pytest

from chalicelib.fleet.load import load
from chalicelib.fleet.model import Freeze, Group, Severity
from chalicelib.health.model import Answer, Endpoint
from chalicelib.rollout.decide import decide
from chalicelib.rollout.model import GroupState, Hold, Origin, Phase, Rollout, Snapshot, Stable, Unmeasured, WayBack
from chalicelib.rollout.preflight import FORCEABLE, Ruling, preflight
from tests.decide.build import (
    NOW,
    STABLE,
    STABLE_DIGEST,
    TARGET_DIGEST,
    ago,
    make_group,
    make_image,
    make_reading,
    make_rollout,
    make_state,
    make_view,
    quiet_snapshot,
    validator,
)
from tests.run.stage import FLEETS

REFUSE, HOLD, WAIT, ASK = Ruling.REFUSE, Ruling.HOLD, Ruling.WAIT, Ruling.ASK
EVERY_HOUR = Freeze(start=time(0), end=time(0), why="always")


def case(
    *,
    image: dict[str, Any] | None = None,
    seen: dict[str, Any] | None = None,
    state: dict[str, Any] | None = None,
    group: dict[str, Any] | None = None,
    rollout: dict[str, Any] | None = None,
) -> tuple[Rollout, Snapshot, GroupState, Group]:
    """A quiet world with one thing changed."""
    snapshot = quiet_snapshot(**(seen or {}))
    if image is not None:
        snapshot = replace(snapshot, image=make_image(**image))
    return make_rollout(**(rollout or {})), snapshot, make_state(**(state or {})), make_group(**(group or {}))


def services(**views: Any) -> dict[str, Any]:
    """The snapshot's services, n1 changed."""
    return {
        "services": {"n1": make_view("n1", STABLE.format("n1"), **views), "n2": make_view("n2", STABLE.format("n2"))}
    }


SILENT = make_reading("n1", answers=dict.fromkeys(Endpoint, Answer.TIMED_OUT))
ROWS: dict[str, tuple[dict[str, Any], Ruling, str]] = {
    "image missing": ({"image": {"exists": False}}, REFUSE, "image_missing"),
    "attestation": ({"image": {"attestation": True, "platforms": frozenset()}}, REFUSE, "not_an_image"),
    "other architecture": ({"image": {"platforms": frozenset({"linux/arm64"})}}, REFUSE, "wrong_architecture"),
    "other system": ({"image": {"platforms": frozenset({"windows/amd64"})}}, REFUSE, "wrong_architecture"),
    "platform unknown": ({"image": {"platforms": frozenset()}}, REFUSE, "wrong_architecture"),
    "tag moved": ({"image": {"tag_digest": STABLE_DIGEST}}, REFUSE, "tag_moved"),
    "findings at the severity": ({"image": {"findings": {"CRITICAL": 1}}}, REFUSE, "findings"),
    "findings above it": (
        {"image": {"findings": {"CRITICAL": 1}}, "group": {"block_findings_at": Severity.HIGH}}, REFUSE, "findings",
    ),
    "quarantined": ({"state": {"quarantine": {TARGET_DIGEST: "r0: lost its supply"}}}, REFUSE, "quarantined"),
    "blast radius": ({"group": {"limits": {"max_services": 1}}}, REFUSE, "blast_radius"),
    "way back inactive": (
        {"seen": {"ways_back": (WayBack(service="n1", revision_status="INACTIVE"),)}}, REFUSE, "way_back",
    ),
    "way back gone": (
        {"seen": {"ways_back": (WayBack(service="n1", revision_status="MISSING"),)}}, REFUSE, "way_back",
    ),
    "way back without images": (
        {"seen": {"ways_back": (WayBack(service="n2", revision_status="ACTIVE", missing_images=("envoy:1",)),)}},
        REFUSE, "way_back",
    ),
    "nothing stable": ({"state": {"stable": {}}}, HOLD, "nothing_stable"),
    "a new service not stable": (
        {"state": {"stable": {"n1": Stable(revision="r", digest=STABLE_DIGEST)}}}, HOLD, "nothing_stable",
    ),
    "image not read": ({"seen": {"image": None, "unmeasured": {"image": Unmeasured.DENIED}}}, WAIT, "not_measured"),
    "way back not read": ({"seen": {"unmeasured": {"ways_back": Unmeasured.UNAVAILABLE}}}, WAIT, "not_measured"),
    "ECS not read": (
        {"seen": {"services": {}, "unmeasured": {"services": Unmeasured.UNAVAILABLE}}}, WAIT, "not_measured",
    ),
    "alarms not read": (
        {"group": {"services": {"n1": validator(1, "a"), "n2": validator(2)}},
         "seen": {"unmeasured": {"alarms": Unmeasured.DENIED}}}, WAIT, "not_measured",
    ),
    "service does not answer": ({"seen": {"readings": {"n1": SILENT, "n2": make_reading("n2")}}}, WAIT, "not_measured"),
    "service has no task": ({"seen": {"readings": {"n2": make_reading("n2")}}}, WAIT, "not_measured"),
    "on hold": ({"state": {"hold": Hold(by="ann", why="audit", at=NOW)}}, WAIT, "on_hold"),
    "frozen": ({"group": {"freeze": (EVERY_HOUR,)}}, WAIT, "frozen"),
    "task missing": ({"seen": services(running=0, pending=1)}, WAIT, "unsteady"),
    "scaled to zero": ({"seen": services(desired=0)}, WAIT, "unsteady"),
    "draining": ({"seen": services(status="DRAINING")}, WAIT, "unsteady"),
    "service gone": ({"seen": {"services": {"n2": make_view("n2", STABLE.format("n2"))}}}, WAIT, "unsteady"),
    "irreversible": ({"image": {"irreversible": True}}, ASK, "irreversible"),
    "approval": ({"group": {"approval": True}}, ASK, "approval"),
}  # fmt: skip


def test_quiet_world_admits() -> None:
    """Nothing speaks against it."""
    assert preflight(*case(), NOW) is None


@pytest.mark.parametrize(("change", "ruling", "reason"), ROWS.values(), ids=ROWS)
def test_each_reason_has_its_ruling(change: dict[str, Any], ruling: Ruling, reason: str) -> None:
    """Only facts about image and way back refuse; the moment defers; policy asks."""
    objection = preflight(*case(**change), NOW)
    assert objection is not None
    assert (objection.ruling, objection.reason) == (ruling, reason)
    assert objection.why


@pytest.mark.parametrize(("change", "ruling", "reason"), ROWS.values(), ids=ROWS)
def test_forced_reason_is_overridden_unless_it_makes_a_rollout_impossible(
    change: dict[str, Any], ruling: Ruling, reason: str
) -> None:
    """A person forces reasons by name, and only that reason."""
    objection = preflight(*case(**{**change, "rollout": {"forced": frozenset({reason})}}), NOW)
    if reason in FORCEABLE:
        assert objection is None or objection.reason != reason
    other = preflight(*case(**{**change, "rollout": {"forced": FORCEABLE - {reason}}}), NOW)
    assert other is not None
    assert other.reason == reason


@pytest.mark.parametrize("reason", ["image_missing", "not_an_image", "wrong_architecture", "approval"])
def test_what_force_cannot_override(reason: str) -> None:
    """An image that is not there cannot run, and an approval has its own word."""
    assert reason not in FORCEABLE


@pytest.mark.parametrize(
    ("severity", "findings", "blocked"),
    [
        (Severity.CRITICAL, {"HIGH": 9}, False),
        (Severity.HIGH, {"HIGH": 1}, True),
        (Severity.HIGH, {"MEDIUM": 9, "LOW": 9}, False),
        (Severity.INFORMATIONAL, {"INFORMATIONAL": 1}, True),
        (Severity.HIGH, {"CRITICAL": 0, "HIGH": 0}, False),
        (None, {"CRITICAL": 9}, False),
        (Severity.LOW, {"UNDEFINED": 3}, False),
    ],
)
def test_findings_block_from_their_severity_on(
    severity: Severity | None, findings: dict[str, int], blocked: bool
) -> None:
    """At or above the fleet file's severity; a group may accept all."""
    objection = preflight(*case(image={"findings": findings}, group={"block_findings_at": severity}), NOW)
    assert (objection is not None) is blocked


def _freeze(start: time, end: time, *days: Any, timezone: str = "UTC") -> Freeze:
    return Freeze(days=days or ("mon",), start=start, end=end, timezone=timezone, why="quiet")


@pytest.mark.parametrize(
    ("freeze", "at", "frozen"),
    [
        (_freeze(time(9), time(17)), datetime(2026, 1, 5, 8, 59, 59, tzinfo=UTC), False),
        (_freeze(time(9), time(17)), datetime(2026, 1, 5, 9, tzinfo=UTC), True),
        (_freeze(time(9), time(17)), datetime(2026, 1, 5, 16, 59, 59, tzinfo=UTC), True),
        (_freeze(time(9), time(17)), datetime(2026, 1, 5, 17, tzinfo=UTC), False),
        (_freeze(time(9), time(17)), datetime(2026, 1, 6, 10, tzinfo=UTC), False),  # Tuesday
        (_freeze(time(22), time(6)), datetime(2026, 1, 5, 23, tzinfo=UTC), True),
        (_freeze(time(22), time(6)), datetime(2026, 1, 6, 5, 59, tzinfo=UTC), True),  # Monday's night
        (_freeze(time(22), time(6)), datetime(2026, 1, 6, 6, tzinfo=UTC), False),
        (_freeze(time(22), time(6)), datetime(2026, 1, 5, 5, tzinfo=UTC), False),  # Sunday's night
        (_freeze(time(0), time(0)), datetime(2026, 1, 5, 23, 59, 59, 999999, tzinfo=UTC), True),  # all day
        (_freeze(time(0), time(0)), datetime(2026, 1, 6, 0, tzinfo=UTC), False),
        (_freeze(time(9), time(17), timezone="America/New_York"), datetime(2026, 1, 5, 13, 59, tzinfo=UTC), False),
        (_freeze(time(9), time(17), timezone="America/New_York"), datetime(2026, 1, 5, 14, tzinfo=UTC), True),
        # 20:00 on Monday in New York is Tuesday in UTC; in July the clock there is an hour ahead of January's.
        (_freeze(time(19), time(21), timezone="America/New_York"), datetime(2026, 1, 6, 1, tzinfo=UTC), True),
        (_freeze(time(9), time(17), timezone="America/New_York"), datetime(2026, 7, 6, 13, tzinfo=UTC), True),
    ],
)
def test_freeze_window_is_of_its_time_zone_and_may_pass_midnight(freeze: Freeze, at: datetime, frozen: bool) -> None:
    """Its start is in, its end is out."""
    assert freeze.covers(at) is frozen
    objection = preflight(*case(group={"freeze": (freeze,)}), at)
    assert (objection is not None) is frozen


@pytest.mark.parametrize(
    ("at", "frozen"),
    [
        (datetime(2026, 1, 9, 20, 59, 59, tzinfo=UTC), False),  # Friday 15:59:59 in New York
        (datetime(2026, 1, 9, 21, tzinfo=UTC), True),
        (datetime(2026, 1, 10, 4, 59, 59, 500000, tzinfo=UTC), True),  # the last second of Friday
        (datetime(2026, 1, 11, 4, 59, 59, 500000, tzinfo=UTC), True),
        (datetime(2026, 1, 12, 4, 59, 59, 500000, tzinfo=UTC), True),
        (datetime(2026, 1, 12, 5, tzinfo=UTC), False),  # Monday
    ],
)
def test_production_is_frozen_from_friday_afternoon_to_monday_without_a_gap(at: datetime, frozen: bool) -> None:
    """A rollout that waits looks every half minute: one open second at midnight would let it through."""
    for group in load(FLEETS / "production.yaml").groups.values():
        assert any(freeze.covers(at) for freeze in group.freeze) is frozen


@pytest.mark.parametrize("change", ["frozen", "approval"])
def test_person_who_takes_a_release_back_is_not_frozen_out(change: str) -> None:
    """A return needs neither the window nor an approval."""
    group: dict[str, Any] = {"freeze": (EVERY_HOUR,)} if change == "frozen" else {"approval": True}
    assert preflight(*case(group=group, rollout={"origin": Origin.RETURN}), NOW) is None


@pytest.mark.parametrize("origin", [Origin.CONFIGURATION, Origin.RETURN])
def test_moved_tag_says_nothing_about_what_no_push_asked_for(origin: Origin) -> None:
    """Only an image rollout is pinned to its tag."""
    assert preflight(*case(image={"tag_digest": STABLE_DIGEST}, rollout={"origin": origin}), NOW) is None


@pytest.mark.parametrize("change", [{"image": {"irreversible": True}}, {"group": {"approval": True}}])
def test_approved_release_is_admitted(change: dict[str, Any]) -> None:
    """Somebody said yes."""
    assert preflight(*case(**change, rollout={"approved_by": "ann"}), NOW) is None


def test_unsteady_group_does_not_matter_behind_an_active_rollout() -> None:
    """It is in motion; it is looked at again on its turn."""
    change = {"seen": services(running=0), "state": {"active": "another"}}
    assert preflight(*case(**change), NOW) is None


def test_weightiest_objection_comes_first() -> None:
    """A refusal before a wait before a question."""
    change: dict[str, Any] = {"group": {"freeze": (EVERY_HOUR,), "approval": True}}
    wait = preflight(*case(**change), NOW)
    refuse = preflight(*case(**change, image={"exists": False}), NOW)
    assert wait is not None and wait.ruling is WAIT
    assert refuse is not None and refuse.ruling is REFUSE


@pytest.mark.parametrize(
    ("change", "phase", "report"),
    [
        (ROWS["tag moved"][0], Phase.REJECTED, True),
        (ROWS["nothing stable"][0], Phase.HELD, True),
        (ROWS["frozen"][0], Phase.WAITING, False),
        (ROWS["approval"][0], Phase.AWAITING_APPROVAL, True),
    ],
)
def test_ruling_is_carried_out_without_touching_anything(change: dict[str, Any], phase: Phase, report: bool) -> None:
    """Refused, held, waiting or asking: no action, and people hear of all but waiting."""
    rollout, seen, state, group = case(**change)
    decision = decide(rollout, seen, state, group, NOW)
    assert decision.rollout.phase is phase
    assert decision.actions == ()
    assert decision.report is report


Waited = Callable[[float], Phase]


@pytest.mark.parametrize(
    ("change", "waited", "phase"),
    [
        ("task missing", 900, Phase.WAITING),
        ("task missing", 901, Phase.HELD),
        ("image not read", 901, Phase.HELD),
        ("frozen", 90_000, Phase.WAITING),  # a freeze may last
        ("on hold", 90_000, Phase.WAITING),
    ],
)
def test_waiting_has_a_deadline_only_where_it_could_go_unnoticed(change: str, waited: float, phase: Phase) -> None:
    """An unsteady service must not keep a push waiting for ever; a person's hold may."""
    more = {"phase": Phase.WAITING, "waiting_since": ago(waited)}
    rollout, seen, state, group = case(**{**ROWS[change][0], "rollout": more})
    assert decide(rollout, seen, state, group, NOW).rollout.phase is phase
