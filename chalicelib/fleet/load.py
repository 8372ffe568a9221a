"""From a fleet file to a Fleet, or to every problem in it: file, line, key, what was found and what is allowed.

Knows the file, pydantic's errors and the model's JSON Schema. Must not know what the numbers are for, nor quote a secret.
A rule between keys may name the one that it is about: `raise ValueError(text, "routes", 0)` is told at `routes[0]`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from chalicelib.errors import MisconfiguredError
from chalicelib.fleet.document import Document, Path, Problem, parse
from chalicelib.fleet.model import Fleet
from chalicelib.incident.redact import redact_secrets

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Place = Mapping[str, Any]  # what the JSON Schema says about one place of the file

_LONGEST_FOUND = 60
_HIDDEN = "what stands here"
_UNKNOWN = "is not known here"
_SECRET_KEY = re.compile(r"(?i)secret|token|password|api_?key|routing_?key")
_QUOTING = re.compile(r".+? is (?:read differently|a boolean to some)", re.DOTALL)
_WORDS = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "null": "null",
    "array": "a list",
    "object": "a mapping",
}
_LIMITS = {
    "exclusiveMinimum": "greater than {}",
    "minimum": "at least {}",
    "exclusiveMaximum": "less than {}",
    "maximum": "at most {}",
    "maxLength": "text of at most {} characters",
    "pattern": "text like {}",
}


def load(path: FilePath) -> Fleet:
    """Load and check a fleet file. Raises MisconfiguredError with one line for each problem in it."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MisconfiguredError(f"{path.name}: could not read the fleet file: {error}") from error
    document = parse(text)
    fleet, problems = _validated(document)
    problems = [*(_discreet(problem) for problem in document.problems), *problems]
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
        told = [_told(details) for details in error.errors(include_url=False) if not _follows_from_another(details)]
    unreadable = {problem.path for problem in document.problems}
    return None, [
        Problem(line=document.line_of(path), path=path, text=text)
        for path, text in told
        if path not in unreadable or text.startswith(_UNKNOWN)
    ]


def _follows_from_another(details: ErrorDetails) -> bool:
    """Whether a list is "too short" only because pydantic left out the items of it that are wrong."""
    return details["type"] == "too_short" and len(details["input"]) >= details["ctx"]["min_length"]


def _told(details: ErrorDetails) -> tuple[Path, str]:
    """Where in the file an error stands, and what is wrong there."""
    kind, found = details["type"], details["input"]
    path, place = _followed(details["loc"])
    if kind == "value_error":
        text, *inside = details["ctx"]["error"].args
        return (*path, *inside), redact_secrets(text)
    if kind.startswith("union_tag_"):
        tag, allowed = place["discriminator"]["propertyName"], ", ".join(place["discriminator"]["mapping"])
        missing = f"is missing (allowed: {allowed})"
        return (*path, tag), f"{_shown(found[tag])} is not known; allowed: {allowed}" if tag in found else missing
    if kind == "extra_forbidden":
        _, section = _followed(details["loc"][:-1])
        return path, _UNKNOWN + _nearest(str(path[-1]), section)
    if "[key]" in details["loc"]:
        return path, f"{_shown(found)} is not a name; allowed: {_allowed(place)}"
    # A token may as well stand where the whole tracker should.
    hidden = isinstance(found, str | int | float) and found != "" and (_is_secret(path) or _word(place) == "a mapping")
    return path, _sentence(details, place, _HIDDEN if hidden else _shown(found))


def _sentence(details: ErrorDetails, place: Place, found: str) -> str:
    kind, word, allowed = details["type"], _word(place), _allowed(place)
    if kind == "missing":
        number = place.get("type") in ("integer", "number") and allowed != word
        return f"is missing (allowed: {f'{word}, {allowed}' if number else allowed})"
    if kind == "too_short":
        least = details["ctx"]["min_length"]
        return f"must name at least {'one' if least == 1 else least}"
    if kind.startswith("time_"):
        return f"{found} is no time of day; allowed: {allowed}"
    if kind.endswith(("_type", "_parsing", "_from_float")):
        quote = "; put it in quotes" if word == "text" and isinstance(details["input"], int | float) else ""
        return f"{found} is not {word}{quote}" + (f" (allowed: {allowed})" if allowed != word else "")
    return f"{found} is not allowed; allowed: {allowed}"


