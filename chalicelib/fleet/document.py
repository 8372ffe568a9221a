"""YAML as the three readers of a fleet file agree on it: Terraform, Ansible and we.

Knows YAML's traps and the line of every key. Must not know what a fleet is.
YAML is not one language: 1.1 reads `yes`, `012`, `16:00` and bare dates as something else than the text that stands there,
1.2 does not, and Terraform lets the later of two equal keys win silently. Whatever readers may read differently is refused here.
"""

from __future__ import annotations

import re
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
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(0|[1-9][0-9]*)\.[0-9]+")
# Text to YAML 1.1 as PyYAML reads it, something else to YAML 1.2 or to Terraform.
_TEXT_TO_US_ONLY = re.compile(r"[yYnN]|0[0-9]+|0o[0-7]+|[-+]?[0-9.]+[eE][-+]?[0-9]+")


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
    loader = _Loader(text)
    lines: dict[Path, int] = {}
    problems: tuple[Problem, ...] = ()
    data = None
    try:
        node = loader.get_single_node()
        if node is not None:
            problems = tuple(_inspect(node, (), lines, ()))
            data = loader.construct_document(node)
    except (yaml.MarkedYAMLError, yaml.reader.ReaderError) as error:
        problems = problems or (_unreadable(error),)
    finally:
        loader.dispose()
    return Document(data=data, lines=lines, problems=problems)


def _unreadable(error: yaml.YAMLError) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    what = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    return Problem(line=mark.line + 1 if mark else 1, path=(), text=f"not readable as YAML: {what}")


def _inspect(node: Any, path: Path, lines: dict[Path, int], above: tuple[int, ...]) -> Iterator[Problem]:
    lines.setdefault(path, node.start_mark.line + 1)
    if id(node) in above:
        raise yaml.composer.ComposerError(None, None, "an alias stands inside its own anchor", node.start_mark)
    elif isinstance(node, yaml.MappingNode):
        yield from _inspect_mapping(node, path, lines, (*above, id(node)))
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _inspect(item, (*path, index), lines, (*above, id(node)))
    elif hint := _ambiguity(node):
        yield Problem(line=node.start_mark.line + 1, path=path, text=hint)


def _inspect_mapping(node: Any, path: Path, lines: dict[Path, int], above: tuple[int, ...]) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            yield Problem(line=line, path=path, text="a key must be text")
            continue
        name = str(key.value)
        if key.tag == f"{_TAG}merge":
            yield Problem(line=line, path=path, text="<< is refused: not every reader merges; write the keys out")
            continue
        if name in first:
            yield Problem(line=line, path=(*path, name), text=f"stands twice; the first one is in line {first[name]}")
        first.setdefault(name, line)
        lines[(*path, name)] = line
        if key.tag != f"{_TAG}str" or _ambiguity(key):
            yield Problem(
                line=line, path=(*path, name), text=f'the key {name} is not text to every reader; write "{name}"'
            )
        yield from _inspect(value, (*path, name), lines, above)


def _ambiguity(node: Any) -> str:
    """What readers would differ about in this scalar; "" when all agree. What is quoted is text to everyone."""
    text, kind = str(node.value), str(node.tag).removeprefix(_TAG)
    if node.style:
        return ""
    agreed = {
        "str": not _TEXT_TO_US_ONLY.fullmatch(text),
        "bool": text in _BOOLEANS,
        "null": text in _NULLS,
        "int": bool(_INTEGER.fullmatch(text)),
        "float": bool(_FLOAT.fullmatch(text)),
    }
    if agreed.get(kind, False):
        return ""
    if kind == "null" and not text:
        return "is empty; write null, {} or [], whichever is meant"
    if kind == "bool":
        return f'{text} is a boolean to some readers and text to others; write true, false or "{text}"'
    return f'{text} is read differently by YAML 1.1 and 1.2; write "{text}" if text is meant'
