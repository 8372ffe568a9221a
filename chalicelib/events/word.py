"""What a person or CI may ask, as the payload of an invoked function or an HTTP body -> Request.

A wrong payload is answered with what is wrong, what is allowed and an example; nothing is put into any inbox then.
Knows the fleet file's groups and what may be forced. Must not know who asks: `by` is the caller's to say.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from chalicelib.errors import BadRequestError
from chalicelib.events.fields import DIGEST
from chalicelib.fleet.model import Fleet
from chalicelib.rollout.model import Origin, Request, Word
from chalicelib.rollout.preflight import FORCEABLE

MOST_WORDS = 1000
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")  # what a registry accepts as a tag
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
        raise _wrong(word, f"configuration is {_shown(configuration)}, not true or false")
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


def group_asked(function: str, payload: Any, fleet: Fleet) -> str | None:
    """The group that `status` or `incidents` asks for, None for all of them."""
    if payload in (None, "", {}):
        return None
    group = payload.get("group") if isinstance(payload, dict) and set(payload) == {"group"} else None
    if not isinstance(group, str) or group not in fleet.groups:
        example = json.dumps({"group": next(iter(fleet.groups))})
        raise BadRequestError(
            f"{function}: the payload is {_shown(payload)}. Allowed: nothing, or a group out of: {', '.join(fleet.groups)}. "
            f"Example: {example}"
        )
    return group


def _object(word: Word, payload: Any) -> dict[str, Any]:
    if not isinstance(payload, dict):
        raise _wrong(word, f"the payload is {_shown(payload)}, not a JSON object")
    unknown = sorted(set(map(str, payload)) - set(ALLOWED[word]))
    if unknown:
        raise _wrong(word, f"unknown key {_shown(', '.join(unknown))}")
    return payload


def _group(word: Word, body: dict[str, Any], fleet: Fleet) -> str:
    group = body.get("group")
    if not isinstance(group, str) or group not in fleet.groups:
        found = "missing" if group is None else _shown(group)
        raise _wrong(word, f"group is {found}; the groups of {fleet.environment} are: {', '.join(fleet.groups)}")
    return group


def _image(word: Word, body: dict[str, Any]) -> tuple[str | None, str | None]:
    image = _text(word, body, "image")
    if image is None:
        return None, None
    if image.startswith("sha256:"):
        if not DIGEST.fullmatch(image):
            raise _wrong(word, f"image is {_shown(image)}; a digest is sha256: and 64 hex digits")
        return image, None
    if not _TAG.fullmatch(image):
        raise _wrong(word, f"image is {_shown(image)}; give the tag or digest alone, the repository is the group's")
    return None, image


def _text(word: Word, body: dict[str, Any], key: str) -> str | None:
    value = body.get(key)
    if value is not None and (not isinstance(value, str) or not value.strip() or len(value) > MOST_WORDS):
        raise _wrong(word, f"{key} is {_shown(value)}, not a text of 1 to {MOST_WORDS} characters")
    return value


def _forced(word: Word, body: dict[str, Any]) -> frozenset[str]:
    force = body.get("force", [])
    if not isinstance(force, list) or not all(isinstance(f, str) and f in FORCEABLE for f in force):
        raise _wrong(word, f"force is {_shown(force)}")
    return frozenset(force)


def _then(word: Word, body: dict[str, Any]) -> str | None:
    then = body.get("then")
    if then not in (None, "resume", "rollback"):
        raise _wrong(word, f"then is {_shown(then)}")
    return then


def _wrong(word: Word, what: str) -> BadRequestError:
    allowed = "; ".join(f"{key}: {meaning}" for key, meaning in ALLOWED[word].items())
    name = "rollout" if word is Word.START else word.value
    return BadRequestError(f"{name}: {what}. Allowed: {allowed}. Example: {json.dumps(EXAMPLES[word])}")


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."
