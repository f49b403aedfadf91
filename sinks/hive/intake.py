"""From batches to sealed ranges: what is new, per lane and date, until a range is full."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import cast

import polars as pl

from callsheet.batch import Batch, Offset, Partition
from callsheet.errors import FatalError, ParkTableError
from callsheet.ports import Clock
from callsheet.schema import TableSchema
from callsheet.sink import Rejection
from sinks.hive.columns import Renderer
from sinks.hive.layout import PARTITION_COLUMN, TableLayout
from sinks.hive.publication import Ownership, SealedFile, SealedRange
from sinks.hive.publisher import Publisher
from sinks.hive.settings import HiveSettings
from sinks.hive.spool import OpenRange, SpoolOptions


@dataclass(frozen=True, slots=True)
class Accepted:
    stale: int
    """Rows that a file has already."""
    refused: Sequence[Rejection]
    """Also those whose offsets are covered: whoever refused them first may have crashed since."""


@dataclass(frozen=True, slots=True)
class _Table:
    name: str
    layout: TableLayout
    renderer: Renderer


@dataclass(slots=True)
class _Strand:
    """A lane as the intake sees it. ``next``: everything before it was accepted."""

    owner: Ownership
    next: Offset
    is_new: bool
    newest: int
    """The highest version of what was accepted, now or by whoever had the lane before."""
    was_written: bool = False
    """Something was handed to us since it was assigned, be it covered."""
    open: OpenRange | None = None


class Intake:
    """Lives in the worker's thread, as all of the sink but the publisher."""

    def __init__(
        self,
        settings: HiveSettings,
        publisher: Publisher,
        clock: Clock,
        now: Callable[[], str],
    ) -> None:
        self._settings, self._publisher, self._clock, self._now = settings, publisher, clock, now
        self._options = SpoolOptions(
            settings.spool_dir, settings.compression, settings.row_group_rows
        )
        self._strands: dict[Partition, _Strand] = {}
        self._tables: dict[tuple[str, str], _Table] = {}

    def begin(self, owner: Ownership) -> None:
        is_new = owner.durable is None
        self._strands[owner.partition] = _Strand(
            owner, owner.durable or 0, is_new, owner.last.newest_version
        )

    def forget(self, owners: Collection[Ownership]) -> None:
        for owner in owners:
            strand = self._strands.pop(owner.partition, None)
            if strand is not None and strand.open is not None:
                strand.open.discard()

    def accepted(self) -> dict[Partition, Offset]:
        """Up to where everything is in a file's hands, or was refused."""
        return {p: strand.next for p, strand in self._strands.items() if strand.was_written}

    def was_written(self, partition: Partition) -> bool:
        return self._strands[partition].was_written

    # --- taking in ------------------------------------------------------------------------------

    def accept(self, batch: Batch) -> Accepted:
        """
        Raises:
            ParkTableError: the table cannot be one of Hive's.
            FatalError: the disk for temporary files is full.
        """
        table = self._table(batch.topic, batch.schema)
        fresh, covered = self._split(batch)
        # What was refused is in no file, and a crash may have come before its dead letter.
        again = table.renderer.refused(_part(batch, covered)) if covered.height else ()
        stale = covered.height - len(again)
        if not fresh.height:
            return Accepted(stale, again)
        columns = table.renderer.render(_part(batch, fresh))
        for partition, rows, last in _by_partition(batch.topic, fresh):
            self._extend(self._strands[partition], rows, last, batch)
        for rejection in columns.refused:
            self._range(rejection.partition).refused += 1
        for number, date, part in _by_lane_and_date(columns.frame):
            self._range(Partition(batch.topic, number)).add(table.name, table.layout, date, part)
        self._bound()
        return Accepted(stale, (*again, *columns.refused))

    def _split(self, batch: Batch) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The new rows, and those whose offsets are covered."""
        frame = fresh = batch.frame
        covered = [frame.clear()]
        firsts = frame.group_by("partition").agg(pl.col("offset").min())
        for number, first in firsts.iter_rows():
            strand = self._strand(Partition(batch.topic, number))
            strand.was_written = True
            if first < strand.next:
                is_covered = (pl.col("partition") == number) & (pl.col("offset") < strand.next)
                covered.append(frame.filter(is_covered))
                _require_same_topic(strand, covered[-1])
                fresh = fresh.filter(~is_covered)
        return fresh, pl.concat(covered)

    def _strand(self, partition: Partition) -> _Strand:
        strand = self._strands.get(partition)
        if strand is None:
            raise RuntimeError(f"{partition} is written to, and was not assigned")
        return strand

    def _extend(self, strand: _Strand, rows: pl.DataFrame, last: Offset, batch: Batch) -> None:
        if strand.open is None:
            # In a new lane nothing is known of what lies before the first record.
            first = cast("int", rows.get_column("offset").min()) if strand.is_new else strand.next
            strand.open = OpenRange(first, self._clock.monotonic(), self._options)
        strand.is_new = False
        strand.newest = max(strand.newest, cast("int", rows.get_column("version").max()))
        strand.next = strand.open.end = last + 1
        strand.open.size_bytes += batch.size_bytes * rows.height // max(1, batch.frame.height)

    def _range(self, partition: Partition) -> OpenRange:
        return cast("OpenRange", self._strands[partition].open)

    def _table(self, topic: str, schema: TableSchema) -> _Table:
        key = topic, schema.fingerprint
        table = self._tables.get(key)
        if table is None:
            layout = TableLayout(topic, schema)
            name = table_name(self._settings.table, topic, schema)
            table = self._tables[key] = _Table(name, layout, Renderer(layout))
        return table

    # --- giving on ------------------------------------------------------------------------------

    def rotate(self) -> None:
        """Seal what is full or old. Called all the time, also when nothing comes."""
        limits, now_s = self._settings.rotation, self._clock.monotonic()
        for strand in self._strands.values():
            if strand.open is not None and strand.open.is_due(limits, now_s):
                self._seal(strand)

    def seal_all(self) -> None:
        for strand in self._strands.values():
            self._seal(strand)

    def _seal(self, strand: _Strand) -> None:
        if strand.open is None:
            return
        full, strand.open = strand.open, None
        files = tuple(
            SealedFile(pile.table, pile.date, pile.layout, pile.rows, pile.finish())
            for pile in full.piles
        )
        self._publisher.submit(
            SealedRange(
                strand.owner,
                full.start,
                full.end,
                full.rows,
                full.refused,
                strand.newest,
                files,
                self._now(),
            )
        )

    def _bound(self) -> None:
        """Keep memory and open files within their limits."""
        self.rotate()
        opened = [strand for strand in self._strands.values() if strand.open is not None]
        ranges = [cast("OpenRange", strand.open) for strand in opened]
        waiting = sum(each.waiting_bytes for each in ranges)
        for largest in sorted(ranges, key=lambda each: -each.waiting_bytes):
            if waiting <= self._settings.buffer_bytes:
                break
            waiting -= largest.waiting_bytes
            largest.press()
        files = sum(each.files for each in ranges)
        for strand in sorted(opened, key=lambda each: -cast("OpenRange", each.open).files):
            if files <= self._settings.most_open_files:
                break
            files -= cast("OpenRange", strand.open).files
            self._seal(strand)


def _part(batch: Batch, rows: pl.DataFrame) -> Batch:
    return Batch(batch.topic, batch.schema, rows, (), batch.size_bytes)


def _require_same_topic(strand: _Strand, covered: pl.DataFrame) -> None:
    """Offsets are covered by records of this topic only, not by those of a deleted namesake.

    Raises:
        FatalError: a covered offset holds a change that is newer than all that cover it.
    """
    newer = covered.filter(pl.col("version") > strand.newest)
    if newer.height:
        partition = strand.owner.partition
        raise FatalError(
            f"{partition} is another topic than the one whose records the audit has: its offset "
            f"{newer.get_column('offset')[0]} lies before {strand.next}, and holds a newer change",
            hint=f"if the topic was made anew, raise sink.generations: {{{partition.topic}: "
            f"{strand.owner.lane.generation + 1}}}; nothing was skipped",
        )


def table_name(template: str, topic: str, schema: TableSchema) -> str:
    """The Hive table of a source table: lower case letters, digits and underscores.

    Raises:
        ParkTableError: a topic whose files Hive would not see.
    """
    if topic.startswith(("_", ".")):
        raise ParkTableError(
            topic,
            "unrepresentable",
            "Hive does not look into files whose names begin with _ or .",
            hint="give the connector another topic.prefix",
        )
    parts = {"source": schema.source, "database": schema.database, "table": schema.table}
    words = {key: re.sub(r"[^a-z0-9_]", "_", part.lower()) for key, part in parts.items()}
    return template.format(**words)


def _by_partition(topic: str, frame: pl.DataFrame) -> list[tuple[Partition, pl.DataFrame, Offset]]:
    places = frame.select("partition", "offset", "version")
    return [
        (Partition(topic, cast("int", number)), rows, cast("int", rows.get_column("offset").max()))
        for (number,), rows in places.partition_by("partition", as_dict=True).items()
    ]


def _by_lane_and_date(frame: pl.DataFrame) -> list[tuple[int, str, pl.DataFrame]]:
    """Rows in the batch's order; dates as YYYY-MM-DD."""
    keys = ["kafka_partition", PARTITION_COLUMN]
    parts = frame.partition_by(keys, as_dict=True, maintain_order=True)
    return [(cast("int", number), str(date), rows) for (number, date), rows in parts.items()]
