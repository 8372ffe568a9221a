"""AWS of the sandbox over real HTTP: moto, with our own ECS and ECR images in front, faults and a count of calls.

What moto lacks is closed here and in gaps.py, one named piece for each. Knows nothing of xai-ops.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import traceback
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs, unquote
from xml.sax.saxutils import escape

from botocore import xform_name
from flask import got_request_exception
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

from sandbox.dataplane.api import EcsApi
from sandbox.dataplane.model import EcsError
from sandbox.registry import Images
from sandbox.switches import Faults

OURS = "xai-ops"  # our handlers' clients say so in their user agent
ROLE_KEY = "ROLE_"  # access keys of our functions' roles begin so; the function's name follows
VIEWER = "X-Sandbox-Viewer"  # header of the sandbox's own looking on: not counted, meets no faults
OPEN_TO_BROWSERS = "/pictures/"  # routes of our HTTP API that ask for no signature
_OBJECTS = {"GET": "GetObject", "PUT": "PutObject", "HEAD": "HeadObject", "DELETE": "DeleteObject"}
_SIGNING = {"monitoring": "cloudwatch", "elasticloadbalancing": "elbv2", "events": "events"}
_ERRORS = {
    "throttle": ("ThrottlingException", "Rate exceeded", 400),
    "error500": ("InternalFailure", "The request processing has failed because of an unknown error", 500),
    "denied": ("AccessDeniedException", "User is not authorized to perform this operation", 400),
}
Answer = tuple[int, bytes, str, dict[str, str]]
ANSWERS_KEPT = 500  # of other clients, for their next try
Made = tuple[str, str]  # function, call as botocore spells it: "client:method"


class LostAnswerError(ConnectionError):
    """Raised in the request handler's thread to close the connection without an answer."""


