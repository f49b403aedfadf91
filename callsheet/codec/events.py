"""Events one by one, for those who look at single rows; nothing on the way to a sink does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

import polars as pl

from callsheet.batch import Batch
from callsheet.event import (
    Event,
    Op,
    Origin,
    Position,
    event_uuid,
    file_ordinal,
    snapshot_identity,
    stream_identity,
)
from callsheet.schema import TableSchema

_IDENTITY = ("snapshot", "id", "gtid", "file", "pos", "row", "op")


def uuid_of(source: str, topic: str, columns: Mapping[str, Any]) -> UUID:
    """An event's UUID from its frame columns."""
    file, pos = columns["file"], columns["pos"]
    if columns["snapshot"]:
        return event_uuid(snapshot_identity(topic, columns["id"], file, pos))
    return event_uuid(
        stream_identity(source, columns["gtid"], file, pos, row=columns["row"], op=columns["op"])
    )


def uuids(batch: Batch) -> pl.Series:
    """Each row's UUID as text."""
    rows = batch.frame.select(_IDENTITY).iter_rows(named=True)
    texts = [str(uuid_of(batch.schema.source, batch.topic, row)) for row in rows]
    return pl.Series("uuid", texts, pl.String)


def events(batch: Batch) -> Iterator[Event]:
    """The batch row by row, in its order."""
    for row in batch.frame.iter_rows(named=True):
        yield event_of(batch.topic, batch.schema, row)


def event_of(topic: str, schema: TableSchema, row: Mapping[str, Any]) -> Event:
    """One event from a frame's row."""
    ordinal = file_ordinal(row["file"])
    epoch = (row["version"] >> 32) - ordinal
    return Event(
        uuid=uuid_of(schema.source, topic, row),
        op=Op(row["op"]),
        id=row["id"],
        ts_us=row["ts_us"],
        position=Position(epoch, ordinal, row["pos"], row["row"]),
        before=row["before"],
        after=row["after"],
        origin=Origin(
            source=schema.source,
            database=schema.database,
            table=schema.table,
            topic=topic,
            partition=row["partition"],
            offset=row["offset"],
            server_id=row["server_id"] or 0,
            gtid=row["gtid"],
            file=row["file"],
            snapshot=row["snapshot"],
            transaction_id=row["transaction_id"],
            transaction_order=row["transaction_order"],
        ),
    )
