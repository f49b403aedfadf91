"""One batch of one table inside an open transaction: what is newer goes in, and is remembered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import polars as pl
import sqlalchemy as sa

from callsheet.batch import Partition
from callsheet.errors import Reason
from callsheet.schema import TableSchema
from callsheet.sink import Counts, Rejection
from sinks.sql import changes
from sinks.sql.catalog import Target
from sinks.sql.dialect import Dialect, Statement, Trouble
from sinks.sql.trouble import Failed, told

_STATEMENT_FRAME_BYTES: Final = 1_024
"""What the protocol and the statement's own words take at most beside the values."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a batch's rows."""

    counts: Counts
    rejections: tuple[Rejection, ...] = ()


@dataclass(slots=True)
class TableWrite:
    """``frame``: the batch's, or what of it is still ours. Raises Failed."""

    connection: sa.Connection
    dialect: Dialect
    target: Target
    topic: str
    schema: TableSchema
    most_bytes: int
    """Of one statement."""
    _rejections: list[Rejection] = field(default_factory=list)

    def run(self, frame: pl.DataFrame) -> Outcome:
        rows = changes.latest(frame)
        rows = rows.with_columns(changes.stored_ids(rows["id"]).rename({"id": "stored_id"}))
        known = self._known(rows["stored_id"])
        rows = rows.join(known, on="stored_id", how="left", maintain_order="left")
        fresh = rows.filter(pl.col("known").is_null() | (pl.col("version") > pl.col("known")))
        gone = changes.is_delete()
        kept = [self._upsert(fresh.filter(~gone)), self._delete(fresh.filter(gone))]
        written = pl.concat(kept)
        self._remember(written)
        counts = Counts(
            written=written.height,
            superseded=frame.height - rows.height,
            stale=rows.height - fresh.height,
        )
        return Outcome(counts, tuple(self._rejections))

    # --- versions -------------------------------------------------------------------------------

    def _known(self, ids: pl.Series) -> pl.DataFrame:
        found: list[tuple[bytes, int]] = []
        for statement in self.dialect.known_versions(self.target.versions, ids):
            with told(self.dialect):
                answer = self.connection.exec_driver_sql(statement)
                found += [(bytes(row[0]), int(row[1])) for row in answer]
        return pl.DataFrame(found, {"stored_id": pl.Binary, "known": pl.Int64}, orient="row")

    def _remember(self, rows: pl.DataFrame) -> None:
        noted = rows.select(
            pl.col("stored_id").alias("id"),
            "long_id",
            "version",
            changes.is_delete().alias("is_deleted"),
            pl.col("partition").alias("kafka_partition"),
            pl.col("offset").alias("kafka_offset"),
            pl.col("known").is_null().alias("is_new"),
        )
        for are_new in (True, False):
            part = noted.filter(pl.col("is_new") == are_new)
            for statement in self.dialect.note_versions(
                self.target.versions, part, are_new=are_new
            ):
                with told(self.dialect):
                    self.connection.exec_driver_sql(statement)

    # --- rows -----------------------------------------------------------------------------------

    def _upsert(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Returns the rows that the table took."""
        if rows.is_empty():
            return rows
        reasons = self.dialect.refusals(self.schema, changes.images(rows))
        if reasons.null_count() < len(reasons):
            for row, reason in zip(rows.iter_rows(named=True), reasons, strict=True):
                if reason is not None:
                    self._reject(row, Reason.UNREPRESENTABLE, reason)
            rows = rows.filter(reasons.is_null())
        image = changes.images(rows)
        refused = [
            row
            for statement in self.dialect.upserts(self.target.table, self.schema, image)
            for row in self._carry_out(statement, rows, 0)
        ]
        return _without(rows, refused)

    def _carry_out(self, statement: Statement, rows: pl.DataFrame, base: int) -> Iterator[int]:
        """Yields the rows that it refuses: found by halves, because one bad value refuses all."""
        first, count = base + statement.first, statement.rows
        refusal = self._refusal(statement)
        if refusal is None:
            return
        if count == 1:
            self._reject(rows.row(first, named=True), *refusal)
            yield first
            return
        half = count // 2
        for start, length in ((first, half), (first + half, count - half)):
            image = changes.images(rows.slice(start, length))
            for smaller in self.dialect.upserts(self.target.table, self.schema, image):
                yield from self._carry_out(smaller, rows, start)

    def _refusal(self, statement: Statement) -> tuple[Reason, str] | None:
        # One that the server does not take at all would cost the connection, again and again.
        if statement.rows == 1:
            size = len(statement.sql.encode())
            if size + _STATEMENT_FRAME_BYTES > self.most_bytes:
                return Reason.OVERSIZE, f"{size} bytes, the server takes {self.most_bytes}"
        try:
            with told(self.dialect), self.dialect.attempt(self.connection):
                self.connection.exec_driver_sql(statement.sql)
        except Failed as failure:
            if failure.trouble is not Trouble.VALUE:
                raise
            return Reason.REJECTED, failure.detail
        return None

    def _delete(self, rows: pl.DataFrame) -> pl.DataFrame:
        if not rows.is_empty():
            image = rows.schema["after"]
            assert isinstance(image, pl.Struct)  # noqa: S101 - the batch's contract
            keys = changes.key_values(rows["id"], self.schema, image)
            for statement in self.dialect.deletes(self.target.table, self.schema, keys):
                with told(self.dialect):
                    self.connection.exec_driver_sql(statement.sql)
        return rows

    def _reject(self, row: dict[str, object], reason: Reason, detail: str) -> None:
        number, offset = row["partition"], row["offset"]
        assert isinstance(number, int) and isinstance(offset, int)  # noqa: S101, PT018
        self._rejections.append(Rejection(Partition(self.topic, number), offset, reason, detail))


def _without(rows: pl.DataFrame, refused: list[int]) -> pl.DataFrame:
    if not refused:
        return rows
    bad = pl.Series(refused, dtype=pl.UInt32)
    return rows.with_row_index("_at").filter(~pl.col("_at").is_in(bad.implode())).drop("_at")
