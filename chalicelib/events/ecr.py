"""`ECR Image Action` -> ImagePushed.

Whether the repository and the tag are ours is the fleet file's to say.
Source: https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html
"""

from __future__ import annotations

from typing import Any

from chalicelib.events.fields import digest, moment, text, text_or_none
from chalicelib.events.signals import ImagePushed


def image_pushed(event: Any) -> ImagePushed | None:
    """Read a push; None for a documented event that is no successful push. Raises BadEventError."""
    if text(event, "detail", "action-type") != "PUSH" or text(event, "detail", "result") != "SUCCESS":
        return None
    return ImagePushed(
        repository=text(event, "detail", "repository-name"),
        digest=digest(event, "detail", "image-digest"),
        tag=text_or_none(event, "detail", "image-tag"),
        pushed_at=moment(event, "time"),
    )
