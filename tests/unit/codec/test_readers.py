"""One raw value: exactly what was written, or nothing."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from callsheet.codec.avro import AvroReader, schema_id
from callsheet.codec.avro_schema import SchemaError
from callsheet.codec.json import JsonReader, avro_of_connect
from callsheet.errors import PoisonRecordError, Reason
from tests.support.envelopes import record

FRAME = b"\x00\x00\x00\x00\x07"
READER = AvroReader(record("R", {"a": "long", "b": ["null", "string"], "c": "boolean"}))


def refusal(value: bytes) -> Reason:
    with pytest.raises(PoisonRecordError) as caught:
        READER.read(FRAME + value)
    return caught.value.reason


def test_a_canonical_value_is_read() -> None:
    assert READER.read(FRAME + b"\x02\x02\x02x\x01") == {"a": 1, "b": "x", "c": True}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\x02\x02\x04x", id="cut short"),
        pytest.param(b"\x02\x00\x01\x00", id="spare byte"),
        pytest.param(b"\x82\x00\x00\x01", id="overlong integer"),
        pytest.param(b"\xff" * 11 + b"\x00\x01", id="integer without end"),
        pytest.param(b"\x02\x04\x01", id="branch beyond the union"),
        pytest.param(b"\x02\x01\x02x\x01", id="negative branch"),
        pytest.param(b"\x02\x02\x02\xff\x01", id="not UTF-8"),
        pytest.param(b"\x02\x02\x03x\x01", id="negative length"),
        pytest.param(b"\x02\x00\x02", id="boolean of 2"),
    ],
)
def test_any_other_bytes_are_malformed(body: bytes) -> None:
    assert refusal(body) is Reason.MALFORMED


def test_logical_types_stay_as_they_are_on_the_wire() -> None:
    money = {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}

    assert AvroReader(money).read(FRAME + b"\x02\x05") == b"\x05"


def test_references_are_known() -> None:
    reader = AvroReader(record("R", {"o": "other.Row"}), [record("other.Row", {"x": "int"})])

    assert reader.read(FRAME + b"\x02") == {"o": {"x": 1}}
    with pytest.raises(SchemaError):
        AvroReader(record("R", {"o": "other.Row"}))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", Reason.MALFORMED),
        (b"\x00\x00\x00", Reason.MALFORMED),
        (b"\x01\x00\x00\x00\x01", Reason.MALFORMED),
        (b'{"op":"c"}', Reason.SCHEMALESS),
    ],
)
def test_a_value_without_frame(value: bytes, reason: Reason) -> None:
    with pytest.raises(PoisonRecordError) as caught:
        schema_id(value)

    assert caught.value.reason is reason


def test_a_frame_names_its_schema() -> None:
    assert schema_id(b"\x00\xff\xff\xff\xff") == 2**32 - 1


def test_json_keeps_fractions_exact() -> None:
    assert JsonReader().read(b'{"a":0.10,"b":1e400}') == {
        "a": Decimal("0.10"),
        "b": Decimal("1e400"),
    }


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{",
        b"{} x",
        b'{"a":NaN}',
        b'{"a":01}',
        b'"\xff"',
        b'"\\ud800"',
        b'"\x01"',
        b"[" * 9999,
    ],
)
def test_other_json_is_malformed(value: bytes) -> None:
    with pytest.raises(PoisonRecordError) as caught:
        JsonReader().read(value)

    assert caught.value.reason is Reason.MALFORMED


def test_only_connects_own_wrapping_is_taken_off() -> None:
    reader = JsonReader()

    assert reader.unwrap(b'{"schema":{"a":1},"payload":{"b":2}}') == (b'{"a":1}', b'{"b":2}')
    assert reader.unwrap(b'{"b":2}') == (None, b'{"b":2}')
    for broken in (b'{"schema":', b'{"schema":1}'):
        with pytest.raises(PoisonRecordError):
            reader.unwrap(broken)


@pytest.mark.parametrize(
    ("connect", "avro"),
    [
        ({"type": "int16"}, {"type": "int"}),
        ({"type": "int64", "optional": True}, ["null", {"type": "long"}]),
        (
            {"type": "int32", "name": "io.debezium.time.Date"},
            {"type": "int", "connect.name": "io.debezium.time.Date"},
        ),
        (
            {"type": "string", "parameters": {"allowed": "a,b"}},
            {"type": "string", "connect.parameters": {"allowed": "a,b"}},
        ),
        (
            {"type": "array", "items": {"type": "float"}},
            {"type": "array", "items": {"type": "float"}},
        ),
    ],
)
def test_connects_schema_in_avro_form(connect: Any, avro: Any) -> None:
    assert avro_of_connect(connect) == avro


@pytest.mark.parametrize("schema", [None, {"type": "map"}, {"type": "struct"}, {"fields": []}])
def test_a_schema_of_connect_that_is_none(schema: Any) -> None:
    with pytest.raises(SchemaError):
        avro_of_connect(schema)
