"""Seven tables at once, a few rows of each at a time: what normal traffic costs.

The changes are the simulator's, as Debezium wrote them into Kafka. First a backlog of them in small
polls, so that each holds about ten rows of each table: this is what the bound is about, and the
median of several runs, for one lasts seconds. Then the same changes at steady rates: how many rows
share a batch is then up to the moment, and stated.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from benchmarks import pipelines
from benchmarks.bulk_runs import Contender
from benchmarks.capture import Capture, capturing, load_finance
from benchmarks.films import Wire
from benchmarks.harness import Benchmark, Measure, Outcome, Run, at_most
from benchmarks.pipelines import Pipeline
from benchmarks.replay import Recorded, Replay, record
from benchmarks.samples import spread
from benchmarks.servers.bench import Servers
from benchmarks.worker import Worker
from callsheet.errors import FatalError
from finance.database import Account, Role, open_engine
from finance.simulate import Simulator, Until
from finance.tables import BUSINESS_TABLES

CHANGES: Final = 120_000
QUICK_CHANGES: Final = 10_000
SIMULATED_PER_S: Final = 5_000.0
SECONDS: Final = 20.0
QUICK_SECONDS: Final = 2.0
RATES_PER_S: Final = (500.0, 2_000.0, 5_000.0)
TABLES: Final = [table.name for table in BUSINESS_TABLES]
ROWS_TOGETHER: Final = 10
SMALL_POLL: Final = ROWS_TOGETHER * len(TABLES)
BACKLOG: Final = 50_000
QUICK_BACKLOG: Final = 5_000
ROUNDS: Final = 5
TIMES_FILMS: Final = 3.0
PATIENCE_S: Final = 180.0
CAPTURE: Final = Capture("mixed", 184914, exactly_once=True)


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one way to meet the events. ``batches`` and ``rows`` are the worker's own count.

    ``idle_cpu_s`` is what the worker used in as much time without any event; ``cpu_s`` holds it.
    """

    name: str
    events: int
    seconds: float
    cpu_s: float
    idle_cpu_s: float
    batches: float
    rows: float

    @property
    def cpu_us(self) -> float:
        return self.cpu_s / self.events * 1e6

    @property
    def rows_per_batch(self) -> float:
        return self.rows / self.batches if self.batches else 0.0

    def __str__(self) -> str:
        return f"{self.name}: {self.cpu_us:.1f} us, {self.rows_per_batch:.1f} rows a batch"

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "events": self.events,
            "events_per_s": round(self.events / self.seconds),
            "cpu_us_per_event": round(self.cpu_us, 1),
            "share_of_a_core": round(self.cpu_s / self.seconds, 3),
            "of_it_idle_s": round(self.idle_cpu_s, 2),
            "batches": self.batches,
            "rows_per_batch": round(self.rows_per_batch, 2),
        }


