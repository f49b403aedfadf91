"""What the catalog refuses by itself, and how long it may take."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import pytest
import structlog
from elastic_transport import ApiResponseMeta, HttpHeaders, NodeConfig
from elasticsearch import NotFoundError

from callsheet.errors import ParkTableError
from callsheet.ports import Deadline
from callsheet.schema import Column, Kind
from sinks.elasticsearch.catalog import Catalog
from sinks.elasticsearch.overrides import Override, load, unmet
from sinks.elasticsearch.settings import ElasticsearchSettings
from tests.support.batches import a_schema
from tests.support.clock import FakeClock

TOPIC = "studio.finance.titles"


class SlowServer:
    """Has no index, and takes three seconds for each request."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.timeouts_s: list[float] = []

    def options(self, *, request_timeout: float) -> Self:
        self.timeouts_s.append(request_timeout)
        return self

    @property
    def indices(self) -> Self:
        return self

    def get(self, **_: Any) -> None:
        self.clock.advance(3)
        node = NodeConfig("http", "localhost", 9200)
        raise NotFoundError("no", ApiResponseMeta(404, "1.1", HttpHeaders(), 3.0, node), {})

    def create(self, **_: Any) -> None:
        self.clock.advance(3)


@pytest.fixture
def server() -> SlowServer:
    return SlowServer(FakeClock())


@pytest.fixture
def catalog(server: SlowServer) -> Catalog:
    client: Any = server
    settings = ElasticsearchSettings(hosts=("http://localhost:9200",))
    log = structlog.get_logger()
    return Catalog(client, settings, {}, server_types=frozenset(), clock=server.clock, log=log)


def test_all_requests_share_the_deadline(catalog: Catalog, server: SlowServer) -> None:
    catalog.target(TOPIC, a_schema(), Deadline.after(server.clock, 10))
    assert server.timeouts_s == pytest.approx([10, 7])


def test_a_column_named_like_our_own_field_parks_its_table(
    catalog: Catalog, server: SlowServer
) -> None:
    schema = a_schema(Column("_callsheet", Kind.STRING))
    with pytest.raises(ParkTableError, match="_callsheet"):
        catalog.target(TOPIC, schema, Deadline.after(server.clock, 10))
    assert server.timeouts_s == []


def shipped() -> Override:
    return load(Path(__file__).parents[4] / "cdc-config/mappings")["finance.titles"]


def test_an_index_older_than_its_mapping_file_is_told_apart() -> None:
    derived = {"type": "text", "fields": {"keyword": {"type": "keyword"}}}
    lacking = unmet({"name": derived}, shipped())
    assert lacking[0] == "name"
    assert {"name.prefix", "name.words", "name.exact"} <= set(lacking)


def test_an_index_made_with_its_mapping_file_lacks_nothing() -> None:
    assert unmet(shipped().mappings.properties, shipped()) == []
    assert unmet({}, shipped()) == []  # its fields are about to be added
