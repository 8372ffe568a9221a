"""PagerDuty's adapter at its edges: what its two APIs can and cannot do, limits, broken answers, and keys never shown.

Whatever passes between the adapter and the loopback is judged by PagerDuty's description.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.errors import DeniedError, MisconfiguredError, NotFoundError, TicketUnavailableError
from chalicelib.incident.document import Code, Document, Picture, bullets, line, link, paragraph
from chalicelib.incident.model import Grade, TicketState
from chalicelib.incident.ports import Page
from chalicelib.tickets.pagerduty import MOST_KEY, MOST_NOTE, MOST_SUMMARY, PagerDuty, key_of
from sandbox.clock import ScaledClock
from sandbox.trackers.desk import Desk
from sandbox.trackers.pagerduty import MOST_BYTES, ROUTING_KEY, TOKEN
from sandbox.trackers.pagerduty import PagerDuty as PagerDutyService
from sandbox.trackers.service import Answered, Asked
from tests.tickets.judges import Judged, openapi_judge
from tests.tickets.loopback import Script, answering, playing

MARKER = "xai-ops:staging/nodes/r-1/1"
USER = "ops@xai.test"
INCIDENT = {"id": "P1", "status": "triggered", "title": "t", "html_url": "https://pagerduty.test/P1"}


class Recording(PagerDutyService):
    """PagerDuty on loopback, with all that it was asked."""

    def __init__(self, url: str, clock: Any) -> None:
        """Nothing asked yet."""
        super().__init__(url, clock)
        self.asked: list[Asked] = []

    def answer(self, asked: Asked) -> Answered:
        """Note and answer."""
        self.asked.append(asked)
        return super().answer(asked)


@dataclass
class Tried:
    """A loopback PagerDuty over HTTP."""

    url: str
    service: Recording
    judged: Judged

    def adapter(self, *, token: bool = True, user: bool = True) -> PagerDuty:
        """The adapter with or without the REST API."""
        return pagerduty(self.url, token=(lambda: TOKEN) if token else None, user=USER if user else None)

    def sent(self, method: str, path: str) -> list[Asked]:
        """What was asked of a path."""
        return [asked for asked in self.service.asked if (asked.method, asked.path) == (method, path)]

    def events(self) -> list[Any]:
        """The events that were sent."""
        return [asked.body for asked in self.sent("POST", "/v2/enqueue")]


@pytest.fixture
def tried() -> Iterator[Tried]:
    """An empty PagerDuty; at the end its description may have rejected nothing."""
    made: list[tuple[Recording, Judged]] = []

    def maker(url: str, clock: Any) -> Judged:
        service = Recording(url, clock)
        made.append((service, Judged(service, openapi_judge("pagerduty"))))
        return made[0][1]

    maker.name = "pagerduty"  # type: ignore[attr-defined]
    desk = Desk(ScaledClock(), maker)
    desk.start()
    try:
        yield Tried(f"{desk.url}/pagerduty", *made[0])
    finally:
        desk.stop()
    assert made[0][1].rejected == []


def pagerduty(
    url: str,
    *,
    token: Callable[[], str] | None = lambda: TOKEN,
    user: str | None = USER,
    routing_key: Callable[[], str] = lambda: ROUTING_KEY,
) -> PagerDuty:
    """The adapter against this server."""
    return PagerDuty(api_url=url, rest_url=url, routing_key=routing_key, source="xai-staging", token=token, user=user)


def a_page(title: str = "t", *, marker: str = MARKER, body: Document = (), grade: Grade = Grade.P2) -> Page:
    """A page."""
    return Page(marker=marker, title=title, body=body, labels=(grade.value, "rolled_back"), grade=grade)


def test_create_repeated_is_one_incident(tried: Tried) -> None:
    """The deduplication key makes it so at PagerDuty itself, even for who cannot look."""
    blind = tried.adapter(token=False)
    assert blind.find(MARKER) is None
    assert blind.create(a_page()).id == blind.create(a_page()).id == MARKER
    assert len(tried.service.incidents) == 1


def test_without_rest_token_nothing_is_read_and_no_note_is_sent(tried: Tried) -> None:
    """Events can be sent and no more; a further trigger would page again where people resolved the incident."""
    blind = tried.adapter(token=False)
    ticket = blind.create(a_page()).id
    tried.service.close(ticket)
    blind.comment(ticket, (paragraph("news"),), marker="m-1")
    assert blind.read(ticket) is None
    assert len(tried.events()) == len(tried.service.incidents) == 1


def test_without_user_people_are_read_but_nothing_is_written_by_rest(tried: Tried) -> None:
    """PagerDuty wants to know who writes a note or a title."""
    reading = tried.adapter(user=False)
    ticket = reading.create(a_page()).id
    tried.service.acknowledge(ticket)
    reading.comment(ticket, (paragraph("news"),), marker="m-1")
    reading.update(ticket, a_page("worse"), TicketState.OPEN)
    assert reading.read(ticket).state is TicketState.ACKNOWLEDGED
    assert (tried.service.incidents[0]["title"], tried.service.incidents[0]["notes"]) == ("t", [])


def test_long_marker_is_hashed_and_found(tried: Tried) -> None:
    """A key has 255 characters at most."""
    adapter = tried.adapter()
    first, other = (adapter.create(a_page(marker="m" * 300 + end)).id for end in "ab")
    found = adapter.find("m" * 300 + "a")
    assert found is not None
    assert (found.id, len(tried.service.incidents), first != other) == (first, 2, True)


@given(st.text(max_size=400), st.text(max_size=400))
def test_different_markers_have_different_keys(one: str, other: str) -> None:
    """No two incidents share a key, and every key fits."""
    assert (key_of(one) == key_of(other)) == (one == other)
    assert len(key_of(one)) <= MOST_KEY


@pytest.mark.parametrize(
    ("grade", "severity"),
    [(Grade.P1, "critical"), (Grade.P2, "error"), (Grade.P3, "warning"), (Grade.P4, "info")],
)
def test_grade_is_the_severity(tried: Tried, grade: Grade, severity: str) -> None:
    """A risen grade goes with the next trigger."""
    adapter = tried.adapter()
    ticket = adapter.create(a_page(grade=Grade.P3)).id
    adapter.update(ticket, a_page(grade=grade), TicketState.OPEN)
    assert tried.service.incidents[0]["severity"] == severity


@pytest.mark.parametrize(
    ("title", "shown"), [("t" * 2000, ["t" * MOST_SUMMARY, "t" * MOST_SUMMARY]), ("", [MARKER, "other"])]
)
def test_title_is_cut_and_never_blank(tried: Tried, title: str, shown: list[str]) -> None:
    """PagerDuty refuses an event with no summary, or with too long a one."""
    adapter = tried.adapter()
    ticket = adapter.create(a_page("first")).id
    adapter.update(ticket, a_page(title), TicketState.OPEN)
    adapter.create(a_page(title, marker="other"))
    assert [incident["title"] for incident in tried.service.incidents] == shown


def test_title_is_set_once_and_by_rest(tried: Tried) -> None:
    """A trigger leaves the title of an incident as it was."""
    adapter = tried.adapter()
    ticket = adapter.create(a_page()).id
    for _ in range(2):
        adapter.update(ticket, a_page("worse"), TicketState.OPEN)
    assert tried.service.incidents[0]["title"] == "worse"
    assert len(tried.sent("PUT", "/incidents/P000001")) == 1


def test_incident_that_holds_other_alerts_keeps_its_title(tried: Tried) -> None:
    """PagerDuty groups alerts; an incident that is not ours alone is not ours to rename."""
    adapter = tried.adapter()
    ticket = adapter.create(a_page()).id
    tried.service.incidents[0]["alert_counts"] = {"all": 2, "triggered": 2, "resolved": 0}
    adapter.update(ticket, a_page("worse"), TicketState.OPEN)
    assert tried.service.incidents[0]["title"] == "t"


def test_reopened_ticket_is_a_new_incident_of_the_same_key(tried: Tried) -> None:
    """That is how PagerDuty reopens; the ticket is the newest of them, with the title of now."""
    adapter = tried.adapter()
    ticket = adapter.create(a_page()).id
    before = adapter.read(ticket)
    adapter.update(ticket, a_page(), TicketState.CLOSED)
    adapter.update(ticket, a_page("back"), TicketState.OPEN)
    after = adapter.read(ticket)
    assert [(i["title"], i["status"]) for i in tried.service.incidents] == [("t", "resolved"), ("back", "triggered")]
    assert (after.id, after.state, after.url != before.url) == (before.id, TicketState.OPEN, True)


def test_acknowledgement_and_resolve_without_open_incident_are_dropped(tried: Tried) -> None:
    """PagerDuty takes them and does nothing: resolved twice is resolved."""
    adapter = tried.adapter()
    ticket = adapter.create(a_page()).id
    adapter.update(ticket, a_page(), TicketState.ACKNOWLEDGED)
    assert adapter.read(ticket).state is TicketState.ACKNOWLEDGED
    for state in (TicketState.CLOSED, TicketState.CLOSED, TicketState.ACKNOWLEDGED):
        adapter.update(ticket, a_page(), state)
        assert adapter.read(ticket).state is TicketState.CLOSED
    assert len(tried.service.incidents) == 1


def test_note_waits_for_its_incident(tried: Tried) -> None:
    """Events are carried out after they were taken; a note is neither lost nor makes an incident of itself."""
    with pytest.raises(TicketUnavailableError, match="no incident"):
        tried.adapter().comment(MARKER, (paragraph("news"),), marker="m-1")
    assert tried.events() == []
    assert tried.adapter().read(MARKER) is None


def test_long_note_keeps_its_marker(tried: Tried) -> None:
    """And is therefore added once."""
    adapter = tried.adapter()
    ticket = adapter.create(a_page()).id
    for _ in range(2):
        adapter.comment(ticket, tuple(Code("n" * 490) for _ in range(60)), marker="m-1")
    [note] = tried.service.incidents[0]["notes"]
    assert note["content"].endswith("\n(cut: too long)\n\n(m-1)")
    assert len(note["content"]) == MOST_NOTE


def test_links_and_pictures_of_ours_go_with_the_event(tried: Tried) -> None:
    """Pictures must be served by https; ten of each are enough for a page."""
    body: Document = (
        paragraph("see ", link("the run", "https://ours.test/run")),
        bullets(*(line(link(f"r{n}", f"https://ours.test/{n}")) for n in range(20))),
        Picture("memory", "https://ours.test/m.png"),
        Picture("loopback", "http://127.0.0.1/m.png"),
    )
    tried.adapter().create(a_page(body=body))
    [event] = tried.events()
    assert event["links"][0] == {"href": "https://ours.test/run", "text": "the run"}
    assert len(event["links"]) == 10
    assert [image["alt"] for image in event["images"]] == ["memory"]
    assert "memory (https://ours.test/m.png)" in event["payload"]["custom_details"]["text"]


def test_largest_page_fits_into_an_event(tried: Tried) -> None:
    """A refused event never mends itself, so the largest one must fit, whatever its characters take as JSON."""
    wide = "\U0001f525" * 500
    picture = Picture(wide, f"https://ours.test/{'p' * 1500}")
    body: Document = (
        *(Code("\n".join([wide] * 40)) for _ in range(4)), *([picture] * 20),
        bullets(*(line(link(wide, f"https://ours.test/{'l' * 1500}")) for _ in range(20))),
    )  # fmt: skip
    tried.adapter().create(a_page(wide * 3, body=body))
    [asked] = tried.sent("POST", "/v2/enqueue")
    assert MOST_BYTES // 2 < len(asked.raw) < MOST_BYTES
    assert len(tried.service.incidents) == 1


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (
            answering(400, {"status": "invalid event", "message": "Event object is invalid", "errors": ["bad key"]}),
            "bad key",
        ),
        (answering(401, {"error": {"message": "Authentication failed", "code": 2006}}), "renew the secret"),
        (answering(402, {"error": {"message": "Missing Account Ability", "code": 2014}}), "does not have this feature"),
        (answering(403, {"error": {"message": "Access Denied", "code": 2010}}), "may not read"),
        (answering(404, {"error": {"message": "Not Found", "code": 2100}}), "check api_url"),
        (answering(408, {"error": {"message": "took too long", "code": 2016}}), "not what PagerDuty documents"),
        (answering(500, b"<html>"), "trouble"),
        (answering(503, b"[]"), "trouble"),
    ],
)
@pytest.mark.parametrize("call", ["find", "create", "comment", "update", "read"])
def test_refusal_names_status_and_advice_and_no_key(answer: Any, says: str, call: str) -> None:
    """A person who reads the log knows what to do; nothing is retried here."""
    script = Script([answer])
    with playing(script) as url, pytest.raises(TicketUnavailableError) as caught:
        CALLS[call](pagerduty(url))
    assert f"answered {answer[0]}" in str(caught.value)
    assert says in str(caught.value)
    assert TOKEN not in str(caught.value)
    assert ROUTING_KEY not in str(caught.value)
    assert len(script.sent) == 1


@pytest.mark.parametrize("call", ["find", "create"])
def test_key_that_pagerduty_repeats_is_not_shown(call: str) -> None:
    """Whoever refuses a key may quote it."""
    event = {"status": "invalid event", "message": "bad", "errors": [f"no such key: {ROUTING_KEY}"]}
    body = {"error": {"message": f"no such key: {TOKEN}", "code": 2006}} if call == "find" else event
    with playing(Script([answering(400, body)])) as url, pytest.raises(TicketUnavailableError) as caught:
        CALLS[call](pagerduty(url))
    assert "no such key: [redacted]" in str(caught.value)


CALLS: dict[str, Callable[[PagerDuty], object]] = {
    "find": lambda tracker: tracker.find(MARKER),
    "create": lambda tracker: tracker.create(a_page()),
    "comment": lambda tracker: tracker.comment(MARKER, (paragraph("n"),), marker="m-1"),
    "update": lambda tracker: tracker.update(MARKER, a_page(), TicketState.OPEN),
    "read": lambda tracker: tracker.read(MARKER),
}


@pytest.mark.parametrize(("headers", "seconds"), [({}, 60.0), ({"Retry_After": "30"}, 30.0)])
def test_rate_limit_says_how_long_to_stay_away(headers: dict[str, str], seconds: float) -> None:
    """PagerDuty documents 429 without a time, and changes its limits as it sees fit."""
    with playing(Script([answering(429, b"", **headers)])) as url, pytest.raises(TicketUnavailableError) as caught:
        pagerduty(url).create(a_page())
    assert caught.value.retry_after == seconds


@pytest.mark.parametrize(
    "body", [b"<html>", b"", b"{}", b"[]", b'{"incidents": {}}', b'{"incidents": [{"status": "on fire"}]}']
)
@pytest.mark.parametrize("call", ["find", "read"])
def test_answer_that_holds_no_incidents_is_unavailable(body: bytes, call: str) -> None:
    """A proxy's page is not an empty list, and a state that nobody knows is not open."""
    with playing(Script([answering(200, body)])) as url, pytest.raises(TicketUnavailableError):
        CALLS[call](pagerduty(url))


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"notes": null}'])
def test_answer_that_holds_no_notes_is_unavailable(body: bytes) -> None:
    """Taken for none, it would double a note."""
    script = Script([answering(200, {"incidents": [INCIDENT]}), answering(200, body)])
    with playing(script) as url, pytest.raises(TicketUnavailableError, match="notes"):
        CALLS["comment"](pagerduty(url))
    assert [method for method, *_ in script.sent] == ["GET", "GET"]


