"""GitHub's adapter at its edges: refusals, limits, broken answers, and a token that is never shown."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.errors import DeniedError, MisconfiguredError, NotFoundError, TicketUnavailableError
from chalicelib.tickets.github import MOST_BODY, GitHubIssues, _carries, _hidden, _marked, fingerprint
from tests.tickets.loopback import Script, answering, playing

TOKEN = "ghp_notarealtoken0123456789"
MARKER = "xai-ops:staging/nodes/r-1"
ISSUE = {
    "number": 5,
    "html_url": "https://github.test/5",
    "state": "open",
    "labels": [{"name": "P3"}, {"name": "mine"}],
}


def github(url: str, *, token: Callable[[], str] = lambda: TOKEN) -> GitHubIssues:
    """The adapter against this server."""
    return GitHubIssues(api_url=f"{url}/", repository="xai/operations", token=token, labels=("xai-ops",))


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (answering(401, {"message": "Bad credentials"}), "renew the secret"),
        (answering(403, {"message": "Resource not accessible"}), "may not write issues"),
        (answering(404, {"message": "Not Found"}), "check tickets.repository"),
        (answering(410, {"message": "Issues are disabled"}), "switched off"),
        (answering(422, {"message": "Validation Failed"}), "refuses"),
        (answering(301, {"message": "Moved"}, Location="https://elsewhere.test/"), "renamed"),
        (answering(500, b"<html>"), "trouble"),
        (answering(503, b""), "trouble"),
        (answering(418, {}), "not what GitHub documents"),
    ],
)
def test_refusal_names_status_and_advice_never_the_token(answer: Any, says: str) -> None:
    """A person who reads the log knows what to do."""
    script = Script([answer])
    with playing(script) as url, pytest.raises(TicketUnavailableError) as caught:
        github(url).find(MARKER)
    assert f"answered {answer[0]}" in str(caught.value)
    assert says in str(caught.value)
    assert TOKEN not in str(caught.value)
    assert len(script.sent) == 1  # nothing is retried here


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (answering(403, {}, Retry_After="90"), 90.0),
        (answering(403, {}, X_RateLimit_Remaining="0"), 60.0),
        (answering(429, {}), 60.0),
        (answering(429, {}, Retry_After="999999"), 3600.0),
        (answering(429, {}, Retry_After="soon"), 60.0),
        (answering(503, {}, Retry_After="120"), 120.0),
    ],
)
def test_rate_limit_says_how_long_to_stay_away(answer: Any, seconds: float) -> None:
    """Retry-After is obeyed up to an hour; a limit without it is a minute."""
    with playing(Script([answer])) as url, pytest.raises(TicketUnavailableError) as caught:
        github(url).find(MARKER)
    assert caught.value.retry_after == seconds


@pytest.mark.parametrize("body", [b"<html>", b"", b"{}", b'"text"', b"[" * 100_000])
def test_list_that_is_none_is_unavailable(body: bytes) -> None:
    """A proxy's page with 200 is not an empty list: it would open a second ticket."""
    with playing(Script([answering(200, body)])) as url, pytest.raises(TicketUnavailableError):
        github(url).find(MARKER)


@pytest.mark.parametrize("body", [[], {}, {"number": "5"}, None])
def test_created_issue_without_number_is_unavailable(body: Any) -> None:
    """What cannot be found again was not delivered."""
    with playing(Script([answering(201, body)])) as url, pytest.raises(TicketUnavailableError):
        github(url).create(marker=MARKER, title="t", body="b", labels=())


