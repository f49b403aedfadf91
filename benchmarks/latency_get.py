"""How long until a committed change can be read by its ``_id``, one change at a time."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from benchmarks import pipelines
from benchmarks.capture import Capture, capturing, load_finance
from benchmarks.harness import Benchmark, Measure, Outcome, Run, at_most
from benchmarks.machine import wait_for_calm
from benchmarks.samples import percentile, summary
from benchmarks.servers import plain_connect
from benchmarks.servers.bench import Servers
from callsheet.errors import FatalError
from connectors.client import ConnectClient
from finance.database import Role

COMMITS: Final = 500
QUICK_COMMITS: Final = 30
WARM_UP: Final = 50
PAUSE_S: Final = (0.03, 0.09)
"""Random, so that commits do not fall into step with a poll interval."""
LOOK_EVERY_S: Final = 0.0002
"""Between two looks; with the look itself it is what a sample may be too long by."""
PATIENCE_S: Final = 10.0
MARK: Final = 1_000_000_000
"""``votes`` beyond this are ours: each commit writes one that was never there before."""


@dataclass(frozen=True, slots=True)
class Variant:
    name: str
    capture: Capture
    p50_ms: float
    p99_ms: float


VARIANTS: Final = (
    Variant("plain source", Capture("latency-plain", 184911, exactly_once=False), 18, 60),
    Variant("exactly-once source", Capture("latency-exact", 184912, exactly_once=True), 25, 80),
)


def run(run: Run) -> Outcome:
    servers = run.resources.servers
    load_finance(servers)
    measures: list[Measure] = []
    details: dict[str, object] = {"warm_up_commits": WARM_UP, "look_every_ms": LOOK_EVERY_S * 1e3}
    for variant in VARIANTS:
        from_answer, from_request = _measure(run, servers, variant)
        for percent, limit in ((50, variant.p50_ms), (99, variant.p99_ms)):
            value = percentile(from_answer, percent)
            measures.append(Measure(f"p{percent}, {variant.name}", value, "ms", at_most(limit)))
        details[variant.name] = {
            "from COMMIT answered": summary(from_answer),
            "from COMMIT sent": summary(from_request),
            "samples_ms": [round(sample, 2) for sample in from_answer],
        }
    return Outcome(measures, details)


def _measure(run: Run, servers: Servers, variant: Variant) -> tuple[list[float], list[float]]:
    commits = QUICK_COMMITS if run.quick else COMMITS
    pipeline = pipelines.for_finance(servers, variant.capture)
    with (
        pipelines.removed_afterwards(servers, pipeline),
        _connect_for(servers, variant) as connect,
        capturing(servers, connect, variant.capture),
        pipelines.running(servers, pipeline) as worker,
    ):
        worker.wait_until_ready()
        probe = Probe(servers, pipeline.index("titles"))
        for number in range(WARM_UP if not run.quick else 5):
            probe.commit_and_wait(number)
        wait_for_calm(patience_s=0 if run.quick else 30.0)
        samples = []
        with run.narrator.tracking(variant.name, commits) as task:
            for number in range(commits):
                samples.append(probe.commit_and_wait(WARM_UP + number))
                task.at(number + 1)
        probe.close()
    return [answer for answer, _ in samples], [request for _, request in samples]


@contextmanager
def _connect_for(servers: Servers, variant: Variant) -> Iterator[ConnectClient]:
    if variant.capture.exactly_once:
        yield servers.connect
        return
    with plain_connect.running(servers) as connect:
        yield connect


class Probe:
    """Changes one title after the other and looks until the document shows it."""

    def __init__(self, servers: Servers, index: str) -> None:
        self._elastic = servers.elastic.another()
        self._session = servers.mysql(Role.APP)
        self._index = index
        self._random = random.Random(7)
        self._base = MARK + int(time.time()) % 100_000_000 * 10
        with self._session.cursor() as cursor:
            cursor.execute("SELECT title_id FROM titles ORDER BY title_id LIMIT 3000")
            self._titles = [int(row[0]) for row in cursor.fetchall()]
        self._session.commit()

    def close(self) -> None:
        self._session.close()
        self._elastic.close()

    def commit_and_wait(self, number: int) -> tuple[float, float]:
        """Milliseconds until readable: since COMMIT was answered, and since it was sent."""
        time.sleep(self._random.uniform(*PAUSE_S))
        title, mark = self._titles[number % len(self._titles)], self._base + number
        with self._session.cursor() as cursor:
            cursor.execute("UPDATE titles SET votes = %s WHERE title_id = %s", (mark, title))
        sent = time.perf_counter()
        self._session.commit()
        answered = time.perf_counter()
        while True:
            found = self._elastic.document(self._index, str(title))
            now = time.perf_counter()
            if found is not None and found["_source"]["votes"] == mark:
                return (now - answered) * 1e3, (now - sent) * 1e3
            if now - answered > PATIENCE_S:
                raise FatalError(f"A commit was not readable after {PATIENCE_S:.0f} s.")
            time.sleep(LOOK_EVERY_S)


BENCHMARK: Final = Benchmark(
    "latency-get",
    "commit in MySQL to readable by GET, single commits on an idle machine",
    run,
    needs_servers=True,
)
