"""Where an audit goes on, told from outside."""

from __future__ import annotations

from callsheet.batch import Partition
from sinks.hive.progress import HiveOffsets
from tests.support.batches import a_batch, upsert
from tests.support.hive import a_sink, memory_store, settings, within

TOPIC = "studio.finance.titles"
P0, P1 = Partition(TOPIC, 0), Partition(TOPIC, 1)


def test_it_ends_where_the_worker_would_be_told_that_it_ends() -> None:
    store = memory_store()
    sink = a_sink(store)
    sink.open()
    sink.assigned([P0])
    sink.write(a_batch([upsert(1, name="a"), upsert(2, name="b")]), within())
    sink.flush(within())
    sink.close()
    offsets = HiveOffsets(settings(), store)
    assert offsets.ends([P0, P1]) == {P0: 2, P1: 0}
    assert a_sink(store).assigned([P0]) == {P0: 2}
    later = HiveOffsets(settings(generations={TOPIC: 1}), store)
    assert later.ends([P0]) == {P0: 0}
    assert "audit" in offsets.no_gaps
    offsets.close()
