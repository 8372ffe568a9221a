"""Settings: read once, and a wrong one is named with what was found and what is allowed."""

from __future__ import annotations

import pytest

from chalicelib.errors import MisconfiguredError
from chalicelib.settings import read_settings

GOOD = {
    "XAI_OPS_ENVIRONMENT": "staging",
    "XAI_OPS_TABLE": "ops-staging",
    "XAI_OPS_TICK_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/123456789012/xai-ops-staging-ticks",
    "AWS_REGION": "us-east-1",
}


def test_complete_environment_gives_settings_with_defaults() -> None:
    """What is not said has the documented default."""
    settings = read_settings(GOOD)
    assert (settings.environment, settings.region, settings.probe_timeout_seconds) == ("staging", "us-east-1", 3.0)
    assert settings.fleet_file.name == "staging.yaml"
    assert settings.fleet_file.is_file()
    assert settings.trackers_url is None


@pytest.mark.parametrize("key", sorted(GOOD))
def test_missing_key_is_named(key: str) -> None:
    """Cold start fails with the name of the key that is missing."""
    name = "AWS_DEFAULT_REGION" if key == "AWS_REGION" else key
    with pytest.raises(MisconfiguredError, match=f"{name} is not set"):
        read_settings({each: value for each, value in GOOD.items() if each != key})


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("XAI_OPS_ENVIRONMENT", "prod", "development, staging, production"),
        ("XAI_OPS_PROBE_TIMEOUT_SECONDS", "soon", "from 0.1 to 20"),
        ("XAI_OPS_PROBE_TIMEOUT_SECONDS", "nan", "from 0.1 to 20"),
        ("XAI_OPS_LEASE_SECONDS", "5", "from 30 to 86400"),
    ],
)
def test_malformed_value_is_told_with_what_is_allowed(key: str, value: str, allowed: str) -> None:
    """The message has the key, what was found and what is allowed."""
    with pytest.raises(MisconfiguredError) as caught:
        read_settings({**GOOD, key: value})
    assert str(caught.value).startswith(f"{key} is '{value}'; allowed: ")
    assert allowed in str(caught.value)


def test_lease_outlives_the_longest_function() -> None:
    """A living tick must never lose its claim: the default lease is longer than Lambda's time-out of 60 s."""
    assert read_settings(GOOD).lease_seconds > 60
