"""One session, one client per service, with limits."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from chalicelib.aws.session import ATTEMPTS, CONNECT_SECONDS, READ_SECONDS, Aws


def test_client_is_made_once_whoever_asks(aws: Aws) -> None:
    """Making one costs 50 ms, and is not safe between threads."""
    with ThreadPoolExecutor(8) as pool:
        clients = list(pool.map(aws.client, ["sqs"] * 8))
    assert {id(client) for client in clients} == {id(aws.client("sqs"))}


def test_client_gives_up_in_time(aws: Aws) -> None:
    """A call that hangs must end while the tick's lease still runs."""
    config = aws.client("dynamodb").meta.config
    assert aws.client("dynamodb").meta.region_name == "us-east-1"
    assert (config.connect_timeout, config.read_timeout) == (CONNECT_SECONDS, READ_SECONDS)
    assert config.retries["total_max_attempts"] == ATTEMPTS
    assert config.retries["mode"] == "standard"
