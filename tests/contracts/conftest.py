"""The fixtures that these tests share."""

from tests.fakes.moto_fixtures import aws, moto
from tests.fakes.sandbox_fixtures import local_cloud

__all__ = ["aws", "local_cloud", "moto"]
