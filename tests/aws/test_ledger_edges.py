"""What only the DynamoDB ledger can get wrong: lost answers, conflicts, pages, sizes and imports."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from chalicelib.aws.ledger import INBOX_A_CLAIM, DynamoLedger
from chalicelib.aws.session import Aws
from chalicelib.errors import AwsUnavailableError, LostRaceError, MisconfiguredError, ThrottledError
from chalicelib.incident.model import Grade, Report
from chalicelib.rollout.ports import Claim, Entry
from tests.contracts.test_ledger import NOW, a_hold, a_push, a_report, a_rollout
from tests.fakes.cloud import TABLE, make_table


@pytest.fixture
def ledger(aws: Aws) -> DynamoLedger:
    """An empty ledger."""
    make_table(aws)
    return DynamoLedger(aws, TABLE)


def claimed(ledger: DynamoLedger, owner: str = "tick-1") -> Claim:
    """A claim that must succeed."""
    claim = ledger.claim("nodes", owner=owner, now=NOW, lease_seconds=60)
    assert claim is not None
    return claim


class LostAnswers:
    """Performs a call and loses its answer, as many times as told; botocore's own retries included."""

    def __init__(self, aws: Aws, operation: str, *, times: int = 1) -> None:
        """Lose answers of this operation from now on."""
        self.left = times
        self.seen = 0
        aws.client("dynamodb").meta.events.register(f"after-call.dynamodb.{operation}", self._lose)

    def _lose(self, **_: Any) -> None:
        self.seen += 1
        if self.left > 0:
            self.left -= 1
            raise ReadTimeoutError(endpoint_url="http://dynamodb")


class Repeats:
    """Sends each request of an operation twice, as botocore does when the first answer did not come."""

    def __init__(self, aws: Aws, operation: str) -> None:
        """Repeat this operation from now on."""
        self._again = aws.client("dynamodb")
        self._aws = aws
        self._busy = False
        self._operation = operation
        self._again.meta.events.register(f"provide-client-params.dynamodb.{operation}", self._repeat)

    def _repeat(self, params: dict[str, Any], **_: Any) -> None:
        if self._busy:
            return
        self._busy = True
        try:
            name = "transact_write_items" if self._operation == "TransactWriteItems" else "update_item"
            getattr(self._again, name)(**params)
        finally:
            self._busy = False


def test_record_whose_answer_was_lost_stands_and_the_tick_goes_on(aws: Aws, ledger: DynamoLedger) -> None:
    """The record says that it was written."""
    claim = claimed(ledger)
    lost = LostAnswers(aws, "TransactWriteItems")
    kept = ledger.record(claim, state=replace(claim.state, active="r-1"), rollouts=[a_rollout()])
    assert lost.seen == 1
    assert ledger.group("nodes") == (kept.state, kept.version)
    assert ledger.record(kept, state=kept.state).version == kept.version + 1


def test_record_that_was_not_written_and_not_answered_is_unavailable(aws: Aws, ledger: DynamoLedger) -> None:
    """Nothing was written, nothing is pretended."""
    claim = claimed(ledger)

    def cut(**_: Any) -> None:
        raise ReadTimeoutError(endpoint_url="http://dynamodb")

    aws.client("dynamodb").meta.events.register("before-call.dynamodb.TransactWriteItems", cut)
    with pytest.raises(AwsUnavailableError):
        ledger.record(claim, state=replace(claim.state, active="r-1"))
    assert ledger.group("nodes")[0].active is None


def test_record_that_botocore_repeats_is_not_taken_for_a_lost_race(aws: Aws, ledger: DynamoLedger) -> None:
    """The second one's condition fails, by our own hand."""
    claim = claimed(ledger)
    Repeats(aws, "TransactWriteItems")
    assert ledger.record(claim, state=claim.state).version == claim.version + 1


def test_release_whose_answer_was_lost_counts(aws: Aws, ledger: DynamoLedger) -> None:
    """The record shows that it was let go."""
    claim = claimed(ledger)
    LostAnswers(aws, "UpdateItem")
    version = ledger.release(claim, wake_at=NOW)
    assert ledger.due_groups(NOW) == (("nodes", version),)


def test_release_that_botocore_repeats_counts_once(aws: Aws, ledger: DynamoLedger) -> None:
    """The version moves by one."""
    claim = claimed(ledger)
    Repeats(aws, "UpdateItem")
    assert ledger.release(claim, wake_at=None) == claim.version + 1
    assert ledger.group("nodes")[1] == claim.version + 1


def test_claim_that_botocore_repeats_is_held_and_can_record(aws: Aws, ledger: DynamoLedger) -> None:
    """The owner takes it again; the version that it got is the one that counts."""
    Repeats(aws, "UpdateItem")
    claim = claimed(ledger)
    assert ledger.record(claim, state=claim.state).version == claim.version + 1


def test_push_that_botocore_repeats_is_a_new_push(aws: Aws, ledger: DynamoLedger) -> None:
    """Our own first try is not a push seen before."""
    Repeats(aws, "TransactWriteItems")
    assert ledger.put_request(a_push(), now=NOW)
    assert not ledger.put_request(a_push(seconds=1), now=NOW)
    assert len(claimed(ledger).requests) == 1


