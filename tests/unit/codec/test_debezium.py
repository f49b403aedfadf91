"""The decoder's promises, on both paths and in both formats."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from callsheet.batch import FRAME_SCHEMA, Decoded, Partition, Skip
from callsheet.codec.binding import AvroDialect, JsonDialect
from callsheet.codec.columnar import NativeModule
from callsheet.codec.debezium import DebeziumDecoder
from callsheet.codec.declared import declared_schema
from callsheet.codec.events import events, uuids
from callsheet.codec.topics import DecoderOptions
from callsheet.errors import FatalError, PoisonRecordError, Reason, RetryableError
from callsheet.event import Op, Position
from tests.support.envelopes import (
    NATIVES,
    AvroTable,
    FakeMessage,
    FakeRegistry,
    JsonTable,
    an_envelope,
    compact,
    envelope_schema,
    nullable,
    record,
    sourced,
)

TOPIC = "studio.finance.titles"
OTHER_TOPIC = "copied.finance.titles"
COLUMNS = {
    "title_id": "long",
    "region": "string",
    "name": nullable("string"),
    "is_public": sourced("int", "TINYINT", length="1"),
}
KEY = ("title_id", "region")


def a_title(title_id: int = 1, **changes: Any) -> dict[str, Any]:
    return {"title_id": title_id, "region": "eu", "name": "Alien", "is_public": 1} | changes


class Bench:
    """A table's messages in one format, and decoders for them."""

    def __init__(self, wire: str, native: NativeModule | None) -> None:
        self.wire, self.native = wire, native
        self.registry = FakeRegistry()
        self.table: AvroTable | JsonTable = (
            AvroTable(self.registry, COLUMNS, KEY) if wire == "avro" else JsonTable(KEY)
        )

    def decoder(self, epochs: dict[str, int] | None = None, **options: Any) -> DebeziumDecoder:
        schema = json.dumps(envelope_schema(COLUMNS) | {"callsheet.key": list(KEY)})
        dialect = (
            AvroDialect(self.registry)
            if self.wire == "avro"
            else JsonDialect(dict.fromkeys((TOPIC, OTHER_TOPIC), declared_schema(schema)))
        )
        return DebeziumDecoder(
            dialect, native=self.native, epochs=epochs, options=DecoderOptions(**options)
        )

    def message(self, envelope: Any, **place: int) -> FakeMessage:
        return self.table.message(envelope, **place)

    def titles(self, count: int) -> list[FakeMessage]:
        return [
            self.message(an_envelope(after=a_title(n), pos=1000 + n), offset=n)
            for n in range(count)
        ]


@pytest.fixture(params=["avro", "json"])
def wire(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=NATIVES)
def bench(request: pytest.FixtureRequest, wire: str) -> Bench:
    return Bench(wire, request.param)


def reasons(decoded: Decoded) -> list[Reason]:
    return [poison.reason for poison in decoded.poison]


# --- frame --------------------------------------------------------------------------------------


def test_a_batch_has_exactly_the_stated_columns(bench: Bench) -> None:
    update = an_envelope(
        "u",
        before=a_title(name="Aliens"),
        after=a_title(),
        transaction=("gtid:13", 2),
        row=3,
    )
    snapshot = an_envelope(
        "r", after=a_title(2, name=None), snapshot="last", gtid=None, thread=None
    )
    messages = [bench.message(update, offset=7), bench.message(snapshot, partition=1, offset=9)]

    decoded = bench.decoder(epochs={"studio": 4}).decode(messages)

    [batch] = decoded.batches
    row = pl.Struct(
        {"title_id": pl.Int64, "region": pl.String, "name": pl.String, "is_public": pl.Int64}
    )
    assert dict(batch.frame.schema) == {**FRAME_SCHEMA, "before": row, "after": row}
    assert batch.frame.row(0, named=True) == {
        "op": "u",
        "id": "1|eu",
        "ts_us": 1795385766012854,
        "version": (4 + 1) << 32 | (4901 + 3),
        "snapshot": False,
        "gtid": "3adf3bc6-e6c2-11f1-ae3c-02fc00000001:13",
        "file": "binlog.000001",
        "pos": 4901,
        "row": 3,
        "server_id": 4242,
        "transaction_id": "gtid:13",
        "transaction_order": 2,
        "partition": 0,
        "offset": 7,
        "before": a_title(name="Aliens"),
        "after": a_title(),
    }
    assert batch.frame.row(1, named=True)["snapshot"] is True
    assert batch.frame["before"].is_null().to_list() == [False, True]
    assert batch.schema.key == KEY
    assert batch.schema.qualified_name == "finance.titles"
    assert batch.messages == messages
    assert batch.size_bytes == sum(len(m.value_ or b"") + len(m.key_ or b"") for m in messages)
    assert batch.next_offsets() == {Partition(TOPIC, 0): 8, Partition(TOPIC, 1): 10}


