"""HTTP 500 for one operation: is it the document, its table, or the server?

Nothing in the answer says so; what else the server takes meanwhile does. A server that breaks on
everything has an outage, and good rows must sit it out. Only a document on which it breaks again
and again, while it takes others of the same index, is poison.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

POISON_FAILURES: Final = 10
"""With the backoff in between, about half a minute at the least."""
PARK_FAILURES: Final = 20
PROOFS: Final = 3
"""More than one: just as a server falls ill it still takes others."""


class Verdict(StrEnum):
    HOLD = "hold"
    """Perhaps an outage: try again for as long as it takes."""
    POISON = "poison"
    """The server takes others of this index: it is the document."""
    PARK = "park"
    """The server takes other tables and nothing of this one: it is the index."""


@dataclass(slots=True)
class Suspicion:
    """What is held against the operations of one chunk: all broke together each time."""

    failures: int = 0
    here: int = 0
    """How often others of the same index were taken since the failure before, or with it."""
    elsewhere: int = 0
    """The same of any index."""
    seen_here: int | None = None
    seen: int | None = None

    def copy(self) -> Suspicion:
        return Suspicion(self.failures, self.here, self.elsewhere, self.seen_here, self.seen)


class Witness:
    """Counts the answers in which the server took something, by alias."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()
        self._total = 0

    def took(self, alias: str) -> None:
        """Written, or stale: the index's shard was reached and answered."""
        self._taken[alias] += 1
        self._total += 1

    def broke(self, suspicion: Suspicion, alias: str, *, with_others: bool) -> Verdict:
        """Note one more failure. ``with_others``: the same answer took others of this index."""
        here, total = self._taken[alias], self._total
        suspicion.failures += 1
        suspicion.here += with_others or _grew(suspicion.seen_here, here)
        suspicion.elsewhere += with_others or _grew(suspicion.seen, total)
        suspicion.seen_here, suspicion.seen = here, total
        if suspicion.failures >= POISON_FAILURES and suspicion.here >= PROOFS:
            return Verdict.POISON
        if suspicion.failures >= PARK_FAILURES and suspicion.elsewhere >= PROOFS:
            return Verdict.PARK
        return Verdict.HOLD


def _grew(before: int | None, now: int) -> bool:
    return before is not None and now > before
