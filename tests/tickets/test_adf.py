"""Atlassian's own schema judges every document that we make; text from outside stays text."""

from __future__ import annotations

import json
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft4Validator

from chalicelib.incident.document import (
    Block,
    Bullets,
    Code,
    Heading,
    Paragraph,
    Picture,
    Run,
    bullets,
    line,
    link,
    strong,
)
from chalicelib.tickets.adf import MOST_BYTES, adf
from tests.tickets.judges import npm_file

TEXT = st.text(max_size=60)
RUN = st.builds(Run, TEXT, st.booleans(), st.sampled_from([None, "https://ours.test/a"]))
LINE = st.lists(RUN, max_size=4).map(tuple)
BLOCK = st.one_of(
    st.builds(Heading, TEXT), st.builds(Paragraph, LINE), st.builds(Bullets, st.lists(LINE, max_size=3).map(tuple)),
    st.builds(Code, TEXT), st.builds(Picture, TEXT, st.just("https://ours.test/p.png")),
)  # fmt: skip


@cache
def schema() -> Draft4Validator:
    """Atlassian's JSON schema of a document."""
    return Draft4Validator(
        json.loads(npm_file("@atlaskit/adf-schema", "57.7.0", "dist/json-schema/v1/full.json").read_text())
    )


@settings(max_examples=150, deadline=None)
@given(st.lists(BLOCK, max_size=5).map(tuple), st.one_of(st.none(), st.just("(marker)")))
def test_any_document_is_one_that_jira_takes(document: tuple[Block, ...], last: str | None) -> None:
    """No empty text node, no unknown mark, no list without items; and our last line is the last."""
    made = adf(document, last=last)
    assert [error.message for error in schema().iter_errors(made)] == []
    if last is not None:
        assert made["content"][-1]["content"][-1]["text"] == last


def test_judge_refuses_what_is_no_document() -> None:
    """A judge that takes everything proves nothing."""
    assert list(schema().iter_errors({"type": "doc", "version": 1, "content": [{"type": "text", "text": "bare"}]}))
    assert list(schema().iter_errors("plain text"))


def test_what_is_ours_is_formatted_and_what_is_not_is_text() -> None:
    """Marks come from runs alone; wiki markup, mentions and links in a text are letters."""
    hostile = "[~accountid:1] [x|https://evil.test] {code} *bold* @ann"
    made = adf((Paragraph(line("a ", strong("b"), link("c", "https://ours.test"))), bullets(hostile)))
    first, second = made["content"]
    assert [node.get("marks") for node in first["content"]] == [
        None, [{"type": "strong"}], [{"type": "link", "attrs": {"href": "https://ours.test"}}],
    ]  # fmt: skip
    assert second["content"][0]["content"][0]["content"] == [{"type": "text", "text": hostile}]


def test_long_document_is_cut_before_our_last_line() -> None:
    """Jira refuses more than 32,767 characters; the marker is never cut off."""
    made = adf(tuple(Paragraph(line("x" * 400)) for _ in range(200)), last="(marker)")
    texts = [node["content"][0]["text"] for node in made["content"]]
    assert texts[-2:] == ["(cut: too long for Jira)", "(marker)"]
    assert len(json.dumps(made)) < MOST_BYTES + 5_000