def test_a_delete_is_known_by_its_before(bench: Bench) -> None:
    decoded = bench.decoder().decode([bench.message(an_envelope("d", before=a_title(5)))])

    [batch] = decoded.batches
    assert batch.frame.select("op", "id").rows() == [("d", "5|eu")]
    assert batch.frame["after"].to_list() == [None]


def test_a_source_that_knows_milliseconds_only(bench: Bench) -> None:
    envelope = an_envelope(after=a_title(), ts_us=None)

    [batch] = bench.decoder().decode([bench.message(envelope)] * 2).batches

    assert batch.frame["ts_us"].to_list() == [1795385766012000] * 2


def test_declared_booleans(bench: Bench) -> None:
    decoder = bench.decoder(boolean_columns={"finance.titles": ["is_public"]})
    messages = [
        bench.message(an_envelope(after=a_title(n, is_public=n)), offset=n) for n in range(3)
    ]

    decoded = decoder.decode(messages)

    [batch] = decoded.batches
    assert batch.frame["after"].struct["is_public"].to_list() == [False, True]
    assert reasons(decoded) == [Reason.SCHEMA_MISMATCH]
    assert "neither 0 nor 1" in decoded.poison[0].detail


def test_ids_are_escaped(bench: Bench) -> None:
    regions = ["", "a|b", "100%", "tab\t", "nul\x00", '"quoted"', "é😀", "\x7f"]
    rows = [a_title(n, region=region) for n, region in enumerate(regions)]

    decoded = bench.decoder().decode([bench.message(an_envelope(after=row)) for row in rows])

    [batch] = decoded.batches
    assert batch.frame["id"].to_list() == [
        "0|%-", "1|a%7Cb", "2|100%25", "3|tab%09", "4|nul%00", '5|"quoted"', "6|é😀", "7|%7F",
    ]  # fmt: skip


# --- records without a row ----------------------------------------------------------------------


def test_tombstones_are_counted_and_never_rows(bench: Bench) -> None:
    tombstone = FakeMessage(None, bench.table.message(an_envelope(after=a_title())).key_)

    decoded = bench.decoder().decode([*bench.titles(2), tombstone])

    assert decoded.skipped == {Skip.TOMBSTONE: 1}
    assert [len(batch) for batch in decoded.batches] == [2]
    assert bench.decoder().decode([tombstone]).batches == []


@pytest.mark.parametrize(
    ("topic", "skip"),
    [
        ("__debezium-heartbeat.studio", Skip.HEARTBEAT),
        ("studio.finance.callsheet_heartbeat", Skip.HEARTBEAT),
        ("studio.transaction", Skip.TRANSACTION),
        ("studio", Skip.SCHEMA_CHANGE),
    ],
)
def test_a_topic_of_no_rows_is_skipped_whatever_it_holds(
    bench: Bench, topic: str, skip: Skip
) -> None:
    message = FakeMessage(b"anything", b"at all", topic)

    decoded = bench.decoder(topic_prefix="studio").decode([message, message])

    assert decoded == Decoded(skipped={skip: 2}, batches=[], poison=[], truncations=[], parked=[])


BOOKKEEPING: list[tuple[dict[str, Any], Skip]] = [
    ({"ts_ms": 1}, Skip.HEARTBEAT),
    ({"status": "BEGIN", "id": "x", "event_count": 1, "data_collections": "", "ts_ms": 1},
     Skip.TRANSACTION),
    ({"source": "x", "ts_ms": 1, "databaseName": "finance", "ddl": "DROP"}, Skip.SCHEMA_CHANGE),
]  # fmt: skip


@pytest.mark.parametrize(("value", "skip"), BOOKKEEPING)
def test_bookkeeping_is_recognised_by_its_fields(
    bench: Bench, value: dict[str, Any], skip: Skip
) -> None:
    kinds = {str: "string", int: "long"}
    bench.registry.known[9] = record("Note", {name: kinds[type(v)] for name, v in value.items()})
    raw = b"\x00\x00\x00\x00\x09rest" if bench.wire == "avro" else compact(value)

    decoded = bench.decoder().decode([FakeMessage(raw, None, "renamed")])

    assert decoded.skipped == {skip: 1}
    assert not decoded.poison


