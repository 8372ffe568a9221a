"""One fleet file, one meaning: Terraform, Ansible and our loader read the same data from it, or our loader refuses it.

The two others read in their own real way, all files in one process each: Terraform by `yamldecode`, Ansible by what
`include_vars` and `vars_files` load with, templates opened as a task would. Each trap is a file in `nasty/`; chance finds more.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.errors import MisconfiguredError
from chalicelib.fleet.document import parse
from chalicelib.fleet.load import load

FLEET = sorted((Path(__file__).parents[2] / "chalicelib" / "fleet").glob("*.yaml"))
NASTY = {path.stem: path for path in sorted((Path(__file__).parent / "nasty").glob("*.yaml"))}
SECONDS = 120

AS_TERRAFORM = """
output "read" {
  value = jsonencode({
    for name in fileset("${path.module}/files", "*.yaml") : name =>
    try(jsonencode(yamldecode(file("${path.module}/files/${name}"))), null)
  })
}
"""

AS_ANSIBLE = """
import json, sys
from pathlib import Path

from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

loader = DataLoader()
templar = Templar(loader=loader, variables={})

def shown(data):
    if isinstance(data, dict):
        return {str(key) if isinstance(key, str) else f"not text: {key!r}": shown(data[key]) for key in data}
    if isinstance(data, list):
        return [shown(each) for each in data]
    return data if data is None or isinstance(data, (str, bool, int, float)) else {"not JSON": repr(data)}

read = {}
for path in Path("files").iterdir():
    try:
        loaded = loader.load_from_file(str(path), cache="none", trusted_as_template=True)
        read[path.name] = json.dumps(shown(templar.template(loaded)))
    except Exception:
        read[path.name] = None
json.dump(read, sys.stdout)
"""


class Number(NamedTuple):
    """A number as it is written: 1 is not 1.0, and no digit is lost."""

    kind: str
    written: str


class Reading(NamedTuple):
    """What each reader takes a file for; None is a refusal."""

    ours: Any
    terraform: Any
    ansible: Any


def exactly(text: str) -> Any:
    """JSON's data with every number as it is written."""
    return json.loads(
        text,
        parse_int=lambda written: Number("whole", written),
        parse_float=lambda written: Number("fraction", str(Decimal(written).normalize())),
        parse_constant=lambda written: Number("none", written),
    )


def as_we_read(path: Path) -> Any:
    """What the loader takes the file for, before it knows what a fleet is."""
    try:
        document = parse(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        return None
    return None if document.problems or not isinstance(document.data, dict) else exactly(json.dumps(document.data))


def run(*command: str | Path, folder: Path) -> str:
    """Run a reader in its folder, as if this machine had no settings for it, and return what it writes."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("TF_", "ANSIBLE_"))}
    environment |= {"CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1", "LC_ALL": "C.UTF-8"}
    environment |= {"ANSIBLE_HOME": str(folder / "ansible"), "ANSIBLE_CONFIG": str(folder / "ansible.cfg")}
    environment["ANSIBLE_REMOTE_TEMP"] = str(folder / "ansible" / "tmp")
    (folder / "ansible.cfg").touch()
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def terraform() -> str:
    """Where Terraform is; without it CI fails, and a developer's tests say what to install."""
    found = shutil.which("terraform")
    if found is None and os.environ.get("CI"):
        pytest.fail("terraform is not on PATH; CI must have Terraform 1.11 or later")
    return found or pytest.skip("terraform is not on PATH: install Terraform 1.11 or later to compare what it reads")


def readings(folder: Path, files: Mapping[str, bytes]) -> dict[str, Reading]:
    """Have all three readers read all files, each in one go."""
    program = terraform()
    (folder / "files").mkdir()
    for name, content in files.items():
        (folder / "files" / f"{name}.yaml").write_bytes(content)
    (folder / "main.tf").write_text(AS_TERRAFORM)
    run(program, "apply", "-auto-approve", "-input=false", folder=folder)
    by_terraform = json.loads(run(program, "output", "-raw", "read", folder=folder))
    by_ansible = json.loads(run(sys.executable, "-c", AS_ANSIBLE, folder=folder))
    return {
        name: Reading(
            as_we_read(folder / "files" / f"{name}.yaml"),
            *(
                None if text is None else exactly(text)
                for text in (by_terraform[f"{name}.yaml"], by_ansible[f"{name}.yaml"])
            ),
        )
        for name in files
    }


def is_one(reading: Reading) -> bool:
    """Whether what we accept is the same to the two others."""
    return reading.ours is None or reading.ours == reading.terraform == reading.ansible


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Reading]:
    """What the three take each fleet file and each nasty file for."""
    files = [*FLEET, *NASTY.values()]
    return readings(tmp_path_factory.mktemp("readers"), {path.stem: path.read_bytes() for path in files})


