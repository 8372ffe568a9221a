"""A document's leaves clean themselves: no secret and no control character gets in, whatever is quoted."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.aws.documents import dump, load
from chalicelib.incident.document import (
    MOST_CODE_LINES,
    Bullets,
    Code,
    Heading,
    Paragraph,
    Picture,
    Run,
    bullets,
    line,
    link,
    paragraph,
    strong,
)
from chalicelib.incident.letters import labels_of, page_of, title_of
from chalicelib.incident.model import Grade, Incident, Report
from chalicelib.incident.redact import redact_secrets

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
    "jira": ("ATATT3xFfGF0" + "aB3_" * 8, "aB3_aB3_"),
    "slack": ("xoxb-123456789012-abcdefABCDEF", "abcdefABCDEF"),
    "slack_hook": ("https://hooks.slack.com/services/T00/B00/XXXXyyyy", "XXXXyyyy"),
    "pagerduty": ('{"routing_key": "0123456789abcdef0123456789abcdef"}', "89abcdef0123"),
    "presigned": ("https://b.s3.amazonaws.com/k?X-Amz-Signature=deadbeefcafe01&x=1", "deadbeefcafe01"),
    "session": ("?X-Amz-Security-Token=IQoJb3JpZ2luX2VjE&x=1", "IQoJb3JpZ2lu"),
    "hidden": ("pass\u200bword=\x1b[31mhunter2", "hunter2"),
}


def everywhere(text: str) -> str:
    """A text in each leaf that a document has."""
    return repr((Heading(text), paragraph(text, strong(text), link(text, "https://ours.test")), bullets(text), Code(text),
                 Picture(text, "https://ours.test")))  # fmt: skip


@pytest.mark.parametrize("name", SECRETS)
def test_secret_is_masked_wherever_it_stands(name: str) -> None:
    """No secret of a kind that this system holds reaches a ticket, in prose, code or a title."""
    whole, secret = SECRETS[name]
    for around in (whole, f"before {whole} after", f"line\n{whole}\nline"):
        assert secret not in everywhere(around)
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


@given(st.text())
def test_no_leaf_holds_a_control_character(raw: str) -> None:
    """For any text: a line is one line, and nothing hides in it."""
    run, code = Run(raw), Code(raw)
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\ud800-\udfff]", run.text)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", code.text)
    assert Run(run.text) == run


def test_runs_keep_the_blanks_between_them() -> None:
    """A line is made of pieces."""
    assert "".join(run.text for run in line("grade ", strong("P1"), ":  look   now")) == "grade P1: look now"


def test_code_keeps_the_end_of_a_long_log() -> None:
    """The last lines tell why it died."""
    shown = Code("\n".join(f"line {number}" for number in range(1000))).text.split("\n")
    assert (shown[0], shown[-1]) == (f"line {1000 - MOST_CODE_LINES}", "line 999")


@pytest.mark.parametrize(
    "piece",
    ["a-", "eyJ-", "secret", "token=", "-----BEGIN ", "://a:", "authorization:", "arn:aws:", "x-amz-signature="],
)
def test_hostile_log_is_read_in_time(piece: str) -> None:
    """No pattern takes more than linear time, or a log could stop every tick."""
    began = time.process_time()
    Code(piece * (60_000 // len(piece)))
    assert time.process_time() - began < 5


def test_document_comes_back_from_storage_as_it_was() -> None:
    """Every kind of block, told apart."""
    body = (Heading("h"), Paragraph(line("a ", strong("b"), link("c", "https://x.test"))), Bullets((line("d"),)), Code("e\nf"),
            Picture("g", "https://p.test"))  # fmt: skip
    report = Report(id="r", key="k", kind="held", grade=Grade.P1, title="t", at=NOW, body=body)
    assert load(Report, dump(report)) == report


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


def test_page_says_how_soon_and_where_the_runbook_is() -> None:
    """Whoever is woken knows what to do first."""
    page = repr(page_of(an_incident(), runbooks_url="https://docs.test/runbooks"))
    assert "look within 15 minutes" in page
    assert "https://docs.test/runbooks/rolled_back.md" in page
