"""Slack's adapter on the sandbox's workspace over HTTP, and at its edges: refusals, limits and broken answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.errors import DeniedError, TicketUnavailableError
from chalicelib.incident.document import Code, Heading, bullets, link, paragraph, strong
from chalicelib.incident.model import Grade, TicketState
from chalicelib.incident.ports import Page
from chalicelib.tickets.slack import ADVICE, MOST_PAGES, SlackThread
from sandbox.clock import ScaledClock
from sandbox.trackers.service import Answered, Asked, Service
from sandbox.trackers.slack import CHANNEL, TOKEN, Slack
from tests.tickets.judges import Judged, openapi_judge
from tests.tickets.loopback import Script, answering, playing

MARKER = "xai-ops:staging/nodes/memory_high/1"
HOSTILE = "<!channel> <@U1> <http://x|y> *b* `c` & </h2><script>alert(1)</script>"
TS = "1700000000.000100"
ME = answering(200, {"ok": True, "url": "https://xai.slack.com/", "user_id": "U0XAIOPS01", "team": "xai"})
OPEN, TAKEN, CLOSED = TicketState.OPEN, TicketState.ACKNOWLEDGED, TicketState.CLOSED


def a_page(marker: str = MARKER, **changes: Any) -> Page:
    """A page of an incident."""
    page = {"title": "nodes: memory", "labels": ("memory_high", "xai-ops"), "grade": Grade.P2}
    body = (
        Heading("Numbers"),
        paragraph(strong("93 % "), link("graph", "https://ours.test/g?a=1&b=2")),
        bullets("node-1"),
        Code("a\nb"),
    )
    return Page(**({"marker": marker, "body": body} | page | changes))


def slack(url: str, *, token: str = TOKEN, channel: str = CHANNEL) -> SlackThread:
    """The adapter against this address."""
    return SlackThread(api_url=f"{url}/api", channel=channel, token=lambda: token)


class SlackJudge:
    """Slack's own description as a judge, of 2020 and put right where its own examples or later pages contradict it.

    It knows forms where Slack takes JSON, a header `token` where Slack takes a bearer, and no metadata. Refusals come with
    200, which it has under `default`. Blocks have their own judges, in test_slack_blocks.
    """

    def __init__(self) -> None:
        """Fetch it."""
        self._judge = openapi_judge("slack")

    def request(self, asked: Asked) -> None:
        """Judge every field that the description knows."""
        self._judge.request(_as_form(asked))

    def response(self, asked: Asked, answered: Answered) -> None:
        """Judge the answer, without what came after the description."""
        known = json.loads(json.dumps(answered.body))
        known.pop("response_metadata", None)  # its own example of conversations.history has it
        for message in (*known.get("messages", ()), known.get("message", {})):
            message.pop("metadata", None)  # https://docs.slack.dev/messaging/message-metadata
        if asked.path.endswith("chat.update") and known["ok"]:
            blocks = known["message"].pop("blocks")  # "type": "object", and an array everywhere else
            assert isinstance(blocks, list)
        if known.get("messages") == []:  # "minItems": 1, and yet a channel begins empty
            known["messages"] = [{"type": "message", "text": "", "ts": TS}]
        status = answered.status if known["ok"] else 599
        self._judge.response(_as_form(asked), replace(answered, status=status, body=known))


def _as_form(asked: Asked) -> Asked:
    token = asked.headers.get("authorization", "").removeprefix("Bearer ")
    query = {name: value for name, value in asked.query.items() if name != "include_all_metadata"}
    headers = {"token": token, "authorization": asked.headers.get("authorization", "")}
    if not isinstance(asked.body, dict):
        return replace(asked, query=query, headers=headers)
    form = {name: _field(value) for name, value in asked.body.items() if name != "metadata"}
    headers["content-type"] = "application/x-www-form-urlencoded"
    return replace(asked, query=query, headers=headers, body=form)


def _field(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


@contextmanager
def serving(service: Service) -> Iterator[str]:
    """Serve a loopback tracker; yields its URL."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            url = urlsplit(self.path)
            answered = service.answer(
                Asked(
                    method=self.command,
                    path=url.path,
                    query=dict(parse_qsl(url.query)),
                    headers={name.lower(): value for name, value in self.headers.items()},
                    body=json.loads(raw) if raw else None,
                    raw=raw,
                )
            )
            data = json.dumps(answered.body).encode()
            self.send_response(answered.status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = _answer  # noqa: N815 - the library's names

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def workspace() -> Slack:
    """An empty channel."""
    return Slack("https://sandbox.test/slack", ScaledClock())


@pytest.fixture
def tracker(workspace: Slack) -> Iterator[SlackThread]:
    """The adapter on the workspace; Slack's description judges every request and answer of every test."""
    judged = Judged(workspace, SlackJudge())
    with serving(judged) as url:
        yield slack(url)
    assert judged.rejected == []


def test_ticket_is_a_message_found_by_its_marker_only(tracker: SlackThread, workspace: Slack) -> None:
    """Markers of which one begins like the other are told apart; the link is a permalink."""
    assert tracker.find(MARKER) is None
    first, other = tracker.create(a_page()), tracker.create(a_page(f"{MARKER}0"))
    assert tracker.find(MARKER) == first
    assert tracker.find(f"{MARKER}0") == other
    assert first.url == f"https://sandbox.test/slack/archives/{CHANNEL}/p{first.id.replace('.', '')}"
    assert [shown.title for shown in workspace.shown()] == ["nodes: memory"] * 2
    assert workspace.shown()[0].labels == ("P2", "memory_high", "xai-ops")


def test_marker_of_somebody_else_is_not_the_ticket(tracker: SlackThread, workspace: Slack) -> None:
    """Only a message of ours can be updated by us."""
    tracker.create(a_page())
    workspace.messages[0]["user"] = "U0PERSON01"
    assert tracker.find(MARKER) is None


def test_metadata_kept_from_us_is_said(tracker: SlackThread, workspace: Slack) -> None:
    """Not to find a ticket that is there would open one more at each try."""
    tracker.create(a_page())
    del workspace.messages[0]["metadata"]
    with pytest.raises(TicketUnavailableError, match=r"metadata\.message:read"):
        tracker.find(MARKER)


def test_comment_is_a_reply_added_once(tracker: SlackThread, workspace: Slack) -> None:
    """One whose answer was lost is not doubled, and the root is no comment."""
    ticket = tracker.create(a_page()).id
    for marker, words in (("c-1", "first"), ("c-1", "first"), ("c-10", "second"), (MARKER, "third")):
        tracker.comment(ticket, (paragraph(words),), marker=marker)
    parts = workspace.shown()[0].parts
    for word, part in zip(("93 %", "first", "second", "third"), parts, strict=True):
        assert word in part
    assert len(workspace.shown()) == 1


def test_empty_comment_is_said(tracker: SlackThread, workspace: Slack) -> None:
    """Slack refuses a message without text; the outbox would try it for ever."""
    tracker.comment(tracker.create(a_page()).id, (), marker="c-1")
    assert workspace.shown()[0].parts[1] == "<p>(no text)</p>"


def test_update_changes_the_top_and_keeps_the_body(tracker: SlackThread, workspace: Slack) -> None:
    """Title, grade, labels and state; twice is like once."""
    ticket = tracker.create(a_page()).id
    body = [block["elements"] for block in workspace.messages[0]["blocks"][2:]]
    worse = a_page(title="worse", grade=Grade.P1, body=(paragraph("never shown"),))
    for _ in range(2):
        tracker.update(ticket, worse, CLOSED)
        (shown,) = workspace.shown()
        assert (shown.title, shown.state, shown.labels[0]) == ("Resolved: worse", "closed", "P1")
        assert "P2" not in shown.labels
        assert [block["elements"] for block in workspace.messages[0]["blocks"][2:]] == body
    assert tracker.read(ticket).state is CLOSED
    assert tracker.find(MARKER) == tracker.read(ticket)


def test_people_take_on_and_close_by_reactions(tracker: SlackThread, workspace: Slack) -> None:
    """Each is read back, and closing wins."""
    ticket = tracker.create(a_page()).id
    states = [tracker.read(ticket).state]
    workspace.acknowledge(ticket)
    states.append(tracker.read(ticket).state)
    workspace.close(ticket)
    states.append(tracker.read(ticket).state)
    assert states == [OPEN, TAKEN, CLOSED]
    assert "&#128064; 1 &#9989; 1" in workspace.shown()[0].parts[0]


def test_acknowledgement_outlives_a_new_title(tracker: SlackThread, workspace: Slack) -> None:
    """A reaction may be newer than what the caller knows of it."""
    ticket = tracker.create(a_page()).id
    workspace.acknowledge(ticket)
    tracker.update(ticket, a_page(title="worse"), OPEN)
    assert tracker.read(ticket).state is TAKEN


def test_reopened_ticket_is_open_until_somebody_reacts_anew(tracker: SlackThread, workspace: Slack) -> None:
    """Reactions cannot be taken away; those of the last time do not count for this time."""
    ticket = tracker.create(a_page()).id
    workspace.acknowledge(ticket)
    workspace.close(ticket)
    tracker.update(ticket, a_page(), CLOSED)
    for _ in range(2):
        tracker.update(ticket, a_page(), OPEN)
        assert tracker.read(ticket).state is OPEN
        assert workspace.shown()[0].title == "nodes: memory"
    workspace.acknowledge(ticket)
    assert tracker.read(ticket).state is TAKEN
    workspace.close(ticket)
    assert tracker.read(ticket).state is CLOSED


def test_reaction_taken_back_counts_again_when_given_again(tracker: SlackThread, workspace: Slack) -> None:
    """Who closed it before the reopening can close it once more."""
    ticket = tracker.create(a_page()).id
    workspace.close(ticket)
    tracker.update(ticket, a_page(), OPEN)
    workspace.messages[0]["reactions"] = []
    tracker.update(ticket, a_page(title="still"), OPEN)
    workspace.close(ticket)
    assert tracker.read(ticket).state is CLOSED


def test_acknowledged_state_that_we_set_is_read_back(tracker: SlackThread, workspace: Slack) -> None:
    """It is said in the small print."""
    ticket = tracker.create(a_page()).id
    tracker.update(ticket, a_page(), TAKEN)
    assert tracker.read(ticket).state is TAKEN
    assert workspace.shown()[0].state == "acknowledged"


def test_ticket_and_comment_are_found_on_later_pages(tracker: SlackThread, workspace: Slack) -> None:
    """A busy channel and a long thread; the oldest message that is looked at is the 2,000th."""
    ticket = tracker.create(a_page()).id
    tracker.comment(ticket, (paragraph("early"),), marker="c-1")
    chatter = {"type": "message", "user": "U0PERSON01", "text": "hello"}
    workspace.messages += [chatter | {"ts": f"1900000000.{number:06d}"} for number in range(450)]
    workspace.messages += [chatter | {"ts": f"19{n:08d}.000001", "thread_ts": ticket} for n in range(450)]
    workspace.messages.append(workspace.messages.pop(1) | {"ts": "1990000000.000001"})
    found = tracker.find(MARKER)
    assert found is not None
    assert found.id == ticket
    tracker.comment(ticket, (paragraph("again"),), marker="c-1")
    assert len(workspace.shown()[0].parts) == 452


def test_search_is_bounded() -> None:
    """A channel without an end costs ten calls, not a tick."""
    endless = answering(200, {"ok": True, "messages": [{"ts": TS}], "response_metadata": {"next_cursor": "more"}})
    script = Script([ME, endless])
    with playing(script) as url:
        assert slack(url).find(MARKER) is None
    assert len(script.sent) == 1 + MOST_PAGES


def test_deleted_ticket_is_said(tracker: SlackThread, workspace: Slack) -> None:
    """Gone, or a tombstone above its replies."""
    ticket = tracker.create(a_page()).id
    workspace.messages[0]["subtype"] = "tombstone"
    with pytest.raises(TicketUnavailableError, match="deleted"):
        tracker.read(ticket)
    workspace.messages.clear()
    with pytest.raises(TicketUnavailableError, match="thread_not_found: the ticket's message was deleted"):
        tracker.update(ticket, a_page(), OPEN)


def test_text_from_outside_is_escaped_where_slack_parses_it(tracker: SlackThread, workspace: Slack) -> None:
    """The field `text` is markup; links and media of outside are not unfurled."""
    ticket = tracker.create(a_page(title=HOSTILE, labels=(HOSTILE,), body=(paragraph(HOSTILE),))).id
    tracker.comment(ticket, (Heading(HOSTILE), Code(HOSTILE)), marker="c-1")
    tracker.update(ticket, a_page(title=HOSTILE, labels=(HOSTILE,)), CLOSED)
    assert not any(set(message["text"]) & {"<", ">"} for message in workspace.messages)
    assert not any("<script" in part for part in workspace.shown()[0].parts)
    kinds = {e["type"] for m in workspace.messages for b in m["blocks"] for e in b.get("elements", ())}
    assert not kinds & {"user", "usergroup", "channel", "broadcast"}


def test_requests_carry_what_slack_asks_for() -> None:
    """JSON with a charset, the token as a bearer, no unfurling, no parsing."""
    script = Script([ME, answering(200, {"ok": True, "ts": TS, "channel": CHANNEL, "message": {}})])
    with playing(script) as url:
        ticket = slack(url).create(a_page())
    assert (ticket.id, ticket.url) == (TS, f"https://xai.slack.com/archives/{CHANNEL}/p1700000000000100")
    _, path, headers, sent = script.sent[1]
    assert path == "/api/chat.postMessage"
    assert headers["Authorization"] == f"Bearer {TOKEN}"
    assert headers["Content-Type"] == "application/json; charset=utf-8"
    assert (sent["unfurl_links"], sent["unfurl_media"], sent["parse"]) == (False, False, "none")
    assert sent["metadata"]["event_payload"]["marker"] == MARKER
    assert "thread_ts" not in sent


@pytest.mark.parametrize("error", sorted(ADVICE))
def test_refusal_names_what_to_do_never_the_token(error: str) -> None:
    """Slack answers 200 and says no: a person who reads the log knows what to do."""
    script = Script([answering(200, {"ok": False, "error": error, "needed": "channels:history"})])
    with playing(script) as url, pytest.raises(TicketUnavailableError) as caught:
        slack(url).find(MARKER)
    assert str(caught.value) == f"auth.test of Slack answered 200 {error}: {ADVICE[error]} (needed: channels:history)"
    assert TOKEN not in str(caught.value)
    assert caught.value.retry_after == 0
    assert len(script.sent) == 1  # nothing is retried here


@pytest.mark.parametrize(
    ("answer", "says", "seconds"),
    [
        (answering(429, {"ok": False, "error": "ratelimited"}, Retry_After="30"), "rate limit", 30.0),
        (answering(429, {"ok": False, "error": "ratelimited"}), "rate limit", 60.0),
        (answering(200, {"ok": False, "error": "ratelimited"}), "rate limit", 60.0),
        (answering(200, {"ok": False, "error": "rate_limited"}), "rate limit", 60.0),
        (answering(200, {"ok": False, "error": "internal_error"}), "Slack is in trouble", 0.0),
        (answering(200, {"ok": False, "error": "brand_new"}), "brand_new: not what we know", 0.0),
        (answering(200, {"ok": False}), "no error named", 0.0),
        (answering(200, {}), "no error named", 0.0),
        (answering(200, []), "no object", 0.0),
        (answering(200, b""), "no object", 0.0),
        (answering(200, b"<html>"), "no JSON", 0.0),
        (answering(503, b"<html>", Retry_After="7"), "Slack is in trouble", 7.0),
        (answering(404, b"<html>"), "check the tracker's api_url", 0.0),
        (answering(302, b"", Location="https://elsewhere.test/"), "answered 302", 0.0),
    ],
)
def test_answer_that_is_no_success_is_unavailable(answer: Any, says: str, seconds: float) -> None:
    """Whatever comes instead, nothing was delivered, and Retry-After is obeyed."""
    with playing(Script([answer])) as url, pytest.raises(TicketUnavailableError, match=says) as caught:
        slack(url).find(MARKER)
    assert caught.value.retry_after == seconds


@pytest.mark.parametrize("body", [{"ok": True}, {"ok": True, "messages": {}}, {"ok": True, "messages": None}])
def test_history_that_is_none_is_unavailable(body: Any) -> None:
    """It is not an empty channel: a second ticket would come of it."""
    with playing(Script([ME, answering(200, body)])) as url, pytest.raises(TicketUnavailableError):
        slack(url).find(MARKER)


def test_message_without_ts_is_unavailable() -> None:
    """What cannot be found again was not delivered."""
    with playing(Script([ME, answering(200, {"ok": True})])) as url, pytest.raises(TicketUnavailableError, match="ts"):
        slack(url).create(a_page())


def test_token_without_a_name_is_unavailable_before_anything_is_written() -> None:
    """An error after the message would hide that it exists."""
    script = Script([answering(200, {"ok": True})])
    with playing(script) as url, pytest.raises(TicketUnavailableError, match="who we are"):
        slack(url).create(a_page())
    assert len(script.sent) == 1


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"metadata": None},
        {"metadata": {"event_type": "xai_ops_incident"}},
        {"metadata": {"event_type": "xai_ops_incident", "event_payload": [1]}},
        {"metadata": {"event_type": "xai_ops_incident", "event_payload": {"state": 3, "eyes": "x"}}},
        {"reactions": "x", "blocks": 7},
        {"reactions": [{"name": "eyes"}, {"name": "eyes", "count": "many"}, "x"], "blocks": ["x"]},
    ],
)
def test_message_of_another_shape_is_open(message: dict[str, Any]) -> None:
    """What Slack left out or people's tools changed does not fail a tick."""
    thread = answering(200, {"ok": True, "messages": [{"ts": TS, **message}]})
    script = Script([thread, ME, thread, answering(200, {"ok": True})])
    with playing(script) as url:
        tracker = slack(url)
        assert tracker.read(TS).state is OPEN
        tracker.update(TS, a_page(), OPEN)
    assert [block["type"] for block in script.sent[-1][3]["blocks"]] == ["header", "context"]


