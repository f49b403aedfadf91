"""The loop's rules one by one; ``tests/property`` has them all at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from callsheet.batch import Partition
from callsheet.delivery import Step
from callsheet.errors import DeadLetterError, FatalError, RetryableError
from callsheet.limits import TruncatePolicy
from tests.support.fakes.world import FakeMessage, World
from tests.support.schedules import LIMITS, Run

P0, P1 = Partition("titles", 0), Partition("titles", 1)


def a_run(log: dict[Partition, str], truncate: TruncatePolicy = TruncatePolicy.PARK) -> Run:
    """``log`` has one letter per record: r row, t tombstone, p poison, x refused, u unfit,
    d undecodable, T truncate, c control record.
    """
    kinds = {
        "r": "row",
        "t": "tombstone",
        "p": "poison",
        "x": "refused",
        "u": "unfit",
        "d": "undecodable",
        "T": "truncate",
    }
    world = World(1)
    if truncate is not TruncatePolicy.PARK:
        world.skips_truncates_of = frozenset(partition.topic for partition in log)
    for partition, letters in log.items():
        world.log[partition] = [
            None if letter == "c" else FakeMessage(partition, n, f"{kinds[letter]} {n} A", n + 1)
            for n, letter in enumerate(letters)
        ]
    run = Run(world, truncate)
    run.consumer.wanted = frozenset(log)
    return run


def turns(run: Run, count: int = 12) -> None:
    for _ in range(count):
        run.worker.turn()
        run.sink.work(100)
        run.world.clock.advance(0.05)


def noting(steps: list[str], name: str, call: Callable[[Any], None]) -> Callable[[Any], None]:
    def noted(argument: Any) -> None:
        steps.append(name)
        call(argument)

    return noted


def test_the_order_is_written_durable_letters_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []

    def note(step: Step) -> bool:
        steps.append(step.value)
        return False

    run = a_run({P0: "rxr"})
    run.die_at = note
    run.start()
    monkeypatch.setattr(run.letters, "flush", noting(steps, "letters", run.letters.flush))
    monkeypatch.setattr(run.consumer, "commit", noting(steps, "commit", run.consumer.commit))
    turns(run)
    last = steps[steps.index(Step.ACKNOWLEDGED) :]
    assert steps.index(Step.FETCHED) < steps.index(Step.WRITTEN) < steps.index(Step.ACKNOWLEDGED)
    assert last[:4] == ["acknowledged", "letters", "committing", "commit"]
    assert run.world.committed[P0] == 3


def test_a_commit_that_is_never_answered_is_asked_for_again() -> None:
    run = a_run({P0: "rrr"})
    run.start()
    run.consumer.is_mute = True
    turns(run)
    asked_s, budget_s = run.world.clock.now_s, LIMITS.commit_budget_s
    run.consumer.is_mute = False
    while run.world.clock.now_s < asked_s + budget_s - 2:
        turns(run, 1)
    assert run.world.committed == {}, "an answer may still come"
    while run.world.clock.now_s < asked_s + budget_s + 2:
        turns(run, 1)
    assert run.world.committed == {P0: 3}
    results = {
        s.labels["result"]: s.value
        for family in run.metrics.commits.collect()
        for s in family.samples
        if s.name.endswith("_total")
    }
    assert results == {"unanswered": 1, "ok": 1}


def test_commits_go_by_time_not_by_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    run = a_run({P0: "r" * 60})
    run.start()
    steps: list[str] = []
    monkeypatch.setattr(run.consumer, "commit", noting(steps, "commit", run.consumer.commit))
    begun_s = run.world.clock.now_s
    while run.world.committed.get(P0) != 60:
        run.worker.turn()
        run.sink.work(100)
    lasted_s = run.world.clock.now_s - begun_s
    assert 1 <= len(steps) <= lasted_s / LIMITS.commit_interval_s + 1


def test_a_full_hand_is_sat_out_before_it_pauses() -> None:
    run = a_run({P0: "r" * 60})
    run.start()
    run.sink.is_stuck = True
    for _ in range(40):
        run.worker.turn()
    assert run.in_hand() <= LIMITS.in_hand_events
    assert not run.consumer.paused  # a blip is sat out
    run.world.clock.advance(LIMITS.pause_after_s)
    run.worker.turn()
    assert run.consumer.paused == {P0}
    run.sink.is_stuck = False
    turns(run, 40)
    assert not run.consumer.paused
    assert run.world.committed[P0] == 60
    assert run.consumer.delivered == 60  # nothing was read twice


def test_an_outage_pauses_at_once_and_tries_again_by_the_backoff() -> None:
    run = a_run({P0: "r" * 10})
    run.start()
    run.worker.turn()
    run.sink.is_away = True
    tries = 0
    write = run.sink.write

    def counted(batch: object, deadline: object) -> None:
        nonlocal tries
        tries += 1
        write(batch, deadline)  # type: ignore[arg-type]

    run.sink.write = counted  # type: ignore[method-assign]
    turns(run, 100)
    assert run.consumer.paused == {P0}
    assert 2 <= tries <= 40
    run.sink.is_away = False
    turns(run, 60)
    assert run.world.committed[P0] == 10
    assert run.consumer.delivered == 10


def test_a_partition_that_comes_while_paused_is_paused_in_the_callback() -> None:
    run = a_run({P0: "r" * 10, P1: "r" * 10})
    run.consumer.wanted = frozenset({P0})
    run.start()
    run.sink.is_away = True
    turns(run, 10)
    run.consumer.rebalance("assign", {P1})
    run.worker.turn()
    assert run.consumer.paused == {P0, P1}


def test_records_of_a_partition_revoked_in_the_same_poll_are_dropped() -> None:
    for seed in range(20):  # the fake hands out strays at random
        run = a_run({P0: "r" * 10, P1: "r" * 10})
        run.world.random.seed(seed)
        run.start()
        run.worker.turn()
        run.consumer.rebalance("revoke", {P1})
        turns(run, 20)
        assert run.world.committed[P0] == 10
        assert all(place[0] == P0 for place in run.sink._seen)


def test_revoked_partitions_are_finished_and_lost_ones_are_not() -> None:
    run = a_run({P0: "rr", P1: "rr"})
    run.start()
    for _ in range(6):
        run.worker.turn()  # accepted, not delivered
    run.consumer.rebalance("revoke", {P0})
    run.worker.turn()
    assert run.world.committed[P0] == 2
    run.consumer.rebalance("lose", {P1})
    before = set(run.world.durable)
    run.worker.turn()
    assert run.world.durable == before
    assert run.sink.parts == {}


def test_a_fenced_worker_forgets_everything_and_joins_anew() -> None:
    run = a_run({P0: "r" * 4})
    run.start()
    run.worker.turn()
    run.consumer.is_fenced = True
    turns(run, 30)
    assert run.consumer.subscriptions == 2
    assert run.world.committed[P0] == 4


@pytest.mark.parametrize("letter", ["u", "d", "T"])
def test_a_parked_table_stops_alone_uncommitted_and_listed(letter: str) -> None:
    other = Partition("budgets", 0)
    run = a_run({P0: f"rrtr{letter}rr", other: "r" * 9})
    run.start()
    turns(run, 30)
    assert run.world.committed[other] == 9
    assert run.world.committed.get(P0, 0) <= 4
    status = run.worker._world.pulse.read()
    assert [table.topic for table in status.parked] == ["titles"]
    assert P0 in run.consumer.paused
    assert run.consumer.positions[P0] <= 4  # sought back
    # A new worker tries again.
    healed = run.world.log[P0][4]
    assert healed is not None
    healed.text = "row 9 A"
    again = Run(run.world, TruncatePolicy.PARK)
    again.consumer.wanted = frozenset(run.world.log)
    again.start()
    turns(again, 30)
    assert run.world.committed[P0] == 7


def test_a_truncate_may_be_skipped() -> None:
    run = a_run({P0: "rTr"}, TruncatePolicy.SKIP)
    run.start()
    turns(run)
    assert run.world.committed[P0] == 3
    assert run.count("skipped") == 1


def test_a_truncate_may_be_left_to_the_sweep_where_the_table_allows_it() -> None:
    other = Partition("budgets", 0)
    run = a_run({P0: "rTr", other: "rTr"}, TruncatePolicy.SWEEP)
    run.start()
    turns(run, 30)
    assert run.world.committed[P0] == 3
    assert run.count("skipped") == 1
    assert run.world.committed.get(other, 0) <= 1
    assert [table.topic for table in run.worker._world.pulse.read().parked] == ["budgets"]


def test_an_unwritable_letter_stops_with_the_offsets_kept() -> None:
    run = a_run({P0: "rpr"})
    run.letters.is_broken = True
    run.start()
    with pytest.raises(DeadLetterError):
        turns(run)
    assert run.world.committed.get(P0, 0) == 0


def test_run_waits_for_the_destination_before_it_joins() -> None:
    run = a_run({P0: "r"})
    run.sink.is_away = True
    sleep = run.world.clock.sleep

    def come_back_later(seconds: float) -> None:
        assert run.consumer.subscriptions == 0
        sleep(seconds)
        if len(run.world.clock.slept_s) == 5:
            run.sink.is_away = False
            run.worker.stop()

    run.world.clock.sleep = come_back_later  # type: ignore[method-assign]
    run.worker.run()
    assert len(run.world.clock.slept_s) == 5
    assert not run.sink.is_open


def test_a_sink_that_cannot_be_opened_is_tried_at_the_back_off() -> None:
    run = a_run({P0: "r"})
    run.sink.is_away = True
    sleep, opened = run.world.clock.sleep, 0

    def open_sink() -> None:
        nonlocal opened
        opened += 1
        raise RetryableError("away")

    def stop_after_a_minute(seconds: float) -> None:
        sleep(seconds)
        if sum(run.world.clock.slept_s) > 60:
            run.worker.stop()

    run.sink.open = open_sink  # type: ignore[method-assign]
    run.world.clock.sleep = stop_after_a_minute  # type: ignore[method-assign]
    run.worker.run()
    assert opened < len(run.world.clock.slept_s) / 2
    assert max(run.world.clock.slept_s) <= 0.25, "it says that it lives"


def test_stopping_finishes_what_is_in_hand() -> None:
    run = a_run({P0: "r" * 8})
    run.start()
    for _ in range(4):
        run.worker.turn()
    run.worker.stop()
    in_hand = run.in_hand()
    assert in_hand > 0
    run.sink.open()
    run.worker.run()
    assert run.world.committed[P0] >= in_hand
    assert run.in_hand() == 0
    assert not run.sink.is_open


def test_an_error_stops_without_another_commit() -> None:
    run = a_run({P0: "r" * 8})

    def broken(batch: object, deadline: object) -> None:
        raise FatalError("corrupt")

    run.sink.write = broken  # type: ignore[method-assign]
    with pytest.raises(FatalError, match="corrupt"):
        run.worker.run()
    assert run.world.committed == {}
    assert not run.sink.is_open
    assert run.sink.parts == {}


def test_the_frontier_and_the_gauges_are_shown() -> None:
    run = a_run({P0: "rrr"})
    run.start()
    turns(run, 30)
    value = run.metrics.registry.get_sample_value
    assert value("callsheet_assigned_partitions") == 1
    assert value("callsheet_in_hand_events") == 0
    assert value("callsheet_frontier_timestamp_seconds", {"topic": "titles"}) == pytest.approx(3e-6)
    assert run.worker._world.pulse.read().committed == {"titles[0]": 3}
