"""The statements that carry rows, and what a value must not be to stand in one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import polars as pl

from callsheet.schema import Column, Kind, TableSchema
from sinks.sql.dialect import Statement
from sinks.sql.mysql.literals import binary, literal, quoted_name
from sinks.sql.mysql.tables import names

_LONGEST_TIME: Final = 3_020_399_999_999
"""838:59:59.999999; the server takes no fraction at the very end, and says so itself."""


def refusals(schema: TableSchema, rows: pl.DataFrame) -> pl.Series:
    reasons = [
        pl.when(bad).then(pl.lit(f"{column.name}: {why}"))
        for column in schema.columns
        for bad, why in _bad(column)
    ]
    if not reasons:
        return pl.Series("refusal", [None] * rows.height, dtype=pl.String)
    return rows.select(pl.coalesce(reasons).alias("refusal"))["refusal"]


def _bad(column: Column) -> list[tuple[pl.Expr, str]]:
    value = pl.col(column.name)
    match column.kind:
        case Kind.FLOAT:
            return [(~value.is_finite(), "MySQL has no NaN and no infinity")]
        case Kind.TIME:
            return [(value.abs() > _LONGEST_TIME, "MySQL's TIME ends at 838:59:59")]
        case Kind.BITS:
            return [(value.bin.size() > 8, "MySQL's BIT ends at 64 bits")]
        case Kind.VECTOR:
            return [
                (value.list.eval(~pl.element().is_finite()).list.any(), "NaN or infinity"),
                (value.list.eval(pl.element().is_null()).list.any(), "a null in a vector"),
            ]
        case _:
            return []


def upserts(table: str, schema: TableSchema, rows: pl.DataFrame, cut: Cut) -> Iterator[Statement]:
    columns = [column.name for column in schema.columns]
    others = [name for name in columns if name not in schema.key] or list(schema.key)
    updates = ", ".join(f"{quoted_name(name)} = fresh.{quoted_name(name)}" for name in others)
    head = f"INSERT INTO {quoted_name(table)} ({names(columns)}) VALUES "  # noqa: S608 - quoted
    tail = f" AS fresh ON DUPLICATE KEY UPDATE {updates}"
    for first, values in cut(tuples(schema, columns, rows)):
        yield Statement(head + ",".join(values) + tail, first, len(values))


def deletes(table: str, schema: TableSchema, keys: pl.DataFrame, cut: Cut) -> Iterator[Statement]:
    # By the key, whatever the optimizer thinks of a small table: a scan would wait for every row
    # that another worker has locked.
    head = (
        f"DELETE /*+ INDEX(gone PRIMARY) */ FROM {quoted_name(table)} AS gone "
        f"WHERE ({names(schema.key)}) IN ("
    )
    for first, values in cut(tuples(schema, list(schema.key), keys)):
        yield Statement(head + ",".join(values) + ")", first, len(values))


def tuples(schema: TableSchema, columns: list[str], rows: pl.DataFrame) -> pl.Series:
    """Per row ``(1,'a',NULL)``."""
    types: dict[str, Any] = dict(rows.schema)
    cells = [literal(pl.col(name), schema.column(name), types[name]) for name in columns]
    return rows.select(_parenthesised(cells))["row"]


def _parenthesised(cells: list[pl.Expr]) -> pl.Expr:
    inner = pl.concat_str(cells, separator=",")
    return pl.concat_str(pl.lit("("), inner, pl.lit(")")).alias("row")


Cut = Callable[[pl.Series], Iterator[tuple[int, list[str]]]]
"""Rows of text in pieces that one statement may hold, each with its first row's number."""


def cutting(most_rows: int, most_bytes: int) -> Cut:
    def cut(rows: pl.Series) -> Iterator[tuple[int, list[str]]]:
        sizes, texts = rows.str.len_bytes().to_list(), rows.to_list()
        first, size = 0, 0
        for at, own in enumerate(sizes):
            if at > first and (at - first == most_rows or size + own > most_bytes):
                yield first, texts[first:at]
                first, size = at, 0
            size += own
        if first < len(texts):
            yield first, texts[first:]

    return cut


# --- versions -----------------------------------------------------------------------------------


def known_versions(table: str, ids: pl.Series, cut: Cut) -> Iterator[str]:
    head = (
        f"SELECT id, version FROM {quoted_name(table)} FORCE INDEX (PRIMARY) "  # noqa: S608
        "WHERE id IN ("
    )
    for _, texts in cut(ids.to_frame("id").select(binary(pl.col("id")).alias("id"))["id"]):
        yield head + ",".join(texts) + ") FOR UPDATE"


def note_versions(table: str, rows: pl.DataFrame, cut: Cut, *, are_new: bool) -> Iterator[str]:
    columns = ("version", "is_deleted", "kafka_partition", "kafka_offset")
    cells = [
        binary(pl.col("id")),
        *(pl.col(name).cast(pl.Int64).cast(pl.String) for name in columns),
    ]
    cells.append(binary(pl.col("long_id")).fill_null("NULL"))
    every = ("id", *columns, "long_id")
    head = f"INSERT INTO {quoted_name(table)} ({names(every)}) VALUES "  # noqa: S608 - quoted
    updates = ", ".join(f"{name} = fresh.{name}" for name in columns)
    tail = "" if are_new else f" AS fresh ON DUPLICATE KEY UPDATE {updates}"
    for _, values in cut(rows.select(_parenthesised(cells))["row"]):
        yield head + ",".join(values) + tail
