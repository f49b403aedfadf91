"""One capture and all four destinations, each of whose servers and workers a test may break.

    with every_store(stack, folder) as scene:           # MySQL is captured, all stores have it
        with scene.load() as load:                      # the studio works, in a thread
            with scene.servers["kafka"].faulty(Mode.FROZEN):
                ...                                     # see tests/support/faulty.py
            scene.workers["audit"].kill()
            scene.restart("audit")                      # or several, or none named: all
            seconds = scene.catch_up()                  # all that MySQL has by now is everywhere
        scene.settle()                                  # nobody writes: everything is committed
        scene.verify()                                  # or a DifferenceError
        load.changes                                    # rows that were changed meanwhile

The sinks are ``search`` (Elasticsearch), ``audit`` (Hive, on HDFS), ``downstream`` (Kafka, each
change) and ``replica`` (another mysqld), from their committed files; each is a `callsheet run` of
its own in ``workers``, a plain dictionary: a test may put another process there. `callsheet
connectors supervise` watches the connector. The servers are ``kafka``, ``connect``, ``registry``,
``elasticsearch``, ``namenode``, ``datanode``, ``replica``; the workers reach most of them through
proxies, Connect reaches them directly. The stack's HiveServer2 is not started.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final

import httpx
from pydantic import SecretStr

from callsheet.batch import Offset, Partition
from callsheet.errors import CallsheetError
from finance.database import Account, Role
from finance.simulate import Simulator, Until
from sinks.hive.stores.webhdfs import HdfsStore
from stack import Stack
from tests.support.every_store_files import SINKS, write_pipelines
from tests.support.every_store_proof import Remembering, Stores
from tests.support.every_store_servers import (
    addresses_of,
    audit_root,
    proxies_before,
    servers_of,
)
from tests.support.faulty import Server
from tests.support.hdfs import a_store
from tests.support.main_job import MainJob, a_main_job
from tests.support.main_job_files import CHECKOUT, Pipeline
from tests.support.polling import until
from tests.support.second_mysql import a_second_mysql
from tests.support.sql import Replica
from tests.support.worker_process import WorkerProcess

RATE_PER_S: Final = 100.0
"""Of the whole matrix: with that four workers and their servers fill two cores."""
BRIEF_RATE_PER_S: Final = 25.0
"""In `make test`, which does other things beside it."""
PATIENCE_S: Final = 240.0
PARTITIONS: Final = 2


@dataclass(slots=True)
class Load:
    """``changes``: rows changed, cascades included; known when the block has ended."""

    changes: int = 0


@dataclass(slots=True)
class Scene:
    """Use :func:`every_store`."""

    job: MainJob
    pipelines: Mapping[str, Pipeline]
    servers: Mapping[str, Server]
    stores: Stores
    workers: dict[str, WorkerProcess] = field(default_factory=dict)
    rate_per_s: float = RATE_PER_S
    changes: int = 0
    """Of all loads so far."""
    is_proven: bool = True
    """Nothing has been done since the last proof."""
    _seeds: Iterator[int] = field(default_factory=lambda: count(1))

    @contextmanager
    def load(self) -> Iterator[Load]:
        """The studio works for the length of the block."""
        self.is_proven = False
        stop, load, failed = threading.Event(), Load(), list[BaseException]()
        engine = self.job.database.engine(Role.APP)
        simulator = Simulator(engine, next(self._seeds), stop=stop)

        def work() -> None:
            try:
                load.changes = simulator.run(self.rate_per_s, Until()).changes
            except BaseException as error:  # noqa: BLE001 - raised again below, in the test's thread
                failed.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield load
        finally:
            stop.set()
            thread.join(60)
        assert not failed, failed
        self.changes += load.changes

    def restart(self, *sinks: str) -> None:
        """A new `callsheet run` for each, all if none is named; what is left of the old one is
        killed. Returns when they are members of their groups.
        """
        chosen = sinks or SINKS
        for sink in chosen:
            if sink in self.workers:
                self.workers[sink].end()
            self.workers[sink] = self.job.launch(self.pipelines[sink])
        for sink in chosen:
            self.workers[sink].wait_until_ready(PATIENCE_S)

    def end(self) -> None:
        """kill -9 to every worker."""
        for worker in self.workers.values():
            worker.end()

    def catch_up(self, patience_s: float = PATIENCE_S, *, sinks: Collection[str] = SINKS) -> float:
        """Seconds until all that MySQL has committed by now is captured, delivered, committed."""
        began = time.monotonic()
        end = began + patience_s
        try:
            self.job.wait_for_capture(patience_s, is_supervised=True)
            goal = self._ends(end)
            has_it = partial(self._have, goal, sinks)
            until(has_it, "every group has committed it", end - time.monotonic())
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.describe()}") from error
        return time.monotonic() - began

    def settle(self, patience_s: float = PATIENCE_S) -> None:
        """While nobody writes: until everything is in every store, and committed."""
        self.catch_up(patience_s)

    def verify(self) -> None:
        """Every store is what it has to be; raises DifferenceError. Call :meth:`settle` before."""
        self.stores.require_equal()
        self.is_proven = True

    def consumed(self) -> dict[str, int]:
        """Records, by sink, since each `callsheet run` began."""
        return {sink: each.counters().of("consumed") for sink, each in self.workers.items()}

    def last_errors(self) -> list[str]:
        """Why each worker's process ended that was started again since its `callsheet run` began;
        of several ends of one worker, the last.
        """
        states = [state for worker in self.workers.values() for state in worker.states()]
        return [state.last_error for state in states if state.restarts]

    def are_live(self) -> bool:
        """An outage is no reason to kill a worker: do all /livez agree?"""
        return all(worker.get("/livez").is_success for worker in self.workers.values())

    def describe(self) -> str:
        """How each worker is, for the message of a failed test: the shortest first, its end may be
        cut where it is shown.
        """
        ends = [self._describe(sink) for sink in self.workers]
        complaints = [each.complaints() for each in self.workers.values()]
        return "\n".join([self._describe_capture(), *ends, *complaints])

    def _describe_capture(self) -> str:
        with suppress(CallsheetError):
            return f"connector: {self.job.connect.status(self.job.name)}"
        return "connector: Connect does not say"

    def _describe(self, sink: str) -> str:
        worker = self.workers[sink]
        with suppress(AssertionError, CallsheetError, httpx.HTTPError):
            lag = sum(each.lag or 0 for each in self.job.offsets(self.pipelines[sink]))
            states = worker.states()
            held = [s.status.held_cause for s in states if s.status is not None]
            ended = [(s.restarts, s.last_error) for s in states if s.restarts]
            return f"{sink}: {lag} behind, {held}, {worker.parked()}, restarted: {ended}"
        return f"{sink}: cannot be asked"

    def _ends(self, deadline_s: float) -> dict[Partition, Offset]:
        found: dict[Partition, Offset] = {}

        def read() -> bool:
            with suppress(CallsheetError):
                offsets = self.job.offsets(self.pipelines["search"])
                found.update({each.partition: each.end or 0 for each in offsets})
            return bool(found)

        until(read, "the topics' ends can be read", deadline_s - time.monotonic())
        return found

    def _have(self, goal: Mapping[Partition, Offset], sinks: Collection[str]) -> bool:
        with suppress(CallsheetError):
            return all(
                each.committed is not None and each.committed >= goal[each.partition]
                for sink in sinks
                for each in self.job.offsets(self.pipelines[sink])
                if goal[each.partition]
            )
        return False


@contextmanager
def every_store(
    stack: Stack,
    folder: Path,
    hire: Callable[[Scene], object] = Scene.restart,
    *,
    rate_per_s: float = RATE_PER_S,
) -> Iterator[Scene]:
    """Starts HDFS; ends all that it started but the stack's servers. Some films, and what the
    studio made of them, are in every store already. ``hire`` starts the first workers.
    """
    stack.up(["hdfs"])
    with ExitStack() as held:
        job = held.enter_context(a_main_job(stack, folder / "job", partitions=PARTITIONS))
        mysql = held.enter_context(a_second_mysql(stack, _made(folder / "mysql")))
        store = _a_store(stack, job)
        held.callback(store.close)
        held.callback(store.remove, "")
        proxies = proxies_before(stack, mysql)
        for proxy in proxies.values():
            held.enter_context(proxy)
        account = Account("127.0.0.1", mysql.port, "", "root", SecretStr(""))
        replica = Replica(account, "finance_replica", proxies["replica"].port)
        held.callback(replica.engine.dispose)
        replica.create()
        pipelines = write_pipelines(job, addresses_of(stack, job, replica, proxies))
        stores = Stores(job, pipelines, Remembering(store), replica)
        scene = Scene(
            job, pipelines, servers_of(stack, mysql, proxies), stores, rate_per_s=rate_per_s
        )
        held.callback(scene.end)
        _begin(scene, hire)
        with _supervised(job):
            yield scene


def _begin(scene: Scene, hire: Callable[[Scene], object]) -> None:
    job = scene.job
    job.database.load()
    job.simulate(200, seed=1)
    job.start_capture()
    hire(scene)
    scene.settle()


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _a_store(stack: Stack, job: MainJob) -> HdfsStore:
    """Straight to HDFS, for looking at what the worker wrote."""
    return a_store(stack.environment()["CALLSHEET_WEBHDFS_URL"], audit_root(job))


@contextmanager
def _supervised(job: MainJob) -> Iterator[None]:
    """As the product is run: a connector that fails is started again."""
    words = [sys.executable, "-m", "callsheet.cli", "connectors", "supervise"]
    with (job.folder / "supervise.log").open("ab") as log:
        process = subprocess.Popen(
            [*words, str(job.connector_file)],
            env={**os.environ, **job.environ},
            cwd=CHECKOUT,
            stdout=log,
            stderr=log,
        )
    try:
        yield
        assert process.poll() is None, "the connector's supervisor has ended"
    finally:
        process.terminate()
        process.wait(60)
