"""A sweep's records: decoded by our own decoders and by fastavro, with the keys that Debezium
wrote, byte for byte.
"""

from __future__ import annotations

import io
import json
from typing import Any

import fastavro
import pytest

from callsheet.batch import Batch
from callsheet.codec.binding import AvroDialect, JsonDialect
from callsheet.codec.columnar import NativeModule
from callsheet.codec.debezium import DebeziumDecoder
from callsheet.codec.declared import DeclaredSchema, declared_schema
from callsheet.codec.events import events
from callsheet.errors import PreconditionError
from callsheet.event import Op
from callsheet.ports import OutgoingRecord
from callsheet.sweep.keys import UnkeyedError
from callsheet.sweep.records import HEADER, Deletes
from callsheet.sweep.tables import SweptTable, avro_table, json_table
from callsheet.sweep.watermark import Cause, Place, Watermark
from tests.support.envelopes import (
    NATIVES,
    AvroTable,
    FakeMessage,
    FakeRegistry,
    JsonTable,
    an_envelope,
    decimal,
    envelope_schema,
    nullable,
    semantic,
    sourced,
    unscaled,
)

TOPIC = "studio.finance.titles"
IDENTITY = ("studio", "finance", "titles")
MARK = Watermark(Cause.SNAPSHOT, Place("binlog.000003", 157))
NOW_US = 1_795_400_000_000_123

KEYS: dict[str, tuple[Any, Any]] = {
    "integer": ("long", -42),
    "unsigned": (sourced(decimal(20, 0), "BIGINT UNSIGNED"), unscaled(2**64 - 1)),
    "unsigned as long": (sourced("long", "BIGINT UNSIGNED"), 2**63 - 1),
    "boolean": ("boolean", True),
    "decimal": (decimal(10, 2), unscaled(-1250)),
    "decimal below its unit": (decimal(10, 3), unscaled(-5)),
    "decimal as text": (sourced("string", "DECIMAL", length="10", scale="2"), "-12.50"),
    "text": ("string", 'a|b "quoted" \\ % ü 🎬'),
    "empty text": ("string", ""),
    "bytes": ("bytes", b"\x00\xff|%"),
    "bits": (semantic("bytes", "io.debezium.data.Bits", length="9"), b"\x01\x01"),
    "date": (semantic("int", "io.debezium.time.Date"), -719_162),
    "datetime in millis": (semantic("long", "io.debezium.time.Timestamp"), 1_795_385_766_047),
    "datetime in micros": (semantic("long", "io.debezium.time.MicroTimestamp"), -1),
    "time": (semantic("long", "io.debezium.time.MicroTime"), -3_020_399_000_000),
    "timestamp": (semantic("string", "io.debezium.time.ZonedTimestamp"), "2026-11-23T08:00:00Z"),
    "year": (semantic("int", "io.debezium.time.Year"), 2026),
    "enum": (semantic("string", "io.debezium.data.Enum", allowed="x,y"), "y"),
}


NUMBERS = {
    "unsigned": "18446744073709551615",
    "decimal": "-12.50",
    "decimal below its unit": "-0.005",
}
"""As JSON has what Avro carries in bytes."""


class Registry(FakeRegistry):
    """That also knows which schema is the last of a subject."""

    def __init__(self, subjects: dict[str, int]) -> None:
        super().__init__()
        self.subjects = subjects

    def latest(self, subject: str) -> int | None:
        return self.subjects.get(subject)


def a_registry() -> Registry:
    return Registry({f"{TOPIC}-key": 1, f"{TOPIC}-value": 2})


def deletes_of(table: SweptTable | None, mark: Watermark = MARK) -> Deletes:
    assert table is not None
    return Deletes(TOPIC, table.schema, mark, table.wire, lambda: NOW_US)


def messages(records: list[OutgoingRecord]) -> list[FakeMessage]:
    return [
        FakeMessage(value, key, TOPIC, 0, number, headers)
        for number, (key, value, headers) in enumerate(records)
    ]


def only(batches: Any) -> Batch:
    [batch] = batches
    assert isinstance(batch, Batch)
    return batch


@pytest.mark.parametrize("native", NATIVES)
@pytest.mark.parametrize("kind", KEYS)
def test_the_key_in_avro_is_the_one_that_debezium_wrote(
    kind: str, native: NativeModule | None
) -> None:
    node, value = KEYS[kind]
    registry = a_registry()
    columns = {"k": node, "region": "string", "must": "string"}
    table = AvroTable(registry, columns, ("k", "region"))
    row = {"k": value, "region": "eu", "must": "be"}
    decoder = DebeziumDecoder(AvroDialect(registry), native=native)
    created = table.message(an_envelope(after=row))
    (identifier,) = only(decoder.decode([created]).batches).frame["id"]

    made = list(
        deletes_of(avro_table(TOPIC, IDENTITY, frozenset(), registry)).records([identifier])
    )

    assert [key for key, *_ in made] == [created.key_] * 2
    decoded = decoder.decode(messages(made))
    assert not decoded.poison
    frame = only(decoded.batches).frame
    assert frame.select("op", "id", "version").rows() == [("d", identifier, (3 << 32) + 156)]


