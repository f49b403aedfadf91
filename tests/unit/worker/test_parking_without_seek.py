"""A client refuses to seek in a partition that it is about to lose."""

from __future__ import annotations

import pytest

from callsheet.batch import Offset, Partition
from callsheet.errors import RetryableError
from callsheet.limits import TruncatePolicy
from tests.support.fakes.world import FakeMessage, World
from tests.support.schedules import Run

TITLES, BUDGETS = Partition("titles", 0), Partition("budgets", 0)


def refuse(partition: Partition, offset: Offset) -> None:
    raise RetryableError(f"seeking in {partition}: Local: Erroneous state")


def test_rows_before_a_truncation_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(1)
    world.log[TITLES] = [
        FakeMessage(TITLES, 0, "row 1 A", 1),
        FakeMessage(TITLES, 1, "row 2 A", 2),
        FakeMessage(TITLES, 2, "truncate", 3),
    ]
    world.log[BUDGETS] = [FakeMessage(BUDGETS, 0, "row 1 A", 1)]
    run = Run(world, TruncatePolicy.PARK)
    run.consumer.wanted = frozenset({TITLES, BUDGETS})
    monkeypatch.setattr(run.consumer, "seek", refuse)
    run.start()
    for _ in range(50):  # the fakes assert that no commit passes what is nowhere
        run.worker.turn()
        run.sink.work(10)
        world.clock.advance(0.05)
    assert world.committed == {TITLES: 2, BUDGETS: 1}
    assert world.durable == {(TITLES, 0), (TITLES, 1), (BUDGETS, 0)}
