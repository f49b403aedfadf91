"""The decoder's frame, on both paths and in both formats."""

from __future__ import annotations

import dataclasses
from typing import Any

import polars as pl
import pytest

from callsheet.batch import FRAME_SCHEMA, Decoded, Partition, Skip
from callsheet.codec.binding import AvroDialect
from callsheet.codec.debezium import DebeziumDecoder
from callsheet.errors import FatalError, Reason
from tests.support.decoder_bench import COLUMNS, KEY, OTHER_TOPIC, TOPIC, Bench, a_title, reasons
from tests.support.envelopes import (
    AvroTable,
    FakeMessage,
    FakeRegistry,
    an_envelope,
    compact,
    nullable,
    record,
)


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


def test_times_are_those_of_the_frame_which_is_made_once(bench: Bench) -> None:
    several = [an_envelope(after=a_title(n), ts_us=1_000_000 * n) for n in (3, 1, 2)]

    [batch] = bench.decoder().decode([bench.message(each) for each in several]).batches

    assert batch.times() == (1_000_000, 3_000_000)
    assert batch.frame["ts_us"].to_list() == [3_000_000, 1_000_000, 2_000_000]
    assert batch.frame is batch.frame
    ruled = dataclasses.replace(batch, columns=batch.frame.with_columns(ts_us=pl.lit(5)))
    assert ruled.times() == (5, 5)


@pytest.mark.parametrize("partitions", [[0, 0, 0, 0], [2, 0, 2, 1], [1, 1, 0, 0], [0, 1, 0, 1]])
def test_the_next_offsets_are_those_after_the_last_row_of_each_partition(
    bench: Bench, partitions: list[int]
) -> None:
    messages = [
        bench.message(an_envelope(after=a_title(n)), partition=number, offset=10 + n)
        for n, number in enumerate(partitions)
    ]

    [batch] = bench.decoder().decode(messages).batches

    wanted = {Partition(TOPIC, m.partition()): m.offset() + 1 for m in messages}
    assert batch.next_offsets() == wanted
    assert dataclasses.replace(batch, columns=batch.frame).next_offsets() == wanted


def test_a_delete_is_known_by_its_before(bench: Bench) -> None:
    decoded = bench.decoder().decode([bench.message(an_envelope("d", before=a_title(5)))])

    [batch] = decoded.batches
    assert batch.frame.select("op", "id").rows() == [("d", "5|eu")]
    assert batch.frame["after"].to_list() == [None]


def test_a_delete_without_its_image_is_known_by_its_key(bench: Bench) -> None:
    """And the changes around it keep their order: all of them go by rows."""
    key = bench.message(an_envelope("d", before=a_title(5))).key_
    messages = [
        bench.message(an_envelope(after=a_title(5)), offset=0),
        dataclasses.replace(bench.message(an_envelope("d")), key_=key, offset_=1),
        bench.message(an_envelope(after=a_title(6)), offset=2),
    ]

    decoded = bench.decoder().decode(messages)

    [batch] = decoded.batches
    rows = [("c", "5|eu"), ("d", "5|eu"), ("c", "6|eu")]
    assert batch.frame.select("op", "id").rows() == rows
    assert batch.frame["before"].to_list() == [None] * 3
    assert decoded.poison == []


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