@pytest.mark.parametrize("kind", sorted(KEYS.keys() - {"bytes", "bits"}))
def test_the_key_in_json_is_the_one_that_debezium_wrote(kind: str) -> None:
    node, value = KEYS[kind]
    declared = _declared({"k": node, "region": "string"}, ["k", "region"])
    text = NUMBERS.get(kind) or json.dumps(value, ensure_ascii=False)
    key = f'{{"k":{text},"region":"eu"}}'.encode()
    row = b'{"before":null,"after":%b,' % key
    envelope = json.dumps(an_envelope("c"), separators=(",", ":")).encode()
    created = FakeMessage(envelope.replace(b'{"before":null,"after":null,', row), key, TOPIC)
    decoder = DebeziumDecoder(JsonDialect(declared), native=None)
    (identifier,) = only(decoder.decode([created]).batches).frame["id"]

    made = list(
        deletes_of(json_table(TOPIC, IDENTITY, frozenset(), declared)).records([identifier])
    )

    assert [key for key, *_ in made] == [created.key_] * 2
    frame = only(decoder.decode(messages(made)).batches).frame
    assert frame.select("op", "id", "version").rows() == [("d", identifier, (3 << 32) + 156)]


def test_bytes_in_a_json_key_are_base64() -> None:
    declared = _declared({"k": "bytes"}, ["k"])
    table = json_table(TOPIC, IDENTITY, frozenset(), declared)
    made = list(deletes_of(table).records(["00ff"]))
    assert made[0][0] == b'{"k":"AP8="}'
    decoder = DebeziumDecoder(JsonDialect(declared), native=None)
    assert only(decoder.decode(messages(made)).batches).frame["id"].to_list() == ["00ff"]


def test_text_in_a_json_key_is_escaped_as_jackson_does() -> None:
    table = json_table(TOPIC, IDENTITY, frozenset(), _declared({"k": "string"}, ["k"]))
    made = list(deletes_of(table).records(["%1F\n\\u001f/é".replace("\n", "%0A")]))
    assert made[0][0] == '{"k":"\\u001F\\n\\\\u001f/é"}'.encode()


def test_a_json_table_without_a_declared_key_is_refused() -> None:
    schema = declared_schema(json.dumps(envelope_schema({"k": "long"})))
    for declared in ({}, {TOPIC: schema}):
        with pytest.raises(PreconditionError) as caught:
            json_table(TOPIC, IDENTITY, frozenset(), declared)
        assert "callsheet.key" in caught.value.hint


def test_fastavro_reads_a_delete_with_nothing_of_the_row_but_its_key() -> None:
    registry, made = _two_deletes()
    (key, value, headers), (again, tombstone, _), *_ = made
    assert key == again
    assert tombstone is None
    assert headers == [(HEADER, b"snapshot binlog.000003:157")]
    assert value is not None
    assert key is not None
    schema = fastavro.parse_schema(registry.known[2])
    found: Any = fastavro.schemaless_reader(io.BytesIO(value[5:]), schema, None)
    assert (found["op"], found["before"], found["after"]) == ("d", None, None)
    source = found["source"]
    assert (source["name"], source["db"], source["table"]) == IDENTITY
    assert (source["file"], source["pos"], source["snapshot"]) == ("binlog.000003", 156, "false")
    assert source["ts_us"] == found["ts_us"] == NOW_US
    named: Any = fastavro.schemaless_reader(
        io.BytesIO(key[5:]), fastavro.parse_schema(registry.known[1]), None
    )
    assert named == {"title_id": 7, "region": "eu"}


def test_deletes_of_one_watermark_have_identities_of_their_own_and_keep_them() -> None:
    registry, made = _two_deletes()
    decoder = DebeziumDecoder(AvroDialect(registry), native=None)
    first = list(events(only(decoder.decode(messages(made)).batches)))
    _, later = _two_deletes()
    second = list(events(only(decoder.decode(messages(later)).batches)))
    assert [event.op for event in first] == [Op.DELETE] * 2
    assert first[0].uuid != first[1].uuid
    assert [event.uuid for event in first] == [event.uuid for event in second]
    assert not first[0].origin.snapshot
    assert first[0].origin.transaction_id == "callsheet-sweep:snapshot:binlog.000003:157"
    # Another watermark is another delete, also at the same position of another file.
    _, other = _two_deletes(Watermark(Cause.SNAPSHOT, Place("binlog.000004", 157)))
    third = list(events(only(decoder.decode(messages(other)).batches)))
    assert first[0].uuid != third[0].uuid


def test_an_id_of_another_key_is_none() -> None:
    registry = a_registry()
    AvroTable(registry, {"title_id": "long", "region": "string"}, ("title_id", "region"))
    deletes = deletes_of(avro_table(TOPIC, IDENTITY, frozenset(), registry))
    for identifier in ("7", "7|eu|x", "0a1b|eu", "7|%zz"):
        with pytest.raises(UnkeyedError):
            list(deletes.records([identifier]))


def test_a_table_that_was_never_captured_has_no_records() -> None:
    assert avro_table(TOPIC, IDENTITY, frozenset(), Registry({})) is None


def _two_deletes(mark: Watermark = MARK) -> tuple[Registry, list[OutgoingRecord]]:
    registry = a_registry()
    columns = {"title_id": "long", "region": "string", "name": "string", "x": nullable("int")}
    AvroTable(registry, columns, ("title_id", "region"))
    deletes = deletes_of(avro_table(TOPIC, IDENTITY, frozenset(), registry), mark)
    return registry, list(deletes.records(["7|eu", "8|eu"]))


def _declared(columns: dict[str, Any], key: list[str]) -> dict[str, DeclaredSchema]:
    text = json.dumps(envelope_schema(columns) | {"callsheet.key": key})
    return {TOPIC: declared_schema(text)}


def test_the_tables_of_json_and_avro_are_the_same() -> None:
    """One table model behind both wires, and JsonTable's own key as the judge of the order."""
    columns = {"title_id": "long", "region": "string"}
    table = json_table(TOPIC, IDENTITY, frozenset(), _declared(columns, ["region", "title_id"]))
    (key, *_), *_ = deletes_of(table).records(["eu|7"])
    row = {"title_id": 7, "region": "eu"}
    assert key == JsonTable(("region", "title_id")).message(an_envelope(after=row)).key_
