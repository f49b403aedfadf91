"""How much to ask of the server: additive increase, multiplicative decrease."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Final

from callsheet.backoff import Backoff

SMALLEST_REQUEST_BYTES: Final = 64 << 10


@dataclass(slots=True)
class Pressure:
    """Requests in flight and bytes per request, as the server takes them.

    A refusal for load halves both; each request that passes whole gives back a little, so that a
    server at its limit is probed about once per round of requests and not hammered.
    """

    lanes: int
    most_bytes: int
    backoff: Backoff = field(default_factory=Backoff)
    random: Random = field(default_factory=Random)
    _level: float = 0.0
    _bytes: float = 0.0

    def __post_init__(self) -> None:
        self._level, self._bytes = float(self.lanes), float(self.most_bytes)

    @property
    def in_flight(self) -> int:
        """Most requests at a time, at least 1."""
        return int(self._level)

    @property
    def request_bytes(self) -> int:
        return int(self._bytes)

    def passed(self) -> None:
        self._level = min(float(self.lanes), self._level + 1 / self._level)
        self._bytes = min(float(self.most_bytes), self._bytes + self.most_bytes / 64)

    def refused(self) -> None:
        self._level = max(1.0, self._level / 2)
        self._bytes = max(min(float(SMALLEST_REQUEST_BYTES), self._bytes), self._bytes / 2)

    def too_large(self, size_bytes: int) -> None:
        """The server's limit for one request is lower than ours (413): that is not load."""
        self.most_bytes = max(1, min(self.most_bytes, size_bytes // 2))
        self._bytes = min(self._bytes, float(self.most_bytes))

    def delay_s(self, attempt: int, retry_after_s: float | None = None) -> float:
        """Before the ``attempt``-th repetition (from 0); never sooner than the server asked for."""
        delay = self.backoff.delay_s(attempt, self.random)
        return delay if retry_after_s is None else retry_after_s + delay
