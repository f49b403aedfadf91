"""Every kind of column: from Debezium's bytes into the replica and out again, exactly."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from callsheet.batch import Batch
from callsheet.codec.events import events
from callsheet.event import Op
from callsheet.schema import Column, Kind
from tests.support.batches import Row, a_batch, a_schema, upsert
from tests.support.golden import WIRES, decoder, dialect_of, recording
from tests.support.sql import Opened, Replica, put


def as_read(kind: Kind, value: Any) -> Any:
    """A batch's value in the form in which PyMySQL gives a column of this kind."""
    if value is None:
        return None
    match kind:
        case Kind.DECIMAL:
            return Decimal(value)
        case Kind.TIME:
            return timedelta(microseconds=value)
        case Kind.TIMESTAMP:
            return datetime.fromisoformat(value.removesuffix("Z"))
        case Kind.BOOLEAN:
            return int(value)
        case Kind.BITS:
            return int.from_bytes(value, "little")
        case Kind.JSON:
            return json.loads(value)
        case Kind.GEOMETRY:
            return struct.pack("<I", value["srid"] or 0) + value["wkb"]
        case Kind.VECTOR:
            return struct.pack(f"<{len(value)}f", *value)
        case _:
            return value


def found_as(column: Column, value: Any) -> Any:
    if value is None:
        return None
    match column.kind:
        case Kind.FLOAT if column.source_type == "FLOAT":
            return struct.unpack("<f", struct.pack("<f", value))[0]  # MySQL shows six digits
        case Kind.BITS | Kind.BOOLEAN if isinstance(value, bytes):
            return int.from_bytes(value, "big")
        case Kind.JSON:
            return json.loads(value)
        case _:
            return value


def assert_replicated(replica: Replica, batch: Batch, key: tuple[str, ...]) -> int:
    """The table holds what the last event of each ID says, column by column."""
    columns = {column.name: column for column in batch.schema.columns}
    last: dict[str, Mapping[str, Any] | None] = {}
    for event in sorted(events(batch), key=lambda event: event.position):
        last[event.id] = event.after
    wanted = {
        tuple(row[name] for name in key): {n: as_read(columns[n].kind, v) for n, v in row.items()}
        for row in last.values()
        if row is not None
    }
    found = {
        tuple(row[name] for name in key): {n: found_as(columns[n], v) for n, v in row.items()}
        for row in replica.rows(batch.schema.table)
    }
    assert found == wanted
    return len(found)


@pytest.mark.parametrize("wire", WIRES)
def test_every_mysql_type_from_debeziums_own_bytes(
    wire: str, replica: Replica, opened: Opened
) -> None:
    recorded = recording(wire)
    [batch] = decoder(dialect_of(wire, recorded), None).decode(recorded.messages).batches
    sink = opened()
    snapshot = batch.frame.filter(pl.col("op") == "r").height
    assert snapshot, "the sample has rows of a snapshot"

    for until in range(1, len(batch) + 1):  # after each event, not only after the last
        part = _first(batch, until)
        progress = put(sink, part)
        assert progress.rejections == ()
        assert_replicated(replica, part, ("id", "code"))


def _first(batch: Batch, count: int) -> Batch:
    return Batch(batch.topic, batch.schema, batch.frame.head(count), batch.messages[:count], 1)


POINT = struct.pack("<BIdd", 1, 1, 200.5, -99)
EARTH = struct.pack("<BIdd", 1, 1, 16.4, 48.2)