def test_secret_that_cannot_be_read_is_unavailable() -> None:
    """A missing secret keeps tickets pending; it does not fail a tick."""

    def refuse() -> str:
        raise DeniedError("no")

    tracker = SlackThread(api_url="http://127.0.0.1:1", channel=CHANNEL, token=refuse)
    with pytest.raises(TicketUnavailableError, match="could not read the token"):
        tracker.find(MARKER)


@pytest.mark.parametrize(
    ("token", "channel", "says"),
    [("xoxb-wrong", CHANNEL, "invalid_auth: the token is wrong"), (TOKEN, "C0ELSEWHERE", "channel_not_found")],
)
def test_workspace_refuses_wrong_token_and_channel(workspace: Slack, token: str, channel: str, says: str) -> None:
    """As Slack does: 200 and ok false."""
    with serving(workspace) as url, pytest.raises(TicketUnavailableError, match=says):
        slack(url, token=token, channel=channel).create(a_page())
    assert workspace.messages == []


def asked(method: str, path: str, body: Any = None, **query: str) -> Asked:
    """A request with the right token."""
    headers = {"authorization": f"Bearer {TOKEN}"}
    raw = b"" if body is None else json.dumps(body).encode()
    return Asked(method=method, path=f"/api/{path}", query=query, headers=headers, body=body, raw=raw)


