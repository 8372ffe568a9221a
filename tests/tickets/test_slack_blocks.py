"""Documents as Block Kit: judged by Slack's own models and types, and safe whatever text they hold."""

from __future__ import annotations

import html
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator
from slack_sdk.errors import SlackObjectFormationError
from slack_sdk.models.blocks import Block

from chalicelib.incident.document import (
    Code,
    Document,
    Heading,
    Picture,
    Run,
    bullets,
    line,
    link,
    paragraph,
    strong,
)
from chalicelib.tickets.slack_blocks import (
    CUT,
    MOST_BLOCKS,
    MOST_BODY,
    MOST_BYTES,
    MOST_FALLBACK,
    MOST_HEADER,
    MOST_OBJECT,
    blocks,
    context,
    escape,
    fallback,
    header,
    plain,
)

TYPES, GENERATOR = "@slack/types@3.2.0", "ts-json-schema-generator@2.4.0"
HOSTILE = (
    "<!channel> <@U1> <#C1> <http://x|y> @here *b* _i_ ~s~ `c` ```d``` > q :smile: https://evil.test &lt;!here&gt;"
)
EVERYTHING: Document = (
    Heading("Numbers"),
    paragraph("memory ", strong("93 %"), " of ", link("the limit", "https://console.test/a?b=c&d")),
    bullets("node-1", line("node-2: ", strong("down"))),
    Code("line 1\n  line 2"),
    Picture("memory", "https://pictures.test/1.png"),
    Heading("Next"),
    paragraph("look"),
)

texts = st.one_of(st.text(max_size=80), st.sampled_from([HOSTILE, "", " ", "\n", "x" * 600, "ж" * 600, "👩‍🚀" * 200]))
urls = st.one_of(st.sampled_from(["https://ours.test/a", "javascript:alert(1)", "", "https://x/" + "a" * 4000]), texts)
runs = st.builds(Run, text=texts, strong=st.booleans(), url=st.one_of(st.none(), urls))
lines = st.lists(runs, max_size=4).map(tuple)
documents = st.lists(
    st.one_of(
        st.builds(Heading, texts),
        lines.map(lambda each: paragraph(*each)),
        st.lists(lines, max_size=4).map(lambda each: bullets(*each)),
        st.builds(Code, st.one_of(texts, st.lists(texts, max_size=60).map("\n".join))),
        st.builds(Picture, texts, urls),
    ),
    max_size=90,
).map(tuple)


@pytest.fixture(scope="session")
def types() -> Draft7Validator:
    """Slack's own TypeScript types of a block as a JSON schema, made once and kept in the cache."""
    return Draft7Validator(json.loads(_schema().read_text()))


def _schema() -> Path:
    """Types say which fields there are; lengths they do not know, slack_sdk does."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "xai-ops" / "slack-types-3.2.0"
    schema = cache / "KnownBlock.json"
    if not schema.exists():
        cache.mkdir(parents=True, exist_ok=True)
        install = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(cache)]
        _run([*install, TYPES, GENERATOR], cache)
        entry = str(cache / "node_modules/@slack/types/dist/index.d.ts")
        made = f"{schema}.{os.getpid()}"
        generate = [str(cache / "node_modules/.bin/ts-json-schema-generator"), "--path", entry, "--no-type-check"]
        _run([*generate, "--type", "KnownBlock", "-o", made], cache)
        Path(made).rename(schema)
    return schema


def _run(command: list[str], folder: Path) -> None:
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=120)
    except FileNotFoundError:
        pytest.fail("Slack's types are the judge of its blocks, and making them a schema needs npm")
    except subprocess.CalledProcessError as error:
        pytest.fail(f"could not make a schema of Slack's types with {command[0]}: {error.stderr[-500:]}")


def judge(made: list[dict[str, Any]], types: Draft7Validator) -> None:
    """Refuse what Slack's models or types refuse, and anything that they do not know."""
    for block in made:
        errors = [f"{'/'.join(map(str, e.absolute_path))}: {e.message[:200]}" for e in types.iter_errors(block)]
        assert not errors
        parsed = Block.parse(block)
        assert parsed is not None, f"unknown block: {block['type']}"
        assert parsed.to_dict() == block  # lengths are checked here; what is unknown comes back as nothing


def elements(value: Any) -> Iterator[dict[str, Any]]:
    """Every element of blocks, however deep."""
    if isinstance(value, dict):
        if "type" in value:
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from elements(each)


def test_document_becomes_rich_text_of_the_same_shape(types: Draft7Validator) -> None:
    """A heading opens a block; lines, lists and code keep their order."""
    made = blocks(EVERYTHING)
    judge(made, types)
    assert [[e["type"] for e in block["elements"]] for block in made] == [
        ["rich_text_section", "rich_text_list", "rich_text_preformatted", "rich_text_section"],
        ["rich_text_section"],
    ]
    first, entries, code, picture = made[0]["elements"]
    assert first["elements"] == [
        {"type": "text", "text": "Numbers", "style": {"bold": True}},
        {"type": "text", "text": "\n"},
        {"type": "text", "text": "memory "},
        {"type": "text", "text": "93 %", "style": {"bold": True}},
        {"type": "text", "text": " of "},
        {"type": "link", "url": "https://console.test/a?b=c&d", "text": "the limit"},
    ]
    assert [len(entry["elements"]) for entry in entries["elements"]] == [1, 2]
    assert code["elements"] == [{"type": "text", "text": "line 1\n  line 2"}]
    assert picture["elements"] == [{"type": "link", "url": "https://pictures.test/1.png", "text": "memory"}]


