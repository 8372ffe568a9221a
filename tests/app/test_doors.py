"""Chalice's own handlers, called as Lambda calls them, in a house of fakes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from chalice.test import Client

import app as doorway
from chalicelib import wiring
from chalicelib.aws.pictures import Pictures
from chalicelib.aws.session import Aws
from chalicelib.errors import AwsUnavailableError, DeniedError, ThrottledError
from chalicelib.incident.model import TicketState
from chalicelib.rollout.model import Origin, Phase, Rollout
from tests.app.house import Context, FakeHouse, recorded
from tests.run.stage import NEWER, REPOSITORY, STABLE, TARGET, Stage, Talk

REPOSITORY_ROOT = Path(__file__).parents[2]
PUSH = {"image-digest": TARGET, "image-tag": "2.1.0"}


@pytest.fixture
def stage() -> Iterator[Stage]:
    """An adopted staging group, behind the real doors."""
    made = Stage()
    made.ledger._requests = 10_000_000  # rollouts' ids end in their key's last 8 characters, which a URL must bear
    wiring.install(FakeHouse(made))
    made.calls.names.clear()
    yield made
    wiring.install(None)


def call(handler: Callable[..., Any], event: Any, **context: Any) -> Any:
    """One invocation; what Lambda does not pass by reference stays ours."""
    return handler(deepcopy(event), Context(**context))


def push_event(**detail: Any) -> dict[str, Any]:
    """The recorded push, of the stage's image."""
    return recorded("ecr_push", **{**PUSH, **detail})


def changes(stage: Stage) -> list[str]:
    """Everything that was written anywhere."""
    writes = ("ledger.put_request", "ledger.record", "ecs.point", "ecs.register_once", "ecs.run_alone", "ecr.keep")
    return [name for name in stage.calls.names if name in writes]


def metric(out: str, name: str) -> int:
    """How often a metric was counted, as embedded metric format on standard output."""
    lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    return sum(1 for line in lines if name in line)


def sqs(*bodies: str) -> dict[str, Any]:
    """An SQS delivery."""
    records = [
        {"messageId": f"m{i}", "body": body, "receiptHandle": "r", "eventSource": "aws:sqs", "attributes": {}}
        for i, body in enumerate(bodies)
    ]
    return {"Records": records}


def wake(stage: Stage, group: str = "nodes", older: int = 0) -> str:
    """A wake message of the group's record as it is now, or of an older version."""
    return json.dumps({"group": group, "version": stage.ledger.groups[group].version - older})


SCHEDULE = {
    "version": "0", "id": "i", "detail-type": "Scheduled Event", "source": "aws.events", "account": "1",
    "time": "2026-01-31T12:00:00Z", "region": "us-east-1", "resources": ["arn:aws:events:us-east-1:1:rule/r"],
    "detail": {},
}  # fmt: skip


# ------------------------------------------------------------------------------------------------------ what happened


def test_push_starts_a_rollout_once(stage: Stage) -> None:
    """The event's digest, tag and time are the rollout's; delivered again, nothing starts."""
    event = push_event()
    assert call(doorway.image_pushed, event)["nodes"]["ran"] is True
    again = call(doorway.image_pushed, event)
    assert again == {"ignored": "this push was seen before"}
    (rollout,) = stage.ledger.all_rollouts.values()
    assert (rollout.digest, rollout.tag, rollout.phase) == (TARGET, "2.1.0", Phase.SMOKING)
    assert rollout.requested_at.isoformat() == "2026-01-31T12:00:00+00:00"
    assert stage.queue.sent


@pytest.mark.parametrize(
    "event",
    [
        push_event(**{"repository-name": "someone/else"}),
        push_event(**{"image-tag": "keep-bbbbbbbbbbbb"}),
        recorded("ecr_push_without_tag"),
        recorded("ecr_push_failed"),
        recorded("ecr_delete"),
        recorded("ecr_archived"),
    ],
    ids=["other repository", "our keep tag", "no tag", "failed", "delete", "archived"],
)
def test_push_that_is_not_ours_is_ignored(stage: Stage, event: dict[str, Any]) -> None:
    """Another repository, our own tag, an untagged child, and what is no push change nothing."""
    assert "ignored" in call(doorway.image_pushed, event)
    assert changes(stage) == []


