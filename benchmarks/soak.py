"""Minutes of business changes while worker, Connect and Elasticsearch are each killed once.

At the end every row and every column of every table is compared, MySQL against the index.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks import pipelines
from benchmarks.capture import CONNECTOR, load_finance
from benchmarks.compare import Comparison, compare
from benchmarks.harness import Benchmark, Measure, Outcome, Run, at_most
from benchmarks.pipelines import Pipeline
from benchmarks.progress import Narrator
from benchmarks.servers.bench import Servers
from benchmarks.versions import CHECKOUT
from callsheet.errors import CallsheetError, FatalError
from finance.checks import row_stream
from finance.database import Account, Role, open_engine
from finance.tables import BUSINESS_TABLES

RATE_PER_S: Final = 500
NAME: Final = "finance-mysql"
PREFIX: Final = "studio"
SETTLE_S: Final = 300.0
LOOK_EVERY_S: Final = 1.0
CAUGHT_UP: Final = 1000
"""Fewer events behind than this: what 500 changes a second keep under way anyhow."""
KILLS: Final = ((0.2, "worker"), (0.45, "connect"), (0.7, "elasticsearch"))
"""Who is killed, and after which share of the time."""

TOPICS: Final = [f"{PREFIX}.finance.{table.name}" for table in BUSINESS_TABLES]


@dataclass(slots=True)
class Kill:
    """``back_s``: until it had been started again."""

    server: str
    at_s: float
    back_s: float = 0.0

    def as_dict(self, lag: Sequence[tuple[float, int]], until_s: float) -> dict[str, Any]:
        """``lag`` as :class:`Soak` keeps it; what comes after ``until_s`` is another kill's."""
        recovered = caught_up_s([(at, n) for at, n in lag if self.at_s <= at < until_s])
        return {
            "killed": self.server,
            "at_s": round(self.at_s, 1),
            "running_again_after_s": round(self.back_s, 1),
            "caught_up_after_s": None if recovered is None else round(recovered - self.at_s, 1),
        }


def caught_up_s(lag: Sequence[tuple[float, int]]) -> float | None:
    """When, after it was furthest behind, the sink was fewer than ``CAUGHT_UP`` events behind.

    The first look after a kill tells nothing: nobody has missed anything yet.
    """
    if not lag:
        return None
    furthest = max(range(len(lag)), key=lambda n: lag[n][1])
    return next((at for at, behind in lag[furthest:] if behind < CAUGHT_UP), None)


class Soak:
    """One course: the worker that runs at the moment, who was killed, how far behind the sink was.

    ``lag`` holds (second, events) pairs.
    """

    def __init__(self, servers: Servers, pipeline: Pipeline, narrator: Narrator) -> None:
        self._servers, self._pipeline, self._narrator = servers, pipeline, narrator
        self.worker = pipelines.start(servers, pipeline)
        self.kills: list[Kill] = []
        self.lag: list[tuple[float, int]] = []

    def run(self, seconds: float) -> Mapping[str, Any]:
        """Until the simulator has ended; returns its own account."""
        output = self._servers.scratch / "simulate.json"
        start = time.monotonic()
        due = [(share * seconds, server) for share, server in KILLS]
        with (
            self._simulator(seconds, output) as simulator,
            self._narrator.tracking("soak, seconds", seconds) as task,
        ):
            while simulator.poll() is None:
                elapsed = time.monotonic() - start
                task.at(min(elapsed, seconds))
                if due and elapsed >= due[0][0]:
                    self._kill(due.pop(0)[1], elapsed)
                self._look(time.monotonic() - start)
                time.sleep(LOOK_EVERY_S)
        if simulator.returncode != 0 or due:
            raise FatalError(f"The simulator ended too early, with code {simulator.returncode}.")
        account: Mapping[str, Any] = json.loads(output.read_text("utf-8"))
        return account

    @contextmanager
    def _simulator(self, seconds: float, output: Path) -> Iterator[subprocess.Popen[bytes]]:
        command = [
            sys.executable, "-m", "callsheet.cli", "simulate", "--rate", str(RATE_PER_S),
            "--seconds", str(seconds), "--seed", str(int(time.time())), "--json",
        ]  # fmt: skip
        with output.open("wb") as file:
            process = subprocess.Popen(
                command, cwd=CHECKOUT, env=dict(self._servers.environment), stdout=file
            )
        try:
            yield process
        finally:
            process.terminate()
            process.wait()

    def _kill(self, victim: str, at_s: float) -> None:
        """Kill it, then start it again as a supervisor would."""
        killed = time.monotonic()
        if victim == "worker":
            self.worker.kill()
            self.worker = pipelines.start(self._servers, self._pipeline)
        else:
            self._servers.stack.kill(victim)
            self._servers.start()
        self.kills.append(Kill(victim, at_s, time.monotonic() - killed))
        self._narrator.say(f"second {at_s:.0f}: kill -9 of {victim}; it was started again")

    def _look(self, at_s: float) -> None:
        committed = self._servers.kafka.committed(self._pipeline.group)
        ends = self._servers.kafka.ends(TOPICS)
        lag = sum(end - max(0, committed.get(place, 0)) for place, end in ends.items())
        self.lag.append((round(at_s, 1), lag))


