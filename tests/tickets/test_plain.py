"""Plain text: what people read where there is no markup, and no link but ours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.incident.document import Block, Code, Heading, Picture, bullets, line, link, paragraph, strong
from chalicelib.tickets.plain import CUT, cut, plain, unlinked

OURS = "https://ours.test/run?a=1"
ADDRESSES = st.lists(st.sampled_from(["https", ":", "//", "www", ".", "evil.test", "mailto", "_", " ", "W", "\n"])).map(
    "".join
)


@pytest.mark.parametrize(
    ("block", "shown"),
    [
        (Heading("What changed"), "WHAT CHANGED"),
        (paragraph("a ", strong("b"), " c"), "a b c"),
        (paragraph("see ", link("the run", OURS), "."), f"see the run ({OURS})."),
        (bullets("one", line("two ", link("there", OURS))), f"- one\n- two there ({OURS})"),
        (Code("first\n  second"), "    first\n      second"),
        (Picture("memory", OURS), f"memory ({OURS})"),
        (paragraph("<b>**x**</b> `y` [z](w)"), "<b>**x**</b> `y` [z](w)"),
    ],
)
def test_block_is_shown_as_people_read_it(block: Block, shown: str) -> None:
    """No markup of any tracker is added, and none is taken away."""
    assert plain((block,)) == shown


def test_blocks_are_parted_by_a_blank_line() -> None:
    """A heading stands above its text; nothing at all is an empty text."""
    assert plain((Heading("a"), paragraph("b"))) == "A\n\nb"
    assert plain(()) == ""


@pytest.mark.parametrize(
    "address", ["https://evil.test/x", "HTTP://EVIL.TEST", "www.evil.test", "_www.evil.test", "mailto:a@b"]
)
def test_address_from_outside_is_readable_and_no_link(address: str) -> None:
    """Every character of it stays; a joiner that nobody sees keeps a mail program from linking it."""
    assert unlinked(address) != address
    assert unlinked(address).replace("\u200d", "") == address


@given(ADDRESSES | st.text())
def test_only_our_addresses_are_links(raw: str) -> None:
    """Wherever text from outside stands: in prose, in a list, in a heading, in code, as the words of a link of ours."""
    document = (
        Heading(raw), paragraph(raw), paragraph(strong(raw)), bullets(raw), Code(raw), Picture(raw, OURS),
        paragraph(link(raw, OURS)),
    )  # fmt: skip
    shown = plain(document).lower()
    assert shown.count(OURS) == 2
    assert shown.count("://") == 2
    assert "www." not in shown
    assert "mailto:" not in shown


@given(st.text())
def test_line_from_outside_stays_one_line(raw: str) -> None:
    """It can neither begin a list of its own nor look like the next block."""
    assert "\n" not in plain((paragraph(raw),))
    assert plain((bullets(raw, raw),)).count("\n") == 1


@given(st.text(max_size=60), st.integers(min_value=len(CUT), max_value=60))
def test_cut_text_fits_and_says_so(text: str, most: int) -> None:
    """What fits is left alone; of the rest the beginning stays."""
    kept = cut(text, most)
    assert len(kept) <= most
    assert kept == text or (kept.endswith(CUT) and text.startswith(kept.removesuffix(CUT)) and len(text) > most)
