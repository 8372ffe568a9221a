"""The fleet files load, and a wrong one is answered with file, line, key, what was found and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from chalicelib.errors import MisconfiguredError
from chalicelib.fleet.__main__ import main
from chalicelib.fleet.load import load
from chalicelib.fleet.model import SlackTracker
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
    assert "'nodes' is not allowed; allowed: node, http" in found[0]


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


ROUTE = "{grades: [P1, P2, P3, P4], to: [github]}"
GITHUB = "{type: github, repository: xai-blockchain/operations, token_secret: xai-ops/development/tickets, labels: [xai-ops, development]}"
SECRET = "the name of a Secrets Manager secret"
ADDRESS = "an https:// address without a user in it; http:// for 127.0.0.1 and localhost alone"
TYPES = "github, jira, pagerduty, servicenow, slack, sns"
NAMES = "up to 255 letters, digits, hyphens and underscores, a letter first"
TOKEN = "xoxb-1234567890-abcdefghij"


def of_tracker(tracker: str, *told: str) -> tuple[str, str, tuple[str, ...]]:
    """A wrong tracker in place of the shipped one, which its messages are about."""
    return GITHUB, tracker, tuple(f"incidents.trackers.github{each}" for each in told)


def of_window(window: str, *told: str) -> tuple[str, str, tuple[str, ...]]:
    """A wrong maintenance window, which its messages are about."""
    return "maintenance: []", f"maintenance: [{window}]", tuple(f"incidents.maintenance[0]{each}" for each in told)


WRONG = (
    (
        "{by: height_flat, kinds: [sync_lag, peers_low]}",
        "{by: height_flat, kinds: [height_flat]}",
        ("incidents.inhibit[0].by: height_flat explains others and is itself explained; a kind may do one of the two",),
    ),
    (
        ROUTE,
        '{grades: [P1, P2, P3, P4], to: [github], quiet: [{start: "20:00", end: "07:00"}]}',
        ("incidents.routes[0]: P1 means look now: its route cannot have quiet hours",),
    ),
    (
        ROUTE,
        "{grades: [P1, P2, P3, P4], to: [github, pigeon]}",
        ("incidents.routes[0].to[1]: 'pigeon' is no tracker; allowed: github",),
    ),
    (
        "gather_seconds: 30",
        "fallback: pigeon",
        ("incidents.fallback: 'pigeon' is no tracker; allowed: github",),
    ),
    of_window(
        '{start: "09:00", end: "10:00", why: x, groups: [nodes, moon]}',
        ".groups[1]: 'moon' is no group; allowed: nodes",
    ),
    (
        ROUTE,
        "{grades: [P1, P5], to: [github]}",
        ("incidents.routes[0].grades[1]: 'P5' is not allowed; allowed: P1, P2, P3, P4",),
    ),
    (ROUTE, "{grades: [], to: [github]}", ("incidents.routes[0].grades: must name at least one",)),
    (ROUTE, "{grades: [P1, P2, P3, P4], to: []}", ("incidents.routes[0].to: must name at least one",)),
    (ROUTE, "{grades: P1, to: [github]}", ("incidents.routes[0].grades: 'P1' is not a list",)),
    (ROUTE, "{grades: [P1], to: [1.5]}", ("incidents.routes[0].to[0]: 1.5 is not text; put it in quotes",)),
    (
        "gather_seconds: 30",
        "gather_seconds: 0",
        ("incidents.gather_seconds: 0 is not allowed; allowed: greater than 0",),
    ),
    (
        "gather_seconds: 30",
        "runbooks_url: wiki",
        ("incidents.runbooks_url: 'wiki' is not allowed; allowed: an https:// or http:// address",),
    ),
    ("container: node", "container: 'a b'", (f"groups.nodes.container: 'a b' is not allowed; allowed: {NAMES}",)),
    ("  nodes:", "  1nodes:", (f"groups.1nodes: '1nodes' is not a name; allowed: {NAMES}",)),
    of_window("5", ": what stands here is not a mapping"),
    of_window(
        '{start: "25:00", end: "1:00", why: x}',
        ".start: '25:00' is no time of day; allowed: 00:00 to 23:59",
        ".end: '1:00' is no time of day; allowed: 00:00 to 23:59",
    ),
    of_window(
        '{start: "12:00Z", end: "13:00:00.5", why: x}',
        ".start: '12:00Z' is no time of day; allowed: 00:00 to 23:59",
        ".end: '13:00:00.5' is no time of day; allowed: 00:00 to 23:59",
    ),
    of_window(
        "{start: 9, end: null, why: x}",
        ".start: 9 is no time of day; allowed: 00:00 to 23:59",
        ".end: null is no time of day; allowed: 00:00 to 23:59",
    ),
    of_window('{start: "09:00", why: x}', ".end: is missing (allowed: 00:00 to 23:59)"),
    of_window(
        '{start: "09:00", end: "10:00", why: x, timezone: Mars}',
        ".timezone: 'Mars' is no time zone; allowed: IANA's names, such as Europe/Berlin",
    ),
    of_window(
        '{date: 2026-11-24, start: "09:00", end: "10:00", why: x}',
        '.date: 2026-11-24 is read differently by YAML 1.1 and 1.2; write "2026-11-24" if text is meant',
        ".date: is not known here (allowed: days, start, end, timezone, why, groups)",
    ),
    of_tracker("{type: teams}", f".type: 'teams' is not known; allowed: {TYPES}"),
    of_tracker("{type: [slack]}", f".type: a list is not known; allowed: {TYPES}"),
    of_tracker("{channel: C1}", f".type: is missing (allowed: {TYPES})"),
    of_tracker(TOKEN, ": what stands here is not a mapping"),
    of_tracker(f"[{TOKEN}]", ": a list is not a mapping"),
    of_tracker(
        f"{{type: slack, channel: C1, token_secret: a, token: {TOKEN}}}",
        ".token: is not known here (allowed: api_url, channel, token_secret)",
    ),
    of_tracker("{type: slack, channel: C1}", f".token_secret: is missing (allowed: {SECRET})"),
    of_tracker(
        "{type: slack, channel: '#ops', token_secret: a}",
        ".channel: '#ops' is not allowed; allowed: the channel's id, like C0123456789",
    ),
    of_tracker(
        f"{{type: slack, channel: {TOKEN}, token_secret: a}}",
        ".channel: '[redacted]' is not allowed; allowed: the channel's id, like C0123456789",
    ),
    of_tracker(
        "{type: slack, chanel: C1, token_secret: a}",
        ".channel: is missing (allowed: the channel's id, like C0123456789)",
        ".chanel: is not known here; did you mean channel?",
    ),
    of_tracker(
        "{type: slack, channel: C1, token_secret: 'my pass'}",
        f".token_secret: what stands here is not allowed; allowed: {SECRET}",
    ),
    of_tracker("{type: slack, channel: C1, token_secret: ''}", f".token_secret: '' is not allowed; allowed: {SECRET}"),
    of_tracker(
        "{type: slack, channel: C1, token_secret: [pass]}", f".token_secret: a list is not text (allowed: {SECRET})"
    ),
    of_tracker(
        "{type: slack, channel: C1, token_secret: 4711}",
        f".token_secret: what stands here is not text; put it in quotes (allowed: {SECRET})",
    ),
    of_tracker(
        "{type: slack, channel: C1, token_secret: 12e34}",
        ".token_secret: what stands here is read differently by YAML 1.1 and 1.2; put it in quotes",
    ),
    of_tracker(
        "{type: slack, channel: C1, token_secret: a, api_url: 'http://slack.com/api'}",
        f".api_url: 'http://slack.com/api' is not allowed; allowed: {ADDRESS}",
    ),
    of_tracker(
        "{type: slack, channel: C1, token_secret: a, api_url: 'http://localhost:80@x.y'}",
        f".api_url: 'http://[redacted]@x.y' is not allowed; allowed: {ADDRESS}",
    ),
    of_tracker(
        "{type: slack, channel: C1, token_secret: a, api_url: 'http://127.0.0.1.x.y'}",
        f".api_url: 'http://127.0.0.1.x.y' is not allowed; allowed: {ADDRESS}",
    ),
    of_tracker(
        "{type: jira, api_url: 'https://x.y', project: OPS, user: '', token_secret: a}",
        ".user: '' is not allowed; allowed: the e-mail address that the API token belongs to",
    ),
    of_tracker(
        "{type: servicenow, api_url: 'https://x.y', user: ' ', token_secret: a}",
        ".user: ' ' is not allowed; allowed: the name of a ServiceNow user",
    ),
    of_tracker(
        "{type: pagerduty, routing_key_secret: a, token_secret: b, user: ''}",
        ".user: '' is not allowed; allowed: text that is not blank or null",
    ),
    of_tracker(
        "{type: pagerduty, routing_key_secret: a, user: a@b.c}",
        ".user: does nothing without token_secret; allowed: both, or no user",
    ),
)


@pytest.mark.parametrize(("found", "put", "told"), WRONG)
def test_wrong_value_is_told_in_these_words(tmp_path: Path, found: str, put: str, told: tuple[str, ...]) -> None:
    """Each wrong value is told once, at its own line, in words that say what is allowed, and no secret is quoted."""
    line = line_of(found.strip())
    assert problems_of(tmp_path, (found, put)) == [f"wrong.yaml:{line}: {each}" for each in told]


@pytest.mark.parametrize("url", ["http://127.0.0.1", "http://localhost:8000/slack", "https://slack.example/api?a=b"])
def test_address_that_keeps_a_token_safe_is_taken(tmp_path: Path, url: str) -> None:
    """Plain http is taken where it does not leave the machine."""
    wanted = f"{{type: slack, channel: C1, token_secret: a, api_url: '{url}'}}"
    path = tmp_path / "good.yaml"
    path.write_text((FLEET / "development.yaml").read_text().replace(GITHUB, wanted))
    (tracker,) = load(path).incidents.trackers.values()
    assert isinstance(tracker, SlackTracker) and tracker.api_url == url


def test_rule_between_keys_names_the_line_of_the_key_that_breaks_it(tmp_path: Path) -> None:
    """A section of many lines is not what a person wants to be sent to."""
    tracker = "\n      type: pagerduty\n      routing_key_secret: a\n      user: a@b.c"
    (found,) = problems_of(tmp_path, (GITHUB, tracker))
    assert found.startswith(f"wrong.yaml:{line_of(GITHUB) + 3}: incidents.trackers.github.user: does nothing")


def test_grade_without_a_route_is_told_at_the_routes(tmp_path: Path) -> None:
    """What is missing in all routes is told where they begin."""
    (found,) = problems_of(tmp_path, (ROUTE, "{grades: [P1, P2, P3], to: [github]}"))
    assert found.startswith(f"wrong.yaml:{line_of('routes:')}: incidents.routes: no route for P4")


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
