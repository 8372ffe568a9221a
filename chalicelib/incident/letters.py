"""What people read of an incident: its page, and a letter for each thing that becomes of it. Pure.

A page is what a ticket opens with; letters are its comments. Must not know any tracker's markup: documents only.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from chalicelib.incident.document import (
    Block,
    Bullets,
    Document,
    Heading,
    Line,
    Paragraph,
    bullets,
    line,
    link,
    paragraph,
    strong,
)
from chalicelib.incident.model import Grade, Incident, Letter, LetterKind, Member, Says
from chalicelib.incident.ports import Page
from chalicelib.incident.redact import line_of

MOST_TITLE = 200
MOST_NAMED = 20
RESPONSE = {
    Grade.P1: "look now",
    Grade.P2: "look within 15 minutes",
    Grade.P3: "look within an hour",
    Grade.P4: "look the next day",
}


def page_of(incident: Incident, *, runbooks_url: str) -> Page:
    """The ticket as it should look now."""
    return Page(
        marker=marker_of(incident),
        title=title_of(incident),
        body=_page_body(incident, runbooks_url),
        labels=labels_of(incident),
        grade=incident.grade,
    )


def marker_of(incident: Incident) -> str:
    """What finds the ticket of this episode again when the answer to its creation was lost."""
    return f"xai-ops:{incident.key}/{incident.episode}"


def letter_marker(incident: Incident, letter: Letter) -> str:
    """What finds a comment again."""
    return f"{marker_of(incident)}/{letter.number}"


def title_of(incident: Incident) -> str:
    """The ticket's title: plain text in every tracker, one line. It names the members that are in trouble."""
    names = [member.name for member in incident.firing or incident.members]
    title = incident.title
    if len(names) == 1 and not incident.direct and names[0] not in title:
        title = f"{title} ({names[0]})"
    if len(names) > 1:
        more = f" and {len(names) - 3 + incident.more_members} more" if len(names) > 3 else ""
        title = f"{title} ({len(names) + incident.more_members} in all: {', '.join(names[:3])}{more})"
    return line_of(f"{incident.grade} {title}", MOST_TITLE)


def labels_of(incident: Incident) -> tuple[str, ...]:
    """The ticket's labels; of the grades only the one that holds now."""
    grades = {grade.value for grade in Grade}
    kept = (label for label in incident.labels if label not in grades)
    return tuple(dict.fromkeys((*kept, incident.kind, incident.grade.value)))


def _page_body(incident: Incident, runbooks_url: str) -> Document:
    first: list[Block] = [
        paragraph(strong(incident.title)),
        bullets(
            line("grade ", strong(incident.grade), f": {RESPONSE[incident.grade]}"),
            line(f"since {_at(incident.opened_at)}; {_times(incident.count)} reported"),
            line("runbook: ", link(incident.kind, f"{runbooks_url}/{incident.kind}.md")),
        ),
    ]
    if len(incident.members) > 1:
        first += [Heading("Who is in trouble"), _who(incident)]
    if incident.notes:
        first += [Heading("What else happened"), bullets(*incident.notes)]
    return (*first, *incident.body, *incident.evidence)


def _who(incident: Incident) -> Bullets:
    lines = [_member(member) for member in incident.members[:MOST_NAMED]]
    left = len(incident.members) - MOST_NAMED + incident.more_members
    return Bullets((*lines, line(f"and {left} more"))) if left > 0 else Bullets(tuple(lines))


def _member(member: Member) -> Line:
    words = {Says.FIRING: "in trouble", Says.RESOLVED: "out of trouble", Says.UNKNOWN: "not measured"}[member.says]
    return line(strong(member.name), f" {words} since {_at(member.since)}, {_times(member.count)} reported")


def _letter(*body: Block) -> Letter:
    return Letter(number=0, kind=LetterKind.OPENED, title="", body=body, at=datetime.min.replace(tzinfo=UTC))


def opened(incident: Incident) -> Letter:
    """The first letter; a ticket opens with the page, and only a ticket that was there already gets it as a comment."""
    return _letter(paragraph(strong("Opened"), f": {incident.title}"), *incident.body)


def updated(incident: Incident) -> Letter:
    """What is new since the last letter."""
    parts: list[Block] = [paragraph(strong(incident.grade), f" {incident.title}")]
    if set(incident.news) - {incident.title}:
        parts.append(bullets(*incident.news))
    if len(incident.members) > 1:
        parts += [Heading("Who is in trouble"), _who(incident)]
    return _letter(*parts, *incident.body)


def reminder(incident: Incident, now: datetime) -> Letter:
    """Nothing changed, and nobody has taken it on."""
    how_long = _long(now - incident.opened_at)
    return _letter(
        paragraph(strong("Still in trouble"), f" after {how_long}: {_times(incident.count)} reported"), _who(incident)
    )


def reopened(incident: Incident) -> Letter:
    """The trouble came back within the window."""
    return _letter(paragraph(strong("Reopened"), ": the trouble is back"), bullets(*incident.news), *incident.body)


def closed(incident: Incident) -> Letter:
    """A person closed one of the tickets; the others follow."""
    text = f": {incident.why}. Nothing more is told of this trouble until it was over and came back."
    return _letter(paragraph(strong("Closed by a person"), text))


def resolved(incident: Incident, now: datetime) -> Letter:
    """The trouble is over: how long it took, and the draft of a post-mortem."""
    over = max((member.since for member in incident.members), default=now)
    down, lasted = _down(incident), _long(over - incident.opened_at)
    after = f"after {lasted}" if down == lasted else f"after {lasted}, of which {down} in trouble"
    summary = f": out of trouble since {_at(over)}, {after}; {_times(incident.count)} reported"
    return _letter(paragraph(strong("Resolved"), summary), *_post_mortem(incident))


def _post_mortem(incident: Incident) -> Document:
    """The sections of a root cause analysis, with what this system knows; the rest is for people."""
    steps = (line(f"{_at(at)} {words}") for at, words in incident.timeline[-30:])
    return (
        Heading("Post-mortem (draft)"),
        Paragraph(line(strong("Summary"), f": {incident.title}")),
        Paragraph(line(strong("Timeline"))),
        Bullets(tuple(steps)),
        Paragraph(line(strong("Cause"), ": to be written")),
        Paragraph(
            line(
                strong("Impact"),
                f": {len(incident.members) + incident.more_members} in trouble, for {_down(incident)} in all",
            )
        ),
        Paragraph(line(strong("Resolution"), ": to be written")),
        Paragraph(line(strong("Prevention"), ": to be written")),
        Paragraph(line(strong("Follow-ups"), ": to be written")),
    )


def _down(incident: Incident) -> str:
    """How long anybody was in trouble: an incident that flaps or reopens is not down all the while."""
    return _long(timedelta(seconds=incident.down_seconds))


def _at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _long(span: timedelta) -> str:
    minutes, seconds = divmod(max(0, int(span.total_seconds())), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = ((days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s"))
    said = [f"{number} {unit}" for number, unit in parts if number]
    return " ".join(said[:2]) or "0 s"
