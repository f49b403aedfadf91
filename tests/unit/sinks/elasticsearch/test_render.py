"""Both renderers write the same documents, whatever the values; and one line per operation."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import hypothesis.strategies as st
import polars as pl
import pytest
from hypothesis import example, given, settings

from callsheet.batch import Batch
from callsheet.codec.columnar import NativeModule, load_native
from callsheet.errors import Reason
from callsheet.event import Op
from callsheet.ports import SystemClock
from callsheet.schema import Column, Kind
from sinks.elasticsearch import values
from sinks.elasticsearch.columns import ColumnPlan
from sinks.elasticsearch.render import SMALL, Rendered, Renderer
from sinks.elasticsearch.rows import RowPlan
from tests.support.batches import Row, a_batch, a_schema, delete, upsert
from tests.support.bulk_lines import (
    FINITE32,
    NOW,
    SCHEMA,
    by_column,
    by_row,
    listed,
    point,
    rows,
)
from tests.support.examples import examples

NATIVE = load_native()
needs_native = pytest.mark.skipif(NATIVE is None, reason="callsheet_native is not installed")
with_and_without = pytest.mark.parametrize(
    "native", [None, pytest.param(NATIVE, marks=needs_native)], ids=["python", "native"]
)


def a_renderer(native: NativeModule | None, lanes: int = 4, piece_bytes: int = 1 << 20) -> Renderer:
    return Renderer(lanes, piece_bytes, SystemClock(), native)


@settings(max_examples=examples(60))
@given(st.lists(rows(), min_size=1, max_size=6))
def test_both_renderers_agree(changes: list[Row]) -> None:
    batch = a_batch(changes, SCHEMA)
    columns = by_column(batch)
    assert columns is not None
    assert columns == by_row(batch)


def document(row: Row, *columns: Column) -> dict[str, Any]:
    batch = a_batch([row], a_schema(*columns))
    plan = RowPlan(batch.schema, "titles", batch.frame.schema["after"])
    (line,) = plan.lines(*listed(batch), NOW)
    assert isinstance(line, bytes)
    found: dict[str, Any] = json.loads(line.split(b"\n")[1])
    return found


@pytest.mark.parametrize(
    ("column", "value", "written"),
    [
        (Column("v", Kind.DECIMAL, precision=15, scale=2), Decimal("-0.10"), "-0.10"),
        (Column("v", Kind.DECIMAL, precision=38, scale=0), Decimal(10**37), str(10**37)),
        (Column("v", Kind.DECIMAL, precision=65, scale=2), "9" * 63 + ".01", "9" * 63 + ".01"),
        (Column("v", Kind.UNSIGNED), 2**64 - 1, 2**64 - 1),
        (Column("v", Kind.INTEGER), -(2**63), -(2**63)),
        (Column("v", Kind.FLOAT, source_type="FLOAT"), 0.1, 0.1),
        (Column("v", Kind.SET), "", []),
        (Column("v", Kind.SET), "a,b", ["a", "b"]),
        (Column("v", Kind.DATE), date(1, 2, 3), "0001-02-03"),
        (Column("v", Kind.TIME), 36_000_000_000, "10:00:00"),
        (Column("v", Kind.TIME), 36_000_000_001, "10:00:00.000001"),
        (Column("v", Kind.TIME, fraction=3), 36_000_100_000, "10:00:00.100"),
        (Column("v", Kind.TIME), -3_020_399_000_000, "-838:59:59"),
        (Column("v", Kind.DATETIME), datetime(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05"),  # noqa: DTZ001
        (
            Column("v", Kind.DATETIME, fraction=6),
            datetime(2026, 1, 2, 3, 4, 5),  # noqa: DTZ001
            "2026-01-02T03:04:05.000000",
        ),
        (Column("v", Kind.BYTES), b"\x00\xff", base64.b64encode(b"\x00\xff").decode()),
        (Column("v", Kind.JSON), '{"a": 1.50}', {"a": 1.5}),
        (Column("v", Kind.JSON), "[1]", {"value": [1]}),
        (Column("v", Kind.GEOMETRY), point(3.5, -4), {"type": "Point", "coordinates": [3.5, -4]}),
        (Column("v", Kind.STRING), "\x00\u2028é😀", "\x00\u2028é😀"),
        (Column("v", Kind.STRING), None, None),
    ],
)
def test_a_value_reads(column: Column, value: Any, written: Any) -> None:
    assert document(upsert(1, v=value), column)["v"] == written


def test_a_document_says_when_and_what_was_wrapped() -> None:
    found = document(upsert(1, v="[1]", w="{}"), Column("v", Kind.JSON), Column("w", Kind.JSON))
    assert found["_callsheet"] == {
        "ts": "2027-01-15T08:00:00.000000Z",
        "version": 1,
        "wrapped": ["v"],
    }


def test_a_delete_leaves_a_tombstone_without_values() -> None:
    assert document(delete(1)) == {
        "_callsheet": {
            "ts": "2027-01-15T08:00:00.000000Z",
            "version": 1,
            "deleted": True,
            "deleted_at": NOW,
        }
    }


@with_and_without
@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        (Column("v", Kind.FLOAT), float("nan"), Reason.UNREPRESENTABLE),
        (Column("v", Kind.FLOAT), float("-inf"), Reason.UNREPRESENTABLE),
        (Column("v", Kind.FLOAT, source_type="FLOAT"), float("inf"), Reason.UNREPRESENTABLE),
        (Column("v", Kind.VECTOR), [1.0, float("nan")], Reason.UNREPRESENTABLE),
        (Column("v", Kind.JSON), '{"a":', Reason.SCHEMA_MISMATCH),
        (Column("v", Kind.JSON), '1},"name":{"a":1', Reason.SCHEMA_MISMATCH),
        (Column("v", Kind.JSON), '{}}\n{"delete":{"_id":"7"}}', Reason.SCHEMA_MISMATCH),
        (Column("v", Kind.JSON), "[" * 5000 + "]" * 5000, Reason.SCHEMA_MISMATCH),
        (Column("v", Kind.GEOMETRY), {"wkb": b"\x01", "srid": 0}, Reason.SCHEMA_MISMATCH),
        (Column("v", Kind.GEOMETRY), {"wkb": None, "srid": 0}, Reason.SCHEMA_MISMATCH),
    ],
)
@pytest.mark.parametrize("size", [3, SMALL + 20])
def test_what_cannot_be_written_is_refused_alone(
    column: Column, value: Any, reason: Reason, size: int, native: NativeModule | None
) -> None:
    changes = [upsert(n, v=None) for n in range(size)]
    changes[1] = upsert(1, v=value)
    rendered = a_renderer(native).render(a_batch(changes, a_schema(column)), "t")
    assert [(r.row, r.reason) for r in rendered.refusals] == [(1, reason)]
    assert sorted(row for piece in rendered.pieces for row in piece.rows) == [
        row for row in range(size) if row != 1
    ]


@with_and_without
@pytest.mark.parametrize("ts_us", [values.LATEST_US + 1, values.EARLIEST_US - 1, (1 << 63) - 1])
@pytest.mark.parametrize("size", [3, SMALL + 20])
def test_a_commit_time_without_a_text_is_refused_alone(
    ts_us: int, size: int, native: NativeModule | None
) -> None:
    changes = [upsert(n, name="x") for n in range(size)]
    changes[1] = Row(Op.DELETE, "1", ts_us=ts_us)
    rendered = a_renderer(native).render(a_batch(changes), "t")
    assert [(r.row, r.reason) for r in rendered.refusals] == [(1, Reason.UNREPRESENTABLE)]
    assert rendered.operations == size - 1


@with_and_without
def test_a_change_without_its_row_is_refused(native: NativeModule | None) -> None:
    changes = [Row(Op.UPDATE, str(n), {"id": n, "name": "x"} if n else None) for n in range(100)]
    rendered = a_renderer(native).render(a_batch(changes), "t")
    assert [r.row for r in rendered.refusals] == [0]


@with_and_without
def test_a_refused_row_does_not_supersede_the_one_before(native: NativeModule | None) -> None:
    column = Column("v", Kind.FLOAT)
    changes = [upsert(1, v=1.0), upsert(1, v=float("nan"))]
    rendered = a_renderer(native).render(a_batch(changes, a_schema(column)), "t")
    assert (rendered.operations, rendered.superseded) == (1, 0)


# --- pieces ---------------------------------------------------------------------------------------


def versions(rendered: Rendered) -> dict[str, int]:
    found = {}
    for piece in rendered.pieces:
        lines = piece.body.split(b"\n")
        assert len(lines) == 2 * len(piece.rows) + 1
        for line in lines[:-1:2]:
            action = json.loads(line)["index"]
            assert action["_id"] not in found
            found[action["_id"]] = action["version"]
    return found


@with_and_without
@pytest.mark.parametrize("size", [SMALL, SMALL + 1, 1000])
@pytest.mark.parametrize("piece_bytes", [1, 2000, 1 << 20])
def test_every_row_is_an_operation_or_superseded(
    size: int, piece_bytes: int, native: NativeModule | None
) -> None:
    changes = [upsert(n % 40, name=f"{n}", version=1 + (n * 7919) % size) for n in range(size)]
    rendered = a_renderer(native, piece_bytes=piece_bytes).render(a_batch(changes), "t")
    highest: dict[str, int] = {}
    for row in changes:
        highest[row.id] = max(highest.get(row.id, 0), row.version or 0)
    assert versions(rendered) == highest
    assert rendered.operations + rendered.superseded == size


@with_and_without
@pytest.mark.parametrize("size", [10, SMALL + 36])
def test_an_id_is_always_in_the_same_lane(size: int, native: NativeModule | None) -> None:
    renderer = a_renderer(native)
    lanes: dict[int, int] = {}
    for length in (size, 10):
        batch = a_batch([upsert(n, name="x") for n in range(length)])
        for piece in renderer.render(batch, "t").pieces:
            for row in piece.rows:
                assert lanes.setdefault(row, piece.lane) == piece.lane
    assert len(set(lanes.values())) > 1


@with_and_without
def test_a_lane_keeps_the_order_of_the_log(native: NativeModule | None) -> None:
    batch = a_batch([upsert(n, name="x" * 50) for n in range(500)])
    rendered = a_renderer(native, 3, 4000).render(batch, "t")
    by_lane: dict[int, list[int]] = {}
    for piece in rendered.pieces:
        by_lane.setdefault(piece.lane, []).extend(piece.rows)
    assert all(rows == sorted(rows) for rows in by_lane.values())
    assert len(rendered.pieces) > 3


# --- single values --------------------------------------------------------------------------------


@given(st.text(min_size=1, max_size=400))
def test_a_document_id_fits_and_differs(identifier: str) -> None:
    try:
        raw = identifier.encode()
    except UnicodeEncodeError:
        return
    found = values.document_id(identifier)
    assert len(found.encode()) <= values.LONGEST_ID
    assert (found == identifier) == (len(raw) <= values.LONGEST_ID)
    assert values.document_id(identifier + "x" * 600) != values.document_id(identifier + "x" * 601)


@given(FINITE32)
@example(-1020097346928640.0)
def test_a_single_float_is_the_shortest_that_reads_back(value: float) -> None:
    short = values.short_float(value)
    assert len(Decimal(repr(short)).normalize().as_tuple().digits) <= 9
    assert struct.unpack("f", struct.pack("f", short))[0] == value
    assert len(repr(short)) <= len(repr(value))


@given(st.integers(0, 253_402_300_799_999_999))
def test_an_instant_is_utc(ts_us: int) -> None:
    seconds = datetime(1970, 1, 1) + timedelta(microseconds=ts_us)  # noqa: DTZ001
    assert values.instant_text(ts_us) == seconds.isoformat(timespec="microseconds") + "Z"


def test_the_expressions_are_made_once_per_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Sequence[Any]] = []
    original = ColumnPlan.__init__

    def counting(self: ColumnPlan, *args: Any) -> None:
        made.append(args)
        original(self, *args)

    monkeypatch.setattr(ColumnPlan, "__init__", counting)
    renderer = Renderer(2, 1 << 20, SystemClock())
    for _ in range(3):
        renderer.render(a_batch([upsert(1, name="x")]), "t")
    assert len(made) == 1


def test_a_frame_in_several_chunks_renders_whole() -> None:
    batch = a_batch([upsert(n, name=str(n)) for n in range(100)])
    parts = pl.concat([batch.frame[:30], batch.frame[30:]], rechunk=False)
    split = Batch(batch.topic, batch.schema, parts, batch.messages, batch.size_bytes)
    assert by_column(split) == by_column(batch)
