"""Elasticsearch destinations for the sink laws: the stub, or the real server behind a proxy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from elasticsearch import Elasticsearch

from callsheet.ports import Clock, SystemClock
from callsheet.schema import Column, Kind, TableSchema
from callsheet.sink import SinkContext
from sinks.elasticsearch import PLUGIN
from sinks.elasticsearch.sink import ElasticsearchSink
from tests.support.batches import Row, a_schema, upsert
from tests.support.elastic_stub import NEVER_A_TIME, ElasticStub
from tests.support.tcp_proxy import TcpProxy

COLUMNS = (Column("name", Kind.STRING), Column("seen_at", Kind.TIMESTAMP))


def a_sink(
    url: str, *, clock: Clock | None = None, config_dir: str = "", **settings: Any
) -> ElasticsearchSink:
    """Not opened. Waits little, so that a test of trouble is quick."""
    chosen: dict[str, Any] = {
        "hosts": [url],
        "request_timeout_seconds": 2,
        "connect_timeout_seconds": 1,
        "in_flight_bytes": 2 << 20,
        "server_types": (),
    }
    built = PLUGIN.build(
        PLUGIN.settings.model_validate(chosen | settings),
        SinkContext("test", clock or SystemClock(), config_dir=config_dir),
    )
    assert isinstance(built, ElasticsearchSink)
    return built


@dataclass(slots=True)
class StubDestination:
    stub: ElasticStub
    schema: TableSchema = field(default_factory=lambda: a_schema(*COLUMNS))

    def sink(self) -> ElasticsearchSink:
        return a_sink(self.stub.url)

    def names(self) -> Mapping[str, str | None]:
        return _names(self.stub.live("finance-titles"))

    def poison(self, identifier: int) -> Row:
        return upsert(identifier, name="poison", seen_at=NEVER_A_TIME)

    def freeze(self) -> None:
        self.stub.freeze()

    def thaw(self) -> None:
        self.stub.thaw()


@dataclass(slots=True)
class RealDestination:
    """Each one has a table, so an index, of its own."""

    client: Elasticsearch
    proxy: TcpProxy
    table: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    schema: TableSchema = field(init=False)

    def __post_init__(self) -> None:
        self.schema = a_schema(*COLUMNS, table=self.table)

    @property
    def alias(self) -> str:
        return f"finance-{self.table}"

    def sink(self) -> ElasticsearchSink:
        url = f"http://127.0.0.1:{self.proxy.port}"
        patient = {"server_types": "ask", "request_timeout_seconds": 30}
        return a_sink(url, **{**patient, **self.settings})

    def names(self) -> Mapping[str, str | None]:
        return _names(self.documents())

    def documents(self) -> dict[str, Mapping[str, Any]]:
        """What a search through the alias finds, by ``_id``."""
        self.client.indices.refresh(index=self.alias)
        found = self.client.search(index=self.alias, size=10_000, query={"match_all": {}})
        return {hit["_id"]: hit["_source"] for hit in found["hits"]["hits"]}

    def poison(self, identifier: int) -> Row:
        return upsert(identifier, name="poison", seen_at=NEVER_A_TIME)

    def freeze(self) -> None:
        self.proxy.freeze()

    def thaw(self) -> None:
        self.proxy.thaw()

    def remove(self) -> None:
        self.client.indices.delete(index=f"{self.alias}-v1", ignore_unavailable=True)


def _names(documents: Mapping[str, Mapping[str, Any]]) -> dict[str, str | None]:
    return {
        document["_callsheet"].get("id", identifier): document["name"]
        for identifier, document in documents.items()
    }


def wait_until(
    is_so: Callable[[], bool], *, clock: Clock | None = None, within_s: float = 20
) -> None:
    """Poll; a condition that does not come true fails the test."""
    clock = clock or SystemClock()
    end = clock.monotonic() + within_s
    while not is_so():
        assert clock.monotonic() < end, "it did not come true in time"
        clock.sleep(0.01)
