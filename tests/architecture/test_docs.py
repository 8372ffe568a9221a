"""Docs name only what exists: scenarios, tests, limits, reasons, and files they link to."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from chalicelib.fleet.load import load
from chalicelib.fleet.model import Incidents, Limits
from chalicelib.health import judge
from chalicelib.health.model import Standing
from chalicelib.incident.ourselves import KIND as TICK_FAILED
from chalicelib.rollout.model import Phase, Word
from chalicelib.rollout.preflight import FORCEABLE
from chalicelib.rollout.render import KINDS
from sandbox.scenarios import SCENARIOS

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md")))
RELIABILITY = (ROOT / "docs" / "reliability.md").read_text()
ROLLOUT = (ROOT / "docs" / "rollout.md").read_text()
# Findings that are good by their name, or that only ever wait: no rollout ends for them.
NO_ENDS = {
    "tasks_running", "targets_healthy", "height_measured", "height_kept", "height_advancing", "chain_stands", "anchor_hash",
    "same_chain",
}  # fmt: skip


def rows(page: str) -> Iterator[list[str]]:
    """The cells of every row of a page's tables."""
    for line in page.splitlines():
        if line.startswith("|") and not line.startswith("|---"):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def section(page: str, title: str) -> str:
    """What stands under a heading."""
    return page.split(f"\n## {title}\n")[1].split("\n## ", maxsplit=1)[0]


def test_named_scenarios_exist() -> None:
    """Every scenario in the tables can be run, and every scenario that there is stands in the tables."""
    cells = [row[-1] for name in ("Cases from the field", "What must hold") for row in rows(section(RELIABILITY, name))]
    assert {name for cell in cells for name in re.findall(r"`([a-z0-9-]+)`", cell)} == set(SCENARIOS)


def test_named_tests_exist() -> None:
    """A case without its test is a claim without proof."""
    named = re.findall(r"([\w/]+)::(\w+)", RELIABILITY.split("\n## ", 1)[1])
    assert named
    lost = [f"{file}::{name}" for file, name in named if not re.search(rf"(def|class) {name}\b", _source(file))]
    assert lost == []


def _source(file: str) -> str:
    path = ROOT / "tests" / ("run/test_rollouts.py" if file == "rollouts" else f"{file}.py")
    return path.read_text() if path.is_file() else ""


def test_all_twenty_cases_stand_in_the_table() -> None:
    """None is left out, and each is shown by something."""
    cases = [row for row in rows(section(RELIABILITY, "Cases from the field")) if row[0].isdigit()]
    assert [int(row[0]) for row in cases] == list(range(1, 21))
    assert [row[0] for row in cases if "::" not in row[-1] and "scenario" not in row[-1]] == []


def test_thresholds_are_those_of_the_fleet_files() -> None:
    """Each limit with its default and what staging, development and production set."""
    told = {row[0].strip("`"): row[2:5] for row in rows(section(ROLLOUT, "Thresholds"))}
    staging, development, production = (
        load(ROOT / "chalicelib" / "fleet" / f"{name}.yaml").groups["nodes"].limits
        for name in ("staging", "development", "production")
    )
    assert staging == development
    for key, field in Limits.model_fields.items():
        default = "none" if field.is_required() else f"{field.default:g}"
        assert told[key] == [default, f"{getattr(staging, key):g}", f"{getattr(production, key):g}"], key


def test_every_reason_says_what_to_do() -> None:
    """Whatever word a rollout may end or wait with stands in the table, and no other."""
    told = {name for row in rows(section(ROLLOUT, "Reasons and what to do")) for name in re.findall(r"`(\w+)`", row[0])}
    told.discard("reason")
    assert told == set(_reasons())


def _reasons() -> Iterator[str]:
    """The reasons in the source: those given to phases and objections, and the names of findings that may be bad."""
    yield from FORCEABLE
    yield "targets_healthy"  # good, waiting or bad under one name
    for path in sorted((ROOT / "chalicelib" / "rollout").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                yield from _given(node)
            elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "reason":
                yield from _words(node.value)
    for node in ast.walk(ast.parse(Path(judge.__file__).read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "_finding":
            yield from set(_words(node.args[0])) - NO_ENDS


def _given(call: ast.Call) -> Iterator[str]:
    name = getattr(call.func, "id", "")
    position = {"enter": 2, "hold": 1, "begin_way_back": 1, "_refuse": 0, "_wait": 0}.get(name)
    if position is not None:
        yield from _words(call.args[position])
    if name in {"_end", "Objection", "replace"}:
        yield from (word for keyword in call.keywords if keyword.arg == "reason" for word in _words(keyword.value))


def _words(value: ast.expr) -> Iterator[str]:
    """The texts that an expression may be; the condition of an `a if b else c` is none of them."""
    match value:
        case ast.Constant(value=str(word)):
            yield word
        case ast.IfExp(body=body, orelse=other):
            yield from _words(body)
            yield from _words(other)


def test_every_phase_word_and_force_stands_in_the_operators_page() -> None:
    """An operator finds each phase, each command and what may be forced."""
    phases = {word for row in rows(section(ROLLOUT, "Phases")) for word in re.findall(r"[A-Z_]{4,}", row[0])}
    assert phases == {phase.value for phase in Phase}
    commands = {row[0].strip("`") for row in rows(section(ROLLOUT, "Commands"))} - {"name"}
    assert commands == {"rollout" if word is Word.START else word.value for word in Word} | {"status"}
    (forced,) = re.findall(r"What may be forced: (.*)\.", ROLLOUT)
    assert set(re.findall(r"`(\w+)`", forced)) == FORCEABLE
    for standing in (Standing.GOOD, Standing.UNKNOWN, Standing.BAD, Standing.DAMAGED):
        assert standing.value.upper() in ROLLOUT


def test_readme_stays_short() -> None:
    """A newcomer reads it in one sitting."""
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """A relative link names a file that is there."""
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_files_exist(page: Path) -> None:
    """A path of ours in a page is a file that is there."""
    named = re.findall(r"`((?:chalicelib|sandbox|tests|tools|fence|bench)/[\w./-]+)`", page.read_text())
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_each_kind_of_incident_has_its_runbook() -> None:
    """A ticket links to it; a page without a kind is a leftover."""
    kinds = set(KINDS.values()) | {"rollout", TICK_FAILED}
    for name in ("development", "staging", "production"):
        kinds |= {rule.kind for rule in load(ROOT / "chalicelib" / "fleet" / f"{name}.yaml").incidents.alarms}
    pages = {path.stem for path in (ROOT / "docs" / "runbooks").glob("*.md")} - {"README"}
    assert pages == kinds
    index = (ROOT / "docs" / "runbooks" / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\[(\w+)\]\(\w+\.md\)", index)) == kinds


def test_numbers_of_incidents_are_those_of_the_model() -> None:
    """Each default in the table is the model's."""
    text = (ROOT / "docs" / "incidents.md").read_text(encoding="utf-8")
    told = {
        row[0].strip("`"): row[1] for row in rows(text.split("## The life of an incident")[1]) if row[0].startswith("`")
    }
    for key in ("gather", "update", "repeat", "settle", "reopen", "read_back", "budget"):
        assert told[f"{key}_seconds"] == f"{Incidents.model_fields[f'{key}_seconds'].default}"
