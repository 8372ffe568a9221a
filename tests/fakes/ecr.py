"""The port `Images` in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from chalicelib.errors import NotFoundError
from chalicelib.rollout.model import ImageFacts
from chalicelib.rollout.ports import Push
from tests.fakes.calls import Called, Calls

REGISTRY = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
START = datetime(2026, 1, 5, 12, tzinfo=UTC)


class FakeEcr(Called):
    """Images by repository and digest, and what tags point to; set `now` as the test's time goes on."""

    def __init__(self, calls: Calls | None = None) -> None:
        """An empty registry."""
        super().__init__(calls)
        self.images: dict[tuple[str, str], ImageFacts] = {}
        self.tags: dict[tuple[str, str], str] = {}
        self.pushed_at: dict[tuple[str, str], datetime] = {}
        self.now = START

    def push(self, repository: str, digest: str, tag: str | None = None, facts: ImageFacts | None = None) -> None:
        """Push an image that runs on linux/amd64, unless `facts` say otherwise."""
        default = ImageFacts(
            exists=True,
            media_type="application/vnd.oci.image.manifest.v1+json",
            platforms=frozenset({"linux/amd64"}),
            scanned=True,
        )
        self.images[repository, digest] = facts or default
        self.pushed_at[repository, digest] = self.now
        if tag is not None:
            self.tags[repository, tag] = digest

    def remove(self, repository: str, digest: str) -> None:
        """A lifecycle rule, or a person, deletes the image."""
        self.images.pop((repository, digest))
        self.tags = {tag: at for tag, at in self.tags.items() if not (tag[0] == repository and at == digest)}

    def facts(self, repository: str, digest: str, tag: str | None) -> ImageFacts:
        """See the port."""
        return self._call("ecr.facts", lambda: self._facts(repository, digest, tag))

    def digest_of(self, repository: str, tag: str) -> str | None:
        """See the port."""
        return self._call("ecr.digest_of", lambda: self.tags.get((repository, tag)))

    def newest_push(self, repository: str, wants: Callable[[str | None], bool]) -> Push | None:
        """See the port."""
        return self._call("ecr.newest_push", lambda: self._newest(repository, wants))

    def missing(self, images: Sequence[str]) -> tuple[str, ...]:
        """See the port."""
        return self._call("ecr.missing", lambda: tuple(image for image in images if self._gone(image)))

    def keep(self, repository: str, digest: str) -> None:
        """See the port."""
        return self._call("ecr.keep", lambda: self._keep(repository, digest))

    def reference(self, repository: str, digest: str) -> str:
        """See the port."""
        return self._call("ecr.reference", lambda: f"{REGISTRY}/{repository}@{digest}")

    def _newest(self, repository: str, wants: Callable[[str | None], bool]) -> Push | None:
        found = [
            Push(digest=digest, tag=tag, pushed_at=self.pushed_at[repository, digest])
            for (name, tag), digest in self.tags.items()
            if name == repository and wants(tag)
        ]
        return max(found, key=lambda push: (push.pushed_at, push.tag), default=None)

    def _facts(self, repository: str, digest: str, tag: str | None) -> ImageFacts:
        found = self.images.get((repository, digest), ImageFacts(exists=False))
        return replace(found, tag_digest=self.tags.get((repository, tag)) if tag else None)

    def _gone(self, image: str) -> bool:
        host, _, name = image.partition("/")
        if host != REGISTRY:
            return False
        repository, at, digest = name.partition("@")
        if at:
            return (repository, digest) not in self.images
        repository, _, tag = name.partition(":")
        return (repository, tag or "latest") not in self.tags

    def _keep(self, repository: str, digest: str) -> None:
        if (repository, digest) not in self.images:
            raise NotFoundError(f"no image {repository}@{digest}")
        self.tags[repository, f"keep-{digest.removeprefix('sha256:')[:12]}"] = digest
