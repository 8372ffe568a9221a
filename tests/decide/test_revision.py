"""From a stable task definition to the target's and the smoke's: what we do not know goes through."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.errors import MisconfiguredError
from chalicelib.fleet.model import Smoke
from chalicelib.rollout.revision import digest_in, image_of, images_of, smoke_definition, target_definition

IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/xai/node@sha256:" + "b" * 64
SMOKE = Smoke(
    start_period_seconds=60, drop_environment=("PEERS",), drop_secrets=("IDENTITY",), environment={"MINING": "false"}
)

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=5,
)
names = st.text("abc", min_size=1, max_size=3)
pairs = st.lists(
    st.fixed_dictionaries({"name": st.sampled_from(["PEERS", "MINING", "LOG", "PORT"]), "value": names}), max_size=4
)
secrets = st.lists(
    st.fixed_dictionaries({"name": st.sampled_from(["IDENTITY", "TOKEN"]), "valueFrom": names}), max_size=3
)
mounts = st.lists(st.fixed_dictionaries({"sourceVolume": st.sampled_from(["data", "tmp", "logs"])}), max_size=3)
containers = st.fixed_dictionaries(
    {"name": names, "image": names},
    optional={"environment": pairs, "secrets": secrets, "mountPoints": mounts, "unheardOf": values, "links": values},
)
volumes = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["data", "tmp", "logs"])},
        optional={"host": st.fixed_dictionaries({"sourcePath": names}), "efsVolumeConfiguration": values},
    ),
    max_size=3,
)


@st.composite
def definitions(draw: st.DrawFn) -> dict[str, Any]:
    """A task definition with a container `node` somewhere among others."""
    others = draw(st.lists(containers, max_size=3))
    node = {**draw(containers), "name": "node"}
    place = draw(st.integers(0, len(others)))
    extra = draw(st.dictionaries(st.text("xyz", min_size=1, max_size=4), values, max_size=3))
    listed = [*others[:place], node, *others[place:]]
    return {**extra, "family": "n1", "volumes": draw(volumes), "containerDefinitions": listed}


@settings(max_examples=80, deadline=None)
@given(stable=definitions())
def test_target_differs_from_stable_in_one_image_only(stable: dict[str, Any]) -> None:
    """Sidecars, unknown fields, tags and their order stay; the stable definition itself is not changed."""
    before = deepcopy(stable)
    made = target_definition(stable, container="node", image=IMAGE)
    assert stable == before
    assert image_of(made, "node") == IMAGE
    at = next(i for i, c in enumerate(stable["containerDefinitions"]) if c["name"] == "node")
    expected = deepcopy(before)
    expected["containerDefinitions"][at]["image"] = IMAGE
    assert made == expected


@settings(max_examples=80, deadline=None)
@given(stable=definitions())
def test_smoke_runs_alone_on_scratch_storage_without_identity(stable: dict[str, Any]) -> None:
    """No host path, no file system, no peers, no identity, no sidecar, and a family of its own."""
    before = deepcopy(stable)
    made = smoke_definition(stable, container="node", image=IMAGE, smoke=SMOKE)
    assert stable == before
    (lone,) = made["containerDefinitions"]
    assert made["family"] == "n1-smoke"
    assert (lone["image"], lone["essential"]) == (IMAGE, True)
    assert all(set(volume) == {"name"} for volume in made["volumes"])
    mounted = {mount["sourceVolume"] for mount in lone.get("mountPoints", [])}
    declared = {volume["name"] for volume in stable["volumes"]}
    assert {volume["name"] for volume in made["volumes"]} == mounted & declared
    said = {pair["name"]: pair["value"] for pair in lone["environment"]}
    assert "PEERS" not in said
    assert said["MINING"] == "false"
    assert "IDENTITY" not in {secret["name"] for secret in lone["secrets"]}
    assert not {"dependsOn", "links", "volumesFrom"} & set(lone)


def test_definition_without_the_container_is_misconfigured() -> None:
    """The message names the container and what there is."""
    stable = {"family": "n1", "containerDefinitions": [{"name": "envoy", "image": "e"}]}
    with pytest.raises(MisconfiguredError, match=r"no container 'node' \(it has: envoy\)"):
        target_definition(stable, container="node", image=IMAGE)


@pytest.mark.parametrize(("image", "digest"), [(IMAGE, "sha256:" + "b" * 64), ("xai/node:2.1.0", None), ("", None)])
def test_digest_is_read_from_a_pinned_image_alone(image: str, digest: str | None) -> None:
    """A tag is no digest."""
    assert digest_in(image) == digest


def test_every_image_of_a_definition_is_part_of_the_way_back() -> None:
    """Sidecars' too."""
    assert images_of({"containerDefinitions": [{"image": "a"}, {"image": "b"}]}) == ("a", "b")
