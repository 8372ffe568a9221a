"""What a tracker shows of an incident. Pure.

Text from outside (logs, bodies, tags, people's words) is data: it cannot break the markup, call anyone, link anywhere
or carry a secret out. `text` is for one line, `block` for many; whoever builds a report's body uses one of them for
every part that is not our own words.
"""

from __future__ import annotations

import re

from chalicelib.incident.model import Grade, Incident, Report

MOST_LOG_LINES = 40
MOST_LINE = 500
MOST_TITLE = 200

# Terminal sequences (colours, window titles), control characters, lone surrogates, and what hides or turns text round.
_UNPRINTABLE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)|"
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
_JOINER = "\u200d"  # invisible: it keeps the eye's reading, and ends a mention, a reference or a link
_REFERENCE = re.compile(r"@|#(?=\d)|:(?=//)|(?i:\bwww(?=\.)|\bgh(?=-\d))")
_MARKUP = str.maketrans(
    {**{mark: f"\\{mark}" for mark in r"\`*_{}[]()+!|~>#"}, "&": "&amp;", "<": "&lt;", "$": "&#36;"}
)
_LIST_MARK = re.compile(r"^(?:(\d{1,9})(?=[.)])|(?=[-=]))")

_NAMES = r"secret|password|passwd|pwd|passphrase|token|api[_-]?key|access[_-]?key|private[_-]?key|salt|seed|credential|cookie"
_SECRETS = (
    re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)", re.DOTALL),
    re.compile(r"(?:AKIA|ASIA)[A-Z0-9]{16}"),
    re.compile(
        r"gh[pousr]_\w{20,}|github_pat_\w{20,}|xox[abeprs]-[\w-]{10,}|(?<![\w-])eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"
    ),
    re.compile(r"(?i)\bauthorization[\"']?\s*[=:]\s*[\"']?(?:\w+\s+)?[^\s\"',;]+|\bbearer\s+[\w.~+/=-]{8,}"),
    re.compile(r"(?<=://)[^\s/@:]*:[^\s/@]+(?=@)"),  # user:password in a URL
)
# NAME=value, "name": "value", name: value; the name stays, so that people know what was there. An ARN of a secret is
# its address, not its value: it stays, or nobody could see which secret is missing. Bounded, so that no log is slow to read.
_NAMED = re.compile(
    rf"(?P<arn>\barn:aws[\w-]*:[^\s\"',;]+)|"
    rf"(?P<name>\b(?:(?i:[\w.-]{{0,60}}(?:{_NAMES})[\w.-]{{0,60}})|XAI_\w{{0,60}}(?:KEY|SALT|SEED|SECRET|TOKEN)\w{{0,60}})"
    r"[\"']?\s*(?:=>|[=:])\s*)"
    r"(?:\"[^\"\n]*(?:\"|$)|'[^'\n]*(?:'|$)|[^\s\"',;]+)",
    re.MULTILINE,
)


def text(value: object) -> str:
    """One line of text from outside: no markup, no mention, no link, no HTML, no secret."""
    line = " ".join(_clean(str(value)).split())[:MOST_LINE]
    line = _REFERENCE.sub(lambda found: found[0] + _JOINER, line).translate(_MARKUP)
    return _LIST_MARK.sub(lambda found: found[0] + "\\", line)


def block(value: object) -> str:
    """Lines from outside as a code block, whose fence is longer than any run of backticks in it."""
    lines = _clean(str(value)).strip("\n").split("\n")[-MOST_LOG_LINES:]
    body = "\n".join(line[:MOST_LINE] for line in lines)
    longest = max((len(run) for run in re.findall(r"`+", body)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{body}\n{fence}"


def redact_secrets(value: str) -> str:
    """Mask what looks like a secret of a kind that this system holds."""
    for pattern in _SECRETS:
        value = pattern.sub("[redacted]", value)
    return _NAMED.sub(lambda found: found["arn"] or f"{found['name']}[redacted]", value)


def comment_of(report: Report) -> str:
    """A later report, as a comment on the ticket that the first one opened."""
    return f"**{report.grade}** {text(report.title)}\n\n{report.body}"


def incident_marker(incident: Incident) -> str:
    """What finds the ticket again when the answer to its creation was lost."""
    return f"xai-ops:{incident.key}"


def report_marker(report: Report) -> str:
    """What finds a comment again."""
    return f"xai-ops:{report.id}"


def title_of(incident: Incident) -> str:
    """The ticket's title: plain text in every tracker, one line."""
    return " ".join(_clean(f"{incident.grade} {incident.title}").split())[:MOST_TITLE]


def labels_of(incident: Incident) -> tuple[str, ...]:
    """The ticket's labels; of the grades only the one that holds now."""
    grades = {grade.value for grade in Grade}
    kept = (label for label in incident.labels if label not in grades)
    return tuple(dict.fromkeys((*kept, incident.kind, incident.grade.value)))


def _clean(value: str) -> str:
    """Printable and without secrets; every kind of line break is one newline. Redacted first, cut later."""
    lines = value.replace("\r\n", "\n").replace("\r", "\n").replace("\x85", "\n").replace("\u2028", "\n")
    return redact_secrets(_UNPRINTABLE.sub("", lines))
