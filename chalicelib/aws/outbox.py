"""The port `Outbox` on DynamoDB: reports that wait until they are folded in, incidents until they are due.

Knows the table's layout (table.py). Must not know any tracker, nor what becomes of an incident.

A report makes its incident due, at the latest by the `asked_at` of the first report since the last claim: a storm cannot
push that away, and cannot wake a tick more often than its senders ask for. A claim takes `asked_at` away *before* it
reads the reports, so whatever it did not see has set it again, and the save then leaves that wake alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from chalicelib.aws.documents import dump, load
from chalicelib.aws.session import Aws
from chalicelib.aws.table import OPEN, RECORD, Item, Table, delete, key, n, number_of, put, s, stamp, text_of
from chalicelib.errors import LostRaceError
from chalicelib.incident.model import Incident, Report
from chalicelib.incident.ports import A_CLAIM

SEEN_KEPT = timedelta(days=3)  # EventBridge retries for a day, Lambda for six hours


def report_writes(reports: Iterable[Report]) -> list[dict[str, Any]]:
    """The writes that note these reports, for the ledger's transaction: each report, and its incident made due."""
    reports = tuple({report.id: report for report in reports}.values())
    writes = [_report_put(report) for report in reports]
    for report in _firsts(reports):
        update = _due_update(report, report.at)
        writes.append({"Update": {"Key": key(_incident(report.key), RECORD), **update}})
    return writes


class DynamoOutbox:
    """The port `Outbox`."""

    def __init__(self, aws: Aws, table: str) -> None:
        """Keep incidents, and what else is built on this, in the table of this name."""
        self._table = Table(aws, table)

    def put_reports(self, reports: Sequence[Report], *, wake_at: datetime) -> tuple[str, ...]:
        """Note reports and make their incidents due by then at the latest; one that was ever put is not put again.

        Due also when the report was seen before: whoever put it may have died in between. Returns the keys of those
        whose wake this call set.
        """
        woken = []
        for report in reports:
            seen = put(_incident(report.key), f"SEEN#{report.id}", ttl=n(int((report.at + SEEN_KEPT).timestamp())))
            seen["Put"]["ConditionExpression"] = "attribute_not_exists(pk)"
            self._table.transact([seen, _report_put(report)])
        for report in _firsts(reports):
            record = self._table.update(_incident(report.key), _due_update(report, wake_at)) or {}
            if text_of(record, "asked_at") == stamp(wake_at):
                woken.append(report.key)
        return tuple(woken)

    def due_incidents(self, now: datetime) -> tuple[str, ...]:
        """Keys of the incidents that are due, the longest first."""
        names = [str(text_of(item, "pk")) for item in self._table.due(now)]
        return tuple(name.removeprefix("INCIDENT#") for name in names if name.startswith("INCIDENT#"))

    def claim_incident(self, key: str, *, now: datetime, lease_seconds: int) -> Incident | None:
        """Take the incident with its oldest pending reports, or None when another tick has it or nothing is due."""
        until = s(stamp(now + timedelta(seconds=lease_seconds)))
        # wake_at becomes the lease's end: a tick that dies is followed by another then.
        record = self._table.update(
            _incident(key),
            {
                "UpdateExpression": "SET lease_until = :until, wake_at = :until REMOVE asked_at ADD version :one",
                "ConditionExpression": "#open = :open AND wake_at <= :now "
                "AND (attribute_not_exists(lease_until) OR lease_until < :now)",
                "ExpressionAttributeNames": {"#open": "open"},
                "ExpressionAttributeValues": {
                    ":until": until,
                    ":now": s(stamp(now)),
                    ":one": n(1),
                    ":open": s(OPEN),
                },
            },
        )
        if record is None:
            return None
        items, more = self._table.query(_incident(key), "REPORT#", limit=A_CLAIM)
        if more:
            asked = {
                "UpdateExpression": "SET asked_at = :now, wake_at = :now",
                "ExpressionAttributeValues": {":now": s(stamp(now))},
            }
            self._table.update(_incident(key), asked)
        return replace(_incident_of(record), pending=tuple(_report(item) for item in items))

    def save_incident(
        self, incident: Incident, *, folded: Sequence[Report] = (), wake_at: datetime | None, keep: bool = False
    ) -> None:
        """Record it, drop the reports that were folded in, and let go of the claim, or `keep` it for another save.

        Raises LostRaceError when the lease ran out and another tick took the incident.
        """
        drops = [delete(_incident(incident.key), _report_sk(report)) for report in folded]
        if keep:
            if not self._save(incident, "SET doc = :doc", {}, {}, "", drops) and not self._stands(incident):
                raise LostRaceError(f"incident {incident.key} is another tick's now")
            return
        wish, values, names = _wish(wake_at)
        # First on condition that no report came meanwhile; if one did, the wake that it set stands.
        if self._save(incident, wish, values, names, " AND attribute_not_exists(asked_at)", drops):
            return
        if self._save(incident, "SET doc = :doc REMOVE lease_until", {}, {}, " AND attribute_exists(asked_at)", drops):
            return
        if not self._stands(incident, released=True):
            raise LostRaceError(f"incident {incident.key} is another tick's now")

    def incident(self, key: str) -> Incident | None:
        """One incident as it was last recorded, without its pending reports."""
        record = self._table.get(_incident(key), RECORD)
        return _incident_of(record) if record else None

    def open_incidents(self) -> tuple[Incident, ...]:
        """Every incident that wants to be looked at again, with its pending reports, newest first."""
        names = [name for name in self._table.open_names() if name.startswith("INCIDENT#")]
        records = self._table.get_many([(name, RECORD) for name in names])
        newest = sorted((_incident_of(record) for record in records), key=lambda each: each.opened_at, reverse=True)
        return tuple(replace(each, pending=self._pending(each.key)) for each in newest)

    def _pending(self, incident: str) -> tuple[Report, ...]:
        items, _ = self._table.query(_incident(incident), "REPORT#")
        return tuple(_report(item) for item in items)

    def _save(
        self,
        incident: Incident,
        wish: str,
        more: Mapping[str, Any],
        names: Mapping[str, str],
        condition: str,
        drops: Sequence[dict[str, Any]],
    ) -> bool:
        update: dict[str, Any] = {
            "Key": key(_incident(incident.key), RECORD),
            "UpdateExpression": wish,
            "ConditionExpression": f"version = :version AND attribute_exists(lease_until){condition}",
            "ExpressionAttributeValues": {
                ":doc": s(dump(replace(incident, pending=()))),
                ":version": n(incident.version),
                **more,
            },
        }
        if names:
            update["ExpressionAttributeNames"] = dict(names)
        return self._table.transact([{"Update": update}, *drops])

    def _stands(self, incident: Incident, *, released: bool = False) -> bool:
        """Whether our own write is the one that stands: its answer was lost, and botocore made the call again."""
        record = self._table.get(_incident(incident.key)) or {}
        same = (
            text_of(record, "doc") == dump(replace(incident, pending=()))
            and number_of(record, "version") == incident.version
        )
        return same and (text_of(record, "lease_until") is None) is released


