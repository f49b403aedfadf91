from __future__ import annotations

import pytest

from callsheet.batch import Partition
from callsheet.errors import FatalError
from callsheet.ledger import Ledger
from tests.support.fakes.decoder import fake_batch
from tests.support.fakes.world import FakeMessage

P0, P1 = Partition("titles", 0), Partition("titles", 1)


def rows(partition: Partition, *offsets: int) -> list[FakeMessage]:
    return [FakeMessage(partition, n, f"row {n} A", n + 1) for n in offsets]


def a_ledger(*partitions: Partition) -> Ledger:
    ledger = Ledger()
    ledger.assigned(partitions, parked=())
    return ledger


def accept(ledger: Ledger, *messages: FakeMessage) -> None:
    ledger.accepted(fake_batch("titles", "A", list(messages)))


def test_nothing_is_committable_before_it_is_durable() -> None:
    ledger = a_ledger(P0)
    mine = ledger.take(rows(P0, 5, 6, 7))
    assert ledger.committable({P0: 5}) == {}
    accept(ledger, *mine)  # type: ignore[arg-type]
    assert ledger.committable({}) == {}
    ledger.settle({P0: 6})
    assert ledger.committable({}) == {P0: 6}
    ledger.settle({P0: 8})
    assert ledger.committable({}) == {P0: 8}
    ledger.committed({P0: 8})
    assert ledger.committable({}) == {}


def test_records_without_a_row_are_committed_once_the_sink_has_the_rest() -> None:
    ledger = a_ledger(P0)
    messages = rows(P0, 0, 1)
    ledger.take([*messages, FakeMessage(P0, 2, "tombstone"), FakeMessage(P0, 3, "tombstone")])
    accept(ledger, *messages)
    ledger.settle({P0: 1})
    assert ledger.committable({}) == {P0: 1}
    ledger.settle({P0: 2})
    assert ledger.committable({}) == {P0: 4}


def test_a_row_that_waits_between_durable_ones_holds_the_commit() -> None:
    ledger = a_ledger(P0)
    ledger.take(rows(P0, 0, 1, 2))
    accept(ledger, *rows(P0, 0, 2))
    ledger.settle({P0: 3})  # all that the sink was handed
    assert ledger.committable({P0: 1}) == {P0: 1}


def test_what_was_safe_stays_safe() -> None:
    ledger = a_ledger(P0)
    ledger.take([*rows(P0, 0), FakeMessage(P0, 1, "tombstone")])
    accept(ledger, *rows(P0, 0))
    ledger.settle({P0: 1})
    assert ledger.committable({}) == {P0: 2}
    ledger.take(rows(P0, 2))
    accept(ledger, *rows(P0, 2))  # now `durable` is behind the tombstone again
    assert ledger.committable({}) == {P0: 2}


def test_records_of_partitions_that_are_not_ours_are_dropped() -> None:
    ledger = a_ledger(P0, P1)
    ledger.forget([P1])
    taken = ledger.take([*rows(P0, 0), *rows(P1, 0), *rows(P0, 1)])
    assert [(m.partition(), m.offset()) for m in taken] == [(0, 0), (0, 1)]
    assert not ledger.owns(P1)


def test_the_end_counts_even_where_only_control_records_are_left() -> None:
    ledger = a_ledger(P0, P1)
    ledger.take(rows(P0, 0))
    ledger.reached({P0: 2, P1: 7})
    accept(ledger, *rows(P0, 0))
    assert ledger.committable({}) == {P1: 7}
    ledger.settle({P0: 1})
    assert ledger.committable({}) == {P0: 2, P1: 7}


def test_a_parked_topic_stands_still() -> None:
    ledger = a_ledger(P0)
    ledger.take(rows(P0, 4, 5))
    ledger.withdraw({P0: 5})
    assert ledger.park("titles") == {P0: 4}
    assert ledger.take(rows(P0, 6)) == []
    ledger.reached({P0: 9})
    accept(ledger, *rows(P0, 4))
    ledger.settle({P0: 5})
    assert ledger.committable({}) == {P0: 5}
    assert ledger.running == frozenset()
    assert ledger.owned == {P0}


def test_forgetting_a_partition_forgets_its_rows_in_mixed_batches() -> None:
    ledger = a_ledger(P0, P1)
    ledger.take([*rows(P0, 0), *rows(P1, 0, 1)])
    accept(ledger, *rows(P0, 0), *rows(P1, 0, 1))
    assert (ledger.events, ledger.size_bytes) == (3, 30)
    assert ledger.forget([P1]) == 2
    assert ledger.events == 1
    ledger.settle({P0: 1})
    assert (ledger.events, ledger.size_bytes) == (0, 0)


def test_a_rejection_finds_its_record_and_a_strange_one_stops() -> None:
    ledger = a_ledger(P0)
    ledger.take(rows(P0, 0, 1))
    accept(ledger, *rows(P0, 0, 1))
    assert ledger.refuse(P0, 1).offset() == 1
    with pytest.raises(FatalError, match="not handed"):
        ledger.refuse(P0, 2)
    ledger.settle({P0: 2})
    with pytest.raises(FatalError):
        ledger.refuse(P0, 1)


def test_the_frontier_is_the_slowest_partition_that_still_has_work() -> None:
    ledger = a_ledger(P0, P1)
    assert ledger.frontier_us("titles") == 0
    ledger.take([*rows(P0, 0, 1), *rows(P1, 8)])
    accept(ledger, *rows(P0, 0))
    accept(ledger, *rows(P1, 8))
    ledger.settle({P1: 9})
    assert ledger.frontier_us("titles") == 0  # nothing of P0 is durable: unknown
    ledger.settle({P0: 1})
    assert ledger.frontier_us("titles") == 1
    ledger.reached({P0: 2})
    assert ledger.frontier_us("titles") == 9  # P0 is at its end with nothing in hand
