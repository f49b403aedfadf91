"""A batch to bulk lines in columns: no row becomes a Python object but what has no expression."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
import polars as pl

from callsheet.errors import PoisonRecordError
from callsheet.event import Op
from callsheet.schema import Column, Kind, TableSchema
from sinks.elasticsearch import values
from sinks.elasticsearch.fields import META

_TEXTUAL: Final[dict[Kind, Callable[[Any], str]]] = {
    Kind.JSON: values.embedded_text,
    Kind.GEOMETRY: lambda value: orjson.dumps(values.shape(value)).decode(),
}
"""Kinds that become JSON text value by value, because JSON cannot be embedded by an expression."""


class ColumnPlan:
    """The expressions of one schema version and one alias; made once, used for every batch."""

    def __init__(self, schema: TableSchema, alias: str) -> None:
        self._alias = orjson.dumps(alias).decode()
        plain = [column for column in schema.columns if column.kind not in _TEXTUAL]
        self._texts = [column for column in schema.columns if column.kind in _TEXTUAL]
        self._floats = [c for c in plain if c.kind in {Kind.FLOAT, Kind.VECTOR}]
        is_whole = not self._texts and not any(c.kind in _EXPRESSIONS for c in plain)
        self._plain = _whole() if is_whole else _encoded(plain)

    def lines(self, frame: pl.DataFrame, deleted_at: str) -> pl.Series | None:
        """Two lines per row, as one string; None where only a row-by-row look can tell what is
        wrong. Never fewer lines than rows: a null in a concatenation would swallow its row.
        """
        facts = self._facts(frame)
        if facts.is_doubtful:
            return None
        texts = self._embedded(frame)
        if texts is None:
            return None
        line = self._line(frame, facts, texts, deleted_at)
        lines = frame.select(line).to_series()
        return None if lines.null_count() else lines

    def _facts(self, frame: pl.DataFrame) -> _Facts:
        """All in one query: a query costs as much as a hundred rows."""
        live = (pl.col("op") != Op.DELETE.value) & pl.col("after").is_null()
        # Beyond its range the formatting of an instant would not refuse but panic.
        is_instant = pl.col("ts_us").is_between(values.EARLIEST_US, values.LATEST_US)
        checks = [live.any(), (~is_instant).any()]
        for column in self._floats:
            value = pl.col("after").struct.field(column.name)
            if column.kind is Kind.VECTOR:
                value = value.list.explode(keep_nulls=False, empty_as_null=False)
            checks.append((~value.is_finite()).any())
        return _Facts(
            *frame.select(
                pl.any_horizontal(checks).alias("is_doubtful"),
                (pl.col("id").str.len_bytes() > values.LONGEST_ID).any().alias("has_long"),
                (pl.col("op") == Op.DELETE.value).any().alias("has_delete"),
            ).row(0)
        )

    def _embedded(self, frame: pl.DataFrame) -> _Texts | None:
        """What the textual columns become; None when one value is no JSON."""
        if not self._texts:
            return _Texts({}, None)
        names = [column.name for column in self._texts]
        cells = frame.select(pl.col("after").struct.field(*names))
        found: dict[str, pl.Series] = {}
        marks = [""] * len(frame)
        for column in self._texts:
            convert, name = _TEXTUAL[column.kind], column.name
            try:
                texts = [
                    "null" if cell is None else convert(cell)
                    for cell in cells.get_column(name).to_list()
                ]
            except PoisonRecordError:
                return None
            found[name] = pl.Series(name, texts, dtype=pl.String)
            if column.kind is Kind.JSON:
                _mark_wrapped(marks, name, cells.get_column(name).to_list())
        if not any(marks):
            return _Texts(found, None)
        wrapped = [f',"wrapped":[{mark}]' if mark else "" for mark in marks]
        return _Texts(found, pl.Series(wrapped))

    def _line(self, frame: pl.DataFrame, facts: _Facts, texts: _Texts, deleted_at: str) -> pl.Expr:
        names = pl.col("id")
        if facts.has_long:
            names = pl.lit(frame["id"].map_elements(values.document_id, pl.String))
        document = [pl.lit("},"), self._plain]
        for name, series in texts.cells.items():
            document += [pl.lit(f",{orjson.dumps(name).decode()}:"), pl.lit(series)]
        body = pl.concat_str(*document, pl.lit("}\n"))
        if facts.has_delete:
            tombstone = pl.lit(f',"deleted":true,"deleted_at":"{deleted_at}"}}}}\n')
            body = pl.when(pl.col("op") == Op.DELETE.value).then(tombstone).otherwise(body)
        return pl.concat_str(
            pl.lit(f'{{"index":{{"_index":{self._alias},"_id":'),
            _quoted(names),
            pl.lit(',"version_type":"external","version":'),
            pl.col("version").cast(pl.String),
            pl.lit(f'}}}}\n{{"{META}":{{"ts":"'),
            pl.from_epoch("ts_us", time_unit="us").dt.to_string("%Y-%m-%dT%H:%M:%S%.6fZ"),
            pl.lit('","version":'),
            pl.col("version").cast(pl.String),
            *_extras(facts, texts),
            body,
        )


@dataclass(frozen=True, slots=True)
class _Facts:
    """Of a whole batch: what most have not, and the expressions of most do without."""

    is_doubtful: bool
    has_long: bool
    has_delete: bool


@dataclass(frozen=True, slots=True)
class _Texts:
    """JSON of the textual columns, and per row which of them were wrapped in an object."""

    cells: Mapping[str, pl.Series]
    wrapped: pl.Series | None


def _mark_wrapped(marks: list[str], name: str, cells: Sequence[str | None]) -> None:
    quoted = orjson.dumps(name).decode()
    for row, cell in enumerate(cells):
        if cell is not None and not values.is_object(cell):
            marks[row] += f",{quoted}" if marks[row] else quoted


def _extras(facts: _Facts, texts: _Texts) -> list[pl.Expr]:
    """What few rows have beside their time: the ID that ``_id`` could not hold, and which columns
    were wrapped.
    """
    extras = []
    if facts.has_long:
        length = pl.col("id").str.len_bytes()
        full = pl.concat_str(pl.lit(',"id":'), _quoted(pl.col("id")))
        extras.append(pl.when(length > values.LONGEST_ID).then(full).otherwise(pl.lit("")))
    if texts.wrapped is not None:
        extras.append(pl.lit(texts.wrapped))
    return extras


def _quoted(text: pl.Expr) -> pl.Expr:
    """A JSON string: escaped by the encoder itself, then taken out of its object."""
    encoded = pl.struct(text.alias("s")).struct.json_encode()
    return encoded.str.strip_prefix('{"s":').str.strip_suffix("}")


def _whole() -> pl.Expr:
    return _bare(pl.col("after").struct.json_encode())


def _encoded(columns: list[Column]) -> pl.Expr:
    """Members of the document's object without the braces. A key column is always among them."""
    cells = [_EXPRESSIONS.get(c.kind, _as_is)(_cell(c), c).alias(c.name) for c in columns]
    return _bare(pl.struct(cells).struct.json_encode())


