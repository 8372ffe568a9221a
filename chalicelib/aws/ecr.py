"""ECR: what an image is, whether it is still there, and the tag that keeps it.

Knows manifests and ECR's calls. Must not know what makes an image fit for a rollout.
Source: https://github.com/opencontainers/image-spec/blob/main/manifest.md and image-index.md
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC
from typing import Any

from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError
from botocore.httpsession import URLLib3Session

from chalicelib.aws.errors import code_of, translated
from chalicelib.aws.session import READ_SECONDS, Aws
from chalicelib.errors import AwsUnavailableError, NotFoundError
from chalicelib.rollout.model import ImageFacts
from chalicelib.rollout.ports import Push

INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
ACCEPTED = (
    *INDEX_TYPES,
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
CONFIG_TYPES = frozenset(
    {"application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json", ""}
)
IN_TOTO = "application/vnd.in-toto+json"
ROLLBACK_LABEL = "io.xai.ops.rollback"
KEEP_PREFIX = "keep-"
IMAGES_A_CALL = 100
NEVER_SCANNED = frozenset({"ScanNotFoundException", "ImageNotFoundException", "UnsupportedImageTypeException"})
SCANNED = frozenset({"COMPLETE", "ACTIVE"})  # basic, enhanced


class EcrImages:
    """The port `Images`."""

    def __init__(self, aws: Aws, registry: str | None = None) -> None:
        """Read and tag images; `registry` is the host, learned from ECR when it is not given."""
        self._aws = aws
        self._registry = registry
        self._http = URLLib3Session(timeout=READ_SECONDS)

    def facts(self, repository: str, digest: str, tag: str | None) -> ImageFacts:
        """What ECR knows of the image; one that is not there is `exists=False`."""
        tag_digest = self.digest_of(repository, tag) if tag else None
        found = self._manifests(repository, [{"imageDigest": digest}]).get(digest)
        if found is None:
            return ImageFacts(exists=False, tag_digest=tag_digest)
        media_type, manifest = found
        runnable = self._runnable(repository, digest, media_type, manifest)
        scans = [self._scan(repository, each) for each in runnable]
        return ImageFacts(
            exists=True,
            media_type=media_type,
            platforms=frozenset(platform for platform, _ in runnable.values() if platform),
            attestation=not runnable,
            tag_digest=tag_digest,
            findings=_worst(scan for scan in scans if scan is not None),
            scanned=bool(scans) and None not in scans,
            irreversible=any(
                map(_forbids, [manifest.get("annotations"), *(labels for _, labels in runnable.values())])
            ),
        )

    def digest_of(self, repository: str, tag: str) -> str | None:
        """The digest that a tag points to now."""
        return next(iter(self._manifests(repository, [{"imageTag": tag}])), None)

    def newest_push(self, repository: str, wants: Callable[[str | None], bool]) -> Push | None:
        """The newest image that has a wanted tag; None too when there is no such repository."""
        found: list[Push] = []
        try:
            with translated(missing={"RepositoryNotFoundException"}):
                pages = self._aws.client("ecr").get_paginator("describe_images")
                for page in pages.paginate(repositoryName=repository, filter={"tagStatus": "TAGGED"}):
                    found += [push for detail in page["imageDetails"] for push in _pushes(detail, wants)]
        except NotFoundError:
            return None
        return max(found, key=lambda push: (push.pushed_at, push.tag), default=None)

    def missing(self, images: Sequence[str]) -> tuple[str, ...]:
        """Those of these references that our registry no longer has; other registries are not asked."""
        asked: dict[str, dict[str, dict[str, str]]] = defaultdict(dict)
        for image in images:
            host, _, name = image.partition("/")
            if self._is_ours(host):
                repository, identity = _identity(name)
                asked[repository][image] = identity
        gone: set[str] = set()
        for repository, references in asked.items():
            gone |= self._gone(repository, references)
        return tuple(image for image in images if image in gone)

    def keep(self, repository: str, digest: str) -> None:
        """Tag the digest `keep-<first 12 of its hash>`; one that has the tag is fine. Raises NotFoundError."""
        image = self._image(repository, {"imageDigest": digest})
        if image is None:
            raise NotFoundError(f"image {repository}@{digest} is not in the registry")
        request = {
            "repositoryName": repository,
            "imageManifest": image["imageManifest"],  # as ECR gave it: one byte more is another digest
            "imageDigest": digest,
            "imageTag": KEEP_PREFIX + digest.removeprefix("sha256:")[:12],
        }
        if image.get("imageManifestMediaType"):
            request["imageManifestMediaType"] = image["imageManifestMediaType"]
        with translated():
            try:
                self._aws.client("ecr").put_image(**request)
            except ClientError as error:
                # In an immutable repository the tag that is there already is refused by another name.
                if code_of(error) not in ("ImageAlreadyExistsException", "ImageTagAlreadyExistsException"):
                    raise

    def reference(self, repository: str, digest: str) -> str:
        """The reference by digest that a task definition takes. Raises NotFoundError."""
        if self._registry is None:
            with translated(missing={"RepositoryNotFoundException"}):
                answer = self._aws.client("ecr").describe_repositories(repositoryNames=[repository])
            self._registry = str(answer["repositories"][0]["repositoryUri"]).partition("/")[0]
        return f"{self._registry}/{repository}@{digest}"

    def _is_ours(self, host: str) -> bool:
        if self._registry is not None:
            return host == self._registry
        return host.endswith(f".dkr.ecr.{self._aws.region}.amazonaws.com")

    def _batch(self, repository: str, ids: Sequence[Mapping[str, str]]) -> dict[str, Any]:
        """BatchGetImage; a repository that does not exist answers like one that has none of them."""
        try:
            with translated(missing={"RepositoryNotFoundException"}):
                answer: dict[str, Any] = self._aws.client("ecr").batch_get_image(
                    repositoryName=repository, imageIds=list(ids), acceptedMediaTypes=list(ACCEPTED)
                )
        except NotFoundError:
            return {"images": [], "failures": [{"imageId": each, "failureCode": "ImageNotFound"} for each in ids]}
        return answer

    def _image(self, repository: str, identity: Mapping[str, str]) -> dict[str, Any] | None:
        images: list[dict[str, Any]] = self._batch(repository, [identity])["images"]
        return images[0] if images else None

    def _manifests(self, repository: str, ids: Sequence[Mapping[str, str]]) -> dict[str, tuple[str, dict[str, Any]]]:
        """Manifests with their media types, by digest."""
        found: dict[str, tuple[str, dict[str, Any]]] = {}
        for start in range(0, len(ids), IMAGES_A_CALL):
            for image in self._batch(repository, ids[start : start + IMAGES_A_CALL])["images"]:
                manifest = json.loads(image["imageManifest"])
                media_type = image.get("imageManifestMediaType") or manifest.get("mediaType") or ""
                found[image["imageId"]["imageDigest"]] = (media_type, manifest)
        return found

    def _gone(self, repository: str, references: Mapping[str, Mapping[str, str]]) -> set[str]:
        images, gone = list(references), set()
        for start in range(0, len(images), IMAGES_A_CALL):
            page = images[start : start + IMAGES_A_CALL]
            answer = self._batch(repository, [references[each] for each in page])
            # An image may come back under any of its tags: a tag that is gone is known by its failure only.
            there = {image["imageId"]["imageDigest"] for image in answer["images"]}
            no_tag = {failure["imageId"].get("imageTag") for failure in answer.get("failures") or ()}
            for each in page:
                digest, tag = references[each].get("imageDigest"), references[each].get("imageTag")
                if digest not in there if digest else tag in no_tag:
                    gone.add(each)
        return gone

    def _runnable(
        self, repository: str, digest: str, media_type: str, manifest: Mapping[str, Any]
    ) -> dict[str, tuple[str, Mapping[str, str]]]:
        """What can run of this image: digest -> (platform, labels). Empty for attestations and other artifacts."""
        if media_type in INDEX_TYPES:
            children = {child["digest"]: _platform(child.get("platform") or {}) for child in manifest["manifests"]}
            wanted = [each for each, platform in children.items() if platform is not None]
            found = self._manifests(repository, [{"imageDigest": each} for each in wanted])
            return {
                each: (children[each] or "", self._labels(repository, found[each][1]) if each in found else {})
                for each in wanted
            }
        if _is_artifact(manifest):
            return {}
        config = self._config(repository, manifest)
        platform = _platform(config)
        return {} if platform is None else {digest: (platform, _labels_in(config))}

    def _labels(self, repository: str, manifest: Mapping[str, Any]) -> Mapping[str, str]:
        return {**(manifest.get("annotations") or {}), **_labels_in(self._config(repository, manifest))}

    def _config(self, repository: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """The image's config blob, which alone says platform and labels; {} when ECR has no such layer."""
        digest = (manifest.get("config") or {}).get("digest")
        if not digest:
            return {}
        try:
            with translated(missing={"LayersNotFoundException", "LayerInaccessibleException"}):
                answer = self._aws.client("ecr").get_download_url_for_layer(
                    repositoryName=repository, layerDigest=digest
                )
                response = self._http.send(AWSRequest("GET", answer["downloadUrl"]).prepare())
        except NotFoundError:
            return {}
        if response.status_code != 200:
            raise AwsUnavailableError(f"could not read an image's config in {repository}: HTTP {response.status_code}")
        config: dict[str, Any] = json.loads(response.content)
        return config

    def _scan(self, repository: str, digest: str) -> Mapping[str, int] | None:
        """Findings by severity; None when ECR has not scanned it, or cannot."""
        try:
            with translated(missing=NEVER_SCANNED):
                answer = self._aws.client("ecr").describe_image_scan_findings(
                    repositoryName=repository, imageId={"imageDigest": digest}, maxResults=1
                )
        except NotFoundError:
            return None
        if answer.get("imageScanStatus", {}).get("status") not in SCANNED:
            return None
        counts: Mapping[str, int] = (answer.get("imageScanFindings") or {}).get("findingSeverityCounts") or {}
        return counts


