"""A table as it was: the latest change of each row up to a time, without the deleted ones."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Final

import polars as pl

from callsheet.errors import FatalError, UsageError
from callsheet.event import Op
from sinks.hive.archive import AuditTable, ImageColumn, image_columns
from sinks.hive.entries import DataFile
from sinks.hive.schemas import StoredSchema

_PLACE: Final = ("id", "version", "is_snapshot", "kafka_offset", "type", "ts")
_FOLD_ROWS: Final = 500_000
"""So many rows wait until the superseded ones among them are dropped."""
_DECIMAL: Final = re.compile(r"DECIMAL\((\d+),(\d+)\)")
_TYPES: Final[Mapping[str, pl.DataType]] = {
    "STRING": pl.String(),
    "BIGINT": pl.Int64(),
    "INT": pl.Int32(),
    "DOUBLE": pl.Float64(),
    "BOOLEAN": pl.Boolean(),
    "DATE": pl.Date(),
    "TIMESTAMP": pl.Datetime("us"),
    "BINARY": pl.Binary(),
    "ARRAY<FLOAT>": pl.List(pl.Float32()),
}


@dataclass(frozen=True, slots=True)
class State:
    """
    Attributes:
        frame: a row per row of the source, its columns by the source's names, ordered by ID, which
            is the column ``ids`` beside it.
        schema: the newest of the time: it says which columns there are.
        unknown: columns that are newer than the last change of so many rows, in which they are
            null here, whatever default the source gave them.
        horizon: where retention has taken older changes: the first date that is whole. Rows that
            have not changed since are not known, so they are not here.
    """

    frame: pl.DataFrame
    ids: pl.Series
    schema: StoredSchema
    columns: tuple[ImageColumn, ...]
    unknown: Mapping[str, int] = field(default_factory=dict)
    horizon: date | None = None


def state(
    table: AuditTable,
    as_of: datetime | None = None,
    ids: Collection[str] = (),
    renamed: Mapping[str, str] | None = None,
    *,
    is_partial: bool = False,
) -> State:
    """``as_of``: what was committed up to this instant; None: up to the last that the audit has.
    ``ids``: only these; empty: all. ``renamed``: new name to old name of columns that the source
    has renamed since, because a log of rows does not tell. ``is_partial``: where retention has
    taken older changes, without the rows that have not changed since; else that is refused.

    Raises:
        UsageError: the audit begins later, or what is asked for has expired.
        FatalError: the log is torn, a file is gone or damaged, or an old value does not fit its new
            type.
    """
    _require_kept(table, as_of, is_partial=is_partial or bool(ids))
    files = table.files(as_of.astimezone(UTC).date() if as_of else None)
    latest = _latest(table, files, _chosen(as_of, ids))
    if latest.is_empty() and not ids:
        raise _too_early(table, as_of)
    schema = _newest_schema(table, files, latest, _chosen(as_of, ()))
    living = latest.filter(pl.col("type") != Op.DELETE.value)
    reader = _Reader(table, tuple(image_columns(schema)), renamed or {})
    found = [reader.rows(files[at], rows) for at, rows in _by_file(living)]
    frame = pl.concat([reader.nothing(), *found]).sort("")
    columns = [each.name for each in reader.columns]
    rows = frame.select(columns)
    return State(rows, frame[""], schema, reader.columns, reader.unknown, table.horizon)


def _require_kept(table: AuditTable, as_of: datetime | None, *, is_partial: bool) -> None:
    horizon = table.horizon
    if horizon is None:
        return
    if as_of is not None and as_of.astimezone(UTC).date() < horizon:
        raise UsageError(
            f"what {table.name} was before {horizon} has expired",
            hint=f"sink.retention_days; its changes are kept from {horizon} on",
        )
    if not is_partial:
        raise UsageError(
            f"the audit has not all of {table.name}: changes before {horizon} have expired, and "
            "with them rows that have not changed since",
            hint="--partial gives the others; one row can be asked for by --id",
        )


def _chosen(as_of: datetime | None, ids: Collection[str]) -> pl.Expr | None:
    parts: list[pl.Expr] = []
    if as_of is not None:
        parts.append(pl.col("ts") <= as_of.astimezone(UTC).replace(tzinfo=None))
    if ids:
        parts.append(pl.col("id").is_in(list(ids)))
    return pl.all_horizontal(parts) if parts else None


def _latest(table: AuditTable, files: list[DataFile], where: pl.Expr | None) -> pl.DataFrame:
    """Per ID its last change, and in which of the files (``at``) it is."""
    waiting: list[pl.DataFrame] = []
    for at, file in enumerate(files):
        rows = table.read(file, _PLACE, where)
        waiting.append(rows.with_columns(pl.lit(at, pl.Int64).alias("at")))
        if sum(each.height for each in waiting) > _FOLD_ROWS:
            waiting = [_folded(waiting)]
    return _folded(waiting) if waiting else pl.DataFrame(schema=["id", "type", "version", "at"])


def _folded(parts: list[pl.DataFrame]) -> pl.DataFrame:
    # A snapshot's rows share one position: a change at the same one came after it.
    order = [pl.col("version"), ~pl.col("is_snapshot"), pl.col("kafka_offset"), pl.col("at")]
    return pl.concat(parts).sort(order).unique("id", keep="last", maintain_order=True)


def _newest_schema(
    table: AuditTable, files: list[DataFile], latest: pl.DataFrame, where: pl.Expr | None
) -> StoredSchema:
    """Of the newest change of all: what is asked for may be of older rows only."""
    newest = latest.sort("version").tail(1)
    if len(table.schemas) > 1 or newest.is_empty():
        newest = _latest(table, files, where).sort("version").tail(1)
    if newest.is_empty():
        raise _too_early(table, None)
    return table.schema(files[newest["at"][0]])


def _by_file(latest: pl.DataFrame) -> list[tuple[int, pl.DataFrame]]:
    if latest.is_empty():
        return []
    parts = latest.select("at", "kafka_offset").partition_by("at", as_dict=True)
    return sorted((int(str(at)), rows) for (at,), rows in parts.items())


class _Reader:
    """Rows of any age under the newest schema."""

    def __init__(
        self, table: AuditTable, columns: tuple[ImageColumn, ...], renamed: Mapping[str, str]
    ) -> None:
        self._table, self.columns, self._renamed = table, columns, renamed
        self._types = {each.name: polars_type(each.hive) for each in columns}
        self.unknown: dict[str, int] = {}

    def nothing(self) -> pl.DataFrame:
        return pl.DataFrame(schema={"": pl.String(), **self._types})

    def rows(self, file: DataFile, offsets: pl.DataFrame) -> pl.DataFrame:
        """A file's rows at these offsets; the ID is the column without a name."""
        stored = {each.name: each.stored for each in image_columns(self._table.schema(file))}
        chosen = [pl.col("id").alias("")]
        for name, kind in self._types.items():
            own = stored.get(name) or stored.get(self._renamed.get(name, ""))
            if own is None:
                self.unknown[name] = self.unknown.get(name, 0) + offsets.height
            value = pl.lit(None) if own is None else pl.col(f"after_{own}")
            chosen.append(value.cast(kind).alias(name))
        where = pl.col("kafka_offset").is_in(offsets["kafka_offset"].implode())
        found = self._table.read(file, where=where)
        try:
            return found.select(chosen)
        except pl.exceptions.PolarsError as error:
            raise FatalError(
                f"a value of {self._table.name} does not fit the type that its column has since",
                hint=f"in {file.path}; a state as of a time before the change can be read",
            ) from error


def polars_type(hive: str) -> pl.DataType:
    match = _DECIMAL.fullmatch(hive)
    if match:
        return pl.Decimal(int(match[1]), int(match[2]))
    return _TYPES[hive]


def _too_early(table: AuditTable, as_of: datetime | None) -> UsageError:
    when = f" up to {as_of.isoformat()}" if as_of else ""
    return UsageError(
        f"the audit has nothing of {table.name}{when}",
        hint="older changes have expired"
        if table.horizon
        else "it begins with the first snapshot that it was given",
    )
