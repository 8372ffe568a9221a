"""Jira's adapter at its edges: the lagging search, other workflows, limits, refusals."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib.errors import TicketUnavailableError
from chalicelib.incident.document import paragraph
from chalicelib.incident.model import Grade, TicketState
from chalicelib.incident.ports import Page
from chalicelib.tickets.jira import INDEX_LAG_SECONDS, MOST_SUMMARY, PROPERTY, JiraIssues, fingerprint
from tests.tickets.loopback import Script, answering, playing

TOKEN = "ATATT3xNotARealToken"
MARKER = "xai-ops:staging/nodes/r-1/1"


def jira(url: str) -> JiraIssues:
    """The adapter against this server."""
    return JiraIssues(api_url=url, project="OPS", user="ops@xai.test", token=lambda: TOKEN, labels=("xai-ops",))


def a_page(title: str = "t", labels: tuple[str, ...] = ("P2",)) -> Page:
    """A page."""
    return Page(marker=MARKER, title=title, body=(paragraph("body"),), labels=labels, grade=Grade.P2)


def an_issue(marker: str = MARKER, category: str = "new", **fields: Any) -> dict[str, Any]:
    """An issue as Jira's search shows it."""
    status = {"status": {"statusCategory": {"key": category}}}
    return {"key": "OPS-7", "fields": {**status, "labels": [], **fields}, "properties": {PROPERTY: {"marker": marker}}}


def test_create_sends_a_document_one_line_and_labels_without_blanks() -> None:
    """And the marker exactly, in a property, beside the label that it is looked for by."""
    script = Script([answering(201, {"id": "1", "key": "OPS-1", "self": "x"})])
    with playing(script) as url:
        ticket = jira(url).create(a_page("a\nb " + "x" * 400, ("two words", "P2")))
    sent = script.sent[0][3]
    assert (ticket.id, ticket.url) == ("OPS-1", f"{url}/browse/OPS-1")
    assert sent["fields"]["labels"] == ["xai-ops", "two_words", "P2", fingerprint(MARKER)]
    assert sent["fields"]["description"]["type"] == "doc"
    assert len(sent["fields"]["summary"]) == MOST_SUMMARY
    assert "\n" not in sent["fields"]["summary"]
    assert sent["properties"] == [{"key": PROPERTY, "value": {"marker": MARKER}}]


@pytest.mark.parametrize("answer", [answering(503, {}), answering(201, {}), answering(201, b"<html>")])
def test_create_in_doubt_is_tried_again_only_when_the_search_must_know_it(answer: Any) -> None:
    """The issue may be there, and Jira's search sees it up to minutes later: a second one would be made."""
    with playing(Script([answer])) as url, pytest.raises(TicketUnavailableError) as caught:
        jira(url).create(a_page())
    assert caught.value.retry_after == INDEX_LAG_SECONDS


def test_issue_with_our_label_and_another_marker_is_not_the_one() -> None:
    """A label is short, and people copy issues with their labels."""
    script = Script([answering(200, {"issues": [an_issue(f"{MARKER}0"), {"key": "OPS-8", "fields": {}}]})])
    with playing(script) as url:
        assert jira(url).find(MARKER) is None
    assert fingerprint(MARKER) in script.sent[0][3]["jql"]


@pytest.mark.parametrize(
    ("category", "fields", "state"),
    [
        ("new", {}, TicketState.OPEN),
        ("new", {"assignee": {"accountId": "1"}}, TicketState.ACKNOWLEDGED),
        ("indeterminate", {}, TicketState.ACKNOWLEDGED),
        ("done", {"assignee": {"accountId": "1"}}, TicketState.CLOSED),
    ],
)
def test_state_is_read_from_the_statuss_category(category: str, fields: dict[str, Any], state: TicketState) -> None:
    """Statuses have other names in each workflow; categories have not."""
    with playing(Script([answering(200, an_issue(category=category, **fields))])) as url:
        assert jira(url).read("OPS-7").state is state


def test_workflow_without_such_a_transition_is_named() -> None:
    """The operator learns what the workflow offers."""
    offered = {"transitions": [{"id": "5", "name": "Escalate", "to": {"statusCategory": {"key": "indeterminate"}}}]}
    script = Script([answering(200, an_issue(summary="t", labels=["xai-ops", "P2"])), answering(200, offered)])
    with playing(script) as url, pytest.raises(TicketUnavailableError, match=r"'done'.*offers: Escalate"):
        jira(url).update("OPS-7", a_page(), TicketState.CLOSED)


def test_open_ticket_that_people_work_on_is_not_moved_back() -> None:
    """New or in progress is theirs to say."""
    script = Script([answering(200, an_issue(category="indeterminate", summary="t", labels=["xai-ops", "P2"]))])
    with playing(script) as url:
        jira(url).update("OPS-7", a_page(), TicketState.OPEN)
    assert [method for method, *_ in script.sent] == ["GET"]


def test_refusal_tells_jiras_own_words_and_no_credentials() -> None:
    """Which field it refuses, and what to check."""
    refused = answering(400, {"errorMessages": ["no"], "errors": {"issuetype": "Specify an issue type"}})
    with playing(Script([refused])) as url, pytest.raises(TicketUnavailableError) as caught:
        jira(url).create(a_page())
    assert "issuetype: Specify an issue type" in str(caught.value)
    assert "check project and issue_type" in str(caught.value)
    assert TOKEN not in str(caught.value)
