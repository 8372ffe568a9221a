"""Why a task died, and whether that says anything about the version it ran. Pure.

Knows ECS' stop codes and reasons. Must not know rollouts' phases.
Source: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum

from chalicelib.rollout.model import Task


class Cause(StrEnum):
    """Whose fault a death is."""

    VERSION = "version"
    DATA = "data"  # the node refused its own data
    CAPACITY = "capacity"  # placement, network, Spot: the platform's
    OTHER = "other"  # a person, scale-in, deployment: says nothing


# Reasons of tasks that never started, which are the platform's fault: no room, no network, a registry that is slow.
_PLATFORM = re.compile(
    r"RESOURCE:|AGENT|no container instance|[Cc]apacity is unavailable|network interface provisioning|"
    r"InternalError|ServerException|i/o timeout|toomanyrequests|context deadline exceeded|connection (refused|reset)|"
    r"Timeout waiting|EBS|attachment|connection issue|no space left on device|DockerTimeoutError",
)
# Reasons that the next try cannot change.
_CERTAIN = re.compile(
    r"CannotPullContainer|CannotStartContainer|exec format error|ImageNotFound|manifest unknown|unable to pull secrets|"
    r"ResourceInitializationError|no such file|OutOfMemory",
)
_QUICK_EXIT_SECONDS = 30.0


def cause_of_death(task: Task, damage_patterns: Sequence[str]) -> Cause:
    """Tell whose fault a stopped task is, from `stopCode`, reasons and its log."""
    reason = f"{task.stopped_reason} {task.container_reason}"
    match task.stop_code:
        case "TaskFailedToStart":
            return Cause.CAPACITY if _PLATFORM.search(reason) else Cause.VERSION
        case "EssentialContainerExited":
            damaged = any(re.search(pattern, task.log) for pattern in damage_patterns)
            return Cause.DATA if damaged else Cause.VERSION
        case "ServiceSchedulerInitiated" if "failed" in reason and "health check" in reason:
            return Cause.VERSION
        case "SpotInterruption" | "TerminationNotice":
            return Cause.CAPACITY
        case _:
            return Cause.OTHER


def is_certain(task: Task) -> bool:
    """Whether one such death is proof enough, however many tasks the service has."""
    if _CERTAIN.search(f"{task.stopped_reason} {task.container_reason}"):
        return True
    if task.stop_code != "EssentialContainerExited" or task.started_at is None or task.stopped_at is None:
        return False
    return (task.stopped_at - task.started_at).total_seconds() < _QUICK_EXIT_SECONDS


def epitaph(task: Task) -> str:
    """One line on a dead task, for people."""
    lived = ""
    if task.started_at and task.stopped_at:
        lived = f", lived {(task.stopped_at - task.started_at).total_seconds():.0f} s"
    code = "" if task.exit_code is None else f", exit code {task.exit_code}"
    reason = task.container_reason or task.stopped_reason
    return f"task {task.arn.rsplit('/', 1)[-1]} stopped: {task.stop_code or 'no stop code'}{code}{lived}: {reason}"