def _wish(wake_at: datetime | None) -> tuple[str, dict[str, Any], dict[str, str]]:
    if wake_at is None:
        return "SET doc = :doc REMOVE lease_until, wake_at, #open", {}, {"#open": "open"}
    return "SET doc = :doc, wake_at = :wake REMOVE lease_until", {":wake": s(stamp(wake_at))}, {}


def _incident(key: str) -> str:
    return f"INCIDENT#{key}"


def _report_sk(report: Report) -> str:
    return f"REPORT#{stamp(report.at)}#{report.id}"


def _report_put(report: Report) -> dict[str, Any]:
    return put(_incident(report.key), _report_sk(report), doc=s(dump(report)))


def _report(item: Item) -> Report:
    return load(Report, str(text_of(item, "doc")))


def _firsts(reports: Iterable[Report]) -> tuple[Report, ...]:
    """The first report of each key: a transaction may touch an item once."""
    firsts: dict[str, Report] = {}
    for report in reports:
        firsts.setdefault(report.key, report)
    return tuple(firsts.values())


def _due_update(report: Report, wake_at: datetime) -> dict[str, Any]:
    """Make the incident on its first report, and due on each."""
    first = Incident(
        key=report.key,
        kind=report.kind,
        grade=report.grade,
        title=report.title,
        opened_at=report.at,
        group=report.group,
        direct=report.direct,
        labels=report.labels,
    )
    return {
        "UpdateExpression": "SET doc = if_not_exists(doc, :doc), #open = :open, asked_at = if_not_exists(asked_at, :at), "
        "wake_at = if_not_exists(asked_at, :at) ADD version :zero",
        "ExpressionAttributeNames": {"#open": "open"},
        "ExpressionAttributeValues": {
            ":doc": s(dump(first)),
            ":open": s(OPEN),
            ":at": s(stamp(wake_at)),
            ":zero": n(0),
        },
    }


def _incident_of(record: Item) -> Incident:
    incident = load(Incident, str(text_of(record, "doc")))
    return replace(incident, version=number_of(record, "version"))
