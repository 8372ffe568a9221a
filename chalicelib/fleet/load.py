"""From a fleet file to a Fleet, or to every problem in it: file, line, key, what was found and what is allowed.

Knows the file and pydantic's errors. Must not know what the numbers are for.
"""

from __future__ import annotations

import json
from difflib import get_close_matches
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from chalicelib.errors import MisconfiguredError
from chalicelib.fleet.document import Document, Path, Problem, parse
from chalicelib.fleet.model import Fleet

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_LONGEST_FOUND = 60


def load(path: FilePath) -> Fleet:
    """Load and check a fleet file. Raises MisconfiguredError with one line for each problem in it."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MisconfiguredError(f"{path.name}: could not read the fleet file: {error}") from error
    document = parse(text)
    fleet, problems = _validated(document)
    known = {problem.path for problem in document.problems}
    problems = [*document.problems, *(problem for problem in problems if problem.path not in known)]
    if fleet is None or problems:
        ordered = sorted(problems, key=lambda problem: problem.line)
        raise MisconfiguredError("\n".join(_line(path.name, problem) for problem in ordered))
    return fleet


def _validated(document: Document) -> tuple[Fleet | None, list[Problem]]:
    if not isinstance(document.data, dict):
        return None, [] if document.problems else [Problem(line=1, path=(), text="a fleet file is a mapping")]
    try:
        # As JSON and strictly: Terraform and Ansible would read "60" as text, so it is no number here either.
        return Fleet.model_validate_json(json.dumps(document.data, default=str, skipkeys=True), strict=True), []
    except ValidationError as error:
        return None, [_problem(document, details) for details in error.errors(include_url=False)]


def _problem(document: Document, details: ErrorDetails) -> Problem:
    path: Path = tuple(step for step in details["loc"] if step != "[key]")
    place = path[:-1] if details["type"] == "missing" else path
    return Problem(line=document.line_of(place), path=path, text=_sentence(path, details))


def _sentence(path: Path, details: ErrorDetails) -> str:
    from chalicelib.fleet.schema import allowed_at, keys_at, word_for  # noqa: PLC0415 - only a wrong file needs it

    kind, found = details["type"], _shown(details["input"])
    if kind == "extra_forbidden":
        return f"is not known here{_nearest(str(path[-1]), keys_at(path[:-1]))}"
    if kind == "missing":
        word, limits = word_for(path), allowed_at(path)
        return f"is missing (allowed: {word}{f', {limits}' if limits not in ('', word) else ''})"
    if kind == "value_error":
        return str(details["msg"]).removeprefix("Value error, ")
    if "[key]" in details["loc"]:
        return f"{found} is not a name (allowed: {details.get('ctx', {}).get('pattern', 'text')})"
    allowed = allowed_at(path)
    if kind.endswith(("_type", "_parsing", "_from_float")):
        word = word_for(path)
        quote = "; put it in quotes" if word == "text" and not isinstance(details["input"], (dict, list)) else ""
        return f"{found} is not {word}{quote}" + (f" (allowed: {allowed})" if allowed not in ("", word) else "")
    return f"{found} is not allowed (allowed: {allowed or details['msg']})"


def _nearest(key: str, keys: tuple[str, ...]) -> str:
    close = get_close_matches(key, keys, n=1)
    return f"; did you mean {close[0]}?" if close else f" (allowed: {', '.join(keys)})"


def _shown(found: Any) -> str:
    text = "null" if found is None else repr(found)
    if isinstance(found, bool):
        text = text.lower()
    return text if len(text) <= _LONGEST_FOUND else f"{text[:_LONGEST_FOUND]}..."


def _line(name: str, problem: Problem) -> str:
    key = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in problem.path).lstrip(".")
    return f"{name}:{problem.line}: {key + ': ' if key else ''}{problem.text}"
