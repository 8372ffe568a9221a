"""The port `Ledger` (and `LedgerView`) on DynamoDB: claims, one transaction per record, the inbox, the journal.

Knows the table's layout (table.py). Must not know what a rollout decides.

Whose write is whose. `version` and `lease_owner` fence every write of a claim's holder; an owner is unique to one tick.
An answer of DynamoDB may be lost, and botocore then repeats the call by itself: so
a condition that fails proves nothing until the record was read again. A ClientRequestToken lives too short for that.

Requests never touch `version`. They set `unread` and make the record due: a claim takes `unread` away *before* it reads
the inbox, so whatever it did not see has set it again, and `release` then leaves the record due.

A claim makes the record due at the lease's end: the group of a tick that dies is looked at again then.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import uuid4

from chalicelib.aws.documents import dump, load
from chalicelib.aws.outbox import DynamoOutbox, report_writes
from chalicelib.aws.table import (
    OPEN,
    RECORD,
    WRITES_A_TRANSACTION,
    Item,
    delete,
    key,
    n,
    number_of,
    put,
    s,
    stamp,
    text_of,
)
from chalicelib.errors import AwsUnavailableError, LostRaceError, MisconfiguredError
from chalicelib.incident.model import Report
from chalicelib.rollout.model import GroupState, Origin, Request, Rollout, Word
from chalicelib.rollout.ports import Claim, Entry

KEEP = timedelta(days=90)  # of journal and pushes
SAME_PUSH = timedelta(seconds=60)  # an event's time and the sweep's differ by less; a person's second push by more
DETAIL_LIMIT = 100_000  # bytes of one journal entry's detail; an item may have 400 KB, a transaction 4 MB
INBOX_A_CLAIM = 20  # each may cost four writes of the hundred of the transaction that carries them out


class DynamoLedger(DynamoOutbox):
    """The ports `Ledger`, `LedgerView` and, inherited, `Outbox`: one table, one object."""

    # ------------------------------------------------------------------------------------------------ Ledger

    def claim(self, group: str, *, owner: str, now: datetime, lease_seconds: int) -> Claim | None:
        """Take the group's record by compare-and-set, or None when another tick holds it."""
        until = now + timedelta(seconds=lease_seconds)
        record = self._take(group, owner, now, until)
        if record is None:
            return None
        inbox, more = self._table.query(_group(group), "INBOX#", limit=INBOX_A_CLAIM)
        if more:
            self._mark_unread(group, now)
        state = _state(group, record)
        return Claim(
            state=state,
            version=number_of(record, "version"),
            owner=owner,
            until=until,
            rollouts=self._rollouts([each for each in (state.active, state.queued) if each]),
            requests=tuple((str(text_of(item, "sk")), load(Request, _doc(item))) for item in inbox),
        )

    def record(
        self,
        claim: Claim,
        *,
        state: GroupState,
        rollouts: Sequence[Rollout] = (),
        journal: Sequence[Entry] = (),
        reports: Sequence[Report] = (),
        done: Sequence[str] = (),
    ) -> Claim:
        """Write it all in one transaction and keep the claim. Raises LostRaceError when it is no longer ours."""
        version, intent = claim.version + 1, uuid4().hex
        ours = _if_ours(claim)
        fence: dict[str, Any] = {
            **ours,
            "UpdateExpression": "SET doc = :doc, version = :next, intent = :intent",
            "ExpressionAttributeValues": {
                **ours["ExpressionAttributeValues"],
                ":doc": s(dump(state)),
                ":next": n(version),
                ":intent": s(intent),
            },
        }
        group = state.group
        writes = [
            {"Update": {"Key": key(_group(group), RECORD), **fence}},
            *(write for each in rollouts for write in _rollout_writes(each, new=each.id not in claim.rollouts)),
            *(_journal_write(entry, version, number) for number, entry in enumerate(journal)),
            *report_writes(reports),
            *(delete(_group(group), sk) for sk in done),
        ]
        if len(writes) > WRITES_A_TRANSACTION:
            raise MisconfiguredError(f"could not record a tick of group {group}: {len(writes)} writes, 100 is the most")
        self._transact_as(claim, intent, writes)
        kept = {**claim.rollouts, **{rollout.id: rollout for rollout in rollouts}}
        return replace(
            claim,
            state=state,
            version=version,
            rollouts={each: rollout for each, rollout in kept.items() if each in (state.active, state.queued)},
            requests=tuple(request for request in claim.requests if request[0] not in done),
        )

    def release(self, claim: Claim, *, wake_at: datetime | None) -> int:
        """Let go of the claim; returns the record's version. Raises LostRaceError.

        First on condition that no request came meanwhile; if one did, the wake that it set stands.
        """
        wish = "SET wake_at = :wake, #open = :open" if wake_at else "REMOVE wake_at, #open"
        values = {":wake": s(stamp(wake_at)), ":open": s(OPEN)} if wake_at else {}
        if self._let_go(claim, wish, values, {"#open": "open"}, "attribute_not_exists(unread)"):
            return claim.version + 1
        if self._let_go(claim, "", {}, {}, "attribute_exists(unread)"):
            return claim.version + 1
        raise LostRaceError(f"the claim on group {claim.state.group} is another tick's now")

    def put_request(self, request: Request, *, now: datetime) -> bool:
        """Put a word into the group's inbox; False when this push was seen before and nothing was put."""
        text = dump(request)
        # From the content, so that an invocation which Lambda repeats puts the same item again.
        sk = f"INBOX#{stamp(request.at)}#{sha256(text.encode()).hexdigest()[:16]}"
        due: dict[str, Any] = {
            "Key": key(_group(request.group), RECORD),
            "UpdateExpression": "SET #open = :open, wake_at = :now, unread = :yes ADD version :zero",
            "ExpressionAttributeNames": {"#open": "open"},
            "ExpressionAttributeValues": {":open": s(OPEN), ":now": s(stamp(now)), ":yes": n(1), ":zero": n(0)},
        }
        writes = [put(_group(request.group), sk, doc=s(text)), {"Update": due}]
        if request.word is not Word.START or request.origin is not Origin.IMAGE or request.pushed_at is None:
            self._table.transact(writes)
            return True
        return self._put_push(request, request.pushed_at, now, writes)

    # -------------------------------------------------------------------------------------------- LedgerView

    def due_groups(self, now: datetime) -> tuple[tuple[str, int], ...]:
        """Groups whose wake_at has passed, with their version."""
        return tuple(
            (str(text_of(item, "pk")).removeprefix("GROUP#"), number_of(item, "version"))
            for item in self._table.due(now)
            if str(text_of(item, "pk")).startswith("GROUP#")
        )

    def group(self, group: str) -> tuple[GroupState, int]:
        """A group's state and version; an empty one at version 0 when nothing was ever recorded."""
        record = self._table.get(_group(group)) or {}
        return _state(group, record), number_of(record, "version")

    def rollout(self, rollout: str) -> Rollout | None:
        """One rollout, open or ended."""
        return self._rollouts([rollout]).get(rollout)

    def rollouts(self, group: str, *, limit: int = 20) -> tuple[Rollout, ...]:
        """A group's rollouts, newest first."""
        rows, _ = self._table.query(_group(group), "ROLLOUT#", newest_first=True, limit=limit)
        ids = [str(text_of(row, "rollout")) for row in rows]
        found = self._rollouts(ids)
        return tuple(found[each] for each in ids if each in found)

    def journal(self, rollout: str) -> tuple[Entry, ...]:
        """A rollout's journal, oldest first."""
        items, _ = self._table.query(_rollout(rollout), "JOURNAL#")
        return tuple(load(Entry, _doc(item)) for item in items)

    # ------------------------------------------------------------------------------------------------- inside

    def _rollouts(self, ids: Sequence[str]) -> dict[str, Rollout]:
        items = self._table.get_many([(_rollout(each), RECORD) for each in dict.fromkeys(ids)])
        found = [load(Rollout, _doc(item)) for item in items]
        return {rollout.id: rollout for rollout in found}

    def _take(self, group: str, owner: str, now: datetime, until: datetime) -> Item | None:
        # The owner may take it again: that is how a claim whose answer was lost comes back to it.
        request: dict[str, Any] = {
            "UpdateExpression": "SET lease_owner = :owner, lease_until = :until, wake_at = :until, #open = :open "
            "REMOVE unread ADD version :one",
            "ConditionExpression": "attribute_not_exists(lease_owner) OR lease_until < :now OR lease_owner = :owner",
            "ExpressionAttributeNames": {"#open": "open"},
            "ExpressionAttributeValues": {
                ":open": s(OPEN),
                ":owner": s(owner),
                ":until": s(stamp(until)),
                ":now": s(stamp(now)),
                ":one": n(1),
            },
        }
        return self._table.update(_group(group), request)

    def _mark_unread(self, group: str, now: datetime) -> None:
        """As a request does that comes after the claim: the rest of a long inbox is the next claim's."""
        values = {":yes": n(1), ":now": s(stamp(now))}
        self._table.update(
            _group(group),
            {"UpdateExpression": "SET unread = :yes, wake_at = :now", "ExpressionAttributeValues": values},
        )

    def _let_go(
        self, claim: Claim, wish: str, values: Mapping[str, Any], names: Mapping[str, str], condition: str
    ) -> bool:
        """Release on a further condition; False when the conditions do not hold and it was not done either."""
        ours = _if_ours(claim)
        drop = "lease_owner, lease_until"
        expression = f"{wish}, {drop}" if wish.startswith("REMOVE") else f"{wish} REMOVE {drop}".lstrip()
        request: dict[str, Any] = {
            "UpdateExpression": f"{expression} ADD version :one",
            "ConditionExpression": f"{ours['ConditionExpression']} AND {condition}",
            "ExpressionAttributeValues": {**ours["ExpressionAttributeValues"], **values, ":one": n(1)},
        }
        if names:
            request["ExpressionAttributeNames"] = dict(names)
        try:
            if self._table.update(_group(claim.state.group), request) is not None:
                return True
        except AwsUnavailableError:
            if not self._was_released(claim):
                raise
            return True
        return self._was_released(claim)

    def _was_released(self, claim: Claim) -> bool:
        record = self._table.get(_group(claim.state.group)) or {}
        return number_of(record, "version") == claim.version + 1 and text_of(record, "lease_owner") is None

    def _was_recorded(self, group: str, intent: str) -> bool:
        return text_of(self._table.get(_group(group)) or {}, "intent") == intent

    def _transact_as(self, claim: Claim, intent: str, writes: Sequence[Mapping[str, Any]]) -> None:
        """Write under the claim's fence. In doubt, the record tells whether our own write is the one that stands."""
        group = claim.state.group
        try:
            written = self._table.transact(writes)
        except AwsUnavailableError:
            if not self._was_recorded(group, intent):
                raise
            return
        if not written and not self._was_recorded(group, intent):
            raise LostRaceError(f"the claim on group {group} is another tick's now")

    def _put_push(self, request: Request, pushed_at: datetime, now: datetime, writes: list[dict[str, Any]]) -> bool:
        mine = uuid4().hex  # tells our own repeated call from somebody else's push
        pk = f"PUSH#{request.repository}#{request.tag}#{request.digest}"
        push = put(pk, RECORD, pushed_at=s(stamp(pushed_at)), put=s(mine), ttl=n(int((now + KEEP).timestamp())))
        push["Put"]["ConditionExpression"] = "attribute_not_exists(pk) OR pushed_at < :earlier"
        push["Put"]["ExpressionAttributeValues"] = {":earlier": s(stamp(pushed_at - SAME_PUSH))}
        if self._table.transact([push, *writes]):
            return True
        return text_of(self._table.get(pk) or {}, "put") == mine


