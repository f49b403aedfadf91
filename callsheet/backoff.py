"""How long to leave a neighbour alone that did not answer."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from callsheet.errors import RetryableError, ThrottledError
from callsheet.ports import Clock

_MAX_DOUBLINGS = 32
"""Beyond it the cap has long been reached; 2 to a large power overflows a float."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential with full jitter: uniform in [0, min(cap, base * 2^attempt)].

    Full jitter, so that workers which lost the same neighbour at the same moment do not all come
    back at the same moment.
    """

    base_s: float = 0.1
    cap_s: float = 15.0

    def delay_s(self, attempt: int, random: Random) -> float:
        """``attempt`` counts from 0."""
        ceiling = self.base_s * float(2 ** min(attempt, _MAX_DOUBLINGS))
        return random.uniform(0.0, min(self.cap_s, ceiling))


class Outage:
    """One neighbour's absence: since when, why, and when to try again."""

    def __init__(self, clock: Clock, backoff: Backoff, random: Random) -> None:
        self._clock, self._backoff, self._random = clock, backoff, random
        self._attempts = 0
        self._retry_at_s = 0.0
        self.since_s: float | None = None
        """Monotonic; None while there is no outage."""
        self.cause = ""

    @property
    def is_on(self) -> bool:
        return self.since_s is not None

    def failed(self, error: RetryableError) -> None:
        """A try failed: the outage begins, or goes on."""
        now = self._clock.monotonic()
        if self.since_s is None:
            self.since_s = now
        delay = self._backoff.delay_s(self._attempts, self._random)
        if isinstance(error, ThrottledError):
            delay = max(delay, error.retry_after_s)
        self._attempts += 1
        self._retry_at_s = now + delay
        self.cause = error.message

    def over(self) -> float:
        """Ends it; returns how long it was, in seconds."""
        lasted = 0.0 if self.since_s is None else self._clock.monotonic() - self.since_s
        self.since_s, self._attempts, self._retry_at_s, self.cause = None, 0, 0.0, ""
        return lasted

    def wait_s(self) -> float:
        """Seconds until the next try is due; 0 when it is, and outside of an outage."""
        return max(0.0, self._retry_at_s - self._clock.monotonic()) if self.is_on else 0.0
