"""The error tree: what went wrong, and whether trying again can help.

    OpsError
    ├── permanent (retry = False): the same input will fail again; log, count, report, return
    │   ├── BadEventError         an event that is not what its source documents
    │   ├── BadRequestError       a person's or CI's payload that is not allowed
    │   ├── MisconfiguredError    the fleet file, the settings or the account contradict each other
    │   └── DeniedError           AWS refused us: a permission is missing
    ├── transient (retry = True): raise it, and Lambda, SQS or the next tick tries again
    │   ├── AwsUnavailableError   AWS failed or timed out after botocore's own retries
    │   ├── ThrottledError        AWS asked us to slow down, after botocore's own retries
    │   └── TicketUnavailableError  the tracker could not be reached or refused
    ├── NotFoundError             the named thing does not exist; the caller decides what that means
    └── LostRaceError             another tick acted first: normal, stop quietly

Knows nothing but itself.
"""


class OpsError(Exception):
    """The root of every error that this system raises on purpose."""

    retry = False


class BadEventError(OpsError):
    """An event does not have its documented shape; retrying cannot help."""


class BadRequestError(OpsError):
    """A payload is not allowed; the message says what is."""


class MisconfiguredError(OpsError):
    """The fleet file, the settings or the account contradict each other."""


class DeniedError(OpsError):
    """AWS refused a call for want of permission."""


class NotFoundError(OpsError):
    """The named thing does not exist in the cloud."""


class AwsUnavailableError(OpsError):
    """AWS failed or timed out after botocore's own retries."""

    retry = True


class ThrottledError(OpsError):
    """AWS asked us to slow down, after botocore's own retries."""

    retry = True


class CapacityError(OpsError):
    """ECS has no room for a task now; this says nothing about the image."""

    retry = True


class TicketUnavailableError(OpsError):
    """The tracker could not be reached, or refused for now; `retry_after` is what it asked for, in seconds."""

    retry = True

    def __init__(self, message: str, *, retry_after: float = 0.0) -> None:
        """Say what happened, and how long the tracker asked us to stay away."""
        super().__init__(message)
        self.retry_after = retry_after


class TicketGoneError(TicketUnavailableError):
    """The tracker has no such ticket (any more)."""


class LostRaceError(OpsError):
    """Another tick holds or changed the record: normal, stop quietly."""
