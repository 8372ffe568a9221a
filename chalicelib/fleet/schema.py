"""The fleet file's JSON Schema, and what it says in words about one place of the file.

Knows the model. Editors complete the file from the schema (`python -m chalicelib.fleet --schema`), and the loader's
errors take from it what is allowed, so that neither can say something else than the model.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from chalicelib.fleet.model import Fleet

_WORDS = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "null": "null",
    "array": "a list",
    "object": "a mapping",
}
_TIME = r"^([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?$"


class _Editors(GenerateJsonSchema):
    """Pydantic's generator, with the one thing that editors would get wrong."""

    def time_schema(self, schema: core_schema.TimeSchema) -> JsonSchemaValue:
        """JSON Schema's own `time` wants seconds and a zone; a wall clock time has neither."""
        _ = schema
        return {"type": "string", "pattern": _TIME}


@cache
def schema() -> Mapping[str, Any]:
    """The JSON Schema of a fleet file."""
    generated = Fleet.model_json_schema(schema_generator=_Editors)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **generated}


def schema_text() -> str:
    """The schema as schema.json holds it."""
    return json.dumps(schema(), indent=2, sort_keys=True) + "\n"


def keys_at(path: Sequence[str | int]) -> tuple[str, ...]:
    """The keys that a section may have."""
    return tuple(_at(path).get("properties", ()))


def allowed_at(path: Sequence[str | int]) -> str:
    """What may stand at this place, in words; "" when the schema does not say."""
    return _words(_at(path))


def _at(path: Sequence[str | int]) -> Mapping[str, Any]:
    place = schema()
    for step in path:
        place = _resolved(place)
        named = place.get("properties", {}).get(step)
        anything = place.get("items") or place.get("additionalProperties") or next(iter(_patterns(place)), {})
        place = named or (anything if isinstance(anything, dict) else {})
    return _resolved(place)


def _patterns(place: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    patterns: Mapping[str, Mapping[str, Any]] = place.get("patternProperties") or {}
    return patterns.values()


def _resolved(place: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = place.get("$ref")
    return schema()["$defs"][reference.rsplit("/", 1)[-1]] if reference else place


def _words(place: Mapping[str, Any]) -> str:
    place = _resolved(place)
    if "anyOf" in place:
        return " or ".join(_words(each) for each in place["anyOf"])
    if "enum" in place:
        return ", ".join(str(each) for each in place["enum"])
    if "const" in place:
        return str(place["const"])
    limits = [
        f"{word} {place[key]}"
        for key, word in (
            ("exclusiveMinimum", "greater than"),
            ("minimum", "at least"),
            ("exclusiveMaximum", "less than"),
            ("maximum", "at most"),
            ("pattern", "text like"),
        )
        if key in place
    ]
    return " and ".join(limits) or _WORDS.get(str(place.get("type")), "")


def word_for(path: Sequence[str | int]) -> str:
    """The kind of thing that may stand at this place: "a whole number", "text" ..."""
    place = _at(path)
    kinds = [_resolved(each) for each in place.get("anyOf", (place,))]
    return " or ".join(_WORDS.get(str(kind.get("type")), "something else") for kind in kinds)
