"""Fixtures for tests of the Elasticsearch sink on the real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from elasticsearch import Elasticsearch

from callsheet.batch import Batch
from callsheet.ports import Deadline, SystemClock
from callsheet.schema import Column, TableSchema
from callsheet.sink import Progress, Sink
from tests.support.batches import a_schema
from tests.support.elastic import RealDestination
from tests.support.tcp_proxy import TcpProxy

CLOCK = SystemClock()


def within(seconds: float) -> Deadline:
    return Deadline.after(CLOCK, seconds)


@pytest.fixture(scope="module")
def client(stack_env: dict[str, str]) -> Iterator[Elasticsearch]:
    with Elasticsearch(stack_env["CALLSHEET_ELASTICSEARCH_URL"]) as client:
        yield client


Place = Callable[..., RealDestination]


@pytest.fixture
def place(client: Elasticsearch, stack_env: dict[str, str]) -> Iterator[Place]:
    """Destinations with settings of their own."""
    address = urlsplit(stack_env["CALLSHEET_ELASTICSEARCH_URL"])
    made: list[RealDestination] = []
    with TcpProxy((address.hostname or "", address.port or 0)) as proxy:

        def make(**settings: Any) -> RealDestination:
            table = f"index{uuid4().hex[:12]}"
            made.append(RealDestination(client, proxy, table, settings))
            return made[-1]

        yield make
        for each in made:
            each.remove()


@pytest.fixture
def opened() -> Iterator[Callable[[RealDestination], Sink]]:
    sinks: list[Sink] = []

    def open_(destination: RealDestination) -> Sink:
        sinks.append(destination.sink())
        sinks[-1].open()
        return sinks[-1]

    yield open_
    for sink in sinks:
        sink.close()


Opened = Callable[[RealDestination], Sink]


def put(sink: Sink, *batches: Batch) -> Progress:
    for batch in batches:
        sink.write(batch, within(60))
    sink.flush(within(60))
    return sink.progress()


def of_table(destination: RealDestination, *columns: Column, version: str = "1") -> TableSchema:
    return a_schema(*columns, table=destination.table, version=version)
