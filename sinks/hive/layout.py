"""What a source table looks like in Hive: every column's name, its DDL type, its Parquet type, and
the expression that gets it out of a batch. The one place where these four meet.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import polars as pl
import pyarrow as pa

from callsheet.errors import ParkTableError
from callsheet.schema import Column, Kind, TableSchema

MAX_PRECISION: Final = 38
PARTITION_COLUMN: Final = "event_date"
"""Hive's partition column: the UTC date of TS. It stands in the path, not in the files."""

_HIDES: Final = str.maketrans(dict.fromkeys(".:,`;", "_"))
"""Characters that Hive does not take in a column's name, even quoted."""


@dataclass(frozen=True, slots=True)
class StoredColumn:
    """One column of the Hive table.

    Attributes:
        name: in Hive and in the files; lower case, because Hive's names are.
        hive: its type in DDL.
        arrow: its type in the files.
        source: the column of the source table whose image it holds; empty for the event's own.
    """

    name: str
    hive: str
    arrow: pa.DataType
    source: str = ""


# --- the event's own columns ----------------------------------------------------------------------

_STRING, _BIGINT, _INT = ("STRING", pa.large_string()), ("BIGINT", pa.int64()), ("INT", pa.int32())
_TIMESTAMP = ("TIMESTAMP", pa.timestamp("us"))
_BOOLEAN = ("BOOLEAN", pa.bool_())

EVENT_COLUMNS: Final = tuple(
    StoredColumn(name, *kind)
    for name, kind in {
        "uuid": _STRING,
        "type": _STRING,
        "id": _STRING,
        "ts": _TIMESTAMP,
        "transaction_id": _STRING,
        "transaction_order": _BIGINT,
        "source": _STRING,
        "source_file": _STRING,
        "source_pos": _BIGINT,
        "source_row": _BIGINT,
        "server_id": _BIGINT,
        "gtid": _STRING,
        "version": _BIGINT,
        "is_snapshot": _BOOLEAN,
        "kafka_topic": _STRING,
        "kafka_partition": _INT,
        "kafka_offset": _BIGINT,
    }.items()
)
"""In front of every table's images; the same for all tables."""


MANY_VALUED: Final = (
    "uuid", "id", "source_pos", "version", "kafka_offset", "gtid", "transaction_id",
)  # fmt: skip
"""Of these hardly any value repeats."""


# --- images ---------------------------------------------------------------------------------------

Expression = Callable[[pl.Expr], pl.Expr]


@dataclass(frozen=True, slots=True)
class _Form:
    hive: str
    arrow: pa.DataType
    express: Expression = lambda value: value


