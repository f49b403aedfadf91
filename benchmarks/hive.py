"""The audit: film envelopes in Debezium's Avro to Parquet files in place, in a process of its own.

All is counted from the poll's messages on: decoding, UUIDs, columns, Parquet, fsync, manifests.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any, Final

os.environ.setdefault("POLARS_MAX_THREADS", "1")  # as a worker runs

from benchmarks.alone import PARTITIONS, in_a_process, making_s, polls
from benchmarks.decode import avro_messages
from benchmarks.harness import Benchmark, Measure, Outcome, Run, at_least, at_most
from callsheet.batch import Partition
from callsheet.codec.columnar import load_native
from callsheet.codec.debezium import DebeziumDecoder
from callsheet.errors import FatalError
from callsheet.ports import Deadline, SystemClock
from callsheet.sink import SinkContext
from sinks import plugin

EVENTS: Final = 1_000_000
QUICK_EVENTS: Final = 40_000
DISTINCT: Final = 40_000
"""Envelopes before they repeat, further apart than the compression can see."""
RUNS: Final = 3
QUICK_RUNS: Final = 1
EVENTS_PER_S: Final = at_least(100_000)
MIB: Final = 1 << 20
MEMORY_MIB: Final = at_most(400)
_PATIENCE_S: Final = 300.0


def run(run: Run) -> Outcome:
    events = QUICK_EVENTS if run.quick else EVENTS
    runs = [
        in_a_process("benchmarks.hive", events) for _ in range(QUICK_RUNS if run.quick else RUNS)
    ]
    rates = [events / each["cpu_s"] for each in runs]
    peaks = [each["peak_mib"] for each in runs]
    return Outcome(
        [
            Measure("films to Parquet, one core", median(rates), "events/s", EVENTS_PER_S),
            Measure("most memory", max(peaks), "MiB", MEMORY_MIB),
            Measure("CPU", 1e6 / median(rates), "us/event"),
            Measure("by the clock", median(events / r["wall_s"] for r in runs), "events/s"),
            Measure("files", median(each["bytes"] / events for each in runs), "bytes/event"),
        ],
        {"events": events, "partitions": PARTITIONS, "runs": runs},
    )


def measured(events: int) -> dict[str, Any]:
    """Write so many events; CPU time is that of all threads of this process."""
    messages, dialect = avro_messages(DISTINCT)
    decoder = DebeziumDecoder(dialect(), native=load_native())
    making = making_s(messages, events)
    clock = SystemClock()
    topic = messages[0].topic()
    with tempfile.TemporaryDirectory() as folder:
        found = plugin("hive")
        settings = found.settings.model_validate({"store": {"type": "local", "root": folder}})
        sink = found.build(settings, SinkContext("bench", clock))
        sink.open()
        sink.assigned([Partition(topic, number) for number in range(PARTITIONS)])
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        written = 0
        for polled in polls(messages, events):
            for batch in decoder.decode(polled).batches:
                sink.write(batch, Deadline.after(clock, _PATIENCE_S))
            written += sink.progress().counts.written
        sink.flush(Deadline.after(clock, _PATIENCE_S))
        wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
        written += sink.progress().counts.written
        sink.close()
        if written != events:
            raise FatalError(f"{written} of {events} events were written")
        size = sum(file.stat().st_size for file in Path(folder).rglob("*.parquet"))
    return {
        "cpu_s": cpu_s - making,
        "wall_s": wall_s - making,
        "making_s": making,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "bytes": size,
    }


BENCHMARK = Benchmark("hive", "the audit: films in Avro to Parquet files, one process", run)

if __name__ == "__main__":
    print(json.dumps(measured(int(sys.argv[1]))))