def _pushes(detail: Mapping[str, Any], wants: Callable[[str | None], bool]) -> list[Push]:
    pushed_at = detail["imagePushedAt"].astimezone(UTC)
    return [
        Push(digest=detail["imageDigest"], tag=tag, pushed_at=pushed_at)
        for tag in detail.get("imageTags") or ()
        if wants(tag)
    ]


def _identity(name: str) -> tuple[str, dict[str, str]]:
    """Split `repository@sha256:...`, `repository:tag` or `repository` (which means latest)."""
    repository, at, digest = name.partition("@")
    if at:
        return repository.partition(":")[0], {"imageDigest": digest}
    repository, _, tag = name.partition(":")
    return repository, {"imageTag": tag or "latest"}


def _platform(described: Mapping[str, Any]) -> str | None:
    """A platform as "os/arch": "" when nothing says it, None for what cannot run (buildx' attestations)."""
    system, architecture = described.get("os"), described.get("architecture")
    if "unknown" in (system, architecture):
        return None
    return f"{system}/{architecture}" if system and architecture else ""


def _is_artifact(manifest: Mapping[str, Any]) -> bool:
    layers = [layer.get("mediaType") for layer in manifest.get("layers") or ()]
    config = (manifest.get("config") or {}).get("mediaType") or ""
    only_in_toto = bool(layers) and set(layers) == {IN_TOTO}
    return bool(manifest.get("artifactType")) or config not in CONFIG_TYPES or only_in_toto


def _labels_in(config: Mapping[str, Any]) -> Mapping[str, str]:
    return (config.get("config") or {}).get("Labels") or {}


def _forbids(labels: Mapping[str, str] | None) -> bool:
    return (labels or {}).get(ROLLBACK_LABEL) == "forbidden"


def _worst(scans: Iterable[Mapping[str, int]]) -> dict[str, int]:
    worst: dict[str, int] = {}
    for scan in scans:
        for severity, count in scan.items():
            worst[severity] = max(worst.get(severity, 0), count)
    return worst
