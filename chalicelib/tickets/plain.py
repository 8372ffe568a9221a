"""A document as plain text, for e-mail and for fields that take no markup. Pure.

Programs that show plain text make links of addresses by themselves: a zero-width joiner, which no text from outside can
hold, keeps them from doing so with addresses that are not ours. Must not know any tracker.
"""

from __future__ import annotations

import re
from typing import assert_never

from chalicelib.incident.document import Block, Bullets, Code, Document, Heading, Line, Paragraph, Picture, Run

CUT = "\n(cut: too long)"
_ADDRESS = re.compile(r":(?=//)|www(?=\.)|mailto(?=:)", re.IGNORECASE)


def plain(document: Document) -> str:
    """The document as lines: headings in capitals, lists with dashes, code indented, links behind their words."""
    return "\n\n".join(_block(block) for block in document)


def cut(text: str, most: int) -> str:
    """The text, or as much of it as fits with the word that there was more."""
    return text if len(text) <= most else text[: most - len(CUT)] + CUT


def unlinked(text: str) -> str:
    """Text from outside of which no mail program makes a link."""
    return _ADDRESS.sub(lambda found: f"{found[0]}\u200d", text)


def _block(block: Block) -> str:
    match block:
        case Heading(text=text):
            return unlinked(text.upper())
        case Paragraph(line=line):
            return _line(line)
        case Bullets(lines=lines):
            return "\n".join(f"- {_line(line)}" for line in lines)
        case Code(text=text):
            return "\n".join(f"    {unlinked(each)}" for each in text.split("\n"))
        case Picture(title=title, url=url):
            return f"{unlinked(title)} ({url})"
        case _:
            assert_never(block)


def _line(line: Line) -> str:
    return "".join(_run(run) for run in line)


def _run(run: Run) -> str:
    return f"{unlinked(run.text)} ({run.url})" if run.url else unlinked(run.text)
