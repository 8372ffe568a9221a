"""The third step of a deployment, after Terraform and `chalice deploy`: what Chalice cannot set, or wipes each time.

    python -m tools.after_deploy --stage staging [--dry-run]

- the tick function may feed its own queue (Lambda's recursive-loop detection would stop it after about 16 hops), no other may
- what an event function could not do after Lambda's own retries goes to the dead queue
- one failed wake message does not bring back its batch (ReportBatchItemFailures)
- a rule's retries and dead queue are put back: `chalice deploy` wipes them

Safe to repeat: it reads first, changes what differs, and prints each change. Exit status: 0 done or nothing to do, 1 something
that Terraform or `chalice deploy` should have made is missing, 2 wrong usage, 3 AWS could not be asked or refused.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import botocore.session
from botocore.exceptions import BotoCoreError, ClientError

from tools.policies import EVENT_FUNCTIONS, TICK_FUNCTION
from tools.stages import Stage, read_stage, stage_names

# An event is a hint to look: after an hour the schedule has looked sixty times.
RETRIES = 2
MOST_SECONDS = 3600
RULE_RETRIES = 8
RULES = (*EVENT_FUNCTIONS,)  # each has one rule, APP-STAGE-NAME-event, with target id 1

Clients = Callable[[str], Any]


class IncompleteDeploymentError(Exception):
    """Something that an earlier step should have made is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that differs from what it should be, and the call that mends it."""

    what: str
    mend: Callable[[], object]


def changes(stage: Stage, clients: Clients) -> Iterator[Change]:
    """All that differs from what it should be; reads only. Raises IncompleteDeploymentError."""
    for function in stage.functions:
        yield from _recursion(stage, clients("lambda"), function)
    for function in EVENT_FUNCTIONS:
        yield from _on_failure(stage, clients("lambda"), function)
    yield from _batch_failures(stage, clients("lambda"))
    for function in RULES:
        yield from _rule_target(stage, clients("events"), function)


def _recursion(stage: Stage, client: Any, function: str) -> Iterator[Change]:
    name, wanted = stage.function_name(function), "Allow" if function == TICK_FUNCTION else "Terminate"
    answer = _found(f"function {name}", lambda: client.get_function_recursion_config(FunctionName=name))
    if answer["RecursiveLoop"] != wanted:
        yield Change(
            what=f"{name}: recursive loop {answer['RecursiveLoop']} -> {wanted}",
            mend=lambda: client.put_function_recursion_config(FunctionName=name, RecursiveLoop=wanted),
        )


def _on_failure(stage: Stage, client: Any, function: str) -> Iterator[Change]:
    name = stage.function_name(function)
    wanted = {
        "MaximumRetryAttempts": RETRIES,
        "MaximumEventAgeInSeconds": MOST_SECONDS,
        "DestinationConfig": {"OnFailure": {"Destination": stage.dead_queue_arn}},
    }
    try:
        answer = client.get_function_event_invoke_config(FunctionName=name)
    except ClientError as error:
        if not _is_missing(error):
            raise
        answer = {}
    found = {**{key: answer.get(key) for key in wanted}, "DestinationConfig": _only_failure(answer)}
    if found != wanted:
        yield Change(
            what=f"{name}: what fails goes to {stage.dead_queue_arn}",
            mend=lambda: client.put_function_event_invoke_config(FunctionName=name, **wanted),
        )


def _only_failure(answer: Mapping[str, Any]) -> dict[str, Any]:
    # AWS answers with an empty OnSuccess beside it.
    return {key: value for key, value in (answer.get("DestinationConfig") or {}).items() if value}


def _batch_failures(stage: Stage, client: Any) -> Iterator[Change]:
    name = stage.function_name(TICK_FUNCTION)
    answer = client.list_event_source_mappings(FunctionName=name, EventSourceArn=stage.tick_queue_arn)
    mappings = answer["EventSourceMappings"]
    if not mappings:
        raise IncompleteDeploymentError(f"{name} does not read {stage.tick_queue_arn}: run `chalice deploy` first")
    for mapping in mappings:
        if "ReportBatchItemFailures" not in mapping.get("FunctionResponseTypes", ()):
            yield Change(
                what=f"{name}: reports the failed messages of a batch", mend=_reporting(client, mapping["UUID"])
            )


def _reporting(client: Any, uuid: str) -> Callable[[], object]:
    return lambda: client.update_event_source_mapping(UUID=uuid, FunctionResponseTypes=["ReportBatchItemFailures"])


def _rule_target(stage: Stage, client: Any, function: str) -> Iterator[Change]:
    rule = f"{stage.function_name(function)}-event"
    answer = _found(f"rule {rule}", lambda: client.list_targets_by_rule(Rule=rule))
    wanted = {
        "RetryPolicy": {"MaximumRetryAttempts": RULE_RETRIES, "MaximumEventAgeInSeconds": MOST_SECONDS},
        "DeadLetterConfig": {"Arn": stage.dead_queue_arn},
    }
    if not answer["Targets"]:
        raise IncompleteDeploymentError(f"rule {rule} has no target: run `chalice deploy` first")
    targets = [{**target, **wanted} for target in answer["Targets"]]  # all else in a target stays as it is
    if targets != answer["Targets"]:
        yield Change(
            what=f"{rule}: {RULE_RETRIES} retries within {MOST_SECONDS} s, then {stage.dead_queue_arn}",
            mend=lambda: _put_targets(client, rule, targets),
        )


def _put_targets(client: Any, rule: str, targets: Sequence[Mapping[str, Any]]) -> None:
    answer = client.put_targets(Rule=rule, Targets=targets)
    if answer["FailedEntryCount"]:
        raise IncompleteDeploymentError(f"could not put the targets of {rule}: {answer['FailedEntries']}")


def _found(what: str, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except ClientError as error:
        if _is_missing(error):
            raise IncompleteDeploymentError(f"there is no {what}: run `chalice deploy` first") from error
        raise


def _is_missing(error: ClientError) -> bool:
    return error.response["Error"]["Code"] == "ResourceNotFoundException"


def run(stage: Stage, clients: Clients, *, dry_run: bool, say: Callable[[str], object]) -> int:
    """Make every change, or only say them; returns how many there were. Raises IncompleteDeploymentError."""
    wanted = list(changes(stage, clients))  # all is read before anything is written
    for change in wanted:
        if not dry_run:
            change.mend()
        say(change.what)
    return len(wanted)


def main(arguments: Sequence[str] | None = None, *, clients: Clients | None = None) -> int:
    """Bring a deployed stage into its final state."""
    parser = argparse.ArgumentParser(prog="python -m tools.after_deploy", description="The third step of a deployment.")
    parser.add_argument("--stage", required=True, choices=stage_names())
    parser.add_argument("--dry-run", action="store_true", help="say what would be changed, and change nothing")
    options = parser.parse_args(arguments)
    stage = read_stage(options.stage)
    try:
        count = run(stage, clients or _clients(stage), dry_run=options.dry_run, say=print)
    except IncompleteDeploymentError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except (BotoCoreError, ClientError) as error:  # no credentials, no way to AWS, no permission
        sys.stderr.write(f"could not complete {options.stage}: {error}; it may be run again\n")
        return 3
    print(f"{count} {'to change' if options.dry_run else 'changed'}")
    return 0


def _clients(stage: Stage) -> Clients:
    session = botocore.session.get_session()
    return lambda service: session.create_client(service, region_name=stage.region)


if __name__ == "__main__":
    raise SystemExit(main())