def run(run: Run) -> Outcome:
    servers = run.resources.servers
    records = _records(run, servers)
    backlogs = [_backlog(run, servers, records) for _ in range(1 if run.quick else ROUNDS)]
    backlog = sorted(backlogs, key=lambda cost: cost.cpu_us)[len(backlogs) // 2]
    live = [_live(run, servers, records, rate) for rate in RATES_PER_S]
    films = median(sample.cpu_us for sample in run.resources.bulk.samples(Contender.AVRO))
    return Outcome(
        [
            Measure("over the films run", backlog.cpu_us / films, "ratio", at_most(TIMES_FILMS)),
            Measure("CPU, small polls", backlog.cpu_us, "us/event"),
            Measure("spread of it", spread([cost.cpu_us for cost in backlogs]), "ratio"),
            Measure("rows a batch, small polls", backlog.rows_per_batch, "rows"),
            *(Measure(f"CPU, {cost.name}", cost.cpu_us, "us/event") for cost in live),
        ],
        {"films_cpu_us": films, "runs": [cost.as_dict() for cost in (*backlogs, *live)]},
    )


def _records(run: Run, servers: Servers) -> Sequence[Recorded]:
    """Simulated changes of all seven tables; they stay on the stack for the next time."""
    wanted = QUICK_CHANGES if run.quick else CHANGES
    found = record(servers.kafka, CAPTURE.topics)
    if len(found) < wanted:
        load_finance(servers)
        run.narrator.say(f"Debezium streams {wanted:,} simulated changes into seven topics")
        with capturing(servers, servers.connect, CAPTURE):
            _simulate(servers, wanted)
            pipelines.wait_for_capture(servers, servers.connect, CAPTURE.name, PATIENCE_S)
        found = record(servers.kafka, CAPTURE.topics)
    if len({each.table for each in found}) < len(BUSINESS_TABLES):
        raise FatalError("the recorded changes are not of all seven tables")
    return found


def _simulate(servers: Servers, changes: int) -> None:
    engine = open_engine(Account.from_environment(servers.environment, Role.APP))
    try:
        Simulator(engine, seed=int(time.time())).run(SIMULATED_PER_S, Until(changes=changes))
    finally:
        engine.dispose()


def _backlog(run: Run, servers: Servers, records: Sequence[Recorded]) -> Cost:
    """Record batches of ten rows in one partition per table, read in polls of seven such."""
    events = records[: QUICK_BACKLOG if run.quick else BACKLOG]
    settings = {"batch.num.messages": ROWS_TOGETHER, "linger.ms": 1000}
    replay = Replay(servers.kafka, "bench-backlog", TABLES, partitions=1, settings=settings)
    replay.make_topics()
    pipeline = pipelines.for_topics(
        servers, "mixed", Wire.AVRO, replay.topics, small_polls=SMALL_POLL
    )
    with _ready(servers, pipeline, replay, records) as worker:
        _settled(servers, pipeline, replay)
    # The warm-up made the indices; what comes now finds a worker that is away.
    replay.play(events, float("inf"))
    with _removed(servers, pipeline, replay), pipelines.running(servers, pipeline) as worker:
        start, cost = pipelines.wait_until_assigned(servers, pipeline, worker)
        _settled(servers, pipeline, replay)
        seconds = time.monotonic() - start
        after, now = worker.cost().cpu_s, batch_counts(worker.metrics())
    found = Cost(
        "small polls", len(events), seconds, after - cost.cpu_s, 0.0, now["batches"], now["rows"]
    )
    run.narrator.say(str(found))
    return found


def _live(run: Run, servers: Servers, records: Sequence[Recorded], rate: float) -> Cost:
    seconds = QUICK_SECONDS if run.quick else SECONDS
    events = records[: int(rate * seconds)]
    replay = Replay(servers.kafka, "bench-live", TABLES)
    replay.make_topics()
    pipeline = pipelines.for_topics(servers, "mixed", Wire.AVRO, replay.topics)
    with (
        _removed(servers, pipeline, replay),
        _ready(servers, pipeline, replay, records) as worker,
    ):
        idle = worker.cost().cpu_s
        time.sleep(seconds)
        before, counted = worker.cost().cpu_s, batch_counts(worker.metrics())
        start = time.monotonic()
        replay.play(events, rate)
        _settled(servers, pipeline, replay)
        took = time.monotonic() - start
        after, now = worker.cost().cpu_s, batch_counts(worker.metrics())
    cost = Cost(
        f"live at {rate:,.0f}/s", len(events), took, after - before, before - idle,
        now["batches"] - counted["batches"], now["rows"] - counted["rows"],
    )  # fmt: skip
    run.narrator.say(str(cost))
    return cost


@contextmanager
def _ready(
    servers: Servers, pipeline: Pipeline, replay: Replay, records: Sequence[Recorded]
) -> Iterator[Worker]:
    """A worker whose indices exist: making them is no part of normal traffic."""
    with pipelines.running(servers, pipeline) as worker:
        pipelines.wait_until_assigned(servers, pipeline, worker)
        replay.play(_one_of_each(records), float("inf"))
        _settled(servers, pipeline, replay)
        yield worker


@contextmanager
def _removed(servers: Servers, pipeline: Pipeline, replay: Replay) -> Iterator[None]:
    with pipelines.removed_afterwards(servers, pipeline):
        yield
    replay.remove_topics()


def _settled(servers: Servers, pipeline: Pipeline, replay: Replay) -> None:
    pipelines.wait_until_committed(servers, pipeline, replay.topics, PATIENCE_S)


def _one_of_each(records: Sequence[Recorded]) -> list[Recorded]:
    first: dict[str, Recorded] = {}
    for each in records:
        if each.value is not None:
            first.setdefault(each.table, each)
    return list(first.values())


def batch_counts(metrics: str) -> Mapping[str, float]:
    """Batches and their rows, from the worker's histogram of batch sizes; all processes added."""
    found = {"batches": 0.0, "rows": 0.0}
    for suffix, name in (("count", "batches"), ("sum", "rows")):
        pattern = rf"^callsheet_batch_events_{suffix}(?:\{{[^}}]*\}})? (\S+)$"
        values = re.findall(pattern, metrics, re.MULTILINE)
        if not values:
            raise FatalError("the worker's metrics have no batch sizes")
        found[name] = sum(map(float, values))
    return found


BENCHMARK: Final = Benchmark(
    "mixed",
    "seven finance tables, batches of a few events each: CPU per event",
    run,
    needs_servers=True,
)
