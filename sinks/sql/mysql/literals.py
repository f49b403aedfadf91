"""Values as SQL text, a column at a time: nothing here looks at a single row.

Every literal reads back as exactly the value it was made from, under the session that
:mod:`sinks.sql.mysql.session` sets up (utf8mb4, backslash escapes on, strict mode, UTC).
"""

from __future__ import annotations

from typing import Final

import polars as pl

from callsheet.schema import Column, Kind

NULL: Final = "NULL"
_MICROS: Final = 1_000_000

# In this order: what an escape adds must not be escaped again.
_ESCAPES: Final = (("\\", "\\\\"), ("'", "\\'"), ("\x00", "\\0"), ("\x1a", "\\Z"))


def quoted_name(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def literal(value: pl.Expr, column: Column, dtype: pl.DataType) -> pl.Expr:
    """A String expression, never null: ``NULL`` where the value is null."""
    return _literal(value, column, dtype).fill_null(NULL)


def _literal(  # noqa: C901, PLR0911, PLR0912 - one line per kind is the clearest table
    value: pl.Expr, column: Column, dtype: pl.DataType
) -> pl.Expr:
    match column.kind:
        case Kind.INTEGER | Kind.UNSIGNED | Kind.YEAR:
            return value.cast(pl.String)
        case Kind.BOOLEAN:
            return value.cast(pl.Int8).cast(pl.String)
        case Kind.DECIMAL if isinstance(dtype, pl.Decimal):
            return value.cast(pl.String)
        case Kind.FLOAT:
            # As text: a bare 0.1 would go through DECIMAL, and -0.0 would lose its sign.
            # Through 64 bits: a FLOAT may stand in a DOUBLE here, where 0.1 is another number.
            return _wrapped(value.cast(pl.Float64).cast(pl.String))
        case Kind.DATE:
            return _wrapped(value.dt.to_string("%Y-%m-%d"))
        case Kind.DATETIME:
            return _wrapped(value.dt.to_string("%Y-%m-%d %H:%M:%S%.6f"))
        case Kind.TIMESTAMP:
            return text(value.str.strip_suffix("Z").str.replace("T", " ", literal=True))
        case Kind.TIME:
            return _time(value)
        case Kind.BYTES:
            return binary(value)
        case Kind.BITS:
            return _bits(value)
        case Kind.GEOMETRY:
            return _geometry(value)
        case Kind.VECTOR:
            numbers = value.cast(pl.List(pl.String)).list.join(",")
            return pl.concat_str(pl.lit("STRING_TO_VECTOR('["), numbers, pl.lit("]')"))
        case _:  # texts, and decimals beyond 38 digits
            return text(value)


def text(value: pl.Expr) -> pl.Expr:
    for raw, escaped in _ESCAPES:
        value = value.str.replace_all(raw, escaped, literal=True)
    return _wrapped(value)


def binary(value: pl.Expr) -> pl.Expr:
    return pl.concat_str(pl.lit("X'"), value.bin.encode("hex"), pl.lit("'"))


def _wrapped(value: pl.Expr) -> pl.Expr:
    return pl.concat_str(pl.lit("'"), value, pl.lit("'"))


def _time(micros: pl.Expr) -> pl.Expr:
    size = micros.abs()
    seconds = size // _MICROS
    two = [(part % 60).cast(pl.String).str.zfill(2) for part in (seconds // 60, seconds)]
    sign = pl.when(micros < 0).then(pl.lit("-")).otherwise(pl.lit(""))
    fraction = (size % _MICROS).cast(pl.String).str.zfill(6)
    hours = (seconds // 3600).cast(pl.String).str.zfill(2)
    return pl.concat_str(
        pl.lit("'"), sign, hours, pl.lit(":"), two[0], pl.lit(":"), two[1],
        pl.lit("."), fraction, pl.lit("'"),
    )  # fmt: skip


def _bits(value: pl.Expr) -> pl.Expr:
    """Little-endian bytes, at most eight, as the number that they are."""
    padded = (value.bin.encode("hex") + "0" * 16).str.slice(0, 16).str.decode("hex")
    return padded.bin.reinterpret(dtype=pl.UInt64, endianness="little").cast(pl.String)


def _geometry(value: pl.Expr) -> pl.Expr:
    """Debezium's WKB has x first, also where the reference system says latitude first."""
    srid = value.struct.field("srid").fill_null(0).cast(pl.String)
    wkb = value.struct.field("wkb").bin.encode("hex")
    return pl.concat_str(
        pl.lit("ST_GeomFromWKB(X'"), wkb, pl.lit("',"), srid, pl.lit(",'axis-order=long-lat')")
    )