class Cloud:
    """The HTTP server that every AWS client of the sandbox talks to."""

    def __init__(
        self,
        ecs: EcsApi,
        images: Images,
        faults: Faults,
        invoke: Callable[[str, Any, str], tuple[Any, str | None]],
        allow_recursion: Callable[[str, bool], None],
        http_api: Callable[[str, str], tuple[int, dict[str, str], bytes]] = lambda _method, _path: (404, {}, b""),
        refusal: Callable[[str, str, str, bytes], str | None] = lambda _function, _call, _path, _body: None,
    ) -> None:
        """Bind a free loopback port; nothing is served until `start`."""
        self._ecs, self._images, self._faults, self._invoke = ecs, images, faults, invoke
        self._allow_recursion, self._http_api, self._refusal = allow_recursion, http_api, refusal
        self._recursion: dict[str, str] = {}
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._calls: Counter[str] = Counter()
        self._made: Counter[Made] = Counter()
        self._refused: list[str] = []
        self._lock = threading.Lock()
        self._one_by_one = threading.Lock()
        self._heard: dict[str, tuple[str, list[tuple[str, str]], list[bytes]]] = {}
        self._failures: list[str] = []
        got_request_exception.connect(self._failed)
        logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
        self._server = make_server("127.0.0.1", 0, self, threaded=True, request_handler=_Quiet)
        self._server.daemon_threads = True  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        images.url = self.url

    def start(self) -> None:
        """Serve in a thread."""
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def calls(self) -> dict[str, int]:
        """How often our handlers called what, as service:Operation."""
        with self._lock:
            return dict(self._calls)

    def made(self) -> dict[Made, int]:
        """How often each of our functions made which call, ever; function "" is none of them."""
        with self._lock:
            return dict(self._made)

    def refused(self) -> list[str]:
        """Every call that a function's policy did not allow, in AWS' words."""
        with self._lock:
            return list(self._refused)

    def forget_calls(self) -> None:
        """Count from zero."""
        with self._lock:
            self._calls.clear()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request (WSGI)."""
        path = environ["PATH_INFO"]
        beside = self._beside(path, environ["REQUEST_METHOD"])
        if beside is not None:
            return _reply(start_response, beside)
        body = _read(environ)
        service, operation = identify(environ, body)
        ours = OURS in environ.get("HTTP_USER_AGENT", "") and "HTTP_X_SANDBOX_VIEWER" not in environ
        function, call = caller(environ), f"{service}:{xform_name(operation)}"
        fault = self._faults.take(service, operation) if ours else None
        with self._lock:
            if ours:
                self._calls[f"{service}:{operation}"] += 1
            if ours or function:  # a link that a function signed is opened by others, with the function's permission
                self._made[function, call] += 1
        if fault in _ERRORS:
            return _reply(start_response, _error(service, *_ERRORS[fault]))
        if fault == "latency":
            threading.Event().wait(2.0)
        refused = self._refusal(function, call, path, body) if function else None
        if refused is not None:
            with self._lock:
                self._refused.append(refused)
            return _reply(start_response, _denied(service, refused))
        answer = self._own(service, operation, path, body, environ)
        if answer is not None:
            if fault == "lost_answer":
                raise LostAnswerError
            return _reply(start_response, answer)
        with self._one_by_one:  # moto's backends are not made for threads
            if fault == "lost_answer":
                list(self._moto(environ, lambda *_: None))
                raise LostAnswerError
            return self._once(environ, start_response, ours=ours)

    def _once(self, environ: dict[str, Any], start_response: Callable[..., Any], *, ours: bool) -> list[bytes]:
        """Moto's answer; the same again to a client that did not hear it, and says so by the same invocation id.

        Our own functions have no such luck: what they do must be safe to repeat, which a lost answer tests.
        Source: https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html
        """
        asked = "" if ours else environ.get("HTTP_AMZ_SDK_INVOCATION_ID", "")
        if asked in self._heard:
            status, headers, body = self._heard[asked]
            self._failures.append(
                f"answered again: {environ.get('HTTP_AMZ_SDK_REQUEST')} {environ['PATH_INFO']} {status}"
            )
            start_response(status, headers)
            return body
        said: list[Any] = []

        def begin(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            said[:] = [status, headers]
            return start_response(status, headers, *more)

        body = list(self._moto(environ, begin))
        if asked and said[0] < "5":
            self._heard[asked] = (said[0], said[1], body)
            while len(self._heard) > ANSWERS_KEPT:
                self._heard.pop(next(iter(self._heard)))
        return body

    def failures(self) -> list[str]:
        """Where moto broke, or an answer was lost: what a client's second try may have met."""
        with self._lock:
            return list(self._failures)

    def _failed(self, _app: Any, exception: Exception, **_: Any) -> None:
        trace = "".join(traceback.format_exception(exception)[-3:])
        with self._lock:
            self._failures.append(trace)

    def _beside(self, path: str, method: str) -> Answer | None:
        """What is no call to AWS: a layer's download, the sandbox's time, our own HTTP API."""
        if path.startswith("/_blobs/"):
            return 200, self._images.blobs.get(path.removeprefix("/_blobs/"), b""), "application/json", {}
        if path == "/_clock":
            return 200, self._ecs.plane.clock().isoformat().encode(), "text/plain", {}
        if path.startswith(OPEN_TO_BROWSERS):
            status, headers, page = self._http_api(method, path)
            return status, page, "application/json", headers
        return None

    def _own(self, service: str, operation: str, path: str, body: bytes, environ: dict[str, Any]) -> Answer | None:
        if service == "ecs":
            return _json_call(lambda: self._ecs.handle(operation, json.loads(body or b"{}")))
        if service == "ecr" and operation in self._images.operations:
            return _json_call(lambda: self._images.operations[operation](json.loads(body or b"{}")))
        invocation = re.fullmatch(r"/2015-03-31/functions/([^/]+)/invocations", path)
        if invocation:
            return self._lambda(unquote(invocation[1]), body, environ)
        recursion = re.fullmatch(r"/2024-08-31/functions/([^/]+)/recursion-config", path)
        if recursion:
            return self._recursion_config(unquote(recursion[1]).rsplit(":", 1)[-1], body, environ["REQUEST_METHOD"])
        return None

    def _lambda(self, function: str, body: bytes, environ: dict[str, Any]) -> Answer:
        name = function.rsplit(":", 1)[-1]
        kind = environ.get("HTTP_X_AMZ_INVOCATION_TYPE", "RequestResponse")
        payload = json.loads(body) if body else {}
        try:
            result, error = self._invoke(name, payload, kind)
        except KeyError:
            text = f"Function not found: {function}"
            return _json(404, {"Type": "User", "Message": text}, {"x-amzn-errortype": "ResourceNotFoundException"})
        if error is not None:
            return _json(200, result, {"X-Amz-Function-Error": error})
        return _json(202 if kind == "Event" else 200, None if kind == "Event" else result)

    def _recursion_config(self, function: str, body: bytes, method: str) -> Answer:
        if method == "PUT":
            self._recursion[function] = json.loads(body)["RecursiveLoop"]
            self._allow_recursion(function, self._recursion[function] == "Allow")
        return _json(200, {"RecursiveLoop": self._recursion.get(function, "Terminate")})


