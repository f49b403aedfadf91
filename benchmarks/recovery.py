"""From kill -9 until a sink has caught up, the worker started again at once, as a supervisor would.

The worker is killed in the middle of a backlog, with requests, transactions and files open. It is
caught up when its group has committed the last record, which no worker does before the record is
durable; then the rows at the destination are counted.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from benchmarks import destinations, films, pipelines
from benchmarks.destinations import Destination
from benchmarks.films import Films, Wire
from benchmarks.harness import Benchmark, Measure, Outcome, Run, at_most
from benchmarks.machine import wait_for_calm
from benchmarks.pipelines import Pipeline
from benchmarks.replay import Recorded, Replay
from benchmarks.servers.bench import Servers
from callsheet.errors import FatalError

TABLE: Final = "films"
EVENTS: Final = 180_000
QUICK_EVENTS: Final = 12_000
BEHIND: Final = 100_000
"""At the least, at the moment of the kill."""
ROUNDS: Final = 3
BUSY_S: Final = 0.3
"""Between the first fetch and the kill: it is in the middle of its work then."""
BOUND: Final = at_most(20.0)
PATIENCE_S: Final = 180.0


@dataclass(frozen=True, slots=True)
class Recovery:
    """Seconds from the kill to the group's last commit, and how far behind the group was then."""

    destination: str
    behind: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.destination}: {self.behind:,} behind, {self.seconds:.1f} s"

    def as_dict(self) -> dict[str, Any]:
        return {"behind": self.behind, "seconds": round(self.seconds, 2)}


def run(run: Run) -> Outcome:
    servers = run.resources.servers
    servers.start()
    data = Films(Wire.AVRO, films.QUICK_ROWS if run.quick else films.ROWS)
    replay = _backlog(run, servers, data)
    found: dict[str, list[Recovery]] = {}
    try:
        for _, destination in itertools.product(
            range(1 if run.quick else ROUNDS), destinations.all_of(servers)
        ):
            wait_for_calm(patience_s=0 if run.quick else 15.0)
            recovery = _recovery(run, servers, destination, replay.topics, data.table)
            run.narrator.say(str(recovery))
            found.setdefault(destination.name, []).append(recovery)
    finally:
        replay.remove_topics()
    return Outcome(
        [
            Measure(f"longest, {name}", max(each.seconds for each in runs), "s", BOUND)
            for name, runs in found.items()
        ],
        {
            "events": QUICK_EVENTS if run.quick else EVENTS,
            "runs": {name: [each.as_dict() for each in runs] for name, runs in found.items()},
        },
    )


def _backlog(run: Run, servers: Servers, data: Films) -> Replay:
    """So many of the films, in a topic of their own."""
    films.ensure(servers, data, run.narrator)
    wanted = QUICK_EVENTS if run.quick else EVENTS
    records = [
        Recorded(TABLE, message.partition() or 0, message.key(), message.value(), 0)
        for message in itertools.islice(servers.kafka.messages(data.topic), wanted)
    ]
    # Read one partition after the other, perhaps; a backlog is in all of them.
    spread = [
        Recorded(each.table, number % films.PARTITIONS, each.key, each.value, 0)
        for number, each in enumerate(records)
    ]
    replay = Replay(servers.kafka, f"bench-recovery-{wanted}", [TABLE], partitions=films.PARTITIONS)
    replay.make_topics()
    replay.play(spread, float("inf"))
    return replay


def _recovery(
    run: Run, servers: Servers, destination: Destination, topics: Sequence[str], table: str
) -> Recovery:
    """``table``: as the records name it, whatever their topic is."""
    destination.prepare()
    pipeline = pipelines.into(servers, destination.name, topics, destination.block)
    try:
        with pipelines.removed_afterwards(servers, pipeline):
            first = pipelines.start(servers, pipeline)
            try:
                pipelines.wait_until_assigned(servers, pipeline, first)
                time.sleep(BUSY_S)
            finally:
                killed = time.monotonic()
                first.kill()
            behind = _behind(servers, pipeline, topics)
            if not run.quick and behind < BEHIND:
                raise FatalError(f"{destination.name}: only {behind:,} events behind at the kill")
            with pipelines.running(servers, pipeline):
                pipelines.wait_until_committed(servers, pipeline, topics, PATIENCE_S)
                seconds = time.monotonic() - killed
            _check(servers, destination, pipeline, topics, table)
    finally:
        destination.remove(pipeline, table)
    return Recovery(destination.name, behind, seconds)


def _behind(servers: Servers, pipeline: Pipeline, topics: Sequence[str]) -> int:
    committed = servers.kafka.committed(pipeline.group)
    ends = servers.kafka.ends(topics)
    return sum(end - max(0, committed.get(place, 0)) for place, end in ends.items())


def _check(
    servers: Servers,
    destination: Destination,
    pipeline: Pipeline,
    topics: Sequence[str],
    table: str,
) -> None:
    expected = sum(servers.kafka.ends(topics).values())
    found = destination.rows(pipeline, table)
    if found != expected:
        raise FatalError(f"{destination.name} has {found:,} rows of {expected:,}")


BENCHMARK: Final = Benchmark(
    "recovery",
    "kill -9 to caught up, 100,000 events behind, each sink",
    run,
    needs_servers=True,
)
