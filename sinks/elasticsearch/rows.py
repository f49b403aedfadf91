"""A batch to bulk lines row by row: quicker for a few rows, and it isolates the one that is bad."""

from __future__ import annotations

from typing import Any

import orjson
import polars as pl

from callsheet.errors import PoisonRecordError, Reason
from callsheet.event import Op
from callsheet.schema import Kind, TableSchema
from sinks.elasticsearch import values
from sinks.elasticsearch.fields import META

_NEEDED = ("op", "id", "ts_us", "version", "after")


class RowPlan:
    """What to do with each column of one schema version."""

    def __init__(self, schema: TableSchema, alias: str, images: pl.DataType) -> None:
        singles = _single_floats(images)
        self._cells = [
            (c.name, values.renderer(c, is_single=c.name in singles)) for c in schema.columns
        ]
        self._jsons = [c.name for c in schema.columns if c.kind is Kind.JSON]
        self._head = b'{"index":{"_index":' + orjson.dumps(alias) + b',"_id":'

    def lines(self, frame: pl.DataFrame, deleted_at: str) -> list[bytes | PoisonRecordError]:
        """Per row its two lines, or what is wrong with it."""
        found: list[bytes | PoisonRecordError] = []
        columns = [frame[name].to_list() for name in _NEEDED]
        for op, identifier, ts_us, version, after in zip(*columns, strict=True):
            try:
                document = self._document(op, identifier, ts_us, after, deleted_at)
            except PoisonRecordError as error:
                found.append(error)
                continue
            found.append(
                b'%b%b,"version_type":"external","version":%d}}\n%b\n'
                % (
                    self._head,
                    orjson.dumps(values.document_id(identifier)),
                    version,
                    orjson.dumps(document),
                )
            )
        return found

    def _document(
        self, op: str, identifier: str, ts_us: int, after: dict[str, Any] | None, deleted_at: str
    ) -> dict[str, Any]:
        meta: dict[str, Any] = {"ts": values.instant_text(ts_us)}
        if len(identifier) * 4 > values.LONGEST_ID and (
            values.document_id(identifier) != identifier
        ):
            meta["id"] = identifier
        if op == Op.DELETE.value:
            return {META: meta | {"deleted": True, "deleted_at": deleted_at}}
        if after is None:
            raise PoisonRecordError(Reason.SCHEMA_MISMATCH, "a change without the row after it")
        wrapped = [n for n in self._jsons if after[n] is not None and _is_wrapped(after[n])]
        if wrapped:
            meta["wrapped"] = wrapped
        document: dict[str, Any] = {META: meta}
        for name, render in self._cells:
            value = after[name]
            document[name] = value if value is None or render is None else render(value)
        return document


def _is_wrapped(text: str) -> bool:
    return not values.is_object(text)


def _single_floats(images: pl.DataType) -> frozenset[str]:
    if not isinstance(images, pl.Struct):
        return frozenset()
    return frozenset(f.name for f in images.fields if f.dtype == pl.Float32)