def _nearest(key: str, section: Place) -> str:
    # A constant is the tag by which the section was found: it stands there.
    keys = [name for name, place in section["properties"].items() if "const" not in place]
    close = get_close_matches(key, keys, n=1)
    return f"; did you mean {close[0]}?" if close else f" (allowed: {', '.join(keys)})"


def _shown(found: Any) -> str:
    """What was found; of lists and mappings not what is in them, for a secret may be."""
    if isinstance(found, dict | list) and found:
        return "a mapping" if isinstance(found, dict) else "a list"
    text = redact_secrets(repr(found)) if isinstance(found, str) else json.dumps(found)
    return text if len(text) <= _LONGEST_FOUND else f"{text[:_LONGEST_FOUND]}..."


def _is_secret(path: Path) -> bool:
    return any(isinstance(step, str) and _SECRET_KEY.search(step) for step in path)


def _discreet(problem: Problem) -> Problem:
    """A problem of the YAML, without the secret that it may quote."""
    if _is_secret(problem.path) and _QUOTING.match(problem.text):
        return replace(problem, text=f"{_HIDDEN} is read differently by YAML 1.1 and 1.2; put it in quotes")
    return replace(problem, text=redact_secrets(problem.text))


def _line(name: str, problem: Problem) -> str:
    key = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in problem.path).lstrip(".")
    return f"{name}:{problem.line}: {key + ': ' if key else ''}{problem.text}"


def _followed(steps: tuple[str | int, ...]) -> tuple[Path, Place]:
    """The place in the file that pydantic's steps lead to, and what the schema says about it."""
    from chalicelib.fleet.schema import schema  # noqa: PLC0415 - only a wrong file needs it

    path: Path = ()
    section = place = schema()
    for step in steps:
        above, section = section, place
        tags = place.get("discriminator", {}).get("mapping", {})
        if step == "[key]":
            place = above["propertyNames"]
        elif step in tags:  # pydantic's own step into a union: it does not stand in the file
            place = _resolved({"$ref": tags[step]})
        else:
            path = (*path, step)
            named = place.get("properties", {}).get(step)
            place = _resolved(named or place.get("items") or place.get("additionalProperties") or _by_pattern(place))
    return path, place


def _by_pattern(place: Place) -> Place:
    patterns: Mapping[str, Place] = place.get("patternProperties", {})
    return next(iter(patterns.values()), {})


def _resolved(place: Place) -> Place:
    from chalicelib.fleet.schema import schema  # noqa: PLC0415 - only a wrong file needs it

    reference = place.get("$ref")
    return schema()["$defs"][reference.rsplit("/", 1)[-1]] if reference else place


def _word(place: Place) -> str:
    """The kind of thing that may stand at this place: "a whole number", "text" ..."""
    kinds = [_resolved(each) for each in place.get("anyOf", (place,))]
    return " or ".join(_WORDS[kind.get("type", "object")] for kind in kinds)


def _allowed(place: Place) -> str:
    """What may stand at this place, in words."""
    if "enum" in place:
        return ", ".join(str(each) for each in place["enum"])
    if "const" in place:
        return str(place["const"])
    if place.get("type") in ("array", "object") or "discriminator" in place:
        return _word(place)
    if "description" in place:
        return str(place["description"])
    if "anyOf" in place:
        return " or ".join(_allowed(_resolved(each)) for each in place["anyOf"])
    return " and ".join(words.format(place[key]) for key, words in _LIMITS.items() if key in place) or _word(place)
