"""The contract of `Tracker`: on the fake, and on each adapter against its loopback tracker over HTTP.

Each request of ours and each answer of the loopback is judged by the vendor's own description on the way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import urllib3

from chalicelib.errors import TicketGoneError, TicketUnavailableError
from chalicelib.incident.document import Document, paragraph
from chalicelib.incident.model import Grade, TicketState
from chalicelib.incident.ports import Page, Tracker
from chalicelib.tickets import http
from chalicelib.tickets.github import GitHubIssues
from chalicelib.tickets.jira import JiraIssues
from chalicelib.tickets.pagerduty import PagerDuty
from chalicelib.tickets.servicenow import ServiceNow
from chalicelib.tickets.slack import SlackThread
from sandbox.clock import ScaledClock
from sandbox.trackers.desk import TOKENS, Desk, Faults
from sandbox.trackers.github import GitHub
from sandbox.trackers.jira import PROJECT, Jira
from sandbox.trackers.pagerduty import PagerDuty as PagerDutyService
from sandbox.trackers.service import Service
from sandbox.trackers.servicenow import ServiceNow as ServiceNowService
from sandbox.trackers.slack import CHANNEL, Slack
from tests.fakes.tracker import FakeTracker
from tests.tickets.judges import Judged, Judging, openapi_judge
from tests.tickets.test_slack import SlackJudge

# openapi-core knows no OAuth2; our tokens are judged by the loopback trackers themselves
pytestmark = pytest.mark.filterwarnings("ignore:Unsupported scheme type:UserWarning")

MARKER = "xai-ops:staging/nodes/r-1/1"
LONG = f"xai-ops:staging/{'node-' * 33}/memory_high/1"  # near the most that a marker is
BODY: Document = (paragraph("the body"),)


@dataclass(frozen=True, kw_only=True)
class Can:
    """What not every tracker can do, by its vendor's documentation."""

    acknowledge: bool = True  # keeps an acknowledgement of ours; where not, that is for people alone
    reopen: bool = True  # a reopened ticket is the same ticket; where not, it is a new one under the same id of ours
    miss: bool = True  # says that a ticket is not there; where not, none can be deleted
    resolved: str = ""  # what stands before a resolved ticket's title where a ticket has no state of its own


@dataclass(frozen=True, kw_only=True)
class Vendor:
    """How one tracker is made."""

    service: Callable[..., Service]
    adapter: Callable[[str, Callable[[], str]], Tracker]
    judge: Callable[[], Judging]
    secret: tuple[str, str]
    can: Can = Can()
    nowhere: str = "999"  # an id of the vendor's shape that no ticket has


VENDORS: Mapping[str, Vendor] = {
    "github": Vendor(
        service=GitHub,
        adapter=lambda url, token: GitHubIssues(
            api_url=url, repository="xai/operations", token=token, labels=("xai-ops",)
        ),
        judge=lambda: openapi_judge("octokit"),
        secret=("github", "token_secret"),
        can=Can(acknowledge=False),  # an assignee is a person
    ),
    "jira": Vendor(
        service=Jira,
        adapter=lambda url, token: JiraIssues(
            api_url=url, project=PROJECT, user="ops@xai.test", token=token, labels=("xai-ops",)
        ),
        judge=lambda: openapi_judge("jira"),
        secret=("jira", "token_secret"),
    ),
    "pagerduty": Vendor(
        service=PagerDutyService,
        adapter=lambda url, token: PagerDuty(
            api_url=url,
            rest_url=url,
            routing_key=lambda: TOKENS["pagerduty", "routing_key_secret"],
            source="xai-staging",
            token=token,
            user="ops@xai.test",
        ),
        judge=lambda: openapi_judge("pagerduty"),
        secret=("pagerduty", "token_secret"),
        # a trigger after a resolve opens a new incident: https://support.pagerduty.com/main/docs/event-management
        can=Can(reopen=False, miss=False),
    ),
    "servicenow": Vendor(
        service=ServiceNowService,
        adapter=lambda url, token: ServiceNow(api_url=url, user="xai-ops", token=token),
        judge=lambda: openapi_judge("servicenow"),
        secret=("servicenow", "token_secret"),
        nowhere="0" * 32,
    ),
    "slack": Vendor(
        service=Slack,
        adapter=lambda url, token: SlackThread(api_url=f"{url}/api", channel=CHANNEL, token=token),
        judge=SlackJudge,
        secret=("slack", "token_secret"),
        can=Can(resolved="Resolved: "),  # a message is all there is
    ),
}


