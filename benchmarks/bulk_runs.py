"""The films run: worker and ceiling, one after the other, round by round, on the same machine.

A noisy minute then hits all contenders alike, and ratios are taken within a round.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from benchmarks import ceiling, films, pipelines, worker
from benchmarks.films import Films, Wire
from benchmarks.machine import wait_for_calm
from benchmarks.progress import Narrator
from benchmarks.servers.bench import Servers
from callsheet.errors import FatalError

ROUNDS: Final = 5
SAMPLE_S: Final = 0.05
PATIENCE_S: Final = 300.0
COMMIT_S: Final = 30.0
CEILING_INDEX: Final = "bench-ceiling"


class Contender(StrEnum):
    CEILING = "ceiling"
    JSON = "json"
    AVRO = "avro"
    ADAPTIVE = "adaptive"
    """As JSON, but with ``refresh: adaptive``."""


_WANTED: Final = {
    "bulk-json": {Contender.JSON},
    "bulk-avro": {Contender.AVRO},
    "ceiling": {Contender.CEILING, Contender.JSON, Contender.AVRO},
    "mixed": {Contender.AVRO},
    "latency-search": {Contender.JSON, Contender.ADAPTIVE},
}


def contenders_of(selected: frozenset[str]) -> tuple[Contender, ...]:
    """Who runs, in the order of a round, if these benchmarks are to be measured."""
    wanted = set().union(*(_WANTED.get(name, set()) for name in selected))
    # The ceiling replays what a worker wrote, so it comes after one in each round.
    order = (Contender.JSON, Contender.CEILING, Contender.AVRO, Contender.ADAPTIVE)
    return tuple(each for each in order if each in wanted)


@dataclass(frozen=True, slots=True)
class Sample:
    """One run over all rows.

    Attributes:
        seconds: from the last moment at which the broker saw no assignment (so the first fetch and
            all after it count) until Elasticsearch has carried out all rows.
        cpu_us: per event, user and system, of all the worker's processes, from the same moment
            until the last offset is committed.
        busy_before: what others used of the machine just before.
        startup_cpu_s: what the processes used before that; not part of ``cpu_us``.
        curve: (seconds, rows) as Elasticsearch told them.
    """

    contender: Contender
    rows: int
    seconds: float
    busy_before: float = 0.0
    cpu_us: float = 0.0
    peak_mb: float = 0.0
    startup_cpu_s: float = 0.0
    processes: dict[str, Any] = field(default_factory=dict)
    curve: Sequence[tuple[float, int]] = ()

    @property
    def rate(self) -> float:
        return self.rows / self.seconds

    @property
    def is_of_worker(self) -> bool:
        return self.contender is not Contender.CEILING

    def __str__(self) -> str:
        cost = f" {self.cpu_us:6.2f} us {self.peak_mb:5.0f} MB" if self.is_of_worker else ""
        return f"{self.contender.value:<8} {self.rate:>8,.0f} docs/s{cost}"

    def as_dict(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "docs_per_s": round(self.rate),
            "seconds": round(self.seconds, 3),
            "others_busy_share_before": round(self.busy_before, 3),
        }
        if self.is_of_worker:
            found |= {
                "cpu_us_per_event": round(self.cpu_us, 2),
                "peak_mb": round(self.peak_mb, 1),
                "startup_cpu_s": round(self.startup_cpu_s, 2),
                "processes": self.processes,
                "curve_s_rows": [(round(at, 2), rows) for at, rows in self.curve[::10]],
            }
        return found


class BulkRuns:
    """All rounds, run when the first sample is asked for; one warm-up round is thrown away."""

    def __init__(
        self,
        servers: Servers,
        narrator: Narrator,
        contenders: Sequence[Contender],
        *,
        quick: bool,
    ) -> None:
        self._servers, self._narrator = servers, narrator
        self._contenders = contenders
        self._rows = films.QUICK_ROWS if quick else films.ROWS
        self._rounds = 1 if quick else ROUNDS
        self._patience_s = 0.0 if quick else 15.0
        self._samples: dict[Contender, list[Sample]] = {}
        self._corpus: ceiling.Corpus | None = None
        self.ceiling_sizes: dict[int, float] = {}
        """Documents a request → docs/s, from the warm-up; the best one is used."""

    def samples(self, contender: Contender) -> Sequence[Sample]:
        if not self._samples:
            self._run()
        return self._samples[contender]

    def _run(self) -> None:
        # The registry knows the declared schema of the JSON topic from the Avro one.
        for wire in (Wire.AVRO, Wire.JSON):
            films.ensure(self._servers, Films(wire, self._rows), self._narrator)
        self._narrator.say("warm-up round, not counted")
        for contender in self._contenders:
            self._once(contender)
        self._samples = {contender: [] for contender in self._contenders}
        for number in range(self._rounds):
            # There and back: a machine that slows down on the way favours nobody.
            for contender in self._contenders[:: -1 if number % 2 else 1]:
                sample = self._once(contender)
                self._samples[contender].append(sample)
                self._narrator.say(f"round {number + 1}/{self._rounds} {sample}")

    def _once(self, contender: Contender) -> Sample:
        self._servers.elastic.settle()
        busy = wait_for_calm(patience_s=self._patience_s).busy_share
        sample = self._ceiling() if contender is Contender.CEILING else self._worker(contender)
        return replace(sample, busy_before=busy)

    # --- the ceiling ----------------------------------------------------------------------------

    def _ceiling(self) -> Sample:
        if self._corpus is None:
            raise FatalError("the ceiling needs a worker's run before it")
        if not self.ceiling_sizes:
            for size in ceiling.SIZES:
                self.ceiling_sizes[size] = self._rows / self._send(size)
        best = max(self.ceiling_sizes, key=self.ceiling_sizes.__getitem__)
        return Sample(Contender.CEILING, self._rows, self._send(best))

    def _send(self, size: int) -> float:
        assert self._corpus is not None
        elastic = self._servers.elastic
        elastic.delete(CEILING_INDEX)
        elastic.call("PUT", f"/{CEILING_INDEX}", self._corpus.index)
        seconds = ceiling.send(elastic, CEILING_INDEX, self._corpus.bodies(size))
        elastic.refresh(CEILING_INDEX)
        if elastic.count(CEILING_INDEX) != self._rows:
            raise FatalError("the ceiling's index does not hold every document")
        elastic.delete(CEILING_INDEX)
        elastic.settle()
        return seconds

    # --- a worker -------------------------------------------------------------------------------

    def _worker(self, contender: Contender) -> Sample:
        wire = Wire.AVRO if contender is Contender.AVRO else Wire.JSON
        data = Films(wire, self._rows)
        refresh = "adaptive" if contender is Contender.ADAPTIVE else "interval"
        pipeline = pipelines.for_films(self._servers, data, refresh=refresh)
        with pipelines.removed_afterwards(self._servers, pipeline):
            with pipelines.running(self._servers, pipeline) as running:
                sample = self._measure(contender, data, pipeline, running)
            self._check(pipeline)
            if contender is Contender.JSON and self._corpus is None:
                self._corpus = ceiling.corpus(self._servers.elastic, pipeline.indices)
            return sample

    def _measure(
        self,
        contender: Contender,
        data: Films,
        pipeline: pipelines.Pipeline,
        running: worker.Worker,
    ) -> Sample:
        start, before = pipelines.wait_until_assigned(self._servers, pipeline, running)
        curve = list(self._watch(pipeline, running, start))
        pipelines.wait_until_committed(self._servers, pipeline, [data.topic], COMMIT_S)
        after = running.cost()
        return Sample(
            contender,
            self._rows,
            curve[-1][0],
            cpu_us=(after.cpu_s - before.cpu_s) / self._rows * 1e6,
            peak_mb=after.peak_mb,
            startup_cpu_s=before.cpu_s,
            processes={
                str(pid): {"cpu_s": round(cpu, 2), "peak_mb": round(peak, 1)}
                for pid, (cpu, peak) in after.processes.items()
            },
            curve=curve,
        )

    def _watch(
        self, pipeline: pipelines.Pipeline, running: worker.Worker, start: float
    ) -> Iterator[tuple[float, int]]:
        """Until all rows are in; the end is seen at most ``SAMPLE_S`` late, never early."""
        label = f"{pipeline.name}: rows in Elasticsearch"
        with self._narrator.tracking(label, self._rows) as task:
            while True:
                done = self._servers.elastic.indexed(pipeline.indices)
                elapsed = time.monotonic() - start
                yield elapsed, done
                task.at(done)
                if done >= self._rows:
                    return
                running.require_alive()
                if elapsed > PATIENCE_S:
                    raise FatalError(f"{done:,} of {self._rows:,} rows after {elapsed:.0f} s")
                time.sleep(SAMPLE_S)

    def _check(self, pipeline: pipelines.Pipeline) -> None:
        (index,) = self._servers.elastic.names(pipeline.indices)
        self._servers.elastic.refresh(index)
        found = self._servers.elastic.count(index)
        if found != self._rows:
            raise FatalError(f"{found:,} documents for {self._rows:,} rows")
