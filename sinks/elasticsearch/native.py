"""A batch to bulk lines by the native module: the quickest way, for what it surely writes right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol
from zlib import crc32

import orjson
import polars as pl

from callsheet.batch import Batch
from callsheet.codec.columnar import DecodedColumns, NativeColumns, NativeModule
from callsheet.schema import Column, Kind, TableSchema
from sinks.elasticsearch import values
from sinks.elasticsearch.fields import META

_READ: Final = ["op", "id", "ts_us", "version", "after"]
"""Columns that the lines are made of: handing over the others costs more than a few rows do."""


def lane_of(identifier: str, lanes: int) -> int:
    """The same for an ID whoever renders its rows: else two requests in flight might have it."""
    return crc32(identifier.encode()) % lanes


class NativeLines(Protocol):
    """One operation per ID: of its rows the one with the highest version."""

    def __len__(self) -> int:
        """How many rows are written."""
        ...

    def pieces(self, lanes: int, most_bytes: int) -> Sequence[tuple[int, Sequence[int], bytes]]:
        """(lane, places in the batch, body): by lane, each lane's in the order of the batch, none
        of more than ``most_bytes`` unless a row is. An ID's lane is :func:`lane_of` it.
        """
        ...


class NativePlan(Protocol):
    """For one schema version and one alias."""

    def lines(self, rows: pl.DataFrame | NativeColumns, deleted_at: str) -> NativeLines | None:
        """Of :func:`rows_of`. None where a row needs a look of its own: it may be one that JSON
        cannot hold.
        """
        ...


def rows_of(batch: Batch) -> pl.DataFrame | NativeColumns:
    """What the native module reads of a batch; its own columns it takes as they are."""
    if isinstance(batch.columns, DecodedColumns):
        return batch.columns.native
    return batch.frame[_READ]


def native_plan(
    native: NativeModule | None, schema: TableSchema, alias: str, images: pl.DataType
) -> NativePlan | None:
    """None without the module, or if a column is of a kind that it does not write."""
    make = getattr(native, "Bulk", None)
    members = [_member(column, images) for column in schema.columns]
    if make is None or None in members:
        return None
    plan = {
        "action": f'{{"index":{{"_index":{_quoted(alias)},"_id":',
        "document": f'{{{_quoted(META)}:{{"ts":"',
        "members": members,
        "longest_id": values.LONGEST_ID,
    }
    made: NativePlan = make(orjson.dumps(plan).decode())
    return made


def _member(column: Column, images: pl.DataType) -> dict[str, Any] | None:
    form = _FORMS.get(column.kind)
    if column.kind in {Kind.DATETIME, Kind.TIME}:
        form = {column.kind.value: column.fraction}
    elif column.kind is Kind.FLOAT:
        # Only of 64 bits is every shortest text the same, whoever writes it.
        form = "double" if _holds_doubles(images, column.name) else None
    if form is None:
        return None
    return {"column": column.name, "key": f",{_quoted(column.name)}:", "form": form}


def _holds_doubles(images: pl.DataType, name: str) -> bool:
    return isinstance(images, pl.Struct) and any(
        field.name == name and field.dtype == pl.Float64 for field in images.fields
    )


def _quoted(text: str) -> str:
    return orjson.dumps(text).decode()


_FORMS: Final[dict[Kind, Any]] = {
    Kind.INTEGER: "integer",
    Kind.UNSIGNED: "integer",
    Kind.YEAR: "integer",
    Kind.BOOLEAN: "boolean",
    Kind.DECIMAL: "decimal",
    Kind.STRING: "text",
    Kind.ENUM: "text",
    Kind.TIMESTAMP: "text",
    Kind.SET: "members",
    Kind.DATE: "date",
    Kind.BYTES: "base64",
    Kind.BITS: "base64",
    Kind.JSON: "object",
}
