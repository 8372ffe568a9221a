"""A document as GitHub-flavoured markdown. Pure.

Text from outside is data: it cannot break the markup, call anyone, link anywhere, refer to a ticket, or hold HTML.
Source: https://github.github.com/gfm/ and, for what GitHub links beyond it,
https://docs.github.com/en/get-started/writing-on-github/working-with-advanced-formatting/autolinked-references-and-urls
"""

from __future__ import annotations

import re
from typing import assert_never

from chalicelib.incident.document import Block, Bullets, Code, Document, Heading, Line, Paragraph, Picture, Run

_JOINER = "\u200d"  # invisible: it keeps the eye's reading, and ends a mention, a reference or a link
# An underscore ends no word, yet GitHub links and refers after it: _www.evil.test, _GH-3.
_REFERENCE = re.compile(r"@|#(?=\d)|:(?=//)|(?i:www(?=\.)|(?<![^\W_])gh(?=-\d))")
_MARKUP = str.maketrans(
    {**{mark: f"\\{mark}" for mark in r"\`*_{}[]()+!|~>#"}, "&": "&amp;", "<": "&lt;", "$": "&#36;"}
)
_LIST_MARK = re.compile(r"^(?:(\d{1,9})(?=[.)])|(?=[-=]))")


_ADDRESS = str.maketrans({" ": "%20", "<": "%3C", ">": "%3E", "\\": "%5C"})


def markdown(document: Document) -> str:
    """The document as markdown, blocks parted by a blank line."""
    return "\n\n".join(_block(block) for block in document)


def escaped(text: str) -> str:
    """Text from outside as plain words of a line."""
    return _REFERENCE.sub(lambda found: found[0] + _JOINER, text).translate(_MARKUP)


def _block(block: Block) -> str:
    match block:
        case Heading(text=text):
            return f"### {_begun(escaped(text))}"
        case Paragraph(line=line):
            return _line(line)
        case Bullets(lines=lines):
            return "\n".join(f"- {_line(line)}" for line in lines)
        case Code(text=text):
            return _fenced(text)
        case Picture(title=title, url=url):
            return f"![{escaped(title)}]({_url(url)})"
        case _:
            assert_never(block)


def _line(line: Line) -> str:
    return _begun("".join(_run(run) for run in line))


def _begun(text: str) -> str:
    """A line that does not begin as a list, a rule, a heading's underline or, by blanks, as code."""
    return _LIST_MARK.sub(lambda found: f"{found[1] or ''}\\", text.lstrip())


def _run(run: Run) -> str:
    words = escaped(run.text)
    if run.url is not None:
        return f"[{words}]({_url(run.url)})"
    inner = words.strip()
    if not run.strong or not inner:
        return words
    before, after = words[: len(words) - len(words.lstrip())], words[len(words.rstrip()) :]
    return f"{before}**{inner}**{after}"


def _url(url: str) -> str:
    """A link's address, which its own text cannot end. In brackets parentheses may stay: the console's addresses need them."""
    return f"<{url.translate(_ADDRESS)}>"


def _fenced(text: str) -> str:
    """A code block whose fence is longer than any run of backticks in it."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"
