"""Retention: dates that are older than the audit is to remember."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sinks.hive.contents import View
from sinks.hive.entries import Piece
from sinks.hive.partitions import PartitionLog, PartitionState, stamp
from sinks.hive.ranges import RangeLog


@dataclass(frozen=True, slots=True)
class Expired:
    """A partition that is too old, and all of its files that still count."""

    state: PartitionState
    pieces: Sequence[Piece]

    @property
    def rows(self) -> int:
        return sum(piece.file.rows for piece in self.pieces)


def expired(view: View, before: date) -> list[Expired]:
    """Partitions of dates before ``before``; ``view``: of files in place."""
    partitions: dict[tuple[str, str], list[Piece]] = {}
    for piece in view.counting():
        if piece.file.date < before.isoformat():
            partitions.setdefault((piece.file.table, piece.file.date), []).append(piece)
    return [
        Expired(view.states[table].get(day) or PartitionState(table, day), pieces)
        for (table, day), pieces in sorted(partitions.items())
    ]


def expire(log: RangeLog, found: Expired, now: datetime) -> PartitionState:
    """From now on its rows do not count; its files go when the state is cleaned.

    Raises:
        FencedError: somebody else has claimed the partition.
    """
    state = found.state
    upto, dropped = dict(state.upto), dict(state.dropped)
    for piece in found.pieces:
        upto[piece.lane] = max(piece.end, upto.get(piece.lane, 0))
        dropped[piece.lane] = dropped.get(piece.lane, 0) + piece.file.rows
    after = state.following(
        upto=upto,
        dropped=dropped,
        folder="",
        files=(),
        retired=(*state.retired, *([state.folder] if state.folder else [])),
        settled_at=stamp(now),
        is_clean=False,
    )
    PartitionLog(log.store).add(after)
    return after