def test_empty_document_has_no_blocks() -> None:
    """Slack refuses empty text elements, so what is empty is left out."""
    assert blocks(()) == []
    assert blocks((paragraph(""), bullets(), bullets("", " "), Code("\n"), Heading(""))) == []
    assert fallback(()) == "(no text)"


def test_text_from_outside_stays_literal() -> None:
    """In a text element nothing is markup: it is there as it was, and there is no other element."""
    made = blocks((Heading(HOSTILE), paragraph(HOSTILE), bullets(HOSTILE), Code(HOSTILE)))
    leaves = [e for e in elements(made) if "text" in e]
    assert {e["type"] for e in leaves} == {"text"}
    assert [e["text"] for e in leaves if e["text"] != "\n"] == [HOSTILE] * 4


@pytest.mark.parametrize(
    "url", ["", "javascript:alert(1)", "mailto:a@b", "https://", "https://a b", f"https://{'a' * 3000}"]
)
def test_link_that_slack_would_refuse_is_text(url: str) -> None:
    """One bad address must not make Slack refuse the whole message."""
    (block,) = blocks((paragraph(link("here", url)),))
    assert block["elements"][0]["elements"] == [{"type": "text", "text": "here"}]


def test_code_keeps_its_last_lines() -> None:
    """Of a log, the end tells most."""
    (block,) = blocks((Code("\n".join(f"{number:0>300}" for number in range(40))),))
    (element,) = block["elements"][0]["elements"]
    assert element["text"].endswith(f"{39:0>300}")
    assert 2500 < len(element["text"]) <= MOST_OBJECT


def test_long_document_is_cut_and_says_so(types: Draft7Validator) -> None:
    """What does not fit is left out from the end, with a word about it."""
    made = blocks(tuple(paragraph(f"{number} " + "x" * 480) for number in range(80)))
    judge(made, types)
    assert json.dumps(made).count(CUT) == 1
    assert next(reversed(list(elements(made))))["text"] == CUT
    assert len(json.dumps(made)) < MOST_BODY + 1000


def test_many_headings_stay_within_the_number_of_blocks(types: Draft7Validator) -> None:
    """The last block takes what is over."""
    made = blocks(tuple(Heading(f"h{number}") for number in range(60)))
    judge(made, types)
    assert len(made) == MOST_BLOCKS - 2
    assert "h59" in json.dumps(made[-1])


@pytest.mark.parametrize(
    "block",
    [
        {"type": "header", "text": {"type": "plain_text", "text": "x" * 151, "emoji": False}},
        {"type": "header", "text": {"type": "mrkdwn", "text": "x"}},
        {"type": "unheard_of"},
        {"type": "rich_text", "elements": [{"type": "text", "text": "outside of a section"}]},
        {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": [{"type": "text", "txt": "x"}]}]},
    ],
)
def test_judges_refuse_what_slack_refuses(block: dict[str, Any], types: Draft7Validator) -> None:
    """A judge that takes everything proves nothing."""
    with pytest.raises((AssertionError, SlackObjectFormationError)):
        judge([block], types)


def test_title_and_small_print_are_plain_and_bounded(types: Draft7Validator) -> None:
    """A title is cut to the limit of a header; an empty one is not sent."""
    made = [header("x" * 400), header(""), header(HOSTILE), context(plain("y" * 4000), plain(HOSTILE))]
    judge(made, types)
    assert len(made[0]["text"]["text"]) == MOST_HEADER
    assert made[1]["text"]["text"] == "(no title)"
    assert made[2]["text"] == {"type": "plain_text", "text": HOSTILE, "emoji": False}


def test_notification_is_escaped_and_short() -> None:
    """The field `text` is markup: no mention or link of outside survives, and no entity is cut in two."""
    assert fallback((Heading(HOSTILE),)) == escape(HOSTILE)
    long = fallback((paragraph("<" * 400), paragraph("&" * 400)))
    assert html.unescape(long) == ("<" * 400 + " · " + "&" * 400)[: MOST_FALLBACK - 1] + "…"


@settings(max_examples=60, deadline=None)
@given(documents, texts)
def test_whatever_a_document_holds_slack_takes_it_as_text(
    types: Draft7Validator, document: Document, title: str
) -> None:
    """No text makes an element of another kind, and every limit is kept."""
    made = [header(title), context(plain(title)), *blocks(document)]
    judge([block for block in made if block != context(plain(""))], types)
    assert len(made) <= MOST_BLOCKS
    assert len(json.dumps(made, ensure_ascii=False).encode()) < MOST_BYTES
    kinds = {"header", "context", "plain_text", "rich_text", "text", "link"}
    kinds |= {"rich_text_section", "rich_text_list", "rich_text_preformatted"}
    for element in elements(made):
        assert element["type"] in kinds
        assert element["type"] != "link" or element["url"] in {"https://ours.test/a"} | _urls(document)
        assert "text" not in element or element["text"] or element["type"] == "plain_text"
    assert not set(fallback(document)) & {"<", ">"}
    assert len(html.unescape(fallback(document))) <= MOST_FALLBACK


def _urls(document: Document) -> set[str]:
    """Every URL that a document names as ours."""
    found: set[str] = set()
    for block in document:
        if isinstance(block, Picture):
            found.add(block.url)
        for each in getattr(block, "lines", ()) or (getattr(block, "line", ()),):
            found |= {run.url for run in each if run.url is not None}
    return found
