"""A document in the Atlassian Document Format. Pure.

Text from outside stands in text nodes, which Jira shows as they are: no markup, mention or link is read out of them.
Source: https://developer.atlassian.com/cloud/jira/platform/apis/document/structure/
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, assert_never

from chalicelib.incident.document import Block, Bullets, Code, Document, Heading, Paragraph, Picture, Run

Node = dict[str, Any]
MOST_BYTES = 30_000  # Jira refuses text fields over 32 767 characters; its JSON is longer than its text


def adf(document: Document, *, last: str | None = None) -> Node:
    """The document as ADF; `last` is a line of ours that is never cut off."""
    nodes = [_node(block) for block in document]
    kept: list[Node] = []
    room = MOST_BYTES
    for node in nodes:
        room -= len(str(node))
        if room < 0:
            kept.append(_paragraph([_text("(cut: too long for Jira)")]))
            break
        kept.append(node)
    if last is not None:
        kept.append(_paragraph([_text(last)]))
    return {"type": "doc", "version": 1, "content": kept or [_paragraph([])]}


def _node(block: Block) -> Node:
    match block:
        case Heading(text=text):
            return {"type": "heading", "attrs": {"level": 3}, "content": [_text(text)] if text else []}
        case Paragraph(line=line):
            return _paragraph(_line(line))
        case Bullets(lines=lines):
            items = [{"type": "listItem", "content": [_paragraph(_line(line))]} for line in lines]
            return {"type": "bulletList", "content": items} if items else _paragraph([])
        case Code(text=text):
            return {"type": "codeBlock", "content": [_text(text)] if text else []}
        case Picture(title=title, url=url):
            return _paragraph(_line((Run(title or url, url=url),)))
        case _:
            assert_never(block)


def _paragraph(content: list[Node]) -> Node:
    return {"type": "paragraph", "content": content}


def _line(line: Iterable[Run]) -> list[Node]:
    return [_text(run.text, _marks(run)) for run in line if run.text]  # a text node may not be empty


def _marks(run: Run) -> list[Node]:
    marks: list[Node] = [{"type": "link", "attrs": {"href": run.url}}] if run.url else []
    return [*marks, {"type": "strong"}] if run.strong else marks


def _text(text: str, marks: list[Node] | None = None) -> Node:
    return {"type": "text", "text": text, **({"marks": marks} if marks else {})}
