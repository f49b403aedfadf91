"""Callsheet's own event: the same after a round trip, and nothing else passes for one."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import fastavro
import pytest

from callsheet.codec.avro import framed, without_logical_types
from callsheet.codec.avro_schema import fields_of, optional, resolve
from callsheet.codec.columnar import NativeModule
from callsheet.codec.fields import field_of
from callsheet.codec.normalized import FRAME_COLUMNS, NormalizedCodec
from callsheet.codec.normalized_schema import event_schema
from callsheet.errors import PoisonRecordError, Reason
from callsheet.event import Event, Op, Origin, Position, event_uuid
from callsheet.schema import Column, Kind, TableSchema
from tests.support.envelopes import NATIVES
from tests.support.envelopes import framed as written

COLUMNS = (
    Column("id", Kind.INTEGER, nullable=False, source_type="BIGINT"),
    Column("budget", Kind.DECIMAL, precision=15, scale=2, source_type="DECIMAL"),
    Column("wide", Kind.DECIMAL, precision=65, scale=30),
    Column("sold", Kind.UNSIGNED, source_type="BIGINT UNSIGNED"),
    Column("launch", Kind.DATE),
    Column("seen", Kind.DATETIME, fraction=6, source_type="DATETIME"),
    Column("phase", Kind.ENUM, allowed=("a", "b,c"), source_type="ENUM"),
    Column("flag", Kind.BOOLEAN),
    Column("place", Kind.GEOMETRY),
    Column("token", Kind.BYTES, length=16, source_type="BINARY"),
)
SCHEMA = TableSchema("studio", "finance", "4-titles", COLUMNS, ("id",), "f")
ROW: dict[str, Any] = {
    "id": 7,
    "budget": Decimal("-12.30"),
    "wide": "0." + "0" * 29 + "1",
    "sold": 2**64 - 1,
    "launch": date(2026, 1, 31),
    "seen": datetime.fromisoformat("1969-12-31T23:59:59.999999"),
    "phase": "b,c",
    "flag": True,
    "place": {"wkb": b"\x01", "srid": 4326},
    "token": b"\x00\xff",
}
EVENT = Event(
    uuid=event_uuid("one"),
    op=Op.UPDATE,
    id="7",
    ts_us=1795385766012854,
    position=Position(3, 42, 4901, 2),
    before=None,
    after=ROW,
    origin=Origin(
        "studio", "finance", "4-titles", "studio.finance.titles", 2, 99, 4242, None, "b.000042"
    ),
)


@pytest.fixture(params=NATIVES)
def codec(request: pytest.FixtureRequest) -> NormalizedCodec:
    return NormalizedCodec(SCHEMA, 5, native=request.param)


def test_an_event_is_the_same_after_a_round_trip(codec: NormalizedCodec) -> None:
    empty = dict.fromkeys(ROW) | {"id": 8}
    for event in (EVENT, replace(EVENT, op=Op.DELETE, before=empty, after=None)):
        assert codec.decode(codec.encode(event)) == event


def test_columns_are_the_events(codec: NormalizedCodec) -> None:
    values = [codec.encode(EVENT), b"\x00\x00\x00\x00\x06other", codec.encode(EVENT)[:-1]]

    frame, refused = codec.decode_columns([*values, values[0]])

    assert tuple(frame.columns) == FRAME_COLUMNS
    assert frame["uuid"].to_list() == [str(EVENT.uuid)] * 2
    assert frame["version"].to_list() == [EVENT.position.version] * 2
    assert frame["after"].to_list() == [ROW] * 2
    assert {index: fault.reason for index, fault in refused.items()} == {
        1: Reason.MALFORMED,
        2: Reason.MALFORMED,
    }


SPOILED: dict[str, dict[str, Any]] = {
    "a UUID that is none": {"uuid": "x"},
    "a UUID in another form": {"uuid": str(EVENT.uuid).upper()},
    "a type that is none": {"type": "x"},
    "a version of another position": {
        "position": {"version": (45 << 32) + 1, "file": "b.000042", "pos": 4901, "row": 2}
    },
    "a negative version": {
        "position": {"version": -(1 << 40), "file": "b.000042", "pos": 0, "row": 0}
    },
    "no binlog file": {
        "position": {"version": (45 << 32) + 4903, "file": "b", "pos": 4901, "row": 2}
    },
}


@pytest.mark.parametrize("name", SPOILED)
def test_what_is_inconsistent_is_poison(codec: NormalizedCodec, name: str) -> None:
    parsed = fastavro.parse_schema(without_logical_types(event_schema(SCHEMA)))
    datum = codec._datum(EVENT) | SPOILED[name]
    value = written(5, parsed, datum)

    frame, refused = codec.decode_columns([value, codec.encode(EVENT)])

    assert list(refused) == [0]
    assert frame.height == 1
    with pytest.raises(PoisonRecordError):
        codec.decode(value)


def test_columns_survive_the_schema() -> None:
    image = optional(fields_of(resolve(event_schema(SCHEMA)))["after"]).node
    again = tuple(field_of(name, node).column for name, node in fields_of(image).items())

    assert again == COLUMNS


def test_the_schema_is_legal_for_others() -> None:
    schema = event_schema(SCHEMA)

    assert schema["namespace"] == "callsheet.finance._4_titles"
    fastavro.parse_schema(schema)


@pytest.mark.parametrize("native", NATIVES)
def test_a_batch_of_nothing(native: NativeModule | None) -> None:
    frame, refused = NormalizedCodec(SCHEMA, 5, native=native).decode_columns([])

    assert (frame.height, dict(refused)) == (0, {})
    assert tuple(frame.columns) == FRAME_COLUMNS


def test_a_value_that_the_schema_cannot_hold_is_not_written() -> None:
    finer = replace(EVENT, after=ROW | {"budget": Decimal("0.001")})

    with pytest.raises(PoisonRecordError) as caught:
        NormalizedCodec(SCHEMA, 5).encode(finer)

    assert caught.value.reason is Reason.UNREPRESENTABLE
    assert framed(5, b"x") == b"\x00\x00\x00\x00\x05x"
