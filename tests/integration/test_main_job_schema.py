"""MySQL's types, and tables that change while they are captured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from finance.database import Role
from stack import Stack
from tests.support import mysql_types
from tests.support.equality import OURS, documents
from tests.support.main_job import MainJob, a_main_job
from tests.support.main_job_files import Pipeline
from tests.support.polling import until
from tests.support.worker_process import WorkerProcess

TABLES = ("every_type", "growing", "bending", "breaking", "emptied", "packed")
FLOWING = ("every_type", "growing")


@dataclass(frozen=True)
class Running:
    job: MainJob
    pipeline: Pipeline
    worker: WorkerProcess

    def found(self, table: str) -> dict[str, dict[str, Any]]:
        """Documents by ``_id``, without what is ours."""
        hits = documents(self.job.elastic, self.pipeline.alias(table))
        return {
            hit["_id"]: {name: value for name, value in hit["_source"].items() if name != OURS}
            for hit in hits
        }


def execute(job: MainJob, *statements: str) -> None:
    """In one session, zero dates allowed."""
    with job.database.engine(Role.ADMIN).begin() as session:
        for statement in (mysql_types.SQL_MODE, *statements):
            session.exec_driver_sql(statement.replace("%", "%%"))


@pytest.fixture(scope="module")
def running(live_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("main_job_schema")
    with a_main_job(live_stack, folder, tables=TABLES) as job:
        execute(job, mysql_types.create("every_type"), *mysql_types.insert("every_type"))
        for table in TABLES[1:]:
            execute(
                job,
                f"CREATE TABLE {table} (id INT PRIMARY KEY, amount DECIMAL(12,2))",
                f"INSERT INTO {table} VALUES (1, 1.10), (2, NULL)",
            )
        job.start_capture()
        pipeline = job.pipeline(tables=TABLES)
        yield Running(job, pipeline, job.start(pipeline))


def test_every_type_is_the_same_from_snapshot_and_stream(running: Running) -> None:
    job = running.job
    job.wait_until_in_sync(running.pipeline)
    from_snapshot = running.found("every_type")
    assert from_snapshot == mysql_types.expected()
    execute(job, "DELETE FROM every_type")
    job.wait_until_in_sync(running.pipeline)
    assert running.found("every_type") == {}
    execute(job, *mysql_types.insert("every_type"))
    job.wait_until_in_sync(running.pipeline)
    assert running.found("every_type") == from_snapshot


def test_a_new_nullable_column_extends_the_mapping_while_it_runs(running: Running) -> None:
    job = running.job
    execute(job, "ALTER TABLE growing ADD COLUMN note VARCHAR(40) NULL AFTER id")
    execute(job, "INSERT INTO growing (id, note, amount) VALUES (3, 'new', 3.00)")
    execute(job, "UPDATE growing SET amount = 9.99 WHERE id = 1")
    job.wait_until_in_sync(running.pipeline)
    # Row 2 was not touched: absent means that its schema version had no such column.
    assert running.found("growing") == {
        "1": {"id": 1, "amount": "9.99", "note": None},
        "2": {"id": 2, "amount": None},
        "3": {"id": 3, "amount": "3.00", "note": "new"},
    }
    mapping = job.elastic.indices.get_mapping(index=running.pipeline.alias("growing"))
    (index,) = mapping.values()
    assert index["mappings"]["properties"]["note"]["type"] == "text"
    assert running.worker.parked() == {}


def test_an_incompatible_change_parks_that_table_only(running: Running) -> None:
    job, topic = running.job, running.job.topic("bending")
    job.wait_until_in_sync(running.pipeline)
    execute(job, "ALTER TABLE bending MODIFY amount VARCHAR(20)")
    execute(job, "INSERT INTO bending VALUES (3, 'much')")
    until(lambda: topic in running.worker.parked(), "the table is parked")
    assert "amount" in running.worker.parked()[topic]
    assert "callsheet_parked_table{" in running.worker.get("/metrics").text
    execute(job, "INSERT INTO growing (id, amount) VALUES (4, 4.00)")
    job.wait_until_in_sync(running.pipeline, tables=FLOWING)
    assert running.found("growing")["4"] == {"id": 4, "amount": "4.00", "note": None}
    assert running.found("bending").keys() == {"1", "2"}
    assert running.worker.get("/readyz").json()["ok"] is True
    assert lag(running, "bending") > 0, "a parked record was committed"


def test_a_change_that_no_registry_calls_compatible_parks_that_table_only(running: Running) -> None:
    """Under BACKWARD the registry would refuse the schema, and the one task fail for all tables."""
    job, topic = running.job, running.job.topic("breaking")
    job.wait_until_in_sync(running.pipeline, tables=FLOWING)
    execute(job, "ALTER TABLE breaking MODIFY amount BIGINT")
    execute(job, "INSERT INTO breaking VALUES (3, 3)")
    until(lambda: topic in running.worker.parked(), "the table is parked")
    assert "amount" in running.worker.parked()[topic]
    execute(job, "INSERT INTO growing (id, amount) VALUES (6, 6.00)")
    job.wait_until_in_sync(running.pipeline, tables=FLOWING)
    assert running.found("growing")["6"]["amount"] == "6.00"
    assert running.found("breaking").keys() == {"1", "2"}


def test_a_truncated_table_is_parked_and_the_rest_flows(running: Running) -> None:
    job, topic = running.job, running.job.topic("emptied")
    execute(job, "TRUNCATE TABLE emptied")
    execute(job, "INSERT INTO emptied VALUES (9, 9.00)")
    until(lambda: topic in running.worker.parked(), "the table is parked")
    assert "truncated" in running.worker.parked()[topic]
    execute(job, "INSERT INTO growing (id, amount) VALUES (5, 5.00)")
    job.wait_until_in_sync(running.pipeline, tables=FLOWING)
    assert running.found("emptied").keys() == {"1", "2"}, "rows of before the TRUNCATE"
    assert lag(running, "emptied") > 0, "the TRUNCATE was committed"
    running_counters = running.worker.counters
    until(lambda: running_counters().missing == 0, "the conservation law holds")


def test_a_compressed_transaction_parks_its_table(running: Running) -> None:
    """Its changes share a place, so of two of one row the later would count as stale."""
    job, topic = running.job, running.job.topic("packed")
    with job.database.engine(Role.ADMIN).connect() as session:
        session.exec_driver_sql("SET SESSION binlog_transaction_compression = ON")
        for amount in ("2.00", "3.00"):
            session.exec_driver_sql(f"UPDATE packed SET amount = {amount} WHERE id = 1")
        session.commit()
        session.invalidate()  # it compresses for nobody else
    until(lambda: topic in running.worker.parked(), "the table is parked")
    assert "compressed a transaction" in running.worker.parked()[topic]
    execute(job, "INSERT INTO growing (id, amount) VALUES (7, 7.00)")
    job.wait_until_in_sync(running.pipeline, tables=FLOWING)
    assert running.found("packed")["1"]["amount"] == "1.10"
    assert lag(running, "packed") > 0, "a change was committed that no store has"


def test_what_is_parked_is_tried_again_at_restart(running: Running) -> None:
    job, parked = running.job, running.worker.parked()
    assert running.worker.stop() == 0
    again = job.start(running.pipeline)
    until(lambda: again.parked() == parked, "the same tables are parked for the same reasons")
    job.wait_until_in_sync(running.pipeline, tables=FLOWING)
    assert again.stop() == 0


def test_a_pipeline_may_skip_a_truncate_and_keep_the_rows(running: Running) -> None:
    job = running.job
    pipeline = job.pipeline("keeping", tables=["emptied"], truncate="skip")
    worker = job.start(pipeline)
    job.wait_until_in_sync(pipeline)
    until(lambda: worker.counters().by("skipped", "truncate") == 1, "the TRUNCATE is counted")
    kept = {hit["_id"] for hit in documents(job.elastic, pipeline.alias("emptied"))}
    assert kept == {"1", "2", "9"}
    assert worker.stop() == 0


def lag(running: Running, table: str) -> int:
    return sum(place.lag or 0 for place in running.job.offsets(running.pipeline, [table]))