@dataclass
class Tried:
    """A tracker of either kind, what people see there, and what is wrong with it."""

    tracker: Tracker
    fake: FakeTracker | None = None
    desk: Desk | None = None
    service: Any = None
    token: str = ""
    can: Can = Can()
    nowhere: str = "999"
    anew: Callable[[], Tracker] | None = None  # the same tracker as the next Lambda knows it: with nothing remembered

    @property
    def faults(self) -> Faults:
        """What is wrong with the tracker."""
        assert self.desk is not None
        return self.desk.faults[self.service.name]

    def only_ticket_is_untouched(self) -> bool:
        """Whether the one ticket that was opened looks as it did."""
        return (self.titles(), self.comments()) == ([f"about {MARKER}"], []) and {"rolled_back", "P2"} <= self.labels()

    def titles(self) -> list[str]:
        """The titles of all tickets, oldest first."""
        return [t.title for t in self.fake.tickets] if self.fake else [s.title for s in self.service.shown()]

    def labels(self) -> set[str]:
        """The first ticket's labels."""
        return set(self.fake.tickets[0].labels if self.fake else self.service.shown()[0].labels)

    def comments(self) -> list[str]:
        """The first ticket's comments, oldest first."""
        if self.fake:
            return [repr(comment) for comment in self.fake.tickets[0].comments.values()]
        return list(self.service.shown()[0].parts[1:])

    def body(self) -> str:
        """The first ticket's opening text."""
        return repr(self.fake.tickets[0].body) if self.fake else str(self.service.shown()[0].parts[0])

    def people(self, ticket: str, state: TicketState) -> None:
        """A person acts on a ticket."""
        if self.fake:
            next(t for t in self.fake.tickets if t.id == ticket).state = state
        elif state is TicketState.CLOSED:
            self.service.close(ticket)
        else:
            self.service.acknowledge(ticket)


@pytest.fixture(params=["fake", *VENDORS])
def tried(request: pytest.FixtureRequest) -> Iterator[Tried]:
    """An empty tracker of either kind."""
    if request.param == "fake":
        fake = FakeTracker()
        yield Tried(fake, fake=fake)
        return
    yield from judged(VENDORS[request.param])


@pytest.fixture(params=VENDORS)
def vendor(request: pytest.FixtureRequest) -> Iterator[Tried]:
    """An empty tracker over HTTP."""
    yield from judged(VENDORS[request.param])


def judged(vendor: Vendor) -> Iterator[Tried]:
    """A vendor's adapter against its loopback; at the end nothing may have been rejected."""
    made: list[Judged] = []

    def maker(url: str, clock: Any) -> Service:
        made.append(Judged(vendor.service(url, clock), vendor.judge()))
        return made[0]

    maker.name = vendor.service.name  # type: ignore[attr-defined]
    desk = Desk(ScaledClock(), maker)
    desk.start()
    token = TOKENS[vendor.secret]
    try:
        url = f"{desk.url}/{vendor.service.name}"  # type: ignore[attr-defined]
        anew = partial(vendor.adapter, url, lambda: token)
        yield Tried(anew(), desk=desk, service=made[0], token=token, can=vendor.can, nowhere=vendor.nowhere, anew=anew)
    finally:
        desk.stop()
    assert made[0].rejected == []


def a_page(marker: str = MARKER, *, title: str = "", grade: Grade = Grade.P2, labels: tuple[str, ...] = ()) -> Page:
    """A page."""
    return Page(
        marker=marker,
        title=title or f"about {marker}",
        body=BODY,
        labels=(*labels, "rolled_back", grade.value),
        grade=grade,
    )


def opened(tried: Tried, marker: str = MARKER) -> str:
    """Open a ticket and return its id."""
    return tried.tracker.create(a_page(marker)).id


def test_nothing_opened_finds_nothing(tried: Tried) -> None:
    """An unknown marker has no ticket."""
    assert tried.tracker.find(MARKER) is None


@pytest.mark.parametrize("marker", [MARKER, LONG])
def test_opened_ticket_is_found_by_its_marker_only(tried: Tried, marker: str) -> None:
    """Markers of which one begins like the other are told apart."""
    first, other = opened(tried, marker), opened(tried, f"{marker}0")
    found, found_other = tried.tracker.find(marker), tried.tracker.find(f"{marker}0")
    assert tried.tracker.find(marker[:-1]) is None
    assert found is not None
    assert found_other is not None
    assert (found.id, found.state, found_other.id) == (first, TicketState.OPEN, other)
    assert found.url