MALFORMED: list[Any] = [
    {}, {"detail": None}, {"detail": []}, {"detail": {"action-type": 7}}, {"resources": ["arn:nonsense"], "detail": {}},
]  # fmt: skip


@pytest.mark.parametrize(
    "handler", [doorway.image_pushed, doorway.deployment_changed, doorway.task_changed, doorway.alarm_changed],
    ids=["push", "deployment", "task", "alarm"],
)  # fmt: skip
@pytest.mark.parametrize("broken", MALFORMED)
def test_malformed_event_is_logged_counted_and_changes_nothing(
    stage: Stage,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    handler: Callable[..., Any],
    broken: Any,
) -> None:
    """No exception: Lambda would only deliver the same again."""
    answer = call(handler, {**recorded("ecr_push"), "detail": {}, **broken})
    assert "ignored" in answer
    assert metric(capsys.readouterr().out, "EventMalformed") == 1
    assert "event_malformed" in caplog.messages
    assert changes(stage) == []


@pytest.mark.parametrize(
    ("handler", "event"),
    [
        (doorway.deployment_changed, "ecs_deployment_failed"),
        (doorway.deployment_changed, "ecs_deployment_in_progress"),
        (doorway.task_changed, "ecs_task_stopped"),
    ],
)
def test_event_of_a_service_at_work_hastens_its_tick(stage: Stage, handler: Callable[..., Any], event: str) -> None:
    """And only while something is under way."""
    assert call(handler, recorded(event)) == {"ignored": "nothing is under way"}
    call(doorway.image_pushed, push_event())
    stage.calls.names.clear()
    assert call(handler, recorded(event))["nodes"]["ran"] is True
    assert stage.calls.count("ecs.describe") == 1


@pytest.mark.parametrize(
    "event",
    [
        recorded("ecs_task_stopped", group="service:someone-else"),
        recorded("ecs_task_stopped", clusterArn="arn:aws:ecs:us-east-1:123456789012:cluster/another"),
        recorded("ecs_task_stopped_alone"),
    ],
    ids=["other service", "other cluster", "lone task"],
)
def test_event_of_a_foreign_task_is_ignored(stage: Stage, event: dict[str, Any]) -> None:
    """The account has other services."""
    call(doorway.image_pushed, push_event())
    stage.calls.names.clear()
    assert "ignored" in call(doorway.task_changed, event)
    assert stage.calls.names == []


def test_alarm_of_a_bound_service_hastens_its_tick_and_is_noted(stage: Stage) -> None:
    """Any other alarm is ignored."""
    call(doorway.image_pushed, push_event())
    bound = recorded("alarm_metric", alarmName="xai-staging-node-1-height-flat")
    said = call(doorway.alarm_changed, bound)
    assert said["hastened"]["nodes"]["ran"] is True
    assert said["noted"] == "staging/nodes/height_flat"
    assert "ignored" in call(doorway.alarm_changed, recorded("alarm_metric", alarmName="somebody-elses"))
    assert list(stage.ledger.all_incidents) == ["staging/nodes/height_flat"]


def test_alarm_becomes_a_ticket_when_its_wake_message_comes(stage: Stage) -> None:
    """Noted once however often its event comes; the message that was sent for it opens the ticket."""
    stage.now = datetime(2026, 1, 31, 12, tzinfo=UTC)  # of the recorded event
    bound = recorded("alarm_metric", alarmName="xai-staging-node-1-memory-high")
    stage.alarms.all["xai-staging-node-1-memory-high"] = "ALARM"
    for _ in range(3):
        call(doorway.alarm_changed, bound)
        stage.pass_time(1)
    (message,) = [sent for sent in stage.queue.sent if sent[0] == "staging/nodes/memory_high"]
    assert message[2] == stage.fleet.incidents.gather_seconds
    stage.pass_time(message[2])
    wake = {"incident": "staging/nodes/memory_high"}
    assert call(doorway.rollout_tick, sqs(json.dumps(wake))) == {"batchItemFailures": []}
    (ticket,) = stage.tracker.tickets
    assert ticket.title == "P3 [staging] nodes: memory_high (xai-staging-node-1)"
    assert "xai-staging-node-1" in repr(ticket.body)


