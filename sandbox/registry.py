"""ECR's images in the sandbox: manifests and blobs, digests that are hashes of what was pushed.

moto keeps the repositories; its images have random digests, no blobs and no config, so image calls are ours.
An image names a command: its config blob's Cmd. Knows nothing of xai-ops.
"""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from moto.ecr.models import ecr_backends

from sandbox.dataplane.events import ACCOUNT, envelope
from sandbox.dataplane.model import EcsError

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")


@dataclass(frozen=True, slots=True)
class Image:
    """What a container needs of its image."""

    repository: str
    digest: str
    command: tuple[str, ...]
    labels: Mapping[str, str]


@dataclass(slots=True)
class Stored:
    """A pushed manifest."""

    manifest: str
    media_type: str
    pushed: datetime
    tags: set[str] = field(default_factory=set)


class EcrError(EcsError):
    """An error answer of the ECR API."""


class Images:
    """All repositories of one region."""

    def __init__(self, clock: Callable[[], datetime], region: str, publish: Callable[[dict[str, Any]], None]) -> None:
        """Start empty; `url` is set by the server that serves the blobs."""
        self._clock, self._region, self._publish = clock, region, publish
        self._images: dict[str, dict[str, Stored]] = {}
        self.blobs: dict[str, bytes] = {}
        self._uploads: dict[str, bytes] = {}
        self._findings: dict[tuple[str, str], dict[str, int] | None] = {}  # by digest; None: not scanned
        self.url = ""
        self.operations: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "PutImage": self._put_image,
            "BatchGetImage": self._batch_get_image,
            "DescribeImages": self._describe_images,
            "ListImages": self._list_images,
            "BatchDeleteImage": self._batch_delete_image,
            "InitiateLayerUpload": self._initiate_upload,
            "UploadLayerPart": self._upload_part,
            "CompleteLayerUpload": self._complete_upload,
            "GetDownloadUrlForLayer": self._download_url,
            "BatchCheckLayerAvailability": self._check_layers,
            "DescribeImageScanFindings": self._findings_of,
        }

    def command_of(self, reference: str) -> Image | None:
        """The image behind a reference with or without our registry's host, by digest or tag; None: cannot be pulled."""
        path = reference.split(".amazonaws.com/", 1)[-1]
        repository, at, digest = path.partition("@")
        if not at:
            repository, _, tag = path.rpartition(":")
            digest = self._by_tag(repository, tag) or ""
        stored = self._images.get(repository, {}).get(digest)
        if stored is None:
            return None
        manifest = json.loads(stored.manifest)
        if stored.media_type in INDEXES:
            children = [m for m in manifest["manifests"] if m.get("platform", {}).get("architecture") == "amd64"]
            return self.command_of(f"{repository}@{children[0]['digest']}") if children else None
        config = json.loads(self.blobs.get(manifest["config"]["digest"], b"{}"))
        settings = config.get("config", {})
        return Image(repository, digest, tuple(settings.get("Cmd") or ()), settings.get("Labels") or {})

    def set_findings(self, repository: str, digest: str, counts: Mapping[str, int] | None) -> None:
        """What the scan on push found; None: it did not run."""
        self._findings[(repository, digest)] = None if counts is None else dict(counts)

    def delete(self, repository: str, digest: str) -> None:
        """Lose an image, as a lifecycle rule would."""
        self._images[repository].pop(digest, None)

    # ------------------------------------------------------------------------------------------ operations

    def _repository(self, body: dict[str, Any]) -> dict[str, Stored]:
        name = body["repositoryName"]
        if name not in ecr_backends[ACCOUNT][self._region].repositories:
            text = f"The repository with name '{name}' does not exist in the registry with id '{ACCOUNT}'"
            raise EcrError("RepositoryNotFoundException", text)
        return self._images.setdefault(name, {})

    def _by_tag(self, repository: str, tag: str) -> str | None:
        return next((d for d, stored in self._images.get(repository, {}).items() if tag in stored.tags), None)

    def _put_image(self, body: dict[str, Any]) -> dict[str, Any]:
        images, manifest, tag = self._repository(body), body["imageManifest"], body.get("imageTag")
        digest = "sha256:" + hashlib.sha256(manifest.encode()).hexdigest()
        if body.get("imageDigest") not in (None, digest):
            raise EcrError("ImageDigestDoesNotMatchException", "The digest does not match the manifest.")
        known = images.get(digest)
        if known is not None and (tag is None or tag in known.tags):
            raise EcrError(
                "ImageAlreadyExistsException", f"Image with digest '{digest}' and tag '{tag}' already exists"
            )
        media_type = body.get("imageManifestMediaType") or json.loads(manifest).get("mediaType") or MANIFEST
        if known is None:
            known = images[digest] = Stored(manifest=manifest, media_type=media_type, pushed=self._clock())
        if tag is not None:
            for stored in images.values():
                stored.tags.discard(tag)
            known.tags.add(tag)
        detail = {
            "result": "SUCCESS",
            "repository-name": body["repositoryName"],
            "image-digest": digest,
            "action-type": "PUSH",
        }
        if tag is not None:
            detail["image-tag"] = tag
        self._publish(envelope("aws.ecr", "ECR Image Action", detail, [], self._region, self._clock()))
        return {"image": self._image_json(body["repositoryName"], digest, tag)}

    def _image_json(self, repository: str, digest: str, tag: str | None) -> dict[str, Any]:
        stored = self._images[repository][digest]
        key = {"imageDigest": digest, **({"imageTag": tag} if tag else {})}
        return {"registryId": ACCOUNT, "repositoryName": repository, "imageId": key, "imageManifest": stored.manifest,
                "imageManifestMediaType": stored.media_type}  # fmt: skip

    def _batch_get_image(self, body: dict[str, Any]) -> dict[str, Any]:
        images, name = self._repository(body), body["repositoryName"]
        found, failures = [], []
        for wanted in body["imageIds"]:
            tag = wanted.get("imageTag")
            digest = wanted.get("imageDigest") or (self._by_tag(name, tag) if tag else None)
            if digest in images and (tag is None or tag in images[digest].tags):
                found.append(self._image_json(name, digest, tag))
            else:
                failures.append(
                    {"imageId": wanted, "failureCode": "ImageNotFound", "failureReason": "Requested image not found"}
                )
        return {"images": found, "failures": failures}

    def _describe_images(self, body: dict[str, Any]) -> dict[str, Any]:
        images, name = self._repository(body), body["repositoryName"]
        digests = list(images)
        if body.get("imageIds"):
            digests = [i.get("imageDigest") or self._by_tag(name, i["imageTag"]) or "" for i in body["imageIds"]]
            if any(d not in images for d in digests):
                raise EcrError(
                    "ImageNotFoundException", "The image requested does not exist in the specified repository"
                )
        if body.get("filter", {}).get("tagStatus") == "TAGGED":
            digests = [d for d in digests if images[d].tags]
        return {
            "imageDetails": [
                {"registryId": ACCOUNT, "repositoryName": name, "imageDigest": d, "imageTags": sorted(images[d].tags),
                 "imagePushedAt": images[d].pushed.timestamp(), "imageManifestMediaType": images[d].media_type,
                 "imageSizeInBytes": len(images[d].manifest)}
                for d in digests
            ]
        }  # fmt: skip

    def _list_images(self, body: dict[str, Any]) -> dict[str, Any]:
        ids: list[dict[str, str]] = []
        for digest, stored in self._repository(body).items():
            ids.extend({"imageDigest": digest, "imageTag": tag} for tag in sorted(stored.tags))
            if not stored.tags:
                ids.append({"imageDigest": digest})
        return {"imageIds": ids}

    def _batch_delete_image(self, body: dict[str, Any]) -> dict[str, Any]:
        images, name = self._repository(body), body["repositoryName"]
        gone = []
        for wanted in body["imageIds"]:
            tag = wanted.get("imageTag")
            digest = wanted.get("imageDigest") or self._by_tag(name, tag or "")
            if digest not in images:
                continue
            if tag:
                images[digest].tags.discard(tag)
            if not tag or not images[digest].tags:
                del images[digest]
            gone.append(wanted)
        return {"imageIds": gone, "failures": []}

    def _initiate_upload(self, body: dict[str, Any]) -> dict[str, Any]:
        self._repository(body)
        key = str(uuid.uuid4())
        self._uploads[key] = b""
        return {"uploadId": key, "partSize": 10_485_760}

    def _upload_part(self, body: dict[str, Any]) -> dict[str, Any]:
        self._uploads[body["uploadId"]] += base64.b64decode(body["layerPartBlob"])
        return {"registryId": ACCOUNT, "repositoryName": body["repositoryName"], "uploadId": body["uploadId"],
                "lastByteReceived": len(self._uploads[body["uploadId"]]) - 1}  # fmt: skip

    def _complete_upload(self, body: dict[str, Any]) -> dict[str, Any]:
        blob = self._uploads.pop(body["uploadId"])
        digest = "sha256:" + hashlib.sha256(blob).hexdigest()
        if digest not in body["layerDigests"]:
            raise EcrError(
                "InvalidLayerException", "The layer digest calculation performed by Amazon ECR does not match."
            )
        self.blobs[digest] = blob
        return {
            "registryId": ACCOUNT,
            "repositoryName": body["repositoryName"],
            "uploadId": body["uploadId"],
            "layerDigest": digest,
        }

    def _download_url(self, body: dict[str, Any]) -> dict[str, Any]:
        digest = body["layerDigest"]
        if digest not in self.blobs:
            raise EcrError("LayersNotFoundException", f"The layer {digest} does not exist.")
        return {"downloadUrl": f"{self.url}/_blobs/{digest}", "layerDigest": digest}

    def _check_layers(self, body: dict[str, Any]) -> dict[str, Any]:
        layers = [
            {"layerDigest": d, "layerAvailability": "AVAILABLE" if d in self.blobs else "UNAVAILABLE"}
            for d in body["layerDigests"]
        ]
        return {"layers": layers, "failures": []}

    def _findings_of(self, body: dict[str, Any]) -> dict[str, Any]:
        self._repository(body)
        image = body["imageId"]
        digest = image.get("imageDigest") or self._by_tag(body["repositoryName"], image.get("imageTag", ""))
        counts = self._findings.get((body["repositoryName"], digest or ""), {})  # scanned on push, nothing found
        if counts is None or digest not in self._repository(body):
            raise EcrError("ScanNotFoundException", f"Image scan does not exist for the image with '{image}'")
        return {"registryId": ACCOUNT, "repositoryName": body["repositoryName"], "imageId": image,
                "imageScanStatus": {"status": "COMPLETE"}, "imageScanFindings": {"findingSeverityCounts": counts}}  # fmt: skip
