"""GitHub's adapter at its edges: refusals, limits, broken answers, and a token that is never shown."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chalicelib.errors import DeniedError, MisconfiguredError, NotFoundError, TicketUnavailableError
from chalicelib.incident.document import Document, paragraph
from chalicelib.incident.model import Grade, TicketState
from chalicelib.incident.ports import Page
from chalicelib.tickets.github import MOST_BODY, GitHubIssues, _carries, _hidden, _marked, fingerprint
from sandbox.clock import ScaledClock
from sandbox.trackers.desk import Desk
from sandbox.trackers.github import TOKEN as SANDBOX_TOKEN
from sandbox.trackers.github import GitHub
from sandbox.trackers.service import Answered, Asked
from tests.tickets.judges import openapi_judge
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


def a_page(title: str = "t", *, body: Document = (), labels: tuple[str, ...] = ()) -> Page:
    """A page."""
    return Page(marker=MARKER, title=title, body=body, labels=labels, grade=Grade.P2)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (answering(401, {"message": "Bad credentials"}), "renew the secret"),
        (answering(403, {"message": "Resource not accessible"}), "may not write issues"),
        (answering(404, {"message": "Not Found"}), "check repository"),
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
        github(url).create(a_page())


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
        body = tuple(paragraph("b" * 500) for _ in range(200))
        ticket = github(url).create(a_page(title="t" * 400, body=body, labels=("P2", "xai-ops")))
    method, path, headers, sent = script.sent[0]
    assert (ticket.id, ticket.url, ticket.state) == ("5", "https://github.test/5", TicketState.OPEN)
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


@pytest.mark.parametrize(("labelled", "newer"), [(False, 5), (True, 150)])
def test_closed_ticket_is_found_without_its_label_or_far_down(labelled: bool, newer: int) -> None:
    """By its label among however many, and without it among the newest; closed tickets are tickets."""
    desk = Desk(ScaledClock(), GitHub)
    desk.start()
    try:
        tracker = github(f"{desk.url}/github", token=lambda: SANDBOX_TOKEN)
        ticket = tracker.create(a_page()).id
        service: Any = desk.services["github"]
        if not labelled:
            service.answer(asked("PATCH", f"{ASKED}/{ticket}", {"labels": []}))
        service.close(ticket)
        for number in range(newer):
            service.answer(asked("POST", ASKED, {"title": f"newer {number}"}))
        found = tracker.find(MARKER)
    finally:
        desk.stop()
    assert found is not None
    assert (found.id, found.state) == (ticket, TicketState.CLOSED)


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
        github(url).comment("5", (paragraph("again"),), marker="rep-1")
    assert [method for method, *_ in script.sent] == ["GET", "GET"]


def test_update_keeps_what_people_added_and_drops_the_outdated_grade() -> None:
    """People's own labels stay; a ticket has one grade."""
    script = Script([answering(200, ISSUE)])
    with playing(script) as url:
        github(url).update("5", a_page(title="worse", labels=("held", "P1")), TicketState.OPEN)
    assert [(method, sent) for method, _, _, sent in script.sent] == [
        ("PATCH", {"title": "worse", "state": "open"}),
        ("PATCH", {"labels": ["mine", "xai-ops", "held", "P1", fingerprint(MARKER)]}),
    ]


def test_update_that_changes_no_label_sends_none() -> None:
    """GitHub answers labels in its own order; people watching the ticket are spared a change that is none."""
    labels = [{"name": name} for name in (fingerprint(MARKER), "P1", "mine", "xai-ops")]
    script = Script([answering(200, {**ISSUE, "labels": labels})])
    with playing(script) as url:
        github(url).update("5", a_page(labels=("P1",)), TicketState.CLOSED)
    assert [sent for *_, sent in script.sent] == [{"title": "t", "state": "closed", "state_reason": "completed"}]


@pytest.mark.parametrize("state", [TicketState.OPEN, TicketState.ACKNOWLEDGED])
def test_ticket_that_is_not_resolved_stays_open_and_its_assignees_people_s(state: TicketState) -> None:
    """GitHub has no acknowledgement; who takes a ticket on is for people to say."""
    script = Script([answering(200, ISSUE)])
    with playing(script) as url:
        github(url).update("5", a_page(), state)
    assert script.sent[0][3] == {"title": "t", "state": "open"}
    assert all(set(sent) <= {"title", "state", "labels"} for *_, sent in script.sent)


def test_label_without_a_name_is_not_sent() -> None:
    """GitHub would refuse the whole ticket for it."""
    script = Script([answering(201, ISSUE)])
    with playing(script) as url:
        github(url).create(a_page(labels=("", " ", "P2")))
    assert script.sent[0][3]["labels"] == ["xai-ops", "P2", fingerprint(MARKER)]