def _time_text(fraction: int | None) -> Expression:
    """``HH:MM:SS[.ffffff]``: MySQL's TIME is no time of day, it may be negative or beyond 24 h."""

    def express(micros: pl.Expr) -> pl.Expr:
        size = micros.abs()
        seconds, rest = size // 1_000_000, size % 1_000_000

        def padded(number: pl.Expr, width: int) -> pl.Expr:
            return number.cast(pl.String).str.zfill(width)

        digits = pl.lit(".") + padded(rest, 6)
        if fraction is None:
            tail = pl.when(rest == 0).then(pl.lit("")).otherwise(digits)
        else:
            tail = digits.str.slice(0, fraction + 1) if fraction else pl.lit("")
        sign = pl.when(micros < 0).then(pl.lit("-")).otherwise(pl.lit(""))
        hours, minutes = padded(seconds // 3600, 2), padded(seconds // 60 % 60, 2)
        colon = pl.lit(":")
        return pl.concat_str([sign, hours, colon, minutes, colon, padded(seconds % 60, 2), tail])

    return express


def _instant(text: pl.Expr) -> pl.Expr:
    """A text that is no such instant becomes null: :mod:`sinks.hive.columns` refuses the row."""
    return text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", strict=False)


def _geometry(shape: pl.Expr) -> pl.Expr:
    return shape.map_elements(_mysql_geometry, pl.Binary)


def _mysql_geometry(shape: Mapping[str, Any]) -> bytes:
    return struct.pack("<I", shape["srid"] or 0) + bytes(shape["wkb"])


_FORMS: Final[Mapping[Kind, _Form]] = {
    Kind.INTEGER: _Form(*_BIGINT),
    Kind.UNSIGNED: _Form(
        "DECIMAL(20,0)", pa.decimal128(20, 0), lambda value: value.cast(pl.Decimal(20, 0))
    ),
    Kind.BOOLEAN: _Form(*_BOOLEAN),
    Kind.STRING: _Form(*_STRING),
    Kind.ENUM: _Form(*_STRING),
    Kind.SET: _Form(*_STRING),
    Kind.JSON: _Form(*_STRING),
    Kind.DATE: _Form("DATE", pa.date32()),
    Kind.DATETIME: _Form(*_TIMESTAMP),
    Kind.TIMESTAMP: _Form(*_TIMESTAMP, _instant),
    Kind.YEAR: _Form("INT", pa.int32(), lambda value: value.cast(pl.Int32)),
    Kind.BYTES: _Form("BINARY", pa.large_binary()),
    Kind.BITS: _Form("BINARY", pa.large_binary()),
    # As MySQL itself keeps it: the SRID in four bytes, little-endian, then WKB.
    Kind.GEOMETRY: _Form("BINARY", pa.large_binary(), _geometry),
    Kind.VECTOR: _Form("ARRAY<FLOAT>", pa.large_list(pa.float32())),
}


def _form(column: Column) -> _Form:
    match column.kind:
        case Kind.DECIMAL:
            precision, scale = column.precision or MAX_PRECISION, column.scale or 0
            if precision > MAX_PRECISION:
                return _Form(*_STRING)
            return _Form(f"DECIMAL({precision},{scale})", pa.decimal128(precision, scale))
        case Kind.FLOAT:
            # One type for both: a column widened from FLOAT to DOUBLE stays the same column.
            return _Form("DOUBLE", pa.float64(), lambda value: value.cast(pl.Float64))
        case Kind.TIME:
            return _Form(*_STRING, _time_text(column.fraction))
        case kind:
            return _FORMS[kind]


IMAGES: Final = ("before", "after")


@dataclass(frozen=True, slots=True)
class ImageColumn:
    """One source column's place in both images, and how its values are expressed."""

    source: Column
    name: str
    form: _Form

    def stored(self) -> Iterator[StoredColumn]:
        for image in IMAGES:
            yield StoredColumn(
                f"{image}_{self.name}", self.form.hive, self.form.arrow, self.source.name
            )


class TableLayout:
    """A table under one version of its schema."""

    def __init__(self, topic: str, schema: TableSchema) -> None:
        """
        Raises:
            ParkTableError: two columns would have one name in Hive.
        """
        self.schema = schema
        self.images = tuple(
            ImageColumn(column, column.name.lower().translate(_HIDES), _form(column))
            for column in schema.columns
        )
        named: dict[str, str] = {}
        for image in self.images:
            other = named.setdefault(image.name, image.source.name)
            if other != image.source.name:
                raise ParkTableError(
                    topic,
                    "unrepresentable",
                    f"the columns {other!r} and {image.source.name!r} are both {image.name!r} in "
                    "Hive, whose names know no case",
                    hint="rename one of them at the source, or leave it out of the capture",
                )

    @cached_property
    def columns(self) -> tuple[StoredColumn, ...]:
        """All columns in order: the event's own, the images before, the images after."""
        before, after = zip(*(image.stored() for image in self.images), strict=True)
        return (*EVENT_COLUMNS, *before, *after)

    @cached_property
    def arrow(self) -> pa.Schema:
        """Of a file."""
        return pa.schema([pa.field(column.name, column.arrow) for column in self.columns])

    @cached_property
    def many_valued(self) -> tuple[str, ...]:
        """Columns whose values hardly repeat: a dictionary of them would be work for nothing."""
        keys = {image.name for image in self.images if image.source.name in self.schema.key}
        return (*MANY_VALUED, *(f"{image}_{name}" for image in IMAGES for name in sorted(keys)))
