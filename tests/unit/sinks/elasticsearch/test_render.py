"""Both renderers write the same documents, whatever the values; and one line per operation."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import hypothesis.strategies as st
import polars as pl
import pytest
from hypothesis import example, given, settings

from callsheet.batch import Batch
from callsheet.codec.columnar import NativeModule, load_native
from callsheet.errors import PoisonRecordError, Reason
from callsheet.event import Op
from callsheet.ports import SystemClock
from callsheet.schema import Column, Kind
from sinks.elasticsearch import values
from sinks.elasticsearch.columns import ColumnPlan
from sinks.elasticsearch.native import native_plan, rows_of
from sinks.elasticsearch.render import SMALL, Rendered, Renderer
from sinks.elasticsearch.rows import RowPlan
from tests.support.batches import Row, a_batch, a_schema, delete, upsert
from tests.support.decoder_bench import Bench

NOW = "2026-11-23T00:00:00.000000Z"
NATIVE = load_native()
needs_native = pytest.mark.skipif(NATIVE is None, reason="callsheet_native is not installed")
with_and_without = pytest.mark.parametrize(
    "native", [None, pytest.param(NATIVE, marks=needs_native)], ids=["python", "native"]
)


def a_renderer(native: NativeModule | None, lanes: int = 4, piece_bytes: int = 1 << 20) -> Renderer:
    return Renderer(lanes, piece_bytes, SystemClock(), native)


def point(x: float, y: float) -> dict[str, Any]:
    return {"wkb": struct.pack("<BIdd", 1, 1, x, y), "srid": 4326}


COLUMNS = (
    Column("whole", Kind.INTEGER),
    Column("unsigned", Kind.UNSIGNED),
    Column("money", Kind.DECIMAL, precision=15, scale=2),
    Column("huge", Kind.DECIMAL, precision=65, scale=30),
    Column("single", Kind.FLOAT, source_type="FLOAT"),
    Column("double", Kind.FLOAT),
    Column("flag", Kind.BOOLEAN),
    Column("text", Kind.STRING),
    Column('odd "name"', Kind.ENUM),
    Column("members", Kind.SET),
    Column("json", Kind.JSON),
    Column("day", Kind.DATE),
    *(Column(f"time{f}", Kind.TIME, fraction=f) for f in (None, 0, 3, 6)),
    *(Column(f"at{f}", Kind.DATETIME, fraction=f) for f in (None, 0, 1, 6)),
    Column("instant", Kind.TIMESTAMP),
    Column("year", Kind.YEAR),
    Column("blob", Kind.BYTES),
    Column("bits", Kind.BITS),
    Column("place", Kind.GEOMETRY),
    Column("vector", Kind.VECTOR),
)
SCHEMA = a_schema(*COLUMNS)

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
FINITE32 = st.floats(allow_nan=False, allow_infinity=False, width=32)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 53), 1 << 53) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
TIMES = st.integers(-3_020_399_000_000, 3_020_399_000_000)
DATETIMES = st.datetimes(datetime(1000, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999_999))  # noqa: DTZ001
GENERATED: dict[str, st.SearchStrategy[Any]] = {
    "whole": INT64,
    "unsigned": st.integers(0, (1 << 64) - 1),
    "money": st.decimals(-(10**12), 10**12, places=2),
    "huge": st.sampled_from(["0." + "0" * 29 + "1", "-" + "9" * 35 + "." + "9" * 30]),
    "single": FINITE32,
    "double": st.floats(allow_nan=False, allow_infinity=False),
    "flag": st.booleans(),
    "text": TEXT,
    'odd "name"': TEXT,
    "members": st.sampled_from(["", "a", "a,b", "é,😀"]),
    "json": st.one_of(st.dictionaries(TEXT, JSON_VALUES, max_size=3), JSON_VALUES).map(
        lambda value: json.dumps(value, indent=1, ensure_ascii=False)
    ),
    "day": st.dates(date(1, 1, 1), date(9999, 12, 31)),
    **{f"time{f}": TIMES for f in (None, 0, 3, 6)},
    **{f"at{f}": DATETIMES for f in (None, 0, 1, 6)},
    "instant": st.sampled_from(["2026-11-23T00:15:13.123456Z", "1970-01-01T00:00:00Z"]),
    "year": st.integers(0, 2155),
    "blob": st.binary(max_size=20),
    "bits": st.binary(min_size=1, max_size=8),
    "place": st.builds(point, FINITE32, FINITE32),
    "vector": st.lists(FINITE32, max_size=4),
}
IDS = st.one_of(TEXT.filter(bool), st.just("é" * 300), st.just('"\\|%-'))


@st.composite
def rows(draw: st.DrawFn) -> Row:
    op = draw(st.sampled_from(list(Op)))
    after = None
    if op is not Op.DELETE:
        after = {name: draw(st.none() | each) for name, each in GENERATED.items()} | {"id": 1}
    ts_us = draw(st.integers(0, 253_402_300_799_999_999))
    return Row(op, draw(IDS), after, version=draw(st.integers(1, (1 << 63) - 1)), ts_us=ts_us)


def by_column(batch: Batch) -> list[Any] | None:
    lines = ColumnPlan(batch.schema, "titles").lines(batch.frame, NOW)
    return None if lines is None else [parsed(line.encode()) for line in lines]


def listed(batch: Batch) -> tuple[pl.DataFrame, list[str], list[int]]:
    return batch.frame, batch.frame["id"].to_list(), batch.frame["version"].to_list()


def by_row(batch: Batch) -> list[Any]:
    plan = RowPlan(batch.schema, "titles", batch.frame.schema["after"])
    return [
        line if isinstance(line, PoisonRecordError) else parsed(line)
        for line in plan.lines(*listed(batch), NOW)
    ]


def parsed(line: bytes) -> tuple[Any, list[tuple[str, Any]]]:
    assert line.count(b"\n") == 2
    assert line.endswith(b"\n")
    action, document, _ = line.split(b"\n")
    pairs: list[tuple[str, Any]] = json.loads(document, object_pairs_hook=list)
    assert len({name for name, _ in pairs}) == len(pairs), "a name twice"
    return json.loads(action), sorted(pairs)


@settings(max_examples=60, deadline=None)
@given(st.lists(rows(), min_size=1, max_size=6))
def test_both_renderers_agree(changes: list[Row]) -> None:
    batch = a_batch(changes, SCHEMA)
    columns = by_column(batch)
    assert columns is not None
    assert columns == by_row(batch)


OTHER_KINDS = (Kind.GEOMETRY, Kind.VECTOR)
"""Those that the native module does not write, beside floats of 32 bits."""
NATIVE_SCHEMA = a_schema(*(c for c in COLUMNS if c.kind not in OTHER_KINDS and c.name != "single"))


@needs_native
@settings(max_examples=200, deadline=None)
@given(st.lists(rows(), min_size=1, max_size=6, unique_by=lambda row: row.id))
def test_the_native_module_writes_what_rows_write(changes: list[Row]) -> None:
    batch = a_batch(changes, NATIVE_SCHEMA)
    plan = native_plan(NATIVE, batch.schema, "titles", batch.frame.schema["after"])
    assert plan is not None
    lines = plan.lines(batch.frame, NOW)
    if lines is None:
        assert any(len(row.id.encode()) > values.LONGEST_ID or is_wrapped(row) for row in changes)
        return
    assert list(lines.ids) == [row.id for row in changes]
    assert list(lines.rows) == list(range(len(changes)))
    places = list(range(len(changes)))
    assert [parsed(lines.join([place])) for place in places] == by_row(batch)
    assert b"".join(lines.join([place]) for place in places) == lines.join(places)
    assert len(lines.join(places)) == lines.size_bytes


@needs_native
@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_a_kind_that_the_native_module_does_not_write_goes_another_way(kind: Kind) -> None:
    batch = a_batch([upsert(1, v=None)], a_schema(Column("v", kind)))
    assert native_plan(NATIVE, batch.schema, "t", batch.frame.schema["after"]) is None


@needs_native
def test_single_floats_go_another_way() -> None:
    batch = a_batch([upsert(1, v=1.5)], a_schema(Column("v", Kind.FLOAT, source_type="FLOAT")))
    assert native_plan(NATIVE, batch.schema, "t", batch.frame.schema["after"]) is None


@needs_native
@pytest.mark.parametrize("days", [-719_163, 2_932_897])
def test_a_date_beyond_the_calendar_is_left_to_a_closer_look(days: int) -> None:
    batch = a_batch([upsert(1, v=date(2000, 1, 1))], a_schema(Column("v", Kind.DATE)))
    after = pl.struct(pl.col("after").struct.field("id"), pl.lit(days).cast(pl.Date).alias("v"))
    frame = batch.frame.with_columns(after.alias("after"))
    plan = native_plan(NATIVE, batch.schema, "t", batch.frame.schema["after"])
    assert plan is not None
    assert plan.lines(frame, NOW) is None
    assert plan.lines(batch.frame, NOW) is not None


@needs_native
@pytest.mark.parametrize(
    ("text", "written"),
    [
        (' {"a":\n 1.50}', b' {"a":  1.50}'),
        ('{"a":[1,\r\n2]}', b'{"a":[1,  2]}'),
        ("{}", b"{}"),
        (r'{"a":"\ud83d\ude00"}', rb'{"a":"\ud83d\ude00"}'),
        ('{"a":%s}' % ("1" * 40), b'{"a":%b}' % (b"1" * 40)),
    ],
)
def test_a_json_object_is_embedded_as_it_is(text: str, written: bytes) -> None:
    batch = a_batch([upsert(1, v=text)], a_schema(Column("v", Kind.JSON)))
    plan = native_plan(NATIVE, batch.schema, "t", batch.frame.schema["after"])
    assert plan is not None
    lines = plan.lines(batch.frame, NOW)
    assert lines is not None
    assert lines.join([0]).endswith(b',"v":%b}\n' % written)
    assert lines.join([0]) == only(RowPlan(batch.schema, "t", batch.frame.schema["after"]), batch)


@needs_native
@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "{}}",
        '{},"other":{}',
        '{"a":[1,]}',
        '{"a":01}',
        '{"a":1e999}',
        r'{"a":"\ud800"}',
        '{"a":"\t"}',
        '{"a":%s}' % ("[" * 400 + "]" * 400),
        "null",
        "[{}]",
        "1",
    ],
)
def test_other_json_and_what_may_be_none_is_left_to_a_closer_look(text: str) -> None:
    batch = a_batch([upsert(1, v=text)], a_schema(Column("v", Kind.JSON)))
    plan = native_plan(NATIVE, batch.schema, "t", batch.frame.schema["after"])
    assert plan is not None
    assert plan.lines(batch.frame, NOW) is None


def is_wrapped(row: Row) -> bool:
    text = (row.after or {}).get("json")
    return text is not None and not values.is_object(text)


def only(plan: RowPlan, batch: Batch) -> bytes:
    (line,) = plan.lines(*listed(batch), NOW)
    assert isinstance(line, bytes)
    return line


@needs_native
@pytest.mark.parametrize("wire", ["avro", "json"])
def test_a_decoders_own_columns_and_their_frame_make_the_same_lines(wire: str) -> None:
    bench = Bench(wire, NATIVE)
    [batch] = bench.decoder(small_batch_threshold=0).decode(bench.titles(5)).batches
    plan = native_plan(NATIVE, batch.schema, "t", batch.frame.schema["after"])
    assert plan is not None
    assert not isinstance(rows_of(batch), pl.DataFrame)
    own = plan.lines(rows_of(batch), NOW)
    framed = plan.lines(rows_of(replace(batch, columns=batch.frame)), NOW)
    assert own is not None
    assert framed is not None
    assert own.join(range(5)) == framed.join(range(5))
    assert len(own.ids) == 5


@needs_native
def test_a_place_that_is_not_there_is_an_error() -> None:
    batch = a_batch([upsert(1, name="x")])
    plan = native_plan(NATIVE, batch.schema, "t", batch.frame.schema["after"])
    assert plan is not None
    lines = plan.lines(batch.frame, NOW)
    assert lines is not None
    with pytest.raises(IndexError):
        lines.join([1])


@needs_native
def test_a_frame_in_several_chunks_is_written_whole_by_the_native_module() -> None:
    batch = a_batch([upsert(n % 60, name=str(n)) for n in range(100)])
    parts = pl.concat([batch.frame[:30], batch.frame[30:]], rechunk=False)
    plan = native_plan(NATIVE, batch.schema, "t", batch.frame.schema["after"])
    assert plan is not None
    whole, split = plan.lines(batch.frame, NOW), plan.lines(parts, NOW)
    assert whole is not None
    assert split is not None
    assert list(split.rows) == list(whole.rows) == list(range(40, 100))
    assert split.join(range(60)) == whole.join(range(60))


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
