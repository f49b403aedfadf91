"""Seven tables at once, a few rows of each at a time: what normal traffic costs."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from benchmarks import pipelines
from benchmarks.bulk_runs import Contender
from benchmarks.capture import Capture, capturing, load_finance
from benchmarks.harness import Benchmark, Measure, Outcome, Run, at_most
from benchmarks.servers.bench import Servers
from callsheet.errors import FatalError
from finance.database import Account, Role, open_engine
from finance.simulate import Simulator, Until

CHANGES: Final = 120_000
QUICK_CHANGES: Final = 4_000
RATE_PER_S: Final = 2_000.0
LIVE_RATE_PER_S: Final = 500.0
LIVE_S: Final = 60.0
QUICK_LIVE_S: Final = 5.0
TIMES_FILMS: Final = 3.0
PATIENCE_S: Final = 180.0
CAPTURE: Final = Capture("mixed", 184914, exactly_once=True)


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one way to meet the traffic. ``batches`` and ``rows`` are the worker's own count."""

    events: int
    cpu_s: float
    batches: float
    rows: float

    @property
    def cpu_us(self) -> float:
        return self.cpu_s / self.events * 1e6

    def as_dict(self) -> dict[str, Any]:
        return {
            "events": self.events,
            "cpu_us_per_event": round(self.cpu_us, 1),
            "batches": self.batches,
            "rows_per_batch": round(self.rows / self.batches, 2) if self.batches else 0,
        }


def run(run: Run) -> Outcome:
    servers = run.resources.servers
    load_finance(servers)
    with capturing(servers, servers.connect, CAPTURE):
        changes = QUICK_CHANGES if run.quick else CHANGES
        run.narrator.say(
            f"simulating {changes:,} changes, which Debezium streams into seven topics"
        )
        _simulate(servers, RATE_PER_S, Until(changes=changes))
        backlog = _backlog(servers)
        run.narrator.say(f"live traffic of {LIVE_RATE_PER_S:.0f} changes/s")
        live = _live(run, servers)
    films = median(sample.cpu_us for sample in run.resources.bulk.samples(Contender.AVRO))
    return Outcome(
        [
            Measure("CPU, mixed traffic", backlog.cpu_us, "us/event", at_most(TIMES_FILMS * films)),
            Measure("rows per batch", backlog.rows / backlog.batches, "rows"),
            Measure("CPU of the films run", films, "us/event"),
            Measure("CPU, live at 500 changes/s", live.cpu_us, "us/event"),
            Measure("rows per batch, live", live.rows / live.batches, "rows"),
        ],
        {"mixed": backlog.as_dict(), "live": live.as_dict()},
    )


def _backlog(servers: Servers) -> Cost:
    """Changes that have piled up, in the small polls of ``pipelines.SMALL_POLL``."""
    _wait_until_streamed(servers)
    events = sum(servers.kafka.count(topic) for topic in CAPTURE.topics)
    pipeline = pipelines.for_finance(servers, CAPTURE, poll_events=pipelines.SMALL_POLL)
    with pipelines.running(servers, pipeline) as worker:
        _, before = pipelines.wait_until_assigned(servers, pipeline, worker)
        pipelines.wait_until_committed(servers, pipeline, CAPTURE.topics, PATIENCE_S)
        after = worker.cost()
        counted = batch_counts(worker.metrics())
    servers.elastic.delete(pipeline.indices)
    return Cost(events, after.cpu_s - before.cpu_s, counted["batches"], counted["rows"])


def _live(run: Run, servers: Servers) -> Cost:
    """Changes as they come: how many share a batch is up to the moment."""
    seconds = QUICK_LIVE_S if run.quick else LIVE_S
    pipeline = pipelines.for_finance(servers, CAPTURE)
    with pipelines.running(servers, pipeline) as worker:
        pipelines.wait_until_assigned(servers, pipeline, worker)
        pipelines.wait_until_committed(servers, pipeline, CAPTURE.topics, PATIENCE_S)
        had = sum(servers.kafka.count(topic) for topic in CAPTURE.topics)
        before, counted = worker.cost(), batch_counts(worker.metrics())
        _simulate(servers, LIVE_RATE_PER_S, Until(seconds=seconds))
        _wait_until_streamed(servers)
        pipelines.wait_until_committed(servers, pipeline, CAPTURE.topics, PATIENCE_S)
        after, now = worker.cost(), batch_counts(worker.metrics())
        events = sum(servers.kafka.count(topic) for topic in CAPTURE.topics) - had
    servers.elastic.delete(pipeline.indices)
    return Cost(
        events,
        after.cpu_s - before.cpu_s,
        now["batches"] - counted["batches"],
        now["rows"] - counted["rows"],
    )


def _simulate(servers: Servers, rate: float, until: Until) -> None:
    engine = open_engine(Account.from_environment(servers.environment, Role.APP))
    try:
        Simulator(engine, seed=int(time.time())).run(rate, until)
    finally:
        engine.dispose()


def _wait_until_streamed(servers: Servers) -> None:
    """The connector has passed what MySQL had written when this was called."""
    pipelines.wait_for_capture(servers, servers.connect, CAPTURE.name, PATIENCE_S)


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