def test_a_truncation_is_handed_over_and_the_rows_around_it_stay(bench: Bench) -> None:
    truncate = bench.message(an_envelope("t", pos=2000), offset=2)
    rows = bench.titles(2)

    decoded = bench.decoder().decode([rows[0], truncate, rows[1]])

    [cut] = decoded.truncations
    assert (cut.message, cut.table, cut.version) == (truncate, "finance.titles", (1 << 32) + 2000)
    assert [m.offset() for batch in decoded.batches for m in batch.messages] == [0, 1]
    assert not decoded.poison


# --- poison -------------------------------------------------------------------------------------


POISON: dict[str, tuple[Callable[[Bench], FakeMessage], Reason]] = {
    "empty": (lambda b: FakeMessage(b"", b"k"), Reason.MALFORMED),
    "cut short": (lambda b: _changed(b, lambda v: v[:-1]), Reason.MALFORMED),
    "spare bytes": (lambda b: _changed(b, lambda v: v + b"\x01\x01"), Reason.MALFORMED),
    "glued": (lambda b: _changed(b, lambda v: v + v), Reason.MALFORMED),
    "no key": (lambda b: dataclasses.replace(_sound(b), key_=None), Reason.MISSING_KEY),
    "another row's key": (
        lambda b: dataclasses.replace(
            _sound(b), key_=b.message(an_envelope(after=a_title(77))).key_
        ),
        Reason.KEY_MISMATCH,
    ),
    "an operation that is none": (
        lambda b: b.message(an_envelope("m", after=a_title())),
        Reason.FOREIGN,
    ),
    "a create of nothing": (
        lambda b: dataclasses.replace(b.message(an_envelope("c")), key_=_sound(b).key_),
        Reason.FOREIGN,
    ),
    "another connector": (
        lambda b: b.message(an_envelope(after=a_title(), connector="postgresql")),
        Reason.FOREIGN,
    ),
    "another table": (
        lambda b: b.message(an_envelope(after=a_title(), table="talent")),
        Reason.FOREIGN,
    ),
    "no binlog file": (
        lambda b: b.message(an_envelope(after=a_title(), file="binlog")),
        Reason.FOREIGN,
    ),
    "an unknown snapshot mark": (
        lambda b: b.message(an_envelope(after=a_title(), snapshot="perhaps")),
        Reason.FOREIGN,
    ),
    "oversize": (
        lambda b: b.message(an_envelope(after=a_title(name="x" * 5000))),
        Reason.OVERSIZE,
    ),
}


def _sound(bench: Bench) -> FakeMessage:
    return bench.message(an_envelope(after=a_title(3)))


def _changed(bench: Bench, change: Callable[[bytes], bytes]) -> FakeMessage:
    sound = _sound(bench)
    return dataclasses.replace(sound, value_=change(sound.value_ or b""))


@pytest.mark.parametrize(
    ("name", "where"),
    # The first record says which table a topic is of: there, no table is another one.
    [(name, n) for name in POISON for n in (0, 2, 4) if (name, n) != ("another table", 0)],
)
def test_poison_is_isolated_wherever_it_stands(bench: Bench, name: str, where: int) -> None:
    make, reason = POISON[name]
    good = bench.titles(4)
    bad = make(bench)

    decoded = bench.decoder(max_value_bytes=4000).decode([*good[:where], bad, *good[where:]])

    assert reasons(decoded) == [reason]
    assert decoded.poison[0].message is bad
    assert [m for batch in decoded.batches for m in batch.messages] == good
    assert [i for b in decoded.batches for i in b.frame["id"]] == ["0|eu", "1|eu", "2|eu", "3|eu"]


def test_a_poll_of_poison_alone(bench: Bench) -> None:
    decoded = bench.decoder().decode([FakeMessage(b"\x01"), FakeMessage(b"")])

    assert reasons(decoded) == [Reason.MALFORMED] * 2
    assert decoded.batches == []


def test_nothing_of_a_row_is_in_a_detail(bench: Bench) -> None:
    secret = a_title(name="Confidential", is_public=99)
    decoder = bench.decoder(boolean_columns={"finance.titles": ["is_public"]})

    decoded = decoder.decode([bench.message(an_envelope(after=secret))])

    assert "Confidential" not in decoded.poison[0].detail
    assert "99" not in decoded.poison[0].detail


