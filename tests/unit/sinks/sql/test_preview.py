from __future__ import annotations

import json
from datetime import date
from decimal import Decimal

from callsheet.ports import SystemClock
from callsheet.schema import Column, Kind
from callsheet.sink import Previewing, SinkContext
from sinks.sql.settings import SqlSettings
from sinks.sql.sink import SqlSink
from tests.support.batches import a_batch, a_schema, delete, upsert


def test_what_would_be_written_is_shown_without_a_server() -> None:
    settings = SqlSettings.model_validate(
        {"url": "mysql+pymysql://nowhere/db", "username": "u", "password": "p",
         "table": "{database}_{table}"}
    )  # fmt: skip
    sink = SqlSink(settings, SinkContext("test", SystemClock()))
    assert isinstance(sink, Previewing)
    schema = a_schema(
        Column("money", Kind.DECIMAL, precision=9, scale=2),
        Column("day", Kind.DATE),
        Column("raw", Kind.BYTES),
    )
    rows = [
        upsert(1, 1, money=Decimal("1.00")),
        upsert(1, 2, money=Decimal("2.10"), day=date(2026, 1, 2), raw=b"\x00\xff"),
        delete(2, 3),
    ]
    shown = [json.loads(line) for line in sink.preview(a_batch(rows, schema))]
    assert shown == [
        {
            "table": "finance_titles", "write": "upsert", "id": "1", "version": 2,
            "row": {"id": 1, "money": "2.10", "day": "2026-01-02", "raw": "0x00ff"},
        },
        {"table": "finance_titles", "write": "delete", "id": "2", "version": 3},
    ]  # fmt: skip
    sink.close()
