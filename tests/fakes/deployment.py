"""A deployed stage as after_deploy sees it: functions, their queue's mapping, rules and log groups, held in memory.

Answers like AWS where after_deploy looks, down to the empty OnSuccess beside a destination. moto has no recursion settings.
"""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from tools.policies import EVENT_FUNCTIONS, TICK_FUNCTION
from tools.stages import Stage


def _missing(operation: str) -> ClientError:
    return ClientError({"Error": {"Code": "ResourceNotFoundException", "Message": "not there"}}, operation)


class FakeDeployment:
    """Lambda, EventBridge and CloudWatch Logs of one stage, freshly deployed by Chalice."""

    def __init__(self, stage: Stage) -> None:
        """Deploy a stage as `chalice deploy` leaves it."""
        self.writes: list[str] = []
        self.recursion = {stage.function_name(function): "Terminate" for function in stage.functions}
        self.invoke_configs: dict[str, dict[str, Any]] = {}
        tick = stage.function_name(TICK_FUNCTION)
        self.mappings: list[dict[str, Any]] = [
            {"UUID": "m1", "FunctionArn": tick, "EventSourceArn": stage.tick_queue_arn, "FunctionResponseTypes": []}
        ]
        self.targets: dict[str, list[dict[str, Any]]] = {
            f"{stage.function_name(function)}-event": [{"Id": "1", "Arn": function}] for function in EVENT_FUNCTIONS
        }

    def client(self, service: str) -> FakeDeployment:
        """Every service's client is this object: their methods have different names."""
        _ = service
        return self

    def get_function_recursion_config(self, *, FunctionName: str) -> dict[str, Any]:
        """Whether a function may be part of a loop."""
        if FunctionName not in self.recursion:
            raise _missing("GetFunctionRecursionConfig")
        return {"RecursiveLoop": self.recursion[FunctionName]}

    def put_function_recursion_config(self, *, FunctionName: str, RecursiveLoop: str) -> None:
        """Allow or forbid it."""
        self.writes.append("put_function_recursion_config")
        self.recursion[FunctionName] = RecursiveLoop

    def get_function_event_invoke_config(self, *, FunctionName: str) -> dict[str, Any]:
        """Retries and destinations of asynchronous calls."""
        if FunctionName not in self.invoke_configs:
            raise _missing("GetFunctionEventInvokeConfig")
        found = self.invoke_configs[FunctionName]
        return {**found, "DestinationConfig": {"OnSuccess": {}, **found["DestinationConfig"]}}

    def put_function_event_invoke_config(self, *, FunctionName: str, **config: Any) -> None:
        """Set them."""
        self.writes.append("put_function_event_invoke_config")
        self.invoke_configs[FunctionName] = config

    def list_event_source_mappings(self, *, FunctionName: str, EventSourceArn: str) -> dict[str, Any]:
        """The queues that a function reads."""
        found = [
            mapping
            for mapping in self.mappings
            if (mapping["FunctionArn"], mapping["EventSourceArn"]) == (FunctionName, EventSourceArn)
        ]
        return {"EventSourceMappings": found}

    def update_event_source_mapping(self, *, UUID: str, FunctionResponseTypes: list[str]) -> None:
        """Set what a batch's answer may be."""
        self.writes.append("update_event_source_mapping")
        next(each for each in self.mappings if each["UUID"] == UUID)["FunctionResponseTypes"] = FunctionResponseTypes

    def list_targets_by_rule(self, *, Rule: str) -> dict[str, Any]:
        """What a rule calls."""
        if Rule not in self.targets:
            raise _missing("ListTargetsByRule")
        return {"Targets": self.targets[Rule]}

    def put_targets(self, *, Rule: str, Targets: list[dict[str, Any]]) -> dict[str, Any]:
        """Replace targets of the same id."""
        self.writes.append("put_targets")
        self.targets[Rule] = Targets
        return {"FailedEntryCount": 0, "FailedEntries": []}