# --- versions -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    [
        {"pos": (1 << 32) - 1, "row": 1},
        {"pos": -2},
        {"file": "binlog.2147483648"},
        {"file": "binlog.000000"},
    ],
)
def test_a_version_that_does_not_fit_stops_everything(bench: Bench, source: dict[str, Any]) -> None:
    messages = [*bench.titles(2), bench.message(an_envelope(after=a_title(9), **source))]

    with pytest.raises(FatalError, match="does not fit a 63-bit version"):
        bench.decoder().decode(messages)


def test_the_highest_version_fits(bench: Bench) -> None:
    envelope = an_envelope(after=a_title(), file="b.2147483646", pos=(1 << 32) - 2, row=1)

    [batch] = bench.decoder(epochs={"studio": 1}).decode([bench.message(envelope)] * 2).batches

    assert batch.frame["version"].to_list() == [(1 << 63) - 1] * 2


# --- groups -------------------------------------------------------------------------------------


def test_log_order_survives_alternating_schemas() -> None:
    registry = FakeRegistry()
    old = AvroTable(registry, COLUMNS, KEY, value_id=2)
    new = AvroTable(registry, COLUMNS | {"extra": nullable("int")}, KEY, value_id=3)
    extra = {"extra": None}
    log = [(old, 0), (new, 0), (old, 0), (new, 1), (old, 1), (new, 1)]
    messages = [
        table.message(
            an_envelope(after=a_title(n) | (extra if table is new else {})),
            partition=partition,
            offset=n,
        )
        for n, (table, partition) in enumerate(log)
    ]

    decoded = DebeziumDecoder(AvroDialect(registry), native=None).decode(messages)

    order = [(m.partition(), m.offset()) for batch in decoded.batches for m in batch.messages]
    assert [offset for number, offset in order if number == 0] == [0, 1, 2]
    assert [offset for number, offset in order if number == 1] == [3, 4, 5]
    assert len(decoded.batches) == 4  # old, new, old, new: no fewer keeps the order
    assert len({batch.schema.fingerprint for batch in decoded.batches}) == 2
    for batch in decoded.batches:
        assert [n for n, _ in batch.frame.select("offset", "op").rows()] == [
            m.offset() for m in batch.messages
        ]


def test_several_topics_in_one_poll(bench: Bench) -> None:
    other = [dataclasses.replace(m, topic_=OTHER_TOPIC) for m in bench.titles(2)]

    decoded = bench.decoder().decode([other[0], *bench.titles(3), other[1]])

    assert {b.topic: len(b) for b in decoded.batches} == {TOPIC: 3, OTHER_TOPIC: 2}


# --- schemas that do not serve ------------------------------------------------------------------


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


# --- JSON's schemas -----------------------------------------------------------------------------


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


# --- events -------------------------------------------------------------------------------------


def test_events_and_uuids_of_a_batch(bench: Bench) -> None:
    envelope = an_envelope("u", before=a_title(name=None), after=a_title(), transaction=("t", 1))
    message = bench.message(envelope, partition=3, offset=44)
    decoder = bench.decoder(epochs={"studio": 2})

    [batch] = decoder.decode([message, message]).batches
    event, again = events(batch)

    assert event == again == decoder.decode_event(message)
    assert uuids(batch).to_list() == [str(event.uuid)] * 2
    assert (event.op, event.id, event.position) == (Op.UPDATE, "1|eu", Position(2, 1, 4901, 0))
    assert event.uuid.version == 8
    assert (event.origin.partition, event.origin.offset) == (3, 44)
    assert event.before == a_title(name=None)


def test_uuids_differ_where_changes_do(bench: Bench) -> None:
    changes = [
        an_envelope("d", before=a_title()),
        an_envelope("c", after=a_title(2)),
        an_envelope("c", after=a_title(2), row=1),
        an_envelope("r", after=a_title(2), snapshot="true", gtid=None),
        an_envelope("r", after=a_title(3), snapshot="true", gtid=None),
    ]

    decoded = bench.decoder().decode([bench.message(change) for change in changes])

    found = [uuid for batch in decoded.batches for uuid in uuids(batch)]
    assert len(set(found)) == len(changes)


def test_what_is_no_event_is_refused_one_by_one() -> None:
    bench = Bench("avro", None)
    for message in (FakeMessage(None), bench.message(an_envelope("t"))):
        with pytest.raises(PoisonRecordError):
            bench.decoder().decode_event(message)
