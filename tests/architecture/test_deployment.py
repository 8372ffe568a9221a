"""Each handler has its settings, a time-out and a policy that covers what the code calls, and nothing more."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import botocore.session
import pytest
from botocore import xform_name

from sandbox.scenarios import SCENARIOS
from tests.architecture.source import ROOT, modules, tree
from tests.e2e.calls import MADE_IN, MAIL_TEST, TICKERS
from tools.policies import (
    CALLS,
    EVENT_FUNCTIONS,
    OPENING,
    READING,
    SWEEPING,
    TICK_FUNCTION,
    TICKING,
    calls_of,
    grants_of,
    policy_files,
    policy_of,
)
from tools.stages import API_HANDLER, CONFIG, read_config, read_stage, stage_names

INLINE_POLICY_LIMIT = 10_240  # characters without white space; IAM and STS quotas, role's inline policies
DECORATORS = frozenset({"lambda_function", "on_cw_event", "on_sqs_message", "schedule"})


def decorators(handler: ast.FunctionDef) -> set[str]:
    """The names after `@app.`."""
    calls = (each.func for each in handler.decorator_list if isinstance(each, ast.Call))
    return {func.attr for func in calls if isinstance(func, ast.Attribute)}


def handlers(*kinds: str) -> set[str]:
    """The handlers in app.py that have one of these decorators."""
    defined = (node for node in tree(ROOT / "app.py").body if isinstance(node, ast.FunctionDef))
    return {node.name for node in defined if decorators(node) & set(kinds)}


def reached(function: str) -> set[str]:
    """Everything in app.py and doors.py that a function's code leads to, as the names that are written there."""
    places = {place: definitions(ROOT / path) for place, path in (("", "app.py"), ("doors.", "chalicelib/doors.py"))}
    known = {place + name: node for place, found in places.items() for name, node in found.items()}
    begin = handlers("route") if function == API_HANDLER else {function}
    found, left = set[str](), list(begin)
    while left:
        name = left.pop()
        if name in known and name not in found:
            found.add(name)
            left += mentions(known[name], "doors." if name.startswith("doors.") else "")
    return found


def definitions(path: Path) -> dict[str, ast.stmt]:
    """The functions and classes of a module."""
    return {node.name: node for node in tree(path).body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def mentions(node: ast.AST, place: str) -> Iterator[str]:
    """The names that code mentions: of its own module, and of doors by `doors.`."""
    for each in ast.walk(node):
        if isinstance(each, ast.Name):
            yield place + each.id
        elif isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name) and each.value.id == "doors":
            yield f"doors.{each.attr}"


def called() -> Iterator[str]:
    """Every AWS call in chalicelib/aws, as client:method.

    A file's methods are looked up in the clients that it names. Constants count too: a method may be named to a paginator.
    """
    session = botocore.session.get_session()
    for path in modules("chalicelib/aws"):
        words = {node.attr for node in ast.walk(tree(path)) if isinstance(node, ast.Attribute)}
        words |= {str(node.value) for node in ast.walk(tree(path)) if isinstance(node, ast.Constant)}
        for client in clients_of(path):
            operations = {xform_name(name) for name in session.get_service_model(client).operation_names}
            yield from (f"{client}:{name}" for name in operations & words)