def _group(group: str) -> str:
    return f"GROUP#{group}"


def _rollout(rollout: str) -> str:
    return f"ROLLOUT#{rollout}"


def _doc(item: Item) -> str:
    return str(text_of(item, "doc"))


def _state(group: str, record: Item) -> GroupState:
    doc = text_of(record, "doc")  # a record that only a request made has none yet
    return load(GroupState, doc) if doc else GroupState(group=group)


def _if_ours(claim: Claim) -> dict[str, Any]:
    return {
        "ConditionExpression": "version = :held AND lease_owner = :owner",
        "ExpressionAttributeValues": {":held": n(claim.version), ":owner": s(claim.owner)},
    }


def _rollout_writes(rollout: Rollout, *, new: bool) -> list[dict[str, Any]]:
    writes = [put(_rollout(rollout.id), RECORD, doc=s(dump(rollout)))]
    if new:
        sk = f"ROLLOUT#{stamp(rollout.requested_at)}#{rollout.id}"
        writes.append(put(_group(rollout.group), sk, rollout=s(rollout.id)))
    return writes


def _journal_write(entry: Entry, version: int, number: int) -> dict[str, Any]:
    text = dump(entry)
    if len(text.encode()) > DETAIL_LIMIT:
        shape = {name: len(json.dumps(value, default=str)) for name, value in entry.detail.items()}
        note = f"left out: {len(text.encode())} bytes, {DETAIL_LIMIT} is the most"
        text = dump(replace(entry, detail={"truncated": note, "bytes_of": shape}))
    ttl = n(int((entry.at + KEEP).timestamp()))
    return put(_rollout(entry.rollout), f"JOURNAL#{version:010d}#{number:03d}", doc=s(text), ttl=ttl)
