"""Every kind of column on its way into a file, and what a row is known by."""

from __future__ import annotations

import struct
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from io import BytesIO
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callsheet.batch import Batch, Partition
from callsheet.codec.events import uuids as oracle
from callsheet.errors import ParkTableError, Reason
from callsheet.event import Op
from callsheet.schema import Column, Kind, TableSchema
from sinks.hive.columns import Renderer, uuids
from sinks.hive.intake import table_name
from sinks.hive.layout import TableLayout
from sinks.hive.spool import Pile, SpoolOptions
from tests.support.batches import Row, a_batch, a_schema

WKB = struct.pack("<BIdd", 1, 1, 2.0, 3.0)
CASES: list[tuple[Column, Any, str, Any]] = [
    (Column("n", Kind.INTEGER), -(2**63), "BIGINT", -(2**63)),
    (Column("n", Kind.UNSIGNED), 2**64 - 1, "DECIMAL(20,0)", Decimal(2**64 - 1)),
    (Column("n", Kind.DECIMAL, precision=15, scale=2), Decimal("-1.50"), "DECIMAL(15,2)", None),
    (
        Column("n", Kind.DECIMAL, precision=38, scale=30),
        Decimal("12345678.000000000000000000000000000001"),
        "DECIMAL(38,30)",
        None,
    ),
    (Column("n", Kind.DECIMAL, precision=65, scale=2), "9" * 63 + ".99", "STRING", None),
    (Column("n", Kind.FLOAT), 1.5, "DOUBLE", None),
    (Column("n", Kind.FLOAT, source_type="FLOAT"), 1.5, "DOUBLE", None),
    (Column("n", Kind.BOOLEAN), True, "BOOLEAN", None),
    (Column("n", Kind.STRING), "é\x00😀", "STRING", None),
    (Column("n", Kind.ENUM), "film", "STRING", None),
    (Column("n", Kind.SET), "a,b", "STRING", None),
    (Column("n", Kind.JSON), '{"a": [1]}', "STRING", None),
    (Column("n", Kind.DATE), date(1, 1, 1), "DATE", None),
    (Column("n", Kind.TIME, fraction=0), 3_723_000_000, "STRING", "01:02:03"),
    (Column("n", Kind.TIME, fraction=3), -3_020_399_500_000, "STRING", "-838:59:59.500"),
    (Column("n", Kind.TIME), 1, "STRING", "00:00:00.000001"),
    (Column("n", Kind.TIME), 0, "STRING", "00:00:00"),
    (Column("n", Kind.DATETIME), datetime(9999, 12, 31, 23, 59, 59, 999999), "TIMESTAMP", None),  # noqa: DTZ001
    (
        Column("n", Kind.TIMESTAMP),
        "2026-11-23T00:15:13.123456Z",
        "TIMESTAMP",
        datetime(2026, 11, 23, 0, 15, 13, 123456),  # noqa: DTZ001
    ),
    (
        Column("n", Kind.TIMESTAMP),
        "1970-01-01T00:00:01Z",
        "TIMESTAMP",
        datetime(1970, 1, 1, 0, 0, 1),  # noqa: DTZ001
    ),
    (Column("n", Kind.YEAR), 2155, "INT", None),
    (Column("n", Kind.BYTES), b"\x00\xff", "BINARY", None),
    (Column("n", Kind.BITS), b"\x05\x00", "BINARY", None),
    (
        Column("n", Kind.GEOMETRY),
        {"wkb": WKB, "srid": 4326},
        "BINARY",
        struct.pack("<I", 4326) + WKB,
    ),
    (Column("n", Kind.VECTOR), [1.0, 2.5], "ARRAY<FLOAT>", None),
]


def test_every_kind_has_a_case() -> None:
    assert {column.kind for column, *_ in CASES} == set(Kind)


def written(batch: Batch) -> pl.DataFrame:
    """Through the file and back."""
    layout = TableLayout(batch.topic, batch.schema)
    pile = Pile("t", "2027-01-15", layout, SpoolOptions(None, "zstd", 1000))
    pile.add(Renderer(layout).render(batch).frame.drop("event_date"))
    with pile.finish() as file:
        file.seek(0)
        content = file.read()
    assert pq.read_schema(BytesIO(content)).names == [column.name for column in layout.columns]
    # Without it Hive shifts the days before 1582.
    assert pq.read_metadata(BytesIO(content)).metadata[b"writer.date.proleptic"] == b"true"
    return pl.read_parquet(BytesIO(content))


