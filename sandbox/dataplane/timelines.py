"""How long real ECS takes, as recorded (desired count 1, seconds after UpdateService). Data only.

good            new task RUNNING +35, old gone and COMPLETED +120
crash at start  starts +17, +69, +120, +170 (each alive 10 s); breaker +175, its rollback done +254
missing image   failures +140, +272, +646; breaker +704
hung            killed by its health check +230, +568, +897; breaker +934
"""

START_SECONDS = 17.0  # from a task's creation to its container's start
RUNNING_SECONDS = 18.0  # from the container's start to lastStatus RUNNING
COMPLETE_SECONDS = 85.0  # from RUNNING to rolloutState COMPLETED, old tasks drained
COMPLETE_ROLLBACK_SECONDS = 44.0  # likewise, for the breaker's own rollback
PULL_FAILS_SECONDS = 123.0  # how long ECS tries to pull an image that is not there

# From a task's death to the creation of the next, by the cause of death and the number of the attempt.
RELAUNCH_SECONDS = {
    "exit": (25.0, 24.0, 23.0),
    "pull": (1.0, 225.0, 225.0),
    "health": (108.0, 99.0, 99.0),
    "stopped": (8.0,),
}
# From the failure that reaches the threshold to the breaker's decision.
BREAKER_SECONDS = {"exit": 45.0, "pull": 58.0, "health": 37.0, "stopped": 45.0}
PLACEMENT_RETRY_SECONDS = 30.0
STOPPED_TASKS_KEPT_SECONDS = 3600.0


def relaunch_after(cause: str, attempt: int) -> float:
    """Seconds from the `attempt`-th death (from 1) to the next task's creation."""
    delays = RELAUNCH_SECONDS[cause]
    return delays[min(attempt, len(delays)) - 1]
