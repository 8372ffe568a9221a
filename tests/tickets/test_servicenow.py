"""ServiceNow's adapter at its edges: queries that stay what they are, journals that obey nobody, states, and limits.

Whatever passes between the adapter and the loopback is judged by ServiceNow's description.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.errors import DeniedError, MisconfiguredError, NotFoundError, TicketUnavailableError
from chalicelib.incident.document import Code, Document, Heading, link, paragraph
from chalicelib.incident.model import Grade, TicketState
from chalicelib.incident.ports import Page
from chalicelib.tickets.servicenow import (
    A_PAGE,
    MOST_CORRELATION,
    MOST_TEXT,
    MOST_TITLE,
    ServiceNow,
    correlation_of,
    inert,
)
from sandbox.clock import ScaledClock
from sandbox.trackers.desk import Desk
from sandbox.trackers.service import Answered, Asked
from sandbox.trackers.servicenow import TOKEN
from sandbox.trackers.servicenow import ServiceNow as ServiceNowService
from tests.tickets.judges import Judged, openapi_judge
from tests.tickets.loopback import Script, answering, playing

MARKER = "xai-ops:staging/nodes/r-1/1"
USER = "xai-ops"
SECRET = b64encode(f"{USER}:{TOKEN}".encode()).decode()
SYS_ID = "0123456789abcdef0123456789abcdef"
RECORD = {"sys_id": SYS_ID, "number": "INC0000001", "state": "1", "assigned_to": "", "short_description": "t"}
OBEYED = re.compile(r"\[\s*/?\s*code|@\s*\[", re.IGNORECASE)  # what a journal field acts on
HOSTILE = st.lists(st.sampled_from(["[", "]", "/", "code", "CoDe", " ", "\n", "@", "@[", "[code]", "x", ":"])).map(
    "".join
)


class Recording(ServiceNowService):
    """ServiceNow on loopback, with all that it was asked."""

    def __init__(self, url: str, clock: Any) -> None:
        """Nothing asked yet."""
        super().__init__(url, clock)
        self.asked: list[Asked] = []

    def answer(self, asked: Asked) -> Answered:
        """Note and answer."""
        self.asked.append(asked)
        return super().answer(asked)

    def methods(self) -> list[str]:
        """The methods since last asked for."""
        methods = [asked.method for asked in self.asked]
        self.asked.clear()
        return methods


@dataclass
class Tried:
    """A loopback ServiceNow over HTTP and the adapter against it."""

    service: Recording
    desk: Desk
    adapter: ServiceNow


@pytest.fixture
def tried() -> Iterator[Tried]:
    """An empty ServiceNow; at the end its description may have rejected nothing."""
    made: list[tuple[Recording, Judged]] = []

    def maker(url: str, clock: Any) -> Judged:
        service = Recording(url, clock)
        made.append((service, Judged(service, openapi_judge("servicenow"))))
        return made[0][1]

    maker.name = "servicenow"  # type: ignore[attr-defined]
    desk = Desk(ScaledClock(), maker)
    desk.start()
    try:
        yield Tried(made[0][0], desk, servicenow(f"{desk.url}/servicenow"))
    finally:
        desk.stop()
    assert made[0][1].rejected == []


def servicenow(url: str, *, token: Callable[[], str] = lambda: TOKEN, **more: str) -> ServiceNow:
    """The adapter against this server."""
    return ServiceNow(api_url=url, user=USER, token=token, **more)


def a_page(
    title: str = "t",
    *,
    marker: str = MARKER,
    body: Document = (),
    grade: Grade = Grade.P2,
    labels: tuple[str, ...] = (),
) -> Page:
    """A page."""
    return Page(marker=marker, title=title, body=body, labels=(*labels, grade.value), grade=grade)


@pytest.mark.parametrize(
    "marker",
    [
        "m" * 150,
        "a^ORstate=1",
        "a^NQactive=true",
        "javascript:gs.sleep(9)",
        "JavaScript:gs",
        "with blank",
        "line\nbreak",
        "ünïcode",
        "a=b&c=d",
        "",
    ],
)
def test_marker_that_is_no_plain_value_is_hashed_and_found(tried: Tried, marker: str) -> None:
    """A query's own marks in a marker would make it a query for something else."""
    other = tried.adapter.create(a_page(marker="other")).id
    assert tried.adapter.find(marker) is None
    created = tried.adapter.create(a_page(marker=marker)).id
    found = tried.adapter.find(marker)
    assert found is not None
    assert (found.id, created != other) == (created, True)
    assert correlation_of(marker) != marker