def test_ticket_carries_title_labels_and_body(tried: Tried) -> None:
    """What was given is what people see."""
    opened(tried)
    assert tried.titles() == [f"about {MARKER}"]
    assert {"rolled_back", "P2"} <= tried.labels()
    assert "the body" in tried.body()


def test_comment_with_the_same_marker_is_added_once(tried: Tried) -> None:
    """A comment whose answer was lost is not doubled; another one is added."""
    ticket = opened(tried)
    tried.tracker.comment(ticket, (paragraph("first"),), marker="rep-1")
    tried.tracker.comment(ticket, (paragraph("first"),), marker="rep-1")
    tried.tracker.comment(ticket, (paragraph("second"),), marker="rep-10")
    assert len(tried.comments()) == 2
    assert ["first" in tried.comments()[0], "second" in tried.comments()[1]] == [True, True]


def test_updated_ticket_has_new_title_and_grade_and_keeps_its_body(tried: Tried) -> None:
    """A risen grade takes the place of the outdated one; twice is as good as once."""
    ticket = opened(tried)
    worse = a_page(title="worse", grade=Grade.P1, labels=("held",))
    for _ in range(2):
        tried.tracker.update(ticket, worse, TicketState.OPEN)
    assert tried.titles() == ["worse"]
    assert {"held", "P1"} <= tried.labels()
    assert "P2" not in tried.labels()
    assert "the body" in tried.body()
    found = tried.tracker.find(MARKER)
    assert found is not None
    assert found.id == ticket


def test_update_is_of_one_ticket(tried: Tried) -> None:
    """A ticket beside it stays as it is."""
    ticket, beside = opened(tried, f"{MARKER}0"), opened(tried)
    tried.tracker.update(ticket, a_page(f"{MARKER}0", title="worse"), TicketState.CLOSED)
    assert sorted(tried.titles()) == sorted([f"{tried.can.resolved}worse", f"about {MARKER}"])
    assert tried.tracker.read(beside).state is TicketState.OPEN


def test_resolved_ticket_is_closed_and_can_be_reopened(tried: Tried) -> None:
    """And is still found by its marker meanwhile."""
    ticket = opened(tried)
    for state in (TicketState.CLOSED, TicketState.CLOSED, TicketState.OPEN):
        tried.tracker.update(ticket, a_page(), state)
        assert tried.tracker.read(ticket).state is state
        found = tried.tracker.find(MARKER)
        assert found is not None
        assert (found.id, found.state) == (ticket, state)


@pytest.mark.parametrize("state", [TicketState.ACKNOWLEDGED, TicketState.CLOSED])
def test_what_people_did_is_read_back(tried: Tried, state: TicketState) -> None:
    """A person takes a ticket on, or closes it."""
    ticket = opened(tried)
    assert tried.tracker.read(ticket).state is TicketState.OPEN
    tried.people(ticket, state)
    assert tried.tracker.read(ticket).state is state
    found = tried.tracker.find(MARKER)
    assert found is not None
    assert (found.id, found.state) == (ticket, state)


def test_acknowledgement_by_a_person_outlives_our_update(tried: Tried) -> None:
    """The trouble got worse: who took the ticket on still has it."""
    ticket = opened(tried)
    tried.people(ticket, TicketState.ACKNOWLEDGED)
    # the run says OPEN of everything that is not over; the fake keeps what it is told
    tried.tracker.update(ticket, a_page(title="worse"), TicketState.ACKNOWLEDGED if tried.fake else TicketState.OPEN)
    assert tried.titles() == ["worse"]
    assert tried.tracker.read(ticket).state is TicketState.ACKNOWLEDGED


def test_ticket_closed_by_a_person_can_be_reopened(tried: Tried) -> None:
    """The trouble came back: it goes by the same id, and is the same ticket where the tracker has no other way."""
    ticket = opened(tried)
    tried.people(ticket, TicketState.CLOSED)
    tried.tracker.update(ticket, a_page(), TicketState.OPEN)
    assert tried.tracker.read(ticket).state is TicketState.OPEN
    assert len(tried.titles()) == (1 if tried.can.reopen else 2)


