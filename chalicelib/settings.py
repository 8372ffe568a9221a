"""The environment's few settings, read once at cold start. Per-service numbers live in the fleet file, not here.

Knows names and ranges. Must not know AWS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from chalicelib.errors import MisconfiguredError

ENVIRONMENTS = ("development", "staging", "production")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What differs from stage to stage. Units: real seconds."""

    environment: str
    table: str
    tick_queue_url: str
    fleet_file: Path
    region: str
    trackers_url: str | None
    bucket: str | None  # of pictures; tickets show them when the API can be reached by people too
    public_url: str | None
    probe_timeout_seconds: float
    lease_seconds: int


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Read the settings; raises MisconfiguredError naming the key, what was found and what is allowed."""
    environment = _text(environ, "XAI_OPS_ENVIRONMENT")
    if environment not in ENVIRONMENTS:
        raise MisconfiguredError(f"XAI_OPS_ENVIRONMENT is {environment!r}; allowed: {', '.join(ENVIRONMENTS)}")
    packaged = Path(__file__).parent / "fleet" / f"{environment}.yaml"
    return Settings(
        environment=environment,
        table=_text(environ, "XAI_OPS_TABLE"),
        tick_queue_url=_text(environ, "XAI_OPS_TICK_QUEUE_URL"),
        fleet_file=Path(environ.get("XAI_OPS_FLEET_FILE") or packaged),
        region=environ.get("AWS_REGION") or _text(environ, "AWS_DEFAULT_REGION"),
        trackers_url=environ.get("XAI_OPS_TRACKERS_URL") or None,
        bucket=environ.get("XAI_OPS_BUCKET") or None,
        public_url=_url(environ, "XAI_OPS_PUBLIC_URL"),
        probe_timeout_seconds=_number(environ, "XAI_OPS_PROBE_TIMEOUT_SECONDS", default=3.0, least=0.1, most=20.0),
        # Longer than the longest Lambda time-out (60 s), so that a living tick never loses its claim.
        lease_seconds=int(_number(environ, "XAI_OPS_LEASE_SECONDS", default=90.0, least=30.0, most=86_400.0)),
    )


def _text(environ: Mapping[str, str], key: str) -> str:
    value = environ.get(key, "").strip()
    if not value:
        raise MisconfiguredError(f"{key} is not set; the stage's environment_variables in .chalice/config.json set it")
    return value


def _url(environ: Mapping[str, str], key: str) -> str | None:
    value = environ.get(key, "").strip()
    if value and not value.startswith(("https://", "http://127.0.0.1:")):
        raise MisconfiguredError(f"{key} is {value!r}; allowed: the https:// address of the HTTP API, or nothing")
    return value or None


def _number(environ: Mapping[str, str], key: str, *, default: float, least: float, most: float) -> float:
    raw = environ.get(key)
    if raw is None or not raw.strip():
        return default
    try:
        value = float(raw)
    except ValueError:
        value = float("nan")
    if not least <= value <= most:
        raise MisconfiguredError(f"{key} is {raw!r}; allowed: a number of seconds from {least:g} to {most:g}")
    return value