@given(st.text(max_size=200), st.text(max_size=200))
def test_different_markers_have_different_correlation_ids(one: str, other: str) -> None:
    """No two incidents share a record; every id fits the field and is one value of a query."""
    assert (correlation_of(one) == correlation_of(other)) == (one == other)
    assert len(correlation_of(one)) <= MOST_CORRELATION
    assert re.fullmatch(r"[\w:/.@-]+", correlation_of(one), re.ASCII)


def test_marker_is_found_by_its_very_letters(tried: Tried) -> None:
    """ServiceNow's own comparison does not regard case."""
    upper = tried.adapter.create(a_page(marker="group/NODE/1")).id
    assert tried.adapter.find("group/node/1") is None
    lower = tried.adapter.create(a_page(marker="group/node/1")).id
    ids = [found.id for marker in ("group/NODE/1", "group/node/1") if (found := tried.adapter.find(marker))]
    assert ids == [upper, lower]


@pytest.mark.parametrize(
    "record", [RECORD, {**RECORD, "correlation_id": ""}, {**RECORD, "correlation_id": "of-another"}]
)
def test_query_whose_condition_was_left_out_is_unavailable(record: Any) -> None:
    """It answers every record there is: neither is one of them ours, nor does it say that ours is not there."""
    script = Script([answering(200, {"result": [record]})])
    with playing(script) as url, pytest.raises(TicketUnavailableError, match="correlation_id"):
        servicenow(url).find(MARKER)


def test_record_is_opened_in_one_call_and_in_full(tried: Tried) -> None:
    """Nothing of it can be lost between two calls; text is cut to its field."""
    desk = servicenow(f"{tried.desk.url}/servicenow", assignment_group="sre", category="software")
    ticket = desk.create(a_page("t" * 300, body=tuple(Code("d" * 490) for _ in range(20)), labels=("rolled_back",)))
    [asked] = tried.service.asked
    [record] = tried.service.records
    assert asked.body["assignment_group"] == "sre"
    assert asked.body["category"] == "software"
    assert (ticket.id, record["short_description"]) == (record["sys_id"], "t" * MOST_TITLE)
    assert len(record["description"]) == MOST_TEXT
    assert record["description"].endswith("(cut: too long)")
    assert record["notes"] == ["Labels: rolled_back, P2"]
    assert ticket.url.endswith(f"/nav_to.do?uri=incident.do%3Fsys_id%3D{ticket.id}")


def test_record_is_resolved_with_the_code_of_the_instance_s_own_list(tried: Tried) -> None:
    """The list differs from instance to instance, and one that lacks the code refuses."""
    desk = servicenow(f"{tried.desk.url}/servicenow", close_code="Known error")
    ticket = desk.create(a_page()).id
    desk.update(ticket, a_page(), TicketState.CLOSED)
    [record] = tried.service.records
    assert (record["state"], record["close_code"]) == ("6", "Known error")


def test_ticket_without_title_is_called_by_its_marker(tried: Tried) -> None:
    """The field is mandatory."""
    tried.adapter.create(a_page(""))
    assert tried.service.records[0]["short_description"] == MARKER


@pytest.mark.parametrize(
    ("grade", "impact", "urgency"),
    [(Grade.P1, "1", "1"), (Grade.P2, "2", "1"), (Grade.P3, "2", "2"), (Grade.P4, "3", "2")],
)
def test_grade_is_impact_and_urgency(tried: Tried, grade: Grade, impact: str, urgency: str) -> None:
    """From which ServiceNow makes the priority of the same number."""
    ticket = tried.adapter.create(a_page(grade=Grade.P3)).id
    tried.adapter.update(ticket, a_page(grade=grade), TicketState.OPEN)
    [record] = tried.service.records
    assert (record["impact"], record["urgency"]) == (impact, urgency)
    assert tried.service.shown()[0].labels == (grade.value,)


def test_update_writes_what_differs_once(tried: Tried) -> None:
    """Title, grade, labels and state go in one call; there is nothing to write a second time."""
    ticket = tried.adapter.create(a_page()).id
    tried.service.methods()
    for _ in range(2):
        tried.adapter.update(ticket, a_page("worse", grade=Grade.P1, labels=("held",)), TicketState.CLOSED)
    assert tried.service.methods() == ["GET", "PATCH", "GET"]
    assert tried.service.records[0]["notes"] == ["Labels: P2", "Labels: held, P1"]


