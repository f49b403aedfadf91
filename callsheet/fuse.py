"""Too many dead letters mean that the pipeline is wrong, not the records."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from callsheet.errors import FatalError


@dataclass(frozen=True, slots=True)
class FuseRating:
    """When it blows: a run of letters without a good record, or a share of the last events."""

    run_events: int = 1_000
    ratio: float = 0.1
    window_events: int = 100_000
    minimum_letters: int = 100
    """Below it the ratio says nothing: one bad record of three is no trend."""


class Fuse:
    """Counts events and letters by poll; cheap, because nothing is done per event."""

    def __init__(self, rating: FuseRating) -> None:
        self._rating = rating
        self._polls: deque[list[int]] = deque([[0, 0]])
        self._events = self._letters = self._run = 0

    def consumed(self, events: int) -> None:
        self._polls.append([events, 0])
        self._events += events
        while self._events - self._polls[0][0] >= self._rating.window_events:
            old_events, old_letters = self._polls.popleft()
            self._events -= old_events
            self._letters -= old_letters

    def delivered(self, events: int) -> None:
        """Good records ended the run."""
        if events:
            self._run = 0

    def letter(self) -> None:
        """Before each dead letter.

        Raises:
            FatalError: it blew; the letter must not be written, the offsets are kept.
        """
        self._run += 1
        self._letters += 1
        self._polls[-1][1] += 1
        rating = self._rating
        if self._run > rating.run_events:
            self._blow(f"{self._run} records in a row are dead letters")
        share = self._letters / max(1, self._events)
        if self._letters >= rating.minimum_letters and share > rating.ratio:
            self._blow(f"{share:.0%} of the last {self._events} records are dead letters")

    def _blow(self, why: str) -> None:
        raise FatalError(
            f"the dead-letter fuse has blown: {why}",
            hint="look at the letters' reasons first; `dead_letters.fuse` in the pipeline file "
            "sets the limits; the offsets are kept, so a fixed worker reads these records again",
        )
