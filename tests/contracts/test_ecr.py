"""The contract of `Images`: on the fake, and on ECR as the sandbox plays it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from chalicelib.aws.ecr import EcrImages
from chalicelib.errors import NotFoundError
from chalicelib.rollout.ports import Images
from sandbox.push import push
from tests.fakes.ecr import REGISTRY, FakeEcr
from tests.fakes.sandbox_fixtures import LocalCloud

GONE = "sha256:" + "0" * 64


class Registry:
    """An ECR of either kind, and how to push to it."""

    def __init__(self, images: Images, push_image: Callable[[str], str]) -> None:
        """Know both."""
        self.images = images
        self.push = push_image


@pytest.fixture(params=["fake", "sandbox"])
def ecr(request: pytest.FixtureRequest) -> Iterator[Registry]:
    """An ECR with an empty repository xai/node."""
    if request.param == "fake":
        fake = FakeEcr()

        def into_fake(tag: str) -> str:
            digest = f"sha256:{len(fake.images) + 1:064x}"
            fake.push("xai/node", digest, tag)
            return digest

        yield Registry(fake, into_fake)
        return
    cloud: LocalCloud = request.getfixturevalue("local_cloud")
    client = cloud.aws.client("ecr")
    client.create_repository(repositoryName="xai/node")
    yield Registry(EcrImages(cloud.aws), lambda tag: push(client, "xai/node", tag, ["node", tag]))


def test_facts_of_an_image_that_runs(ecr: Registry) -> None:
    """Platform from the config, the tag's digest beside it."""
    digest = ecr.push("2.0.0")
    facts = ecr.images.facts("xai/node", digest, "2.0.0")
    assert (facts.exists, facts.attestation, facts.irreversible) == (True, False, False)
    assert facts.platforms == frozenset({"linux/amd64"})
    assert facts.tag_digest == digest


def test_facts_of_an_image_that_is_not_there(ecr: Registry) -> None:
    """Neither image nor tag nor repository, and no error."""
    assert not ecr.images.facts("xai/node", GONE, "9.9.9").exists
    assert ecr.images.facts("xai/node", GONE, "9.9.9").tag_digest is None
    assert not ecr.images.facts("xai/other", GONE, None).exists


def test_moved_tag_is_seen(ecr: Registry) -> None:
    """What a tag points to is looked up now."""
    first = ecr.push("latest")
    assert ecr.images.digest_of("xai/node", "latest") == first
    ecr.push("2.0.1")
    assert ecr.images.digest_of("xai/node", "latest") == first
    assert ecr.images.digest_of("xai/node", "9.9.9") is None


def test_missing_names_what_our_registry_lost(ecr: Registry) -> None:
    """By digest and by tag; other registries are not asked."""
    there = f"{REGISTRY}/xai/node@{ecr.push('2.0.0')}"
    gone = [f"{REGISTRY}/xai/node@{GONE}", f"{REGISTRY}/xai/node:9.9.9", f"{REGISTRY}/xai/other@{GONE}"]
    asked = [there, f"{REGISTRY}/xai/node:2.0.0", *gone, "public.ecr.aws/x/y@" + GONE, "nginx"]
    assert set(ecr.images.missing(asked)) == set(gone)
    assert ecr.images.missing([]) == ()


def test_kept_image_has_its_tag_and_its_digest(ecr: Registry) -> None:
    """Keeping twice is fine; the digest and its other tag stay."""
    digest = ecr.push("2.0.0")
    ecr.images.keep("xai/node", digest)
    ecr.images.keep("xai/node", digest)
    assert ecr.images.digest_of("xai/node", f"keep-{digest[7:19]}") == digest
    assert ecr.images.digest_of("xai/node", "2.0.0") == digest
    with pytest.raises(NotFoundError):
        ecr.images.keep("xai/node", GONE)


def test_newest_push_is_the_newest_with_a_wanted_tag(ecr: Registry) -> None:
    """Our own tags and unwanted ones are passed over."""
    digest = ecr.push("2.0.0")
    ecr.images.keep("xai/node", digest)
    newest = ecr.images.newest_push("xai/node", lambda tag: tag == "2.0.0")
    assert newest is not None
    assert (newest.digest, newest.tag) == (digest, "2.0.0")
    assert newest.pushed_at.tzinfo is not None
    assert ecr.images.newest_push("xai/node", lambda tag: False) is None
    assert ecr.images.newest_push("xai/other", lambda tag: True) is None


def test_reference_is_by_digest_on_our_registry(ecr: Registry) -> None:
    """What a task definition takes."""
    assert ecr.images.reference("xai/node", GONE) == f"{REGISTRY}/xai/node@{GONE}"


def test_manifest_kinds_of_the_sandbox_are_what_ecr_gives(local_cloud: LocalCloud) -> None:
    """An index, an attestation, a label that forbids the way back: on the adapter alone, the fake is told its facts."""
    client = local_cloud.aws.client("ecr")
    client.create_repository(repositoryName="xai/node")
    images = EcrImages(local_cloud.aws)
    child = push(client, "xai/node", None, ["node"], architecture="arm64", labels={"io.xai.ops.rollback": "forbidden"})
    attestation = {"digest": GONE, "platform": {"os": "unknown", "architecture": "unknown"}}
    media_type = "application/vnd.oci.image.index.v1+json"
    manifests = [{"digest": child, "platform": {"os": "linux", "architecture": "arm64"}}, attestation]
    index = json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests})
    answer = client.put_image(
        repositoryName="xai/node", imageManifest=index, imageManifestMediaType=media_type, imageTag="3.0.0"
    )
    local_cloud.images.set_findings("xai/node", child, {"HIGH": 2})
    facts = images.facts("xai/node", answer["image"]["imageId"]["imageDigest"], "3.0.0")
    assert (facts.media_type, facts.platforms) == (media_type, frozenset({"linux/arm64"}))
    assert (facts.irreversible, facts.attestation, facts.scanned) == (True, False, True)
    assert facts.findings == {"HIGH": 2}
    sbom = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "artifactType": "application/spdx+json",
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": GONE, "size": 2},
            "layers": [],
        }
    )
    pushed = client.put_image(repositoryName="xai/node", imageManifest=sbom, imageTag="sbom")
    facts = images.facts("xai/node", pushed["image"]["imageId"]["imageDigest"], "sbom")
    assert (facts.exists, facts.attestation, facts.platforms) == (True, True, frozenset())