@pytest.mark.parametrize("error", [ThrottledError("slow"), AwsUnavailableError("500")])
def test_transient_error_is_raised_so_that_lambda_tries_again(stage: Stage, error: Exception) -> None:
    """And the second delivery does the work."""
    stage.calls.fail("ledger.claim", error)
    with pytest.raises(type(error)):
        call(doorway.image_pushed, push_event())
    assert stage.ledger.groups["nodes"].wake_at is not None  # the schedule would find it as well
    stage.now += timedelta(seconds=60)
    call(doorway.tick_schedule, SCHEDULE)
    assert len(stage.ledger.all_rollouts) == 1


def test_alarm_whose_event_was_lost_is_found_by_the_sweep_and_noted_once(stage: Stage) -> None:
    """EventBridge delivers at least once, and CloudWatch's own word on its alarms is the truth."""
    stage.alarms.all["xai-staging-node-1-memory-high"] = "ALARM"
    stage.alarms.all["of-somebody-else"] = "ALARM"
    for noted in (1, 0, 0):
        assert call(doorway.event_sweep, SCHEDULE)["alarms"] == {"firing": 1, "noted": noted}
        stage.pass_time(300)
        call(doorway.tick_schedule, SCHEDULE)
    (ticket,) = stage.tracker.tickets
    assert "memory_high" in ticket.title
    assert stage.ledger.all_incidents["staging/nodes/memory_high"].incident.count == 1


def test_symptom_is_told_in_the_ticket_of_its_cause(stage: Stage) -> None:
    """The height stands; that it lags as well is no second ticket, unless it outlasts the first."""
    names = ("xai-staging-node-1-height-flat", "xai-staging-node-1-sync-lag")
    stage.alarms.all.update(dict.fromkeys(names, "ALARM"))
    call(doorway.event_sweep, SCHEDULE)
    for _ in range(10):
        stage.pass_time(60)
        call(doorway.tick_schedule, SCHEDULE)
    (ticket,) = stage.tracker.tickets
    assert "height_flat" in ticket.title
    assert "sync_lag" in repr((ticket.body, ticket.comments))
    stage.alarms.all[names[0]] = "OK"
    for _ in range(20):
        stage.pass_time(60)
        call(doorway.tick_schedule, SCHEDULE)
    assert ["sync_lag" in ticket.title for ticket in stage.tracker.tickets] == [False, True]


def test_open_incidents_are_shown_with_what_fails(stage: Stage) -> None:
    """At night, when the tracker is what is down."""
    stage.tracker.down = True
    stage.alarms.all["xai-staging-node-1-memory-high"] = "ALARM"
    call(doorway.event_sweep, SCHEDULE)
    stage.pass_time(60)
    call(doorway.tick_schedule, SCHEDULE)
    (shown,) = call(doorway.incidents, {"group": "nodes"})["incidents"]
    assert (shown["stage"], shown["in_trouble"]) == ("open", ["xai-staging-node-1"])
    told = {ticket["tracker"]: (ticket["letters_to_tell"], ticket["trouble"]) for ticket in shown["tickets"]}
    assert told["github"] == (1, "could not reach the tracker")
    assert told["slack"] == (0, "")
    assert call(doorway.incidents, {"group": "explorers"})["incidents"] == []
    assert "incidents: the payload is" in call(doorway.incidents, {"group": "nobody"})["error"]


def test_tick_that_goes_on_failing_is_an_incident_and_over_when_one_comes_through(stage: Stage) -> None:
    """The region's API is away for ten minutes: one ticket that names the groups; a bad minute is none."""
    main = stage.tracker
    call(doorway.image_pushed, push_event())
    for error in [None, AwsUnavailableError("ecs: 500"), *[None] * 9]:
        minute(stage, error)
    assert not [ticket for ticket in main.tickets if "cannot work" in ticket.title]
    for _ in range(10):
        minute(stage, AwsUnavailableError("ecs: 500"))
    (ticket,) = [ticket for ticket in main.tickets if "cannot work" in ticket.title]
    assert "nodes" in repr(ticket.body)
    assert "ecs: 500" in repr(ticket.body)
    for _ in range(8):
        minute(stage, None)
    assert ticket.state is TicketState.CLOSED


