"""A document as Slack's Block Kit. Pure.

Text from outside goes where Slack parses no markup: into the text elements of `rich_text` blocks and into `plain_text`.
A mention, a channel, an emoji or a link is an element of its own there, so no text can become one; only `Run.url` and
`Picture.url`, which are ours, become links. A picture is a link and no `image` block: Slack refuses a whole message when
it cannot fetch a picture of it. What does not fit is cut and said. Must not know HTTP or incidents.
Source: https://docs.slack.dev/reference/block-kit/blocks/rich-text-block
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal, TypeAlias, assert_never

from chalicelib.incident.document import Block, Bullets, Code, Document, Heading, Line, Paragraph, Picture, Run

MOST_BLOCKS = 50  # of a message: https://docs.slack.dev/reference/block-kit/blocks
MOST_HEADER = 150  # characters: https://docs.slack.dev/reference/block-kit/blocks/header-block
MOST_OBJECT = 3000  # characters: https://docs.slack.dev/reference/block-kit/composition-objects/text-object
# All blocks of a message together; undocumented: "12,000 text characters with a buffer for block containers". How Slack
# counts the containers is not known, so the JSON itself is counted, in bytes, which is never less.
# Source: https://github.com/slackapi/bolt-js/issues/2509 and /2867
MOST_BYTES = 12_000
MOST_BODY = 10_000  # of these for a document: the rest is for the title, the state and the note on what was cut
MOST_URL = 3000  # as for a button: https://docs.slack.dev/reference/block-kit/block-elements/button-element
MOST_FALLBACK = 500  # characters before they are escaped: it is read aloud and shown in notifications
CUT = "(cut: too long for Slack)"
_CONTAINER = 100  # bytes, at most, of what is put around a piece
_URL = re.compile(rf"https?://[\x21-\x7e]{{1,{MOST_URL - 8}}}")

Element: TypeAlias = dict[str, Any]
BlockKit: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Piece:
    """What is kept whole or cut off: a line, an entry of a list, or code."""

    kind: Literal["line", "entry", "code"]
    elements: list[Element]
    opens: bool = False  # a heading begins a block

    @property
    def cost(self) -> int:
        return _bytes(self.elements) + _CONTAINER


def blocks(document: Document) -> list[BlockKit]:
    """The document as `rich_text` blocks, within Slack's limits; none for an empty one."""
    return [_rich_text(pieces) for pieces in _chapters(_fitting(_pieces(document)))]


def header(title: str) -> BlockKit:
    """A title as a `header` block."""
    return {"type": "header", "text": plain(_cut(title, MOST_HEADER) or "(no title)")}


def context(*texts: Element) -> BlockKit:
    """Small print under a title."""
    return {"type": "context", "elements": list(texts)}


def plain(text: str) -> Element:
    """A text object that Slack parses no markup in, emoji neither."""
    return {"type": "plain_text", "text": _cut(text, MOST_OBJECT), "emoji": False}


def fallback(document: Document) -> str:
    """What a notification shows of a document: its opening words, escaped."""
    words = " · ".join(text for piece in _pieces(document) if (text := _text(piece).strip()))
    return escape(_cut(words, MOST_FALLBACK) or "(no text)")


def escape(text: str) -> str:
    """Text for the field `text`, which is mrkdwn: the three characters that begin Slack's markup mean themselves.

    Source: https://docs.slack.dev/messaging/formatting-message-text#escaping
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _pieces(document: Document) -> Iterator[_Piece]:
    return (piece for block in document for piece in _of(block) if piece.elements)


def _of(block: Block) -> Iterator[_Piece]:
    match block:
        case Heading():
            yield _Piece("line", _line((Run(block.text, strong=True),)), opens=True)
        case Paragraph():
            yield _Piece("line", _line(block.line))
        case Picture():
            yield _Piece("line", _line((Run(block.title or "picture", url=block.url),)))
        case Bullets():
            yield from (_Piece("entry", _line(line)) for line in block.lines)
        case Code():
            yield _Piece("code", _code(block.text))
        case _ as never:
            assert_never(never)


def _line(line: Line) -> list[Element]:
    """Slack refuses an empty text element, and a line of blanks says nothing."""
    return [_run(run) for run in line if run.text] if any(run.text.strip() for run in line) else []


def _run(run: Run) -> Element:
    style = {"style": {"bold": True}} if run.strong else {}
    if run.url is not None and _URL.fullmatch(run.url):
        return {"type": "link", "url": run.url, "text": run.text, **style}
    return {"type": "text", "text": run.text, **style}


def _code(text: str) -> list[Element]:
    """The last lines that fit into a text object: of a log, the end tells most."""
    lines = text.split("\n")
    while len("\n".join(lines)) > MOST_OBJECT:
        lines.pop(0)
    kept = "\n".join(lines)
    return [{"type": "text", "text": kept}] if kept.strip() else []


def _fitting(pieces: Iterable[_Piece]) -> Iterator[_Piece]:
    left = MOST_BODY
    for piece in pieces:
        left -= piece.cost
        if left < 0:
            yield _Piece("line", [{"type": "text", "text": CUT, "style": {"italic": True}}])
            return
        yield piece


def _chapters(pieces: Iterable[_Piece]) -> list[list[_Piece]]:
    """A block for each heading and what follows it. MOST_BODY bounds their number; two more go to title and state."""
    chapters: list[list[_Piece]] = []
    for piece in pieces:
        if not chapters or (piece.opens and len(chapters) < MOST_BLOCKS - 2):
            chapters.append([])
        chapters[-1].append(piece)
    return chapters


def _rich_text(pieces: list[_Piece]) -> BlockKit:
    grouped = [(kind, list(group)) for kind, group in groupby(pieces, key=lambda piece: piece.kind)]
    return {"type": "rich_text", "elements": [element for kind, group in grouped for element in _join(kind, group)]}


def _join(kind: Literal["line", "entry", "code"], pieces: list[_Piece]) -> list[Element]:
    match kind:
        case "line":
            return [{"type": "rich_text_section", "elements": _lines(pieces)}]
        case "entry":
            entries = [{"type": "rich_text_section", "elements": piece.elements} for piece in pieces]
            return [{"type": "rich_text_list", "style": "bullet", "elements": entries}]
        case "code":
            return [{"type": "rich_text_preformatted", "elements": piece.elements} for piece in pieces]
        case _ as never:
            assert_never(never)


def _lines(pieces: list[_Piece]) -> list[Element]:
    """Lines of one section: a line break is text there."""
    joined = list(pieces[0].elements)
    for piece in pieces[1:]:
        joined += [{"type": "text", "text": "\n"}, *piece.elements]
    return joined


def _text(piece: _Piece) -> str:
    return "".join(str(element["text"]) for element in piece.elements)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _bytes(value: object) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode(errors="replace"))
