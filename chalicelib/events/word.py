"""What a person or CI may ask, as the payload of an invoked function or an HTTP body -> Request.

A wrong payload is answered with what is wrong and what is allowed; nothing is put into any inbox then.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from chalicelib.errors import BadRequestError
from chalicelib.events.fields import DIGEST
from chalicelib.fleet.model import Fleet
from chalicelib.rollout.model import Origin, Request, Word
from chalicelib.rollout.preflight import FORCEABLE

_COMMON = {"group": "a group of the fleet file", "why": "a sentence for people (optional)"}
_RECORD = {"rollout": "the id of a rollout (optional: the open one)"}
ALLOWED: Mapping[Word, Mapping[str, str]] = {
    Word.START: {
        **_COMMON,
        "image": "a tag, or sha256: and 64 hex digits",
        "configuration": "true: the stable image on the newest task definition, instead of an image",
        "force": f"a list out of: {', '.join(sorted(FORCEABLE))} (optional)",
    },
    Word.ROLLBACK: {**_COMMON, **_RECORD},
    Word.ABORT: {**_COMMON, **_RECORD},
    Word.APPROVE: {**_COMMON, **_RECORD},
    Word.HOLD: _COMMON,
    Word.RELEASE: {**_COMMON, "then": "resume (default) or rollback, for a rollout that is HELD"},
    Word.ADOPT: {"group": _COMMON["group"]},
}
EXAMPLES: Mapping[Word, dict[str, Any]] = {
    Word.START: {"group": "nodes", "image": "2.1.0"},
    Word.ROLLBACK: {"group": "nodes", "why": "customers report wrong balances"},
    Word.ABORT: {"group": "nodes", "why": "wrong branch"},
    Word.APPROVE: {"group": "nodes"},
    Word.HOLD: {"group": "nodes", "why": "maintenance until 14:00"},
    Word.RELEASE: {"group": "nodes", "then": "resume"},
    Word.ADOPT: {"group": "nodes"},
}


def word_of(word: Word, payload: Any, fleet: Fleet, *, by: str, now: datetime) -> Request:
    """Read what is asked. Raises BadRequestError; `digest` stays None where `image` is a tag that is still to be resolved."""
    body = _object(word, payload)
    group = _group(word, body, fleet)
    digest, tag = _image(word, body)
    configuration = body.get("configuration", False)
    if not isinstance(configuration, bool):
        raise _wrong(word, f"configuration is {configuration!r}, not true or false")
    if word is Word.START and configuration == (digest is not None or tag is not None):
        raise _wrong(word, "either image or configuration must be given, and not both")
    return Request(
        word=word,
        group=group,
        by=by,
        at=now,
        why=_text(word, body, "why") or "",
        rollout=_text(word, body, "rollout"),
        origin=Origin.CONFIGURATION if configuration else Origin.IMAGE,
        repository=fleet.groups[group].repository,
        digest=digest,
        tag=tag,
        forced=_forced(word, body),
        then=_then(word, body),
    )


def group_asked(payload: Any, fleet: Fleet) -> str | None:
    """The group that `status` asks for, None for all of them."""
    if payload in (None, "", {}):
        return None
    if not isinstance(payload, dict) or set(payload) != {"group"} or payload["group"] not in fleet.groups:
        raise BadRequestError(f'status takes nothing, or {{"group": one of {", ".join(fleet.groups)}}}')
    return str(payload["group"])


def _object(word: Word, payload: Any) -> dict[str, Any]:
    if not isinstance(payload, dict):
        raise _wrong(word, f"the payload is {json.dumps(payload)[:80]}, not a JSON object")
    unknown = sorted(set(map(str, payload)) - set(ALLOWED[word]))
    if unknown:
        raise _wrong(word, f"unknown key {', '.join(unknown)}")
    return payload


def _group(word: Word, body: dict[str, Any], fleet: Fleet) -> str:
    group = body.get("group")
    if not isinstance(group, str) or group not in fleet.groups:
        found = "missing" if group is None else repr(group)
        raise _wrong(word, f"group is {found}; the groups of {fleet.environment} are: {', '.join(fleet.groups)}")
    return group


def _image(word: Word, body: dict[str, Any]) -> tuple[str | None, str | None]:
    image = _text(word, body, "image")
    if image is None:
        return None, None
    if image.startswith("sha256:"):
        if not DIGEST.fullmatch(image):
            raise _wrong(word, f"image is {image!r}; a digest is sha256: and 64 hex digits")
        return image, None
    return None, image


def _text(word: Word, body: dict[str, Any], key: str) -> str | None:
    value = body.get(key)
    if value is not None and (not isinstance(value, str) or not value.strip() or len(value) > 1000):
        raise _wrong(word, f"{key} is {value!r:.80}, not a text of 1 to 1000 characters")
    return value


def _forced(word: Word, body: dict[str, Any]) -> frozenset[str]:
    force = body.get("force", [])
    if not isinstance(force, list) or not all(isinstance(f, str) and f in FORCEABLE for f in force):
        raise _wrong(word, f"force is {force!r:.120}")
    return frozenset(force)


def _then(word: Word, body: dict[str, Any]) -> str | None:
    then = body.get("then")
    if then not in (None, "resume", "rollback"):
        raise _wrong(word, f"then is {then!r:.80}")
    return then


def _wrong(word: Word, what: str) -> BadRequestError:
    allowed = "; ".join(f"{key}: {meaning}" for key, meaning in ALLOWED[word].items())
    name = "rollout" if word is Word.START else word.value
    return BadRequestError(f"{name}: {what}. Allowed: {allowed}. Example: {json.dumps(EXAMPLES[word])}")
