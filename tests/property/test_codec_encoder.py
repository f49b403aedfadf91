"""Whatever the rows hold: the native encoder writes what the row path writes, byte for byte."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callsheet.batch import Batch
from callsheet.codec.binding import AvroDialect
from callsheet.codec.columnar import load_native
from callsheet.codec.debezium import DebeziumDecoder
from callsheet.codec.events import events
from callsheet.codec.normalized import NormalizedCodec
from callsheet.codec.normalized_columns import EventEncoder
from callsheet.errors import Reason
from callsheet.schema import TableSchema
from tests.support.envelopes import AvroTable, FakeRegistry
from tests.support.every_type import COLUMNS, KEY, changes
from tests.support.examples import examples

pytestmark = pytest.mark.skipif(
    not hasattr(load_native(), "Encoder"), reason="callsheet_native has no encoder"
)
POLLS = st.lists(changes(), min_size=1, max_size=6)
THOROUGH = settings(max_examples=examples(20))
REGISTRY = FakeRegistry()
AVRO = AvroTable(REGISTRY, COLUMNS, KEY)
DECODER = DebeziumDecoder(AvroDialect(REGISTRY), native=load_native())


def decoded(poll: list[dict[str, Any]]) -> Batch:
    log = [AVRO.message(change, offset=n) for n, change in enumerate(poll)]
    [batch] = DECODER.decode(log).batches
    return batch


def optional(schema: TableSchema) -> TableSchema:
    return replace(schema, columns=tuple(replace(c, nullable=True) for c in schema.columns))


@given(poll=POLLS)
@THOROUGH
def test_columns_are_written_as_rows_are(poll: list[dict[str, Any]]) -> None:
    batch = decoded(poll)
    for schema in (batch.schema, optional(batch.schema)):
        codec = NormalizedCodec(schema, 70_000, native=load_native())
        encoded = EventEncoder(batch.topic, schema, 70_000, load_native()).encode(batch)

        assert not encoded.refused
        assert list(encoded.values) == [codec.encode(event) for event in events(batch)]
        assert [codec.decode(value) for value in encoded.values] == list(events(batch))


@given(poll=POLLS)
@THOROUGH
def test_the_row_path_serves_alone(poll: list[dict[str, Any]]) -> None:
    batch = decoded(poll)
    paths = [EventEncoder(batch.topic, batch.schema, 5, native) for native in (load_native(), None)]
    fast, slow = (path.encode(batch) for path in paths)
    assert list(fast.values) == list(slow.values)
    assert list(fast.uuids) == list(slow.uuids)


@given(poll=POLLS, data=st.data())
@THOROUGH
def test_a_row_that_cannot_be_written_is_named_and_leaves_nothing(
    poll: list[dict[str, Any]], data: st.DataObject
) -> None:
    batch = decoded(poll)
    bad = data.draw(st.integers(0, len(batch) - 1))
    name = next(c.name for c in batch.schema.columns if not c.nullable)
    hurt = (pl.int_range(pl.len()) == bad) & pl.col("after").is_not_null()
    after = pl.col("after").struct.with_fields(
        pl.when(hurt).then(None).otherwise(pl.field(name)).alias(name)
    )
    is_hurt = batch.frame["after"][bad] is not None
    present = pl.col("after").is_not_null()
    frame = batch.frame.with_columns(pl.when(present).then(after).otherwise(None).alias("after"))
    whole = EventEncoder(batch.topic, batch.schema, 5, load_native())

    encoded = whole.encode(replace(batch, columns=frame))

    assert list(encoded.refused) == [bad] * is_hurt
    assert all(f.reason is Reason.UNREPRESENTABLE for f in encoded.refused.values())
    expected = list(whole.encode(batch).values)
    assert list(encoded.values) == [
        b"" if is_hurt and n == bad else value for n, value in enumerate(expected)
    ]
