"""Whose fault a death is, and which is proof enough: reasons as ECS writes them."""

from __future__ import annotations

import pytest

from chalicelib.health.death import Cause, cause_of_death, epitaph, is_certain
from tests.decide.build import DAMAGE, ago, make_task

# Source of the reasons: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html
PULL_MISSING = (
    "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref "
    "123456789012.dkr.ecr.us-east-1.amazonaws.com/xai/node@sha256:bbb: not found"
)
PULL_TIMEOUT = (
    "CannotPullContainerError: ref pull has been retried 5 time(s): failed to copy: httpReadSeeker: failed open: "
    "failed to do request: Get https://prod.s3.amazonaws.com/: dial tcp 52.216.1.1:443: i/o timeout"
)
PULL_LIMIT = "CannotPullContainerError: inspect image has been retried 1 time(s): toomanyrequests: You have reached your pull rate limit"
NO_SECRET = (
    "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: "
    "unable to retrieve secret from asm: ResourceNotFoundException: Secrets Manager can't find the specified secret"
)
NETWORK = "Timeout waiting for network interface provisioning to complete."
NO_ROUTE = (
    "ResourceInitializationError: unable to pull secrets or registry auth: The task cannot pull registry auth from "
    "Amazon ECR: There is a connection issue between the task and Amazon ECR. Check your task network configuration."
)
EXEC_FORMAT = "exec /usr/local/bin/xai-node: exec format error"
CANNOT_START = (
    'CannotStartContainerError: Error response from daemon: OCI runtime create failed: exec: "xai-node": '
    "executable file not found in $PATH"
)
SCALING = "Scaling activity initiated by (deployment ecs-svc/0123456789012345678)"
ELB = "Task failed ELB health checks in (target-group arn:aws:elasticloadbalancing:us-east-1:1:targetgroup/x/1)"
CONTAINER_CHECK = "Task failed container health checks"


@pytest.mark.parametrize(
    ("code", "reason", "container_reason", "cause"),
    [
        ("TaskFailedToStart", PULL_MISSING, "", Cause.VERSION),
        ("TaskFailedToStart", NO_SECRET, "", Cause.VERSION),
        ("TaskFailedToStart", "Essential container in task exited", CANNOT_START, Cause.VERSION),
        ("TaskFailedToStart", EXEC_FORMAT, "", Cause.VERSION),
        ("TaskFailedToStart", PULL_TIMEOUT, "", Cause.CAPACITY),
        ("TaskFailedToStart", PULL_LIMIT, "", Cause.CAPACITY),
        ("TaskFailedToStart", NETWORK, "", Cause.CAPACITY),
        ("TaskFailedToStart", NO_ROUTE, "", Cause.CAPACITY),
        ("TaskFailedToStart", "CannotPullContainerError: write /var/lib: no space left on device", "", Cause.CAPACITY),
        ("TaskFailedToStart", "DockerTimeoutError: Could not transition to started; timed out", "", Cause.CAPACITY),
        ("TaskFailedToStart", "RESOURCE:MEMORY", "", Cause.CAPACITY),
        ("TaskFailedToStart", "RESOURCE:ENI", "", Cause.CAPACITY),
        ("TaskFailedToStart", "AGENT", "", Cause.CAPACITY),
        ("TaskFailedToStart", "Capacity is unavailable at this time. Please try again later", "", Cause.CAPACITY),
        ("EssentialContainerExited", "Essential container in task exited", "", Cause.VERSION),
        ("EssentialContainerExited", "Essential container in task exited", "OutOfMemoryError: memory", Cause.VERSION),
        ("ServiceSchedulerInitiated", ELB, "", Cause.VERSION),
        ("ServiceSchedulerInitiated", CONTAINER_CHECK, "", Cause.VERSION),
        ("ServiceSchedulerInitiated", SCALING, "", Cause.OTHER),
        ("UserInitiated", "Task stopped by user", "", Cause.OTHER),
        ("SpotInterruption", "Your Spot Task was interrupted.", "", Cause.CAPACITY),
        ("TerminationNotice", "Host EC2 (instance i-0123456789abcdef0) terminated.", "", Cause.CAPACITY),
        ("SomethingNew", "whatever AWS adds next year", "", Cause.OTHER),
        (None, "", "", Cause.OTHER),
    ],
)
def test_stop_code_and_reason_tell_whose_fault_it_was(
    code: str | None, reason: str, container_reason: str, cause: Cause
) -> None:
    """What ECS documents as the task's own failure is the version's; room, network, people and Spot are not."""
    task = make_task(stop_code=code, stopped_reason=reason, container_reason=container_reason)
    assert cause_of_death(task, DAMAGE) is cause


