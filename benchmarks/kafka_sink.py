"""Topics downstream: film envelopes in Debezium's Avro to our own events in Avro, in transactions.

In a process of its own, on a real broker and a real registry. Everything is counted from the poll's
messages on: decoding, UUIDs, encoding, headers, compressing, sending, committing once a second; the
CPU is that of all threads of the process, the Kafka client's own among them.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from statistics import median
from typing import Any, Final
from uuid import uuid4

os.environ.setdefault("POLARS_MAX_THREADS", "1")  # as a worker runs

import structlog
from confluent_kafka import Consumer

from benchmarks.alone import PARTITIONS, in_a_process, making_s, polls
from benchmarks.decode import avro_messages
from benchmarks.harness import Benchmark, Measure, Outcome, Run, at_least
from callsheet.batch import Offset, Partition
from callsheet.codec.columnar import load_native
from callsheet.codec.debezium import DebeziumDecoder
from callsheet.errors import FatalError
from callsheet.kafka.admin import KafkaTopics
from callsheet.kafka.producer import TransactionalProducer
from callsheet.kafka.settings import Connection
from callsheet.kafka.topics import Topic
from callsheet.ports import Deadline, SystemClock
from callsheet.sink import SinkContext, Transaction
from sinks import plugin

EVENTS: Final = 300_000
QUICK_EVENTS: Final = 20_000
DISTINCT: Final = 20_000
RUNS: Final = 3
COMMIT_EVERY_S: Final = 1.0
EVENTS_PER_S: Final = at_least(20_000)
_PATIENCE_S: Final = 60.0


def run(run: Run) -> Outcome:
    servers = run.resources.servers
    servers.start()
    events = QUICK_EVENTS if run.quick else EVENTS
    runs = [
        in_a_process("benchmarks.kafka_sink", events, servers.environment)
        for _ in range(1 if run.quick else RUNS)
    ]
    rates = [events / each["cpu_s"] for each in runs]
    return Outcome(
        [
            Measure("films downstream, one core", median(rates), "events/s", EVENTS_PER_S),
            Measure("CPU", 1e6 / median(rates), "us/event"),
            Measure("by the clock", median(events / r["wall_s"] for r in runs), "events/s"),
            Measure("most memory", max(each["peak_mib"] for each in runs), "MiB"),
        ],
        {"events": events, "partitions": PARTITIONS, "runs": runs},
    )


def measured(events: int, environ: Mapping[str, str]) -> dict[str, Any]:
    """Write and commit so many events."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    messages, dialect = avro_messages(DISTINCT)
    decoder = DebeziumDecoder(dialect(), native=load_native())
    name, brokers = f"bench-{uuid4().hex[:8]}", environ["CALLSHEET_KAFKA_BOOTSTRAP"]
    source = f"{name}.source"
    messages = [replace(message, topic_=source) for message in messages]
    topics, clock = KafkaTopics({"bootstrap.servers": brokers}), SystemClock()
    topics.create([Topic(source, PARTITIONS, 1)])  # offsets are committed only where there is one
    producer = TransactionalProducer(
        Connection(brokers), name, max_message_bytes=16 << 20, in_flight_bytes=48 << 20,
        budget_s=_PATIENCE_S, log=structlog.get_logger(), clock=clock,
    )  # fmt: skip
    found = plugin("kafka")
    registry = {"url": environ["CALLSHEET_REGISTRY_URL"]}
    settings = found.settings.model_validate({"prefix": name, "registry": registry})
    transaction = Transaction(producer, topics, lambda _: False)
    sink = found.build(settings, SinkContext("bench", clock, transaction=transaction))
    sink.open()
    outsider = Consumer({"bootstrap.servers": brokers, "group.id": name})
    membership = outsider.consumer_group_metadata()

    def commit(durable: Mapping[Partition, Offset]) -> None:
        if not producer.commit(durable, membership, Deadline.after(clock, _PATIENCE_S)):
            raise FatalError(f"a transaction was lost: {producer.failure}")

    making = making_s(messages, events)
    wall_s, cpu_s, written = time.perf_counter(), time.process_time(), 0
    committed_s = wall_s
    for polled in polls(messages, events):
        for batch in decoder.decode(polled).batches:
            sink.write(batch, Deadline.after(clock, _PATIENCE_S))
        progress = sink.progress()
        written += progress.counts.written
        if time.perf_counter() >= committed_s + COMMIT_EVERY_S:
            commit(progress.durable)
            committed_s = time.perf_counter()
    commit(progress.durable)
    wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    producer.close()
    sink.close()
    if written != events:
        raise FatalError(f"{written} of {events} events were written")
    return {
        "cpu_s": cpu_s - making,
        "wall_s": wall_s - making,
        "making_s": making,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


BENCHMARK = Benchmark(
    "kafka-sink", "topics downstream: films in Avro to events in Avro, in transactions", run,
    needs_servers=True,
)  # fmt: skip

if __name__ == "__main__":
    print(json.dumps(measured(int(sys.argv[1]), os.environ)))
