"""A batch's frame as the writes it comes to: one per ID, the highest version."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from hashlib import blake2b
from typing import Any, Final

import polars as pl

from callsheet.event import Op, decode_id
from callsheet.schema import Kind, TableSchema

LONGEST_ID: Final = 255
"""Bytes of an ID as the side table holds it."""
_KEPT: Final = 190

_PARSERS: Final[Mapping[Kind, Callable[[str], Any]]] = {
    Kind.INTEGER: int,
    Kind.UNSIGNED: int,
    Kind.YEAR: int,
    Kind.TIME: int,
    Kind.BOOLEAN: "true".__eq__,
    Kind.DATE: date.fromisoformat,
    Kind.DATETIME: datetime.fromisoformat,
    Kind.BYTES: bytes.fromhex,
    Kind.BITS: bytes.fromhex,
}


def latest(frame: pl.DataFrame) -> pl.DataFrame:
    """Of each ID the row with the highest version: a repeat may run backwards."""
    if frame["id"].n_unique() == frame.height:
        return frame
    highest = pl.col("version") == pl.col("version").max().over("id")
    return frame.filter(highest).unique("id", keep="last", maintain_order=True)


def stored_ids(ids: pl.Series) -> pl.DataFrame:
    """``id``: as the side table's key, Binary; ``long_id``: the whole, where that is a hash.

    A canonical ID has no control character, so what is cut meets none that is not.
    """
    raw = ids.cast(pl.Binary)
    if not (ids.str.len_bytes() > LONGEST_ID).any():
        empty = pl.Series("long_id", [None] * len(ids), dtype=pl.Binary)
        return pl.DataFrame({"id": raw, "long_id": empty})
    values: Sequence[bytes] = raw.to_list()
    return pl.DataFrame(
        {
            "id": [_cut(value) for value in values],
            "long_id": [value if len(value) > LONGEST_ID else None for value in values],
        },
        schema={"id": pl.Binary, "long_id": pl.Binary},
    )


def _cut(value: bytes) -> bytes:
    if len(value) <= LONGEST_ID:
        return value
    return value[:_KEPT] + b"\x00" + blake2b(value, digest_size=32).digest()


def images(rows: pl.DataFrame) -> pl.DataFrame:
    return rows["after"].struct.unnest()


def key_values(ids: pl.Series, schema: TableSchema, image: pl.Struct) -> pl.DataFrame:
    """The key columns' values again: a delete need not carry an image."""
    types = {field.name: field.dtype for field in image.fields if field.name in schema.key}
    kinds = [schema.column(name).kind for name in schema.key]
    if len(kinds) == 1 and kinds[0] in {Kind.INTEGER, Kind.UNSIGNED, Kind.YEAR}:
        return ids.cast(types[schema.key[0]]).to_frame(schema.key[0])
    parsers = [_parser(kind, types[name]) for name, kind in zip(schema.key, kinds, strict=True)]
    rows = [
        [parse(part) for parse, part in zip(parsers, decode_id(identifier), strict=True)]
        for identifier in ids.to_list()
    ]
    return pl.DataFrame(rows, {name: types[name] for name in schema.key}, orient="row")


def _parser(kind: Kind, dtype: Any) -> Callable[[str], Any]:
    if kind is Kind.DECIMAL:
        return Decimal if isinstance(dtype, pl.Decimal) else str
    return _PARSERS.get(kind, str)


def is_delete() -> pl.Expr:
    return pl.col("op") == Op.DELETE.value
