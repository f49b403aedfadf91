"""Plans transactions: pure, so that a seed and a state always give the same changes."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final

from finance.simulate import books, releases
from finance.simulate.change import Change
from finance.simulate.studio import Studio

Action = Callable[[Studio, random.Random], Sequence[Change]]

_WEIGHTS: Final[dict[Action, float]] = {
    releases.move_launch: 22,
    releases.reschedule: 9,
    releases.review: 5,
    releases.rename: 1,
    releases.renumber_title: 0.4,
    books.revise_budget: 16,
    books.move_budget: 4,
    books.rewrite_budget: 1.5,
    books.book_cash: 12,
    books.correct_cash: 6,
    books.reverse_cash: 3,
    books.pay: 9,
    books.settle: 6,
    books.void: 2,
    books.hire: 0.5,
    books.new_contact: 2,
}
_ARRIVALS_AND_DEPARTURES: Final = 1.6
_FEW_TITLES: Final = 20


class Planner:
    """Draws what happens next. `commit_changes` is the size of a large transaction, in rows."""

    def __init__(self, rng: random.Random, commit_changes: int) -> None:
        self._rng = rng
        self._commit_changes = commit_changes
        self._actions = (*_WEIGHTS, self._come_or_go)
        self._weights = (*_WEIGHTS.values(), _ARRIVALS_AND_DEPARTURES)
        self._usual_titles: int | None = None

    def next_transaction(self, studio: Studio) -> Sequence[Change]:
        """At least one change, and in `studio` as if it had been committed."""
        if self._usual_titles is None:
            self._usual_titles = max(len(studio.titles), _FEW_TITLES)
        wanted, planned, changes = self._size(), list[Change](), 0
        while changes < wanted:
            for change in self._draw(studio)(studio, self._rng):
                planned.append(change)
                changes += change.changes
        return planned

    def _draw(self, studio: Studio) -> Action:
        if len(studio.titles) < _FEW_TITLES:
            return releases.new_title
        return self._rng.choices(self._actions, self._weights)[0]

    def _come_or_go(self, studio: Studio, rng: random.Random) -> Sequence[Change]:
        """Keeps the number of titles about where it was found."""
        is_crowded = len(studio.titles) > (self._usual_titles or 0)
        action = releases.cancel_title if is_crowded else releases.new_title
        return action(studio, rng)

    def _size(self) -> int:
        """Most commits are small, some are large, as people and batch jobs make them."""
        draw = self._rng.random()
        if draw < 0.45:
            return 1
        if draw < 0.75:
            return self._rng.randint(1, max(1, self._commit_changes // 2))
        return self._commit_changes
