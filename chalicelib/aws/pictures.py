"""Pictures in the ops bucket, opened by whoever knows their name, signed in to AWS or not.

A picture's name is a secret of 192 bits, so its address may stand in a ticket; the HTTP API answers it with S3's own link
of a minute. A link signed when the ticket was written would end with the function's credentials, within hours.
Knows S3. Must not know what a picture shows.
"""

from __future__ import annotations

import re
import secrets

from chalicelib.aws.errors import translated
from chalicelib.aws.session import Aws

FOLDER = "pictures"  # the bucket's lifecycle rule forgets them after 90 days
OPEN_SECONDS = 60
_NAME = re.compile(r"[A-Za-z0-9_-]{32}\.png")


class Pictures:
    """The pictures of one stage."""

    def __init__(self, aws: Aws, *, bucket: str, public_url: str) -> None:
        """Keep pictures in this bucket; `public_url` is where people reach our HTTP API."""
        self._aws = aws
        self._bucket = bucket
        self.public_url = public_url.rstrip("/")

    def keep(self, picture: bytes) -> str:
        """Store a PNG; returns the address that a ticket may show."""
        name = f"{secrets.token_urlsafe(24)}.png"
        with translated():
            self._aws.client("s3").put_object(
                Bucket=self._bucket, Key=f"{FOLDER}/{name}", Body=picture, ContentType="image/png"
            )
        return f"{self.public_url}/pictures/{name}"

    def open(self, name: str) -> str | None:
        """S3's link to a picture, good for a minute; None when no picture can have this name."""
        if not _NAME.fullmatch(name):
            return None
        wanted = {"Bucket": self._bucket, "Key": f"{FOLDER}/{name}"}
        with translated():
            url: str = self._aws.client("s3").generate_presigned_url(
                "get_object", Params=wanted, ExpiresIn=OPEN_SECONDS
            )
        return url