@pytest.mark.parametrize(
    ("issue", "state"),
    [
        ({"state": "open", "assignees": []}, TicketState.OPEN),
        ({"state": "open", "assignees": [{"login": "ann"}]}, TicketState.ACKNOWLEDGED),
        ({"state": "closed", "assignees": [{"login": "ann"}]}, TicketState.CLOSED),
        ({"state": "open"}, TicketState.OPEN),
    ],
)
def test_state_is_read_as_people_left_it(issue: dict[str, Any], state: TicketState) -> None:
    """Somebody assigned took it on; closed is closed, whoever it belongs to."""
    with playing(Script([answering(200, {"number": 5, **issue})])) as url:
        assert github(url).read("5").state is state


def test_ticket_id_cannot_leave_its_path() -> None:
    """An id is one part of a path, whatever is in it."""
    script = Script([answering(200, ISSUE)])
    with playing(script) as url:
        github(url).update("../../../user?x=", a_page(), TicketState.CLOSED)
    assert all(path.startswith("/repos/xai/operations/issues/..%2F") for _, path, _, _ in script.sent)


ASKED = "/repos/xai/operations/issues"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", ASKED, {"body": "no title"}),
        ("POST", ASKED, {"title": "t", "labels": "P2"}),
        ("PATCH", f"{ASKED}/5", {"state": "resolved"}),
        ("PATCH", f"{ASKED}/5", {"state_reason": "fixed"}),
        ("POST", f"{ASKED}/5/comments", {}),
        ("GET", f"{ASKED}/5/labels", None),
    ],
)
def test_judge_rejects_a_request_that_github_does_not_know(method: str, path: str, body: Any) -> None:
    """A judge that lets everything pass would prove nothing."""
    with pytest.raises(AssertionError, match=f"{method} {path}"):
        openapi_judge("octokit").request(asked(method, path, body))


@pytest.mark.parametrize(
    ("status", "body"),
    [(201, {"number": 5}), (201, []), (200, {}), (418, {}), (201, None)],
)
def test_judge_rejects_an_answer_that_github_never_gives(status: int, body: Any) -> None:
    """A loopback tracker that leaves things out would let an adapter live on them."""
    with pytest.raises(AssertionError, match=f"answered {status}"):
        openapi_judge("octokit").response(asked("POST", ASKED, {"title": "t"}), Answered(status=status, body=body))


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", ASKED, {"title": "t" * 257}, 422),
        ("POST", ASKED, {"title": " "}, 422),
        ("POST", ASKED, {"title": "t", "body": "b" * 65_537}, 422),
        ("POST", ASKED, {"title": "t", "labels": ["l" * 51]}, 422),
        ("POST", ASKED, {"title": "t", "labels": [""]}, 422),
        ("PATCH", f"{ASKED}/1", {"title": "t" * 257}, 422),
        ("PATCH", f"{ASKED}/1", {"state": "resolved"}, 422),
        ("POST", f"{ASKED}/1/comments", {"body": ""}, 422),
        ("POST", ASKED, None, 400),
        ("GET", f"{ASKED}/2", None, 404),
        ("GET", "/user", None, 404),
    ],
)
def test_loopback_refuses_what_github_refuses(method: str, path: str, body: Any, status: int) -> None:
    """In GitHub's own shape, and nothing is changed."""
    service = GitHub("https://desk.test/github", ScaledClock())
    service.answer(asked("POST", ASKED, {"title": "first"}))
    call = asked(method, path, body)
    answered = service.answer(call)
    assert answered.status == status
    assert answered.body["message"]
    assert [shown.title for shown in service.shown()] == ["first"]
    if path != "/user" and status != 400:
        openapi_judge("octokit").response(call, answered)


@pytest.mark.parametrize(("token", "status"), [("", 401), ("wrong", 401)])
def test_loopback_knows_its_token(token: str, status: int) -> None:
    """Nobody gets in without it."""
    service = GitHub("https://desk.test/github", ScaledClock())
    assert service.answer(asked("GET", ASKED, None, token=token)).status == status


def asked(method: str, path: str, body: Any, *, token: str = SANDBOX_TOKEN) -> Asked:
    """A call as it comes to the loopback tracker."""
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json", "user-agent": "test"}
    raw = b"" if body is None else json.dumps(body).encode()
    return Asked(method=method, path=path, headers=headers, body=body, raw=raw)


MARKERS = st.text(max_size=60) | st.lists(st.sampled_from(("-", "--", "!", ">", "%2D", "\n", " ", "a"))).map("".join)


@given(MARKERS)
def test_marker_never_ends_its_comment(marker: str) -> None:
    """Whatever a key holds, the hidden line stays one HTML comment that is found again."""
    hidden = _hidden(marker)
    assert hidden.count("--") == 2
    assert hidden.count(">") == 1
    assert "\n" not in hidden
    assert _carries({"body": _marked(marker, "body")}, marker)


@given(MARKERS, MARKERS)
@example("a--", "a-%2D")
def test_different_markers_are_hidden_differently(one: str, other: str) -> None:
    """No two keys share a ticket."""
    assert (_hidden(one) == _hidden(other)) == (one == other)
