"""A letter is written after the rows that were decoded with it: what is written is what may be
committed, at any time, and a transaction carries nothing else.
"""

from __future__ import annotations

from callsheet.batch import Partition, Poison
from callsheet.errors import Reason
from callsheet.undelivered import Undelivered
from tests.support.batches import RawMessage, a_batch, upsert

TOPIC = "studio.finance.titles"
P0, P1 = Partition(TOPIC, 0), Partition(TOPIC, 1)


def poison(partition: int, offset: int) -> Poison:
    return Poison(RawMessage(TOPIC, partition, offset), Reason.MALFORMED, "")


def test_no_commit_passes_a_letter_that_is_not_written() -> None:
    held = Undelivered()
    held.ready.append(a_batch([upsert(1, name="a")], first_offset=5))
    held.poison += [poison(0, 3), poison(1, 9)]
    assert held.firsts() == {P0: 3, P1: 9}
    assert held.events == 3
    held.ready.clear()
    assert held


def test_the_poison_of_a_partition_is_given_back_with_it() -> None:
    held = Undelivered()
    held.poison += [poison(0, 3), poison(1, 9), poison(0, 4)]
    assert held.take_out([P0]) == (2, {P0: 3})
    assert [p.message.offset() for p in held.poison] == [9]
