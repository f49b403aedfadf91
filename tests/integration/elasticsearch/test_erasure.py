"""One row out of an index: its document becomes a tombstone of the same version."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from elasticsearch import Elasticsearch

from callsheet.errors import RetryableError
from callsheet.schema import TableSchema
from callsheet.sink import Counts, Holding
from sinks.elasticsearch.erasure import ElasticsearchEraser
from sinks.elasticsearch.settings import ElasticsearchSettings
from tests.support.batches import a_batch, upsert
from tests.support.elastic import RealDestination
from tests.support.elastic_real import CLOCK, Opened, Place, put

LONG_ID = "x" * 600


@pytest.fixture
def eraser(stack_env: dict[str, str]) -> Iterator[ElasticsearchEraser]:
    settings = ElasticsearchSettings(hosts=(stack_env["CALLSHEET_ELASTICSEARCH_URL"],))
    made = ElasticsearchEraser(settings, CLOCK)
    yield made
    made.close()


def named(destination: RealDestination) -> tuple[str, TableSchema]:
    """All that the command knows: names."""
    schema = TableSchema("studio", "finance", destination.table, (), (), "")
    return f"studio.{schema.qualified_name}", schema


def held(eraser: ElasticsearchEraser, table: tuple[str, TableSchema], row: str) -> Holding:
    return eraser.look(*table, [row])[row]


@pytest.mark.parametrize("identifier", ["1", LONG_ID])
def test_the_values_go_and_a_replay_does_not_bring_them_back(
    client: Elasticsearch,
    place: Place,
    opened: Opened,
    eraser: ElasticsearchEraser,
    identifier: str,
) -> None:
    destination = place()
    sink, table = opened(destination), named(destination)
    rows = [upsert(identifier, name="secret", version=10), upsert(2, name="other", version=11)]
    batch = a_batch(rows, destination.schema)
    put(sink, batch)
    assert held(eraser, table, identifier) == Holding(has_values=True, version=10)
    for _ in range(2):
        eraser.erase(*table, [identifier])
    assert held(eraser, table, identifier) == Holding(has_values=False, version=10)
    assert set(destination.documents()) == {"2"}
    everything = client.search(index=f"{destination.alias}-v1", query={"match_all": {}})
    assert "secret" not in str(everything)
    assert put(sink, batch).counts == Counts(stale=2)
    assert set(destination.documents()) == {"2"}
    newer = a_batch([upsert(identifier, name="back", version=20)], destination.schema)
    assert put(sink, newer).counts == Counts(written=1)


def test_what_is_not_there_is_said(
    place: Place, opened: Opened, eraser: ElasticsearchEraser
) -> None:
    destination = place()
    table = named(destination)
    nothing = Holding(has_values=False, version=None)
    assert held(eraser, table, "1") == nothing
    eraser.erase(*table, ["1"])
    put(opened(destination), a_batch([upsert(2, name="other")], destination.schema))
    assert held(eraser, table, "1") == nothing
    eraser.erase(*table, ["1"])
    assert set(destination.documents()) == {"2"}


def test_a_state_that_is_written_meanwhile_is_not_covered_up(
    place: Place,
    opened: Opened,
    eraser: ElasticsearchEraser,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    destination = place()
    sink, table = opened(destination), named(destination)
    put(sink, a_batch([upsert(1, name="old", version=10)], destination.schema))
    seen = eraser._found(destination.alias, "1")
    put(sink, a_batch([upsert(1, name="new", version=11)], destination.schema))
    monkeypatch.setattr(eraser, "_found", lambda *_: seen)
    with pytest.raises(RetryableError, match="newer state"):
        eraser.erase(*table, ["1"])
    assert destination.names() == {"1": "new"}
