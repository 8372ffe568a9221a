"""What people read of an incident, before it has a tracker's markup: a small tree of headings, lines, code, pictures. Pure.

Whatever goes in is data. Each leaf cleans itself, so a document cannot hold a secret or a control character; each
tracker's renderer escapes text in its own way, so text from outside can neither format, mention nor link. Links are our
own: a URL is never made of text from outside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from chalicelib.incident.redact import line_of, lines_of

MOST_CODE_LINES = 40
MOST_LINE = 500
MOST_BLOCKS = 80


@dataclass(frozen=True, slots=True)
class Run:
    """A piece of a line: plain, strong, or a link of ours."""

    text: str
    strong: bool = False
    url: str | None = None

    def __post_init__(self) -> None:
        """Clean the text, keeping a blank at either end: lines are made of runs."""
        kept = line_of(self.text, MOST_LINE)
        before = " " if self.text[:1].isspace() else ""
        after = " " if kept and self.text[-1:].isspace() else ""
        object.__setattr__(self, "text", f"{before}{kept}{after}")


Line: TypeAlias = tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class Heading:
    """The title of what follows."""

    text: str
    kind: Literal["heading"] = "heading"

    def __post_init__(self) -> None:
        """Clean the text."""
        object.__setattr__(self, "text", line_of(self.text, MOST_LINE))


@dataclass(frozen=True, slots=True)
class Paragraph:
    """One line of prose."""

    line: Line
    kind: Literal["paragraph"] = "paragraph"


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list of lines."""

    lines: tuple[Line, ...]
    kind: Literal["bullets"] = "bullets"


@dataclass(frozen=True, slots=True)
class Code:
    """Lines as they were written, of which the last are kept."""

    text: str
    kind: Literal["code"] = "code"

    def __post_init__(self) -> None:
        """Clean the lines and keep the last."""
        lines = lines_of(self.text).strip("\n").split("\n")[-MOST_CODE_LINES:]
        object.__setattr__(self, "text", "\n".join(line[:MOST_LINE] for line in lines))


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that people may open; `url` is ours."""

    title: str
    url: str
    kind: Literal["picture"] = "picture"

    def __post_init__(self) -> None:
        """Clean the title."""
        object.__setattr__(self, "title", line_of(self.title, MOST_LINE))


Block: TypeAlias = Heading | Paragraph | Bullets | Code | Picture
Document: TypeAlias = tuple[Block, ...]


def line(*parts: object) -> Line:
    """One line: texts are plain, runs stay as they are."""
    return tuple(part if isinstance(part, Run) else Run(str(part)) for part in parts)


def strong(text: object) -> Run:
    """Words that stand out."""
    return Run(str(text), strong=True)


def link(text: object, url: str) -> Run:
    """A link of ours."""
    return Run(str(text), url=url)


def paragraph(*parts: object) -> Paragraph:
    """One line of prose."""
    return Paragraph(line(*parts))


def bullets(*lines: object) -> Bullets:
    """A list; each entry is a line, or text that becomes one."""
    return Bullets(tuple(each if isinstance(each, tuple) else line(each) for each in lines))
