"""Film rows into a replica on a local MySQL: all new, then all changed, then all of it once more.

From the sink's side: batches as the decoder hands them over, until all of it is committed there
with its versions and offsets. MySQL is as the stack starts it: one fsync a commit, binlog on.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import polars as pl
import pymysql.cursors

from benchmarks import render
from benchmarks.harness import Benchmark, Measure, Outcome, Run, at_least
from benchmarks.machine import wait_for_calm
from callsheet.batch import Batch
from callsheet.errors import FatalError
from callsheet.ports import Deadline, SystemClock
from callsheet.sink import Counts, SinkContext
from finance.database import Account, Role
from sinks.sql.settings import SqlSettings
from sinks.sql.sink import SqlSink

ROWS: Final = 200_000
QUICK_ROWS: Final = 20_000
BATCH: Final = 5_000
"""As a worker polls by default."""
DATABASE: Final = "bench_replica"
PATIENCE_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class Phase:
    name: str
    seconds: float
    cpu_s: float
    rows: int

    @property
    def rate(self) -> float:
        return self.rows / self.seconds

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "rows_per_s": round(self.rate),
            "seconds": round(self.seconds, 3),
            "cpu_us_per_row": round(self.cpu_s * 1e6 / self.rows, 2),
        }


def run(run: Run) -> Outcome:
    servers = run.resources.servers
    servers.start()
    wait_for_calm(patience_s=0 if run.quick else 30.0)
    account = Account.from_environment(servers.environment, Role.ADMIN)
    phases = measure(account, QUICK_ROWS if run.quick else ROWS)
    bound = at_least(15_000)
    measures = [
        Measure(phase.name, phase.rate, "rows/s", bound if n == 0 else None)
        for n, phase in enumerate(phases)
    ]
    cpu = Measure("CPU, new rows", phases[0].cpu_s * 1e6 / phases[0].rows, "us/row")
    return Outcome(
        [*measures, cpu], {"batch": BATCH, "phases": [phase.as_dict() for phase in phases]}
    )


def measure(account: Account, rows: int) -> list[Phase]:
    """Into a database of its own, which is gone afterwards."""
    batches = _batches(rows)
    changed = [_newer(batch) for batch in batches]
    with _session(account) as session, session.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {DATABASE}")
        cursor.execute(f"CREATE DATABASE {DATABASE}")
        try:
            sink = _sink(account)
            sink.open()
            try:
                phases = [
                    _phase("new rows", sink, batches, Counts(written=rows)),
                    _phase("changed rows", sink, changed, Counts(written=rows)),
                    _phase("a replay", sink, batches, Counts(stale=rows)),
                ]
            finally:
                sink.close()
            cursor.execute(f"SELECT COUNT(*) FROM {DATABASE}.films")
            if cursor.fetchone() != (rows,):
                raise FatalError("The replica does not hold every row.")
        finally:
            cursor.execute(f"DROP DATABASE {DATABASE}")
    return phases


def _batches(rows: int) -> list[Batch]:
    films = render.films(rows)
    return [
        replace(
            films,
            columns=films.frame.slice(first, BATCH).rechunk(),
            messages=films.messages[first : first + BATCH],
            size_bytes=400 * BATCH,
        )
        for first in range(0, rows, BATCH)
    ]


def _newer(batch: Batch) -> Batch:
    return replace(batch, columns=batch.frame.with_columns(pl.col("version") + (1 << 32)))


def _phase(name: str, sink: SqlSink, batches: Sequence[Batch], expected: Counts) -> Phase:
    clock = SystemClock()
    started, cpu_s = time.perf_counter(), time.process_time()
    for batch in batches:
        sink.write(batch, Deadline.after(clock, PATIENCE_S))
    sink.flush(Deadline.after(clock, PATIENCE_S))
    seconds, used_s = time.perf_counter() - started, time.process_time() - cpu_s
    progress = sink.progress()
    if progress.counts != expected or progress.rejections:
        raise FatalError(f"{name}: {progress.counts} where {expected} was expected.")
    return Phase(name, seconds, used_s, sum(map(len, batches)))


def _sink(account: Account) -> SqlSink:
    settings = SqlSettings.model_validate(
        {
            "url": f"mysql+pymysql://{account.address}/{DATABASE}",
            "username": account.user,
            "password": account.password.get_secret_value(),
        }
    )
    return SqlSink(settings, SinkContext("bench", SystemClock()))


def _session(account: Account) -> pymysql.Connection[pymysql.cursors.Cursor]:
    return pymysql.connect(
        host=account.host,
        port=account.port,
        user=account.user,
        password=account.password.get_secret_value(),
        autocommit=True,
    )


BENCHMARK: Final = Benchmark("sql", "film rows into a replica in MySQL", run, needs_servers=True)