def test_writes_that_meet_another_transaction_are_tried_again_and_then_throttled(
    aws: Aws, ledger: DynamoLedger
) -> None:
    """A request that comes in while a tick records touches the same item; that is no lost race."""
    claim = claimed(ledger)
    conflicts = 3

    def conflict(**_: Any) -> Any:
        nonlocal conflicts
        if conflicts == 0:
            return None
        conflicts -= 1
        body = {
            "Error": {"Code": "TransactionCanceledException", "Message": "conflict"},
            "CancellationReasons": [{"Code": "TransactionConflict"}],
            "ResponseMetadata": {"HTTPStatusCode": 400},
        }
        return type("Http", (), {"status_code": 400})(), body

    aws.client("dynamodb").meta.events.register("before-call.dynamodb.TransactWriteItems", conflict)
    kept = ledger.record(claim, state=claim.state)
    assert kept.version == claim.version + 1
    conflicts = 99
    with pytest.raises(ThrottledError):
        ledger.record(kept, state=kept.state)


def test_long_inbox_is_read_in_parts_and_the_rest_stays_due(ledger: DynamoLedger) -> None:
    """A transaction takes a hundred writes; nothing of the rest is forgotten."""
    for number in range(INBOX_A_CLAIM + 5):
        ledger.put_request(replace(a_hold(), at=NOW + timedelta(seconds=number)), now=NOW)
    claim = claimed(ledger)
    assert len(claim.requests) == INBOX_A_CLAIM
    kept = ledger.record(claim, state=claim.state, done=[key for key, _ in claim.requests])
    version = ledger.release(kept, wake_at=None)
    assert ledger.due_groups(NOW) == (("nodes", version),)
    assert len(claimed(ledger).requests) == 5


def test_detail_over_its_limit_is_left_out_with_a_note(ledger: DynamoLedger) -> None:
    """An entry must fit into an item; its phase and why always do."""
    claim = claimed(ledger)
    entry = Entry(rollout="r-1", at=NOW, phase="BAKING", why="so", detail={"log": "x" * 150_000, "height": 3})
    ledger.record(claim, state=claim.state, journal=[entry])
    (kept,) = ledger.journal("r-1")
    assert (kept.phase, kept.why) == ("BAKING", "so")
    assert kept.detail["bytes_of"] == {"log": 150_002, "height": 1}
    assert "100000" in kept.detail["truncated"]


def test_more_writes_than_a_transaction_takes_are_refused_before_aws_is_asked(ledger: DynamoLedger) -> None:
    """The message names the number."""
    claim = claimed(ledger)
    entries = [Entry(rollout="r-1", at=NOW, phase="", why="", detail={})] * 100
    with pytest.raises(MisconfiguredError, match="101 writes"):
        ledger.record(claim, state=claim.state, journal=entries)


def test_journal_and_pushes_end_by_themselves_after_ninety_days(aws: Aws, ledger: DynamoLedger) -> None:
    """DynamoDB deletes by the attribute `ttl`; the records have none."""
    ledger.put_request(a_push(), now=NOW)
    claim = claimed(ledger)
    entry = Entry(rollout="r-1", at=NOW, phase="", why="", detail={})
    ledger.record(claim, state=claim.state, rollouts=[a_rollout()], journal=[entry], reports=[a_report()])
    items = aws.client("dynamodb").scan(TableName=TABLE)["Items"]
    ending = {item["pk"]["S"].partition("#")[0] + "/" + item["sk"]["S"][:6] for item in items if "ttl" in item}
    assert ending == {"PUSH/RECORD", "ROLLOUT/JOURNA"}
    expected = str(int((NOW + timedelta(days=90)).timestamp()))
    assert {item["ttl"]["N"] for item in items if "ttl" in item} == {expected}


def test_idle_minute_is_one_query_for_groups_and_incidents(aws: Aws, ledger: DynamoLedger) -> None:
    """The answer is kept for the same now, and dropped when something is written."""
    asked: list[str] = []
    aws.client("dynamodb").meta.events.register("before-call.dynamodb", lambda model, **_: asked.append(model.name))
    assert ledger.due_groups(NOW) == ()
    assert ledger.due_incidents(NOW) == ()
    assert asked == ["Query"]
    ledger.put_request(a_hold(), now=NOW)
    assert ledger.due_groups(NOW) == (("nodes", 0),)


def test_storm_of_due_incidents_hides_no_group_that_is_due(ledger: DynamoLedger) -> None:
    """More of them than a page of the index, and all of them longer due."""
    reports = [
        Report(id=f"rep-{i}", key=f"k-{i}", kind="alarm", grade=Grade.P3, title="t", at=NOW, member="m")
        for i in range(60)
    ]
    ledger.put_reports(reports, wake_at=NOW)
    ledger.put_request(a_hold(), now=NOW + timedelta(seconds=1))
    later = NOW + timedelta(seconds=2)
    assert ledger.due_groups(later) == (("nodes", 0),)
    assert len(ledger.due_incidents(later)) == 60


def test_stale_claim_of_the_same_owner_is_a_lost_race(ledger: DynamoLedger) -> None:
    """An owner cannot write twice from one version either."""
    claim = claimed(ledger)
    ledger.record(claim, state=claim.state)
    with pytest.raises(LostRaceError):
        ledger.record(claim, state=claim.state)


def test_ledger_imports_neither_pydantic_nor_boto3() -> None:
    """Cold start of an idle minute: only botocore is paid for."""
    unwanted = "{'pydantic', 'boto3', 'requests'}"
    program = f"import sys, chalicelib.aws.ledger; print(sorted({unwanted} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