def minute(stage: Stage, error: Exception | None) -> None:
    """The schedule's tick of the next minute, in a region that is well or not."""
    stage.pass_time(60)
    stage.calls.heal()
    if error is not None:
        stage.calls.fail("ledger.claim", error, times=10)
    try:
        call(doorway.tick_schedule, SCHEDULE)
    except AwsUnavailableError:
        assert error is not None


def test_report_of_a_failing_tick_that_cannot_be_noted_hides_nothing(stage: Stage) -> None:
    """The table is away too: the tick's own error is what Lambda sees."""
    stage.calls.fail("ledger.claim", AwsUnavailableError("table"))
    stage.calls.fail("ledger.put_reports", ThrottledError("table"))
    with pytest.raises(AwsUnavailableError):
        call(doorway.image_pushed, push_event())


def test_short_time_left_records_the_intent_and_leaves_the_acting_to_the_next_tick(stage: Stage) -> None:
    """A Lambda that is about to be ended begins nothing."""
    call(doorway.image_pushed, push_event(), left=5_000)
    assert stage.calls.count("ecs.run_alone") == 0
    call(doorway.rollout_tick, sqs(wake(stage)))
    assert stage.calls.count("ecs.run_alone") == 1


# -------------------------------------------------------------------------------------------------------- time passes


def test_wake_of_a_stale_version_is_dropped(stage: Stage) -> None:
    """One wake message per record and version: an old one would only make the chain of ticks grow."""
    call(doorway.image_pushed, push_event())
    stage.calls.names.clear()
    assert call(doorway.rollout_tick, sqs(wake(stage, older=1))) == {"batchItemFailures": []}
    assert stage.calls.count("ledger.claim") == 0
    assert call(doorway.rollout_tick, sqs(wake(stage))) == {"batchItemFailures": []}
    assert stage.calls.count("ledger.claim") == 1


@pytest.mark.parametrize("body", ["", "nonsense", "[]", '{"group": "nodes"}', '{"group": "nobody", "version": 1}'])
def test_malformed_wake_is_counted_and_not_retried(stage: Stage, capsys: pytest.CaptureFixture[str], body: str) -> None:
    """It would be malformed again."""
    assert call(doorway.rollout_tick, sqs(body)) == {"batchItemFailures": []}
    assert metric(capsys.readouterr().out, "EventMalformed") == 1
    assert changes(stage) == []


def test_failed_wake_comes_again_and_the_others_do_not(stage: Stage) -> None:
    """The answer names the message that failed for a passing reason."""
    call(doorway.image_pushed, push_event())
    stage.calls.fail("ledger.claim", ThrottledError("slow"))
    answer = call(doorway.rollout_tick, sqs("nonsense", wake(stage), wake(stage, older=1)))
    assert answer == {"batchItemFailures": [{"itemIdentifier": "m1"}]}


def test_wake_that_fails_for_good_is_not_retried(stage: Stage) -> None:
    """A missing permission stays missing; the schedule comes by every minute anyway."""
    call(doorway.image_pushed, push_event())
    stage.calls.fail("ledger.claim", DeniedError("no"))
    assert call(doorway.rollout_tick, sqs(wake(stage))) == {"batchItemFailures": []}


def test_idle_minute_asks_the_ledger_only_what_is_due(stage: Stage) -> None:
    """One query for groups, and the same moment's for tickets; nothing else is read or written."""
    stage.ledger.groups["nodes"].wake_at = None
    assert call(doorway.tick_schedule, SCHEDULE) == {"idle": True}
    assert stage.calls.names == ["ledger.due_groups", "outbox.due_incidents"]


def test_overdue_group_is_picked_up_by_the_schedule(stage: Stage) -> None:
    """Its wake message was lost."""
    call(doorway.image_pushed, push_event())
    stage.now += timedelta(minutes=2)
    assert call(doorway.tick_schedule, SCHEDULE)["nodes"]["ran"] is True


