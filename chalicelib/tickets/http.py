"""JSON over HTTP to a tracker: one call, no retry, and errors that name the status and what to do, never a token.

Must not know any tracker's paths or words.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from chalicelib.errors import OpsError, TicketGoneError, TicketUnavailableError

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

CONNECT_SECONDS = 3.0
READ_SECONDS = 7.0
LONGEST_RETRY_AFTER = 3600.0
RATE_LIMIT_SECONDS = 60.0  # where a tracker says no time
CHUNK, MOST_BODY = 65_536, 20_000_000
MOST_SAID = 160
MOST_HARMLESS = 8  # shorter words of a header are no secret
GONE = frozenset({404, 410})
_TOKEN = re.compile(r"[\x21-\x7e]+")


@dataclass(slots=True)
class Caller:
    """Calls one tracker. `advice` says what to do about a status; `said` finds the tracker's own words in a body."""

    name: str  # as people call it: GitHub
    api_url: str
    token: Callable[[], str]
    headers: Callable[[str], Mapping[str, str]]  # of a token
    advice: Mapping[int, str]
    said: Callable[[Any], object] = lambda body: body.get("message") if isinstance(body, dict) else None
    limited: Callable[[BaseHTTPResponse], bool] = lambda response: response.status == 429
    _http: PoolManager | None = field(default=None)

    def __post_init__(self) -> None:
        """Paths begin with a slash."""
        self.api_url = self.api_url.rstrip("/")

    def call(self, method: str, path: str, payload: object = None) -> Any:
        """The JSON that a call answers, None for an empty body. Raises TicketUnavailableError, TicketGoneError for 404."""
        from urllib3.exceptions import HTTPError  # noqa: PLC0415 - only when there is something to tell

        what, secret = f"{method} {path.partition('?')[0]}", self._secret()
        headers = {"Content-Type": "application/json", "User-Agent": "xai-ops", **self.headers(secret)}
        body = None if payload is None else json.dumps(payload).encode()
        try:
            response = self._pool().request(
                method, self.api_url + path, body=body, headers=headers, redirect=False, preload_content=False
            )
            data = _whole(response)
        except HTTPError as error:
            raise TicketUnavailableError(f"could not reach {self.name} for {what}: {type(error).__name__}") from error
        if not 200 <= response.status < 300:
            raise self._refused(
                what, response, data, (secret, *(value.rpartition(" ")[2] for value in headers.values()))
            )
        if not data:
            return None
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as error:
            raise TicketUnavailableError(f"{what} answered {response.status} with something that is no JSON") from error

    def _secret(self) -> str:
        try:
            token = self.token()
        except OpsError as error:
            raise TicketUnavailableError(f"could not read the token for {self.name}: {error}") from error
        if not _TOKEN.fullmatch(token):  # an HTTP library would quote it in its complaint
            raise TicketUnavailableError(f"the token for {self.name} is empty or has characters that no token has")
        return token

    def _refused(
        self, what: str, response: BaseHTTPResponse, data: bytes, hidden: Iterable[str]
    ) -> TicketUnavailableError:
        """Say what the tracker said, and what to do; a gateway may repeat the credentials that it refuses."""
        status, said = response.status, self._words(data)
        for each in hidden:
            said = said.replace(each, "[redacted]") if len(each) >= MOST_HARMLESS else said
        said = said[:MOST_SAID]
        after = retry_after(response.headers.get("Retry-After"))
        if self.limited(response):
            wait = after or RATE_LIMIT_SECONDS
            text = f"{what} answered {status}: rate limit, to be tried again in {wait:.0f} s"
            return TicketUnavailableError(text, retry_after=wait)
        text = f"{what} answered {status}: {self._advice_on(status)}{f' ({said})' if said else ''}"
        kind = TicketGoneError if status in GONE else TicketUnavailableError
        return kind(text, retry_after=after)

    def _advice_on(self, status: int) -> str:
        other = f"not what {self.name} documents"
        if status >= 500:
            other = f"{self.name} is in trouble"
        elif 300 <= status < 400:
            other = "a redirect, which is not followed with a token: is the tracker's api_url right?"
        return self.advice.get(status, other)

    def _words(self, data: bytes) -> str:
        try:
            said = self.said(json.loads(data))
        except (ValueError, RecursionError, TypeError, AttributeError, KeyError, IndexError):
            return ""
        return " ".join(said.split()) if isinstance(said, str) else ""

    def _pool(self) -> PoolManager:
        if self._http is None:
            from urllib3 import PoolManager, Timeout  # noqa: PLC0415 - 60 ms that an idle minute need not pay

            self._http = PoolManager(retries=False, timeout=Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS))
        return self._http


def _whole(response: BaseHTTPResponse) -> bytes:
    """The body. A time-out holds for each packet only: a body that drips is given up, and so is one without end."""
    from urllib3.exceptions import ReadTimeoutError, ResponseError  # noqa: PLC0415 - as above

    give_up, data = time.monotonic() + READ_SECONDS, b""
    while chunk := response.read1(CHUNK):
        data += chunk
        if time.monotonic() > give_up:
            raise ReadTimeoutError(None, "", "the answer drips")  # type: ignore[arg-type]
        if len(data) > MOST_BODY:
            raise ResponseError("the answer is too long")
    response.release_conn()
    return data


def retry_after(value: str | None) -> float:
    """Retry-After as seconds from now: a number, or 0 for anything else (a date needs a clock), at most an hour.

    Source: https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
    """
    if value is None or not value.isascii() or not value.isdigit():
        return _until(value) if value else 0.0
    return min(float(value), LONGEST_RETRY_AFTER)


def _until(value: str) -> float:
    """A date there means: wait. How long is not known without a clock, so as long as for a rate limit."""
    try:
        parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return 0.0
    return RATE_LIMIT_SECONDS
