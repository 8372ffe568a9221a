"""The one place where botocore's errors become ours. No error of botocore leaves this room.

Knows codes and our error tree. Must not know what a caller does about an error.
Source: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html and the services' own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
)
from botocore.exceptions import ConnectionError as BotoConnectionError
from botocore.parsers import ResponseParserError

from chalicelib.errors import (
    AwsUnavailableError,
    DeniedError,
    MisconfiguredError,
    NotFoundError,
    OpsError,
    ThrottledError,
)

THROTTLES = frozenset(
    {
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionConflictException",
        "TransactionInProgressException",
    }
)
DENIALS = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "KMSAccessDeniedException",
        "NotAuthorized",
        "UnauthorizedOperation",
        "UnrecognizedClientException",
    }
)
FAILURES = frozenset(
    {"InternalError", "InternalFailure", "InternalServerError", "ServerException", "ServiceUnavailable"}
)


@contextmanager
def translated(*, missing: Collection[str] = ()) -> Iterator[None]:
    """Run calls to AWS; what botocore raises comes out as one of our errors.

    `missing` are the codes with which this service says that the named thing does not exist.
    """
    try:
        yield
    except ClientError as error:
        raise _of_answer(error, missing) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise DeniedError(f"could not sign a call to AWS: {error}") from error
    except (BotoConnectionError, HTTPClientError, ResponseParserError) as error:
        raise AwsUnavailableError(f"could not reach AWS: {error}") from error
    except BotoCoreError as error:
        raise MisconfiguredError(f"could not make a call to AWS: {error}") from error


def code_of(error: ClientError) -> str:
    """The code with which AWS names an error."""
    return str(error.response.get("Error", {}).get("Code", ""))


def message_of(error: ClientError) -> str:
    """AWS' own sentence about an error."""
    return str(error.response.get("Error", {}).get("Message", ""))


def _of_answer(error: ClientError, missing: Collection[str]) -> OpsError:
    code = code_of(error)
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    text = f"could not call {error.operation_name}: {code}: {message_of(error)}"
    if code in missing:
        return NotFoundError(text)
    if code in THROTTLES or status == 429:
        return ThrottledError(text)
    if code in DENIALS or code.startswith("AccessDenied"):
        return DeniedError(text)
    if code in FAILURES or status >= 500:
        return AwsUnavailableError(text)
    return MisconfiguredError(text)
