"""The conservation law holds whenever the worker publishes, not only at rest."""

from __future__ import annotations

from collections import defaultdict

import pytest

from callsheet.batch import Partition
from callsheet.limits import TruncatePolicy
from callsheet.observability.health import Pulse
from callsheet.worker import Worker
from tests.support.fakes.world import FakeMessage, World
from tests.support.schedules import Run

TITLES, BUDGETS = Partition("titles", 0), Partition("budgets", 0)
KINDS = ("row", "row", "tombstone", "row", "poison", "refused", "row")


def a_run(records: int = 200) -> Run:
    world = World(3)
    for partition in (TITLES, BUDGETS):
        world.log[partition] = [
            FakeMessage(partition, n, f"{KINDS[n % len(KINDS)]} {n} A", n + 1)
            for n in range(records)
        ]
    run = Run(world, TruncatePolicy.PARK)
    run.consumer.wanted = frozenset(world.log)
    return run


def published(run: Run) -> dict[str, float]:
    """What /metrics would say, by name."""
    sums: defaultdict[str, float] = defaultdict(float)
    for family in pulse_of(run.worker).balance:
        for sample in family.samples:
            sums[sample.name.removeprefix("callsheet_").removesuffix("_total")] += sample.value
    return dict(sums)


def pulse_of(worker: Worker) -> Pulse:
    return worker._world.pulse


def turns(run: Run, count: int = 1) -> None:
    """Each publishes."""
    for _ in range(count):
        run.world.clock.advance(1.0)
        run.worker.turn()


def missing(run: Run) -> float:
    found = published(run)
    return found.pop("consumed_events") - sum(found.values())


@pytest.mark.parametrize("pace", [0, 1, 3, 100])
def test_it_adds_up_in_the_middle_of_everything(pace: int) -> None:
    """``pace``: how many rows of a partition the sink delivers in a turn. A batch spans both."""
    run = a_run()
    run.start()
    in_hand = set()
    for turn in range(300):
        run.sink.work(pace if turn < 150 or not pace else 100)
        turns(run)
        assert missing(run) == 0, published(run)
        in_hand.add(published(run).get("in_hand_events", 0))
    assert len(in_hand) > 1
    assert (published(run)["in_hand_events"] == 0) == (pace > 0)


def test_what_is_given_up_half_done_is_counted_once() -> None:
    run = a_run()
    run.start()
    turns(run, 6)
    run.sink.work(1)
    run.sink.is_stuck = True
    turns(run, 6)
    half_done = published(run)
    assert half_done["in_hand_events"] > 0
    run.consumer.rebalance("revoke", [TITLES])
    turns(run, 4)
    assert missing(run) == 0, published(run)
    assert published(run)["given_back_events"] > 0


def test_the_last_word_is_complete() -> None:
    run = a_run(20)
    run.worker.stop()
    run.worker.run()
    assert missing(run) == 0
    assert published(run)["in_hand_events"] == 0
