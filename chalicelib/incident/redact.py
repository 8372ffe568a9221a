"""Text from outside made fit to be kept and shown: printable, and without secrets. Pure.

Redacted first and cut later, so that no half of a secret stays. Must not know any tracker's markup.
"""

from __future__ import annotations

import re

# Terminal sequences (colours, window titles), control characters, lone surrogates, and what hides or turns text round.
_UNPRINTABLE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)|"
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
_NAMES = r"secret|password|passwd|pwd|passphrase|token|api[_-]?key|access[_-]?key|private[_-]?key|salt|seed|credential|cookie|routing[_-]?key"
_SECRETS = (
    re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)", re.DOTALL),
    re.compile(r"(?:AKIA|ASIA)[A-Z0-9]{16}"),
    re.compile(
        r"gh[pousr]_\w{20,}|github_pat_\w{20,}|xox[abeprs]-[\w-]{10,}|(?<![\w-])eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"
    ),
    re.compile(r"ATATT[\w=-]{20,}|(?<=hooks\.slack\.com/services/)[\w/]+"),
    re.compile(r"(?i)\bauthorization[\"']?\s*[=:]\s*[\"']?(?:\w+\s+)?[^\s\"',;]+|\bbearer\s+[\w.~+/=-]{8,}"),
    re.compile(r"(?<=://)[^\s/@:]*:[^\s/@]+(?=@)"),  # user:password in a URL
    re.compile(r"(?i)(?<=x-amz-signature=)[0-9a-f]+|(?<=x-amz-security-token=)[^\s&\"']+"),  # presigned links
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


def redact_secrets(value: str) -> str:
    """Mask what looks like a secret of a kind that this system holds."""
    for pattern in _SECRETS:
        value = pattern.sub("[redacted]", value)
    return _NAMED.sub(lambda found: found["arn"] or f"{found['name']}[redacted]", value)


def lines_of(value: object) -> str:
    """Lines from outside: printable, without secrets, and every kind of line break one newline."""
    text = str(value).replace("\r\n", "\n").replace("\r", "\n").replace("\x85", "\n").replace("\u2028", "\n")
    return redact_secrets(_UNPRINTABLE.sub("", text))


def line_of(value: object, most: int = 500) -> str:
    """One line from outside: likewise, with every run of white space one blank, cut after `most` characters."""
    return " ".join(lines_of(value).split())[:most]
