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


class RowPlan:
    """What to do with each column of one schema version."""

    def __init__(self, schema: TableSchema, alias: str, images: pl.DataType) -> None:
        singles = _single_floats(images)
        renderers = [
            (c.name, values.renderer(c, is_single=c.name in singles)) for c in schema.columns
        ]
        self._special = [(name, render) for name, render in renderers if render is not None]
        self._jsons = [c.name for c in schema.columns if c.kind is Kind.JSON]
        self._head = b'{"index":{"_index":' + orjson.dumps(alias) + b',"_id":'
        self._meta = orjson.dumps(META)

    def lines(
        self, frame: pl.DataFrame, ids: list[str], versions: list[int], deleted_at: str
    ) -> list[bytes | PoisonRecordError]:
        """Per row its two lines, or what is wrong with it."""
        ops, times, images = (frame.get_column(name).to_list() for name in ("op", "ts_us", "after"))
        found: list[bytes | PoisonRecordError] = []
        for op, identifier, ts_us, version, after in zip(
            ops, ids, times, versions, images, strict=True
        ):
            try:
                meta = b'"ts":"%b","version":%d' % (values.instant_text(ts_us).encode(), version)
                document = self._document(op, identifier, meta, after, deleted_at)
            except PoisonRecordError as error:
                found.append(error)
                continue
            name = orjson.dumps(values.document_id(identifier))
            found.append(
                b'%b%b,"version_type":"external","version":%d}}\n%b\n'
                % (self._head, name, version, document)
            )
        return found

    def _document(
        self, op: str, identifier: str, meta: bytes, after: dict[str, Any] | None, deleted_at: str
    ) -> bytes:
        """``after`` is used up: its values become what orjson can write."""
        if values.document_id(identifier) != identifier:
            meta += b',"id":%b' % orjson.dumps(identifier)
        if op == Op.DELETE.value:
            mark = b'%b,"deleted":true,"deleted_at":"%b"' % (meta, deleted_at.encode())
            return b"{%b:{%b}}" % (self._meta, mark)
        if after is None:
            raise PoisonRecordError(Reason.SCHEMA_MISMATCH, "a change without the row after it")
        if self._jsons:
            wrapped = [n for n in self._jsons if after[n] is not None and _is_wrapped(after[n])]
            meta += b',"wrapped":%b' % orjson.dumps(wrapped) if wrapped else b""
        for name, render in self._special:
            value = after[name]
            if value is not None:
                after[name] = render(value)
        # A key column is always among them, so there is something to follow the comma.
        return b"{%b:{%b},%b" % (self._meta, meta, values.encoded(after)[1:])


def _is_wrapped(text: str) -> bool:
    return not values.is_object(text)


def _single_floats(images: pl.DataType) -> frozenset[str]:
    if not isinstance(images, pl.Struct):
        return frozenset()
    return frozenset(f.name for f in images.fields if f.dtype == pl.Float32)
