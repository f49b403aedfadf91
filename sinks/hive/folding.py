"""Old entries of a lane's chain become one, so that who reads it opens one file and not a million.

1. FOLDED   the fold is created: it stands for all entries before the one that it is named after
2. REMOVED  those entries are removed, but for the notice in the first one's place

A crash after 1 leaves entries that nobody reads: the next run removes them. Who slept since before
the fold and finds the name that it needs free, because what had it is folded, is told by the fold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from enum import StrEnum
from itertools import takewhile
from typing import Final

from sinks.hive.contents import States, is_covered
from sinks.hive.entries import Entry, Fold, Piece, Share
from sinks.hive.partitions import age_s
from sinks.hive.ranges import RangeLog

FEWEST: Final = 100
"""Fewer entries are not worth it."""


class FoldStep(StrEnum):
    """After which a fault test crashes."""

    FOLDED = "folded"
    REMOVED = "removed"


def fold_lane(  # noqa: PLR0913 - what is folded, and when
    log: RangeLog,
    lane: str,
    states: States,
    now: datetime,
    *,
    older_than_s: float,
    fewest: int = FEWEST,
    at: Callable[[FoldStep], None] = lambda _: None,
) -> int:
    """How many entries became part of the fold. ``states``: of all tables, not newer than the log.

    Never folded are the entry that the mark names and what is behind it: the next owner of the lane
    begins there.
    """
    log.remove_folded(lane)
    mark = log.mark(lane)
    old = list(
        takewhile(
            lambda entry: entry.name < mark and age_s(entry.written_at, now) >= older_than_s,
            log.entries(lane),
        )
    )
    fresh = sum(not isinstance(entry, Fold) for entry in old)
    if fresh < fewest:
        return 0
    log.add_fold(folded(old, states))
    at(FoldStep.FOLDED)
    log.remove_folded(lane)
    at(FoldStep.REMOVED)
    return fresh


def folded(entries: list[Entry], states: States) -> Fold:
    """``entries``: from the beginning of the chain on. Files that are gone, because a state has
    their rows, are in it as numbers only.
    """
    ranges = [entry for entry in entries if entry.ranges]
    last = entries[-1]
    kept, shares = _sorted_out(entries, states)
    return Fold(
        lane=last.lane,
        start=0,
        take=0,
        first=ranges[0].first if ranges else last.end,
        end=last.end,
        writer=last.writer,
        written_at=last.written_at,
        rows=sum(entry.rows for entry in ranges),
        refused=sum(entry.refused for entry in ranges),
        files=tuple(piece.file for piece in kept),
        newest_version=last.newest_version,
        next=last.following(),
        count=sum(entry.ranges for entry in ranges),
        spans=tuple((piece.first, piece.end) for piece in kept),
        shares=tuple(shares),
    )


def _sorted_out(entries: Iterable[Entry], states: States) -> tuple[list[Piece], list[Share]]:
    kept: list[Piece] = []
    shares: dict[tuple[str, str], Share] = {}

    def add(share: Share) -> None:
        key = share.table, share.date
        before = shares.get(key)
        rows, end = (before.rows, before.end) if before else (0, 0)
        shares[key] = Share(*key, rows + share.rows, max(end, share.end))

    for entry in entries:
        for share in entry.shares if isinstance(entry, Fold) else ():
            add(share)
        for piece in entry.pieces():
            file = piece.file
            of_table = states.get(file.table, {})
            if is_covered(of_table, piece) and of_table[file.date].is_clean:
                add(Share(file.table, file.date, file.rows, piece.end))
            else:
                kept.append(piece)
    return kept, list(shares.values())
