"""The native module writes what rows write, or leaves it to them."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import hypothesis.strategies as st
import polars as pl
import pytest
from hypothesis import given, settings

from callsheet.batch import Batch
from callsheet.codec.columnar import load_native
from callsheet.schema import Column, Kind
from sinks.elasticsearch import values
from sinks.elasticsearch.native import lane_of, native_plan, rows_of
from sinks.elasticsearch.rows import RowPlan
from tests.support.batches import Row, a_batch, a_schema, upsert
from tests.support.bulk_lines import (
    COLUMNS,
    NOW,
    by_row,
    listed,
    parsed,
    rows,
)
from tests.support.decoder_bench import Bench
from tests.support.examples import examples

NATIVE = load_native()
needs_native = pytest.mark.skipif(NATIVE is None, reason="callsheet_native is not installed")

WHOLE = 1 << 30
"""Bytes of a piece that holds everything."""
OTHER_KINDS = (Kind.GEOMETRY, Kind.VECTOR)
"""Those that the native module does not write, beside floats of 32 bits."""
NATIVE_SCHEMA = a_schema(*(c for c in COLUMNS if c.kind not in OTHER_KINDS and c.name != "single"))


@needs_native
@settings(max_examples=examples(200))
@given(st.lists(rows(), min_size=1, max_size=6, unique_by=lambda row: row.id))
def test_the_native_module_writes_what_rows_write(changes: list[Row]) -> None:
    batch = a_batch(changes, NATIVE_SCHEMA)
    plan = native_plan(NATIVE, batch.schema, "titles", batch.frame.schema["after"])
    assert plan is not None
    lines = plan.lines(batch.frame, NOW)
    if lines is None:
        assert any(len(row.id.encode()) > values.LONGEST_ID or is_wrapped(row) for row in changes)
        return
    assert len(lines) == len(changes)
    assert [places for _, places, _ in lines.pieces(1, 1)] == [[n] for n in range(len(changes))]
    assert [parsed(body) for _, _, body in lines.pieces(1, 1)] == by_row(batch)
    [(_, places, body)] = lines.pieces(1, WHOLE)
    assert list(places) == list(range(len(changes)))
    assert body == b"".join(body for _, _, body in lines.pieces(1, 1))


@needs_native
@settings(max_examples=examples(100))
@given(
    st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=40, unique=True),
    st.integers(1, 9),
    st.integers(1, 600),
)
def test_every_row_is_in_its_ids_lane_in_order_and_no_piece_is_larger_than_it_must(
    ids: list[str], lanes: int, most_bytes: int
) -> None:
    batch = a_batch([replace(upsert(1, name="x"), id=each) for each in ids])
    plan = native_plan(NATIVE, batch.schema, "t", batch.frame.schema["after"])
    assert plan is not None
    lines = plan.lines(batch.frame, NOW)
    assert lines is not None
    single = {row: body for _, [row], body in lines.pieces(1, 1)}
    found: dict[int, list[int]] = {}
    for lane, places, body in lines.pieces(lanes, most_bytes):
        assert body == b"".join(single[row] for row in places)
        assert len(places) == 1 or len(body) <= most_bytes
        found.setdefault(lane, []).extend(places)
    wanted: dict[int, list[int]] = {}
    for row, each in enumerate(ids):
        wanted.setdefault(lane_of(each, lanes), []).append(row)
    assert found == wanted


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
    [(_, _, body)] = lines.pieces(1, WHOLE)
    assert body.endswith(b',"v":%b}\n' % written)
    assert body == only(RowPlan(batch.schema, "t", batch.frame.schema["after"]), batch)


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
    assert own.pieces(3, WHOLE) == framed.pieces(3, WHOLE)
    assert len(own) == 5


@needs_native
def test_no_lane_at_all_is_an_error() -> None:
    batch = a_batch([upsert(1, name="x")])
    plan = native_plan(NATIVE, batch.schema, "t", batch.frame.schema["after"])
    assert plan is not None
    lines = plan.lines(batch.frame, NOW)
    assert lines is not None
    with pytest.raises(ValueError, match="lane"):
        lines.pieces(0, WHOLE)


@needs_native
def test_a_frame_in_several_chunks_is_written_whole_by_the_native_module() -> None:
    batch = a_batch([upsert(n % 60, name=str(n)) for n in range(100)])
    parts = pl.concat([batch.frame[:30], batch.frame[30:]], rechunk=False)
    plan = native_plan(NATIVE, batch.schema, "t", batch.frame.schema["after"])
    assert plan is not None
    whole, split = plan.lines(batch.frame, NOW), plan.lines(parts, NOW)
    assert whole is not None
    assert split is not None
    [(_, places, _)] = whole.pieces(1, WHOLE)
    assert list(places) == list(range(40, 100))
    assert split.pieces(4, 1000) == whole.pieces(4, 1000)