def test_nobody_listening_is_unavailable() -> None:
    """A refused connection is a tracker that is down."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(TicketUnavailableError, match="could not reach GitHub"):
        github(f"http://127.0.0.1:{port}").find(MARKER)


@pytest.mark.parametrize("error", [DeniedError("no"), NotFoundError("none"), MisconfiguredError("bad")])
def test_token_that_cannot_be_read_is_unavailable(error: Exception) -> None:
    """A missing secret keeps tickets pending; it does not fail a tick."""

    def refuse() -> str:
        raise error

    with pytest.raises(TicketUnavailableError, match="could not read the token"):
        github("http://127.0.0.1:1", token=refuse).find(MARKER)


@pytest.mark.parametrize("token", ["", "ghp_with\nnewline", "ghp_with space", "ghp_ü"])
def test_impossible_token_is_refused_unseen(token: str) -> None:
    """An HTTP library would quote a broken header in its complaint."""
    with pytest.raises(TicketUnavailableError) as caught:
        github("http://127.0.0.1:1", token=lambda: token).find(MARKER)
    assert not token or token not in str(caught.value)


def test_create_sends_marker_first_and_every_label() -> None:
    """The marker is never cut off, and the ticket can be listed by its fingerprint."""
    script = Script([answering(201, ISSUE)])
    with playing(script) as url:
        ticket = github(url).create(marker=MARKER, title="t" * 400, body="b" * 100_000, labels=("P2", "xai-ops"))
    method, path, headers, sent = script.sent[0]
    assert (ticket.id, ticket.url, ticket.state) == ("5", "https://github.test/5", "open")
    assert (method, path, headers["Authorization"]) == ("POST", "/repos/xai/operations/issues", f"Bearer {TOKEN}")
    assert sent["labels"] == ["xai-ops", "P2", fingerprint(MARKER)]
    assert sent["body"].startswith(f"<!-- {MARKER} -->\n\nbbb")
    assert MOST_BODY < len(sent["body"]) < 65_536
    assert len(sent["title"]) <= 256


def test_ticket_without_its_label_is_found_among_the_newest() -> None:
    """Without push rights GitHub drops labels silently; a second ticket must not come of it."""
    script = Script(
        [answering(200, []), answering(200, [{"number": 4, "body": None}, {**ISSUE, "body": _marked(MARKER, "x")}])]
    )
    with playing(script) as url:
        found = github(url).find(MARKER)
    assert found is not None
    assert found.id == "5"
    assert [f"labels={fingerprint(MARKER)}" in path for _, path, _, _ in script.sent] == [True, False]


def test_marker_quoted_in_a_body_is_not_the_ticket() -> None:
    """A log line that prints a marker does not make its ticket the one."""
    quoting = {**ISSUE, "body": f"```text\n{_hidden(MARKER)}\n```"}
    with playing(Script([answering(200, [quoting])])) as url:
        assert github(url).find(MARKER) is None


def test_pull_request_is_no_ticket() -> None:
    """GitHub lists pull requests among the issues."""
    pull = {**ISSUE, "body": _marked(MARKER, "x"), "pull_request": {}}
    with playing(Script([answering(200, [pull])])) as url:
        assert github(url).find(MARKER) is None


def test_comment_is_looked_for_on_every_page() -> None:
    """A long ticket has its comment on a later page."""
    page = [{"body": f"comment {number}"} for number in range(100)]
    script = Script([answering(200, page), answering(200, [{"body": _marked("rep-1", "here")}])])
    with playing(script) as url:
        github(url).comment("5", "again", marker="rep-1")
    assert [method for method, *_ in script.sent] == ["GET", "GET"]


def test_amend_keeps_what_people_added_and_drops_the_outdated_grade() -> None:
    """People's own labels stay; a ticket has one grade."""
    script = Script([answering(200, ISSUE)])
    with playing(script) as url:
        github(url).amend("5", title="worse", labels=("held", "P1"))
    assert [(method, sent) for method, _, _, sent in script.sent] == [
        ("PATCH", {"title": "worse"}),
        ("PATCH", {"labels": ["mine", "xai-ops", "held", "P1"]}),
    ]


def test_ticket_id_cannot_leave_its_path() -> None:
    """An id is one part of a path, whatever is in it."""
    script = Script([answering(200, ISSUE)])
    with playing(script) as url:
        github(url).amend("../../../user?x=", title="t", labels=())
    assert all(path.startswith("/repos/xai/operations/issues/..%2F") for _, path, _, _ in script.sent)


@given(st.text(max_size=60))
def test_marker_never_ends_its_comment(marker: str) -> None:
    """Whatever a key holds, the hidden line stays one HTML comment that is found again."""
    hidden = _hidden(marker)
    assert hidden.count("--") == 2
    assert hidden.count(">") == 1
    assert "\n" not in hidden
    assert _carries({"body": _marked(marker, "body")}, marker)


@given(st.text(max_size=20), st.text(max_size=20))
def test_different_markers_are_hidden_differently(one: str, other: str) -> None:
    """No two keys share a ticket."""
    assert (_hidden(one) == _hidden(other)) == (one == other)