class _Quiet(WSGIRequestHandler):
    """No request log; a lost answer closes the connection."""

    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:
        """Say nothing."""

    def connection_dropped(self, error: BaseException, environ: Any = None) -> None:
        """Close it: a client that waits for more would wait for its time-out."""
        self.close_connection = True


def identify(environ: dict[str, Any], body: bytes) -> tuple[str, str]:
    """The service and operation of an AWS request, as boto3 spells them."""
    scope = _scope(environ)
    service = _SIGNING.get(scope[2], scope[2]) if scope else "unknown"
    target = environ.get("HTTP_X_AMZ_TARGET", "")
    if target:
        return service, target.rsplit(".", 1)[-1]
    cbor = re.search(r"/operation/(\w+)$", environ["PATH_INFO"])
    if cbor:
        return service, cbor[1]
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        return service, parse_qs(body.decode()).get("Action", ["unknown"])[0]
    if service == "s3" and environ["PATH_INFO"].strip("/").count("/") and environ["REQUEST_METHOD"] in _OBJECTS:
        return service, _OBJECTS[environ["REQUEST_METHOD"]]
    return service, f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"


def caller(environ: dict[str, Any]) -> str:
    """The function whose keys signed a request or a link, "" when it was none of ours."""
    scope = _scope(environ)
    return scope[1].removeprefix(ROLE_KEY) if scope and scope[1].startswith(ROLE_KEY) else ""


def _scope(environ: dict[str, Any]) -> re.Match[str] | None:
    """Access key and service, of the header or of a signed link."""
    signed = environ.get("HTTP_AUTHORIZATION") or unquote(environ.get("QUERY_STRING", ""))
    return re.search(r"Credential=([^/]+)/\d+/[^/]+/([^/]+)/", signed)


def _read(environ: dict[str, Any]) -> bytes:
    """Read the body and put it back for moto."""
    from io import BytesIO  # noqa: PLC0415

    length = environ.get("CONTENT_LENGTH")
    body: bytes = (
        environ["wsgi.input"].read(int(length))
        if length
        else environ["wsgi.input"].read()
        if environ.get("wsgi.input_terminated")
        else b""
    )
    environ["wsgi.input"] = BytesIO(body)
    environ["CONTENT_LENGTH"] = str(len(body))
    return body


def _json_call(call: Callable[[], dict[str, Any]]) -> Answer:
    try:
        return _json(200, call())
    except EcsError as error:
        return _json(error.status, {"__type": error.code, "message": error.message})


def _denied(service: str, message: str) -> Answer:
    """As each protocol says that IAM does not allow it."""
    text = escape(message)
    if service == "s3":
        return 403, f"<Error><Code>AccessDenied</Code><Message>{text}</Message></Error>".encode(), "application/xml", {}
    if service in ("elbv2", "sns"):
        code = "AuthorizationError" if service == "sns" else "AccessDenied"
        error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{text}</Message></Error>"
        return 403, f"<ErrorResponse>{error}</ErrorResponse>".encode(), "text/xml", {}
    return _error(service, "AccessDeniedException", message, 400)


def _error(service: str, code: str, message: str, status: int) -> Answer:
    if service == "dynamodb" and code == "ThrottlingException":
        code = "ProvisionedThroughputExceededException"
    if service == "elbv2":
        xml = f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
        return status, xml.encode(), "text/xml", {}
    return _json(
        status, {"__type": code, "message": message}, {"x-amzn-errortype": code, "x-amzn-query-error": f"{code};Sender"}
    )


def _json(status: int, body: Any, headers: dict[str, str] | None = None) -> Answer:
    return status, json.dumps(body).encode(), "application/x-amz-json-1.1", headers or {}


def _reply(start_response: Callable[..., Any], answer: Answer) -> list[bytes]:
    status, body, kind, headers = answer
    pairs = [
        ("Content-Type", kind),
        ("Content-Length", str(len(body))),
        ("x-amzn-RequestId", str(uuid.uuid4())),
        *headers.items(),
    ]
    start_response(f"{status} {'OK' if status < 400 else 'Error'}", pairs)
    return [body]