def _bare(encoded: pl.Expr) -> pl.Expr:
    return encoded.str.strip_prefix("{").str.strip_suffix("}")


def _cell(column: Column) -> pl.Expr:
    return pl.col("after").struct.field(column.name)


def _as_is(cell: pl.Expr, _: Column) -> pl.Expr:
    return cell


def _members(cell: pl.Expr, _: Column) -> pl.Expr:
    none = pl.lit([], dtype=pl.List(pl.String))
    return pl.when(cell == "").then(none).otherwise(cell.str.split(","))


def _base64(cell: pl.Expr, _: Column) -> pl.Expr:
    return cell.bin.encode("base64")


def _datetime(cell: pl.Expr, column: Column) -> pl.Expr:
    return _fraction(cell.dt.to_string("%Y-%m-%dT%H:%M:%S%.6f"), column.fraction)


def _time(cell: pl.Expr, column: Column) -> pl.Expr:
    size = cell.abs()
    seconds = size // 1_000_000
    text = pl.concat_str(
        pl.when(cell < 0).then(pl.lit("-")).otherwise(pl.lit("")),
        (seconds // 3600).cast(pl.String).str.zfill(2),
        pl.lit(":"),
        (seconds // 60 % 60).cast(pl.String).str.zfill(2),
        pl.lit(":"),
        (seconds % 60).cast(pl.String).str.zfill(2),
        pl.lit("."),
        (size % 1_000_000).cast(pl.String).str.zfill(6),
    )
    return _fraction(text, column.fraction)


def _fraction(text: pl.Expr, digits: int | None) -> pl.Expr:
    """From six digits to what :func:`values.time_text` says."""
    if digits is None:
        return text.str.strip_suffix(".000000")
    if digits >= 6:
        return text  # head(0) would be an empty string
    return text.str.head(-6 + digits) if digits else text.str.head(-7)


_EXPRESSIONS: Final[dict[Kind, Callable[[pl.Expr, Column], pl.Expr]]] = {
    Kind.SET: _members,
    Kind.BYTES: _base64,
    Kind.BITS: _base64,
    Kind.DATETIME: _datetime,
    Kind.TIME: _time,
}
"""Kinds that the JSON encoder does not already write as :mod:`values` says."""
