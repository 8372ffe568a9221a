"""The port `Outbox` on DynamoDB: reports that wait until a tracker has them.

Knows the table's layout (table.py). Must not know any tracker. A report is written by the ledger, in the transaction
that changes the phase; here it is claimed, and dropped once it was told.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from chalicelib.aws.documents import dump, load
from chalicelib.aws.session import Aws
from chalicelib.aws.table import OPEN, RECORD, TRIES, Item, Table, delete, key, n, number_of, put, s, stamp, text_of
from chalicelib.errors import LostRaceError, ThrottledError
from chalicelib.incident.model import Incident, Report

INCIDENTS = "INCIDENTS"
A_PAGE = 50
LISTED = 500  # keys looked at to find a page of the newest
DROPPED = 90  # told reports deleted in one save; the rest are known as told and go next time


def report_writes(reports: Iterable[Report]) -> list[dict[str, Any]]:
    """The writes that note these reports, for the ledger's transaction: each report, and its incident made due."""
    reports = tuple({report.id: report for report in reports}.values())
    writes = [put(_incident(report.key), f"REPORT#{report.id}", doc=s(dump(report))) for report in reports]
    firsts: dict[str, Report] = {}
    for report in reports:
        firsts.setdefault(report.key, report)  # a transaction may touch an item once
    for report in firsts.values():
        writes += [_incident_write(report), put(INCIDENTS, report.key)]
    return writes


class DynamoOutbox:
    """The port `Outbox`."""

    def __init__(self, aws: Aws, table: str) -> None:
        """Keep incidents, and what else is built on this, in the table of this name."""
        self._table = Table(aws, table)

    def due_incidents(self, now: datetime) -> tuple[Incident, ...]:
        """Incidents with pending reports whose next try is due, at most a page."""
        names = [str(text_of(item, "pk")) for item in self._table.due(now)]
        records = self._records([name for name in names if name.startswith("INCIDENT#")])
        return tuple(self._with_pending(record) for record in records)

    def claim_incident(self, key: str, *, now: datetime, lease_seconds: int) -> Incident | None:
        """Take the incident for one delivery, or None when another tick has it or nothing is pending."""
        until = s(stamp(now + timedelta(seconds=lease_seconds)))
        # wake_at becomes the lease's end: a deliverer that dies is followed by another then.
        record = self._table.update(
            _incident(key),
            {
                "UpdateExpression": "SET lease_until = :until, wake_at = :until ADD version :one",
                "ConditionExpression": "#open = :open AND (attribute_not_exists(lease_until) OR lease_until < :now)",
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
        incident = self._with_pending(record)
        if not incident.pending:  # told already by a tick whose last write was lost
            self.save_incident(incident, next_try=None)
            return None
        return incident

    def save_incident(self, incident: Incident, *, next_try: datetime | None) -> None:
        """Record what was told and let go. Raises LostRaceError when another tick took the incident since.

        A save may follow another of the same claim, as long as nobody claimed the incident between them.

        `reported` counts reports: were one to come between our reading and our writing, the save looks again.
        """
        for _ in range(TRIES):
            record = self._table.get(_incident(incident.key)) or {}
            if number_of(record, "version") != incident.version:
                raise LostRaceError(f"incident {incident.key} is another tick's now")
            reports = self._reports(incident.key)
            told = [report for report in reports if report.id in incident.told]
            waiting = len(told) < len(reports)
            if self._save(incident, number_of(record, "reported"), next_try, told[:DROPPED], waiting=waiting):
                return
        raise ThrottledError(f"could not save incident {incident.key}: reports came in {TRIES} times meanwhile")

    def incidents(self, prefix: str) -> tuple[Incident, ...]:
        """Every incident whose key begins with this prefix, newest first, at most a page."""
        rows, _ = self._table.query(INCIDENTS, prefix, limit=LISTED)
        records = self._records([_incident(str(text_of(row, "sk"))) for row in rows])
        newest = sorted((_incident_of(record) for record in records), key=lambda each: each.opened_at, reverse=True)
        return tuple(replace(each, pending=self._pending(each)) for each in newest[:A_PAGE])

    def _records(self, names: Sequence[str]) -> list[Item]:
        order = {name: place for place, name in enumerate(names)}
        found = self._table.get_many([(name, RECORD) for name in order])
        return sorted(found, key=lambda item: order[str(text_of(item, "pk"))])

    def _with_pending(self, record: Item) -> Incident:
        incident = _incident_of(record)
        return replace(incident, pending=self._pending(incident))

    def _pending(self, incident: Incident) -> tuple[Report, ...]:
        return tuple(report for report in self._reports(incident.key) if report.id not in incident.told)

    def _reports(self, key: str) -> list[Report]:
        items, _ = self._table.query(_incident(key), "REPORT#")
        reports = [load(Report, str(text_of(item, "doc"))) for item in items]
        return sorted(reports, key=lambda report: (report.at, report.id))

    def _save(
        self, incident: Incident, reported: int, next_try: datetime | None, told: Sequence[Report], *, waiting: bool
    ) -> bool:
        values = {
            ":doc": s(dump(replace(incident, pending=()))),
            ":version": n(incident.version),
            ":reported": n(reported),
        }
        expression = "SET doc = :doc REMOVE lease_until"
        names: dict[str, str] = {}
        if next_try is not None:
            values[":next"] = s(stamp(next_try))
            expression = "SET doc = :doc, wake_at = :next REMOVE lease_until"
        elif not waiting:
            names = {"#open": "open"}
            expression = "SET doc = :doc REMOVE lease_until, wake_at, #open"
        # Else a report came in after the claim: the wake that it set stands.
        update: dict[str, Any] = {
            "Key": key(_incident(incident.key), RECORD),
            "UpdateExpression": expression,
            "ConditionExpression": "version = :version AND reported = :reported",
            "ExpressionAttributeValues": values,
        }
        if names:
            update["ExpressionAttributeNames"] = names
        drops = [delete(_incident(incident.key), f"REPORT#{report.id}") for report in told]
        return self._table.transact([{"Update": update}, *drops])


def _incident(key: str) -> str:
    return f"INCIDENT#{key}"


def _incident_write(report: Report) -> dict[str, Any]:
    """Make the incident on its first report, and due on each; what it was first called stays."""
    first = Incident(
        key=report.key,
        kind=report.kind,
        grade=report.grade,
        title=report.title,
        opened_at=report.at,
        labels=report.labels,
    )
    return {
        "Update": {
            "Key": key(_incident(report.key), RECORD),
            "UpdateExpression": "SET doc = if_not_exists(doc, :doc), #open = :open, wake_at = :at "
            "ADD reported :one, version :zero",
            "ExpressionAttributeNames": {"#open": "open"},
            "ExpressionAttributeValues": {
                ":doc": s(dump(first)),
                ":open": s(OPEN),
                ":at": s(stamp(report.at)),
                ":one": n(1),
                ":zero": n(0),
            },
        }
    }


def _incident_of(record: Item) -> Incident:
    incident = load(Incident, str(text_of(record, "doc")))
    return replace(incident, version=number_of(record, "version"))
