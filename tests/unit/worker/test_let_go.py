"""A sink that collects for long says of which records none will be rejected: they are let go of."""

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


@pytest.fixture
def ledger() -> Ledger:
    """Two batches in hand: [0, 1] of both partitions, then [2, 3] of the first."""
    ledger = Ledger()
    ledger.assigned([P0, P1], parked=())
    for messages in (rows(P0, 0, 1) + rows(P1, 0, 1), rows(P0, 2, 3)):
        ledger.take(messages)
        ledger.accepted(fake_batch("titles", "A", messages))
    return ledger


def test_what_is_final_is_not_kept_and_not_committed(ledger: Ledger) -> None:
    assert (ledger.events, ledger.kept_events, ledger.size_bytes) == (6, 6, 60)
    assert ledger.settle({}, {P0: 2, P1: 2}) == []
    assert (ledger.events, ledger.kept_events, ledger.size_bytes) == (6, 2, 20)
    assert ledger.committable({}) == {}
    assert ledger.refuse(P0, 3).offset() == 3
    with pytest.raises(FatalError, match="which it was not handed"):
        ledger.refuse(P0, 1)


def test_a_batch_is_kept_while_one_of_its_partitions_may_be_rejected(ledger: Ledger) -> None:
    ledger.settle({}, {P0: 4})
    assert ledger.kept_events == 4
    assert ledger.refuse(P0, 0).offset() == 0


def test_what_is_taken_for_good_is_counted_without_the_letters(ledger: Ledger) -> None:
    ledger.refuse(P0, 1)
    ledger.settle({}, {P0: 2})
    assert ledger.accepted_for_good == 0
    ledger.settle({}, {P0: 2, P1: 2})
    assert ledger.accepted_for_good == 3
    ledger.settle({P0: 4, P1: 2}, {P0: 4, P1: 2})
    assert ledger.accepted_for_good == 5


def test_it_is_done_with_when_it_is_durable(ledger: Ledger) -> None:
    ledger.settle({}, {P0: 4, P1: 2})
    done = ledger.settle({P0: 3, P1: 2}, {P0: 4, P1: 2})
    assert [len(handful) for handful in done] == [4]
    assert (ledger.events, ledger.kept_events) == (2, 0)
    assert ledger.committable({}) == {P0: 3, P1: 2}
    ledger.settle({P0: 4, P1: 2}, {P0: 4, P1: 2})
    assert (ledger.events, ledger.kept_events, ledger.size_bytes) == (0, 0, 0)
    assert ledger.committable({}) == {P0: 4, P1: 2}


def test_it_is_forgotten_with_its_partition(ledger: Ledger) -> None:
    ledger.settle({}, {P0: 2, P1: 2})
    assert ledger.forget([P0]) == 4
    assert (ledger.events, ledger.kept_events, ledger.size_bytes) == (2, 0, 0)
    assert [len(handful) for handful in ledger.settle({P1: 2})] == [2]
    assert ledger.events == 0


def test_it_is_dropped_with_its_topic(ledger: Ledger) -> None:
    ledger.settle({}, {P0: 2, P1: 2})
    assert ledger.drop("titles") == 6
    assert (ledger.events, ledger.kept_events, ledger.size_bytes) == (0, 0, 0)
    assert ledger.committable({}) == {}