def test_our_acknowledgement_is_kept_where_the_tracker_has_one(tried: Tried) -> None:
    """Where it has none the ticket stays open; twice is as good as once."""
    ticket = opened(tried)
    for _ in range(2):
        tried.tracker.update(ticket, a_page(), TicketState.ACKNOWLEDGED)
        kept = TicketState.ACKNOWLEDGED if tried.can.acknowledge else TicketState.OPEN
        assert tried.tracker.read(ticket).state is kept


def test_text_from_outside_is_shown_and_not_obeyed(vendor: Tried) -> None:
    """In each tracker's own page: no script, no link, no picture of the text's own."""
    hostile = (
        "<script>alert(1)</script> <!channel> @here [a](https://evil.test) ![b](https://evil.test/p.png) "
        "{code} [~ann] <img src=x> _www.evil.test https://evil.test"
    )
    vendor.tracker.create(
        Page(marker=MARKER, title=hostile, body=(paragraph(hostile),), labels=("P2",), grade=Grade.P2)
    )
    shown = vendor.body()
    assert "alert(1)" in shown
    assert "<script" not in shown
    assert "<img" not in shown
    assert 'href="https://evil' not in shown


@pytest.mark.parametrize("tried", ["fake", *(name for name, each in VENDORS.items() if each.can.miss)], indirect=True)
@pytest.mark.parametrize("call", ["comment", "read", "update"])
def test_ticket_that_is_not_there_is_gone(tried: Tried, call: str) -> None:
    """Whoever deleted it, the outbox must not take it for told, and no other ticket is changed in its place."""
    opened(tried)
    with pytest.raises(TicketGoneError):
        CALLS[call](tried.tracker, tried.nowhere)
    assert tried.only_ticket_is_untouched()


@pytest.mark.parametrize("length", [200, 300, 3000])
def test_title_of_any_length_is_taken(tried: Tried, length: int) -> None:
    """Cut to what the vendor takes, when a ticket is opened and when it is updated."""
    page = a_page(title=f"first {'t' * length}")
    ticket = tried.tracker.create(page).id
    assert tried.titles()[0].startswith("first ttt")
    tried.tracker.update(ticket, a_page(title=f"worse {'t' * length}"), TicketState.OPEN)
    assert tried.titles()[0].startswith("worse ttt")


CALLS: dict[str, Callable[[Tracker, str], object]] = {
    "find": lambda tracker, _: tracker.find(MARKER),
    "create": lambda tracker, _: tracker.create(a_page("other", title="late")),
    "comment": lambda tracker, ticket: tracker.comment(ticket, BODY, marker="rep-2"),
    "update": lambda tracker, ticket: tracker.update(ticket, a_page(title="late"), TicketState.CLOSED),
    "read": lambda tracker, ticket: tracker.read(ticket),
}


@pytest.mark.parametrize("call", CALLS)
def test_tracker_that_is_down_is_unavailable(tried: Tried, call: str) -> None:
    """Every method says so with the one error that the outbox waits out, and nothing was changed."""
    ticket = opened(tried)
    broken: Any = tried.fake or tried.desk
    broken.down = True
    with pytest.raises(TicketUnavailableError):
        CALLS[call](tried.tracker, ticket)
    broken.down = False
    assert tried.only_ticket_is_untouched()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 429, 500])
@pytest.mark.parametrize("call", CALLS)
def test_refusal_names_its_status_and_no_secret(vendor: Tried, call: str, status: int) -> None:
    """A person who reads the log knows what to do; what a vendor asks for in time it gets."""
    ticket = opened(vendor)
    vendor.faults.refuse = [(status, {"Retry-After": "77"})] * 9
    with pytest.raises(TicketUnavailableError) as caught:
        CALLS[call](vendor.tracker, ticket)
    vendor.faults.refuse = []
    assert str(status) in str(caught.value)
    assert vendor.token not in str(caught.value)
    assert caught.value.retry_after == 77
    assert vendor.only_ticket_is_untouched()


@pytest.mark.parametrize("call", CALLS)
def test_answer_that_is_no_json_is_unavailable(vendor: Tried, call: str) -> None:
    """A proxy's page with 200 is neither an empty list nor a change that came through."""
    ticket = opened(vendor)
    vendor.faults.proxied = True
    with pytest.raises(TicketUnavailableError) as caught:
        CALLS[call](vendor.tracker, ticket)
    vendor.faults.proxied = False
    assert vendor.token not in str(caught.value)
    assert vendor.only_ticket_is_untouched()