def test_update_whose_answer_was_lost_loses_no_label(tried: Tried) -> None:
    """Tried again, it finds everything done."""
    ticket = tried.adapter.create(a_page()).id
    tried.desk.faults["servicenow"].lose_answers = 1
    with pytest.raises(TicketUnavailableError):
        tried.adapter.update(ticket, a_page("worse", labels=("held",)), TicketState.OPEN)
    tried.adapter.update(ticket, a_page("worse", labels=("held",)), TicketState.OPEN)
    assert tried.service.records[0]["notes"] == ["Labels: P2", "Labels: held, P2"]


@pytest.mark.parametrize(
    ("before", "wanted", "after"),
    [
        ("1", TicketState.ACKNOWLEDGED, "2"),
        ("2", TicketState.ACKNOWLEDGED, "2"),
        ("3", TicketState.ACKNOWLEDGED, "3"),
        ("6", TicketState.ACKNOWLEDGED, "2"),
        ("1", TicketState.CLOSED, "6"),
        ("3", TicketState.CLOSED, "6"),
        ("6", TicketState.CLOSED, "6"),
        ("7", TicketState.CLOSED, "7"),
        ("8", TicketState.CLOSED, "8"),
        ("1", TicketState.OPEN, "1"),
        ("2", TicketState.OPEN, "2"),
        ("3", TicketState.OPEN, "3"),
        ("6", TicketState.OPEN, "1"),
        ("7", TicketState.OPEN, "1"),
    ],
)
def test_state_is_changed_only_where_it_differs(tried: Tried, before: str, wanted: TicketState, after: str) -> None:
    """What people set stays where it means the same: on hold is taken on, cancelled is over."""
    ticket = tried.adapter.create(a_page()).id
    tried.service.records[0]["state"] = before
    tried.adapter.update(ticket, a_page(), wanted)
    assert tried.service.records[0]["state"] == after


@pytest.mark.parametrize(
    ("code", "assigned", "state"),
    [
        ("1", "", TicketState.OPEN),
        ("1", {"link": "https://now.test/u", "value": SYS_ID}, TicketState.ACKNOWLEDGED),
        ("2", "", TicketState.ACKNOWLEDGED),
        ("3", "", TicketState.ACKNOWLEDGED),
        ("6", "", TicketState.CLOSED),
        ("7", {"link": "https://now.test/u", "value": SYS_ID}, TicketState.CLOSED),
        ("8", "", TicketState.CLOSED),
    ],
)
def test_state_is_read_as_people_left_it(tried: Tried, code: str, assigned: Any, state: TicketState) -> None:
    """Assigned to somebody is taken on; resolved, closed and cancelled are over."""
    ticket = tried.adapter.create(a_page()).id
    tried.service.records[0] |= {"state": code, "assigned_to": assigned}
    assert tried.adapter.read(ticket).state is state


def test_note_is_looked_for_on_every_page(tried: Tried) -> None:
    """The newest come first: a note whose answer was lost is nearly always among them."""
    ticket = tried.adapter.create(a_page()).id
    tried.adapter.comment(ticket, (paragraph("first"),), marker="m-1")
    people = ["somebody's note"] * (2 * A_PAGE)
    tried.service.records[0]["notes"] += people
    tried.service.methods()
    tried.adapter.comment(ticket, (paragraph("first"),), marker="m-1")
    assert tried.service.methods() == ["GET", "GET", "GET"]
    tried.adapter.comment(ticket, (paragraph("second"),), marker="m-10")
    tried.service.methods()
    tried.adapter.comment(ticket, (paragraph("second"),), marker="m-10")
    assert tried.service.methods() == ["GET"]


def test_long_note_keeps_its_marker(tried: Tried) -> None:
    """And is therefore added once."""
    ticket = tried.adapter.create(a_page()).id
    for _ in range(2):
        tried.adapter.comment(ticket, tuple(Code("n" * 490) for _ in range(20)), marker="m-1")
    [_, note] = tried.service.records[0]["notes"]
    assert note.endswith("\n(cut: too long)\n\n(m-1)")
    assert len(note) == MOST_TEXT


@given(HOSTILE | st.text())
def test_text_for_a_journal_opens_no_code_and_calls_nobody(raw: str) -> None:
    """Whatever it holds; every character of it stays readable, and doing it twice changes nothing that is obeyed."""
    assert OBEYED.search(inert(raw)) is None
    assert inert(raw).replace("\u200d", "") == raw.replace("\u200d", "")


