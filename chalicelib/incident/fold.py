"""Fold reports into an incident: who is in trouble, since when, how often. Pure, and blind to the order of arrival.

The newest word about a member is the newest by the time at which it happened; a report that comes late only counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from chalicelib.fleet.model import Incidents
from chalicelib.incident.letters import marker_of
from chalicelib.incident.model import Grade, Incident, Leftover, Member, Report, Says, Stage, TicketState

MOST_MEMBERS = 200  # a record is one DynamoDB item of at most 400 KB, and letters and evidence are in it too
MOST_CHANGES = 20
MOST_LEFTOVERS = 20
MOST_NEWS = 20
MOST_NOTES = 20
MOST_TIMELINE = 60


def fold(incident: Incident, reports: Sequence[Report], policy: Incidents) -> Incident:
    """The incident after these reports, with what is news in `news`."""
    for report in sorted(reports, key=lambda each: (each.at, each.id)):
        incident = _clocked(_fold_one(expired(incident, report.at, policy), report, policy), report.at)
    return incident


def expired(incident: Incident, now: datetime, policy: Incidents) -> Incident:
    """The incident after what was not said again in time is taken as over."""
    for member in incident.firing:
        if member.until is not None and member.until <= now:
            over = Report(
                id="", key=incident.key, kind=incident.kind, grade=member.grade, title="not reported any more",
                at=member.until, says=Says.RESOLVED, member=member.name,
            )  # fmt: skip
            incident = _clocked(_fold_one(incident, over, policy), over.at)
    return incident


def _clocked(incident: Incident, at: datetime) -> Incident:
    """Count the time in which anybody was in trouble."""
    if incident.firing and incident.down_since is None:
        return replace(incident, down_since=at)
    if not incident.firing and incident.down_since is not None:
        lasted = max(0.0, (at - incident.down_since).total_seconds())
        return replace(incident, down_seconds=incident.down_seconds + lasted, down_since=None)
    return incident


def _fold_one(incident: Incident, report: Report, policy: Incidents) -> Incident:
    if report.says is Says.NOTE:
        noted = replace(incident, notes=(*incident.notes, report.title)[-MOST_NOTES:])
        return _noted(noted, report, report.title, told=incident.stage in (Stage.OPEN, Stage.SETTLING))
    name = report.member or report.key
    known = next((member for member in incident.members if member.name == name), None)
    changes = known is None or (report.at >= known.since and report.says is not known.says)
    if report.says is Says.FIRING and _is_over(incident, report, known, policy, changes=changes):
        incident = new_episode(incident, report)
        known = next((member for member in incident.members if member.name == name), None)
    if report.says is Says.FIRING:
        incident = replace(incident, count=incident.count + 1)
    if known is None:
        if report.says is Says.UNKNOWN:
            return incident
        return _with_newcomer(incident, report, name)
    if report.at < known.since:
        return _with(incident, replace(known, count=known.count + (report.says is Says.FIRING)))
    if report.says is Says.UNKNOWN and known.says is not Says.FIRING:
        return incident  # what was well and is not measured any more is no news of this trouble
    if changes:
        return _changed(incident, known, report, policy)
    return _repeated(incident, known, report)


def _is_over(incident: Incident, report: Report, known: Member | None, policy: Incidents, *, changes: bool) -> bool:
    """Whether trouble that fires now is a trouble of its own: a new episode, with tickets of its own."""
    if incident.stage is Stage.CLOSED:
        return report.grade < incident.grade or _is_unseen(incident, report, known, policy)
    if not changes:
        return False
    if incident.stage is Stage.ENDED:
        return True
    resolved = incident.since or report.at
    return incident.stage is Stage.RESOLVED and report.at > resolved + timedelta(seconds=policy.reopen_seconds)


def _is_unseen(incident: Incident, report: Report, known: Member | None, policy: Incidents) -> bool:
    """Whether who closed the ticket did not mean this: a member of its own, or one that had been well for a while."""
    if known is None:
        return not incident.more_members
    if report.direct and report.title != known.title:
        return True  # what we did next is not what the person saw
    settled = known.since + timedelta(seconds=policy.settle_seconds)
    return known.says is Says.RESOLVED and report.at >= settled


def new_episode(incident: Incident, report: Report) -> Incident:
    """The same key in trouble again: what was told belongs to the tickets of the last time; who was in it is remembered."""
    return Incident(
        key=incident.key,
        kind=report.kind,
        grade=report.grade,
        title=report.title,
        opened_at=report.at,
        since=report.at,
        episode=incident.episode + 1,
        group=report.group,
        direct=report.direct,
        labels=report.labels,
        members=tuple(replace(m, count=0) if m.says is Says.RESOLVED else m for m in incident.members),
        number=incident.number,
        leftovers=(*incident.leftovers, *_left_open(incident))[-MOST_LEFTOVERS:],
        pending=incident.pending,
        version=incident.version,
    )


def _left_open(incident: Incident) -> tuple[Leftover, ...]:
    """Tickets of this episode in trackers that were down when it ended: they are closed when those are back."""
    return tuple(
        Leftover(
            tracker=copy.tracker,
            ticket=copy.ticket,
            marker=marker_of(incident),
            title=copy.title or incident.title,
            grade=incident.grade,
        )
        for copy in incident.copies
        if copy.ticket is not None and copy.shown is not TicketState.CLOSED
    )


def _with_newcomer(incident: Incident, report: Report, name: str) -> Incident:
    member = Member(
        name=name,
        says=report.says,
        grade=report.grade,
        since=report.at,
        title=report.title,
        count=int(report.says is Says.FIRING),
        alarm=report.alarm,
        until=report.until,
    )
    if len(incident.members) >= MOST_MEMBERS:
        counted = replace(incident, more_members=incident.more_members + 1)
        return (
            _noted(_taken_over(counted, report), report, _words(report, name))
            if report.says is Says.FIRING
            else counted
        )
    incident = replace(incident, members=(*incident.members, member))
    if report.says is not Says.FIRING:
        return incident  # kept, so that an older word that comes later is known to be older
    return _noted(_taken_over(incident, report), report, _words(report, name))


def _changed(incident: Incident, known: Member, report: Report, policy: Incidents) -> Incident:
    member = replace(
        known,
        says=report.says,
        grade=report.grade if report.says is Says.FIRING else known.grade,
        since=report.at,
        changes=(*known.changes, report.at)[-MOST_CHANGES:],
        count=known.count + (report.says is Says.FIRING),
        title=report.title if report.says is Says.FIRING else known.title,
        until=report.until,
    )
    incident = _with(incident, member)
    words = {
        Says.FIRING: report.title if report.direct else f"{known.name} is in trouble again",
        Says.RESOLVED: f"{known.name} is out of trouble: {report.title}",
        Says.UNKNOWN: f"{known.name} is not measured any more: {report.title}",
    }[report.says]
    if report.says is Says.FIRING:
        incident = _taken_over(incident, report)
    if flaps(member, report.at, policy) and not incident.flapping:
        within = policy.flapping_within_seconds // 60
        said = f"{known.name} is flapping: {policy.flapping_changes} changes within {within} min"
        return _noted(replace(incident, flapping=True), report, said)
    return _noted(incident, report, words, told=not incident.flapping)


def _repeated(incident: Incident, known: Member, report: Report) -> Incident:
    """The same word again: it counts; it is news when it is worse or says something else of what we did."""
    worse = report.grade < known.grade
    other = report.direct and report.title != known.title
    firing = report.says is Says.FIRING
    member = replace(
        known,
        grade=known.grade.or_worse(report.grade),
        count=known.count + firing,
        title=report.title if firing else known.title,
        until=report.until,
    )
    incident = _with(incident, member)
    if not firing or not (worse or other):
        return incident
    return _noted(_taken_over(incident, report), report, _words(report, known.name))


def flaps(member: Member, now: datetime, policy: Incidents) -> bool:
    """Whether a member changed its word so often of late that neither word is worth a ticket's life."""
    recent = [at for at in member.changes if (now - at).total_seconds() <= policy.flapping_within_seconds]
    return len(recent) >= policy.flapping_changes


def _taken_over(incident: Incident, report: Report) -> Incident:
    """The words of the newest report of the worst grade are the incident's; every label stays."""
    labels = tuple(dict.fromkeys((*incident.labels, *report.labels)))
    metric = report.metric or incident.metric
    if report.grade > incident.grade:
        return replace(incident, labels=labels, metric=metric)
    return replace(
        incident,
        labels=labels,
        metric=metric,
        kind=report.kind,
        grade=Grade(report.grade),
        title=report.title,
        body=report.body or incident.body,
        direct=incident.direct or report.direct,
    )


def _words(report: Report, name: str) -> str:
    """What is new by a report: our own says itself what we did."""
    return report.title if report.direct else f"{report.grade} {name} is in trouble"


def _noted(incident: Incident, report: Report, words: str, *, told: bool = True) -> Incident:
    timeline = (*incident.timeline, (report.at, words))[-MOST_TIMELINE:]
    news = (*incident.news, words)[-MOST_NEWS:] if told else incident.news
    return replace(incident, timeline=timeline, news=news)


def _with(incident: Incident, member: Member) -> Incident:
    return replace(incident, members=tuple(member if m.name == member.name else m for m in incident.members))
