"""Small files of a date become large ones, and no reader notices.

1. CLAIMED  the partition's state is repeated under the next number, with our name: whoever was at
            work on it before can state nothing any more
2. SWEPT    what others wrote and nobody names is removed
3. WRITTEN  the merged files are in a new folder, which nobody names yet
4. STATED   the state that names them is created: from now on they count, and the small ones do not
5.          Hive's partition is moved (:mod:`sinks.hive.registration`); it had all rows where it was
6.          after the grace period the small files are removed (:mod:`sinks.hive.cleaning`)

A crash before 4 leaves a claim and files that nothing names: the next run sweeps them. A crash
after it leaves a state that is finished by whoever comes next: 5 by any publication, 6 by any
compaction. docs/adr/0014 argues for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from uuid import uuid4

from callsheet.errors import CallsheetError, FatalError
from sinks.hive.contents import View
from sinks.hive.entries import DataFile, Piece
from sinks.hive.merging import Bundle, bundles, merge
from sinks.hive.partitions import MergedFile, PartitionLog, PartitionState, stamp, sweep
from sinks.hive.ranges import RangeLog
from sinks.hive.spool import SpoolOptions


class CompactStep(StrEnum):
    """After which a fault test crashes."""

    CLAIMED = "claimed"
    SWEPT = "swept"
    WRITTEN = "written"
    STATED = "stated"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A partition that has more files than it needs. ``state``: as it was when that was seen."""

    state: PartitionState
    bundles: Sequence[Bundle]

    @property
    def pieces(self) -> list[Piece]:
        return [piece for bundle in self.bundles for piece in bundle.pieces]

    @property
    def spare(self) -> int:
        return len(self.pieces) - len(self.bundles)


def candidates(view: View, before: date, spare_files: int, target_bytes: int) -> list[Candidate]:
    """Partitions of dates before ``before`` that would have so many files less; ``view``: of files
    in place.
    """
    partitions: dict[tuple[str, str], list[Piece]] = {}
    for piece in view.counting():
        if piece.file.date < before.isoformat():
            partitions.setdefault((piece.file.table, piece.file.date), []).append(piece)
    found = []
    for (table, day), pieces in sorted(partitions.items()):
        state = view.states[table].get(day) or PartitionState(table, day)
        candidate = Candidate(state, bundles(pieces, target_bytes))
        if candidate.spare >= spare_files:
            found.append(candidate)
    return found


class Compaction:
    """``at``: called after each step."""

    def __init__(
        self,
        log: RangeLog,
        options: SpoolOptions,
        now: Callable[[], datetime],
        at: Callable[[CompactStep], None] = lambda _: None,
    ) -> None:
        self._log, self._options, self._now, self._at = log, options, now, at
        self._states = PartitionLog(log.store)

    def run(self, candidate: Candidate) -> PartitionState:
        """
        Raises:
            FencedError: somebody else has claimed the partition.
            FatalError: a file is gone or damaged; all is as it was.
        """
        claim = candidate.state.following(owner=uuid4().hex[:12], claimed_at=stamp(self._now()))
        self._states.add(claim)
        self._at(CompactStep.CLAIMED)
        try:
            return self._merged(claim, candidate)
        except BaseException:
            # Not needed to go on, but without it others would wait for us.
            with suppress(CallsheetError):
                self._states.add(claim.following())
            raise

    def _merged(self, claim: PartitionState, candidate: Candidate) -> PartitionState:
        sweep(self._log.store, claim)
        self._at(CompactStep.SWEPT)
        folder = claim.folder_after()
        files = tuple(
            self._write(folder, number, bundle) for number, bundle in enumerate(candidate.bundles)
        )
        upto = dict(claim.upto)
        for file in files:
            upto[file.lane] = max(file.end, upto.get(file.lane, 0))
        state = claim.following(
            upto=upto,
            folder=folder,
            files=files,
            retired=(*claim.retired, *([claim.folder] if claim.folder else [])),
            settled_at=stamp(self._now()),
            is_clean=False,
        )
        self._states.add(state)
        self._at(CompactStep.STATED)
        return state

    def _write(self, folder: str, number: int, bundle: Bundle) -> MergedFile:
        first, last = bundle.pieces[0], bundle.pieces[-1]
        table, fingerprint = first.file.table, first.file.fingerprint
        schema = self._log.schema(table, fingerprint)
        if schema is None:
            raise FatalError(
                f"the audit has no schema {fingerprint} of {table}",
                hint="restore _callsheet/schemas from a backup",
            )
        path = f"{folder}/{first.lane}-{first.first:020d}-{last.end:020d}-{number}.parquet"
        with merge(self._log.store, bundle, schema, self._options) as content:
            self._log.store.put(path, content)
            size_bytes = content.seek(0, 2)
        self._at(CompactStep.WRITTEN)
        file = DataFile(
            table=table,
            date=first.file.date,
            path=path,
            staged=path,
            rows=bundle.rows,
            size_bytes=size_bytes,
            fingerprint=fingerprint,
        )
        return MergedFile(first.lane, first.first, last.end, file)
