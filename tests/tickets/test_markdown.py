"""Markdown: what is ours is formatted, text from outside is shown and not obeyed.

Judged by two readers: markdown-it, which tells what each piece became, and GitHub's own parser (cmark-gfm), which knows
what GitHub makes links of without being asked. Mentions and references are made after parsing: they are looked for in
the text that a page shows.
"""

from __future__ import annotations

import html
import re

import cmarkgfm
import pytest
from cmarkgfm.cmark import Options
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from chalicelib.incident.document import Block, Code, Document, Heading, Picture, bullets, line, link, paragraph, strong
from chalicelib.tickets.markdown import escaped, markdown

MARKDOWN_IT = MarkdownIt("gfm-like", {"html": True, "linkify": False})
# Pieces that mean something to GitHub. Put together at random they find what a list of whole attacks does not.
PIECES = (
    "www.evil.test", "WWW.evil.test", "https://evil.test", "ftp://evil.test", "mailto:a@evil.test",
    "xmpp:a@evil.test/b", "a@evil.test", "@xai/admins", "@ann", "#12", "GH-3", "gh-3", "xai/ops#4",
    "ann@16c999e8c71134401a78d4d46435517b2271d6ac", "<script>", "</script>", "<img src=x>", "<!--", "-->",
    "<https://evil.test>", "[a](https://evil.test)", "![b](https://evil.test/p.png)", "[^1]", "[^1]: x",
    "[a]: https://evil.test", "- [ ]", "|", "| - |", ":-:", "~~", "```", "`", "**", "__", "_", "*", "#", "###", ">",
    "> [!WARNING]", "1.", "1)", "-", "+", "=", "===", "---", "$", "$$", "&", "&#64;", "&lt;", "\\", "(", ")", "[",
    "]", "!", "a", "0", "é", " ", "  ", "    ", "\t", "\n", "\n\n", "\r\n", "\u2028", "\u200b",
)  # fmt: skip
HOSTILE = st.lists(st.sampled_from(PIECES) | st.characters(), max_size=12).map("".join)
# What a page of ours consists of when every word in it is from outside.
OURS = frozenset(("h3", "p", "ul", "li", "strong"))


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("**bold** `code` [a](b)", r"\*\*bold\*\* \`code\` \[a\]\(b\)"),
        ("<script>&amp;", r"&lt;script\>&amp;amp;"),
        ("@xai/admins", "@\u200dxai/admins"),
        ("see #12 and GH-3", "see \\#\u200d12 and GH\u200d-3"),
        ("_GH-3 but high-3", "\\_GH\u200d-3 but high-3"),
        ("https://evil.test www.evil.test", "https:\u200d//evil.test www\u200d.evil.test"),
        ("a_www.evil.test", "a\\_www\u200d.evil.test"),
        ("# head", "\\# head"),
        ("$x$", "&#36;x&#36;"),
    ],
)
def test_markup_is_shown_not_obeyed(raw: str, shown: str) -> None:
    """A reader sees the characters; the tracker sees nothing to act on."""
    assert escaped(raw) == shown


def pages_of(raw: str) -> tuple[tuple[Block, set[str]], ...]:
    """Every place in which text from outside stands, and what may be made of it there."""
    return (
        (paragraph(raw), {"paragraph"}),
        (paragraph("why: ", raw), {"paragraph"}),
        (paragraph(strong(raw)), {"paragraph", "strong"}),
        (paragraph(" ", " ", " ", " ", raw), {"paragraph"}),  # blanks in front make code of a line
        (bullets(raw, raw), {"bullet_list", "list_item", "paragraph"}),
        (Heading(raw), {"heading"}),
    )


@given(HOSTILE | st.text())
@example("_www.evil.test")
def test_any_text_is_words_and_nothing_else(raw: str) -> None:
    """No link, picture, heading, list, emphasis, code, table or HTML that was not ours."""
    for block, ours in pages_of(raw):
        page = markdown((block,))
        made = kinds_of(page) - {"inline", "text", "text_special", "softbreak"}
        assert made <= ours, (made - ours, page)
        assert tags_of(page) <= OURS, (tags_of(page) - OURS, page)


