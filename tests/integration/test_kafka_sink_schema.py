"""The contract of a topic downstream: what a registry and a broker say to a table that changes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import wait
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
import pytest
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from callsheet.errors import ParkTableError
from callsheet.kafka.admin import KafkaTopics
from callsheet.schema import Column, Kind
from callsheet.sink import Counts
from callsheet.testing import within
from tests.support.batches import a_batch, a_schema, delete, upsert
from tests.support.downstream import DownstreamDestination, InTransaction, headers_of, records
from tests.support.kafka_proxy import KafkaProxy

NAME = Column("name", Kind.STRING)
PRICE = Column("price", Kind.DECIMAL, precision=10, scale=2)


@pytest.fixture
def downstream(stack_env: dict[str, str]) -> Iterator[DownstreamDestination]:
    address = stack_env["CALLSHEET_KAFKA_BOOTSTRAP"]
    host, _, port = address.rpartition(":")
    registry, admin = (
        stack_env["CALLSHEET_REGISTRY_URL"],
        AdminClient({"bootstrap.servers": address}),
    )
    with KafkaProxy((host, int(port))) as proxy:
        table = f"schema_{uuid4().hex[:12]}"
        made = DownstreamDestination(address, registry, proxy, "log", a_schema(table=table))
        source = f"studio.finance.{table}"
        admin.create_topics([NewTopic(source, 3, 1)])[source].result(30)
        yield made
    for sink in made.made:
        sink.close()
    wait(admin.delete_topics([made.topic, source]).values(), 30)


def opened(downstream: DownstreamDestination, **settings: object) -> InTransaction:
    sink = downstream.sink(**settings)
    sink.open()
    return sink


def becomes(downstream: DownstreamDestination, version: str, *columns: Column) -> None:
    downstream.schema = a_schema(*columns, table=downstream.schema.table, version=version)


def put(sink: InTransaction, downstream: DownstreamDestination, offset: int, **row: Any) -> None:
    batch = a_batch(
        [upsert(offset, **row)], downstream.schema, first_offset=offset, first_version=offset + 1
    )
    sink.write(batch, within(20))
    sink.flush(within(20))


def test_columns_come_and_go_and_old_readers_go_on(downstream: DownstreamDestination) -> None:
    sink = opened(downstream)
    put(sink, downstream, 0, name="one")
    becomes(downstream, "2", NAME, Column("rating", Kind.STRING, nullable=False))
    put(sink, downstream, 1, name="two", rating="PG")
    becomes(downstream, "3", Column("rating", Kind.STRING, nullable=False))
    put(sink, downstream, 2, rating="R")
    found = records(downstream.address, downstream.topic)
    assert len({headers_of(message)["callsheet-schema"] for message in found}) == 3


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (Column("price", Kind.INTEGER), "price was Decimal of scale 2 and is long"),
        (Column("price", Kind.STRING), "price was Decimal of scale 2 and is string"),
        (replace(PRICE, scale=4), "price was Decimal of scale 2 and is Decimal of scale 4"),
    ],
    ids=["what Avro cannot read", "bytes as text", "another scale"],
)
def test_an_incompatible_change_parks_the_table_with_the_reason(
    downstream: DownstreamDestination, after: Column, said: str
) -> None:
    becomes(downstream, "1", PRICE)
    sink = opened(downstream)
    put(sink, downstream, 0, price=Decimal("1.50"))
    becomes(downstream, "2", after)
    with pytest.raises(ParkTableError) as parked:
        put(sink, downstream, 1, price=None)
    assert parked.value.reason == "incompatible_schema"
    assert f"{downstream.topic}-value" in parked.value.detail
    assert said in parked.value.detail
    # Another sink, as after a restart, hears the same.
    with pytest.raises(ParkTableError):
        put(opened(downstream), downstream, 1, price=None)


def test_what_the_registry_refuses_parks_with_its_own_words(
    downstream: DownstreamDestination,
) -> None:
    sink = opened(downstream, optional_columns=False)
    put(sink, downstream, 0, name="one")
    becomes(downstream, "2", NAME, Column("rating", Kind.STRING, nullable=False))
    with pytest.raises(ParkTableError, match="Incompatible artifact"):
        put(sink, downstream, 1, name="two", rating="PG")


def test_each_subject_is_under_backward(downstream: DownstreamDestination) -> None:
    put(opened(downstream), downstream, 0, name="one")
    answer = httpx.get(f"{downstream.registry}/config/{downstream.topic}-value", trust_env=False)
    assert answer.json()["compatibilityLevel"] == "BACKWARD"


def test_the_compacted_mode_has_tombstones_and_its_topic_compacts(
    downstream: DownstreamDestination,
) -> None:
    downstream.mode = "latest"
    sink = opened(downstream, tombstones_kept_hours=2, partitions=2)
    rows = [upsert(1, name="a"), upsert(1, name="b"), upsert(2, name="c"), delete(2)]
    sink.write(a_batch(rows, downstream.schema), within(20))
    sink.flush(within(20))
    assert sink.progress().counts == Counts(written=2, superseded=2)
    found = {m.key(): m for m in records(downstream.address, downstream.topic)}
    assert found[b"2"].value() is None
    assert headers_of(found[b"2"])["callsheet-type"] == b"d"
    assert downstream.names() == {"1": "b"}
    state = KafkaTopics({"bootstrap.servers": downstream.address}).describe([downstream.topic])
    config = state[downstream.topic].config
    assert state[downstream.topic].partitions == 2
    assert (config["cleanup.policy"], config["delete.retention.ms"]) == ("compact", "7200000")


def test_an_existing_topic_gets_our_settings_and_keeps_its_partitions(
    downstream: DownstreamDestination,
) -> None:
    admin = AdminClient({"bootstrap.servers": downstream.address})
    given = NewTopic(downstream.topic, 1, 1, config={"cleanup.policy": "compact"})
    admin.create_topics([given])[downstream.topic].result(30)
    put(opened(downstream, retention_hours=None), downstream, 0, name="one")
    state = KafkaTopics({"bootstrap.servers": downstream.address}).describe([downstream.topic])
    config = state[downstream.topic].config
    assert state[downstream.topic].partitions == 1
    assert (config["cleanup.policy"], config["retention.ms"]) == ("delete", "-1")


def test_headers_say_what_readers_filter_by(downstream: DownstreamDestination) -> None:
    put(opened(downstream), downstream, 0, name="one")
    (message,) = records(downstream.address, downstream.topic)
    headers = headers_of(message)
    assert list(headers) == [
        "callsheet-type",
        "callsheet-table",
        "callsheet-uuid",
        "callsheet-ts",
        "callsheet-version",
        "callsheet-schema",
    ]
    assert headers["callsheet-type"] == b"u"
    assert headers["callsheet-table"] == downstream.schema.qualified_name.encode()
    assert headers["callsheet-ts"] == b"1800000000000000"
    assert message.key() == b"0"
