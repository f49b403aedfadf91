"""Some batches in one transaction, with their offsets: all of it is there, or nothing.

The order within: offsets locked and our generation checked, then per batch versions read, rows
written, versions noted; offsets moved last. When the answer to a commit is lost, the row of
offsets decides: ``writes`` counts the transactions that took place. It decides for the batches of
that commit alone, and while its partitions are held under the same claim.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import polars as pl
import sqlalchemy as sa

from callsheet.batch import Batch, Offset, Partition
from callsheet.errors import ParkTableError
from sinks.sql import control
from sinks.sql.catalog import Catalog, Target
from sinks.sql.control import Claim, Offsets
from sinks.sql.dialect import Dialect, Server, Trouble
from sinks.sql.table_write import Outcome, TableWrite
from sinks.sql.trouble import Failed, told


class Step(StrEnum):
    """Points at which a fault test kills the process."""

    BEGUN = "begun"
    ROWS = "rows"
    """After the first batch's rows, before the offsets."""
    OFFSETS = "offsets"
    COMMITTED = "committed"
    """The database knows, nobody else does."""


@dataclass(frozen=True, slots=True)
class Work:
    """A batch, or what of it is still ours."""

    batch: Batch
    frame: pl.DataFrame

    def ends(self) -> dict[Partition, Offset]:
        mine = set(self.frame["partition"].unique().to_list())
        ends = self.batch.next_offsets()
        return {place: end for place, end in ends.items() if place.number in mine}


@dataclass(frozen=True, slots=True)
class Written:
    """A transaction that took place: per work what became of it, and the generations we hold."""

    outcomes: Sequence[Outcome]
    generations: Mapping[Partition, int]


@dataclass(frozen=True, slots=True)
class _Doubt:
    """A commit that was sent and not answered."""

    works: Sequence[Work]
    """Kept: a batch that is freed leaves its place in memory, and its ``id``, to a later one."""
    before: Mapping[Partition, Claim]
    """What was locked, as it was before the commit."""
    written: Written
    """What it came to, if it took place."""

    def outcomes_of(self, works: Sequence[Work]) -> list[Outcome] | None:
        """None when one of them was not in it. They come in the order in which it had them."""
        rest = zip(self.works, self.written.outcomes, strict=True)
        found: list[Outcome] = []
        for work in works:
            outcome = next((each for sent, each in rest if sent.batch is work.batch), None)
            if outcome is None:
                return None
            found.append(outcome)
        return found

    def took_place(self, held: Mapping[Partition, Claim]) -> bool:
        """False as well where ``writes`` proves nothing: a partition was not in it, or went and
        was claimed anew, so that others may have written it since.
        """
        return all(
            place in self.before
            and self.before[place].generation == claim.generation
            and self.before[place].writes != claim.writes
            for place, claim in held.items()
        )


class Store:
    """Used by one thread at a time, but for :meth:`claim` and :meth:`open`."""

    def __init__(
        self,
        dialect: Dialect,
        engine: sa.Engine,
        catalog: Catalog,
        offsets: Offsets,
        at: Callable[[Step], None] = lambda _: None,
    ) -> None:
        self._dialect, self._engine, self._catalog = dialect, engine, catalog
        self._offsets, self._at = offsets, at
        self._server: Server | None = None
        self._doubt: _Doubt | None = None

    def open(self) -> Server:
        """Raises Failed, ConfigError."""
        with told(self._dialect), self._engine.connect() as connection:
            self._server = self._dialect.server(connection)
            control.METADATA.create_all(connection)
            connection.commit()
        return self._server

    def claim(self, partitions: Collection[Partition]) -> dict[Partition, Claim]:
        """From now on they are ours, and nobody's who had them before. Raises Failed."""
        with told(self._dialect), self._engine.begin() as connection:
            return self._offsets.hold(connection, partitions, {})

    def write(self, works: Sequence[Work], generations: Mapping[Partition, int]) -> Written:
        """Raises Failed (nothing was written, or the next call finds out), Fenced, ParkTableError.

        After a Failed the next call brings the same works, but for partitions that went: only so
        is a commit that nobody answered found out. Other works, or a new claim, are written.
        """
        targets = [self._catalog.target(work.batch.topic, work.batch.schema) for work in works]
        partitions = {place for work in works for place in work.ends()}
        mine = {place: generations[place] for place in partitions if place in generations}
        with told(self._dialect), self._engine.connect() as connection:
            transaction = connection.begin()
            held = self._offsets.hold(connection, partitions, mine)
            if (known := self._resolved(works, held)) is not None:
                return known
            self._at(Step.BEGUN)
            outcomes = [
                self._apply(connection, work, target)
                for work, target in zip(works, targets, strict=True)
            ]
            ends = {place: end for work in works for place, end in work.ends().items()}
            self._offsets.advance(connection, held, ends, _versions(works))
            self._at(Step.OFFSETS)
            written = Written(outcomes, {place: held[place].generation for place in held})
            self._doubt = _Doubt(tuple(works), held, written)
            transaction.commit()
            self._doubt = None
        self._at(Step.COMMITTED)
        return written

    def _resolved(self, works: Sequence[Work], held: Mapping[Partition, Claim]) -> Written | None:
        """What we know of a commit whose answer was lost, now that its locks are gone. Whatever is
        not certain is written again: versions make that harmless, and a batch that is wrongly taken
        for written would be lost.
        """
        doubt, self._doubt = self._doubt, None
        if doubt is None or not doubt.took_place(held):
            return None
        outcomes = doubt.outcomes_of(works)
        return None if outcomes is None else Written(outcomes, doubt.written.generations)

    def _apply(self, connection: sa.Connection, work: Work, target: Target) -> Outcome:
        batch, server = work.batch, self._server
        if server is None:
            raise RuntimeError("open() comes first")
        writing = TableWrite(
            connection, self._dialect, target, batch.topic, batch.schema, server.most_bytes
        )
        try:
            outcome = writing.run(work.frame)
        except Failed as failure:
            if failure.trouble is not Trouble.TABLE:
                raise
            self._catalog.forget(batch.topic)
            raise ParkTableError(
                batch.topic,
                "table changed",
                f"{target.table} is not as it was: {failure.detail}",
                hint="docs/sql.md says how to mend or rebuild it; then restart the worker",
            ) from None
        self._at(Step.ROWS)
        return outcome


def _versions(works: Sequence[Work]) -> dict[Partition, int]:
    highest: dict[Partition, int] = {}
    for work in works:
        found = work.frame.group_by("partition").agg(pl.col("version").max())
        for number, version in found.iter_rows():
            place = Partition(work.batch.topic, number)
            highest[place] = max(version, highest.get(place, 0))
    return highest
