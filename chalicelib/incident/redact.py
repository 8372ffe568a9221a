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
# What a secret is called. A count, a kind or the age of tokens is none.
_KEYS = r"(?:api|access|private|routing|signing|encryption|hmac|master|shared|session|service)[ _-]?key"
_PHRASES = rf"mnemonic|seed(?:[ _-]phrase)?|passphrase|password|passwd|cookie|identity|{_KEYS}"  # may hold blanks
_NAMES = rf"{_PHRASES}|secret|pwd|_pass(?![a-z])|salt|credential|token(?!s?[ _-]?(?:count|type|ttl|limit|len|max|expir|age)|s\b)"
_SECRETS = (
    # A private key; also one whose head was cut off with the lines before it.
    re.compile(
        r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)",
        re.DOTALL,
    ),
    re.compile(r"\A(?:[A-Za-z0-9+/= \t]*\n){0,200}-----END [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----"),
    re.compile(r"(?:AKIA|ASIA)[A-Z0-9]{16}"),
    re.compile(
        r"gh[pousr]_\w{20,}|github_pat_\w{20,}|xox[abeprs]-[\w-]{10,}|xapp-[\w-]{10,}|"
        r"(?<![\w-])eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*|\b[xyzuv]prv[1-9A-HJ-NP-Za-km-z]{20,}"
    ),
    re.compile(r"ATATT[\w=-]{20,}|(?<=hooks\.slack\.com/)(?:services|workflows|triggers)/[\w/]+"),
    re.compile(
        r"(?i)\bauthorization\\?[\"']?\s*[=:,]\s*b?\\?[\"']?(?:\w+\s+)?[^\s\"',;]+|\bbearer\s+[\w.~+/=-]{8,}|"
        r"\bbasic\s+(?=[A-Za-z]*[0-9+/=])[\w+/=]{8,}"
    ),
    # user:password in a URL, whatever the password has; a port and a later @ are none.
    re.compile(r"(?<=://)[^\s/@:\"'<>]*:(?!\d{1,5}[/?#])[^\s\"'<>]{1,200}(?=@)"),
    re.compile(r"(?i)(?<=signature=)[0-9a-z%/+]{8,}=*|(?<=x-amz-security-token=)[^\s&\"']+"),  # presigned links
    re.compile(
        rf"(?i)--[\w-]{{0,40}}(?:{_NAMES})[\w-]{{0,40}}\s+[^\s-]\S*|(?<=\s)-u\s+[^\s:]+:\S+"
    ),  # options of commands
    re.compile(rf"(?i)\b(?:{_NAMES})\s+(?:0x)?[0-9a-f]{{16,}}"),
)
# NAME=value, "name": "value", name: value; the name stays, so that people know what was there. An ARN of a secret is
# its address, not its value: it stays, or nobody could see which secret is missing. Bounded, so that no log is slow to read.
_NAMED = re.compile(
    rf"(?P<arn>\barn:aws[\w-]*:[^\s\"',;]+)|"
    rf"(?P<name>\b(?:(?i:[\w.-]{{0,60}}(?:{_NAMES})[\w.-]{{0,60}})|XAI_\w{{0,60}}(?:KEY|SALT|SEED|SECRET|TOKEN|PASS)\w{{0,60}})"
    r"\\*[\"']?\s*(?:=>|[=:])\s*)"
    # quoted, also within quotes; an object, to the end of its line; a word
    r"(?!\[redacted\])(?:\\+[\"'][^\"'\n]*(?:[\"']|$)|\"(?:[^\"\\\n]|\\.)*(?:\"|$)|'(?:[^'\\\n]|\\.)*(?:'|$)|\{[^\n]*|\[[^\n]*|[^\s\"',;]+)",
    re.MULTILINE,
)
# In prose and headers the rest of the line is the value: a mnemonic has twelve words, a cookie more than one part.
_PHRASE = re.compile(rf"(?i)(?P<name>\b[\w.-]{{0,60}}(?:{_PHRASES})\s*:[ \t]+)(?![\"'{{\[]|arn:aws)[^\n]+")


def redact_secrets(value: str) -> str:
    """Mask what looks like a secret of a kind that this system holds."""
    for pattern in _SECRETS:
        value = pattern.sub("[redacted]", value)
    value = _PHRASE.sub(lambda found: f"{found['name']}[redacted]", value)
    return _NAMED.sub(lambda found: found["arn"] or f"{found['name']}[redacted]", value)


def lines_of(value: object) -> str:
    """Lines from outside: printable, without secrets, and every kind of line break one newline."""
    text = str(value).replace("\r\n", "\n").replace("\r", "\n").replace("\x85", "\n").replace("\u2028", "\n")
    return redact_secrets(_UNPRINTABLE.sub("", text))


def line_of(value: object, most: int = 500) -> str:
    """One line from outside: likewise, with every run of white space one blank, cut after `most` characters."""
    return " ".join(lines_of(value).split())[:most]
