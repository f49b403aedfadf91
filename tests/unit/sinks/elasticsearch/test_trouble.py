"""The whole sink against a server that misbehaves in every way it can."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from callsheet.batch import Partition
from callsheet.errors import FatalError, ParkTableError, Reason, RetryableError
from callsheet.ports import Deadline, SystemClock
from callsheet.schema import Column, Kind
from callsheet.sink import Counts
from sinks.elasticsearch.sink import ElasticsearchSink
from tests.support.batches import a_batch, a_schema, upsert
from tests.support.elastic import COLUMNS, a_sink, wait_until
from tests.support.elastic_stub import (
    OVERLOADED,
    ElasticStub,
    Item,
    Operation,
    Reply,
    all_operations,
)

SCHEMA = a_schema(*COLUMNS)
TOPIC = "studio.finance.titles"
BUSY = {"error": {"type": "es_rejected_execution_exception", "reason": "queue is full"}}


def within(seconds: float) -> Deadline:
    return Deadline.after(SystemClock(), seconds)


@pytest.fixture
def stub() -> Iterator[ElasticStub]:
    with ElasticStub() as stub:
        yield stub
        assert stub.shared_ids == set(), "an ID in two requests at a time"


@pytest.fixture
def sink(stub: ElasticStub) -> Iterator[ElasticsearchSink]:
    sink = a_sink(stub.url)
    sink.open()
    yield sink
    stub.thaw()
    sink.close()


def films(count: int, first: int = 0) -> Any:
    rows = [upsert(n, name=f"film {n}") for n in range(first, first + count)]
    return a_batch(rows, SCHEMA, first_offset=first, first_version=first + 1)


def test_one_429_inside_a_bulk_is_sent_again_alone(
    stub: ElasticStub, sink: ElasticsearchSink
) -> None:
    refused: list[str] = []

    def once(operation: Operation) -> Item | None:
        if operation.id == "7" and not refused:
            refused.append(operation.id)
            return OVERLOADED
        return None

    stub.fault = once
    sink.write(films(20), within(5))
    sink.flush(within(10))
    assert len(stub.live("finance-titles")) == 20
    assert sorted(op.id for op in all_operations(stub.bulks)).count("7") == 2
    assert len(all_operations(stub.bulks)) == 21
    assert sink.progress().counts == Counts(written=20)


def test_a_storm_of_503_and_429_loses_nothing(stub: ElasticStub, sink: ElasticsearchSink) -> None:
    stub.replies = [Reply(503, {"error": "starting"}), Reply(429, BUSY), Reply(502, {})] * 2
    for n in range(5):
        sink.write(films(100, 100 * n), within(5))
    sink.flush(within(30))
    progress = sink.progress()
    assert progress.counts == Counts(written=500)
    assert progress.durable == {Partition(TOPIC, 0): 500}
    assert progress.trouble is None


def test_trouble_shows_while_it_lasts(stub: ElasticStub, sink: ElasticsearchSink) -> None:
    stub.replies = [Reply(503, {"error": {"type": "x", "reason": "no master"}})] * 1000
    sink.write(films(3), within(5))
    wait_until(lambda: sink.progress().trouble is not None)
    trouble = sink.progress().trouble
    assert isinstance(trouble, RetryableError)
    assert "no master" in trouble.message
    stub.replies = []
    sink.flush(within(30))
    assert sink.progress().trouble is None


def test_retry_after_is_obeyed(stub: ElasticStub, sink: ElasticsearchSink) -> None:
    stub.replies = [Reply(429, BUSY, {"retry-after": "1"})]
    sink.write(films(1), within(5))
    with pytest.raises(RetryableError, match="queue is full"):
        sink.flush(within(0.7))
    sink.flush(within(10))


def test_a_request_too_large_for_the_server_is_split(
    stub: ElasticStub, sink: ElasticsearchSink
) -> None:
    stub.replies = [Reply(413, {"error": "Payload Too Large"})]
    sink.write(films(60), within(5))
    sink.flush(within(10))
    assert sink.progress().counts == Counts(written=60)


@pytest.mark.parametrize(
    "body", [{"errors": False, "items": []}, {}, [], "text", {"errors": True, "items": [{}]}]
)
def test_an_answer_that_makes_no_sense_counts_as_none(
    stub: ElasticStub, sink: ElasticsearchSink, body: Any
) -> None:
    stub.replies = [Reply(200, body)]
    sink.write(films(2), within(5))
    sink.flush(within(10))
    assert sink.progress().counts == Counts(written=2)


def test_a_poisoned_document_in_the_middle_is_handed_back_without_its_values(
    stub: ElasticStub, sink: ElasticsearchSink
) -> None:
    rows = [upsert(n, name="secret") for n in range(9)]
    rows[4] = upsert(4, name="secret", seen_at="not a time")
    sink.write(a_batch(rows, SCHEMA, first_offset=50), within(5))
    sink.flush(within(10))
    (rejection,) = sink.progress().rejections
    assert (rejection.offset, rejection.reason) == (54, Reason.REJECTED)
    assert rejection.detail.startswith("document_parsing_exception: ")
    assert "[seen_at] of type [date]" in rejection.detail
    assert "not a time" not in rejection.detail


@pytest.mark.parametrize(("status", "word"), [(401, "does not know us"), (403, "forbids")])
def test_without_rights_it_stops(
    stub: ElasticStub, sink: ElasticsearchSink, status: int, word: str
) -> None:
    error = {"error": {"type": "security_exception", "reason": "unable to authenticate"}}
    stub.replies = [Reply(status, error)] * 10
    sink.write(films(1), within(5))
    with pytest.raises(FatalError, match=word) as raised:
        sink.flush(within(10))
    assert "api_key" in raised.value.hint
    with pytest.raises(FatalError):
        sink.progress()
    with pytest.raises(FatalError):
        sink.write(films(1, 1), within(5))


def test_an_index_deleted_by_hand_parks_its_table_and_no_other(
    stub: ElasticStub, sink: ElasticsearchSink
) -> None:
    other = a_schema(*COLUMNS, table="talent")
    sink.write(films(5), within(5))
    sink.flush(within(10))
    stub.indices.clear()
    stub.documents.clear()
    sink.write(a_batch([upsert(1, name="x")], other), within(5))
    sink.write(films(5, 5), within(5))
    sink.flush(within(10))
    with pytest.raises(ParkTableError, match="no such index"):
        sink.write(films(5, 10), within(5))
    assert stub.live("finance-titles") == {}
    assert sink.progress().durable == {
        Partition(TOPIC, 0): 5,
        Partition("studio.finance.talent", 0): 1,
    }


def test_a_frozen_server_does_not_hold_write_past_its_deadline(stub: ElasticStub) -> None:
    sink = a_sink(stub.url, request_timeout_seconds=30)
    sink.open()
    stub.freeze()
    clock = SystemClock()
    started = clock.monotonic()
    with pytest.raises(RetryableError, match="does not answer"):
        sink.write(films(1), within(0.3))
    assert clock.monotonic() - started < 2
    stub.thaw()
    sink.close()


def test_opening_without_a_server_may_be_tried_again() -> None:
    with ElasticStub() as stub:
        url = stub.url
    sink = a_sink(url)
    with pytest.raises(RetryableError, match="does not answer"):
        sink.open()
    sink.close()


def test_close_does_not_wait_for_ever(stub: ElasticStub) -> None:
    sink = a_sink(stub.url, request_timeout_seconds=1)
    sink.open()
    sink.write(films(1), within(5))
    sink.flush(within(5))
    stub.freeze()
    sink.write(films(1, 1), within(5))
    clock = SystemClock()
    started = clock.monotonic()
    sink.close()
    assert clock.monotonic() - started < 8
    stub.thaw()


def test_an_id_waits_for_its_own_request(stub: ElasticStub, sink: ElasticsearchSink) -> None:
    stub.bulk_takes_s = 0.02
    for n in range(30):
        rows = [upsert(i, name="x" * 3000, version=100 * n + i + 1) for i in range(60)]
        sink.write(a_batch(rows, SCHEMA, first_offset=60 * n), within(10))
    sink.flush(within(30))
    assert stub.most_in_flight > 1
    assert sink.progress().counts == Counts(written=1800)


# --- the index ------------------------------------------------------------------------------------


def test_a_new_column_extends_the_mapping_while_running(
    stub: ElasticStub, sink: ElasticsearchSink
) -> None:
    wider = a_schema(*COLUMNS, Column("country", Kind.STRING), version="2")
    sink.write(films(1), within(5))
    sink.write(a_batch([upsert(2, name="x", country="NZ")], wider, first_offset=1), within(5))
    sink.write(films(1, 5), within(5))  # the old schema again, as in a replay
    sink.flush(within(10))
    mappings = stub.indices["finance-titles-v1"]["mappings"]
    assert mappings["properties"]["country"]["type"] == "text"
    assert stub.live("finance-titles")["2"]["country"] == "NZ"
    puts = [path for method, path in stub.requests if method == "PUT" and "_mapping" in path]
    assert len(puts) == 1


def test_an_index_of_an_older_callsheet_gets_our_newer_fields(
    stub: ElasticStub, sink: ElasticsearchSink
) -> None:
    sink.write(films(1), within(5))
    sink.flush(within(10))
    own = stub.indices["finance-titles-v1"]["mappings"]["properties"]["_callsheet"]["properties"]
    written = own.pop("version")
    again = a_sink(stub.url)
    again.open()
    again.write(films(1), within(5))
    again.close()
    found = stub.indices["finance-titles-v1"]["mappings"]["properties"]["_callsheet"]
    assert found["properties"]["version"] == written


def test_an_incompatible_column_parks_the_table_field_by_field(
    stub: ElasticStub, sink: ElasticsearchSink
) -> None:
    first = a_schema(Column("a", Kind.INTEGER), Column("b", Kind.DATE), Column("c", Kind.STRING))
    second = a_schema(
        Column("a", Kind.STRING, source_type="VARCHAR"),
        Column("b", Kind.JSON),
        Column("c", Kind.ENUM),
        version="2",
    )
    sink.write(a_batch([upsert(1, a=1)], first), within(5))
    with pytest.raises(ParkTableError) as raised:
        sink.write(a_batch([upsert(1, a="x", version=2)], second, first_offset=1), within(5))
    assert raised.value.detail == (
        "a: the index has long, VARCHAR needs text; b: the index has date, json needs object"
    )
    sink.flush(within(10))
    assert sink.progress().durable == {Partition(TOPIC, 0): 1}


def test_another_key_parks_the_table(stub: ElasticStub, sink: ElasticsearchSink) -> None:
    sink.write(films(1), within(5))
    other = a_schema(*COLUMNS, key=("id", "name"), version="2")
    with pytest.raises(ParkTableError, match="key changed"):
        sink.write(a_batch([upsert(1, name="x")], other), within(5))


def test_too_many_fields_park_the_table(stub: ElasticStub) -> None:
    sink = a_sink(stub.url, field_budget=12)
    sink.open()
    wide = a_schema(*(Column(f"c{n}", Kind.INTEGER) for n in range(20)))
    with pytest.raises(ParkTableError, match="28 fields, 12 are allowed"):
        sink.write(a_batch([upsert(1)], wide), within(5))
    sink.close()


@pytest.mark.parametrize(
    ("aliases", "meta", "reason"),
    [
        ({}, {}, "index without alias"),
        ({"finance-titles": {}}, {}, "foreign index"),
        (
            {"finance-titles": {}},
            {"callsheet": {"database": "finance", "table": "Titles", "key": ["id"]}},
            "table changed",
        ),
    ],
)
def test_an_index_that_is_not_ours_is_left_alone(
    stub: ElasticStub, sink: ElasticsearchSink, aliases: Any, meta: Any, reason: str
) -> None:
    stub.indices["finance-titles-v1"] = {
        "aliases": aliases,
        "mappings": {"_meta": meta, "properties": {}},
        "settings": {"index": {}},
    }
    with pytest.raises(ParkTableError) as raised:
        sink.write(films(1), within(5))
    assert raised.value.reason == reason
    assert stub.bulks == []


def test_an_alias_name_that_is_an_index_parks_the_table(
    stub: ElasticStub, sink: ElasticsearchSink
) -> None:
    stub.indices["finance-titles"] = {"aliases": {}, "mappings": {}, "settings": {"index": {}}}
    with pytest.raises(ParkTableError, match="name taken"):
        sink.write(films(1), within(5))


def test_a_table_name_that_no_index_can_have_is_refused_by_name(
    stub: ElasticStub, sink: ElasticsearchSink
) -> None:
    odd = a_schema(*COLUMNS, table="a b")
    with pytest.raises(ParkTableError, match="'finance-a b'"):
        sink.write(a_batch([upsert(1)], odd), within(5))


def test_two_workers_may_start_at_once(stub: ElasticStub, sink: ElasticsearchSink) -> None:
    other = a_sink(stub.url)
    other.open()
    sink.write(films(2), within(5))
    other.write(films(2, 2), within(5))
    sink.flush(within(5))
    other.flush(within(5))
    other.close()
    assert len(stub.indices) == 1
    assert len(stub.live("finance-titles")) == 4


def test_settings_follow_the_pipeline_at_the_next_start(stub: ElasticStub) -> None:
    for seconds in (1, 5):
        sink = a_sink(stub.url, refresh_interval_seconds=seconds)
        sink.open()
        sink.write(films(1), within(5))
        sink.flush(within(5))
        sink.close()
    assert stub.indices["finance-titles-v1"]["settings"]["index"]["refresh_interval"] == "5000ms"
