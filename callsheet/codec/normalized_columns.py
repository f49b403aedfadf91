"""Our own events out of a batch's columns: the way back of ``normalized_plan``.

The same bytes as :meth:`NormalizedCodec.encode` writes row by row, which stays the judge of what an
event is, serves where the native module is missing, and words why a row cannot be written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import polars as pl

from callsheet.batch import Batch
from callsheet.codec.columnar import NativeModule
from callsheet.codec.events import event_of, uuids
from callsheet.codec.normalized import NormalizedCodec
from callsheet.codec.normalized_schema import ORIGIN, unscaled
from callsheet.errors import PoisonRecordError, Reason
from callsheet.schema import Column, Kind, TableSchema

_FORMS: Final[Mapping[Kind, str]] = {
    Kind.INTEGER: "long",
    Kind.FLOAT: "double",
    Kind.BOOLEAN: "boolean",
    Kind.STRING: "string",
    Kind.ENUM: "string",
    Kind.SET: "string",
    Kind.JSON: "string",
    Kind.TIMESTAMP: "string",
    Kind.DATE: "int",
    Kind.TIME: "long",
    Kind.DATETIME: "long",
    Kind.YEAR: "int",
    Kind.BYTES: "bytes",
    Kind.BITS: "bytes",
    Kind.VECTOR: "floats",
}
_MOST_DIGITS: Final = 38
"""Of a decimal column; a longer one is text in a batch."""

Node = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Encoded:
    """One framed value per row of the batch; empty where ``refused`` says why, by row."""

    values: Sequence[bytes]
    uuids: pl.Series
    refused: Mapping[int, PoisonRecordError]


class EventEncoder:
    """Writes the batches of one source topic and one table schema.

    Args:
        written: the schema that is registered; it has the batch's columns, and may let more of
            them be null.
        native: the native module; None, or one without an encoder: the row path alone.
    """

    def __init__(
        self, topic: str, written: TableSchema, schema_id: int, native: NativeModule | None
    ) -> None:
        self._topic, self._codec = topic, NormalizedCodec(written, schema_id)
        self._wide = [c.name for c in written.columns if _is_wide(c)]
        self._scales = {c.name: c.scale or 0 for c in written.columns}
        make = getattr(native, "Encoder", None)
        self._native = None if make is None else make(_plan(topic, written, schema_id))

    def encode(self, batch: Batch) -> Encoded:
        identities = uuids(batch)
        values, doubtful = [b""] * len(batch), list(range(len(batch)))
        if self._native is not None:
            values, whys = self._native.encode(self._prepared(batch.frame, identities))
            doubtful = [row for row, _ in whys]
        refused = self._by_rows(batch, doubtful, values)
        return Encoded(values, identities, refused)

    def _by_rows(
        self, batch: Batch, rows: Sequence[int], values: list[bytes]
    ) -> dict[int, PoisonRecordError]:
        refused: dict[int, PoisonRecordError] = {}
        for row in rows:
            event = event_of(self._topic, batch.schema, batch.frame.row(row, named=True))
            try:
                values[row] = self._codec.encode(event)
            except PoisonRecordError as fault:
                refused[row] = fault
            except (TypeError, ValueError, OverflowError) as fault:  # fastavro's own
                refused[row] = PoisonRecordError(
                    Reason.UNREPRESENTABLE, f"a value does not fit its column: {_kind(fault)}"
                )
        return refused

    def _prepared(self, frame: pl.DataFrame, identities: pl.Series) -> pl.DataFrame:
        """What the native encoder cannot make itself; the frame's columns stay where they are."""
        added: list[pl.Series | pl.Expr] = [identities, pl.col("server_id").fill_null(0)]
        if self._wide:
            added += [self._narrowed(frame[image]) for image in ("before", "after")]
        return frame.with_columns(added).rechunk()

    def _narrowed(self, image: pl.Series) -> pl.Series:
        parts = image.struct.unnest()
        wide = [
            pl.Series(
                name,
                [None if v is None else unscaled(Decimal(v), self._scales[name]) for v in part],
                pl.Binary,
            )
            for name in self._wide
            for part in (parts[name],)
        ]
        whole = pl.struct(parts.with_columns(wide).get_columns())
        present = image.is_not_null()
        return pl.select(pl.when(present).then(whole).otherwise(None).alias(image.name)).to_series()


def _kind(fault: Exception) -> str:
    """Never the fault's text: it may quote the value."""
    return type(fault).__name__


def _plan(topic: str, schema: TableSchema, schema_id: int) -> str:
    constants = {
        "source": schema.source,
        "database": schema.database,
        "table": schema.table,
        "topic": topic,
    }
    origin = [
        {"constant": constants[name]} if name in constants else _part(name, kind)
        for name, kind in ORIGIN.items()
    ]
    position = [_part(name, kind) for name, kind in _POSITION.items()]
    images = [_image(name, schema) for name in ("before", "after")]
    fields = [
        *(_cell(name, "string") for name in ("uuid", "op", "id")),
        _cell("ts_us", "long"),
        *position,
        *images,
        *origin,
    ]
    return json.dumps({"schema_id": schema_id, "fields": fields})


_POSITION: Final = {"version": "long", "file": "string", "pos": "long", "row": "long"}


def _part(name: str, kind: Any) -> Node:
    return _cell(name, kind[1], nullable=True) if isinstance(kind, list) else _cell(name, kind)


def _image(name: str, schema: TableSchema) -> Node:
    fields = [_column(column) for column in schema.columns]
    return {"record": {"column": name, "nullable": True, "fields": fields}}


def _column(column: Column) -> Node:
    name, nullable = column.name, column.nullable
    if column.kind is Kind.GEOMETRY:
        parts = [_cell("wkb", "bytes", nullable=True), _cell("srid", "int", nullable=True)]
        return {"record": {"column": name, "nullable": nullable, "fields": parts}}
    if column.kind is Kind.UNSIGNED:
        return _cell(name, {"decimal": 0}, nullable=nullable)
    if column.kind is Kind.DECIMAL and not _is_wide(column):
        return _cell(name, {"decimal": column.scale or 0}, nullable=nullable)
    return _cell(name, _FORMS.get(column.kind, "bytes"), nullable=nullable)


def _is_wide(column: Column) -> bool:
    return column.kind is Kind.DECIMAL and (column.precision or 0) > _MOST_DIGITS


def _cell(column: str, form: Any, *, nullable: bool = False) -> Node:
    return {"cell": {"column": column, "nullable": nullable, "form": form}}
