"""What a run of the simulator did, so far and in the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from finance.simulate.change import Change


@dataclass(frozen=True, slots=True)
class Progress:
    changes: int
    transactions: int
    elapsed_s: float
    behind_s: float
    """How late the next change is; 0 while the rate is kept."""

    @property
    def changes_per_s(self) -> float:
        return self.changes / self.elapsed_s if self.elapsed_s else 0.0


@dataclass(frozen=True, slots=True)
class Summary:
    """What was committed. Changes count rows, with those that foreign keys took along."""

    seed: int
    changes: int
    transactions: int
    seconds: float
    changes_per_s: float
    kinds: Mapping[str, int]
    """By business event."""
    operations: Mapping[str, int]
    """By `table.operation`; rows that a cascade took along count as their parent's."""
    reconnects: int
    conflicts: int
    """Transactions given up because someone else was at the same rows."""
    unconfirmed: int
    """Transactions whose commit lost its connection: MySQL may have them or not."""


@dataclass(slots=True)
class Tally:
    changes: int = 0
    transactions: int = 0
    reconnects: int = 0
    conflicts: int = 0
    unconfirmed: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)

    def add(self, transaction: Sequence[Change]) -> None:
        self.transactions += 1
        for change in transaction:
            self.changes += change.changes
            self.kinds[change.kind] += change.changes
            self.operations[f"{change.table}.{change.operation}"] += change.changes

    def summary(self, seed: int, seconds: float) -> Summary:
        return Summary(
            seed=seed,
            changes=self.changes,
            transactions=self.transactions,
            seconds=round(seconds, 3),
            changes_per_s=round(self.changes / seconds, 1) if seconds else 0.0,
            kinds=dict(self.kinds.most_common()),
            operations=dict(self.operations.most_common()),
            reconnects=self.reconnects,
            conflicts=self.conflicts,
            unconfirmed=self.unconfirmed,
        )
