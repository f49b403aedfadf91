"""A sink may let go of what it accepted (its index was deleted): never durable, never committed."""

from __future__ import annotations

from callsheet.batch import Partition
from callsheet.ledger import Ledger
from tests.support.batches import a_batch, upsert

TITLES = Partition("studio.finance.titles", 0)


def test_what_the_sink_dropped_leaves_the_hand_and_is_not_committed() -> None:
    ledger = Ledger()
    first = a_batch([upsert(1), upsert(2)])
    second = a_batch([upsert(3)], first_offset=2)
    ledger.assigned([TITLES], parked=())
    for batch in (first, second):
        ledger.take(batch.messages)
        ledger.accepted(batch)
    ledger.settle({TITLES: 2})

    assert ledger.drop(TITLES.topic) == 1
    assert (ledger.events, ledger.size_bytes) == (0, 0)
    assert ledger.committable({}) == {TITLES: 2}


def test_another_topics_events_stay_in_hand() -> None:
    ledger = Ledger()
    batch = a_batch([upsert(1)])
    ledger.assigned([TITLES], parked=())
    ledger.take(batch.messages)
    ledger.accepted(batch)

    assert ledger.drop("studio.finance.budgets") == 0
    assert ledger.events == 1
