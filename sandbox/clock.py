"""The sandbox's clock: real start + elapsed x scale. Everything that AWS would time runs on it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta


class ScaledClock:
    """A clock that runs `scale` times as fast as the real one; calling it tells the time."""

    def __init__(self, scale: float = 1.0) -> None:
        """Start now."""
        self.scale = scale
        self._start = datetime.now(UTC)
        self._origin = time.monotonic()

    def __call__(self) -> datetime:
        """The sandbox's time, aware, in UTC."""
        return self._start + timedelta(seconds=(time.monotonic() - self._origin) * self.scale)

    now = __call__

    def to_real(self, seconds: float) -> float:
        """How long sandbox seconds take."""
        return seconds / self.scale