@pytest.mark.parametrize("call", CALLS)
def test_tracker_that_is_too_slow_is_unavailable(vendor: Tried, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tick is not held up. What was asked may still be done later: the next find or comment sees it."""
    ticket = opened(vendor)
    vendor.faults.slow_seconds = 2.0
    monkeypatch.setattr(http, "READ_SECONDS", 0.1)
    assert vendor.anew is not None
    with pytest.raises(TicketUnavailableError, match="could not reach") as caught:
        CALLS[call](vendor.anew(), ticket)
    assert vendor.token not in str(caught.value)


def test_create_whose_answer_was_lost_is_found(vendor: Tried) -> None:
    """It was performed, and the connection closed: looking finds it, so nobody creates a second one."""
    assert vendor.anew is not None
    assert vendor.tracker.find(MARKER) is None  # an adapter may have to learn who it is first
    vendor.faults.lose_answers = 1
    with pytest.raises(TicketUnavailableError):
        opened(vendor)
    assert vendor.faults.lose_answers == 0
    found = vendor.anew().find(MARKER)
    assert found is not None
    assert len(vendor.titles()) == 1


def test_comment_whose_answer_was_lost_is_not_repeated(vendor: Tried) -> None:
    """It was performed, and the connection closed: the next try sees it."""
    ticket = opened(vendor)
    assert vendor.anew is not None
    vendor.faults.lose_answers = 1
    with pytest.raises(TicketUnavailableError):
        vendor.tracker.comment(ticket, BODY, marker="rep-1")
    assert vendor.faults.lose_answers == 0
    vendor.anew().comment(ticket, BODY, marker="rep-1")
    assert len(vendor.comments()) == 1


def test_update_whose_answer_was_lost_is_repeated_without_harm(vendor: Tried) -> None:
    """It may have come through, or through in part."""
    ticket = opened(vendor)
    worse = a_page(title="worse", grade=Grade.P1)
    vendor.faults.lose_answers = 1
    with pytest.raises(TicketUnavailableError):
        vendor.tracker.update(ticket, worse, TicketState.OPEN)
    assert vendor.faults.lose_answers == 0
    vendor.tracker.update(ticket, worse, TicketState.OPEN)
    assert vendor.titles() == ["worse"]
    assert "P1" in vendor.labels()
    assert "P2" not in vendor.labels()


@pytest.mark.parametrize("state", [TicketState.CLOSED, TicketState.OPEN])
def test_state_whose_answer_was_lost_is_set_by_the_next_try(vendor: Tried, state: TicketState) -> None:
    """Resolved and reopened alike, and of one ticket no second is made by trying again."""
    ticket = opened(vendor)
    if state is TicketState.OPEN:
        vendor.people(ticket, TicketState.CLOSED)
    vendor.faults.lose_answers = 1
    with pytest.raises(TicketUnavailableError):
        vendor.tracker.update(ticket, a_page(), state)
    vendor.tracker.update(ticket, a_page(), state)
    assert vendor.tracker.read(ticket).state is state
    assert len(vendor.titles()) == (1 if vendor.can.reopen or state is TicketState.CLOSED else 2)


def test_pages_show_what_people_need_and_nothing_of_the_texts_own(vendor: Tried) -> None:
    """The desk's list and the ticket's page: title, state, opening text and comments, all escaped, on any screen."""
    hostile = "<script>alert(1)</script>"
    made = vendor.tracker.create(
        Page(marker=MARKER, title=hostile, body=(paragraph(hostile),), labels=("P2",), grade=Grade.P2)
    )
    vendor.tracker.comment(made.id, (paragraph("it is ", hostile),), marker="rep-1")
    assert vendor.desk is not None
    pool = urllib3.PoolManager(retries=False)
    listed = pool.request("GET", vendor.desk.url + "/")
    [address] = re.findall(r'href="(/tickets/[^"]+)"', listed.data.decode())
    shown = pool.request("GET", vendor.desk.url + address)
    missing = pool.request("GET", f"{vendor.desk.url}/tickets/{vendor.service.name}/none")
    assert (listed.status, shown.status, missing.status) == (200, 200, 404)
    for page in (listed, shown):
        assert "<script" not in page.data.decode()
        assert "alert(1)" in page.data.decode()
        assert "width=device-width" in page.data.decode()
        assert "color-scheme:light dark" in page.data.decode()
        assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert shown.data.decode().count("<article>") == 2