EXTREMES: dict[str, tuple[Column, list[Any]]] = {
    "tiny": (Column("c", Kind.INTEGER, source_type="TINYINT"), [-128, 127]),
    "tiny_u": (Column("c", Kind.INTEGER, source_type="TINYINT UNSIGNED"), [0, 255]),
    "medium": (Column("c", Kind.INTEGER, source_type="MEDIUMINT"), [-(2**23), 2**23 - 1]),
    "int_u": (Column("c", Kind.INTEGER, source_type="INT UNSIGNED"), [0, 2**32 - 1]),
    "whole": (Column("c", Kind.INTEGER), [-(2**63), 2**63 - 1, 0]),
    "unsigned": (Column("c", Kind.UNSIGNED), [2**64 - 1, 0]),
    "money": (
        Column("c", Kind.DECIMAL, precision=15, scale=2),
        [Decimal("9999999999999.99"), Decimal("-0.01")],
    ),
    "decimal_38": (
        Column("c", Kind.DECIMAL, precision=38, scale=10),
        [Decimal("-1234567890123456789012345678.0123456789")],
    ),
    "decimal_65": (
        Column("c", Kind.DECIMAL, precision=65, scale=30),
        ["-12345678901234567890123456789012345.678901234567890123456789012345"],
    ),
    "double": (Column("c", Kind.FLOAT), [0.1, -0.0, 5e-324, 1.7976931348623157e308, 1e22, 1 / 3]),
    "bit_1": (Column("c", Kind.BOOLEAN, source_type="BIT"), [True, False]),
    "flag": (Column("c", Kind.BOOLEAN), [True, False]),
    "varchar": (
        Column("c", Kind.STRING, source_type="VARCHAR", length=40),
        ["'; DROP TABLE t; -- ", "\\", "\\'", "'", "\x00\x1a\r\n\t%s%%", "é😀", "", " a ", "NULL"],
    ),
    "long_text": (Column("c", Kind.STRING), ["wort " * 300_000]),
    "enum": (Column("c", Kind.ENUM), ["a,b", ""]),
    "set": (Column("c", Kind.SET), ["us,home", ""]),
    "json": (
        Column("c", Kind.JSON),
        ['{"a": [1, 1000.5, null, "é\\\\\\"\'"]}', "[]", "null", '"x"'],
    ),
    "date": (Column("c", Kind.DATE), [date(1, 1, 1), date(9999, 12, 31)]),
    "time": (
        Column("c", Kind.TIME),
        [-3_020_399_000_000, 3_020_399_000_000, -1, 1, 0, 45_296_000_001, -90_061_500_000],
    ),
    "datetime": (
        Column("c", Kind.DATETIME, fraction=6),
        [datetime(9999, 12, 31, 23, 59, 59, 999_999), datetime(1, 1, 1)],  # noqa: DTZ001
    ),
    "datetime_ms": (
        Column("c", Kind.DATETIME, fraction=3),
        [datetime(1969, 12, 31, 23, 59, 59, 125_000)],  # noqa: DTZ001
    ),
    "timestamp": (
        Column("c", Kind.TIMESTAMP),
        ["2038-01-19T03:14:07.499999Z", "1970-01-01T00:00:01Z", "2026-03-29T02:30:00Z"],
    ),
    "year": (Column("c", Kind.YEAR), [1901, 2155, 0]),
    "varbinary": (
        Column("c", Kind.BYTES, source_type="VARBINARY", length=8), [b"\x00\xff\x00", b"", b"'\\"]
    ),
    "blob": (Column("c", Kind.BYTES), [bytes(range(256)) * 400]),
    "bits": (Column("c", Kind.BITS, length=12), [b"\x01\x0a", b"\x00\x00", b"\xff\x0f"]),
    "bits_64": (Column("c", Kind.BITS, length=64), [b"\xff" * 8, b"\x01"]),
    "geometry": (
        Column("c", Kind.GEOMETRY),
        [{"wkb": POINT, "srid": 0}, {"wkb": EARTH, "srid": 4326}, {"wkb": POINT, "srid": None}],
    ),
    "vector": (Column("c", Kind.VECTOR), [[0.1, -2.0, 3e-30], [1.0]]),
}  # fmt: skip


@pytest.mark.parametrize("name", EXTREMES)
def test_extremes_come_back_exactly(name: str, replica: Replica, opened: Opened) -> None:
    column, values = EXTREMES[name]
    rows = [upsert(n, c=value) for n, value in enumerate([*values, None])]
    batch = a_batch(rows, a_schema(column))
    progress = put(opened(), batch)
    assert progress.rejections == ()
    assert_replicated(replica, batch, ("id",))


