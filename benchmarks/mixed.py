"""Seven tables at once, a few rows of each at a time: what normal traffic costs.

The changes are the simulator's, as Debezium wrote them into Kafka. They are played again at steady
rates, so that a poll finds rows of several tables; how many share a batch follows from the rate.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from benchmarks import pipelines
from benchmarks.bulk_runs import Contender
from benchmarks.capture import Capture, capturing, load_finance
from benchmarks.films import Wire
from benchmarks.harness import Benchmark, Measure, Outcome, Run, at_most
from benchmarks.replay import Recorded, Replay, record
from benchmarks.servers.bench import Servers
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
BOUNDED_RATE_PER_S: Final = 5_000.0
TIMES_FILMS: Final = 3.0
PATIENCE_S: Final = 180.0
CAPTURE: Final = Capture("mixed", 184914, exactly_once=True)


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one rate. ``batches`` and ``rows`` are the worker's own count.

    ``idle_cpu_s`` is what the worker used in as many seconds without any event; it is part of
    ``cpu_s`` all the same.
    """

    rate: float
    events: int
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

    def as_dict(self) -> dict[str, Any]:
        return {
            "events_per_s": round(self.rate),
            "events": self.events,
            "cpu_us_per_event": round(self.cpu_us, 1),
            "cpu_share_of_a_core": round(self.cpu_us * self.rate / 1e6, 3),
            "of_it_idle_s": round(self.idle_cpu_s, 2),
            "batches": self.batches,
            "rows_per_batch": round(self.rows_per_batch, 2),
        }


def run(run: Run) -> Outcome:
    servers = run.resources.servers
    records = _records(run, servers)
    replay = Replay(servers.kafka, "bench-replay", [table.name for table in BUSINESS_TABLES])
    costs = {rate: _cost(run, servers, replay, records, rate) for rate in RATES_PER_S}
    replay.remove_topics()
    films = median(sample.cpu_us for sample in run.resources.bulk.samples(Contender.AVRO))
    bounded = costs.pop(BOUNDED_RATE_PER_S)
    measures = [
        Measure(_name(bounded), bounded.cpu_us, "us/event", at_most(TIMES_FILMS * films)),
        Measure("over the films run", bounded.cpu_us / films, "ratio"),
        *(Measure(_name(cost), cost.cpu_us, "us/event") for cost in costs.values()),
    ]
    details = {"films_cpu_us": films, "runs": [c.as_dict() for c in (bounded, *costs.values())]}
    return Outcome(measures, details)


def _name(cost: Cost) -> str:
    return f"CPU at {cost.rate:,.0f}/s ({cost.rows_per_batch:.1f} rows a batch)"


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


def _cost(
    run: Run, servers: Servers, replay: Replay, records: Sequence[Recorded], rate: float
) -> Cost:
    seconds = QUICK_SECONDS if run.quick else SECONDS
    events = records[: int(rate * seconds)]
    replay.make_topics()
    pipeline = pipelines.for_topics(servers, "mixed", Wire.AVRO, replay.topics)
    with (
        pipelines.removed_afterwards(servers, pipeline),
        pipelines.running(servers, pipeline) as worker,
    ):
        pipelines.wait_until_assigned(servers, pipeline, worker)
        # The first rows of each table make its index: that is no part of normal traffic.
        warm_up = _one_of_each(records)
        replay.play(warm_up, rate)
        pipelines.wait_until_committed(servers, pipeline, replay.topics, PATIENCE_S)
        idle = worker.cost().cpu_s
        time.sleep(seconds)
        before, counted = worker.cost().cpu_s, batch_counts(worker.metrics())
        kept = replay.play(events, rate)
        pipelines.wait_until_committed(servers, pipeline, replay.topics, PATIENCE_S)
        after, now = worker.cost().cpu_s, batch_counts(worker.metrics())
    cost = Cost(
        rate=kept,
        events=len(events),
        cpu_s=after - before,
        idle_cpu_s=before - idle,
        batches=now["batches"] - counted["batches"],
        rows=now["rows"] - counted["rows"],
    )
    run.narrator.say(f"{_name(cost)}: {cost.cpu_us:.1f} us")
    return cost


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
