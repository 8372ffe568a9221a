"""The ports `Ledger`, `LedgerView` and `Outbox` in memory. Frozen records go in and come out; only the maps change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from chalicelib.errors import LostRaceError, MisconfiguredError
from chalicelib.incident.model import Incident, Report
from chalicelib.rollout.model import GroupState, Origin, Request, Rollout, Word
from chalicelib.rollout.ports import Claim, Entry
from tests.fakes.calls import Called, Calls

FOLDED_A_CLAIM = 90
SAME_PUSH = timedelta(seconds=60)
INBOX_A_CLAIM, WRITES_A_TRANSACTION = 20, 100  # as DynamoDB's transactions want it


@dataclass
class GroupRecord:
    """A group's record."""

    state: GroupState
    version: int = 0
    owner: str | None = None
    until: datetime | None = None
    wake_at: datetime | None = None
    unread: bool = False
    inbox: dict[str, Request] = field(default_factory=dict)


@dataclass
class IncidentRecord:
    """An incident's record."""

    incident: Incident
    reports: dict[str, Report] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    until: datetime | None = None
    wake_at: datetime | None = None
    asked_at: datetime | None = None  # the wake that the first report since the last claim asked for


class FakeLedger(Called):
    """What `groups`, `all_rollouts`, `entries` and `all_incidents` hold is the whole truth."""

    def __init__(self, calls: Calls | None = None) -> None:
        """An empty ledger."""
        super().__init__(calls)
        self.groups: dict[str, GroupRecord] = {}
        self.all_rollouts: dict[str, Rollout] = {}
        self.entries: list[Entry] = []
        self.pushes: dict[tuple[str | None, str | None, str | None], datetime] = {}
        self.all_incidents: dict[str, IncidentRecord] = {}
        self._requests = 0

    # ------------------------------------------------------------------------------------------------ Ledger

    def claim(self, group: str, *, owner: str, now: datetime, lease_seconds: int) -> Claim | None:
        """See the port."""
        return self._call("ledger.claim", lambda: self._claim(group, owner, now, lease_seconds))

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
        """See the port."""
        return self._call("ledger.record", lambda: self._record(claim, state, rollouts, journal, reports, done))

    def release(self, claim: Claim, *, wake_at: datetime | None) -> int:
        """See the port."""
        return self._call("ledger.release", lambda: self._release(claim, wake_at))

    def put_request(self, request: Request, *, now: datetime) -> bool:
        """See the port."""
        return self._call("ledger.put_request", lambda: self._put_request(request, now))

    # -------------------------------------------------------------------------------------------- LedgerView

    def due_groups(self, now: datetime) -> tuple[tuple[str, int], ...]:
        """See the port."""
        return self._call(
            "ledger.due_groups",
            lambda: tuple((g, r.version) for g, r in self.groups.items() if r.wake_at is not None and r.wake_at <= now),
        )

    def group(self, group: str) -> tuple[GroupState, int]:
        """See the port."""
        return self._call("ledger.group", lambda: self._group(group))

    def rollout(self, rollout: str) -> Rollout | None:
        """See the port."""
        return self._call("ledger.rollout", lambda: self.all_rollouts.get(rollout))

    def rollouts(self, group: str, *, limit: int = 20) -> tuple[Rollout, ...]:
        """See the port."""
        return self._call("ledger.rollouts", lambda: self._newest(group)[:limit])

    def journal(self, rollout: str) -> tuple[Entry, ...]:
        """See the port."""
        return self._call("ledger.journal", lambda: tuple(e for e in self.entries if e.rollout == rollout))

    # ------------------------------------------------------------------------------------------------ Outbox

    def put_reports(self, reports: Sequence[Report], *, wake_at: datetime) -> tuple[str, ...]:
        """See the port."""
        return self._call("outbox.put_reports", lambda: self._put_reports(reports, wake_at))

    def due_incidents(self, now: datetime) -> tuple[str, ...]:
        """See the port."""
        return self._call(
            "outbox.due_incidents",
            lambda: tuple(k for k, r in self.all_incidents.items() if r.wake_at is not None and r.wake_at <= now),
        )

    def claim_incident(self, key: str, *, now: datetime, lease_seconds: int) -> Incident | None:
        """See the port."""
        return self._call("outbox.claim_incident", lambda: self._claim_incident(key, now, lease_seconds))

    def save_incident(
        self, incident: Incident, *, folded: Sequence[Report] = (), wake_at: datetime | None, keep: bool = False
    ) -> None:
        """See the port."""
        return self._call("outbox.save_incident", lambda: self._save_incident(incident, folded, wake_at, keep))

    def incident(self, key: str) -> Incident | None:
        """See the port."""
        record = self.all_incidents.get(key)
        return self._call("outbox.incident", lambda: record.incident if record else None)

    def open_incidents(self) -> tuple[Incident, ...]:
        """See the port."""
        return self._call("outbox.open_incidents", self._open_incidents)

    # ------------------------------------------------------------------------------------------------ inside

    def _group(self, group: str) -> tuple[GroupState, int]:
        record = self.groups.get(group)
        return (record.state, record.version) if record else (GroupState(group=group), 0)

    def _made(self, group: str) -> GroupRecord:
        return self.groups.setdefault(group, GroupRecord(GroupState(group=group)))

    def _claim(self, group: str, owner: str, now: datetime, lease_seconds: int) -> Claim | None:
        record = self._made(group)
        if record.owner not in (None, owner) and record.until is not None and record.until >= now:
            return None
        record.owner, record.until = owner, now + timedelta(seconds=lease_seconds)
        record.wake_at, record.unread = record.until, len(record.inbox) > INBOX_A_CLAIM
        record.version += 1
        named = [each for each in (record.state.active, record.state.queued) if each]
        return Claim(
            state=record.state,
            version=record.version,
            owner=owner,
            until=record.until,
            rollouts={each: self.all_rollouts[each] for each in named if each in self.all_rollouts},
            requests=tuple(sorted(record.inbox.items()))[:INBOX_A_CLAIM],
        )

    def _held(self, claim: Claim) -> GroupRecord:
        record = self._made(claim.state.group)
        if record.owner != claim.owner or record.version != claim.version:
            raise LostRaceError(f"the claim on group {claim.state.group} is another tick's now")
        return record

    def _record(
        self,
        claim: Claim,
        state: GroupState,
        rollouts: Sequence[Rollout],
        journal: Sequence[Entry],
        reports: Sequence[Report],
        done: Sequence[str],
    ) -> Claim:
        record = self._held(claim)
        new = sum(rollout.id not in claim.rollouts for rollout in rollouts)
        noted = len(reports) + 2 * len({report.key for report in reports})
        if 1 + len(rollouts) + new + len(journal) + noted + len(done) > WRITES_A_TRANSACTION:
            raise MisconfiguredError(f"could not record a tick of group {state.group}: too many writes")
        record.version += 1
        record.state = state
        self.all_rollouts |= {rollout.id: rollout for rollout in rollouts}
        self.entries += journal
        for report in reports:
            self._note(report, report.at)
        for key in done:
            record.inbox.pop(key, None)
        kept = {**claim.rollouts, **{rollout.id: rollout for rollout in rollouts}}
        return replace(
            claim,
            state=state,
            version=record.version,
            rollouts={each: rollout for each, rollout in kept.items() if each in (state.active, state.queued)},
            requests=tuple(request for request in claim.requests if request[0] not in done),
        )

    def _release(self, claim: Claim, wake_at: datetime | None) -> int:
        record = self._held(claim)
        record.owner = record.until = None
        record.version += 1
        if not record.unread:
            record.wake_at = wake_at
        return record.version

    def _put_request(self, request: Request, now: datetime) -> bool:
        if request.word is Word.START and request.origin is Origin.IMAGE and request.pushed_at is not None:
            push = (request.repository, request.tag, request.digest)
            seen = self.pushes.get(push)
            if seen is not None and seen >= request.pushed_at - SAME_PUSH:
                return False
            self.pushes[push] = request.pushed_at
        record = self._made(request.group)
        if request not in record.inbox.values():
            self._requests += 1
            record.inbox[f"INBOX#{request.at.isoformat()}#{self._requests:04d}"] = request
        record.unread, record.wake_at = True, now
        return True

    def _newest(self, group: str) -> tuple[Rollout, ...]:
        mine = [rollout for rollout in self.all_rollouts.values() if rollout.group == group]
        return tuple(sorted(mine, key=lambda rollout: (rollout.requested_at, rollout.id), reverse=True))

    def _note(self, report: Report, wake_at: datetime) -> bool:
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
        record = self.all_incidents.setdefault(report.key, IncidentRecord(first))
        record.reports[report.id] = report
        return self._due(record, wake_at)

    def _due(self, record: IncidentRecord, wake_at: datetime) -> bool:
        mine = record.asked_at in (None, wake_at)
        record.asked_at = record.wake_at = record.asked_at or wake_at
        return mine

    def _put_reports(self, reports: Sequence[Report], wake_at: datetime) -> tuple[str, ...]:
        woken = []
        for report in reports:
            known = self.all_incidents.get(report.key)
            if known is None or report.id not in known.seen:
                mine = self._note(report, wake_at)
                self.all_incidents[report.key].seen.add(report.id)
            else:
                mine = self._due(known, wake_at)
            if mine:
                woken.append(report.key)
        return tuple(dict.fromkeys(woken))

    def _incident(self, record: IncidentRecord) -> Incident:
        return replace(
            record.incident,
            pending=tuple(sorted(record.reports.values(), key=lambda report: (report.at, report.id))),
        )

    def _claim_incident(self, key: str, now: datetime, lease_seconds: int) -> Incident | None:
        record = self.all_incidents.get(key)
        if record is None or record.wake_at is None or record.wake_at > now:
            return None
        if record.until is not None and record.until >= now:
            return None
        record.until = record.wake_at = now + timedelta(seconds=lease_seconds)
        record.asked_at = None
        record.incident = replace(record.incident, version=record.incident.version + 1)
        incident = self._incident(record)
        if len(incident.pending) > FOLDED_A_CLAIM:
            record.asked_at = record.wake_at = now
        return replace(incident, pending=incident.pending[:FOLDED_A_CLAIM])

    def _save_incident(
        self, incident: Incident, folded: Sequence[Report], wake_at: datetime | None, keep: bool
    ) -> None:
        record = self.all_incidents[incident.key]
        if record.incident.version != incident.version or record.until is None:
            raise LostRaceError(f"incident {incident.key} is another tick's now")
        record.incident = replace(incident, pending=())
        for report in folded:
            record.reports.pop(report.id, None)
        if keep:
            return
        record.until = None
        if record.asked_at is None:
            record.wake_at = wake_at

    def _open_incidents(self) -> tuple[Incident, ...]:
        mine = [self._incident(record) for record in self.all_incidents.values() if record.wake_at is not None]
        return tuple(sorted(mine, key=lambda incident: incident.opened_at, reverse=True))
