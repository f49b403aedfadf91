"""How long until a committed change is found by a search, with ``refresh: adaptive``."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from benchmarks import pipelines
from benchmarks.bulk_runs import Contender
from benchmarks.capture import Capture, capturing, load_finance
from benchmarks.harness import Benchmark, Measure, Outcome, Run, at_least, at_most
from benchmarks.machine import wait_for_calm
from benchmarks.samples import percentile, summary
from benchmarks.servers.bench import Servers
from callsheet.errors import FatalError
from finance.database import Role

RATE_PER_S: Final = 10.0
JITTER_S: Final = 0.03
SECONDS: Final = 60.0
QUICK_SECONDS: Final = 5.0
WARM_UP_S: Final = 30.0
"""Elasticsearch was just started: its first thousands of searches and refreshes are interpreted."""
LOOK_EVERY_S: Final = 0.005
"""The looking itself is load: of two cores, a search every 2 ms takes most of one."""
PATIENCE_S: Final = 10.0
UNHARMED: Final = 0.95
"""Adaptive over interval, docs/s, in the same round; the median of five."""
CAPTURE: Final = Capture("latency-search", 184913, exactly_once=True)


def run(run: Run) -> Outcome:
    servers = run.resources.servers
    load_finance(servers)
    seconds = QUICK_SECONDS if run.quick else SECONDS
    pipeline = pipelines.for_finance(servers, CAPTURE, refresh="adaptive")
    with (
        pipelines.removed_afterwards(servers, pipeline),
        capturing(servers, servers.connect, CAPTURE),
        pipelines.running(servers, pipeline) as worker,
    ):
        worker.wait_until_ready()
        _found_after(servers, pipeline.index("titles"), QUICK_SECONDS if run.quick else WARM_UP_S)
        wait_for_calm(patience_s=0 if run.quick else 30.0)
        run.narrator.say(f"{RATE_PER_S:.0f} commits/s for {seconds:.0f} s")
        samples = _found_after(servers, pipeline.index("titles"), seconds)
    interval = run.resources.bulk.samples(Contender.JSON)
    adaptive = run.resources.bulk.samples(Contender.ADAPTIVE)
    ratio = median(a.rate / i.rate for a, i in zip(adaptive, interval, strict=True))
    return Outcome(
        [
            Measure("p99", percentile(samples, 99), "ms", at_most(200)),
            Measure("p50", percentile(samples, 50), "ms"),
            Measure("bulk rate, adaptive over interval", ratio, "ratio", at_least(UNHARMED)),
        ],
        {
            "found_after_ms": summary(samples),
            "samples_ms": [round(sample, 1) for sample in samples],
            "warm_up_s": WARM_UP_S,
            "look_every_ms": LOOK_EVERY_S * 1e3,
            "bulk_interval": [sample.as_dict() for sample in interval],
            "bulk_adaptive": [sample.as_dict() for sample in adaptive],
        },
    )


@dataclass(slots=True)
class _Outstanding:
    """Marks that were committed and not yet found, with the moment of their commit."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    since: dict[int, float] = field(default_factory=dict)
    is_over: bool = False


def _found_after(servers: Servers, index: str, seconds: float) -> list[float]:
    """Milliseconds per commit. Commits come on schedule, whatever the search does meanwhile."""
    outstanding, planned = _Outstanding(), round(seconds * RATE_PER_S)
    writer = threading.Thread(target=_write, args=(servers, outstanding, planned))
    elastic = servers.elastic.another()
    samples: list[float] = []
    writer.start()
    try:
        while True:
            with outstanding.lock:
                waiting = dict(outstanding.since)
                if outstanding.is_over and not waiting:
                    break
            if waiting:
                body = {
                    "query": {"terms": {"votes": sorted(waiting)}},
                    "size": 100,
                    "_source": ["votes"],
                }
                hits = elastic.search(index, body)["hits"]["hits"]
                now = time.perf_counter()
                for hit in hits:
                    mark = hit["_source"]["votes"]
                    samples.append((now - waiting[mark]) * 1e3)
                    with outstanding.lock:
                        del outstanding.since[mark]
                if now - min(waiting.values()) > PATIENCE_S:
                    raise FatalError(f"A commit was not found after {PATIENCE_S:.0f} s.")
            time.sleep(LOOK_EVERY_S)
    finally:
        writer.join()
        elastic.close()
    if len(samples) != planned:
        raise FatalError(f"Only {len(samples)} of {planned} commits were made.")
    return samples


def _write(servers: Servers, outstanding: _Outstanding, planned: int) -> None:
    rng = random.Random(7)
    base = 2_000_000_000 + int(time.time() * 10) % 1_000_000_000
    try:
        with servers.mysql(Role.APP) as session, session.cursor() as cursor:
            cursor.execute("SELECT title_id FROM titles ORDER BY title_id LIMIT 3000")
            titles = [row[0] for row in cursor.fetchall()]
            session.commit()
            start = time.perf_counter()
            for number in range(planned):
                due = start + number / RATE_PER_S + rng.uniform(0, JITTER_S)
                time.sleep(max(0.0, due - time.perf_counter()))
                mark, title = base + number, titles[number % len(titles)]
                cursor.execute("UPDATE titles SET votes = %s WHERE title_id = %s", (mark, title))
                session.commit()
                with outstanding.lock:
                    outstanding.since[mark] = time.perf_counter()
    finally:
        outstanding.is_over = True


BENCHMARK: Final = Benchmark(
    "latency-search",
    "commit in MySQL to found by a search, refresh: adaptive, 10 commits/s; the bulk rate unharmed",
    run,
    needs_servers=True,
)
