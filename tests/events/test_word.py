"""What people and CI may ask: a right payload becomes a request, a wrong one an answer that helps."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.errors import BadRequestError
from chalicelib.events.word import ALLOWED, EXAMPLES, group_asked, word_of
from chalicelib.fleet.load import load
from chalicelib.rollout.model import Origin, Request, Word
from chalicelib.rollout.preflight import FORCEABLE

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
FLEET = load(Path(__file__).parents[2] / "chalicelib" / "fleet" / "staging.yaml")
DIGEST = "sha256:" + "ab" * 32


def read(word: Word, payload: Any) -> Request:
    """Read one payload, asked by one person."""
    return word_of(word, payload, FLEET, by="arn:aws:iam::123456789012:user/ada", now=NOW)


@pytest.mark.parametrize("word", Word)
def test_every_example_is_allowed(word: Word) -> None:
    """What the answer to a wrong payload shows works as it stands."""
    request = read(word, EXAMPLES[word])
    assert (request.word, request.group, request.at) == (word, "nodes", NOW)
    assert request.by.endswith("user/ada")
    assert request.repository == "xai/node"


def test_start_takes_a_tag() -> None:
    """The tag is looked up later; the digest stays open."""
    request = read(Word.START, {"group": "nodes", "image": "2.1.0"})
    assert (request.tag, request.digest, request.origin, request.forced) == ("2.1.0", None, Origin.IMAGE, frozenset())


def test_start_takes_a_digest_and_what_to_force() -> None:
    """A digest is taken as it is; forced reasons are preflight's."""
    request = read(Word.START, {"group": "nodes", "image": DIGEST, "force": ["frozen", "on_hold"]})
    assert (request.tag, request.digest) == (None, DIGEST)
    assert request.forced == frozenset({"frozen", "on_hold"})


def test_start_takes_a_change_of_configuration() -> None:
    """The stable image on the newest task definition."""
    request = read(Word.START, {"group": "nodes", "configuration": True, "why": "more memory"})
    assert (request.origin, request.digest, request.tag, request.why) == (
        Origin.CONFIGURATION,
        None,
        None,
        "more memory",
    )


def test_rollback_names_why_and_rollout() -> None:
    """Both are the person's to give, neither is needed."""
    request = read(Word.ROLLBACK, {"group": "nodes", "why": "wrong balances", "rollout": "r-1"})
    assert (request.why, request.rollout) == ("wrong balances", "r-1")
    assert read(Word.ROLLBACK, {"group": "nodes"}).why == ""


@pytest.mark.parametrize("then", ["resume", "rollback"])
def test_release_says_what_then(then: str) -> None:
    """A HELD rollout goes on or back."""
    assert read(Word.RELEASE, {"group": "nodes", "then": then}).then == then


@pytest.mark.parametrize(
    ("word", "payload", "says"),
    [
        (Word.START, None, "the payload is None, not a JSON object"),
        (Word.START, "nodes", "not a JSON object"),
        (Word.START, {}, "group is missing; the groups of staging are: nodes, explorers"),
        (Word.START, {"group": "node", "image": "1"}, "group is 'node'; the groups of staging are: nodes"),
        (Word.START, {"group": ["nodes"], "image": "1"}, "group is ['nodes']"),
        (Word.START, {"group": "nodes"}, "either image or configuration"),
        (Word.START, {"group": "nodes", "image": "1", "configuration": True}, "either image or configuration"),
        (Word.START, {"group": "nodes", "configuration": "yes"}, "configuration is 'yes', not true or false"),
        (Word.START, {"group": "nodes", "image": "sha256:ab"}, "a digest is sha256: and 64 hex digits"),
        (Word.START, {"group": "nodes", "image": "xai/node:2.1.0"}, "the repository is the group's"),
        (Word.START, {"group": "nodes", "image": 2.1}, "image is 2.1, not a text"),
        (Word.START, {"group": "nodes", "image": " "}, "not a text"),
        (Word.START, {"group": "nodes", "image": "1", "force": "frozen"}, "force is 'frozen'"),
        (Word.START, {"group": "nodes", "image": "1", "force": ["smoke"]}, "force is ['smoke']"),
        (Word.START, {"group": "nodes", "image": "1", "force": [["frozen"]]}, "force is"),
        (Word.START, {"group": "nodes", "image": "1", "then": "resume"}, "unknown key 'then'"),
        (Word.ROLLBACK, {"group": "nodes", "image": "1"}, "unknown key 'image'"),
        (Word.ROLLBACK, {"group": "nodes", "why": "x" * 1001}, "not a text of 1 to 1000 characters"),
        (Word.ROLLBACK, {"group": "nodes", "rollout": 7}, "rollout is 7"),
        (Word.RELEASE, {"group": "nodes", "then": "abort"}, "then is 'abort'"),
        (Word.RELEASE, {"group": "nodes", "then": ["resume"]}, "then is ['resume']"),
        (Word.ADOPT, {"group": "nodes", "why": "x"}, "unknown key 'why'"),
    ],
)
def test_wrong_payload_is_answered_with_what_is_allowed(word: Word, payload: Any, says: str) -> None:
    """What is wrong, what is allowed, and an example that works."""
    with pytest.raises(BadRequestError) as caught:
        read(word, payload)
    message = str(caught.value)
    assert says in message
    assert all(key in message for key in ALLOWED[word])
    example = re.search(r"Example: (\{.*\})$", message)
    assert example is not None
    assert read(word, json.loads(example[1]))


def test_wrong_force_names_every_reason_that_may_be_forced() -> None:
    """Nobody has to look them up."""
    with pytest.raises(BadRequestError) as caught:
        read(Word.START, {"group": "nodes", "image": "1", "force": ["x"]})
    assert all(reason in str(caught.value) for reason in FORCEABLE)


@pytest.mark.parametrize("payload", [None, "", {}])
def test_status_of_nothing_is_of_all(payload: Any) -> None:
    """An empty payload asks for every group."""
    assert group_asked("status", payload, FLEET) is None


def test_status_takes_a_group() -> None:
    """Or for one."""
    assert group_asked("status", {"group": "explorers"}, FLEET) == "explorers"


@pytest.mark.parametrize("payload", [{"group": "x"}, {"group": []}, {"group": "nodes", "x": 1}, [], "nodes", 0])
def test_wrong_status_names_the_groups(payload: Any) -> None:
    """A wrong group is answered with those that exist."""
    with pytest.raises(BadRequestError, match="nodes, explorers"):
        group_asked("status", payload, FLEET)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
payloads = json_values | st.fixed_dictionaries(
    {"group": st.just("nodes") | json_values},
    optional=dict.fromkeys(("image", "configuration", "force", "why", "rollout", "then"), json_values),
)


@given(st.sampled_from(Word), payloads)
def test_any_payload_is_a_request_or_an_answer(word: Word, payload: Any) -> None:
    """No payload fails in any other way."""
    try:
        request = read(word, payload)
    except BadRequestError:
        return
    assert request.group in FLEET.groups
    assert request.forced <= FORCEABLE


def test_answer_to_a_huge_payload_is_short() -> None:
    """What was sent is shown in a few words."""
    with pytest.raises(BadRequestError) as caught:
        read(Word.START, {"group": "x" * 100_000})
    assert len(str(caught.value)) < 1000
