"""Rows to columns, for the row path: the same frame, in the same types, as the native decoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from callsheet.batch import FRAME_SCHEMA
from callsheet.codec.envelope import Change
from callsheet.codec.fields import Field, dtype


def frame_of(
    fields: Sequence[Field],
    changes: Sequence[Change],
    partitions: Sequence[int],
    offsets: Sequence[int],
) -> pl.DataFrame:
    """``FRAME_SCHEMA``, ``before`` and ``after``: one row per change, in the order given."""
    rows = [change.columns for change in changes]
    places = {"partition": partitions, "offset": offsets}
    columns = [
        pl.Series(name, places[name] if name in places else [row[name] for row in rows], kind)
        for name, kind in FRAME_SCHEMA.items()
    ]
    return pl.DataFrame(
        [
            *columns,
            image_series("before", fields, [change.before for change in changes]),
            image_series("after", fields, [change.after for change in changes]),
        ]
    )


def image_type(fields: Sequence[Field]) -> pl.Struct:
    """The type of ``before`` and ``after``."""
    return pl.Struct({field.column.name: dtype(field) for field in fields})


def image_series(
    name: str, fields: Sequence[Field], images: Sequence[Mapping[str, Any] | None]
) -> pl.Series:
    """One struct per image; null where there is none.

    Column by column: a struct built from dictionaries would have its types guessed.
    """
    columns = [
        pl.Series(
            field.column.name,
            [None if image is None else image[field.column.name] for image in images],
            dtype(field),
        )
        for field in fields
    ]
    present = pl.Series([image is not None for image in images], dtype=pl.Boolean)
    return pl.select(
        pl.when(present).then(pl.struct(columns)).otherwise(None).alias(name)
    ).to_series()
