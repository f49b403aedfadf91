"""MySQL to another MySQL, end to end: after any course of changes the replica is the tables."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from ruamel.yaml import YAML

from finance.database import Role
from finance.tables import BUSINESS_TABLES
from stack import Stack
from tests.support import mysql_types
from tests.support.main_job import MainJob, a_main_job
from tests.support.main_job_files import CHECKOUT, Pipeline
from tests.support.sql import Replica, a_replica
from tests.support.tables import contents
from tests.support.worker_process import WorkerProcess

EVERY = "every_type"
TABLES = [*(table.name for table in BUSINESS_TABLES), EVERY]


@dataclass(frozen=True)
class Running:
    """A captured studio, its replica, and a worker between them."""

    job: MainJob
    replica: Replica
    pipeline: Pipeline
    worker: WorkerProcess

    def assert_equal(self) -> int:
        self.job.wait_until_in_sync(self.pipeline)
        counts = 0
        for table in TABLES:
            ask = self.replica.ask
            source = contents(ask, self.job.database.name, table)
            assert contents(ask, self.replica.name, table) == source, f"{table} differs"
            counts += len(source)
        return counts


def a_pipeline(job: MainJob, replica: Replica) -> Pipeline:
    """The committed file, for this job's topics and this replica."""
    text = (CHECKOUT / "cdc-config/pipelines/replica.yaml").read_text("utf-8")
    document = YAML(typ="safe").load(text)
    name = f"{job.name}-replica"
    topics = [job.topic(table) for table in job.captured]
    document["name"] = name
    document["source"] |= {"topics": topics, "topic_prefix": job.name}
    document["http"] = {"port": 0}
    document["delivery"] = {"commit_interval_seconds": 0.2, "session_timeout_seconds": 6}
    settings = replica.settings()
    document["sink"] |= {
        "url": settings.url,
        "username": settings.username,
        "password": "${env:CALLSHEET_MYSQL_ADMIN_PASSWORD}",
    }
    path = job.folder / "pipelines" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), "utf-8")
    made = Pipeline(path, name, tuple(topics), "")
    job.pipelines.append(made)
    return made


@pytest.fixture(scope="module")
def running(live_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Some films, some changes and every type are in the snapshot already."""
    folder = tmp_path_factory.mktemp("main_job_sql")
    with (
        a_main_job(live_stack, folder, tables=(EVERY,)) as job,
        a_replica(job.environ) as replica,
    ):
        job.database.load()
        job.simulate(200, seed=1)
        job.database.execute(mysql_types.create(EVERY))
        fill_every_type(job)
        job.start_capture()
        pipeline = a_pipeline(job, replica)
        yield Running(job, replica, pipeline, job.start(pipeline))


def fill_every_type(job: MainJob) -> None:
    with job.database.engine(Role.ADMIN).connect() as connection:
        connection.exec_driver_sql(mysql_types.SQL_MODE)
        for statement in mysql_types.insert(EVERY):
            connection.exec_driver_sql(statement.replace("%", "%%"))
        connection.commit()


def test_snapshot_and_stream_arrive_exactly(running: Running) -> None:
    assert running.assert_equal() > 200
    summary = running.job.simulate(800)
    assert summary.kinds["renumber_title"], "no primary key changed: choose another seed"
    running.job.database.execute(f"DELETE FROM {EVERY}")
    assert running.assert_equal() > 200
    fill_every_type(running.job)
    running.assert_equal()
    assert running.job.dead_letters(running.pipeline) == []


def test_a_worker_killed_under_load_goes_on_where_the_tables_end(running: Running) -> None:
    job = running.job
    job.simulate(300, seed=5)
    running.worker.kill()
    job.simulate(300, seed=6)
    again = job.start(running.pipeline)
    running.assert_equal()
    assert job.dead_letters(running.pipeline) == []
    again.end()


def test_a_column_added_while_running(running: Running) -> None:
    job = running.job
    worker = job.start(running.pipeline)
    job.simulate(50, seed=8)
    job.database.execute(f"ALTER TABLE {EVERY} ADD COLUMN extra DECIMAL(12,4)")
    job.database.execute(f"UPDATE {EVERY} SET extra = 1.5, tiny = 3")
    running.assert_equal()
    worker.end()