@pytest.mark.parametrize("stage", [path.stem for path in FLEET])
def test_fleet_file_is_the_same_data_to_all_three(read: dict[str, Reading], stage: str) -> None:
    """Each shipped fleet file is read, and read alike."""
    reading = read[stage]
    assert reading.ours["environment"] == stage
    assert reading.terraform == reading.ours
    assert reading.ansible == reading.ours


def test_playbook_gets_the_data_of_the_fleet_file(tmp_path: Path) -> None:
    """`include_vars` under a name of its own is how a playbook reads it: at the top, `groups` would be Ansible's own."""
    tasks = [
        task
        for path in FLEET
        for task in (
            {"ansible.builtin.include_vars": {"file": str(path), "name": "fleet"}},
            {
                "ansible.builtin.copy": {
                    "content": "{{ fleet | to_json }}",
                    "dest": str(tmp_path / path.stem),
                    "mode": "0600",
                }
            },
        )
    ]
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}
    (tmp_path / "play.yaml").write_text(json.dumps([play]))
    run(Path(sys.executable).with_name("ansible-playbook"), "play.yaml", folder=tmp_path)
    assert {path.stem: exactly((tmp_path / path.stem).read_text()) for path in FLEET} == {
        path.stem: as_we_read(path) for path in FLEET
    }