def run(run: Run) -> Outcome:
    servers = run.resources.servers
    minutes = 1.0 if run.quick else run.minutes
    _from_nothing(servers)
    titles = load_finance(servers)
    run.narrator.say(f"{titles:,} titles; applying {CONNECTOR.name} and starting the worker")
    _callsheet(servers, "connectors", "apply", str(CONNECTOR))
    pipeline = pipelines.committed(servers)
    soak = Soak(servers, pipeline, run.narrator)
    try:
        pipelines.wait_until_assigned(servers, pipeline, soak.worker)
        simulated = soak.run(minutes * 60)
        pipelines.wait_for_capture(servers, servers.connect, NAME, SETTLE_S)
        pipelines.wait_until_committed(servers, pipeline, TOPICS, SETTLE_S)
        letters = pipelines.dead_letters(servers, pipeline)
    except BaseException:
        soak.worker.kill()
        raise
    soak.worker.stop()
    compared = [_compare(servers, pipeline, table, run.narrator) for table in BUSINESS_TABLES]
    servers.connect.stop(NAME)
    return _outcome(soak, simulated, compared, letters)


def _outcome(
    soak: Soak, simulated: Mapping[str, Any], compared: Sequence[Comparison], letters: int
) -> Outcome:
    return Outcome(
        [
            Measure("rows that differ", sum(c.differences for c in compared), "", at_most(0)),
            Measure("dead letters", letters, "", at_most(0)),
            Measure("rows compared", sum(c.rows for c in compared), "rows"),
            Measure("cells compared", sum(c.cells for c in compared), "cells"),
            Measure("changes", simulated["changes"], "changes"),
            Measure("rate", simulated["changes_per_s"], "changes/s"),
        ],
        {
            "simulated": dict(simulated),
            "kills": [
                kill.as_dict(soak.lag, following)
                for kill, following in zip(
                    soak.kills, [*(k.at_s for k in soak.kills[1:]), float("inf")], strict=True
                )
            ],
            "tables": {c.table: c.as_dict() for c in compared},
            "events_behind_by_second": soak.lag,
        },
    )


def _from_nothing(servers: Servers) -> None:
    """No topics, offsets, indices or group of an earlier soak."""
    with suppress(CallsheetError):
        servers.connect.stop(NAME)
        servers.connect.reset_offsets(NAME)
    servers.connect.delete(NAME)
    pipeline = pipelines.committed(servers)
    servers.kafka.delete_matching(f"{PREFIX}.", f"_schema-history.{PREFIX}", PREFIX)
    servers.kafka.delete_group(pipeline.group)
    servers.elastic.delete(pipeline.indices)


def _compare(servers: Servers, pipeline: Pipeline, table: Any, narrator: Narrator) -> Comparison:
    index = pipeline.index(table.name)
    servers.elastic.refresh(index)
    engine = open_engine(Account.from_environment(servers.environment, Role.READER))
    try:
        result = compare(table, row_stream(engine, table), servers.elastic.documents(index))
    finally:
        engine.dispose()
    narrator.say(
        f"{table.name}: {result.rows:,} rows, {result.documents:,} documents, "
        f"{result.differences:,} differences"
    )
    return result


def _callsheet(servers: Servers, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "callsheet.cli", *arguments],
        cwd=CHECKOUT, env=dict(servers.environment), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise FatalError(f"callsheet {' '.join(arguments)}: {done.stderr.strip()}")


BENCHMARK: Final = Benchmark(
    "soak",
    "simulate at 500 changes/s; worker, Connect and Elasticsearch killed (-9) once each",
    run,
    needs_servers=True,
)
