"""Batches by hand, without a decoder: rows in, a frame as the contract states it out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from callsheet.batch import FRAME_SCHEMA, Batch
from callsheet.event import Op
from callsheet.schema import Column, Kind, TableSchema

_TYPES: Mapping[Kind, pl.DataType] = {
    Kind.INTEGER: pl.Int64(),
    Kind.UNSIGNED: pl.UInt64(),
    Kind.FLOAT: pl.Float64(),
    Kind.BOOLEAN: pl.Boolean(),
    Kind.STRING: pl.String(),
    Kind.ENUM: pl.String(),
    Kind.SET: pl.String(),
    Kind.JSON: pl.String(),
    Kind.DATE: pl.Date(),
    Kind.TIME: pl.Int64(),
    Kind.DATETIME: pl.Datetime("us"),
    Kind.TIMESTAMP: pl.String(),
    Kind.YEAR: pl.Int64(),
    Kind.BYTES: pl.Binary(),
    Kind.BITS: pl.Binary(),
    Kind.GEOMETRY: pl.Struct({"wkb": pl.Binary(), "srid": pl.Int32()}),
    Kind.VECTOR: pl.List(pl.Float32()),
}


def polars_type(column: Column) -> pl.DataType:
    if column.kind is Kind.DECIMAL:
        precision = column.precision or 38
        return pl.Decimal(precision, column.scale or 0) if precision <= 38 else pl.String()
    if column.kind is Kind.FLOAT and column.source_type == "FLOAT":
        return pl.Float32()
    return _TYPES[column.kind]


def a_schema(
    *columns: Column, table: str = "titles", key: Sequence[str] = ("id",), version: str = "1"
) -> TableSchema:
    """``id`` and ``name`` unless told otherwise."""
    own = columns or (Column("name", Kind.STRING),)
    if not any(column.name == "id" for column in own):
        own = (Column("id", Kind.INTEGER, nullable=False), *own)
    return TableSchema("studio", "finance", table, tuple(own), tuple(key), f"{table}-{version}")


@dataclass(frozen=True, slots=True)
class Row:
    """One event; what is left out follows from its place in the batch."""

    op: Op
    id: str
    after: Mapping[str, Any] | None = None
    version: int | None = None
    partition: int = 0
    offset: int | None = None
    ts_us: int = 1_800_000_000_000_000


def upsert(identifier: int | str, version: int | None = None, **values: Any) -> Row:
    after = {"id": identifier if isinstance(identifier, int) else 0, **values}
    return Row(Op.UPDATE, str(identifier), after, version)


def delete(identifier: int | str, version: int | None = None) -> Row:
    return Row(Op.DELETE, str(identifier), None, version)


@dataclass(frozen=True, slots=True)
class RawMessage:
    """As the Kafka client hands it out."""

    _topic: str
    _partition: int
    _offset: int
    _key: bytes | None = b"{}"
    _value: bytes | None = b"{}"
    _headers: Sequence[tuple[str, bytes | None]] = field(default_factory=tuple)

    def topic(self) -> str:
        return self._topic

    def partition(self) -> int:
        return self._partition

    def offset(self) -> int:
        return self._offset

    def key(self) -> bytes | None:
        return self._key

    def value(self) -> bytes | None:
        return self._value

    def headers(self) -> Sequence[tuple[str, bytes | None]]:
        return self._headers

    def timestamp(self) -> tuple[int, int]:
        return 1, 1_800_000_000_000


def a_batch(
    rows: Sequence[Row],
    schema: TableSchema | None = None,
    *,
    topic: str = "",
    first_offset: int = 0,
    first_version: int = 1,
) -> Batch:
    """Offsets count up per partition from ``first_offset``, versions over all rows."""
    schema = schema or a_schema()
    topic = topic or f"studio.finance.{schema.table}"
    places: list[int] = []
    following: dict[int, int] = {}
    for row in rows:
        offset = (
            row.offset if row.offset is not None else following.get(row.partition, first_offset)
        )
        following[row.partition] = offset + 1
        places.append(offset)
    frame = pl.DataFrame(
        [_fixed(row, n, places[n], first_version) for n, row in enumerate(rows)],
        schema=dict(FRAME_SCHEMA),
        orient="row",
    )
    image = pl.Struct({column.name: polars_type(column) for column in schema.columns})
    names = [column.name for column in schema.columns]
    images = [
        None if row.after is None else {name: row.after.get(name) for name in names} for row in rows
    ]
    frame = frame.with_columns(
        pl.Series("before", [None] * len(rows), dtype=image),
        pl.Series("after", images, dtype=image),
    )
    messages = [
        RawMessage(topic, row.partition, place) for row, place in zip(rows, places, strict=True)
    ]
    return Batch(topic, schema, frame, messages, 200 * len(rows))


def _fixed(row: Row, number: int, offset: int, first_version: int) -> list[Any]:
    version = row.version if row.version is not None else first_version + number
    known = {
        "op": row.op.value, "id": row.id, "ts_us": row.ts_us, "version": version,
        "snapshot": False, "file": "binlog.000001", "pos": version, "row": 0, "server_id": 1,
        "partition": row.partition, "offset": offset,
    }  # fmt: skip
    return [known.get(name) for name in FRAME_SCHEMA]
