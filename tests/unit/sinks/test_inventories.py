"""What a destination still shows of a table, below a version. On real servers:
tests/integration/test_sweep.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from callsheet.batch import Message
from callsheet.errors import PreconditionError, RetryableError
from callsheet.event import Op
from callsheet.ports import SystemClock
from callsheet.schema import TableSchema
from callsheet.sink import Inventory, SinkContext
from sinks import kafka
from sinks.elasticsearch.inventory import ElasticsearchInventory
from sinks.elasticsearch.settings import ElasticsearchSettings
from sinks.elasticsearch.values import document_id
from sinks.hive.inventory import HiveInventory
from sinks.kafka.settings import KafkaSinkSettings
from sinks.sql.inventory import page
from tests.support.batches import Row, a_batch, a_schema
from tests.support.elastic_stub import ElasticStub, Reply
from tests.support.envelopes import FakeMessage
from tests.support.hive import a_sink, memory_store, settings, within

TOPIC = "studio.finance.titles"
SCHEMA = a_schema()
LONG = "x" * 600


def shown(inventory: Inventory, version: int, schema: TableSchema = SCHEMA) -> list[str]:
    pages = list(inventory.older(TOPIC, schema, version))
    assert all(pages), "no page is empty"
    return sorted(each for part in pages for each in part)


# --- Elasticsearch ------------------------------------------------------------------------------


class Index(ElasticStub):
    """One alias with documents that can be counted and paged through."""

    def __init__(self, versions: dict[str, int]) -> None:
        super().__init__()
        self.versions, self.is_there, self.is_away = versions, True, False
        self.has_forgotten = False
        self.asked: list[dict[str, Any]] = []
        self.closed: list[Any] = []

    def answer(self, method: str, path: str, body: bytes) -> Reply:
        if self.is_away:
            return Reply(503, {"error": "starting"})
        match [method, *path.strip("/").split("/")]:
            case ["DELETE", "_pit"]:
                self.closed.append(json.loads(body)["id"])
                return Reply(200, {"succeeded": True})
            case [_, alias, *_] if alias != "_search" and not self.is_there:
                return Reply(404, {"error": {"type": "index_not_found_exception"}})
            case [_, "finance-titles", "_refresh"]:
                return Reply(200, {})
            case [_, "finance-titles", "_count"]:
                return Reply(200, {"count": len(self.versions)})
            case ["POST", "finance-titles", "_pit"]:
                return Reply(200, {"id": "point"})
            case ["POST", "_search"]:
                return self._page(json.loads(body))
            case _:
                return Reply(405, {"error": f"{method} {path}"})

    def _page(self, body: dict[str, Any]) -> Reply:
        self.asked.append(body)
        if self.has_forgotten:
            return Reply(404, {"error": {"type": "search_context_missing_exception"}})
        [bound] = body["query"]["bool"]["filter"]
        below = bound["range"]["_callsheet.version"]["lt"]
        after = body.get("search_after", [-1])[0]
        found = [
            {"_id": document_id(identifier), "sort": [number], "_source": _meta(identifier)}
            for number, (identifier, version) in enumerate(self.versions.items())
            if number > after and version < below
        ]
        return Reply(200, {"pit_id": "point", "hits": {"hits": found[: body["size"]]}})


def _meta(identifier: str) -> dict[str, Any]:
    return {"_callsheet": {"id": identifier}} if document_id(identifier) != identifier else {}


def searching(index: Index) -> ElasticsearchInventory:
    chosen = ElasticsearchSettings.model_validate({"hosts": [index.url]})
    return ElasticsearchInventory(chosen, SystemClock())


def test_an_index_is_paged_through_from_one_point_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sinks.elasticsearch.inventory.PAGE_ROWS", 2)
    with Index({"1": 5, "2": 10, "3": 11, "4": 7, "5": 1, LONG: 9}) as index:
        inventory = searching(index)
        assert inventory.alive(TOPIC, SCHEMA) == 6
        assert shown(inventory, 10) == ["1", "4", "5", LONG]
        inventory.close()
    assert [body.get("search_after") for body in index.asked] == [None, [3], [5]]
    hidden = [{"term": {"_callsheet.deleted": True}}]
    assert all(body["query"]["bool"]["must_not"] == hidden for body in index.asked)
    assert index.closed == ["point"]


def test_an_index_that_nobody_has_written_to_shows_nothing() -> None:
    with Index({}) as index:
        index.is_there = False
        inventory = searching(index)
        assert inventory.alive(TOPIC, SCHEMA) == 0
        assert shown(inventory, 10) == []
        inventory.close()


def test_a_server_that_is_away_is_no_empty_one() -> None:
    with Index({"1": 1}) as index:
        inventory = searching(index)
        index.is_away = True
        with pytest.raises(RetryableError):
            inventory.alive(TOPIC, SCHEMA)
        with pytest.raises(RetryableError):
            shown(inventory, 10)
        index.is_away = False
        pages = inventory.older(TOPIC, SCHEMA, 10)
        next(pages)
        index.has_forgotten = True
        with pytest.raises(PreconditionError):
            next(pages)
        inventory.close()


# --- SQL ----------------------------------------------------------------------------------------


def test_a_page_of_a_replica_goes_by_the_primary_key() -> None:
    columns = ("id", "long_id", "version", "is_deleted")
    table = sa.table("callsheet_versions_titles", *map(sa.column, columns))
    text = str(page(table, 10, b"7").compile(dialect=mysql.dialect()))
    where = " ".join(text.split("WHERE")[1].split())
    assert where.startswith(
        "callsheet_versions_titles.id > %s AND callsheet_versions_titles.version < %s "
        "AND callsheet_versions_titles.is_deleted = %s ORDER BY callsheet_versions_titles.id LIMIT"
    )


# --- Hive ---------------------------------------------------------------------------------------


def test_the_audit_takes_for_alive_whose_last_change_is_no_delete() -> None:
    store, schema = memory_store(), a_schema()
    sink = a_sink(store)
    sink.open()
    try:
        batch = a_batch(
            [
                Row(Op.READ, "1", {"id": 1}, 5),
                Row(Op.CREATE, "2", {"id": 2}, 6),
                Row(Op.UPDATE, "1", {"id": 1}, 9),
                Row(Op.DELETE, "2", None, 8),
                Row(Op.CREATE, "3", {"id": 3}, 7),
                Row(Op.DELETE, "4", None, 3),
                Row(Op.CREATE, "4", {"id": 4}, 4),
            ],
            schema,
        )
        sink.assigned(batch.next_offsets())
        sink.write(batch, within())
        sink.flush(within())
    finally:
        sink.close()
    inventory = HiveInventory(settings(), store)
    assert inventory.alive(batch.topic, schema) == 3
    assert shown(inventory, 9, schema) == ["3", "4"]
    assert shown(inventory, 10, schema) == ["1", "3", "4"]
    other = a_schema(table="nobody")
    assert inventory.alive(batch.topic, other) == 0
    assert shown(inventory, 10, other) == []


# --- Kafka --------------------------------------------------------------------------------------


def a_state(identifier: str, version: int, value: bytes | None = b"x") -> FakeMessage:
    headers = [("callsheet-version", str(version).encode())]
    return FakeMessage(value, identifier.encode(), "downstream.finance.titles", headers_=headers)


def a_kafka_inventory(mode: str, messages: list[Message]) -> Inventory | None:
    chosen = KafkaSinkSettings.model_validate({"mode": mode, "registry": {"url": "http://r"}})

    def read(topic: str) -> Iterator[Message]:
        assert topic == "downstream.finance.titles"
        return iter(messages)

    return kafka.inventory_of(chosen, SinkContext("downstream", SystemClock()), read)


def test_of_a_compacted_topic_the_last_record_of_each_key_counts() -> None:
    inventory = a_kafka_inventory("latest", [
        a_state("1", 5), a_state("2", 6), a_state("1", 9), a_state("3", 7),
        a_state("2", 8, None), FakeMessage(b"not ours", b"4"),
    ])  # fmt: skip
    assert inventory is not None
    assert inventory.alive(TOPIC, SCHEMA) == 2
    assert shown(inventory, 9) == ["3"]
    assert shown(inventory, 10) == ["1", "3"]


def test_a_log_has_no_rows_to_ask_for() -> None:
    assert a_kafka_inventory("log", []) is None
