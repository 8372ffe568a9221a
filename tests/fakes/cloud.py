"""moto over real HTTP, for what runs on an adapter: one server for a test run, one fresh account state for a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import botocore.session
from moto.server import ThreadedMotoServer

from chalicelib.aws.session import Aws

REGION = "us-east-1"
TABLE = "ops"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@contextmanager
def moto_server() -> Iterator[str]:
    """Run moto on a free loopback port; gives its address."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def fresh_session() -> botocore.session.Session:
    """A session of the test's own, on which it may install hooks."""
    return botocore.session.Session()


def make_table(aws: Aws) -> None:
    """Make the table `ops` as Terraform does."""
    aws.client("dynamodb").create_table(
        TableName=TABLE,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[
            {"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk", "open", "wake_at")
        ],
        KeySchema=_key("pk", "sk"),
        GlobalSecondaryIndexes=[
            {
                "IndexName": "open",
                "KeySchema": _key("open", "wake_at"),
                "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["version"]},
            }
        ],
    )


def _key(partition: str, order: str) -> list[Any]:
    return [{"AttributeName": partition, "KeyType": "HASH"}, {"AttributeName": order, "KeyType": "RANGE"}]
