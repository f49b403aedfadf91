"""What the worker says while a server is away; and the index ends up as MySQL is. All stores at
once, and the other servers: test_every_store_servers.py.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from finance.database import Role
from finance.simulate import Simulator, Until
from stack import Stack
from tests.support.bulk_proxy import BulkProxy
from tests.support.main_job import MainJob, a_main_job
from tests.support.main_job_files import Pipeline
from tests.support.polling import until
from tests.support.worker_process import WorkerProcess

pytestmark = pytest.mark.slow

RATE_PER_S = 150


@dataclass(frozen=True)
class Running:
    job: MainJob
    pipeline: Pipeline
    worker: WorkerProcess

    @property
    def stack(self) -> Stack:
        return self.job.stack

    def check(self, *, letters: int = 0) -> None:
        """In the end: the same rows, and every letter known."""
        self.job.wait_until_in_sync(self.pipeline, patience_s=180)
        self.job.assert_equal(self.pipeline)
        assert len(self.job.dead_letters(self.pipeline)) == letters


@pytest.fixture(scope="module")
def running(live_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with a_main_job(live_stack, tmp_path_factory.mktemp("main_job_servers")) as job:
        job.database.load()
        job.start_capture()
        # A static member is back without waiting for the end of its predecessor's session.
        pipeline = job.pipeline(kafka={"instance_id": job.name})
        running = Running(job, pipeline, job.start(pipeline))
        job.wait_until_in_sync(pipeline)
        yield running


@pytest.fixture(autouse=True)
def all_servers_run(live_stack: Stack) -> Iterator[None]:
    """Whatever a test did, the next one finds them running."""
    yield
    for server in ("elasticsearch", "kafka"):
        live_stack.resume(server)
    live_stack.up()


@contextmanager
def load_on(job: MainJob, seed: int) -> Iterator[None]:
    """The studio works for the length of the block, and a little longer."""
    stop = threading.Event()
    simulator = Simulator(job.database.engine(Role.APP), seed, stop=stop)
    failed: list[BaseException] = []

    def work() -> None:
        try:
            simulator.run(RATE_PER_S, Until())
        except BaseException as error:  # noqa: BLE001 - raised again below, in the test's thread
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)
    assert not failed, failed


def consumed(running: Running) -> int:
    return running.worker.counters().of("consumed")


def grows(running: Running, what: str) -> None:
    """The worker goes on consuming."""
    before = consumed(running)
    until(lambda: consumed(running) > before + RATE_PER_S // 2, what)


def test_elasticsearch_is_killed_under_load(running: Running) -> None:
    with load_on(running.job, seed=22):
        grows(running, "it works before")
        running.stack.kill("elasticsearch")
        until(lambda: held_cause(running), "the worker tells what it waits for")
        assert running.worker.get("/livez").is_success, "an outage is no reason to kill the worker"
        running.stack.up()
        until(lambda: not held_cause(running), "it goes on")
    running.check()


def held_cause(running: Running) -> str:
    (state,) = running.worker.states()
    status = state.status
    return status.held_cause if status and status.held_since_s is not None else ""


def test_the_registry_is_away_when_a_new_schema_arrives(running: Running) -> None:
    job = running.job
    job.database.execute("ALTER TABLE talent ADD COLUMN agency VARCHAR(40) NULL")
    # A new worker, which knows no schema at all, on topics with an old and a new one.
    pipeline = job.pipeline("late")
    # Every row: one that keeps its old schema version has no such field.
    job.database.execute("UPDATE talent SET agency = CONCAT('Agency ', talent_id)")
    job.wait_for_capture()
    running.stack.kill("registry")
    worker = job.start(pipeline)
    late = Running(job, pipeline, worker)
    until(lambda: "registry" in held_cause(late), "the worker waits for the registry")
    assert worker.get("/livez").is_success
    assert worker.counters().of("dead_lettered") == 0
    assert worker.parked() == {}
    running.stack.up()
    job.wait_until_in_sync(pipeline)
    tables = [job.reflected(name) for name in job.captured]
    job.assert_equal(pipeline, tables)
    assert worker.stop() == 0


def test_one_item_of_a_bulk_request_is_refused_for_load(running: Running) -> None:
    job, seen = running.job, set[str]()

    def once_each(action: dict[str, Any]) -> bool:
        """Every third document is refused the first time it is sent."""
        name = f"{action['_index']}/{action['_id']}"
        is_new = name not in seen
        seen.add(name)
        return is_new and len(seen) % 3 == 0

    with BulkProxy(job.environ["CALLSHEET_ELASTICSEARCH_URL"], once_each) as proxy:
        pipeline = job.pipeline("refused", hosts=[proxy.url])
        worker = job.start(pipeline)
        job.wait_until_in_sync(pipeline)
        assert proxy.refused > 50
        job.assert_equal(pipeline, [job.reflected(name) for name in job.captured])
        until(lambda: worker.counters().missing == 0, "the conservation law holds")
        assert worker.counters().of("dead_lettered") == 0
        assert worker.stop() == 0
