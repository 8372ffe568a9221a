"""One botocore session for the process, and its clients, made when first asked for.

Knows time-outs and retries. Must not know any service's calls.
Why botocore and not boto3: the same clients, without the import of resources and transfer at every cold start.
"""

from __future__ import annotations

from threading import Lock
from typing import Any

import botocore.session
from botocore.config import Config

# Real seconds, whatever clock the system runs on. Four tries of at most 7 s stay within a tick's lease.
CONNECT_SECONDS = 2
READ_SECONDS = 5
ATTEMPTS = 4
# What is read for evidence gets one short try: a rollback waits for no log, and a part that cannot be read is named.
IMPATIENT = frozenset({"logs", "cloudwatch", "elbv2", "s3"})


class Aws:
    """AWS in one region. Safe to share between threads; `AWS_ENDPOINT_URL` is honoured by botocore itself."""

    def __init__(self, region: str, session: botocore.session.Session | None = None) -> None:
        """Take a session to share, as the sandbox does to count calls, or make one."""
        self.region = region
        self._session = session or botocore.session.get_session()
        self._clients: dict[str, Any] = {}
        self._lock = Lock()  # clients are safe between threads, making them is not

    def client(self, service: str) -> Any:
        """The client of a service, by botocore's name for it."""
        with self._lock:
            if service not in self._clients:
                self._clients[service] = self._session.create_client(
                    service, region_name=self.region, config=_config(service)
                )
            return self._clients[service]


def _config(service: str) -> Config:
    return Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": 1 if service in IMPATIENT else ATTEMPTS},
        # An object under a customer's key opens by no link of the older signature, which botocore may still choose.
        signature_version="s3v4" if service == "s3" else None,
        tcp_keepalive=True,
        user_agent_extra="xai-ops",
    )
