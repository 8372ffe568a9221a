"""The caller of trackers: one call, errors that say what to do, and a token that is never shown."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.errors import DeniedError, TicketUnavailableError
from chalicelib.tickets import http
from chalicelib.tickets.http import LONGEST_RETRY_AFTER, RATE_LIMIT_SECONDS, Caller, retry_after
from tests.tickets.loopback import Script, answering, playing

TOKEN = "tok_notarealtoken0123456789"


def caller(url: str, *, token: Callable[[], str] = lambda: TOKEN, **given: Any) -> Caller:
    """A caller of this server."""
    return Caller(
        name="Desk",
        api_url=url,
        token=token,
        headers=lambda secret: {"Authorization": f"Bearer {secret}"},
        advice={404: "look at the name"},
        **given,
    )


def refusal(answer: tuple[int, Any, Mapping[str, str]], **given: Any) -> TicketUnavailableError:
    """What a caller makes of an answer."""
    with playing(Script([answer])) as url, pytest.raises(TicketUnavailableError) as caught:
        caller(url, **given).call("POST", "/tickets?secret=1", {"title": "t"})
    return caught.value


def test_call_sends_json_with_the_token_and_returns_json() -> None:
    """One request, with what every tracker wants to see."""
    script = Script([answering(201, {"id": 7})])
    with playing(script) as url:
        assert caller(f"{url}/").call("POST", "/tickets", {"title": "ü"}) == {"id": 7}
    [(method, path, headers, body)] = script.sent
    assert (method, path, body) == ("POST", "/tickets", {"title": "ü"})
    assert headers["Authorization"] == f"Bearer {TOKEN}"
    assert (headers["Content-Type"], headers["User-Agent"]) == ("application/json", "xai-ops")


@pytest.mark.parametrize("status", [200, 202, 204])
def test_empty_answer_is_none(status: int) -> None:
    """Some trackers have nothing to say to a change."""
    with playing(Script([answering(status, b"")])) as url:
        assert caller(url).call("GET", "/tickets") is None


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirect_is_not_followed(status: int) -> None:
    """Wherever it leads, the token does not go there."""
    elsewhere = Script([answering(200, {})])
    with playing(elsewhere) as other:
        error = refusal(answering(status, {}, Location=f"{other}/tickets"))
    assert str(status) in str(error)
    assert elsewhere.sent == []


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (answering(404, {"message": "gone"}), "POST /tickets answered 404: look at the name (gone)"),
        (answering(500, b"<html>"), "POST /tickets answered 500: Desk is in trouble"),
        (answering(418, {}), "POST /tickets answered 418: not what Desk documents"),
        (answering(404, {"message": ["no", "text"]}), "POST /tickets answered 404: look at the name"),
        (answering(404, b"[" * 100_000), "POST /tickets answered 404: look at the name"),
        (answering(404, {"message": "two\nlines " + "x" * 500}), "(two lines xxx"),
    ],
)
def test_refusal_says_status_advice_and_the_tracker_s_words(answer: Any, says: str) -> None:
    """In one line, without the query, and without what is no text."""
    said = str(refusal(answer))  # the query of the path is of no use to a reader, and may hold what is not for the log
    assert says in said
    assert "secret" not in said
    assert "\n" not in said
    assert len(said) < 300


def test_words_of_a_tracker_that_keeps_them_elsewhere_are_found() -> None:
    """`said` knows where they are; where they are missing, nothing is quoted."""
    error = refusal(answering(400, {"errors": ["title is missing"]}), said=lambda body: body["errors"][0])
    assert "(title is missing)" in str(error)
    assert "(" not in str(refusal(answering(400, {}), said=lambda body: body["errors"][0]))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, 0.0),
        ("", 0.0),
        ("0", 0.0),
        ("90", 90.0),
        ("999999", LONGEST_RETRY_AFTER),
        ("-5", 0.0),
        ("1e9", 0.0),
        ("٣", 0.0),  # a digit, but none of HTTP's
        ("soon", 0.0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", RATE_LIMIT_SECONDS),
    ],
)
def test_retry_after_is_seconds_within_an_hour(value: str | None, seconds: float) -> None:
    """A number is obeyed up to an hour; a date is a minute, as there is no clock here."""
    assert retry_after(value) == seconds


@given(st.text())
def test_any_retry_after_is_a_wait_of_at_most_an_hour(value: str) -> None:
    """No header can park a ticket for good, or break the call."""
    assert 0.0 <= retry_after(value) <= LONGEST_RETRY_AFTER


def test_rate_limit_is_what_the_tracker_calls_one() -> None:
    """Some trackers limit with other statuses than 429; without a time it is a minute."""
    assert refusal(answering(429, {})).retry_after == RATE_LIMIT_SECONDS
    assert refusal(answering(429, {}, Retry_After="5")).retry_after == 5.0
    assert refusal(answering(403, {})).retry_after == 0.0
    limited = refusal(answering(403, {}), limited=lambda response: response.status == 403)
    assert limited.retry_after == RATE_LIMIT_SECONDS
    assert "rate limit" in str(limited)


@pytest.mark.parametrize("body", [b"<html>Sign in</html>", b"{", b"\xff\xfe", b"[" * 100_000])
def test_answer_that_is_no_json_is_unavailable(body: bytes) -> None:
    """A proxy's page with 200 is no answer of the tracker's."""
    with playing(Script([answering(200, body)])) as url, pytest.raises(TicketUnavailableError, match="no JSON"):
        caller(url).call("GET", "/tickets")


def test_tracker_that_is_too_slow_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tick is not held up: it takes the connection, and never answers."""
    monkeypatch.setattr(http, "READ_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(TicketUnavailableError, match="could not reach Desk for GET /tickets: ReadTimeout"):
            caller(url).call("GET", "/tickets?secret=1")


def test_nobody_listening_is_unavailable() -> None:
    """A refused connection is a tracker that is down."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(TicketUnavailableError, match="could not reach Desk"):
        caller(f"http://127.0.0.1:{port}").call("GET", "/tickets")


@pytest.mark.parametrize("token", ["", " ", "tok_with\nnewline", "tok_with space", "tok_ü", "tok\x00"])
def test_impossible_token_is_refused_unseen(token: str) -> None:
    """An HTTP library would quote a broken header in its complaint."""
    with pytest.raises(TicketUnavailableError) as caught:
        caller("http://127.0.0.1:1", token=lambda: token).call("GET", "/tickets")
    assert not token.strip() or token not in str(caught.value)


def test_token_is_asked_at_every_call() -> None:
    """A renewed secret is used without a restart."""
    tokens: Iterator[str] = iter(["first", "second"])
    script = Script([answering(200, {})])
    with playing(script) as url:
        calling = caller(url, token=lambda: next(tokens))
        calling.call("GET", "/tickets")
        calling.call("GET", "/tickets")
    assert [headers["Authorization"] for _, _, headers, _ in script.sent] == ["Bearer first", "Bearer second"]


def test_token_that_cannot_be_read_is_unavailable() -> None:
    """A missing secret keeps tickets pending; it does not fail a tick."""

    def refuse() -> str:
        raise DeniedError("no permission")

    with pytest.raises(TicketUnavailableError, match="could not read the token for Desk: no permission"):
        caller("http://127.0.0.1:1", token=refuse).call("GET", "/tickets")


@pytest.mark.parametrize("words", [f"Bearer {TOKEN} is bad", f"bad: {TOKEN}", f"x{TOKEN[:-1]}{TOKEN[-1]}y"])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 500])
def test_token_that_a_tracker_repeats_is_not_shown(status: int, words: str) -> None:
    """A gateway may quote the header that it refuses; the log is no place for it."""
    assert TOKEN not in str(refusal(answering(status, {"message": words})))