def test_people_see_safe_html(tracker: SlackThread, workspace: Slack) -> None:
    """The page of a thread shows what Slack would."""
    tracker.create(a_page(title="<b>"))
    (part,) = workspace.shown()[0].parts
    assert part.startswith("<h2>&lt;b&gt;</h2><p><small><span>P2 · memory_high · xai-ops</span>")
    assert '<b>93 % </b><a href="https://ours.test/g?a=1&amp;b=2" rel="noreferrer">graph</a></p>' in part
    assert "<ul><li><p>node-1</p></li></ul><pre>a<br>b</pre>" in part


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (asked("POST", "chat.postMessage", {"channel": CHANNEL}), "no_text"),
        (asked("POST", "chat.postMessage", {"text": "x"}), "channel_not_found"),
        (asked("POST", "chat.postMessage", [1]), "json_not_object"),
        (asked("POST", "chat.postMessage", {"channel": CHANNEL, "blocks": "x"}), "invalid_blocks_format"),
        (
            asked("POST", "chat.postMessage", {"channel": CHANNEL, "blocks": [{"type": "divider"}] * 51}),
            "invalid_blocks",
        ),
        (
            asked("POST", "chat.postMessage", {"channel": CHANNEL, "text": "x", "metadata": {"event_type": "x"}}),
            "invalid_metadata_format",
        ),
        (
            asked("POST", "chat.postMessage", {"channel": CHANNEL, "text": "x", "thread_ts": TS}),
            "cannot_reply_to_message",
        ),
        (asked("POST", "chat.update", {"channel": CHANNEL, "text": "x", "ts": TS}), "message_not_found"),
        (asked("GET", "conversations.replies", channel=CHANNEL, ts=TS), "thread_not_found"),
        (asked("GET", "conversations.history", channel=CHANNEL, limit="1000"), "invalid_limit"),
        (asked("GET", "conversations.history", channel=CHANNEL, cursor="x"), "invalid_cursor"),
        (asked("POST", "chat.delete", {}), "unknown_method"),
        (Asked(method="GET", path="/api/auth.test"), "not_authed"),
    ],
)
def test_workspace_refuses_as_slack_documents(workspace: Slack, request_: Asked, error: str) -> None:
    """A loopback tracker that takes everything proves nothing."""
    answered = workspace.answer(request_)
    assert (answered.status, answered.body["ok"], answered.body["error"]) == (200, False, error)
    assert workspace.messages == []


