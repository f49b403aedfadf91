"""Rows of every kind of column, and the bulk lines that each way makes of them."""

from __future__ import annotations

import json
import struct
from datetime import date, datetime
from typing import Any

import hypothesis.strategies as st
import polars as pl

from callsheet.batch import Batch
from callsheet.errors import PoisonRecordError
from callsheet.event import Op
from callsheet.schema import Column, Kind
from sinks.elasticsearch.columns import ColumnPlan
from sinks.elasticsearch.rows import RowPlan
from tests.support.batches import Row, a_schema

NOW = "2026-11-23T00:00:00.000000Z"


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