KEYS: dict[str, tuple[Column, list[tuple[str, Any]]]] = {
    "unsigned": (Column("id", Kind.UNSIGNED), [(str(2**64 - 1), 2**64 - 1), ("0", 0)]),
    "decimal": (
        Column("id", Kind.DECIMAL, precision=6, scale=2),
        [("1.50", Decimal("1.50")), ("-0.01", Decimal("-0.01"))],
    ),
    "date": (Column("id", Kind.DATE), [("2026-01-02", date(2026, 1, 2))]),
    "datetime": (
        Column("id", Kind.DATETIME),
        [("2026-01-02T03:04:05.000006", datetime(2026, 1, 2, 3, 4, 5, 6))],  # noqa: DTZ001
    ),
    "timestamp": (Column("id", Kind.TIMESTAMP), [("2026-01-02T03:04:05Z",) * 2]),
    "time": (Column("id", Kind.TIME), [("-1000001", -1_000_001), ("5", 5)]),
    "bytes": (
        Column("id", Kind.BYTES, source_type="BINARY", length=4), [("00ff0000", b"\x00\xff\0\0")]
    ),
    "boolean": (Column("id", Kind.BOOLEAN), [("true", True), ("false", False)]),
    "enum": (Column("id", Kind.ENUM), [("a%7Cb", "a|b"), ("%-", "")]),
    "text": (Column("id", Kind.STRING, source_type="VARCHAR", length=700), [("x" * 700,) * 2]),
}  # fmt: skip


@pytest.mark.parametrize("name", KEYS)
def test_a_key_of_any_kind_is_upserted_and_deleted(
    name: str, replica: Replica, opened: Opened
) -> None:
    column, values = KEYS[name]
    schema = a_schema(column, Column("name", Kind.STRING))
    rows = [Row(Op.CREATE, text, {"id": value, "name": "a"}) for text, value in values]
    again = [Row(Op.UPDATE, text, {"id": value, "name": "b"}) for text, value in values]
    sink = opened()
    put(sink, a_batch(rows, schema), a_batch(again, schema, first_offset=50, first_version=50))
    assert [row["name"] for row in replica.rows("titles")] == ["b"] * len(values)
    assert replica.versions("titles").keys() == {text for text, _ in values}
    gone = [Row(Op.DELETE, text) for text, _ in values]
    put(sink, a_batch(gone, schema, first_offset=99, first_version=99))
    assert replica.rows("titles") == []


def test_what_the_types_cannot_hold_is_a_dead_letter(replica: Replica, opened: Opened) -> None:
    schema = a_schema(
        Column("f", Kind.FLOAT), Column("t", Kind.TIME), Column("j", Kind.JSON),
        Column("s", Kind.STRING, source_type="VARCHAR", length=3),
    )  # fmt: skip
    rows = [
        upsert(1, f=float("nan")), upsert(2, f=float("inf")), upsert(3, t=2**62),
        upsert(4, j="{"), upsert(5, s="four"), upsert(6, f=1.5, t=1, j="{}", s="abc"),
    ]  # fmt: skip
    progress = put(opened(), a_batch(rows, schema))
    told = {r.offset: (r.reason.value, r.detail) for r in progress.rejections}
    assert told == {
        0: ("unrepresentable", "f: MySQL has no NaN and no infinity"),
        1: ("unrepresentable", "f: MySQL has no NaN and no infinity"),
        2: ("unrepresentable", "t: MySQL's TIME ends at 838:59:59"),
        3: ("rejected", "MySQL error 3140 in column j"),
        4: ("rejected", "MySQL error 1406 in column s"),
    }
    assert [row["id"] for row in replica.rows("titles")] == [6]
    assert replica.versions("titles").keys() == {"6"}, "what was refused may be redriven"