def test_whole_note_opens_no_code_and_calls_nobody() -> None:
    """Nor do the pieces together: the labels, the text between our own words, and the marker."""
    script = Script([])
    with playing(script) as url:
        tracker = servicenow(url)

        @given(st.lists(HOSTILE, min_size=1, max_size=4), HOSTILE)
        def check(texts: list[str], marker: str) -> None:
            script.answers[:] = [answering(200, {"result": []}), answering(200, {"result": RECORD})]
            script.sent.clear()
            said = (paragraph("a ", text, link(text, "https://ours.test")) for text in texts)
            body: Document = (Heading(texts[0]), *said, Code(texts[-1]))
            tracker.comment(SYS_ID, body, marker=marker)
            tracker.create(a_page(marker=marker, body=body, labels=tuple(texts)))
            notes = [sent["work_notes"] for *_, sent in script.sent if sent is not None]
            assert [OBEYED.search(note) for note in notes] == [None, None]

        check()


def test_page_shows_html_of_nobody(tried: Tried) -> None:
    """As people see it: neither in the description, nor in a note, nor from a label or a marker."""
    hostile = "[code]<img src=x>[/code]"
    ticket = tried.adapter.create(a_page(hostile, body=(paragraph(hostile),), labels=(hostile,))).id
    tried.adapter.comment(ticket, (Code(hostile), paragraph(hostile)), marker=hostile)
    [shown] = tried.service.shown()
    assert len(shown.parts) == 2
    assert all("&lt;img" in part and "<img" not in part for part in shown.parts)
    obeying = ServiceNowService("http://loopback.test", ScaledClock())
    obeying.answer(post("/api/now/table/incident", {**GOOD, "work_notes": hostile}))
    assert obeying.shown()[0].parts[1] == "<pre><img src=x></pre>"  # as it would look, were it sent as it came


def test_ticket_id_cannot_leave_its_path_or_its_query() -> None:
    """An id is one part of a path and one value of a query, whatever is in it."""
    script = Script([answering(200, {"result": []}), answering(200, {"result": RECORD})])
    with playing(script) as url:
        servicenow(url).comment("../sys_user?x=^ORelement=comments", (paragraph("n"),), marker="m-1")
    [(_, journal, _, _), (_, path, _, _)] = script.sent
    assert "element_id%3Dsysuserx" in journal
    assert journal.count("%5E") == 2
    assert path.startswith("/api/now/table/incident/..%2Fsys_user%3Fx%3D%5EOR")


CALLS: dict[str, Callable[[ServiceNow], object]] = {
    "find": lambda tracker: tracker.find(MARKER),
    "create": lambda tracker: tracker.create(a_page()),
    "comment": lambda tracker: tracker.comment(SYS_ID, (paragraph("n"),), marker="m-1"),
    "update": lambda tracker: tracker.update(SYS_ID, a_page(), TicketState.OPEN),
    "read": lambda tracker: tracker.read(SYS_ID),
}


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (
            answering(400, {"error": {"message": "Invalid table", "detail": None}, "status": "failure"}),
            "(Invalid table)",
        ),
        (answering(401, {"error": {"message": "User Not Authenticated", "detail": "d"}, "status": "failure"}), "renew"),
        (
            answering(403, {"error": {"message": "Failed", "detail": "notes are mandatory"}}),
            "(Failed: notes are mandatory)",
        ),
        (answering(404, {"error": {"message": "No Record found", "detail": "d"}}), "was deleted"),
        (answering(405, {"error": "no object"}), "not what ServiceNow documents"),
        (answering(500, b"<html>"), "trouble"),
        (answering(503, b"[]"), "trouble"),
    ],
)
@pytest.mark.parametrize("call", CALLS)
def test_refusal_names_status_and_advice_and_no_password(answer: Any, says: str, call: str) -> None:
    """A person who reads the log knows what to do; nothing is retried here."""
    script = Script([answer])
    with playing(script) as url, pytest.raises(TicketUnavailableError) as caught:
        CALLS[call](servicenow(url))
    assert f"answered {answer[0]}" in str(caught.value)
    assert says in str(caught.value)
    assert TOKEN not in str(caught.value)
    assert SECRET not in str(caught.value)
    assert len(script.sent) == 1
    assert script.sent[0][2]["Authorization"] == f"Basic {SECRET}"


@pytest.mark.parametrize("quoted", [TOKEN, SECRET])
def test_password_that_a_gateway_repeats_is_not_shown(quoted: str) -> None:
    """Neither as it is nor as it is sent."""
    body = {"error": {"message": "bad credentials", "detail": quoted}, "status": "failure"}
    with playing(Script([answering(401, body)])) as url, pytest.raises(TicketUnavailableError) as caught:
        servicenow(url).find(MARKER)
    assert "(bad credentials: [redacted])" in str(caught.value)


