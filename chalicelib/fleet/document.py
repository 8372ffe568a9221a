"""YAML as the three readers of a fleet file agree on it: Terraform, Ansible and we.

Knows YAML's traps and the line of every key. Must not know what a fleet is.
YAML is not one language: 1.1 reads `yes`, `012`, `16:00` and bare dates as something else than the text that stands there,
1.2 does not, and Terraform lets the later of two equal keys win silently. Whatever readers may read differently is refused here.
tests/fleet/test_one_meaning.py holds this against Terraform and Ansible themselves.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

Path = tuple[str | int, ...]

_Loader: Any = getattr(
    yaml, "CSafeLoader", yaml.SafeLoader
)  # libyaml's parser is ten times as fast, where there is one
_TAG = "tag:yaml.org,2002:"
_BOOLEANS = frozenset({"true", "false", "True", "False", "TRUE", "FALSE"})
_NULLS = frozenset({"null", "~"})
_INTEGER = re.compile(r"[-+]?[1-9][0-9]*|0")
_FLOAT = re.compile(r"[-+]?(0|[1-9][0-9]*)\.[0-9]*[1-9][0-9]*")
_WHOLE = re.compile(r"[-+]?0|[-+]?(0|[1-9][0-9]*)\.0+")
_MOST_DIGITS = 15  # all that a float is sure to keep; Terraform keeps more
_DEEPEST = 32  # Ansible's templates give up at some 150
# Text to YAML 1.1 as PyYAML reads it, something else to YAML 1.2, to Terraform (a number with an exponent to the base of 2 or 10,
# or with a sign and no digit before its point; a date of one digit) or to Ansible, which tries JSON first.
_TEXT_TO_US_ONLY = re.compile(
    r"[yYnN]|0o[0-7]+|[-+]?(?=\.?_*[0-9])[0-9_]*\.?[0-9_]*([eEpP][-+]?[0-9_]+)?|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ].*)?|NaN|-?Infinity"
)
# A line break to YAML 1.1 and none to JSON; a mark of byte order within the text; what YAML does not print.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_TAGGED = re.compile(r"(&\S+(\s|#[^\n]*)*)?!")
_ESCAPED_SLASH = re.compile(r"(?<!\\)(\\\\)*\\/")
_TEMPLATE = re.compile(r"\{[{%#]")
_ALIAS = "an alias is refused as a key: not every reader follows it; write the key out"
_ANSIBLES_OWN = re.compile(r"__ansible_|\$ANSIBLE_VAULT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong, and where."""

    line: int
    path: Path
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A file's data, the line of each of its keys and items, and what is wrong with it as YAML."""

    data: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    def line_of(self, path: Path) -> int:
        """The line of a key or item; of the nearest one around it when that is missing."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def parse(text: str) -> Document:
    """Parse one YAML document, and say all that is wrong with it."""
    text = text.removeprefix("\ufeff")
    if unreadable := _no_text(text):
        return Document(problems=(unreadable,))
    loader = _Loader(text)
    walk = _Walk(text, loader)
    problems: tuple[Problem, ...] = ()
    data = None
    try:
        node = loader.get_single_node()
        if node is not None:
            problems = tuple(walk.inspect(node, ()))
            data = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        problems = problems or (_unreadable(error),)
    except RecursionError:
        problems = problems or (Problem(line=1, path=(), text="not readable as YAML: it nests too deeply"),)
    finally:
        loader.dispose()
    return Document(data=data, lines=walk.lines, problems=problems)


def _no_text(text: str) -> Problem | None:
    """What stands in the way of reading the text as YAML at all."""
    if found := _FORBIDDEN.search(text):
        line = text.count("\n", 0, found.start()) + 1
        what = f"the character U+{ord(found[0]):04X} is not allowed; in double quotes, write it as an escape"
        return Problem(line=line, path=(), text=f"not readable as YAML: {what}")
    for line, content in enumerate(text.splitlines(), start=1):
        if content.startswith("%"):
            return Problem(line=line, path=(), text=f"{content.split()[0]} is refused: not every reader knows it")
        if content.strip() and not content.lstrip().startswith("#"):
            break
    return None


def _unreadable(error: yaml.MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    return Problem(line=mark.line + 1 if mark else 1, path=(), text=f"not readable as YAML: {error.problem}")


class _Walk:
    """One walk over a document's nodes in their order: notes the line of each, finds what readers differ about.

    What is refused becomes the text that stands there, so that the rest of the document can be read all the same.
    """

    def __init__(self, text: str, resolver: Any) -> None:
        self.lines: dict[Path, int] = {}
        self._text = text
        self._resolver = resolver
        self._open: list[Any] = []
        self._homes: dict[int, Any] = {}  # of each node: the mapping whose key it is, if it is one

    def inspect(self, node: Any, path: Path) -> Iterator[Problem]:
        """Look at a node and at all in it."""
        line = node.start_mark.line + 1
        self.lines.setdefault(path, line)
        if any(node is each for each in self._open):
            raise yaml.composer.ComposerError(None, None, "an alias stands inside its own anchor", node.start_mark)
        self._homes.setdefault(id(node), None)
        if hint := self._difference(node) or _template(node):
            yield Problem(line=line, path=path, text=hint)
            _untag(node)
        if isinstance(node, yaml.ScalarNode):
            return
        if len(self._open) >= _DEEPEST:
            yield Problem(line=line, path=path, text=f"nests more than {_DEEPEST} deep")
            return
        self._open.append(node)
        yield from self._mapping(node, path) if isinstance(node, yaml.MappingNode) else self._sequence(node, path)
        self._open.pop()

    def _sequence(self, node: Any, path: Path) -> Iterator[Problem]:
        for index, item in enumerate(node.value):
            yield from self.inspect(item, (*path, index))

    def _mapping(self, node: Any, path: Path) -> Iterator[Problem]:
        first: dict[str, int] = {}
        for key, value in node.value:
            alias = self._homes.setdefault(id(key), node) is not node
            line = (value if alias else key).start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                yield Problem(line=line, path=path, text="a key must be text")
                continue
            name = str(key.value)
            if name == "<<":
                yield Problem(line=line, path=path, text="<< is refused: not every reader merges; write the keys out")
                continue
            if name in first:
                told = f"stands twice; the first one is in line {first[name]}"
                yield Problem(line=line, path=(*path, name), text=told)
            first.setdefault(name, line)
            self.lines[(*path, name)] = line
            if hint := _ALIAS if alias else self._key(key):
                yield Problem(line=line, path=(*path, name), text=hint)
                _untag(key)
            yield from self.inspect(value, (*path, name))

    def _key(self, key: Any) -> str:
        """What readers would differ about in this key."""
        name = str(key.value)
        if _ANSIBLES_OWN.match(name):
            return "means something of its own to Ansible; name it otherwise"
        if hint := self._difference(key):
            quotable = not key.style and not self._tagged(key)
            return f'the key {name} is not text to every reader; write "{name}"' if quotable else hint
        if key.tag != f"{_TAG}str":
            return f'the key {name} is not text to every reader; write "{name}"'
        return ""

    def _tagged(self, node: Any) -> bool:
        return bool(_TAGGED.match(self._text, node.start_mark.index))

    def _difference(self, node: Any) -> str:
        """What readers would differ about in this node itself; "" when all agree."""
        if self._tagged(node):
            return "not readable as YAML to every reader: leave the tag out"
        if not isinstance(node, yaml.ScalarNode):
            return ""
        text, raw = str(node.value), self._text[node.start_mark.index : node.end_mark.index]
        if not unicodedata.is_normalized("NFC", text):
            return (
                "holds a letter and its accent as two characters, which Terraform makes one (Unicode's NFC); write one"
            )
        if node.style == '"' and _ESCAPED_SLASH.search(raw):
            return "holds \\/, which not every reader knows; write /"
        if node.style in {"'", '"'}:
            return ""  # what is quoted is text to everyone
        if not node.style and "?" in text and self._open and self._open[-1].flow_style:
            return "holds ? without quotes within [] or {}, which Terraform does not read; put it in quotes"
        kind = str(self._resolver.resolve(yaml.ScalarNode, text, (True, False))).removeprefix(_TAG)
        return _of_block(text, kind) if node.style else _ambiguity(text, kind)


def _template(node: Any) -> str:
    if isinstance(node, yaml.ScalarNode) and (found := _TEMPLATE.search(str(node.value))):
        return f"holds {found[0]}, which opens a template in Ansible; write it otherwise"
    return ""


def _untag(node: Any) -> None:
    """Make a node what it is without its tag, or a scalar text, so that nothing is constructed from what was refused."""
    kinds = {yaml.MappingNode: "map", yaml.SequenceNode: "seq"}
    node.tag = _TAG + kinds.get(type(node), "str")


def _of_block(text: str, kind: str) -> str:
    """What readers would differ about in a block of text: Terraform takes one without a last line break for what it is unquoted."""
    if "\n" in text or (kind == "str" and not _TEXT_TO_US_ONLY.fullmatch(text)):
        return ""
    return "is text in a block, which Terraform reads as if it stood there without quotes; put it in quotes"


def _ambiguity(text: str, kind: str) -> str:
    """What readers would differ about in this text without quotes, which is of this kind to us; "" when all agree."""
    agreed = {
        "str": not _TEXT_TO_US_ONLY.fullmatch(text),
        "bool": text in _BOOLEANS,
        "null": text in _NULLS,
        "int": bool(_INTEGER.fullmatch(text)),
        "float": bool(_FLOAT.fullmatch(text)),
    }
    if agreed.get(kind, False):
        if kind in {"int", "float"} and sum(map(str.isdigit, text)) > _MOST_DIGITS:
            return (
                f"has more than {_MOST_DIGITS} digits, which not every reader keeps; put it in quotes if text is meant"
            )
        return ""
    if kind == "null" and not text:
        return "is empty; write null, {} or [], whichever is meant"
    if kind == "bool":
        return f'{text} is a boolean to some readers and text to others; write true, false or "{text}"'
    if _WHOLE.fullmatch(text):
        return "is a whole number to some readers only; write it without sign and point, or in quotes if text is meant"
    return f'{text} is read differently by YAML 1.1 and 1.2; write "{text}" if text is meant'
