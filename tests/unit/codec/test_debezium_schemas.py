"""Schemas that do not serve, and where JSON's come from."""

from __future__ import annotations

import json
from typing import Any

import pytest

from callsheet.codec.binding import AvroDialect, JsonDialect
from callsheet.codec.columnar import NativeModule
from callsheet.codec.debezium import DebeziumDecoder
from callsheet.codec.declared import declared_schema
from callsheet.errors import Reason, RetryableError
from tests.support.decoder_bench import COLUMNS, KEY, TOPIC, Bench, a_title, reasons
from tests.support.envelopes import (
    NATIVES,
    AvroTable,
    FakeMessage,
    FakeRegistry,
    JsonTable,
    an_envelope,
    compact,
    envelope_schema,
    sourced,
)


def test_an_unknown_schema_id_is_poison_and_the_rest_flows() -> None:
    bench = Bench("avro", None)
    unknown = FakeMessage(b"\x00\x00\x00\x00\x63rest", b"\x00\x00\x00\x00\x01k", TOPIC)

    decoded = bench.decoder().decode([bench.titles(1)[0], unknown, bench.titles(2)[1]])

    assert reasons(decoded) == [Reason.UNKNOWN_SCHEMA]
    assert sum(len(batch) for batch in decoded.batches) == 2


def test_a_registry_that_is_away_is_raised_and_may_come_back() -> None:
    bench = Bench("avro", None)
    decoder = bench.decoder()
    bench.registry.is_away = True

    with pytest.raises(RetryableError):
        decoder.decode(bench.titles(1))
    bench.registry.is_away = False

    assert len(decoder.decode(bench.titles(1)).batches) == 1


def test_money_as_double_parks_its_topic_and_only_that() -> None:
    registry = FakeRegistry()
    columns = COLUMNS | {"budget": sourced("double", "DECIMAL", length="15", scale="2")}
    money = AvroTable(registry, columns, KEY, value_id=8, topic="studio.finance.budgets")
    sound = AvroTable(registry, COLUMNS, KEY)
    tombstone = FakeMessage(None, b"k", "studio.finance.budgets")
    messages = [
        money.message(an_envelope(after=a_title() | {"budget": 1.5})),
        tombstone,
        sound.message(an_envelope(after=a_title())),
    ]

    decoded = DebeziumDecoder(AvroDialect(registry), native=None).decode(messages)

    [park] = decoded.parked
    assert (park.topic, park.reason) == ("studio.finance.budgets", "unsupported_schema")
    assert "column budget: money as double" in park.detail
    assert [batch.topic for batch in decoded.batches] == [TOPIC]
    assert decoded.skipped == {}  # all of a parked topic is read again


def test_a_key_that_makes_no_id_parks() -> None:
    registry = FakeRegistry()
    table = AvroTable(registry, COLUMNS | {"weight": "double"}, ["weight"])

    decoded = DebeziumDecoder(AvroDialect(registry), native=None).decode(
        [table.message(an_envelope(after=a_title() | {"weight": 1.0}))]
    )

    assert "weight is float, which makes no ID" in decoded.parked[0].detail


def test_schemas_are_asked_for_once() -> None:
    bench = Bench("avro", None)
    decoder = bench.decoder()
    for _ in range(3):
        decoder.decode(bench.titles(2))

    assert sorted(bench.registry.asked) == [1, 2]


def json_decoder(**declared: Any) -> DebeziumDecoder:
    schemas = {topic: declared_schema(json.dumps(schema)) for topic, schema in declared.items()}
    return DebeziumDecoder(JsonDialect(schemas), native=None)


def test_schemaless_json_without_a_declared_schema_parks() -> None:
    decoded = json_decoder().decode([JsonTable(KEY).message(an_envelope(after=a_title()))])

    [park] = decoded.parked
    assert (park.topic, park.reason) == (TOPIC, "schemaless")


def test_foreign_json_of_an_undeclared_topic_is_poison() -> None:
    messages = [FakeMessage(value) for value in (b'{"hello":1}', b"[1]", b"1", b"{")]

    decoded = json_decoder().decode(messages)

    assert reasons(decoded) == [*[Reason.FOREIGN] * 3, Reason.MALFORMED]


def test_json_on_an_avro_topic_is_schemaless() -> None:
    bench = Bench("avro", None)
    stray = JsonTable(KEY).message(an_envelope(after=a_title()))

    decoded = bench.decoder().decode([stray, *bench.titles(1)])

    assert reasons(decoded) == [Reason.SCHEMALESS]
    assert len(decoded.batches) == 1


