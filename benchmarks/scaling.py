"""What a second worker process costs: CPU per event of one and of two, into a sink that discards.

The records are produced while the workers are stopped, so that neither the producer nor a start-up
is in the measurement. Runs of one and of two take turns.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from benchmarks import films, pipelines
from benchmarks.films import Films, Wire
from benchmarks.harness import Benchmark, Measure, Outcome, Run, at_most
from benchmarks.machine import wait_for_calm
from benchmarks.replay import Recorded, Replay
from benchmarks.servers.bench import Servers

TABLE: Final = "films"
EVENTS: Final = 300_000
QUICK_EVENTS: Final = 20_000
ROUNDS: Final = 5
BOUND: Final = at_most(1.15)
PATIENCE_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Cost:
    workers: int
    events: int
    cpu_s: float
    seconds: float

    @property
    def cpu_us(self) -> float:
        return self.cpu_s / self.events * 1e6

    def __str__(self) -> str:
        return f"{self.workers} workers: {self.cpu_us:.2f} us/event, {self.seconds:.1f} s"

    def as_dict(self) -> dict[str, Any]:
        rate = round(self.events / self.seconds)
        return {"cpu_us_per_event": round(self.cpu_us, 2), "events_per_s": rate}


def run(run: Run) -> Outcome:
    servers = run.resources.servers
    servers.start()
    records = _records(run, servers)
    found: dict[int, list[Cost]] = {1: [], 2: []}
    for number in range(1 if run.quick else ROUNDS):
        # Each goes first as often as the other: what the machine does meanwhile hits both.
        for workers in (1, 2) if number % 2 else (2, 1):
            wait_for_calm(patience_s=0 if run.quick else 15.0)
            cost = _cost(servers, records, workers)
            run.narrator.say(str(cost))
            found[workers].append(cost)
    one, two = (median(cost.cpu_us for cost in found[workers]) for workers in (1, 2))
    return Outcome(
        [
            Measure("CPU of two workers over one", two / one, "ratio", BOUND),
            Measure("one worker", one, "us/event"),
            Measure("two workers", two, "us/event"),
        ],
        {
            "events": len(records),
            "runs": {str(n): [cost.as_dict() for cost in costs] for n, costs in found.items()},
        },
    )


def _records(run: Run, servers: Servers) -> list[Recorded]:
    data = Films(Wire.AVRO, films.QUICK_ROWS if run.quick else films.ROWS)
    films.ensure(servers, data, run.narrator)
    wanted = QUICK_EVENTS if run.quick else EVENTS
    return [
        Recorded(TABLE, number % films.PARTITIONS, message.key(), message.value(), 0)
        for number, message in enumerate(
            itertools.islice(servers.kafka.messages(data.topic), wanted)
        )
    ]


def _cost(servers: Servers, records: Sequence[Recorded], workers: int) -> Cost:
    replay = Replay(servers.kafka, f"bench-scaling-{time.monotonic_ns()}", [TABLE])
    replay.make_topics()
    pipeline = pipelines.into(servers, "scaling", replay.topics, lambda _: {"type": "discard"})
    try:
        with (
            pipelines.removed_afterwards(servers, pipeline),
            pipelines.running(servers, pipeline, workers) as running,
        ):
            pipelines.wait_until_assigned(servers, pipeline, running, workers)
            with running.frozen():
                replay.play(records, float("inf"))
                before, start = running.cost().cpu_s, time.monotonic()
            pipelines.wait_until_committed(servers, pipeline, replay.topics, PATIENCE_S)
            seconds, after = time.monotonic() - start, running.cost().cpu_s
    finally:
        replay.remove_topics()
    return Cost(workers, len(records), after - before, seconds)


BENCHMARK: Final = Benchmark(
    "scaling",
    "one and two workers into a discarding sink: CPU per event",
    run,
    needs_servers=True,
)
