"""Rows of a batch as records of a topic: key, value, headers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from callsheet.batch import Batch, Partition
from callsheet.errors import Reason
from callsheet.event import Op
from callsheet.ports import OutgoingRecord
from callsheet.sink import Rejection
from sinks.kafka.catalog import Target

VERSION: Final = "callsheet-version"
_DELETE: Final = Op.DELETE.value.encode()
_OVERHEAD_BYTES: Final = 512
"""Of headers and framing, generously."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """The records in log order; ``rows[i]`` is the row of the batch that gave record ``i``."""

    records: Sequence[OutgoingRecord]
    rows: Sequence[int]
    rejections: Sequence[Rejection]


def render(batch: Batch, target: Target, *, most_bytes: int, has_tombstones: bool) -> Rendered:
    """``has_tombstones``: a delete has no value, as a compacted topic wants it."""
    encoded = target.encoder.encode(batch)
    records: list[OutgoingRecord] = []
    rows: list[int] = []
    rejections = [
        rejection(batch, row, fault.reason, fault.detail) for row, fault in encoded.refused.items()
    ]
    for row, (value, (key, headers)) in enumerate(
        zip(encoded.values, _keys_and_headers(batch, target, encoded.uuids), strict=True)
    ):
        if row in encoded.refused:
            continue
        if len(value) + len(key) > most_bytes - _OVERHEAD_BYTES:
            detail = f"{len(value)} bytes, and {target.topic} takes {most_bytes}"
            rejections.append(rejection(batch, row, Reason.OVERSIZE, detail))
            continue
        is_tombstone = has_tombstones and headers[0][1] == _DELETE
        records.append((key, None if is_tombstone else value, headers))
        rows.append(row)
    return Rendered(records, rows, rejections)


def rejection(batch: Batch, row: int, reason: Reason, detail: str) -> Rejection:
    message = batch.messages[row]
    place = Partition(batch.topic, message.partition())
    return Rejection(place, message.offset(), reason, detail)


def _keys_and_headers(
    batch: Batch, target: Target, uuids: pl.Series
) -> Iterator[tuple[bytes, list[tuple[str, bytes | None]]]]:
    """The headers are for those who filter without decoding; docs/kafka.md lists them."""
    table, schema = target.table.encode(), str(target.schema_id).encode()
    columns = batch.frame.select(
        pl.col("id").cast(pl.Binary),
        pl.col("op").cast(pl.Binary),
        pl.col("ts_us", "version").cast(pl.String).cast(pl.Binary),
    )
    identities = uuids.cast(pl.Binary).to_list()
    for (key, op, ts, version), uuid in zip(columns.iter_rows(), identities, strict=True):
        yield (
            key,
            [
                ("callsheet-type", op),
                ("callsheet-table", table),
                ("callsheet-uuid", uuid),
                ("callsheet-ts", ts),
                (VERSION, version),
                ("callsheet-schema", schema),
            ],
        )
