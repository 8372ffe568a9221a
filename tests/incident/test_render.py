"""Text from outside is data: it breaks no markup, calls nobody, links nowhere and carries no secret."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.incident.model import Grade, Incident, Report
from chalicelib.incident.render import MOST_LOG_LINES, block, comment_of, labels_of, redact_secrets, text, title_of

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
AWS_KEY = "AKIA" + "IOSFODNN7EXAMPLE"
GITHUB_TOKEN = "ghp_" + "a1B2" * 9
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\nq9w8e7\n-----END RSA PRIVATE KEY-----"
SECRETS = {
    "aws_key": (AWS_KEY, AWS_KEY),
    "github": (f"using {GITHUB_TOKEN} now", GITHUB_TOKEN),
    "bearer": ("curl -H 'Authorization: Bearer s3cr3t.t0ken'", "s3cr3t.t0ken"),
    "basic": ("Authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
    "jwt": ("eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl", "c2lnbmF0dXJl"),
    "password": ("password=hunter2", "hunter2"),
    "short": ("pwd: x9", "x9"),
    "quoted": ('{"db_password": "two words, here"}', "words, here"),
    "aws_secret": ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG", "wJalrXUtnFEMI"),
    "node_salt": ("XAI_EMBEDDED_SALT=0123456789abcdefX", "0123456789abcdefX"),
    "node_seed": ("XAI_LUCKY_BLOCK_SEED: lucky-lucky-lucky", "lucky-lucky"),
    "node_key": ("XAI_TIME_CAPSULE_MASTER_KEY='aaaabbbbccccdddd'", "aaaabbbbccccdddd"),
    "node_secret": ("export XAI_WALLET_TRADE_PEER_SECRET=zzzz1111", "zzzz1111"),
    "url": ("postgres://xai:hunter2@db.internal:5432/xai", "hunter2"),
    "pem": (PEM, "q9w8e7"),
    "cut_pem": (PEM[:60], "MIIEpAIBAAK"),
    "hidden": ("pass\u200bword=\x1b[31mhunter2", "hunter2"),
}


@pytest.mark.parametrize("name", SECRETS)
def test_secret_is_masked_wherever_it_stands(name: str) -> None:
    """No secret of a kind that this system holds reaches a ticket, inline, in a block or in a title."""
    whole, secret = SECRETS[name]
    for around in (whole, f"before {whole} after", f"line\n{whole}\nline"):
        assert secret not in text(around)
        assert secret not in block(around)
    assert secret not in title_of(an_incident(title=f"failed: {whole}"))


@pytest.mark.parametrize(
    "harmless",
    [
        "arn:aws:secretsmanager:us-east-1:123456789012:secret:xai/identity-AbC",
        "unable to pull secrets or registry auth: execution resource retrieval failed",
        "hash at 34 is 0000abcdef12, the fleet's is 0000fedcba98",
        "ModuleNotFoundError: No module named 'xai.core.wallets'",
    ],
)
def test_evidence_is_not_masked(harmless: str) -> None:
    """What a person needs to find the cause stays readable: also which secret is missing."""
    assert redact_secrets(harmless) == harmless


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("**bold** `code` [a](b)", r"\*\*bold\*\* \`code\` \[a\]\(b\)"),
        ("<script>&amp;", r"&lt;script\>&amp;amp;"),
        ("@xai/admins", "@\u200dxai/admins"),
        ("see #12 and GH-3", "see \\#\u200d12 and GH\u200d-3"),
        ("https://evil.test www.evil.test", "https:\u200d//evil.test www\u200d.evil.test"),
        ("1. item", "1\\. item"),
        ("- item", "\\- item"),
        ("# head", "\\# head"),
        ("$x$", "&#36;x&#36;"),
        ("two\r\nlines\u2028three", "two lines three"),
        ("\x1b[31mred\x1b[0m\x07 \x1b]0;title\x07here", "red here"),
        (None, "None"),
    ],
)
def test_markup_is_shown_not_obeyed(raw: object, shown: str) -> None:
    """A reader sees the characters; the tracker sees nothing to act on."""
    assert text(raw) == shown


@given(st.text())
def test_text_is_one_line_without_live_markup(raw: str) -> None:
    """For any text: one line, every mark escaped, no live mention, reference, link or HTML."""
    line = text(raw)
    assert len(line.splitlines()) <= 1
    seen = re.sub(r"\\(.)", r"\1", line.replace("&#36;", "$"))  # as the page shows it, where mentions are looked for
    assert not re.search(r"@\w|#\d|://|<|(?i:www\.|\bgh-\d)", seen)
    assert not re.search(r"(?<!\\)(?:\\\\)*(?<!\\)[`*_\[\]|~>]", line)
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e]", line)


@given(st.text(alphabet=st.sampled_from("`~\n\r a<@#\x1b[\u2028")))
def test_block_stays_closed(raw: str) -> None:
    """For any text: the only line that could close the fence is the last one."""
    opening, *inside, closing = block(raw).split("\n")
    assert opening == f"{closing}text"
    assert set(closing) == {"`"}
    assert all(closing not in line for line in inside)
    assert not re.search(r"[\r\x1b\u2028]", "".join(inside))


def test_block_keeps_the_end_of_a_long_log() -> None:
    """The last lines tell why it died."""
    shown = block("\n".join(f"line {number}" for number in range(1000))).split("\n")
    assert (shown[1], shown[-2]) == (f"line {1000 - MOST_LOG_LINES}", "line 999")


@pytest.mark.parametrize(
    "piece", ["a-", "eyJ-", "secret", "token=", "-----BEGIN ", "://a:", "authorization:", "arn:aws:"]
)
def test_hostile_log_is_read_in_time(piece: str) -> None:
    """No pattern takes more than linear time, or a log could stop every tick."""
    began = time.process_time()
    block(piece * (60_000 // len(piece)))
    assert time.process_time() - began < 5


def an_incident(*, title: str = "nodes: ROLLED_BACK", labels: tuple[str, ...] = ()) -> Incident:
    """An incident."""
    return Incident(key="k", kind="rolled_back", grade=Grade.P2, title=title, opened_at=NOW, labels=labels)


def test_labels_hold_one_grade() -> None:
    """An outdated grade among the labels goes."""
    assert labels_of(an_incident(labels=("rolled_back", "P3", "nodes"))) == ("rolled_back", "nodes", "P2")


def test_title_is_one_line_with_its_grade() -> None:
    """A title is plain text in every tracker."""
    assert title_of(an_incident(title="a\nb\x00")) == "P2 a b"
    assert len(title_of(an_incident(title="x" * 999))) == 200


def test_comment_says_grade_title_and_body() -> None:
    """A later report stands for itself; its title is text from outside."""
    report = Report(id="r", key="k", kind="held", grade=Grade.P1, title="nodes:v1_0 @all", body="**HELD**", at=NOW)
    assert comment_of(report) == "**P1** nodes:v1\\_0 @\u200dall\n\n**HELD**"
