"""Would the property test notice? Each mutant breaks one rule of the loop; each must be found."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import pytest

from callsheet.backoff import Outage
from callsheet.batch import Decoded, Message, Offset, Partition
from callsheet.delivery import Delivery
from callsheet.errors import CallsheetError, FencedError, ParkTableError, RetryableError
from callsheet.ledger import Ledger, Strand
from callsheet.ports import Deadline
from callsheet.undelivered import Undelivered
from callsheet.worker import Worker
from tests.support.schedules import play

PATIENCE = 1_500


def passes_held_rows(strand: Strand, held: Offset | None) -> Offset | None:
    return _committable(strand, None)


def ignores_durability(strand: Strand, held: Offset | None) -> Offset | None:
    strand.durable = max(strand.durable, strand.handed)
    return _committable(strand, held)


def believes_the_sink_alone(strand: Strand, held: Offset | None) -> Offset | None:
    strand.handed = max(strand.handed, strand.durable)
    position, strand.position = strand.position, 1 << 40 if strand.position else None
    found = _committable(strand, held)
    strand.position = position
    return found


def drops_rejections(delivery: Delivery) -> None:
    progress = delivery._world.sink.progress()
    delivery.ledger.settle(progress.durable)


def commits_before_letters(delivery: Delivery, *, is_last: bool = False) -> None:
    offsets = delivery.ledger.committable(delivery.held.firsts())
    if offsets and not delivery.is_committing:
        delivery._world.consumer.commit(offsets)
        delivery.is_committing = True
        delivery._world.letters.flush(Deadline.after(delivery._world.clock, 1.0))


def takes_what_is_not_ours(ledger: Ledger, messages: Collection[Message]) -> list[Message]:
    _take(ledger, list(messages))
    return list(messages)


def finishes_what_is_lost(worker: Worker, partitions: Collection[Partition]) -> None:
    worker.on_revoked(partitions)


def pretends_to_flush(delivery: Delivery, deadline: Deadline) -> bool:
    return True


def drops_what_is_refused(delivery: Delivery, error: RetryableError) -> None:
    _suffer(delivery, error)
    delivery.held.ready.clear()


def drops_what_waits(delivery: Delivery, error: RetryableError) -> None:
    _suffer(delivery, error)
    delivery.held.waiting.clear()


def keeps_what_is_lost(
    held: Undelivered, partitions: Collection[Partition]
) -> tuple[int, dict[Partition, Offset]]:
    return 0, {}


def withdraws_nothing(ledger: Ledger, firsts: Mapping[Partition, Offset]) -> None:
    return


def reads_on_when_parked(ledger: Ledger, topic: str) -> dict[Partition, Offset | None]:
    found = _park(ledger, topic)
    for strand in ledger._strands.values():
        strand.is_parked = False
    return found


def ignores_fencing(delivery: Delivery) -> bool:
    try:
        while delivery._world.consumer.committed() is not None:
            pass
    except (FencedError, RetryableError):
        pass
    delivery.is_committing = False
    return True


def believes_failed_commits(delivery: Delivery) -> bool:
    offsets = delivery.ledger.committable(delivery.held.firsts())
    try:
        return _heed(delivery)
    finally:
        if delivery._metrics.commits.labels("failed")._value.get():
            delivery.ledger.committed(offsets)


def forgets_to_pause_the_new(
    worker: Worker, partitions: Collection[Partition]
) -> Mapping[Partition, Offset]:
    worker._has_joined = True
    worker._ledger.assigned(partitions, worker._delivery.parked)
    return worker._sink.assigned(partitions)


def never_resumes(worker: Worker, *, wanted: bool) -> None:
    if wanted:
        _pause(worker, wanted=True)


def forgets_without_telling(
    delivery: Delivery, partitions: Collection[Partition], *, lost: bool
) -> None:
    delivery.give_back(partitions)
    delivery.ledger.forget(partitions)


def keeps_rows_of_the_lost(ledger: Ledger, partitions: Collection[Partition]) -> int:
    for partition in partitions:
        ledger._strands.pop((partition.topic, partition.number), None)
    return 0


def skips_the_cut(delivery: Delivery, decoded: Decoded, topic: str, several: Any) -> Decoded:
    return decoded


def never_recovers(outage: Outage) -> float:
    return 0.0


def reaches_ends_while_parked(ledger: Ledger, ends: Mapping[Partition, Offset]) -> None:
    for strand in ledger._strands.values():
        if strand.partition in ends:
            strand.position = max(strand.position or 0, ends[strand.partition])
        elif strand.is_parked and strand.position is not None:
            strand.position += 1


def _take_unbounded(worker: Worker) -> bool:
    return worker._outage.is_on


def parks_and_goes_on(delivery: Delivery, batch: Any, deadline: Deadline) -> None:
    try:
        delivery._world.sink.write(batch, deadline)
    except ParkTableError:
        delivery.held.ready.popleft()
        return
    delivery.held.ready.popleft()
    delivery.ledger.accepted(batch)


_committable, _take, _park = Strand.committable, Ledger.take, Ledger.park
_suffer, _heed, _pause = Delivery.suffer, Delivery.heed, Worker._pause

MUTANTS: list[tuple[type, str, Callable[..., Any]]] = [
    (Strand, "committable", passes_held_rows),
    (Strand, "committable", ignores_durability),
    (Strand, "committable", believes_the_sink_alone),
    (Delivery, "settle", drops_rejections),
    (Delivery, "commit", commits_before_letters),
    (Ledger, "take", takes_what_is_not_ours),
    (Worker, "on_lost", finishes_what_is_lost),
    (Delivery, "flush", pretends_to_flush),
    (Delivery, "suffer", drops_what_is_refused),
    (Delivery, "suffer", drops_what_waits),
    (Undelivered, "take_out", keeps_what_is_lost),
    (Ledger, "withdraw", withdraws_nothing),
    (Ledger, "park", reads_on_when_parked),
    (Ledger, "reached", reaches_ends_while_parked),
    (Delivery, "heed", ignores_fencing),
    (Delivery, "heed", believes_failed_commits),
    (Worker, "on_assigned", forgets_to_pause_the_new),
    (Worker, "_pause", never_resumes),
    (Worker, "_is_blocked", _take_unbounded),
    (Delivery, "forget", forgets_without_telling),
    (Ledger, "forget", keeps_rows_of_the_lost),
    (Delivery, "_truncated", skips_the_cut),
    (Delivery, "_write", parks_and_goes_on),
    (Outage, "over", never_recovers),
]


@pytest.mark.parametrize(
    ("owner", "method", "mutant"), MUTANTS, ids=[mutant.__name__ for _, _, mutant in MUTANTS]
)
def test_a_broken_rule_is_noticed(
    owner: type, method: str, mutant: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, method, mutant)
    for seed in range(PATIENCE):
        try:
            play(seed)
        except (AssertionError, CallsheetError, KeyError):
            return
    pytest.fail(f"{mutant.__name__} outlived {PATIENCE} schedules")
