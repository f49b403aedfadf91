from __future__ import annotations

from collections.abc import Callable

import pytest

from callsheet.batch import Partition
from callsheet.errors import RetryableError
from sinks.hive.ranges import Entry, Lane
from sinks.hive.stores.port import Store
from sinks.hive.takeover import take_over
from tests.support.batches import a_batch, a_schema, upsert
from tests.support.hive import a_sink, memory_store, ranges, within

FIRST, SECOND = Partition("studio.finance.titles", 0), Partition("studio.finance.titles", 1)


def test_what_was_taken_before_the_assignment_failed_is_let_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The group may give it to somebody else meanwhile, and back to us, without a word."""
    store = memory_store()
    sink = a_sink(store)
    sink.open()

    def only_the_first(store: Store, lane: Lane, now: Callable[[], str]) -> Entry:
        if lane == Lane.of(SECOND):
            raise RetryableError("away")
        return take_over(store, lane, now)

    monkeypatch.setattr("sinks.hive.sink.take_over", only_the_first)
    with pytest.raises(RetryableError, match="away"):
        sink.assigned([FIRST, SECOND])
    monkeypatch.undo()

    heir = a_sink(store)
    heir.open()
    heir.assigned([FIRST])
    heir.write(a_batch([upsert(1, 1)], a_schema()), within())
    heir.flush(within())
    heir.close()

    assert sink.assigned([FIRST, SECOND])[FIRST] == 1
    sink.write(a_batch([upsert(2, 2)], a_schema(), first_offset=1), within())
    sink.flush(within())
    sink.close()
    assert [each.end for each in ranges(store, Lane.of(FIRST).name)][-1] == 2
