"""Who may import whom, as design has it: what decides is pure, and each way outwards is one room."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.source import ROOT, imports, is_in, modules, name_of, tree

PURE = frozenset(
    {
        "death",
        "decide",
        "findings",
        "judge",
        "memory",
        "phases",
        "plan",
        "preflight",
        "render",
        "revision",
        "settle",
        "start",
        "way_back",
        "words",
    }
)
IMPURE = (
    "boto3", "botocore", "chalice", "http", "logging", "os", "pydantic", "random", "requests", "secrets", "socket",
    "subprocess", "time", "urllib", "urllib3", "uuid", "chalicelib.observe", "chalicelib.observe_tracing",
    "chalicelib.settings", "chalicelib.wiring", "chalicelib.aws", "chalicelib.nodes", "chalicelib.tickets",
)  # fmt: skip
DOORS_OUT = ("chalicelib.aws", "chalicelib.nodes", "chalicelib.tickets")
CHALICELIB = modules("chalicelib")
TESTS = modules("tests")


def offenders(paths: tuple[Path, ...], *forbidden: str) -> list[str]:
    """Modules that import one of these, and which."""
    return sorted({f"{name_of(path)} -> {name}" for path in paths for name in imports(path) if is_in(name, *forbidden)})


def test_what_decides_is_pure() -> None:
    """A decision is a function of its arguments: it can be read in one sitting, tested with plain values, and replayed."""
    pure = tuple(
        path for path in CHALICELIB if path.stem in PURE and path.parent.name in ("health", "incident", "rollout")
    )
    assert pure
    assert offenders(pure, *IMPURE) == []


@pytest.mark.parametrize("path", CHALICELIB, ids=name_of)
def test_clock_is_read_in_wiring_alone(path: Path) -> None:
    """`now` is an argument everywhere; one clock stands in wiring."""
    if path.name == "wiring.py":
        return
    read = [
        node.lineno
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute)
        and node.attr in ("now", "utcnow", "today")
        and isinstance(node.value, ast.Name)
        and node.value.id in ("datetime", "date")
    ]
    assert read == []


def test_nothing_waits() -> None:
    """Coming back later is data (`wake_at`): no sleep and no waiter runs in a Lambda."""
    waits = [
        f"{name_of(path)}:{node.lineno}"
        for path in CHALICELIB
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and node.attr in ("sleep", "get_waiter")
    ]
    assert waits == []


def test_only_the_aws_room_knows_boto() -> None:
    """Boto is imported in one room; elsewhere at most as a type."""
    elsewhere = tuple(path for path in CHALICELIB if not is_in(name_of(path), "chalicelib.aws"))
    found = offenders(elsewhere, "boto3", "botocore")
    assert [each for each in found if each != "chalicelib.wiring -> botocore.session"] == []
    assert offenders(CHALICELIB, "boto3") == []


def test_only_nodes_and_tickets_speak_http() -> None:
    """Two rooms talk HTTP to others than AWS."""
    elsewhere = tuple(path for path in CHALICELIB if not is_in(name_of(path), "chalicelib.nodes", "chalicelib.tickets"))
    assert offenders(elsewhere, "http.client", "requests", "urllib.request", "urllib3") == []


def test_doors_outwards_do_not_know_each_other_or_what_decides() -> None:
    """Adapters know words and ports; nobody's decision hangs on who calls it."""
    for room in DOORS_OUT:
        inside = tuple(path for path in CHALICELIB if is_in(name_of(path), room))
        others = [other for other in DOORS_OUT if other != room]
        assert offenders(inside, *others, "chalicelib.wiring", "chalicelib.doors") == []
        verbs = ("act", "decide", "run", "judge", "look", "start", "settle", "adopt")
        known = [name for path in inside for name in imports(path) if is_in(name, "chalicelib")]
        assert [name for name in known if len(name.split(".")) > 2 and name.split(".")[2] in verbs] == []


def test_runs_of_different_domains_do_not_know_each_other() -> None:
    """What one domain's run needs from another comes in as a port, joined up in wiring."""
    for path in CHALICELIB:
        domain = path.parent.name
        if path.stem == "run":
            runs = {f"chalicelib.{other}.run" for other in ("rollout", "incident", "backup", "remediation")}
            assert offenders((path,), *(runs - {f"chalicelib.{domain}.run"})) == []


def test_only_the_doors_know_the_wiring() -> None:
    """The composition root is known to app and what app's handlers share, the sandbox and tests alone."""
    inside = tuple(path for path in CHALICELIB if path.name not in ("doors.py", "wiring.py"))
    assert offenders(inside, "chalicelib.wiring", "chalicelib.doors") == []


def test_only_one_module_knows_the_tracer() -> None:
    """The X-Ray SDK is in maintenance: it must be possible to drop it in one place."""
    others = tuple(path for path in (*CHALICELIB, ROOT / "app.py") if path.name != "observe_tracing.py")
    assert offenders(others, "aws_xray_sdk") == []


def test_no_blueprint() -> None:
    """A Blueprint's event handlers run without app.py's middleware in Lambda, though the test client hides it."""
    assert offenders((ROOT / "app.py", *CHALICELIB), "chalice.Blueprint", "chalice.app.Blueprint") == []


def test_no_mock_in_tests() -> None:
    """Fakes are classes written by hand; patched code proves nothing about the code that runs."""
    assert offenders(TESTS, "unittest.mock", "mock", "pytest_mock") == []


def test_no_broad_except_below_the_doors() -> None:
    """An error that is swallowed where nobody knows what it means is the one failure that we may not have."""
    broad = [
        f"{name_of(path)}:{node.lineno}"
        for path in CHALICELIB
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException")))
    ]
    assert broad == []


def test_idle_cold_start_imports_nothing_heavy() -> None:
    """Importing app loads neither the fleet's model nor AWS nor the logger: each is paid when it is first needed."""
    heavy = ("aws_lambda_powertools", "aws_xray_sdk", "boto3", "botocore", "pydantic", "requests", "urllib3", "yaml")
    code = f"import json, sys, app; print(json.dumps([name for name in {heavy!r} if name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert json.loads(done.stdout) == []
