"""One bad record is one dead letter: it neither parks its topic nor stays in memory."""

from __future__ import annotations

import json
from typing import Any

import fastavro
import pytest

from callsheet.codec.binding import AvroDialect, JsonDialect
from callsheet.codec.blame import MAX_EMBEDDED_BYTES
from callsheet.codec.debezium import MOST_KNOWN, DebeziumDecoder
from callsheet.codec.declared import declared_schema
from callsheet.errors import Reason
from tests.support.envelopes import (
    AvroTable,
    FakeMessage,
    FakeRegistry,
    JsonTable,
    an_envelope,
    compact,
    envelope_schema,
    framed,
    record,
)

TOPIC = "studio.finance.titles"
COLUMNS = {"title_id": "long", "name": "string"}
ROW = {"title_id": 1, "name": "Alien"}
ENVELOPE = an_envelope(after=ROW)
STRANGE_ID = 77

FOREIGN_KEYS: dict[str, tuple[Any, Any, Reason]] = {
    "a number": ("long", 1, Reason.MISSING_KEY),
    "a union": (["null", "long"], 1, Reason.MISSING_KEY),
    "no columns": (record("Key", {}), {}, Reason.MISSING_KEY),
    "another column": (record("Key", {"talent_id": "long"}), {"talent_id": 1}, Reason.KEY_MISMATCH),
    "an array": ({"type": "array", "items": "long"}, [1], Reason.MISSING_KEY),
}


@pytest.mark.parametrize("name", FOREIGN_KEYS)
def test_a_strange_avro_key_costs_its_record_only(name: str) -> None:
    schema, key, reason = FOREIGN_KEYS[name]
    registry = FakeRegistry()
    table = AvroTable(registry, COLUMNS, ["title_id"])
    registry.known[STRANGE_ID] = schema
    strange = framed(STRANGE_ID, fastavro.parse_schema(schema), key)
    good = [table.message(ENVELOPE, offset=n) for n in (0, 2)]
    bad = FakeMessage(table.value(ENVELOPE), strange, TOPIC, offset_=1)

    decoded = DebeziumDecoder(AvroDialect(registry), native=None).decode([good[0], bad, good[1]])

    assert (decoded.parked, [p.reason for p in decoded.poison]) == ([], [reason])
    assert decoded.poison[0].message is bad
    assert [m for b in decoded.batches for m in b.messages] == good


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "record", "name": "X", "fields": [{"name": "a", "type": "Nowhere"}]},
        {"type": "record", "fields": []},
        {"type": "what"},
        None,
    ],
    ids=str,
)
def test_a_strange_value_schema_is_foreign(schema: Any) -> None:
    registry = FakeRegistry()
    table = AvroTable(registry, COLUMNS, ["title_id"])
    registry.known[STRANGE_ID] = schema
    bad = FakeMessage(b"\x00" + STRANGE_ID.to_bytes(4, "big") + b"x", table.key(ROW), TOPIC)

    decoded = DebeziumDecoder(AvroDialect(registry), native=None).decode(
        [bad, table.message(ENVELOPE, offset=1)]
    )

    assert (decoded.parked, [p.reason for p in decoded.poison]) == ([], [Reason.FOREIGN])
    assert len(decoded.batches) == 1


def test_an_envelope_that_makes_no_sense_still_parks_its_table() -> None:
    registry = FakeRegistry()
    table = AvroTable(registry, COLUMNS, ["title_id"])
    schema = envelope_schema(COLUMNS)
    schema["fields"][4]["type"] = "Nowhere"
    registry.known[table.value_id] = schema

    decoded = DebeziumDecoder(AvroDialect(registry), native=None).decode([table.message(ENVELOPE)])

    assert [park.topic for park in decoded.parked] == [TOPIC]


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (b"{}", Reason.MISSING_KEY),
        (b"7", Reason.MISSING_KEY),
        (b'{"talent_id":1}', Reason.KEY_MISMATCH),
        (b'{"":1,"title_id":1}', Reason.KEY_MISMATCH),
    ],
)
def test_a_strange_json_key_costs_its_record_only(key: bytes, reason: Reason) -> None:
    declared = {TOPIC: declared_schema(json.dumps(envelope_schema(COLUMNS)))}
    good = JsonTable(["title_id"]).message(ENVELOPE)
    bad = FakeMessage(good.value(), key, TOPIC, offset_=1)

    decoded = DebeziumDecoder(JsonDialect(declared), native=None).decode([bad, good])

    assert (decoded.parked, [p.reason for p in decoded.poison]) == ([], [reason])
    assert len(decoded.batches) == 1


# --- schemas that JSON brings along ---------------------------------------------------------------


def embedded(schema: Any, payload: Any = ENVELOPE, offset: int = 0) -> FakeMessage:
    value = compact({"schema": schema, "payload": payload})
    return FakeMessage(value, b'{"title_id":1}', TOPIC, offset_=offset)


def connect_schema(name: str = "Envelope", **more: str) -> dict[str, Any]:
    row = {
        "type": "struct",
        "optional": True,
        "fields": [
            {"type": "int64", "field": "title_id"},
            {"type": "string", "field": "name"},
        ],
    }
    return {
        "type": "struct",
        "name": name,
        **more,
        "fields": [
            {**row, "field": "before"},
            {**row, "field": "after"},
            {"type": "struct", "fields": [], "field": "source"},
            {"type": "string", "field": "op"},
        ],
    }


def nested(depth: int) -> bytes:
    inner = b'{"type":"int64"}'
    for _ in range(depth):
        inner = b'{"type":"array","items":' + inner + b"}"
    return b'{"schema":' + inner + b',"payload":{}}'


def test_a_strange_embedded_schema_costs_its_record_only() -> None:
    strange = [5, "text", None, {"type": "what"}, {"type": "struct"}, {"type": "int64"}]
    bad = [embedded(schema, offset=n) for n, schema in enumerate(strange)]
    bad.append(FakeMessage(nested(400), b'{"title_id":1}', TOPIC, offset_=90))
    good = embedded(connect_schema(), offset=91)

    decoded = DebeziumDecoder(JsonDialect({}), native=None).decode([*bad, good])

    assert decoded.parked == []
    assert {p.reason for p in decoded.poison} <= {Reason.FOREIGN, Reason.MALFORMED}
    assert [p.message for p in decoded.poison] == bad
    assert len(decoded.batches) == 1


def test_a_record_without_schema_among_those_that_bring_it_is_poison() -> None:
    decoder = DebeziumDecoder(JsonDialect({}), native=None)
    stray = FakeMessage(compact(ENVELOPE), b'{"title_id":1}', TOPIC, offset_=1)

    decoded = decoder.decode([embedded(connect_schema()), stray])

    assert (decoded.parked, [p.reason for p in decoded.poison]) == ([], [Reason.SCHEMALESS])


def test_a_schema_larger_than_any_tables_is_poison() -> None:
    bad = embedded(connect_schema(doc="x" * MAX_EMBEDDED_BYTES))

    decoded = DebeziumDecoder(JsonDialect({}), native=None).decode([bad])

    assert [p.reason for p in decoded.poison] == [Reason.OVERSIZE]


def test_what_is_kept_of_schemas_is_bounded() -> None:
    decoder = DebeziumDecoder(JsonDialect({}), native=None)
    for n in range(MOST_KNOWN + 50):
        decoded = decoder.decode([embedded(connect_schema(f"Envelope{n}"))])
        assert len(decoded.batches) == 1
    assert len(decoder._shapes) == len(decoder._tables) == MOST_KNOWN
