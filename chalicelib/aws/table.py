"""The one DynamoDB table: its keys, its index, and calls on it in DynamoDB's own shapes.

    pk                           sk                               what
    GROUP#<group>                RECORD                           version, lease, doc; open + wake_at to be woken
    GROUP#<group>                INBOX#<at>#<id>                  a request that no tick has carried out yet
    GROUP#<group>                ROLLOUT#<requested_at>#<id>      a row for listing
    ROLLOUT#<id>                 RECORD                           the rollout
    ROLLOUT#<id>                 JOURNAL#<version>#<n>            an entry of its journal (ttl)
    PUSH#<repo>#<tag>#<digest>   RECORD                           a push that was seen (ttl)
    INCIDENT#<key>               RECORD                           version, lease, doc; open + wake_at to be woken
    INCIDENT#<key>               REPORT#<at>#<id>                 a report not yet folded in
    INCIDENT#<key>               SEEN#<id>                        a report that was put (ttl)

Index `open`: hash `open`, range `wake_at`; it needs no attribute but `version` beside the keys.
Knows storage only. Must not know what a group or an incident does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.aws.errors import code_of, translated
from chalicelib.aws.session import Aws
from chalicelib.errors import ThrottledError

Item = Mapping[str, Mapping[str, Any]]

OPEN = "OPEN"
RECORD = "RECORD"
INDEX = "open"
DUE_A_PAGE = 50  # what is left over is due in the next minute too
MOST_DUE = 1000
KEYS_A_GET = 100  # https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html
WRITES_A_TRANSACTION = 100
CONFLICTS = frozenset({"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"})
TRIES = 5  # of a write that met another transaction on the same item


class Table:
    """The table `ops`."""

    def __init__(self, aws: Aws, name: str) -> None:
        """Use this table."""
        self._aws = aws
        self.name = name
        self._due: tuple[datetime, tuple[Item, ...]] | None = None

    def get(self, pk: str, sk: str = RECORD) -> Item | None:
        """One item as it is now, None when there is none."""
        with translated():
            answer = self._client.get_item(TableName=self.name, Key=key(pk, sk), ConsistentRead=True)
        item: Item | None = answer.get("Item")
        return item

    def get_many(self, keys: Sequence[tuple[str, str]]) -> list[Item]:
        """Many items as they are now, in no order; those that do not exist are missing."""
        found: list[Item] = []
        for start in range(0, len(keys), KEYS_A_GET):
            asked: Mapping[str, Any] = {
                self.name: {"Keys": [key(*each) for each in keys[start : start + KEYS_A_GET]], "ConsistentRead": True}
            }
            while asked:
                with translated():
                    answer = self._client.batch_get_item(RequestItems=asked)
                found += answer["Responses"].get(self.name, [])
                asked = answer.get("UnprocessedKeys") or {}
        return found

    def open_names(self) -> list[str]:
        """The partition keys of all that wants a wake at any time; the index may be a moment behind."""
        with translated():
            pages = self._client.get_paginator("query").paginate(
                TableName=self.name,
                IndexName=INDEX,
                KeyConditionExpression="#open = :open",
                ExpressionAttributeNames={"#open": "open"},
                ExpressionAttributeValues={":open": s(OPEN)},
            )
            return [item["pk"]["S"] for page in pages for item in page["Items"]]

    def query(
        self, pk: str, prefix: str, *, newest_first: bool = False, limit: int | None = None
    ) -> tuple[list[Item], bool]:
        """The items of a partition whose sort key begins so, and whether there are more than `limit`."""
        found: list[Item] = []
        for page in self._pages(pk, prefix, newest_first=newest_first):
            found += page
            if limit is not None and len(found) > limit:
                return found[:limit], True
        return found, False

    def update(self, pk: str, request: Mapping[str, Any]) -> Item | None:
        """One UpdateItem of a RECORD; returns the item after it, None when the condition does not hold."""
        self._due = None
        for _ in range(TRIES):
            with translated():
                try:
                    answer = self._client.update_item(
                        TableName=self.name, Key=key(pk, RECORD), ReturnValues="ALL_NEW", **request
                    )
                except ClientError as error:
                    if code_of(error) == "ConditionalCheckFailedException":
                        return None
                    if code_of(error) != "TransactionConflictException":
                        raise
                else:
                    item: Item = answer["Attributes"]
                    return item
        raise ThrottledError(f"could not update {pk}: met other transactions on it {TRIES} times")

    def transact(self, writes: Sequence[Mapping[str, Any]]) -> bool:
        """All of these writes or none; False when a condition does not hold."""
        self._due = None
        items = [{kind: {"TableName": self.name, **write} for kind, write in each.items()} for each in writes]
        for _ in range(TRIES):
            with translated():
                try:
                    self._client.transact_write_items(TransactItems=items)
                except ClientError as error:
                    if code_of(error) != "TransactionCanceledException":
                        raise
                    codes = {reason.get("Code") for reason in error.response.get("CancellationReasons", ())}
                    if "ConditionalCheckFailed" in codes:
                        return False
                    # Somebody put a request while we wrote: the same item, no contradiction.
                    if not codes & CONFLICTS:
                        raise
                else:
                    return True
        raise ThrottledError(f"could not write a transaction: met others on the same items {TRIES} times")

    def due(self, now: datetime) -> tuple[Item, ...]:
        """What wanted a wake by now, the longest due first: groups and incidents in one query.

        The answer is kept for the next caller with the same `now`, until something is written: an idle minute is one
        call.
        """
        if self._due is None or self._due[0] != now:
            self._due = (now, tuple(self._due_items(now)))
        return self._due[1]

    def _due_items(self, now: datetime) -> list[Item]:
        """A storm of incidents must not hide a group that is due: on to the next pages, but not for ever.

        No paginator: what it loads costs an idle minute more than its one page.
        """
        found: list[Item] = []
        begin: dict[str, Any] = {}
        while len(found) < MOST_DUE:
            with translated():
                answer = self._client.query(
                    TableName=self.name,
                    IndexName=INDEX,
                    KeyConditionExpression="#open = :open AND wake_at <= :now",
                    ExpressionAttributeNames={"#open": "open"},
                    ExpressionAttributeValues={":open": s(OPEN), ":now": s(stamp(now))},
                    Limit=DUE_A_PAGE,
                    **begin,
                )
            found += answer["Items"]
            if "LastEvaluatedKey" not in answer:
                break
            begin = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}
        return found

    @property
    def _client(self) -> Any:
        return self._aws.client("dynamodb")

    def _pages(self, pk: str, prefix: str, *, newest_first: bool) -> Iterator[list[Item]]:
        condition, values = "pk = :pk", {":pk": s(pk)}
        if prefix:  # DynamoDB refuses an empty one
            condition, values = f"{condition} AND begins_with(sk, :prefix)", {**values, ":prefix": s(prefix)}
        with translated():
            pages = self._client.get_paginator("query").paginate(
                TableName=self.name,
                KeyConditionExpression=condition,
                ExpressionAttributeValues=values,
                ScanIndexForward=not newest_first,
                ConsistentRead=True,
            )
            for page in pages:
                yield page["Items"]


def put(pk: str, sk: str, **attributes: Mapping[str, Any]) -> dict[str, Any]:
    """A Put for a transaction."""
    return {"Put": {"Item": {**key(pk, sk), **attributes}}}


def delete(pk: str, sk: str) -> dict[str, Any]:
    """A Delete for a transaction."""
    return {"Delete": {"Key": key(pk, sk)}}


def key(pk: str, sk: str) -> dict[str, Mapping[str, Any]]:
    """A primary key in DynamoDB's shape."""
    return {"pk": s(pk), "sk": s(sk)}


def s(value: str) -> Mapping[str, Any]:
    """Text in DynamoDB's shape."""
    return {"S": value}


def n(value: int) -> Mapping[str, Any]:
    """A number in DynamoDB's shape."""
    return {"N": str(value)}


def text_of(item: Item, name: str) -> str | None:
    """A text attribute, None when the item has none."""
    value: str | None = item.get(name, {}).get("S")
    return value


def number_of(item: Item, name: str) -> int:
    """A number attribute, 0 when the item has none."""
    return int(item.get(name, {}).get("N", 0))


def stamp(moment: datetime) -> str:
    """A moment as text that sorts like time: UTC, always six digits of a second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
