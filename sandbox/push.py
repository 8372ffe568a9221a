"""Push an image whose container is a local command: `python -m sandbox.push --endpoint URL xai/node:2.1.0='COMMAND'`."""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from sandbox.registry import CONFIG, MANIFEST


def parse_image(argument: str) -> tuple[str, str, tuple[str, ...]]:
    """Split NAME:TAG=COMMAND; everything behind the first = is the command. Raises ValueError."""
    name, equals, command = argument.partition("=")
    repository, colon, tag = name.rpartition(":")
    if not equals or not colon or not repository or not tag:
        raise ValueError(f"{argument!r} is not NAME:TAG='COMMAND', such as xai/node:2.1.0='python -m my_node {{port}}'")
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise ValueError(f"the command of {name} cannot be split: {error}") from error
    if not words:
        raise ValueError(f"the command of {name} is empty")
    return repository, tag, words


def push(
    ecr: Any,
    repository: str,
    tag: str | None,
    command: Sequence[str],
    *,
    architecture: str = "amd64",
    labels: Mapping[str, str] | None = None,
) -> str:
    """Push an image through ECR's own API and return its digest, which follows from name, tag and command."""
    config = json.dumps(
        {
            "architecture": architecture,
            "os": "linux",
            "config": {
                "Cmd": list(command),
                "Labels": {"sandbox.image": f"{repository}:{tag}", **(labels or {})},
            },
        },
        sort_keys=True,
    ).encode()
    digest = "sha256:" + hashlib.sha256(config).hexdigest()
    upload = ecr.initiate_layer_upload(repositoryName=repository)["uploadId"]
    ecr.upload_layer_part(
        repositoryName=repository, uploadId=upload, partFirstByte=0, partLastByte=len(config) - 1, layerPartBlob=config
    )
    ecr.complete_layer_upload(repositoryName=repository, uploadId=upload, layerDigests=[digest])
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "size": len(config), "digest": digest},
            "layers": [],
        }
    )
    named = {"imageTag": tag} if tag else {}
    try:
        answer = ecr.put_image(
            repositoryName=repository, imageManifest=manifest, imageManifestMediaType=MANIFEST, **named
        )
    except ecr.exceptions.ImageAlreadyExistsException:
        return "sha256:" + hashlib.sha256(manifest.encode()).hexdigest()
    return str(answer["image"]["imageId"]["imageDigest"])


def main(argv: Sequence[str] | None = None) -> int:
    """Push to a sandbox that runs with --serve."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.push", description=__doc__)
    parser.add_argument("--endpoint", required=True, help="the sandbox's address, as --serve prints it")
    parser.add_argument("--region", default="us-east-1")
    parser.add_argument("image", help="NAME:TAG='COMMAND'")
    arguments = parser.parse_args(argv)
    try:
        repository, tag, command = parse_image(arguments.image)
        ecr = boto3.client(
            "ecr", endpoint_url=arguments.endpoint, region_name=arguments.region,
            aws_access_key_id="testing", aws_secret_access_key="testing",
        )  # fmt: skip
        digest = push(ecr, repository, tag, command)
    except (ValueError, BotoCoreError, ClientError) as error:
        print(f"could not push: {error}", file=sys.stderr)
        return 2
    print(f"{repository}:{tag} {digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