REFUSED = {
    "alias_as_key": ":4: trap.x: an alias is refused as a key",
    "alias_cycle": ":2: not readable as YAML: an alias stands inside its own anchor",
    "alias_undefined": ":2: not readable as YAML: found undefined alias",
    "bad_indent": ":4: not readable as YAML",
    "binary": ":2: trap: 0b1 is read differently",
    "block_that_is_null": ":2: trap: is text in a block",
    "block_that_is_yes": ":2: trap: is text in a block",
    "boolean_key": ":3: trap.on: the key on is not text to every reader",
    "boolean_n": ":2: trap: n is read differently",
    "boolean_no": ":2: trap: NO is a boolean to some readers",
    "boolean_off": ":2: trap: Off is a boolean to some readers",
    "boolean_on": ":2: trap: on is a boolean to some readers",
    "boolean_y": ":2: trap: y is read differently",
    "boolean_yes": ":2: trap: yes is a boolean to some readers",
    "byte_order_mark_inside": ":3: not readable as YAML: the character U+FEFF is not allowed",
    "control_character": ":2: not readable as YAML: the character U+0007 is not allowed",
    "date": ":2: trap: 2026-11-23 is read differently",
    "date_and_time": ":2: trap: 2026-11-23T10:00:00Z is read differently",
    "date_impossible": ":2: trap: 2026-13-45 is read differently",
    "date_key": ":3: trap.2026-11-23: the key 2026-11-23 is not text to every reader",
    "date_short": ":2: trap: 2026-1-1 is read differently",
    "directive_yaml_1_2": ":1: %YAML is refused",
    "duplicate_key": ":3: trap: stands twice; the first one is in line 2",
    "duplicate_quoted_key": ":3: trap: stands twice; the first one is in line 2",
    "empty_block": ":2: trap: is text in a block",
    "empty_value": ":2: trap: is empty",
    "equals_sign": ":2: trap: = is read differently",
    "escaped_slash": ":2: trap: holds \\/",
    "exponent": ":2: trap: 1e3 is read differently",
    "exponent_binary": ":2: trap: .5p4 is read differently",
    "float_digits": ":2: trap: has more than 15 digits",
    "float_leading_zeros": ":2: trap: 00.5 is read differently",
    "float_sign_no_zero": ":2: trap: -.5 is read differently",
    "float_whole": ":2: trap: is a whole number to some readers only",
    "hexadecimal": ":2: trap: 0x1F is read differently",
    "infinity": ":2: trap: .inf is read differently",
    "integer_2_63": ":2: trap: has more than 15 digits",
    "integer_400_digits": ":2: trap: has more than 15 digits",
    "integer_negative_zero": ":2: trap: is a whole number to some readers only",
    "json_ansible_unsafe": ":1: trap.__ansible_unsafe: means something of its own to Ansible",
    "json_not_a_number": ":1: trap: NaN is read differently",
    "key_list": ":3: trap: a key must be text",
    "key_null": ":3: trap.~: the key ~ is not text to every reader",
    "key_number": ":3: trap.1: the key 1 is not text to every reader",
    "key_of_letter_and_accent": ":2: trap.e\u0301: holds a letter and its accent as two characters",
    "letter_and_accent": ":2: trap: holds a letter and its accent as two characters",
    "line_separator": ":2: not readable as YAML: the character U+2028 is not allowed",
    "merge": ":4: trap: << is refused",
    "merge_quoted": ":3: trap: << is refused",
    "nesting": ":2: trap[0][0][0]",
    "not_a_number": ":2: trap: .nan is read differently",
    "not_utf_8": ": could not read the fleet file: 'utf-8' codec",
    "octal_invalid": ":2: trap: -08 is read differently",
    "octal_new": ":2: trap: 0o14 is read differently",
    "octal_old": ":2: trap: 012 is read differently",
    "octal_underscore": ":2: trap: 01_000 is read differently",
    "question_mark_in_list": ":2: trap[0]: holds ? without quotes within",
    "sexagesimal": ":2: trap: 16:00 is read differently",
    "sexagesimal_seconds": ":2: trap: 1:30:45 is read differently",
    "surrogates": ":2: not readable as YAML: found invalid Unicode character escape code",
    "tab_indents": ":3: not readable as YAML: found character that cannot start any token",
    "tag_bare": ":2: trap: not readable as YAML to every reader: leave the tag out",
    "tag_binary": ":2: trap: not readable as YAML to every reader: leave the tag out",
    "tag_integer": ":2: trap: not readable as YAML to every reader: leave the tag out",
    "tag_set": ":2: trap: not readable as YAML to every reader: leave the tag out",
    "tag_shorthand": ":1: %TAG is refused",
    "tag_unsafe": ":2: trap: not readable as YAML to every reader: leave the tag out",
    "tag_vault": ":2: trap: not readable as YAML to every reader: leave the tag out",
    "template": ":2: trap: holds {{, which opens a template in Ansible",
    "template_comment": ":2: trap: holds {#, which opens a template in Ansible",
    "trailing_null_document": ":3: not readable as YAML: but found another document",
    "two_documents": ":3: not readable as YAML: but found another document",
    "underscore": ":2: trap: 1_000 is read differently",
}


@pytest.mark.parametrize("name", REFUSED)
def test_trap_is_refused_at_its_line_and_key(name: str) -> None:
    """Whoever steps into a trap is told the file, the line, the key and the way out."""
    with pytest.raises(MisconfiguredError) as caught:
        load(NASTY[name])
    told = str(caught.value).splitlines()
    assert any(line.startswith(f"{name}.yaml{REFUSED[name]}") for line in told), told


@pytest.mark.parametrize("name", sorted(NASTY.keys() - REFUSED))
def test_what_is_no_trap_is_read_alike(read: dict[str, Reading], name: str) -> None:
    """What looks nasty and is not may stand in a fleet file."""
    assert read[name].ours is not None
    assert is_one(read[name]), read[name]


@pytest.mark.parametrize("name", NASTY)
def test_nasty_file_is_refused_or_read_alike(read: dict[str, Reading], name: str) -> None:
    """No nasty file means one thing to us and another to Terraform or Ansible."""
    assert is_one(read[name]), read[name]


@pytest.mark.parametrize(
    "name",
    ["boolean_y", "date", "exponent", "float_whole", "letter_and_accent", "octal_old", "sexagesimal", "template"],
)
def test_trap_is_read_differently_by_the_others(read: dict[str, Reading], name: str) -> None:
    """The comparison sees a difference where there is one: these would pass for equal if it were lenient."""
    assert read[name].terraform != read[name].ansible


