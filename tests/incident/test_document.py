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
    "identity": ('XAI_NODE_IDENTITY={"kty":"OKP","d":"abcdefsecret"}', "abcdefsecret"),
    "bare routing key": ("routing_key 0123456789abcdef0123456789abcdef is refused", "0123456789abcdef"),
    "slack app token": ("xapp-1-A0B1C2-1234567890-abcdef", "1234567890"),
    "slack workflow": ("https://hooks.slack.com/workflows/T0/A1/77/s3cr3tpart", "s3cr3tpart"),
    "encryption key": ("encryption_key=Zm9vYmFy", "Zm9vYmFy"),
    "hmac key": ("hmac-key: Zm9vYmFy", "Zm9vYmFy"),
    "signing key": ("signing key: Zm9vYmFy", "Zm9vYmFy"),
    "database pass": ("DB_PASS=hunter22", "hunter22"),
    "miner pass": ("XAI_MINER_PASS=hunter22", "hunter22"),
    "mnemonic": ("mnemonic: legal winner thank year wave sausage worth useful", "sausage"),
    "seed phrase": ("seed phrase: legal winner thank year wave sausage worth useful", "sausage"),
    "seed words": ("seed: legal winner thank year", "winner"),
    "extended key": ("loaded xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqj", "s21ZrQH143K3"),
    "hex private key": ("private key 0x4c0883a69102937d6231471b5dbb6204fe512961", "4c0883a6"),
    "basic authorization": ("sent Basic b3BzOmh1bnRlcjIyMg==", "b3BzOmh1"),
    "bytes of a header": ("b'Authorization': b'Basic b3BzOmh1bnRlcjIyMg=='", "b3BzOmh1"),
    "option": ("xai --rpc-password hunter22 --port 8080", "hunter22"),
    "curl option": ("curl -u ops:hunter22 https://x.test", "hunter22"),
    "signature": (
        "AWS4-HMAC-SHA256 Credential=x, SignedHeaders=host, Signature=fe5f80f77d5fa3beca038a248ff027",
        "fe5f80f77d",
    ),
    "password with an at": ("postgres://xai:p@ssw0rd@db/explorer", "ssw0rd"),
    "password with a slash": ("postgres://xai:pa/ssw0rd@db/explorer", "ssw0rd"),
    "password of words": ("password: two words", "words"),
    "escaped quote": (r'"password": "a\"b-secret-tail"', "secret-tail"),
    "json in json": (r'{"msg": "{\\"db_password\\": \\"hunter22\\"}"}', "hunter22"),
    "second cookie": ("Cookie: session=abc; csrf=hunter22", "hunter22"),
    "pgp": (
        "-----BEGIN PGP PRIVATE KEY BLOCK-----\\nlQOYBF\\n-----END PGP PRIVATE KEY BLOCK-----".replace("\\n", "\n"),
        "lQOYBF",
    ),
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
        "token_count=15 token_ttl=300 tokens: 3",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 of task 0123456789abcdef0123456789abcdef",
        "http://10.0.1.7:8080/stats?by=ops@xai answered 503",
        "Basic authentication is not offered",
        "could not read the token for GitHub: no secret xai-ops/production/tickets",
    ],
)
def test_evidence_is_not_masked(harmless: str) -> None:
    """What a person needs to find the cause stays readable: also which secret is missing."""
    assert redact_secrets(harmless) == harmless


def test_key_whose_head_was_cut_off_is_masked() -> None:
    """A log's tail begins in the middle of it."""
    body = "\n".join(["MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSj"] * 29)
    shown = redact_secrets(f"kqhkiG9w0BAQ\n{body}\n-----END PRIVATE KEY-----\nstarted")
    assert shown == "[redacted]\nstarted"


@given(st.text() | st.sampled_from([whole for whole, _ in SECRETS.values()]))
def test_masking_twice_is_masking_once(raw: str) -> None:
    """What is shown is what was stored, however often it is cleaned."""
    once = redact_secrets(raw)
    assert redact_secrets(once) == once


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
