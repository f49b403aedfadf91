"""All changes of one row, oldest first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import polars as pl

from callsheet.event import Op
from sinks.hive.archive import AuditTable, image_columns
from sinks.hive.schemas import StoredSchema

_HAS_BEFORE: Final = frozenset({Op.UPDATE.value, Op.DELETE.value})
_HAS_AFTER: Final = frozenset({Op.CREATE.value, Op.READ.value, Op.UPDATE.value})


@dataclass(frozen=True, slots=True)
class Change:
    """``before``, ``after``: by the source's column names; None: the change has no such image."""

    uuid: str
    type: Op
    id: str
    ts: datetime
    version: int
    transaction_id: str | None
    source_file: str | None
    source_pos: int | None
    kafka_topic: str
    kafka_partition: int
    kafka_offset: int
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None

    def differences(self) -> dict[str, tuple[Any, Any]]:
        """Columns whose value the change made another: old and new."""
        before, after = self.before or {}, self.after or {}
        names = dict.fromkeys([*before, *after])
        pairs = {name: (before.get(name), after.get(name)) for name in names}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def history(table: AuditTable, identifier: str) -> list[Change]:
    """In the source's order. A change that the source told twice is here once.

    Raises:
        FatalError: the log is torn, or a file is gone or damaged.
    """
    found: dict[str, Change] = {}
    for file in table.files():
        rows = table.read(file, where=pl.col("id") == identifier)
        for row in rows.iter_rows(named=True):
            change = _change(row, table.schema(file))
            found.setdefault(change.uuid, change)
    return sorted(found.values(), key=lambda each: (each.version, each.kafka_offset))


def _change(row: Mapping[str, Any], schema: StoredSchema) -> Change:
    kind = row["type"]
    return Change(
        uuid=row["uuid"],
        type=Op(kind),
        id=row["id"],
        ts=row["ts"].replace(tzinfo=UTC),
        version=row["version"],
        transaction_id=row["transaction_id"],
        source_file=row["source_file"],
        source_pos=row["source_pos"],
        kafka_topic=row["kafka_topic"],
        kafka_partition=row["kafka_partition"],
        kafka_offset=row["kafka_offset"],
        before=_image(row, schema, "before") if kind in _HAS_BEFORE else None,
        after=_image(row, schema, "after") if kind in _HAS_AFTER else None,
    )


def _image(row: Mapping[str, Any], schema: StoredSchema, image: str) -> dict[str, Any]:
    return {each.name: row[f"{image}_{each.stored}"] for each in image_columns(schema)}