@pytest.mark.parametrize("error", [DeniedError("no"), NotFoundError("none"), MisconfiguredError("bad")])
def test_key_that_cannot_be_read_is_unavailable(error: Exception) -> None:
    """A missing secret keeps tickets pending; it does not fail a tick."""

    def refuse() -> str:
        raise error

    with pytest.raises(TicketUnavailableError, match="could not read the routing key"):
        pagerduty("http://127.0.0.1:1", routing_key=refuse).create(a_page())
    with pytest.raises(TicketUnavailableError, match="could not read the token"):
        pagerduty("http://127.0.0.1:1", token=refuse).find(MARKER)


@pytest.mark.parametrize("key", ["", "key\nwith newline", "key with space", "kéy"])
def test_impossible_key_is_refused_unseen(key: str) -> None:
    """Nothing is sent with it, and nobody is shown it."""
    for call in (
        pagerduty("http://127.0.0.1:1", routing_key=lambda: key).create,
        pagerduty("http://127.0.0.1:1").create,
    ):
        with pytest.raises(TicketUnavailableError) as caught:
            call(a_page())
        assert not key or key not in str(caught.value)


def test_incident_id_cannot_leave_its_path() -> None:
    """An id is one part of a path, whatever PagerDuty says it is."""
    script = Script(
        [answering(200, {"incidents": [{**INCIDENT, "id": "../../users?x="}]}), answering(200, {"notes": []})]
    )
    with playing(script) as url:
        pagerduty(url).comment(MARKER, (paragraph("n"),), marker="m-1")
    assert [path for _, path, _, _ in script.sent[1:]] == ["/incidents/..%2F..%2Fusers%3Fx%3D/notes"] * 2


