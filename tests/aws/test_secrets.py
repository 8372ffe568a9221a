"""Tokens are read late, kept for a while, and shown nowhere."""

from __future__ import annotations

import pytest

from chalicelib.aws.secrets import TokenStore
from chalicelib.aws.session import Aws
from chalicelib.errors import MisconfiguredError, NotFoundError


def a_secret(aws: Aws, value: str) -> None:
    """Store the secret `tickets`."""
    aws.client("secretsmanager").create_secret(Name="tickets", SecretString=value)


@pytest.mark.parametrize("value", ["s3cret", " s3cret\n", '{"token": "s3cret"}'])
def test_token_is_plain_or_json(aws: Aws, value: str) -> None:
    """Both are how people store tokens."""
    a_secret(aws, value)
    assert TokenStore(aws).get("tickets") == "s3cret"


@pytest.mark.parametrize("value", ['{"token": ""}', '{"key": "s3cret"}', '{"token": s3cret', " "])
def test_secret_without_a_token_is_a_contradiction_and_is_not_quoted(aws: Aws, value: str) -> None:
    """The message names the secret, never its value."""
    a_secret(aws, value)
    with pytest.raises(MisconfiguredError, match="tickets") as raised:
        TokenStore(aws).get("tickets")
    assert "s3cret" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_missing_secret_is_not_found(aws: Aws) -> None:
    """Nobody made it yet."""
    with pytest.raises(NotFoundError):
        TokenStore(aws).get("tickets")


def test_token_is_kept_for_five_minutes_and_shown_nowhere(aws: Aws) -> None:
    """A rotated token is picked up."""
    a_secret(aws, "first")
    seconds = [0.0]
    tokens = TokenStore(aws, monotonic=lambda: seconds[0])
    assert tokens.get("tickets") == "first"
    aws.client("secretsmanager").put_secret_value(SecretId="tickets", SecretString="second")
    seconds[0] = 299.0
    assert tokens.get("tickets") == "first"
    seconds[0] = 300.0
    assert tokens.get("tickets") == "second"
    assert "second" not in repr(tokens)