@pytest.mark.parametrize(
    "request_",
    [
        asked("POST", "chat.postMessage", {"text": "no channel"}),
        asked("POST", "chat.postMessage", {"channel": CHANNEL, "text": "x", "unfurl_links": "perhaps"}),
        asked("POST", "chat.update", {"channel": CHANNEL, "text": "no ts"}),
        asked("GET", "conversations.history", channel=CHANNEL, limit="many"),
        asked("GET", "chat.postMessage", channel=CHANNEL),
    ],
)
def test_judge_refuses_a_wrong_request(request_: Asked) -> None:
    """A judge that takes everything proves nothing."""
    with pytest.raises(AssertionError):
        SlackJudge().request(request_)


@pytest.mark.parametrize(
    "body",
    [
        {"ok": True, "channel": CHANNEL, "message": {"type": "message", "text": "", "ts": TS}},
        {"ok": True, "channel": CHANNEL, "ts": "yesterday", "message": {"type": "message", "text": "", "ts": TS}},
        {"ok": True, "channel": CHANNEL, "ts": TS, "message": {"type": "message", "ts": TS}},
        {"ok": True, "channel": CHANNEL, "ts": TS, "message": {"type": "message", "text": "", "ts": TS}, "more": 1},
        {"ok": False, "error": "made_up"},
        {"ok": False},
    ],
)
def test_judge_refuses_a_wrong_answer(body: dict[str, Any]) -> None:
    """The loopback workspace cannot invent what Slack never says."""
    with pytest.raises(AssertionError):
        SlackJudge().response(asked("POST", "chat.postMessage", {}), Answered(status=200, body=body))


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=300), st.lists(st.text(max_size=30), max_size=5), st.text(min_size=1, max_size=200))
def test_any_title_label_and_marker_is_taken(title: str, labels: list[str], marker: str) -> None:
    """Whatever a key holds, the ticket is there and found again."""
    workspace = Slack("https://sandbox.test", ScaledClock())
    tracker = slack("http://unused.test")
    tracker._caller._http = _Direct(workspace)  # type: ignore[assignment]
    ticket = tracker.create(a_page(marker, title=title, labels=tuple(labels)))
    assert tracker.find(marker) == ticket
    assert tracker.find(f"{marker}0") is None
    tracker.update(ticket.id, a_page(marker, title=title, labels=tuple(labels)), CLOSED)
    assert tracker.read(ticket.id).state is CLOSED


class _Direct:
    """A connection without a socket: the property needs a hundred channels."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def request(self, method: str, url: str, **how: Any) -> Any:
        """Answer like urllib3's pool."""
        parts, raw = urlsplit(url), how["body"] or b""
        headers = {name.lower(): value for name, value in how["headers"].items()}
        query = dict(parse_qsl(parts.query))
        body = json.loads(raw) if raw else None
        return _Data(
            self._service.answer(
                Asked(method=method, path=parts.path, query=query, headers=headers, body=body, raw=raw)
            )
        )


class _Data:
    """What urllib3 hands back, as far as it is read."""

    def __init__(self, answered: Answered) -> None:
        self.status, self.headers, self._data = answered.status, answered.headers, json.dumps(answered.body).encode()

    def read1(self, amount: int) -> bytes:
        """The next of the body."""
        chunk, self._data = self._data[:amount], self._data[amount:]
        return chunk

    def release_conn(self) -> None:
        """There is none."""
