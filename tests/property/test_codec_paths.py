"""Whatever the rows hold: both paths give the same frame, and that frame is the rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from callsheet.codec.binding import AvroDialect, JsonDialect
from callsheet.codec.columnar import load_native
from callsheet.codec.debezium import DebeziumDecoder
from callsheet.codec.declared import declared_schema
from callsheet.codec.events import events
from callsheet.codec.normalized import NormalizedCodec
from callsheet.event import decode_id
from tests.support.envelopes import AvroTable, FakeMessage, FakeRegistry, JsonTable, envelope_schema
from tests.support.every_type import COLUMNS, KEY, change_in_json, changes
from tests.support.examples import examples

pytestmark = pytest.mark.skipif(load_native() is None, reason="callsheet_native is not installed")
POLLS = st.lists(changes(), min_size=1, max_size=6)
THOROUGH = settings(max_examples=examples(20))

REGISTRY = FakeRegistry()
AVRO = AvroTable(REGISTRY, COLUMNS, KEY)
JSON = JsonTable(KEY)
DECLARED = declared_schema(
    json.dumps(envelope_schema(COLUMNS) | {"callsheet.key": list(KEY)}),
)


def avro_decoder(*, is_native: bool) -> DebeziumDecoder:
    return DebeziumDecoder(AvroDialect(REGISTRY), native=load_native() if is_native else None)


def json_decoder(*, is_native: bool) -> DebeziumDecoder:
    dialect = JsonDialect({JSON.topic: DECLARED})
    return DebeziumDecoder(dialect, native=load_native() if is_native else None)


NATIVE = {"avro": avro_decoder(is_native=True), "json": json_decoder(is_native=True)}
ROWS = {"avro": avro_decoder(is_native=False), "json": json_decoder(is_native=False)}
"""Kept from example to example, as a worker keeps its own."""


def messages(wire: str, poll: Sequence[dict[str, Any]]) -> list[FakeMessage]:
    if wire == "avro":
        return [AVRO.message(change, offset=n) for n, change in enumerate(poll)]
    return [JSON.message(change_in_json(change), offset=n) for n, change in enumerate(poll)]


@pytest.mark.parametrize("wire", ["avro", "json"])
@given(poll=POLLS)
@THOROUGH
def test_both_paths_give_one_frame(wire: str, poll: list[dict[str, Any]]) -> None:
    log = messages(wire, poll)

    columns, rows = NATIVE[wire].decode(log), ROWS[wire].decode(log)

    assert not columns.poison
    assert not rows.poison
    [batch], [oracle] = columns.batches, rows.batches
    assert batch.schema == oracle.schema
    assert_frame_equal(batch.frame, oracle.frame, check_exact=True)


@given(poll=POLLS)
@THOROUGH
def test_both_formats_say_the_same(poll: list[dict[str, Any]]) -> None:
    [avro] = NATIVE["avro"].decode(messages("avro", poll)).batches
    [schemaless] = NATIVE["json"].decode(messages("json", poll)).batches

    assert_frame_equal(avro.frame, schemaless.frame, check_exact=True)


@given(poll=POLLS)
@THOROUGH
def test_events_are_the_rows(poll: list[dict[str, Any]]) -> None:
    [batch] = NATIVE["avro"].decode(messages("avro", poll)).batches
    found = list(events(batch))

    assert [ROWS["avro"].decode_event(message) for message in batch.messages] == found
    for event, change in zip(found, poll, strict=True):
        image = change["after"] or change["before"]
        assert decode_id(event.id) == (str(image["id"]), image["code"])
        assert event.position.version == batch.frame["version"][found.index(event)]


@given(poll=POLLS)
@THOROUGH
def test_our_own_events_travel_unchanged(poll: list[dict[str, Any]]) -> None:
    [batch] = NATIVE["avro"].decode(messages("avro", poll)).batches
    found = list(events(batch))
    codecs = [NormalizedCodec(batch.schema, 5, native=n) for n in (load_native(), None)]
    values = [codecs[0].encode(event) for event in found]

    (columns, refused), (rows, poison) = (codec.decode_columns(values) for codec in codecs)

    assert not refused
    assert not poison
    assert_frame_equal(columns, rows, check_exact=True)
    assert [codecs[0].decode(value) for value in values] == found
