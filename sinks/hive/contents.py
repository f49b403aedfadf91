"""Which files count, at one moment: those of the ranges, and of the states of partitions that have
taken the place of some. Every reader of the audit comes through here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from callsheet.errors import FatalError
from sinks.hive.entries import Entry, Fold, Piece
from sinks.hive.partitions import PartitionLog, PartitionState
from sinks.hive.ranges import RangeLog

_TRIES: Final = 5

States = Mapping[str, Mapping[str, PartitionState]]
"""Per table, per date."""


@dataclass(frozen=True, slots=True)
class View:
    """``pieces``: all files that ranges name, whether they count or not."""

    states: States
    pieces: Sequence[Piece]

    def counting(self) -> list[Piece]:
        """Lane by lane in the order of their offsets."""
        found = [p for p in self.pieces if not is_covered(self.states[p.file.table], p)]
        for states in self.states.values():
            found += [each.piece() for state in states.values() for each in state.files]
        return sorted(found, key=lambda piece: (piece.lane, piece.first))

    def late(self) -> list[tuple[PartitionState, Piece]]:
        """Files that came after the state of their date, whose partition is elsewhere for Hive."""
        return [
            (state, piece)
            for piece in self.pieces
            if (state := self.states[piece.file.table].get(piece.file.date))
            and state.folder
            and not state.covers(piece)
        ]

    def covered(self, state: PartitionState) -> list[Piece]:
        """Files that it has taken the place of, as far as the log still names them."""
        place = state.table, state.date
        return [p for p in self.pieces if (p.file.table, p.file.date) == place and state.covers(p)]


class Contents:
    """Reads views. A view is consistent: states are read first, so the chains know of all that they
    cover; what has been compacted since stays where it was for the grace period.
    """

    def __init__(self, log: RangeLog) -> None:
        self._log, self._states = log, PartitionLog(log.store)

    def view(self, tables: Collection[str], *, in_place: bool = False) -> View:
        """``in_place``: without files that may still be on their way.

        Raises:
            FatalError: the log is torn, or a state is gone.
        """
        for _ in range(_TRIES):
            states = {table: self._states.newest(table) for table in tables}
            pieces, missing = list[Piece](), list[str]()
            for entry in self._entries(in_place=in_place):
                missing += unstated(states, entry)
                pieces += [each for each in entry.pieces() if each.file.table in states]
            if not missing:
                return View(states, pieces)
        raise FatalError(missing[0], hint="restore _callsheet/partitions from a backup")

    def _entries(self, *, in_place: bool) -> Iterator[Entry]:
        for lane in self._log.lanes():
            mark = self._log.mark(lane) if in_place else None
            for entry in self._log.entries(lane):
                if mark is None or entry.name <= mark:
                    yield entry


def is_covered(states: Mapping[str, PartitionState], piece: Piece) -> bool:
    """``states``: of the file's table, by date."""
    state = states.get(piece.file.date)
    return state is not None and state.covers(piece)


def unstated(states: States, entry: Entry) -> list[str]:
    """Of these tables, rows of a fold whose files are gone, and no state says what has taken their
    place. Either one was lost, or the fold is newer than the states that were read.
    """
    found = []
    for share in entry.shares if isinstance(entry, Fold) else ():
        if share.table not in states:
            continue
        state = states[share.table].get(share.date)
        if state is None or state.upto.get(entry.lane.name, 0) < share.end:
            found.append(
                f"{share.rows} rows of {share.table} {share.date} are in no file that the audit "
                "names any more"
            )
    return found


def horizon(states: Mapping[str, PartitionState]) -> date | None:
    """The first date of which retention has taken nothing; None: it has taken nothing at all."""
    expired = [each for each, state in states.items() if state.dropped]
    return date.fromisoformat(max(expired)) + timedelta(days=1) if expired else None


def dropped_rows(states: Mapping[str, PartitionState]) -> int:
    return sum(sum(state.dropped.values()) for state in states.values())


def covered_rows(entries: Iterable[Entry], states: States) -> dict[tuple[str, str], int]:
    """Per table and date the rows of these entries that a state has taken over or dropped."""
    found: defaultdict[tuple[str, str], int] = defaultdict(int)
    for entry in entries:
        for piece in entry.pieces():
            file = piece.file
            if is_covered(states.get(file.table, {}), piece):
                found[file.table, file.date] += file.rows
        if isinstance(entry, Fold):
            for share in entry.shares:
                found[share.table, share.date] += share.rows
    return found