@pytest.mark.parametrize("native", NATIVES)
def test_json_may_bring_its_schema_along(native: NativeModule | None) -> None:
    row = {
        "type": "struct",
        "optional": True,
        "fields": [
            {"type": "int64", "optional": False, "field": "title_id"},
            {"type": "string", "optional": False, "field": "region"},
            {"type": "string", "optional": True, "field": "name"},
            {"type": "int16", "optional": False, "field": "is_public"},
            {"type": "int32", "optional": True, "name": "io.debezium.time.Date", "version": 1,
             "field": "launch_date"},
        ],
    }  # fmt: skip
    schema = {
        "type": "struct",
        "fields": [
            {**row, "field": "before"},
            {**row, "field": "after"},
            {"type": "struct", "fields": [], "optional": False, "field": "source"},
            {"type": "string", "optional": False, "field": "op"},
        ],
    }
    envelope = an_envelope(after=a_title() | {"launch_date": 20484})
    key = {"schema": {"type": "struct", "fields": []}, "payload": {"title_id": 1, "region": "eu"}}
    message = FakeMessage(compact({"schema": schema, "payload": envelope}), compact(key), TOPIC)

    decoded = DebeziumDecoder(JsonDialect({}), native=native).decode([message, message])

    [batch] = decoded.batches
    assert batch.schema.key == KEY
    assert batch.frame["id"].to_list() == ["1|eu"] * 2
    assert [str(day) for day in batch.frame["after"].struct["launch_date"]] == ["2026-01-31"] * 2


@pytest.mark.parametrize("native", NATIVES)
def test_a_declared_row_is_neither_more_nor_less(native: NativeModule | None) -> None:
    schema = envelope_schema(COLUMNS) | {"callsheet.key": list(KEY)}
    dialect = JsonDialect({TOPIC: declared_schema(json.dumps(schema))})
    table = JsonTable(KEY)
    without = a_title(2)
    del without["name"]
    lacking = a_title(3)
    del lacking["is_public"]
    rows = [a_title(1), without, lacking, a_title(4) | {"unheard_of": 1}]

    decoded = DebeziumDecoder(dialect, native=native).decode(
        [table.message(an_envelope(after=row), offset=n) for n, row in enumerate(rows)]
    )

    [batch] = decoded.batches
    assert batch.frame["after"].to_list() == [a_title(1), a_title(2, name=None)]
    assert reasons(decoded) == [Reason.SCHEMA_MISMATCH] * 2
    assert "is_public" in decoded.poison[0].detail
    assert "unheard_of" in decoded.poison[1].detail


@pytest.mark.parametrize("native", NATIVES)
def test_a_decimal_beyond_what_mysql_has_goes_by_rows(native: NativeModule | None) -> None:
    name = "org.apache.kafka.connect.data.Decimal"
    size = {"scale": "2", "connect.decimal.precision": "300"}
    wide = {"type": "bytes", "connect.name": name, "connect.parameters": size}
    schema = envelope_schema({"id": "long", "huge": wide}) | {"callsheet.key": ["id"]}
    dialect = JsonDialect({TOPIC: declared_schema(json.dumps(schema))})
    message = JsonTable(("id",)).message(an_envelope(after={"id": 1, "huge": "BQ=="}))

    [batch] = DebeziumDecoder(dialect, native=native).decode([message]).batches

    assert batch.frame["after"].to_list() == [{"id": 1, "huge": "0.05"}]


@pytest.mark.parametrize("native", NATIVES)
def test_nothing_stands_for_a_column_name_with_escapes(native: NativeModule | None) -> None:
    schema = envelope_schema({"id": "long", 'a"b': "long"}) | {"callsheet.key": ["id"]}
    dialect = JsonDialect({TOPIC: declared_schema(json.dumps(schema))})
    good = JsonTable(("id",)).message(an_envelope(after={"id": 1, 'a"b': 5}), offset=0)
    value = (good.value() or b"").replace(b'"a\\"b":', b"\x00")
    assert value != good.value()
    bad = FakeMessage(value, good.key(), good.topic(), offset_=1)

    decoded = DebeziumDecoder(dialect, native=native).decode([good, bad])

    [batch] = decoded.batches
    assert batch.frame["after"].to_list() == [{"id": 1, 'a"b': 5}]
    assert reasons(decoded) == [Reason.MALFORMED]


def test_keys_tell_the_key_where_none_is_declared() -> None:
    decoder = json_decoder(**{TOPIC: envelope_schema(COLUMNS)})
    reverse = JsonTable(("region", "title_id"))

    decoded = decoder.decode(
        [t.message(an_envelope(after=a_title())) for t in (JsonTable(KEY), reverse)]
    )

    assert [batch.frame["id"][0] for batch in decoded.batches] == ["1|eu", "eu|1"]
