"""When a run's changes are due, and when it is over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Until:
    """When to end; with neither, only a stop ends it. The last transaction is always whole."""

    seconds: float | None = None
    changes: int | None = None


class Schedule:
    """An absolute schedule: change n is due n / rate seconds after the start.

    So a slow moment is caught up with, and errors of single waits do not add up.
    """

    def __init__(self, rate_per_s: float, until: Until, clock_s: Callable[[], float]) -> None:
        self._rate_per_s = rate_per_s
        self._until = until
        self._clock_s = clock_s
        self._start_s = clock_s()

    @property
    def elapsed_s(self) -> float:
        return self._clock_s() - self._start_s

    def ahead_s(self, changes: int) -> float:
        """Seconds until the change after these is due; negative: how late it is already."""
        due_s = changes / self._rate_per_s
        if self._until.seconds is not None:
            due_s = min(due_s, self._until.seconds)
        return due_s - self.elapsed_s

    def is_over(self, changes: int) -> bool:
        until = self._until
        return (until.seconds is not None and self.elapsed_s >= until.seconds) or (
            until.changes is not None and changes >= until.changes
        )