def test_sweep_finds_a_push_whose_event_was_lost(stage: Stage) -> None:
    """ECR's events are best effort; the sweep asks ECR itself, and finds nothing twice."""
    stage.now += timedelta(minutes=5)
    stage.ecr.now = stage.now
    stage.ecr.push(REPOSITORY, NEWER, "2.2.0")
    assert call(doorway.event_sweep, SCHEDULE)["pushes"]["nodes"]["nodes"]["ran"] is True
    assert {r.digest for r in stage.ledger.all_rollouts.values()} == {NEWER}
    call(doorway.event_sweep, SCHEDULE)
    assert len(stage.ledger.all_rollouts) == 1


# ------------------------------------------------------------------------------------------------------ people's words


@pytest.mark.parametrize(
    ("handler", "payload", "allowed"),
    [
        (doorway.rollout, {}, "nodes"),
        (doorway.rollout, {"group": "nodes"}, "image"),
        (doorway.rollout, {"group": "nodes", "image": "9.9.9"}, "not in the registry"),
        (doorway.rollout, {"group": "nodes", "image": "2.1.0", "force": ["magic"]}, "quarantined"),
        (doorway.rollback, None, "JSON object"),
        (doorway.rollback, [], "Example"),
        (doorway.rollback, {"group": "nobody"}, "nodes"),
        (doorway.rollback, {"group": "nodes", "fast": True}, "rollout"),
        (doorway.hold, {"group": "nodes", "why": 7}, "why"),
        (doorway.release, {"group": "nodes", "then": "explode"}, "rollback"),
        (doorway.approve, "nodes", "group"),
        (doorway.abort, {"group": ""}, "nodes"),
        (doorway.adopt, {"group": "nodes", "why": "x"}, "group"),
        (doorway.status, {"group": "nobody"}, "nodes"),
    ],
)
def test_wrong_payload_is_answered_with_what_is_allowed(
    stage: Stage, handler: Callable[..., Any], payload: Any, allowed: str
) -> None:
    """`chalice invoke` shows the answer; nothing was changed."""
    answer = call(handler, payload)
    assert set(answer) == {"error"}
    assert allowed in answer["error"]
    assert changes(stage) == []


def started(stage: Stage, until: Callable[[Rollout], bool]) -> Rollout:
    """A rollout, asked for by invoking `rollout`, and run until it is where it should be."""
    answer = call(doorway.rollout, {"group": "nodes", "image": "2.1.0"})
    assert answer["told"]
    return stage.run(until=until)


def test_invoked_rollout_resolves_its_tag_and_starts(stage: Stage) -> None:
    """The digest is pinned at once."""
    rollout = started(stage, lambda r: not r.open)
    assert (rollout.phase, rollout.requested_by) == (Phase.PROMOTED, "invoke")


def test_invoked_configuration_rolls_the_stable_image(stage: Stage) -> None:
    """Same digest, Terraform's newest revision."""
    call(doorway.rollout, {"group": "nodes", "configuration": True})
    (rollout,) = stage.ledger.all_rollouts.values()
    assert (rollout.origin, rollout.digest) == (Origin.CONFIGURATION, STABLE)


def test_invoked_configuration_of_a_group_without_stable_says_what_to_do() -> None:
    """Adopt first."""
    fresh = Stage(adopted=False)
    wiring.install(FakeHouse(fresh))
    try:
        answer = call(doorway.rollout, {"group": "nodes", "configuration": True})
        assert "adopt" in answer["error"]
        assert call(doorway.adopt, {"group": "nodes"})["groups"]["nodes"]["stable"]
    finally:
        wiring.install(None)


def test_invoked_rollback_takes_the_open_rollout_back(stage: Stage) -> None:
    """In the tick of the word itself, and the answer shows it."""
    started(stage, lambda r: r.phase is Phase.BAKING)
    answer = call(doorway.rollback, {"group": "nodes", "why": "wrong balances"})
    assert answer["groups"]["nodes"]["rollouts"][0]["phase"] == "ROLLING_BACK"
    assert stage.run().phase is Phase.ROLLED_BACK
    assert "wrong balances" in stage.ledger.groups["nodes"].state.quarantine[TARGET]


