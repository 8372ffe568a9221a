"""E-mail by SNS: within its limits whatever the text, and every failure is a tracker that is down."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto.backends import get_backend

from chalicelib.aws.mail import CUT, MOST_BYTES, MOST_SUBJECT, SnsMail, _cut, _subject
from chalicelib.aws.session import Aws
from chalicelib.errors import TicketUnavailableError
from chalicelib.incident.document import Code, Document, Heading, paragraph
from chalicelib.incident.model import Grade, TicketState
from chalicelib.incident.ports import Page
from chalicelib.tickets.plain import plain
from tests.fakes.cloud import REGION, fresh_session

ACCOUNT = "123456789012"
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:incidents"
MARKER = "xai-ops:staging/nodes/memory_high/1"
PAGE = Page(
    marker=MARKER,
    title="nodes: memory at 93 %",
    body=(Heading("Numbers"), paragraph("93 % of 90 %"), Code("line 1\nline 2")),
    labels=("memory_high", "xai-ops"),
    grade=Grade.P2,
)


def render(document: Document) -> str:
    """The renderer that wiring gives it."""
    return plain(document)


def mail(aws: Aws, *, topic: str = TOPIC) -> SnsMail:
    """The adapter on this topic."""
    return SnsMail(aws, topic, render=render)


@pytest.fixture
def sns(aws: Aws) -> Aws:
    """AWS with the topic."""
    assert aws.client("sns").create_topic(Name="incidents")["TopicArn"] == TOPIC
    return aws


def sent() -> list[tuple[str, str]]:
    """Subject and text of every e-mail, oldest first."""
    notes = get_backend("sns")[ACCOUNT][REGION].topics[TOPIC].sent_notifications
    return [(str(subject), message) for _, message, subject, _, _ in notes]


def test_created_ticket_is_an_email_with_everything(sns: Aws) -> None:
    """Who reads it knows grade, title, labels and body, and the marker is there in full."""
    ticket = mail(sns).create(PAGE)
    ((subject, text),) = sent()
    assert subject == f"nodes: memory at 93 % [{ticket.id}]"
    assert text.startswith("nodes: memory at 93 %\n\nGrade: P2\nLabels: memory_high, xai-ops\n")
    assert f"Marker: {MARKER}" in text
    assert "    line 1\n    line 2" in text


def test_address_in_a_title_is_no_link(sns: Aws) -> None:
    """An image's tag may be a host's name, and mail programs link what looks like one."""
    mail(sns).create(replace(PAGE, title="[staging] nodes: xai/node:www.evil.test HELD"))
    assert "www.evil.test" not in sent()[0][1]


def test_every_email_of_an_episode_ends_with_the_same_name(sns: Aws) -> None:
    """A mail client gathers what belongs together, and another episode has another name."""
    tracker = mail(sns)
    ticket = tracker.create(PAGE).id
    tracker.comment(ticket, (paragraph("still firing"),), marker="letter-2")
    tracker.update(ticket, PAGE, TicketState.CLOSED)
    subjects = [subject for subject, _ in sent()]
    assert all(subject.endswith(f"[{ticket}]") for subject in subjects)
    assert len(subjects) == 2
    assert subjects[1].startswith("Update: ")
    assert "still firing" in sent()[1][1]
    assert tracker.create(Page(marker=f"{MARKER}0", title="t", body=(), labels=(), grade=Grade.P4)).id != ticket


def test_nothing_is_found_or_read_back(sns: Aws) -> None:
    """E-mail only speaks."""
    tracker = mail(sns)
    ticket = tracker.create(PAGE)
    assert tracker.find(MARKER) is None
    assert tracker.read(ticket.id) is None
    assert len(sent()) == 1


def test_longest_email_is_cut_to_what_sns_takes(sns: Aws) -> None:
    """256 KB are bytes, not characters."""
    tracker = SnsMail(sns, TOPIC, render=lambda _: "ж" * 200_000)
    tracker.create(PAGE)
    tracker.comment("xai-1", (), marker="letter-1")
    (_, page), (_, comment) = sent()
    for text in (page, comment):
        assert MOST_BYTES - 3 < len(text.encode()) <= MOST_BYTES
    assert page.endswith(CUT)
    assert comment.endswith(f"{CUT}\n\nMarker: letter-1")


def test_empty_comment_is_still_an_email(sns: Aws) -> None:
    """SNS refuses an empty message; the outbox would try it for ever."""
    mail(sns).comment("xai-1", (), marker="letter-1")
    assert sent() == [("Update: (no text) [xai-1]", "(no text)\n\nMarker: letter-1")]


def test_missing_topic_is_unavailable_and_named(sns: Aws) -> None:
    """What was not told stays in the outbox, and a person reads which topic is wrong."""
    with pytest.raises(TicketUnavailableError, match="no-such-topic"):
        mail(sns, topic=TOPIC.replace("incidents", "no-such-topic")).create(PAGE)


def test_aws_out_of_reach_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without credentials no call can be signed."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    with pytest.raises(TicketUnavailableError, match="could not sign"):
        mail(Aws(REGION, fresh_session())).create(PAGE)


@given(st.text(max_size=300), st.text(max_size=60))
def test_subject_is_what_sns_documents(text: str, ticket: str) -> None:
    """ASCII, one line, under 100 characters, and never beginning with a blank."""
    subject = _subject(text, ticket)
    assert re.fullmatch(r"[!-~][ -~]*", subject)
    assert len(subject) <= MOST_SUBJECT
    assert subject.endswith("]")


@given(st.text(max_size=200), st.integers(0, 200))
def test_text_is_cut_between_characters(text: str, fill: int) -> None:
    """No half of a character stays."""
    whole = "x" * (MOST_BYTES - fill) + text
    cut = _cut(whole)
    assert len(cut.encode()) <= MOST_BYTES
    assert "\ufffd" not in cut or "\ufffd" in text
    assert cut == whole.encode(errors="replace").decode() or cut.endswith(CUT)