@pytest.mark.parametrize(("headers", "seconds"), [({}, 60.0), ({"Retry_After": "1800"}, 1800.0)])
def test_rate_limit_says_how_long_to_stay_away(headers: dict[str, str], seconds: float) -> None:
    """ServiceNow counts requests by the hour."""
    with playing(Script([answering(429, {}, **headers)])) as url, pytest.raises(TicketUnavailableError) as caught:
        servicenow(url).find(MARKER)
    assert caught.value.retry_after == seconds


@pytest.mark.parametrize("body", [b"<html>", b"", b"{}", b"[]", b'{"result": null}', b'{"result": "text"}'])
@pytest.mark.parametrize("call", CALLS)
def test_answer_without_result_is_unavailable(body: bytes, call: str) -> None:
    """A page of the single sign-on, or of an instance that sleeps, is not an empty list."""
    with playing(Script([answering(200, body)])) as url, pytest.raises(TicketUnavailableError):
        CALLS[call](servicenow(url))


@pytest.mark.parametrize("record", [{}, {"sys_id": ""}, {"sys_id": 5}])
def test_record_without_id_is_unavailable(record: Any) -> None:
    """What cannot be found again was not delivered."""
    with playing(Script([answering(201, {"result": record})])) as url, pytest.raises(TicketUnavailableError):
        servicenow(url).create(a_page())


@pytest.mark.parametrize("error", [DeniedError("no"), NotFoundError("none"), MisconfiguredError("bad")])
def test_password_that_cannot_be_read_is_unavailable(error: Exception) -> None:
    """A missing secret keeps tickets pending; it does not fail a tick."""

    def refuse() -> str:
        raise error

    with pytest.raises(TicketUnavailableError, match="could not read the token"):
        servicenow("http://127.0.0.1:1", token=refuse).find(MARKER)


GOOD = {"short_description": "t", "correlation_id": "c", "impact": "1", "urgency": "1"}
BAD = {
    "no title": {"correlation_id": "c", "impact": "1", "urgency": "1"},
    "long title": {**GOOD, "short_description": "t" * 161},
    "long description": {**GOOD, "description": "d" * 4001},
    "long correlation id": {**GOOD, "correlation_id": "c" * 101},
    "unknown impact": {**GOOD, "impact": "4"},
    "unknown state": {**GOOD, "state": "9"},
    "unknown field": {**GOOD, "work_note": "n"},
    "long note": {**GOOD, "work_notes": "n" * 4001},
}


@pytest.mark.parametrize("name", BAD)
def test_judge_refuses_what_servicenow_would_lose_in_silence(name: str) -> None:
    """ServiceNow cuts and passes over; the judge says so."""
    judge = openapi_judge("servicenow")
    judge.request(post("/api/now/table/incident", GOOD))
    with pytest.raises(AssertionError):
        judge.request(post("/api/now/table/incident", BAD[name]))


@pytest.mark.parametrize(
    "query", ["", "correlation_id=a^ORstate=1^ORDERBYsys_created_on", "number=INC1^ORDERBYsys_created_on"]
)
def test_judge_refuses_queries_for_anything_else(query: str) -> None:
    """Only a correlation id is looked for."""
    asked = Asked(
        method="GET",
        path="/api/now/table/incident",
        query={"sysparm_query": query},
        headers={"authorization": f"Basic {SECRET}"},
    )
    with pytest.raises(AssertionError):
        openapi_judge("servicenow").request(asked)


@pytest.mark.parametrize(
    ("method", "path", "secret", "body", "status"),
    [
        ("GET", f"/api/now/table/incident/{SYS_ID}", "bm9ib2R5Om5vdGhpbmc=", None, 401),
        ("GET", f"/api/now/table/incident/{SYS_ID}", "no base64", None, 401),
        ("GET", f"/api/now/table/incident/{SYS_ID}", SECRET, None, 404),
        ("PATCH", "/api/now/table/incident/FIRST", SECRET, {"state": "6"}, 403),
    ],
)
def test_refusal_has_the_documented_shape(method: str, path: str, secret: str, body: Any, status: int) -> None:
    """A stranger, a record that is not there, and a resolution without a code."""
    service = ServiceNowService("http://loopback.test", ScaledClock())
    service.answer(post("/api/now/table/incident", GOOD))
    path = path.replace("FIRST", service.records[0]["sys_id"])
    asked = Asked(method=method, path=path, headers={"authorization": f"Basic {secret}"}, body=body)
    answered = service.answer(asked)
    assert (answered.status, service.records[0]["state"]) == (status, "1")
    openapi_judge("servicenow").response(asked, answered)


def post(path: str, body: Any) -> Asked:
    """A JSON request."""
    headers = {"authorization": f"Basic {SECRET}"}
    return Asked(method="POST", path=path, headers=headers, body=body, raw=json.dumps(body).encode())
