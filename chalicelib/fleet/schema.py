"""The fleet file's JSON Schema.

Knows the model. Editors complete the file from the schema (`python -m chalicelib.fleet --schema`), and the loader's
errors take from it what is allowed, so that neither can say something else than the model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from chalicelib.fleet.model import Fleet

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
