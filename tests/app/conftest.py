"""The fixtures that these tests share."""

from tests.fakes.moto_fixtures import aws, moto

__all__ = ["aws", "moto"]
