"""What a tracker shows of an incident. Pure. Text from outside is data: it cannot break the markup or call anyone."""

from __future__ import annotations

import re

from chalicelib.incident.model import Incident, Report

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_MARKUP = re.compile(r"([\\`*_{}\[\]()#+!|~>])")
_SECRETS = (
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    re.compile(r"(?:AKIA|ASIA)[A-Z0-9]{16}"),
    re.compile(r"gh[pousr]_\w{20,}|github_pat_\w{20,}|xox[abpr]-[\w-]{10,}"),
    re.compile(r"(?i)\bbearer\s+[\w.~+/=-]{8,}"),
    re.compile(r"(?i)\b[\w-]*(?:secret|password|passwd|token|api[_-]?key|salt|seed|master_key)[\w-]*[\"']?\s*[=:]\s*[\"']?[^\s\"',;]{4,}"),
)
MOST_LOG_LINES = 40


def text(value: object) -> str:
    """One line of text from outside: no markup, no mention, no link, no HTML, no secret."""
    line = " ".join(_clean(str(value)).split())[:500]
    line = line.replace("&", "&amp;").replace("<", "&lt;")
    line = _MARKUP.sub(r"\\\1", line)
    # A zero-width joiner after @ and inside :// keeps the eye's reading and defuses mentions, references and links.
    return line.replace("@", "@\u200d").replace("://", ":\u200d//").replace("www.", "www\u200d.")


def block(value: object) -> str:
    """Lines from outside as a code block, whose fence is longer than any run of backticks in it."""
    lines = _clean(str(value)).strip("\n").split("\n")[-MOST_LOG_LINES:]
    body = "\n".join(line[:500] for line in lines)
    longest = max((len(run) for run in re.findall(r"`+", body)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{body}\n{fence}"


def redact_secrets(value: str) -> str:
    """Mask what looks like a secret of a kind that this system holds."""
    for pattern in _SECRETS:
        value = pattern.sub("[redacted]", value)
    return value


def incident_marker(incident: Incident) -> str:
    """What finds the ticket again when the answer to its creation was lost."""
    return f"xai-ops:{incident.key}"


def report_marker(report: Report) -> str:
    """What finds a comment again."""
    return f"xai-ops:{report.id}"


def title_of(incident: Incident) -> str:
    """The ticket's title: plain text in every tracker, one line."""
    return " ".join(_clean(f"{incident.grade} {incident.title}").split())[:200]


def labels_of(incident: Incident) -> tuple[str, ...]:
    """The ticket's labels."""
    return tuple(dict.fromkeys((*incident.labels, incident.kind, incident.grade.value)))


def _clean(value: str) -> str:
    return redact_secrets(_CONTROL.sub("", value.replace("\r\n", "\n")))
