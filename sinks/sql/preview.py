"""What would be written, for people: ``callsheet run --dry-run``. Needs no server."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import orjson

from callsheet.batch import Batch
from callsheet.event import Op
from sinks.sql import changes


def lines(batch: Batch, template: str) -> Iterator[bytes]:
    """One line of JSON per row that would travel, in log order: where, what, and its values."""
    schema = batch.schema
    table = template.format(source=schema.source, database=schema.database, table=schema.table)
    for row in changes.latest(batch.frame).iter_rows(named=True):
        is_delete = row["op"] == Op.DELETE.value
        shown: dict[str, Any] = {
            "table": table,
            "write": "delete" if is_delete else "upsert",
            "id": row["id"],
            "version": row["version"],
        }
        if not is_delete:
            shown["row"] = row["after"]
        yield orjson.dumps(shown, default=_plain)


def _plain(value: object) -> str:
    match value:
        case Decimal():
            return format(value, "f")
        case bytes():
            return f"0x{value.hex()}"
        case _:
            return str(value)
