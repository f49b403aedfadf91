from __future__ import annotations

from callsheet.batch import Decoded, Partition, Poison, Truncation
from callsheet.errors import Reason
from callsheet.undelivered import Undelivered, cut_at_truncation, restrict
from tests.support.fakes.decoder import fake_batch
from tests.support.fakes.world import FakeMessage

P0, P1 = Partition("titles", 0), Partition("titles", 1)
OTHER = Partition("budgets", 0)


def row(partition: Partition, offset: int, version: int) -> FakeMessage:
    return FakeMessage(partition, offset, f"row {offset} A", version)


def test_firsts_are_the_lowest_offsets_that_wait() -> None:
    held = Undelivered()
    assert not held
    held.waiting = [row(P0, 7, 1), row(OTHER, 3, 1)]
    held.ready.append(fake_batch("titles", "A", [row(P0, 5, 1), row(P1, 9, 1)]))
    assert held
    assert held.firsts() == {P0: 5, P1: 9, OTHER: 3}
    assert (held.events, held.size_bytes) == (4, 20)


def test_taking_out_a_partition_leaves_the_others_in_order() -> None:
    held = Undelivered()
    held.waiting = [row(P0, 7, 1), row(P1, 10, 1)]
    held.ready.append(fake_batch("titles", "A", [row(P0, 5, 1), row(P1, 9, 1), row(P0, 6, 2)]))
    held.ready.append(fake_batch("titles", "B", [row(P0, 4, 1)]))
    assert held.take_out([P0]) == (4, {P0: 4})
    assert [m.offset() for m in held.waiting] == [10]
    (batch,) = held.ready
    assert [m.offset() for m in batch.messages] == [9]
    assert batch.frame["offset"].to_list() == [9]
    assert batch.size_bytes == len(b"k") + len(b"row 9 A")


def test_restricting_to_everything_or_nothing() -> None:
    batch = fake_batch("titles", "A", [row(P0, 1, 1)])
    assert restrict(batch, lambda _: True) is batch
    assert restrict(batch, lambda _: False) is None


def test_a_truncation_keeps_only_what_the_source_logged_before_it() -> None:
    truncate = FakeMessage(P0, 3, "truncate", 50)
    titles = fake_batch(
        "titles",
        "A",
        [row(P0, 2, 40), row(P0, 4, 60), row(P1, 7, 45), row(P1, 8, 55), row(P1, 9, 46)],
    )
    others = fake_batch("budgets", "A", [row(OTHER, 0, 99)])
    before = Poison(FakeMessage(P0, 1, "poison"), Reason.MALFORMED, "")
    behind = Poison(FakeMessage(P0, 5, "poison"), Reason.MALFORMED, "")
    decoded = Decoded(
        [titles, others], {}, [before, behind], [Truncation(truncate, "finance.titles", 50)]
    )
    cut = cut_at_truncation(decoded, "titles", decoded.truncations)
    kept, untouched = cut.decoded.batches
    # Offset 9 has an old version, a repeat, but lies behind one that is newer than the truncation.
    assert [(m.partition(), m.offset()) for m in kept.messages] == [(0, 2), (1, 7)]
    assert untouched is others
    assert cut.decoded.poison == [before]
    assert cut.firsts == {P0: 3, P1: 8}
    assert cut.dropped == 3 + 1 + 1
