"""From a stable task definition to the target's and the smoke's. Pure, on raw JSON: what we do not know goes through.

Knows the shape of a task definition. Must not call ECS.
Source: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RegisterTaskDefinition.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chalicelib.errors import MisconfiguredError
from chalicelib.fleet.model import Smoke

ROLLOUT_TAG = "xai-ops:rollout"
DIGEST_TAG = "xai-ops:digest"
BAD_TAG = "xai-ops:bad"


def target_definition(stable: Mapping[str, Any], *, container: str, image: str) -> dict[str, Any]:
    """The stable definition with the group's container moved to another image; all else stays as it is.

    Raises MisconfiguredError when the definition has no such container.
    """
    found = _container(stable, container)
    moved = {**found, "image": image}
    return {**stable, "containerDefinitions": [moved if c is found else c for c in stable["containerDefinitions"]]}


def smoke_definition(stable: Mapping[str, Any], *, container: str, image: str, smoke: Smoke) -> dict[str, Any]:
    """The group's container alone, on scratch volumes, without its peers and identity, in a family of its own.

    Every volume becomes an empty one that ECS deletes with the task: two tasks on one data dir corrupt the chain.
    """
    found = _container(stable, container)
    dropped = set(smoke.drop_environment) | set(smoke.environment)
    environment = [e for e in found.get("environment", []) if e["name"] not in dropped]
    environment += [{"name": name, "value": value} for name, value in smoke.environment.items()]
    secrets = [s for s in found.get("secrets", []) if s["name"] not in smoke.drop_secrets]
    lone = {key: value for key, value in found.items() if key not in ("dependsOn", "links", "volumesFrom")}
    mounted = {mount["sourceVolume"] for mount in found.get("mountPoints", [])}
    return {
        **{key: value for key, value in stable.items() if key != "placementConstraints"},
        "family": f"{stable['family']}-smoke",
        "containerDefinitions": [
            {**lone, "image": image, "environment": environment, "secrets": secrets, "essential": True}
        ],
        "volumes": [{"name": volume["name"]} for volume in stable.get("volumes", []) if volume["name"] in mounted],
    }


def difference(stable: Mapping[str, Any], target: Mapping[str, Any]) -> tuple[str, ...]:
    """What a target revision has otherwise than stable, a line for each value; what only ECS writes is left out."""
    before, after = _flat(stable), _flat(target)
    return tuple(
        f"{path}: {before.get(path, 'not there')} -> {after.get(path, 'not there')}"
        for path in sorted(before.keys() | after.keys())
        if before.get(path) != after.get(path)
    )


# What DescribeTaskDefinition adds to a definition.
_WRITTEN_BY_ECS = frozenset(
    {"taskDefinitionArn", "revision", "status", "requiresAttributes", "compatibilities", "registeredAt", "registeredBy"}
)


def _flat(value: Any, path: str = "") -> dict[str, str]:
    """Every value by its path; members of a list by their name where they have one."""
    if isinstance(value, Mapping):
        inner = {key: each for key, each in value.items() if path or key not in _WRITTEN_BY_ECS}
        return {k: v for key, each in inner.items() for k, v in _flat(each, f"{path}.{key}" if path else key).items()}
    if isinstance(value, list | tuple):
        names = [each.get("name") or each.get("key") if isinstance(each, Mapping) else None for each in value]
        pairs = zip(names, value, strict=True)
        return {k: v for i, (name, each) in enumerate(pairs) for k, v in _flat(each, f"{path}[{name or i}]").items()}
    return {path: str(value)}


def image_of(definition: Mapping[str, Any], container: str) -> str:
    """The image reference of the group's container."""
    return str(_container(definition, container)["image"])


def images_of(definition: Mapping[str, Any]) -> tuple[str, ...]:
    """Every image that a definition needs."""
    return tuple(str(c["image"]) for c in definition["containerDefinitions"])


def digest_in(image: str) -> str | None:
    """The digest of an image reference, None when it names a tag."""
    _, at, digest = image.partition("@")
    return digest if at else None


def _container(definition: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    containers: list[Mapping[str, Any]] = definition["containerDefinitions"]
    for container in containers:
        if container["name"] == name:
            return container
    names = ", ".join(str(c["name"]) for c in containers)
    raise MisconfiguredError(f"task definition {definition.get('family')} has no container {name!r} (it has: {names})")
