"""Time, as something that a test can replace."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Seconds that only go forward, seconds of the calendar, and a way to let some pass."""

    def monotonic(self) -> float:
        """Seconds since some moment."""

    def sleep(self, seconds: float) -> None:
        """Return after ``seconds``."""

    def wall(self) -> float:
        """Seconds since 1970."""


class SystemClock:
    """The real one."""

    def monotonic(self) -> float:
        """Seconds since some moment."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Return after ``seconds``."""
        time.sleep(seconds)

    def wall(self) -> float:
        """Seconds since 1970."""
        return time.time()