def test_invoked_abort_ends_it_without_quarantine(stage: Stage) -> None:
    """The image may come again."""
    started(stage, lambda r: r.phase is Phase.BAKING)
    call(doorway.abort, {"group": "nodes", "why": "wrong branch"})
    assert stage.run().phase is Phase.ROLLED_BACK
    assert stage.ledger.groups["nodes"].state.quarantine == {}


def test_invoked_hold_and_release_defer_and_let_go(stage: Stage) -> None:
    """Nothing new starts between them."""
    assert call(doorway.hold, {"group": "nodes", "why": "audit"})["groups"]["nodes"]["hold"]["why"] == "audit"
    call(doorway.image_pushed, push_event())
    assert stage.rollout().phase is Phase.WAITING
    assert call(doorway.release, {"group": "nodes"})["groups"]["nodes"]["hold"] is None
    assert stage.run().phase is Phase.PROMOTED


def test_invoked_approval_lets_it_start(stage: Stage) -> None:
    """With the name of who approved."""
    group = stage.group.model_copy(update={"approval": True})
    stage.fleet = stage.fleet.model_copy(update={"groups": {**stage.fleet.groups, "nodes": group}})
    wiring.install(FakeHouse(stage))
    call(doorway.image_pushed, push_event())
    assert stage.rollout().phase is Phase.AWAITING_APPROVAL
    call(doorway.approve, {"group": "nodes"})
    assert stage.rollout().approved_by == "invoke"
    assert stage.run().phase is Phase.PROMOTED


@pytest.mark.parametrize("handler", [doorway.release, doorway.approve, doorway.abort, doorway.rollback, doorway.adopt])
def test_word_with_nothing_under_way_says_so(stage: Stage, handler: Callable[..., Any]) -> None:
    """An answer, and no rollout."""
    assert call(handler, {"group": "nodes"})["told"]
    assert stage.ledger.all_rollouts == {}


@pytest.mark.parametrize("payload", [None, {}, {"group": "nodes"}])
def test_status_shows_what_is_stable_and_writes_nothing(stage: Stage, payload: Any) -> None:
    """All groups, or one."""
    shown = call(doorway.status, payload)
    assert {s["digest"] for s in shown["groups"]["nodes"]["stable"].values()} == {STABLE}
    assert ("explorers" in shown["groups"]) is (payload != {"group": "nodes"})
    assert changes(stage) == []


def test_word_while_another_tick_runs_is_kept_for_it(stage: Stage) -> None:
    """The word is in the inbox, a wake message is on its way, and the answer says so."""
    claim = stage.ledger.claim("nodes", owner="other", now=stage.now, lease_seconds=90)
    assert claim is not None
    answer = call(doorway.hold, {"group": "nodes", "why": "audit"})
    assert "accepted" in answer["told"][0]
    assert stage.queue.sent[-1][0] == "nodes"
    stage.ledger.release(claim, wake_at=None)
    call(doorway.tick_schedule, SCHEDULE)
    assert stage.ledger.groups["nodes"].state.hold is not None


@pytest.mark.parametrize("handler", [doorway.rollback, doorway.hold])
def test_transient_error_of_a_word_is_raised(stage: Stage, handler: Callable[..., Any]) -> None:
    """Whoever invoked it sees that it failed."""
    stage.calls.fail("ledger.put_request", AwsUnavailableError("500"))
    with pytest.raises(AwsUnavailableError):
        call(handler, {"group": "nodes"})


# -------------------------------------------------------------------------------------------------------- the HTTP API


@pytest.fixture
def http(stage: Stage) -> Iterator[Any]:
    """The routes, through Chalice's local gateway."""
    with Client(doorway.app, stage_name="staging", project_dir=str(REPOSITORY_ROOT)) as client:
        yield client.http