GOOD = {
    "routing_key": ROUTING_KEY,
    "event_action": "trigger",
    "dedup_key": "k",
    "payload": {"summary": "s", "source": "x", "severity": "info"},
}
BAD = {
    "no payload": {**GOOD, "payload": None},
    "no summary": {**GOOD, "payload": {"source": "x", "severity": "info"}},
    "blank summary": {**GOOD, "payload": {"summary": "", "source": "x", "severity": "info"}},
    "long summary": {**GOOD, "payload": {"summary": "s" * 1025, "source": "x", "severity": "info"}},
    "no source": {**GOOD, "payload": {"summary": "s", "severity": "info"}},
    "unknown severity": {**GOOD, "payload": {"summary": "s", "source": "x", "severity": "P1"}},
    "long key": {**GOOD, "dedup_key": "k" * 256},
    "short routing key": {**GOOD, "routing_key": "abc"},
    "unknown action": {**GOOD, "event_action": "reopen"},
    "acknowledge without key": {"routing_key": ROUTING_KEY, "event_action": "acknowledge"},
    "resolve without key": {"routing_key": ROUTING_KEY, "event_action": "resolve"},
}


@pytest.mark.parametrize("name", BAD)
def test_event_that_pagerduty_refuses_is_refused_by_loopback_and_judge(name: str) -> None:
    """Neither takes what the other refuses, and the refusal itself has PagerDuty's shape."""
    service, judge = PagerDutyService("http://loopback.test", ScaledClock()), openapi_judge("pagerduty")
    asked = post("/v2/enqueue", BAD[name])
    answered = service.answer(asked)
    assert (answered.status, service.incidents) == (400, [])
    judge.response(asked, answered)
    with pytest.raises(AssertionError):
        judge.request(asked)


