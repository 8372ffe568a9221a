"""The fleet files load, and a wrong one is answered with file, line, key, what was found and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from chalicelib.errors import MisconfiguredError
from chalicelib.fleet.__main__ import main
from chalicelib.fleet.load import load
from chalicelib.fleet.schema import schema_text

FLEET = Path(__file__).parents[2] / "chalicelib" / "fleet"
STAGES = ("development", "staging", "production")


def problems_of(tmp_path: Path, *changes: tuple[str, str], text: str | None = None) -> list[str]:
    """Change the development fleet file and return what the loader says about it."""
    text = text if text is not None else (FLEET / "development.yaml").read_text()
    for found, put in changes:
        assert found in text
        text = text.replace(found, put, 1)
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(MisconfiguredError) as caught:
        load(path)
    return str(caught.value).splitlines()


def line_of(text: str) -> int:
    """The line of the development file on which this text first stands."""
    lines = (FLEET / "development.yaml").read_text().splitlines()
    return next(number for number, line in enumerate(lines, start=1) if text in line)


@pytest.mark.parametrize("stage", STAGES)
def test_shipped_file_loads(stage: str) -> None:
    """Each environment's fleet file is valid and says which environment it is."""
    assert load(FLEET / f"{stage}.yaml").environment == stage


def test_word_for_number_is_named_with_line_and_limit(tmp_path: Path) -> None:
    """A word where a number is wanted names file, line, key, the word and the limit."""
    found = problems_of(tmp_path, ("bake_seconds: 180", "bake_seconds: ten"))
    line = line_of("bake_seconds")
    assert found == [
        f"wrong.yaml:{line}: groups.nodes.limits.bake_seconds: 'ten' is not a whole number (allowed: greater than 0)"
    ]


def test_quoted_number_is_refused(tmp_path: Path) -> None:
    """Terraform would read "180" as text, so it is no number here either."""
    (found,) = problems_of(tmp_path, ("bake_seconds: 180", 'bake_seconds: "180"'))
    assert "'180' is not a whole number" in found


def test_unknown_key_suggests_the_nearest(tmp_path: Path) -> None:
    """A misspelt key is answered with the key that was meant, and the one that is missing is named as well."""
    found = problems_of(tmp_path, ("stall_seconds", "stal_seconds"))
    assert any("limits.stal_seconds: is not known here; did you mean stall_seconds?" in line for line in found)
    assert any("limits.stall_seconds: is missing (allowed: a whole number, greater than 0)" in line for line in found)


def test_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    """Terraform lets the later of two equal keys win silently; we refuse both."""
    text = (FLEET / "development.yaml").read_text()
    (found,) = problems_of(tmp_path, text=text + "cluster: other\n")
    assert found.endswith(f": cluster: stands twice; the first one is in line {line_of('cluster:')}")


@pytest.mark.parametrize(
    ("scalar", "hint"),
    [
        ("yes", 'write true, false or "yes"'),
        ("off", 'write true, false or "off"'),
        ("n", 'write "n"'),
        ("012", 'write "012"'),
        ("08", 'write "08"'),
        ("0x1f", 'write "0x1f"'),
        ("1_000", 'write "1_000"'),
        ("16:00", 'write "16:00"'),
        ("2026-11-23", 'write "2026-11-23"'),
        ("1e3", 'write "1e3"'),
        (".inf", 'write ".inf"'),
        ("", "write null, {} or []"),
    ],
)
def test_scalar_that_readers_differ_about_is_refused(tmp_path: Path, scalar: str, hint: str) -> None:
    """What YAML 1.1, YAML 1.2 and Terraform read differently must be quoted."""
    (found,) = problems_of(tmp_path, ("approval: false", f"approval: {scalar}"))
    assert found.startswith(f"wrong.yaml:{line_of('approval')}: groups.nodes.approval: ")
    assert hint in found


def test_number_where_text_is_wanted_asks_for_quotes(tmp_path: Path) -> None:
    """A version tag such as 1.10 would silently become 1.1."""
    (found,) = problems_of(tmp_path, ('tags: ["*"]', "tags: [1.10]"))
    assert "groups.nodes.tags[0]: 1.1 is not text; put it in quotes" in found


@pytest.mark.parametrize("key", ["yes", "12", "y", "2026-11-23"])
def test_key_that_is_not_text_to_everyone_is_refused(tmp_path: Path, key: str) -> None:
    """A key that another reader takes for a boolean or a number must be quoted."""
    found = problems_of(tmp_path, ("environment: {XAI_MINING_ENABLED:", f"environment: {{{key}:"))
    assert any(f'the key {key} is not text to every reader; write "{key}"' in line for line in found)


def test_all_problems_are_told_at_once_in_order(tmp_path: Path) -> None:
    """A person mends a file in one go: every problem is told, by line."""
    changes = (("kind: node", "kind: nodes"), ("port: 8080", "port: 0"), ("bake_blocks: 6", "bake_blocks: -1"))
    found = problems_of(tmp_path, *changes)
    assert len(found) == len(changes)
    assert [int(line.split(":")[1]) for line in found] == sorted(int(line.split(":")[1]) for line in found)
    assert "'nodes' is not allowed (allowed: node, http)" in found[0]


def test_rule_between_keys_names_its_section(tmp_path: Path) -> None:
    """A contradiction between two keys is told at the section that holds them."""
    (found,) = problems_of(tmp_path, ("deadline_seconds: 900", "deadline_seconds: 100"))
    assert "groups.nodes.limits: deadline_seconds (100) must be more than bake_seconds (180)" in found


def test_name_that_is_none_is_refused(tmp_path: Path) -> None:
    """A group's name must be one that AWS takes."""
    (found,) = problems_of(tmp_path, ("  nodes:", "  1nodes:"))
    assert "'1nodes' is not a name" in found


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("a: [", "not readable as YAML"),
        ("", "a fleet file is a mapping"),
        ("- a\n", "a fleet file is a mapping"),
        ("groups: &x [*x]\n", "an alias stands inside its own anchor"),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", "<< is refused"),
        ("? [a]\n: 1\n", "a key must be text"),
        ("a: !!python/object:os.system {}\n", "not readable as YAML"),
        ("a: 1\n---\nb: 2\n", "not readable as YAML"),
    ],
)
def test_text_that_is_no_fleet_file_is_refused(tmp_path: Path, text: str, hint: str) -> None:
    """What is not one plain YAML mapping is refused with its line, and never executed."""
    assert any(hint in line for line in problems_of(tmp_path, text=text))


def test_missing_file_is_named(tmp_path: Path) -> None:
    """A path that is no file is a problem of the configuration, not a stack trace."""
    with pytest.raises(MisconfiguredError, match=r"absent\.yaml: could not read"):
        load(tmp_path / "absent.yaml")


def test_schema_file_is_up_to_date() -> None:
    """schema.json is what the model says; `python -m chalicelib.fleet --schema` writes it."""
    assert (FLEET / "schema.json").read_text() == schema_text()


def test_command_says_what_is_wrong_by_exit_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """0 for good files, 1 for problems, 2 for wrong usage."""
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text((FLEET / "staging.yaml").read_text().replace("cluster:", "clustre:"))
    assert main([str(FLEET / f"{stage}.yaml") for stage in STAGES]) == 0
    assert main([str(FLEET / "staging.yaml"), str(wrong)]) == 1
    assert "did you mean cluster?" in capsys.readouterr().out
    assert main([str(tmp_path / "absent.yaml")]) == 2
    assert main([]) == 2
    assert main(["--schema"]) == 0
