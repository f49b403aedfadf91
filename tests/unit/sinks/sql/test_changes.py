from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callsheet.event import Op, encode_id, id_part
from callsheet.schema import Column, Kind
from sinks.sql import changes
from sinks.sql.catalog import versions_table
from sinks.sql.mysql.literals import literal
from sinks.sql.mysql.statements import cutting
from tests.support.batches import Row, a_batch, a_schema, polars_type, upsert

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 9)), min_size=1, max_size=30))
def test_of_each_id_the_highest_version_stays(events: list[tuple[int, int]]) -> None:
    rows = [upsert(identifier, version, name="x") for identifier, version in events]
    left = changes.latest(a_batch(rows).frame)
    highest: dict[str, int] = {}
    for identifier, version in events:
        highest[str(identifier)] = max(version, highest.get(str(identifier), 0))
    assert dict(zip(left["id"], left["version"], strict=True)) == highest


def test_a_long_id_is_cut_and_stays_distinct() -> None:
    ids = ["é" * 300 + "1", "é" * 300 + "2", "short", "x" * 255]
    stored = changes.stored_ids(pl.Series("id", ids))
    assert len(set(stored["id"])) == 4
    assert max(map(len, stored["id"])) <= changes.LONGEST_ID
    assert [None if long is None else long.decode() for long in stored["long_id"]] == [
        ids[0], ids[1], None, None,
    ]  # fmt: skip


KEYS: list[tuple[Column, st.SearchStrategy[Any]]] = [
    (Column("k0", Kind.INTEGER), st.integers(-(2**63), 2**63 - 1)),
    (Column("k1", Kind.UNSIGNED), st.integers(0, 2**64 - 1)),
    (Column("k2", Kind.STRING), TEXT),
    (Column("k3", Kind.DATE), st.dates()),
    (Column("k4", Kind.DATETIME), st.datetimes()),
    (Column("k5", Kind.BYTES), st.binary(max_size=9)),
    (Column("k6", Kind.BOOLEAN), st.booleans()),
    (
        Column("k7", Kind.DECIMAL, precision=20, scale=4),
        st.decimals(-(10**10), 10**10, places=4),
    ),
    (Column("k8", Kind.TIME), st.integers(-(10**12), 10**12)),
]


@given(st.data())
def test_a_deletes_key_is_read_off_its_id(data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.sampled_from(KEYS), min_size=1, max_size=4, unique_by=id))
    columns = [column for column, _ in chosen]
    rows = data.draw(st.lists(st.tuples(*(values for _, values in chosen)), max_size=5))
    schema = a_schema(*columns, key=[column.name for column in columns])
    image = pl.Struct({column.name: polars_type(column) for column in columns})
    ids = [encode_id([id_part(value) for value in row]) for row in rows]
    found = changes.key_values(pl.Series("id", ids, dtype=pl.String), schema, image)
    assert found.rows() == rows


@given(st.lists(TEXT, min_size=1, max_size=40), st.integers(1, 7), st.integers(1, 60))
def test_pieces_are_the_whole_in_order_and_small(texts: list[str], rows: int, size: int) -> None:
    pieces = list(cutting(rows, size)(pl.Series("row", texts)))
    assert [text for _, piece in pieces for text in piece] == texts
    at = 0
    for first, piece in pieces:
        assert first == at
        assert len(piece) == 1 or (
            len(piece) <= rows and sum(len(text.encode()) for text in piece) <= size
        )
        at += len(piece)


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        (Column("c", Kind.STRING), "a'b\\c\x00\x1a", "'a\\'b\\\\c\\0\\Z'"),
        (Column("c", Kind.STRING), None, "NULL"),
        (Column("c", Kind.STRING), "NULL", "'NULL'"),
        (Column("c", Kind.DECIMAL, precision=5, scale=2), Decimal("-0.10"), "-0.10"),
        (Column("c", Kind.FLOAT), -0.0, "'-0.0'"),
        (Column("c", Kind.DATE), date(1, 2, 3), "'0001-02-03'"),
        (Column("c", Kind.DATETIME), datetime(1, 2, 3), "'0001-02-03 00:00:00.000000'"),  # noqa: DTZ001
        (Column("c", Kind.TIMESTAMP), "2026-01-02T03:04:05.5Z", "'2026-01-02 03:04:05.5'"),
        (Column("c", Kind.TIME), -1, "'-00:00:00.000001'"),
        (Column("c", Kind.TIME), 3_020_399_000_000, "'838:59:59.000000'"),
        (Column("c", Kind.BYTES), b"\x00'", "X'0027'"),
        (Column("c", Kind.BITS), b"\x01\x0a", "2561"),
        (Column("c", Kind.VECTOR), [0.5, -2.0], "STRING_TO_VECTOR('[0.5,-2.0]')"),
    ],
)
def test_a_literal(column: Column, value: object, text: str) -> None:
    frame = a_batch([Row(Op.CREATE, "1", {"id": 1, "c": value})], a_schema(column)).frame
    image = changes.images(frame)
    assert image.select(literal(pl.col("c"), column, image.schema["c"])).item() == text


@given(TEXT)
def test_a_text_cannot_leave_its_quotes(value: str) -> None:
    """Read as the server does: a backslash takes the next character, a quote ends the text."""
    column = Column("c", Kind.STRING)
    frame = a_batch([Row(Op.CREATE, "1", {"id": 1, "c": value})], a_schema(column)).frame
    quoted = changes.images(frame).select(literal(pl.col("c"), column, pl.String())).item()
    assert quoted[0] == quoted[-1] == "'"
    inner, at, read = quoted[1:-1], 0, ""
    while at < len(inner):
        assert inner[at] != "'"
        if inner[at] == "\\":
            at += 1
            read += {"0": "\x00", "Z": "\x1a"}.get(inner[at], inner[at])
        else:
            read += inner[at]
        at += 1
    assert read == value


def test_the_side_tables_name_fits_and_differs() -> None:
    long = ["t" * 63 + "a", "t" * 63 + "b"]
    assert versions_table("titles") == "callsheet_versions_titles"
    assert len({versions_table(name) for name in long}) == 2
    assert all(len(versions_table(name)) <= 64 for name in long)
