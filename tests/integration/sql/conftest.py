from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from callsheet.sink import Sink
from sinks.sql.sink import SqlSink
from tests.support.sql import Replica, a_replica


@pytest.fixture
def replica(stack_env: dict[str, str]) -> Iterator[Replica]:
    with a_replica(stack_env) as replica:
        yield replica


@pytest.fixture
def opened(replica: Replica) -> Iterator[Callable[..., SqlSink]]:
    """Sinks on the replica, opened and in the end closed."""
    sinks: list[Sink] = []

    def open_(pipeline: str = "test", **settings: Any) -> SqlSink:
        sink = replica.sink(pipeline, **settings)
        sinks.append(sink)
        sink.open()
        return sink

    yield open_
    for sink in sinks:
        sink.close()
