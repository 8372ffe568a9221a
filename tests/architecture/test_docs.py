"""Docs name only what exists: scenarios, tests, and files they link to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sandbox.scenarios import SCENARIOS

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
RELIABILITY = (ROOT / "docs" / "reliability.md").read_text()
ROLLOUTS = (ROOT / "tests" / "run" / "test_rollouts.py").read_text()


def test_named_scenarios_exist() -> None:
    """Every scenario in the tables can be run, and every scenario that there is stands in the tables."""
    rows = [line for line in RELIABILITY.splitlines() if line.startswith("|")]
    named = {name for row in rows for name in re.findall(r"`([a-z0-9-]+)`", row.rsplit("|", 2)[1])}
    assert named - set(SCENARIOS) == set()
    assert set(SCENARIOS) - named - {"bad-explorer"} == set()


def test_named_tests_exist() -> None:
    """A case without its test is a claim without proof."""
    named = re.findall(r"rollouts::(test_\w+)", RELIABILITY)
    assert named
    assert [name for name in named if f"def {name}(" not in ROLLOUTS] == []


def test_all_twenty_cases_stand_in_the_table() -> None:
    """None is left out."""
    numbers = re.findall(r"^\| (\d+) \|", RELIABILITY, re.MULTILINE)
    assert [int(number) for number in numbers] == list(range(1, 21))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """A relative link names a file that is there."""
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []
