"""botocore's errors come out as ours."""

from __future__ import annotations

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
    ReadTimeoutError,
)

from chalicelib.aws.errors import translated
from chalicelib.errors import (
    AwsUnavailableError,
    DeniedError,
    MisconfiguredError,
    NotFoundError,
    OpsError,
    ThrottledError,
)


def answer(code: str, status: int = 400) -> ClientError:
    """An error answer of AWS."""
    details = {"Error": {"Code": code, "Message": "so it is"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(details, "UpdateService")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (answer("ThrottlingException"), ThrottledError),
        (answer("SomethingNew", 429), ThrottledError),
        (answer("TransactionConflictException"), ThrottledError),
        (answer("AccessDeniedException"), DeniedError),
        (answer("AccessDenied", 403), DeniedError),
        (answer("UnrecognizedClientException"), DeniedError),
        (answer("ServerException", 500), AwsUnavailableError),
        (answer("SomethingNew", 503), AwsUnavailableError),
        (answer("ServiceNotFoundException"), NotFoundError),
        (answer("ClientException"), MisconfiguredError),
        (NoCredentialsError(), DeniedError),
        (ReadTimeoutError(endpoint_url="http://x"), AwsUnavailableError),
        (ConnectTimeoutError(endpoint_url="http://x"), AwsUnavailableError),
        (EndpointConnectionError(endpoint_url="http://x"), AwsUnavailableError),
        (ParamValidationError(report="wrong"), MisconfiguredError),
    ],
)
def test_error_of_aws_becomes_the_one_that_says_whether_to_retry(error: Exception, ours: type[OpsError]) -> None:
    """One table for all adapters."""
    with pytest.raises(ours) as raised, translated(missing={"ServiceNotFoundException"}):
        raise error
    assert type(raised.value) is ours
    assert raised.value.__cause__ is error


def test_translated_error_names_operation_code_and_sentence() -> None:
    """A person reads this in a ticket."""
    with pytest.raises(DeniedError, match="UpdateService: AccessDeniedException: so it is"), translated():
        raise answer("AccessDeniedException")


def test_error_of_ours_passes_through() -> None:
    """Only botocore's are translated."""
    with pytest.raises(NotFoundError), translated():
        raise NotFoundError("no such thing")