@pytest.mark.parametrize("name", ["x.png", "a" * 31 + ".png", "..%2Fstatus"])
def test_picture_that_cannot_be_is_not_found(http: Any, name: str) -> None:
    """The route asks for no signature, so that it opens nothing but a picture whose name one knows."""
    assert http.get(f"/pictures/{name}").status_code == 404


def test_picture_is_opened_by_its_name(http: Any, aws: Aws) -> None:
    """The browser is sent to the bucket with a link of a minute, which no cache may keep."""
    wiring.house().__dict__["pictures"] = Pictures(aws, bucket="ops", public_url="https://ops.test")
    answer = http.get(f"/pictures/{'a' * 32}.png")
    assert (answer.status_code, answer.headers["Cache-Control"]) == (302, "no-store")
    assert f"/ops/pictures/{'a' * 32}.png?X-Amz-Algorithm=AWS4-HMAC-SHA256" in answer.headers["Location"]
    assert "X-Amz-Expires=60" in answer.headers["Location"]


def post(http: Any, path: str, body: Any) -> tuple[int, Any]:
    """POST JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = http.post(path, headers={"Content-Type": "application/json"}, body=raw)
    return answer.status_code, json.loads(answer.body)


def test_posted_rollout_is_accepted(http: Any, stage: Stage) -> None:
    """202 with the group's state; the rollout can be shown."""
    status, body = post(http, "/rollouts", {"group": "nodes", "image": "2.1.0"})
    assert status == 202
    shown = body["groups"]["nodes"]["rollouts"][0]
    answer = http.get(f"/rollouts/{shown['id']}")
    detail = json.loads(answer.body)
    assert (answer.status_code, detail["image"]["digest"]) == (200, TARGET)
    assert detail["journal"]


@pytest.mark.parametrize(
    "body", [{}, [], b"{", b"", {"group": "nodes"}, {"group": "nobody", "image": "2.1.0"}, {"group": "nodes", "x": 1}]
)
def test_posted_nonsense_is_answered_with_what_is_allowed(http: Any, stage: Stage, body: Any) -> None:
    """400, and nothing was changed."""
    status, answer = post(http, "/rollouts", body)
    assert status == 400
    assert "Allowed" in answer["error"]
    assert changes(stage) == []


@pytest.mark.parametrize("method", ["get", "post"])
def test_unknown_rollout_is_not_found(http: Any, method: str) -> None:
    """404 to show it and to take it back."""
    if method == "get":
        assert http.get("/rollouts/r-none").status_code == 404
    else:
        assert post(http, "/rollouts/r-none/rollback", {})[0] == 404


def test_open_rollout_is_taken_back(http: Any, stage: Stage) -> None:
    """202, and it goes back."""
    rollout = started(stage, lambda r: r.phase is Phase.BAKING)
    status, body = post(http, f"/rollouts/{rollout.id}/rollback", {"why": "errors"})
    assert status == 202
    assert body["groups"]["nodes"]["rollouts"][0]["phase"] == "ROLLING_BACK"


def test_rollback_needs_no_body(http: Any, stage: Stage) -> None:
    """CI may send none."""
    rollout = started(stage, lambda r: r.phase is Phase.BAKING)
    assert post(http, f"/rollouts/{rollout.id}/rollback", b"")[0] == 202


@pytest.mark.parametrize("bad", [{"fast": True}, {"group": "explorers"}, {"rollout": "r-other"}, [1], b"{"])
def test_wrong_rollback_body_takes_nothing_back(http: Any, stage: Stage, bad: Any) -> None:
    """400; a body may not name another group or rollout than the path, nor be no object."""
    rollout = started(stage, lambda r: r.phase is Phase.BAKING)
    status, _ = post(http, f"/rollouts/{rollout.id}/rollback", bad)
    assert status == 400
    assert stage.ledger.all_rollouts[rollout.id].phase is Phase.BAKING


def test_ended_rollout_cannot_be_taken_back(http: Any, stage: Stage) -> None:
    """409 with what to do instead."""
    stage.bad[stage.names[0]] = Talk(supply=0.0)
    rollout = started(stage, lambda r: not r.open)
    status, body = post(http, f"/rollouts/{rollout.id}/rollback", {})
    assert status == 409
    assert "has ended" in body["error"]