def test_event_that_pagerduty_takes_is_taken_by_loopback_and_judge() -> None:
    """So that the refusals above are for their own reasons."""
    service, judge = PagerDutyService("http://loopback.test", ScaledClock()), openapi_judge("pagerduty")
    asked = post("/v2/enqueue", GOOD)
    judge.request(asked)
    judge.response(asked, service.answer(asked))
    assert len(service.incidents) == 1


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status"),
    [
        ("GET", "/incidents", {}, None, 401),
        ("GET", "/incidents/PX/notes", {"authorization": f"Token token={TOKEN}"}, None, 404),
        ("PUT", "/incidents/P000001", {"authorization": f"Token token={TOKEN}"}, {"incident": {"title": "x"}}, 400),
        (
            "POST",
            "/incidents/P000001/notes",
            {"authorization": f"Token token={TOKEN}"},
            {"note": {"content": "x"}},
            400,
        ),
    ],
)
def test_rest_refusal_has_the_documented_shape(
    method: str, path: str, headers: dict[str, str], body: Any, status: int
) -> None:
    """Without a token, of an incident that is not there, and with nobody to write as."""
    service = PagerDutyService("http://loopback.test", ScaledClock())
    service.answer(post("/v2/enqueue", GOOD))
    asked = Asked(method=method, path=path, headers=headers, body=body, raw=json.dumps(body).encode() if body else b"")
    answered = service.answer(asked)
    assert answered.status == status
    openapi_judge("pagerduty").response(asked, answered)


def test_resolved_incident_is_not_renamed_by_rest() -> None:
    """PagerDuty answers that it is resolved already."""
    service = PagerDutyService("http://loopback.test", ScaledClock())
    service.answer(post("/v2/enqueue", GOOD))
    service.close("k")
    body = {"incident": {"type": "incident_reference", "title": "x"}}
    headers = {"authorization": f"Token token={TOKEN}", "from": USER}
    answered = service.answer(Asked(method="PUT", path="/incidents/P000001", headers=headers, body=body))
    assert (answered.status, answered.body["error"]["code"], service.incidents[0]["title"]) == (400, 1001, "s")


def post(path: str, body: Any) -> Asked:
    """A JSON request."""
    return Asked(method="POST", path=path, body=body, raw=json.dumps(body).encode())
