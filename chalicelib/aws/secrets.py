"""Tokens from Secrets Manager, read when first needed. Must not log, print or show a token anywhere."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from chalicelib.aws.errors import translated
from chalicelib.aws.session import Aws
from chalicelib.errors import MisconfiguredError

KEEP_SECONDS = 300.0  # a rotated token is picked up within five minutes


class TokenStore:
    """Tokens by the name of their secret, kept for five minutes."""

    def __init__(self, aws: Aws, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Read secrets of this region; `monotonic` counts real seconds."""
        self._aws = aws
        self._monotonic = monotonic
        self._kept: dict[str, tuple[float, str]] = {}

    def __repr__(self) -> str:
        """Say nothing of what is kept."""
        return "TokenStore(...)"

    def get(self, name: str) -> str:
        """The token of a secret whose value is the token itself or JSON {"token": ...}.

        Raises NotFoundError, and MisconfiguredError when the secret holds no token.
        """
        kept = self._kept.get(name)
        if kept is not None and self._monotonic() - kept[0] < KEEP_SECONDS:
            return kept[1]
        with translated(missing={"ResourceNotFoundException"}):
            answer = self._aws.client("secretsmanager").get_secret_value(SecretId=name)
        token = _token_in(name, answer.get("SecretString") or "")
        self._kept[name] = (self._monotonic(), token)
        return token


def _token_in(name: str, value: str) -> str:
    token: object = value
    if value.lstrip().startswith("{"):
        try:
            token = json.loads(value).get("token")
        except ValueError:
            # Without `from`: the parser's own message may quote the secret.
            raise MisconfiguredError(f"secret {name} is neither a token nor JSON") from None
    if not isinstance(token, str) or not token.strip():
        raise MisconfiguredError(f'secret {name} holds no token: give it as plain text or as {{"token": "..."}}')
    return token.strip()