@pytest.mark.parametrize(
    ("log", "patterns", "cause"),
    [
        ("ERROR Blockchain data integrity check failed at 41", DAMAGE, Cause.DATA),
        ("Integrity check failed", DAMAGE, Cause.DATA),
        ("ImportError: no module named xai", DAMAGE, Cause.VERSION),
        ("Integrity check failed", (), Cause.VERSION),
        ("", DAMAGE, Cause.VERSION),
    ],
)
def test_log_tells_damaged_data_from_a_bad_version(log: str, patterns: tuple[str, ...], cause: Cause) -> None:
    """Only in the fleet file's words, and only of a container that exited by itself."""
    assert cause_of_death(make_task(log=log), patterns) is cause


def test_damage_in_the_log_of_a_replaced_task_says_nothing() -> None:
    """Whoever was scaled in did not refuse its data."""
    task = make_task(stop_code="ServiceSchedulerInitiated", stopped_reason=SCALING, log="Integrity check failed")
    assert cause_of_death(task, DAMAGE) is Cause.OTHER


@pytest.mark.parametrize(
    ("code", "reason", "container_reason", "lived", "certain"),
    [
        ("TaskFailedToStart", PULL_MISSING, "", None, True),
        ("TaskFailedToStart", NO_SECRET, "", None, True),
        ("TaskFailedToStart", "Essential container in task exited", CANNOT_START, None, True),
        ("TaskFailedToStart", EXEC_FORMAT, "", None, True),
        ("EssentialContainerExited", "Essential container in task exited", "", 10, True),  # aws-events 3.8
        ("EssentialContainerExited", "Essential container in task exited", "", 29, True),
        ("EssentialContainerExited", "Essential container in task exited", "", 30, False),
        ("EssentialContainerExited", "Essential container in task exited", "OutOfMemoryError: x", 3600, True),
        ("EssentialContainerExited", "Essential container in task exited", "", None, False),
        ("ServiceSchedulerInitiated", ELB, "", 10, False),
        ("UserInitiated", "Task stopped by user", "", 1, False),
    ],
)
def test_one_death_is_proof_enough_if_the_next_try_cannot_differ(
    code: str, reason: str, container_reason: str, lived: float | None, certain: bool
) -> None:
    """Cannot pull, exec format, missing secret, exits at once: decided on the first dead task."""
    started = ago(40 + lived) if lived is not None else None
    task = make_task(stop_code=code, stopped_reason=reason, container_reason=container_reason, started_at=started)
    assert is_certain(task) is certain


def test_epitaph_tells_code_lifetime_and_reason() -> None:
    """One line for people."""
    line = epitaph(make_task(container_reason="OutOfMemoryError: memory", exit_code=137))
    assert line == ("task t1 stopped: EssentialContainerExited, exit code 137, lived 60 s: OutOfMemoryError: memory")


def test_epitaph_of_a_task_that_never_ran_names_what_is_known() -> None:
    """No exit code, no lifetime, no stop code."""
    line = epitaph(make_task(started_at=None, exit_code=None, stop_code=None, stopped_reason="gone"))
    assert line == "task t1 stopped: no stop code: gone"