def clients_of(path: Path) -> set[str]:
    """The clients that a file asks for."""
    calls = [node for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
    named = {
        str(call.args[0].value)
        for call in calls
        if isinstance(call.func, ast.Attribute)
        and call.func.attr == "client"
        and isinstance(call.args[0], ast.Constant)
    }
    raw = any(isinstance(call.func, ast.Name) and call.func.id in ("ecs_client", "describe_raw") for call in calls)
    return named | ({"ecs"} if raw else set())


@pytest.mark.parametrize("stage", stage_names())
def test_each_handler_has_settings_in_each_stage(stage: str) -> None:
    """A handler without an entry would deploy without a policy; an entry without a handler is a leftover."""
    config = read_config()
    wanted = handlers(*DECORATORS) | {API_HANDLER}
    assert set(config["stages"][stage]["lambda_functions"]) == wanted
    assert set(config["lambda_functions"]) == wanted
    for function in wanted:
        assert 0 < config["lambda_functions"][function]["lambda_timeout"] <= 60
        assert config["lambda_functions"][function]["lambda_memory_size"] >= 128
        policy = CONFIG.parent / config["stages"][stage]["lambda_functions"][function]["iam_policy_file"]
        assert json.loads(policy.read_text())["Statement"]


@pytest.mark.parametrize("stage", stage_names())
def test_stage_is_an_environment_of_the_fleet(stage: str) -> None:
    """A stage runs the fleet file of its own name, in its region, with tracing on and Chalice's guess at policies off."""
    settings = read_config()["stages"][stage]
    read = read_stage(stage)
    assert settings["environment_variables"]["XAI_OPS_ENVIRONMENT"] == stage == read.fleet.environment
    assert read.region == read.fleet.region
    assert settings["autogen_policy"] is False
    assert settings["xray"] is True
    # The policies name the fleet's services and task definitions by this prefix.
    names = [name for group in read.fleet.groups.values() for name in group.services]
    assert [name for name in names if not name.startswith(f"{read.fleet.cluster}-")] == []


def test_asynchronous_functions_are_those_that_events_call() -> None:
    """after_deploy gives a dead queue to exactly the functions that Lambda calls asynchronously."""
    assert set(EVENT_FUNCTIONS) == handlers("on_cw_event", "schedule")
    assert handlers("on_sqs_message") == {TICK_FUNCTION}


def test_each_call_has_a_row_and_each_row_a_call() -> None:
    """A call without a row would be denied at its first use in AWS; a row without a call is a permission too many."""
    assert set(called()) == set(CALLS)


def test_each_call_is_made_by_an_end_to_end_test() -> None:
    """The policies allow nothing that is never called: the scenario that is named here asserts that it makes the call."""
    assert set(MADE_IN) == set(CALLS)
    assert set(MADE_IN.values()) <= {*SCENARIOS, MAIL_TEST}
    assert MAIL_TEST in definitions(ROOT / "tests/e2e/test_scenarios.py")


def test_functions_that_run_ticks_may_what_a_tick_may_and_others_not() -> None:
    """Any of them may be the one whose tick takes the next step, whichever that is; those that only look run none."""
    functions = read_stage("production").functions
    ticking = {function for function in functions if "doors.run_ticks" in reached(function)}
    assert {function for function in functions if calls_of(function) >= TICKING} == ticking
    assert set(functions) - ticking == {"status", "incidents"}
    assert ticking >= TICKERS
    for function in set(functions) - ticking:
        assert calls_of(function) <= READING


def test_what_one_function_alone_does_no_other_may() -> None:
    """A picture is opened by the HTTP API, lost pushes are looked for by the sweep."""
    for function in read_stage("production").functions:
        own = (OPENING if "doors.picture_url" in reached(function) else frozenset()) | (
            SWEEPING if "doors.sweep_images" in reached(function) else frozenset()
        )
        assert calls_of(function) & (OPENING | SWEEPING) == own, function


def test_policy_files_are_up_to_date() -> None:
    """`python -m tools.policies` writes them."""
    assert [str(path) for path, text in policy_files().items() if path.read_text() != text] == []
    assert set(CONFIG.parent.glob("policies/*/*.json")) == set(policy_files())


@pytest.mark.parametrize("stage", stage_names())
def test_policy_fits_into_a_role(stage: str) -> None:
    """IAM refuses an inline policy that is too long, and only at the deployment."""
    read = read_stage(stage)
    for function in read.functions:
        assert len(re.sub(r"\s", "", json.dumps(policy_of(read, function)))) <= INLINE_POLICY_LIMIT


def test_only_what_knows_no_resource_is_allowed_everywhere() -> None:
    """A star as resource is the exception, and each is reviewed here."""
    everywhere = {
        action
        for function in read_stage("production").functions
        for grant in grants_of(function)
        if "*" in grant.resources and not grant.condition
        for action in grant.actions
    }
    assert everywhere == {
        "cloudwatch:DescribeAlarms",
        "cloudwatch:GetMetricWidgetImage",
        "ec2:CreateNetworkInterface",
        "ec2:DeleteNetworkInterface",
        "ec2:DescribeNetworkInterfaces",
        "ecs:DescribeTaskDefinition",
        "ecs:ListTaskDefinitions",
        "elasticloadbalancing:DescribeTargetHealth",
        "xray:PutTelemetryRecords",
        "xray:PutTraceSegments",
    }


def test_no_action_is_a_pattern_and_each_grant_has_its_source() -> None:
    """Least privilege names each action; the link says where the permission is documented."""
    for function in read_stage("production").functions:
        for grant in grants_of(function):
            assert not [action for action in grant.actions if "*" in action]
            assert grant.source.startswith("https://docs.aws.amazon.com/")


def test_roles_are_passed_to_ecs_tasks_alone() -> None:
    """A rollout must not be able to lend a role to anything but a task of the fleet."""
    stage = read_stage("staging")
    passed = [
        statement for statement in policy_of(stage, TICK_FUNCTION)["Statement"] if "iam:PassRole" in statement["Action"]
    ]
    assert passed == [
        {
            "Effect": "Allow",
            "Action": ["iam:PassRole"],
            "Resource": [
                f"arn:aws:iam::{stage.account}:role/xai-staging-*-execution",
                f"arn:aws:iam::{stage.account}:role/xai-staging-*-task",
            ],
            "Condition": {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
        }
    ]


def test_status_cannot_change_anything() -> None:
    """Looking is for everyone: the status function reads the ledger and no more."""
    actions = {action for call in READING for grant in CALLS[call] for action in grant.actions}
    assert not [action for action in actions if re.search("Put|Update|Delete|Send|Run|Stop|Tag|Register", action)]
    own = [grant for grant in grants_of("status") if any(action.startswith("ecs:") for action in grant.actions)]
    assert own == []


def test_bundle_lists_only_what_runs_in_lambda() -> None:
    """requirements.txt is loaded at every cold start: neither the framework nor the SDK nor tests are in it."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pins = [line for line in lines if line.strip() and not line.startswith("#")]
    names = {re.split(r"[=\[ ]", line)[0].lower() for line in pins}
    assert all("==" in line for line in pins)
    assert not names & {"boto3", "botocore", "chalice", "moto", "pytest", "aws-xray-sdk"}
