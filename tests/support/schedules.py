"""Random schedules for the worker: records, faults, rebalances and crashes, then a quiet end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import structlog
from prometheus_client import CollectorRegistry

from callsheet.backoff import Backoff, Outage
from callsheet.batch import Partition
from callsheet.delivery import Step, Surroundings
from callsheet.errors import DeadLetterError
from callsheet.fuse import Fuse, FuseRating
from callsheet.limits import Limits, TruncatePolicy
from callsheet.observability.health import Pulse
from callsheet.observability.metrics import Metrics
from callsheet.worker import Worker
from tests.support.fakes.consumer import FakeConsumer
from tests.support.fakes.decoder import FakeDecoder
from tests.support.fakes.sink import FakeLetters, FakeSink
from tests.support.fakes.world import FakeMessage, World

LIMITS = Limits(
    poll_events=6,
    in_hand_events=12,
    write_budget_s=10.0,
    revoke_budget_s=5.0,
    stop_budget_s=5.0,
    letters_budget_s=5.0,
    commit_interval_s=0.02,
    pause_after_s=0.5,
    sweepable=frozenset({"titles"}),
)
TOPICS = ("titles", "budgets")


class CrashError(BaseException):
    """The process dies at a step of the loop."""


@dataclass(slots=True)
class Run:
    """One process: a worker and its fakes. The world outlives it."""

    world: World
    truncate: TruncatePolicy
    die_at: Callable[[Step], bool] = lambda _: False
    consumer: FakeConsumer = field(init=False)
    sink: FakeSink = field(init=False)
    decoder: FakeDecoder = field(init=False)
    letters: FakeLetters = field(init=False)
    metrics: Metrics = field(init=False)
    worker: Worker = field(init=False)

    def __post_init__(self) -> None:
        clock = self.world.clock
        self.consumer = FakeConsumer(self.world)
        self.sink = FakeSink(self.world, self.consumer)
        self.decoder = FakeDecoder(self.world)
        self.letters = FakeLetters(self.world, self.consumer)
        self.metrics = Metrics(CollectorRegistry())
        world = Surroundings(
            consumer=self.consumer,
            decoder=self.decoder,
            sink=self.sink,
            letters=self.letters,
            fuse=Fuse(FuseRating(run_events=10_000, minimum_letters=10_000)),
            outage=Outage(clock, Backoff(base_s=0.05, cap_s=1.0), self.world.random),
            clock=clock,
            metrics=self.metrics,
            pulse=Pulse(clock),
            log=structlog.wrap_logger(_Silent(), processors=[]),
            at=self._at,
        )
        self.worker = Worker(world, TOPICS, LIMITS, self.truncate)

    def _at(self, step: Step) -> None:
        if self.die_at(step):
            raise CrashError(step.value)

    def start(self) -> None:
        self.sink.open()
        self.consumer.subscribe(TOPICS, self.worker)

    def count(self, what: str) -> float:
        """One counter, over all its labels."""
        name = f"callsheet_{what}_events_total"
        families = self.metrics.registry.collect()
        return sum(s.value for family in families for s in family.samples if s.name == name)

    def in_hand(self) -> int:
        delivery = self.worker._delivery
        return delivery.ledger.events + delivery.held.events


class _Silent:
    def msg(self, *args: object, **kwargs: object) -> None: ...

    debug = info = warning = error = exception = msg


def a_log(random: Random, partition: Partition, records: int) -> list[FakeMessage | None]:
    kinds = ["row"] * 12 + ["tombstone"] * 2 + ["poison", "refused", "control"]
    log: list[FakeMessage | None] = []
    for number in range(records):
        kind = random.choice(kinds)
        if kind == "control":
            log.append(None)
            continue
        # Each ID has one schema, so batches of a topic interleave and IDs still keep their order.
        text = f"{kind} {random.choice(('1 A', '2 A', '3 B'))}"
        log.append(FakeMessage(partition, number, text, number + 1))
    return log


def a_world(seed: int, *, truncate: TruncatePolicy) -> World:
    world = World(seed)
    random = world.random
    world.skips_truncates_of = {
        TruncatePolicy.PARK: frozenset[str](),
        TruncatePolicy.SKIP: frozenset(TOPICS),
        TruncatePolicy.SWEEP: LIMITS.sweepable,
    }[truncate]
    for topic in TOPICS:
        for number in range(random.randint(1, 2)):
            partition = Partition(topic, number)
            world.log[partition] = a_log(random, partition, random.randint(0, 18))
    _maybe_spoil(world)
    return world


def _maybe_spoil(world: World) -> None:
    """Sometimes one table has a record at which it must park."""
    random = world.random
    if random.random() > 0.4:
        return
    partition = random.choice(sorted(world.log))
    places = [n for n, message in enumerate(world.log[partition]) if message is not None]
    if places:
        number = random.choice(places)
        kind = random.choice(["truncate", "undecodable", "unfit"])
        world.log[partition][number] = FakeMessage(partition, number, f"{kind} 4 A", number + 1)


class Schedule:
    """One random history, told by its seed.

    ``is_exact``: nothing in hand was taken away from this run, so its counters must add up.
    """

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.truncate = self.random.choice(list(TruncatePolicy))
        self.world = a_world(seed, truncate=self.truncate)
        self.run = self._begin()

    def play(self) -> None:
        for _ in range(self.random.randint(5, 30)):
            self._disturb()
            self._turn()
        self._finish()

    def _begin(self) -> Run:
        die_in = self.random.choice([None, None, self.random.randint(1, 30)])
        steps = 0

        def die_at(_: Step) -> bool:
            nonlocal steps
            steps += 1
            return steps == die_in

        run = Run(self.world, self.truncate, die_at)
        run.consumer.wanted = self._a_share()
        run.start()
        self.is_exact = True
        return run

    def _a_share(self) -> frozenset[Partition]:
        return frozenset(p for p in self.world.log if self.random.random() < 0.7)

    def _turn(self) -> None:
        try:
            self.run.worker.turn()
        except (CrashError, DeadLetterError):
            self.run = self._begin()  # the store, the letters and the commits remain
            return
        assert self.run.in_hand() <= LIMITS.in_hand_events + 2 * LIMITS.poll_events

    def _disturb(self) -> None:
        run, random = self.run, self.random
        match random.randint(0, 13):
            case 0:
                run.sink.is_away = not run.sink.is_away
            case 1:
                run.sink.is_stuck, self.is_exact = not run.sink.is_stuck, False
            case 2:
                run.decoder.is_away = not run.decoder.is_away
            case 3:
                run.consumer.is_away = not run.consumer.is_away
            case 4:
                run.letters.is_broken = random.random() < 0.3
            case 5 | 6:
                run.consumer.rebalance("assign", self._a_share())
            case 7 | 8:
                run.consumer.rebalance("revoke", self._a_share())
            case 9:
                self._lose(self._a_share())
                self.is_exact = False
            case 10:
                run.consumer.is_fenced, self.is_exact = True, False
            case _:
                self.world.clock.advance(random.choice([0.0, 0.01, 0.1, 1.0]))
        run.sink.work(random.choice([0, 0, 1, 3, 100]))

    def _lose(self, partitions: frozenset[Partition]) -> None:
        """Sometimes another member owns all of them before we hear of it, and has gone on."""
        consumer = self.run.consumer
        if self.random.random() < 0.5:
            partitions, consumer.is_fenced = frozenset(consumer.positions), True
            for partition in partitions:
                self._let_another_go_on(partition)
        consumer.rebalance("lose", partitions)

    def _let_another_go_on(self, partition: Partition) -> None:
        log = self.world.log[partition]
        start = self.world.committed.get(partition, 0)
        stop = self.random.randint(start, len(log))
        for number in range(start, stop):
            message = log[number]
            if message is not None and message.kind in ("unfit", "undecodable", "truncate"):
                stop = number
                break
            if message is not None and message.kind in ("poison", "refused"):
                self.world.letters.add((partition, number))
            elif message is not None and message.is_row:
                self.world.apply(message)
        self.world.committed[partition] = max(start, stop)

    # --- the quiet end --------------------------------------------------------------------------

    def _finish(self) -> None:
        """All neighbours are well and all partitions ours: then everything must arrive."""
        run = self.run
        run.die_at = lambda _: False
        run.sink.is_away = run.sink.is_stuck = run.decoder.is_away = False
        run.consumer.is_away = run.letters.is_broken = False
        run.consumer.wanted = frozenset(self.world.log)
        run.consumer.rebalance("assign", run.consumer.wanted)
        for _ in range(400):
            run.worker.turn()
            run.sink.work(100)
            self.world.clock.advance(0.05)
            if self._is_over():
                break
        run.worker.stop()
        run.worker._finish(run.worker._after(5.0))
        run.worker._is_closing = True
        run.consumer.close()
        self._check()

    def _is_over(self) -> bool:
        parked = self.run.worker._delivery.parked
        return (
            all(
                self.world.committed.get(partition) == len(log)
                for partition, log in self.world.log.items()
                if partition.topic not in parked
            )
            and not self.run.in_hand()
        )

    def _check(self) -> None:
        assert not self.run.sink.parts, "the sink was not told what is gone"
        parked = self.run.worker._delivery.parked
        for partition, log in self.world.log.items():
            committed = self.world.committed.get(partition)
            if partition.topic not in parked:
                assert committed == len(log), f"{partition} stands at {committed} of {len(log)}"
            if partition.topic not in parked:
                for number in range(len(log)):
                    assert self.world.is_done((partition, number)), f"{partition}: {number} is lost"
        for topic in parked:
            assert any(
                message is not None and message.kind in ("truncate", "undecodable", "unfit")
                for partition, log in self.world.log.items()
                if partition.topic == topic
                for message in log
            ), "parked without a reason"
        self._check_order()
        if self.is_exact:
            self._check_conservation()

    def _check_conservation(self) -> None:
        """consumed = written + superseded + stale + skipped + dead-lettered + given back."""
        count = self.run.count
        outcomes = ("written", "superseded", "stale", "skipped", "dead_lettered", "given_back")
        assert count("consumed") == sum(map(count, outcomes))

    def _check_order(self) -> None:
        """Each ID ends with the newest of its rows that were delivered."""
        newest: dict[str, int] = {}
        for place in self.world.durable:
            message = self.world.at(place)
            assert message is not None
            newest[message.id] = max(message.version, newest.get(message.id, 0))
        assert self.world.store == newest


def play(seed: int) -> None:
    Schedule(seed).play()
