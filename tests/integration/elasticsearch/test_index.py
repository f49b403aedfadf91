"""What only the real server can show: types, deletes that outlive a minute, refreshes."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
import structlog
from elasticsearch import Elasticsearch, NotFoundError

from callsheet.errors import ParkTableError, Reason
from callsheet.schema import Column, Kind
from callsheet.sink import Counts
from sinks.elasticsearch.purge import Purger
from tests.support.batches import a_batch, delete, upsert
from tests.support.elastic import wait_until
from tests.support.elastic_real import CLOCK, Opened, Place, of_table, put, within

# --- deletes --------------------------------------------------------------------------------------


def test_a_replay_later_than_gc_deletes_does_not_bring_a_row_back(
    client: Elasticsearch, place: Place, opened: Opened
) -> None:
    destination = place()
    sink = opened(destination)
    born = a_batch([upsert(1, name="born", version=1)], destination.schema)
    died = a_batch([delete(1, version=2)], destination.schema, first_offset=1)
    put(sink, born)
    index = f"{destination.alias}-v1"
    client.indices.put_settings(index=index, settings={"index.gc_deletes": "1ms"})
    put(sink, died)
    # The proof that gc_deletes has passed: a plain delete of the same age is forgotten by now.
    plain: Any = {"index": index, "id": "plain", "version_type": "external"}
    client.index(**plain, document={"name": "x"}, version=1)
    client.delete(**plain, version=2)

    def is_forgotten() -> bool:
        forgiving = client.options(ignore_status=409)
        answer = forgiving.index(**plain, document={"name": "x"}, version=1)
        return bool(answer.meta.status == 201)

    wait_until(is_forgotten)
    progress = put(sink, born)
    assert progress.counts == Counts(stale=1)
    client.delete(index=index, id="plain")
    assert destination.names() == {}


def test_a_get_of_a_deleted_row_shows_a_tombstone_without_values(
    client: Elasticsearch, place: Place, opened: Opened
) -> None:
    destination = place()
    put(
        opened(destination),
        a_batch([upsert(1, name="secret"), delete(1)], destination.schema),
    )
    source = client.get(index=destination.alias, id="1")["_source"]
    assert source.keys() == {"_callsheet"}
    assert source["_callsheet"]["deleted"] is True
    assert client.count(index=destination.alias)["count"] == 0


def test_old_tombstones_are_purged_and_new_ones_and_rows_stay(
    client: Elasticsearch, place: Place, opened: Opened
) -> None:
    destination = place()
    rows = [upsert(1, name="alive"), delete(2), delete(3)]
    put(opened(destination), a_batch(rows, destination.schema))
    index = f"{destination.alias}-v1"
    client.indices.refresh(index=index)
    old = "2000-01-01T00:00:00.000000Z"
    tombstone = {"_callsheet": {"ts": old, "deleted": True, "deleted_at": old}}
    client.index(index=index, id="4", document=tombstone, refresh=True)
    purger = Purger(client, CLOCK, structlog.get_logger(), kept_s=3600, every_s=3600)
    assert purger.purge([index], is_waiting=True) == 1
    client.indices.refresh(index=index)
    left = {hit["_id"] for hit in client.search(index=index)["hits"]["hits"]}
    assert left == {"1", "2", "3"}


def test_an_index_deleted_by_hand_does_not_come_back_by_itself(
    client: Elasticsearch, place: Place, opened: Opened
) -> None:
    destination = place()
    sink = opened(destination)
    put(sink, a_batch([upsert(1, name="a")], destination.schema))
    destination.remove()
    batch = a_batch([upsert(2, name="b", version=2)], destination.schema, first_offset=1)
    sink.write(batch, within(30))
    sink.flush(within(30))
    assert set(sink.progress().durable.values()) == {1}, "the lost event is not committed"
    with pytest.raises(ParkTableError, match="no such index"):
        sink.write(batch, within(30))
    with pytest.raises(NotFoundError):
        client.indices.get(index=destination.alias)


# --- mappings -------------------------------------------------------------------------------------


def test_a_poisoned_row_says_which_field_and_not_its_value(place: Place, opened: Opened) -> None:
    destination = place()
    rows = [upsert(1, name="ok"), destination.poison(2), upsert(3, name="ok")]
    progress = put(opened(destination), a_batch(rows, destination.schema))
    (rejection,) = progress.rejections
    assert (rejection.offset, rejection.reason) == (1, Reason.REJECTED)
    assert "failed to parse field [seen_at] of type [date]" in rejection.detail
    assert "not a time" not in rejection.detail
    assert destination.names().keys() == {"1", "3"}


def test_a_new_column_is_searchable_while_running(
    client: Elasticsearch, place: Place, opened: Opened
) -> None:
    destination = place()
    sink = opened(destination)
    put(sink, a_batch([upsert(1, a="x")], of_table(destination, Column("a", Kind.STRING))))
    wider = of_table(destination, Column("a", Kind.STRING), Column("b", Kind.DATE), version="2")
    put(sink, a_batch([upsert(2, a="y", b=date(2026, 1, 1), version=2)], wider, first_offset=1))
    destination.documents()
    query = {"range": {"b": {"gte": "2025-01-01"}}}
    assert client.count(index=destination.alias, query=query)["count"] == 1
    meta = client.indices.get_mapping(index=destination.alias)[f"{destination.alias}-v1"]
    assert meta["mappings"]["_meta"]["callsheet"]["fingerprint"] == wider.fingerprint


def test_a_mapping_file_that_the_server_refuses_parks_the_table_and_names_the_file(
    place: Place, opened: Opened, tmp_path: Path
) -> None:
    destination = place(mappings=str(tmp_path))
    file = tmp_path / f"finance.{destination.table}.json"
    file.write_text('{"mappings": {"properties": {"name": {"type": "nonsense"}}}}', "utf-8")
    with pytest.raises(ParkTableError, match="nonsense") as raised:
        put(opened(destination), a_batch([upsert(1, name="x")], destination.schema))
    assert file.name in raised.value.hint


# --- refresh --------------------------------------------------------------------------------------


def test_light_traffic_is_found_at_once_though_the_interval_is_long(
    client: Elasticsearch, place: Place, opened: Opened
) -> None:
    destination = place(refresh="adaptive", refresh_interval_seconds=600)
    sink = opened(destination)
    for n in range(5):
        put(sink, a_batch([upsert(n, name="x", version=n + 1)], destination.schema, first_offset=n))
        wait_until(lambda n=n: client.count(index=destination.alias)["count"] == n + 1)  # type: ignore[misc]


def test_by_interval_nothing_is_found_before_it(
    client: Elasticsearch, place: Place, opened: Opened
) -> None:
    destination = place(refresh="interval", refresh_interval_seconds=600)
    put(opened(destination), a_batch([upsert(1, name="x")], destination.schema))
    assert client.count(index=destination.alias)["count"] == 0
    assert client.get(index=destination.alias, id="1")["found"]


def test_heavy_traffic_is_not_refreshed_at_once(
    client: Elasticsearch, place: Place, opened: Opened
) -> None:
    calm = {"light_below_events": 10, "heavy_above_events": 20}
    destination = place(refresh="adaptive", refresh_interval_seconds=600, adaptive=calm)
    sink = opened(destination)

    def refreshes() -> int:
        stats = client.indices.stats(index=destination.alias, metric="refresh")
        total: int = stats["_all"]["primaries"]["refresh"]["external_total"]
        return total

    put(sink, a_batch([upsert(0, name="x")], destination.schema))
    wait_until(lambda: client.count(index=destination.alias)["count"] == 1)
    before = refreshes()
    for n in range(20):
        first = 1 + 100 * n
        rows = [upsert(first + i, name="x", version=first + i + 1) for i in range(100)]
        put(sink, a_batch(rows, destination.schema, first_offset=first))
    assert refreshes() - before <= 2
