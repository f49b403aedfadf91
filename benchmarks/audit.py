"""The audit as a whole worker: `callsheet run` on a backlog, weighed from outside.

`hive` times the sink alone, without a Kafka client. Here the memory is that of all processes that
a user starts, with the client's own buffers, at a backlog that is several times what they hold.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from typing import Any, Final

from benchmarks import films, pipelines
from benchmarks.destinations import Audit
from benchmarks.films import Films, Wire
from benchmarks.harness import Benchmark, Measure, Outcome, Run, at_most
from benchmarks.machine import wait_for_calm
from benchmarks.replay import Recorded, Replay
from benchmarks.servers.bench import Servers
from callsheet.errors import FatalError

TABLE: Final = "films"
TIMES: Final = 4
"""So many times the films, one after the other: 1,600,000 records."""
QUICK_TIMES: Final = 1
ROTATION_S: Final = 20
"""Ranges as long as a tenth of a backlog or more; with the default of five minutes the benchmark
would wait for most of its time."""
MEMORY_MB: Final = at_most(400)
PATIENCE_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class Weighed:
    """``peak_mb``: the highest resident sets of all processes, added up; MB are 10**6 bytes."""

    events: int
    seconds: float
    cpu_s: float
    peak_mb: float
    processes: list[float]

    def as_dict(self) -> dict[str, Any]:
        return {
            "events": self.events,
            "seconds": round(self.seconds, 1),
            "cpu_us_per_event": round(self.cpu_s / self.events * 1e6, 2),
            "peak_mb": round(self.peak_mb, 1),
            "peak_mb_by_process": self.processes,
        }


def run(run: Run) -> Outcome:
    servers = run.resources.servers
    servers.start()
    replay, events = _backlog(run, servers)
    try:
        wait_for_calm(patience_s=0 if run.quick else 15.0)
        found = _weighed(servers, replay, events)
    finally:
        replay.remove_topics()
    return Outcome(
        [
            Measure("most memory, all processes", found.peak_mb, "MB", MEMORY_MB),
            Measure("CPU", found.cpu_s / events * 1e6, "us/event"),
        ],
        found.as_dict(),
    )


def _backlog(run: Run, servers: Servers) -> tuple[Replay, int]:
    """The films, several times over, in a topic of their own; nothing is left in this process."""
    data = Films(Wire.AVRO, films.QUICK_ROWS if run.quick else films.ROWS)
    films.ensure(servers, data, run.narrator)
    replay = Replay(servers.kafka, "bench-audit", [TABLE], partitions=films.PARTITIONS)
    replay.make_topics()
    times = QUICK_TIMES if run.quick else TIMES
    run.narrator.say(f"{times} times the films as one backlog")
    numbers = itertools.count()
    for _ in range(times):
        replay.play(
            [
                Recorded(TABLE, next(numbers) % films.PARTITIONS, each.key(), each.value(), 0)
                for each in servers.kafka.messages(data.topic)
            ],
            float("inf"),
        )
    return replay, next(numbers)


def _weighed(servers: Servers, replay: Replay, events: int) -> Weighed:
    audit = Audit(servers, rotation_s=ROTATION_S)
    audit.prepare()
    pipeline = pipelines.into(servers, audit.name, replay.topics, audit.block)
    try:
        with (
            pipelines.removed_afterwards(servers, pipeline),
            pipelines.running(servers, pipeline) as worker,
        ):
            start, before = pipelines.wait_until_assigned(servers, pipeline, worker)
            pipelines.wait_until_committed(servers, pipeline, replay.topics, PATIENCE_S)
            seconds, after = time.monotonic() - start, worker.cost()
            if (rows := audit.rows(pipeline, TABLE)) != events:
                raise FatalError(f"the audit has {rows:,} rows of {events:,}")
    finally:
        audit.remove(pipeline, TABLE)
    by_process = sorted((peak for _, peak in after.processes.values()), reverse=True)
    return Weighed(
        events, seconds, after.cpu_s - before.cpu_s, after.peak_mb,
        [round(peak, 1) for peak in by_process],
    )  # fmt: skip


BENCHMARK: Final = Benchmark(
    "audit",
    "the audit: a whole worker on 1,600,000 records, its memory",
    run,
    needs_servers=True,
)