@given(HOSTILE)
def test_text_of_neighbours_does_not_join_into_markup(raw: str) -> None:
    """One block's text cannot open what the next one closes, nor define what another one refers to."""
    document = tuple(block for block, _ in pages_of(raw))
    page = markdown((*document, Code(raw), *document))
    assert tags_of(page) <= OURS | {"pre", "code"}, page
    assert html_of(page).count("<pre") == 1


@given(HOSTILE)
def test_text_on_a_link_of_ours_leaves_it_ours(raw: str) -> None:
    """Words from outside may stand on our link or picture; its address stays ours, and there is one."""
    for block in (paragraph(link(raw, "https://ours.test/a(b)")), Picture(raw, "https://ours.test/a(b)")):
        page = html_of(markdown((block,)))
        assert re.findall(r'<(?:a|img)\b[^>]*?(?:href|src)="([^"]*)"', page) == ["https://ours.test/a(b)"], page
        assert tags_of(markdown((block,))) <= {"p", "a", "img"}


@given(HOSTILE | st.text())
@example("_GH-3")
def test_any_text_calls_and_refers_to_nobody(raw: str) -> None:
    """GitHub looks for mentions and references in what the page shows."""
    for block, _ in pages_of(raw):
        seen = text_of(markdown((block,)))
        assert not re.search(r"@\w|#\d|://|(?i:www\.)|(?<![^\W_])(?i:gh)-\d", seen), seen


@given(HOSTILE)
def test_reader_sees_every_character(raw: str) -> None:
    """Escaping takes nothing away: what the page shows is the cleaned text."""
    cleaned = paragraph(raw).line[0].text.strip()
    assert text_of(markdown((paragraph(raw),))).replace("\u200d", "") == cleaned


@given(HOSTILE | st.text(alphabet=st.sampled_from("`~\n\r a<@#\x1b[\u2028")))
def test_code_stays_closed(raw: str) -> None:
    """For any text: the only line that could close the fence is the last one."""
    page = markdown((Code(raw),))
    opening, *inside, closing = page.split("\n")
    assert opening == f"{closing}text"
    assert set(closing) == {"`"}
    assert all(closing not in line for line in inside)
    assert not re.search(r"[\r\x1b\u2028]", "".join(inside))
    assert tags_of(page) <= {"pre", "code"}


def test_what_is_ours_is_formatted() -> None:
    """Headings, lists, strong words, links and pictures."""
    blocks: Document = (
        Heading("What"),
        paragraph("a ", strong("b"), ": ", link("c", "https://ours.test/a(b)")),
        bullets("d", line("e ", strong("f"))),
        Picture("graph", "https://ours.test/g.png"),
    )
    assert markdown(blocks) == (
        "### What\n\na **b**: [c](<https://ours.test/a(b)>)\n\n- d\n- e **f**\n\n![graph](<https://ours.test/g.png>)"
    )


@pytest.mark.parametrize(("raw", "shown"), [("1. first", "1\\. first"), ("- a", "\\- a"), ("=== b", "\\=== b")])
def test_line_begins_no_list_and_no_rule(raw: str, shown: str) -> None:
    """What means something only at a line's beginning is escaped there alone."""
    assert markdown((paragraph(raw),)) == shown
    assert markdown((paragraph("a ", raw),)) == f"a {raw}"


def kinds_of(page: str) -> set[str]:
    """The kinds of everything that markdown-it makes of a page."""
    tokens = MARKDOWN_IT.parse(page)
    tokens += [child for token in tokens for child in token.children or ()]
    return {re.sub(r"_(open|close)$", "", token.type) for token in tokens}


def html_of(page: str) -> str:
    """The page as GitHub's parser makes it, with nothing filtered, so that whatever got through is seen."""
    options = Options.CMARK_OPT_UNSAFE | Options.CMARK_OPT_FOOTNOTES
    return str(cmarkgfm.github_flavored_markdown_to_html(page, options))


def tags_of(page: str) -> set[str]:
    """Every HTML element in it, and comments as what they are."""
    return set(re.findall(r"<(!|[a-zA-Z][\w-]*)", html_of(page)))


def text_of(page: str) -> str:
    """What a reader sees of it."""
    return html.unescape(re.sub(r"<[^>]*>", "", html_of(page))).strip()