WORDS = (  # noqa: SIM905 - as a list, the formatter gives each word a line of its own
    "yes no on off y n true null ~ inf nan NaN Infinity .inf = << "
    "012 0x1 0b1 0o7 1e3 1.10 1.0 2026-1-1 2026-01-01 16:00 1:2:3"
).split()
NUMERIC = st.text(alphabet="0019+-._:eEpxob TZ", min_size=1, max_size=9)
PUNCTUATED = st.text(alphabet="ab1-?:!&*%@`|>=~<,./$[]{}#'\" \\", min_size=1, max_size=8)
LETTERS = st.sampled_from(
    ["é", "e\u0301", "가", "\u1100\u1161", "ﬁ", "٣", "\U0001f600", "\xa0", "\u200b", "\ufeff", "\x85", "\u2028", "\x07"]
)
SCALARS = st.one_of(
    NUMERIC,
    PUNCTUATED,
    st.builds("{}{}".format, st.sampled_from(WORDS), st.one_of(st.just(""), NUMERIC, LETTERS)),
    st.builds("{}{}{}".format, st.sampled_from("'\"|>"), PUNCTUATED, st.sampled_from(["'", '"', "\n  ", "-\n  a"])),
    st.builds(
        "{}\n  {}\n".format, st.sampled_from(["|-", ">-", "|", ">", "|+"]), st.one_of(st.sampled_from(WORDS), NUMERIC)
    ),
)
MARKS = (  # noqa: SIM905 - as WORDS
    """- ~? ~: ~a~k: ~a: ~"a": ~&a ~*a~!~!!str ~{~}~[~]~, ~#~ #~"~'~\\/~\\u0041~{{~{%~"""
    "\n~\n  ~\n\t~\t~\r\n~---\n~...\n~%YAML 1.2\n---\n~|-\n  ~>\n  "
).split("~")
PIECES = st.one_of(st.sampled_from([*MARKS, *WORDS]), LETTERS)
AROUND = [("a: ", "\n"), ("a:\n  b: ", "\nc: 1\n"), ("a:\n- ", "\n- b\n"), ("a: [", "]\n"), ("a: {b: ", "}\n")]
AROUND += [('{"a": ', "}"), ('a: "', '"\n'), ("a: '", "'\n"), ("a: |\n  ", "\n"), ("a: >-\n  ", ""), ("", "\n")]
DOCUMENTS = st.builds(
    lambda around, pieces: "".join((around[0], *pieces, around[1])),
    st.sampled_from(AROUND),
    st.lists(PIECES, min_size=1, max_size=6),
)


def drawn(strategy: st.SearchStrategy[str], count: int) -> set[str]:
    """As many texts as asked for, the same in every run."""
    found: set[str] = set()

    @settings(derandomize=True, max_examples=count, database=None, deadline=None)
    @given(strategy)
    def draw(text: str) -> None:
        found.add(text)

    draw()
    return found


def accepted(texts: Iterable[str]) -> dict[str, bytes]:
    """The texts that our loader would read; what it refuses may mean anything to anyone."""
    good = sorted(text for text in texts if not parse(text).problems and isinstance(parse(text).data, dict))
    return {str(number): text.encode() for number, text in enumerate(good)}


@pytest.mark.parametrize(
    ("strategy", "embed"),
    [
        (SCALARS, "trap: {}\n".format),
        (SCALARS, "trap: [{}]\n".format),
        (SCALARS, "trap:\n  {}: x\n".format),
        (DOCUMENTS, str),
    ],
    ids=["value", "item", "key", "document"],
)
def test_whatever_we_accept_is_read_alike(
    tmp_path: Path, strategy: st.SearchStrategy[str], embed: Callable[[str], str]
) -> None:
    """Of texts made by chance from the stuff of traps, none that we accept is read otherwise by the two others."""
    files = accepted(map(embed, drawn(strategy, 600)))
    assert len(files) > 60  # chance makes enough of what is accepted to say something
    found = readings(tmp_path, files)
    assert {files[name]: reading for name, reading in found.items() if not is_one(reading)} == {}