@pytest.mark.parametrize(("column", "value", "hive", "stored"), CASES)
def test_a_kind_is_stored_exactly(column: Column, value: Any, hive: str, stored: Any) -> None:
    schema = a_schema(column)
    rows = [Row(Op.CREATE, "1", {"id": 1, "n": value}), Row(Op.CREATE, "2", {"id": 2, "n": None})]
    found = written(a_batch(rows, schema))
    assert found["after_n"].to_list() == [value if stored is None else stored, None]
    assert found["before_n"].null_count() == 2
    types = {each.name: each.hive for each in TableLayout("t", schema).columns}
    assert types["after_n"] == types["before_n"] == hive


def test_the_files_types_are_those_that_hive_reads() -> None:
    columns = [replace(column, name=f"n{n}") for n, (column, *_) in enumerate(CASES)]
    layout = TableLayout("t", a_schema(*columns))
    physical = pq.ParquetFile(BytesIO(_empty(layout))).schema
    told = {physical.column(n).name: str(physical.column(n).logical_type) for n in range(17)}
    assert told["ts"].startswith("Timestamp(isAdjustedToUTC=false, timeUnit=microseconds")
    assert told["uuid"] == "String"


def _empty(layout: TableLayout) -> bytes:
    with BytesIO() as file:
        with pq.ParquetWriter(file, layout.arrow, store_schema=False):
            pass
        return file.getvalue()


def test_a_row_knows_where_it_came_from() -> None:
    batch = a_batch([Row(Op.DELETE, "7", None, version=9, partition=3, offset=41)])
    (row,) = written(batch).to_dicts()
    assert {k: v for k, v in row.items() if not k.startswith(("before_", "after_"))} == {
        "uuid": oracle(batch)[0],
        "type": "d",
        "id": "7",
        "ts": datetime(2027, 1, 15, 8, 0),  # noqa: DTZ001
        "transaction_id": None,
        "transaction_order": None,
        "source": "studio",
        "source_file": "binlog.000001",
        "source_pos": 9,
        "source_row": 0,
        "server_id": 1,
        "gtid": None,
        "version": 9,
        "is_snapshot": False,
        "kafka_topic": "studio.finance.titles",
        "kafka_partition": 3,
        "kafka_offset": 41,
    }


texts = st.text(max_size=20)
changes = st.fixed_dictionaries(
    {
        "snapshot": st.booleans(),
        "gtid": st.one_of(st.none(), st.just(""), texts),
        "file": texts,
        "pos": st.integers(0, 2**40),
        "row": st.integers(0, 2**20),
        "op": st.sampled_from("crud"),
        "id": texts,
    }
)


@given(st.lists(changes, min_size=1, max_size=20))
def test_the_uuid_is_that_of_the_contract(identities: list[dict[str, Any]]) -> None:
    batch = a_batch([Row(Op.CREATE, "1", {"id": 1}) for _ in identities])
    frame = batch.frame.with_columns(
        pl.Series(name, [each[name] for each in identities], batch.frame.schema[name])
        for name in identities[0]
    )
    batch = replace(batch, columns=frame)
    assert uuids(frame, "studio", batch.topic).to_list() == oracle(batch).to_list()


def test_what_is_no_instant_is_refused_and_not_null() -> None:
    schema = a_schema(Column("at", Kind.TIMESTAMP))
    rows = [
        Row(Op.CREATE, "1", {"id": 1, "at": "2026-11-23T00:15:13Z"}),
        Row(Op.CREATE, "2", {"id": 2, "at": "yesterday"}),
        Row(Op.CREATE, "3", {"id": 3, "at": None}, ts_us=1 << 62),
        Row(Op.CREATE, "4", {"id": 4, "at": None}),
    ]
    batch = a_batch(rows, schema, first_offset=10)
    columns = Renderer(TableLayout(batch.topic, schema)).render(batch)
    assert columns.frame["id"].to_list() == ["1", "4"]
    home = Partition(batch.topic, 0)
    assert sorted((r.partition, r.offset, r.reason) for r in columns.refused) == [
        (home, 11, Reason.UNREPRESENTABLE),
        (home, 12, Reason.UNREPRESENTABLE),
    ]
    assert not any("yesterday" in refusal.detail for refusal in columns.refused)


def test_columns_that_hive_cannot_tell_apart_park_the_table() -> None:
    schema = a_schema(Column("a.b", Kind.STRING), Column("A:B", Kind.STRING))
    with pytest.raises(ParkTableError, match=r"'a\.b' and 'A:B' are both 'a_b'"):
        TableLayout("t", schema)


def test_the_name_of_a_table() -> None:
    schema = TableSchema("studio-json", "Fin.ance", "Slate Entries", (), ("id",), "1")
    assert table_name("{database}_{table}", "t", schema) == "fin_ance_slate_entries"
    assert table_name("{source}_{table}", "t", schema) == "studio_json_slate_entries"
    with pytest.raises(ParkTableError, match="does not look into files"):
        table_name("{table}", "_hidden", schema)
