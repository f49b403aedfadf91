"""MySQL to the audit, end to end: each record of the topics is one row of the files, also after
kill -9, and the latest images are the tables.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from finance.database import Role
from finance.tables import BUSINESS_TABLES
from sinks.hive.archive import Archive
from sinks.hive.ranges import RangeLog
from sinks.hive.rebuild import write_table
from sinks.hive.state import state
from sinks.hive.stores.local import LocalStore
from stack import Stack
from tests.support import mysql_types
from tests.support.finance import Database, a_database
from tests.support.hive import files, ranges, rows
from tests.support.main_job import MainJob, a_main_job
from tests.support.main_job_files import Pipeline
from tests.support.polling import until

KILLS = 3
EVERY = "every_type"


@pytest.fixture
def job(live_stack: Stack, tmp_path: Path) -> Iterator[MainJob]:
    with a_main_job(live_stack, tmp_path, tables=(EVERY,)) as made:
        made.database.load()  # real films
        fill_every_type(made)
        made.simulate(300, seed=1)
        made.start_capture()
        yield made


@pytest.fixture
def audit(job: MainJob, tmp_path: Path) -> Pipeline:
    """The committed source and delivery, with the audit as destination."""
    made = job.pipeline("audit", truncate="skip")
    document = json.loads(made.path.read_text("utf-8"))
    document["sink"] = {
        "type": "hive",
        "store": {"type": "local", "root": str(tmp_path / "audit")},
        "table": "{table}",
        "rotation": {"rows": 100, "seconds": 1},
    }
    made.path.write_text(json.dumps(document), "utf-8")
    return made


@pytest.mark.slow
def test_each_record_is_one_row_and_the_latest_are_the_tables(
    job: MainJob, audit: Pipeline, tmp_path: Path
) -> None:
    store = LocalStore(tmp_path / "audit")
    log = RangeLog(store)

    def entries() -> int:
        return sum(len(list(log.entries(lane))) for lane in log.lanes())

    for kill in range(KILLS):
        before, worker = entries(), job.start(audit)
        job.simulate(400, seed=10 + kill)
        until(lambda: entries() > before, "something is written")  # noqa: B023 - called at once
        assert_holds(job, audit)  # while it writes
        worker.kill()
        assert_holds(job, audit)
    worker = job.start(audit)
    job.wait_until_in_sync(audit)
    assert_complete(job, audit, store)
    assert_latest(job, store)
    assert_checked(job, audit, store)
    assert_rebuilt(job, store)
    until(lambda: worker.counters().missing == 0, "every record is accounted for")
    assert worker.counters().of("dead_lettered") == 0


def assert_complete(job: MainJob, audit: Pipeline, store: LocalStore) -> None:
    """By offsets, and by the manifests' own count."""
    expected = sorted(
        (record.topic(), record.partition(), record.offset())
        for record in job.records(audit.topics)
        if record.value() is not None
    )
    found: list[tuple[str, int, int]] = []
    counted = 0
    for name in (*(table.name for table in BUSINESS_TABLES), EVERY):
        frame = rows(store, name)
        if not frame.is_empty():
            found += frame.select("kafka_topic", "kafka_partition", "kafka_offset").rows()
    for lane in RangeLog(store).lanes():
        counted += sum(entry.rows for entry in ranges(store, lane))
    assert sorted(found) == expected
    assert counted == len(expected)


def assert_latest(job: MainJob, store: LocalStore) -> None:
    """Keys of the rows that MySQL has are those whose last change was no delete."""
    for table in BUSINESS_TABLES:
        frame = rows(store, table.name)
        with job.database.engine(Role.READER).connect() as connection:
            key = [column.name for column in table.primary_key]
            there = {"|".join(map(str, row)) for row in connection.execute(
                table.select().with_only_columns(*(table.c[name] for name in key))
            )}  # fmt: skip
        if frame.is_empty():
            assert not there
            continue
        latest = frame.sort("version").group_by("id").last()
        assert set(latest.filter(pl.col("type") != "d")["id"]) == there, table.name


def assert_checked(job: MainJob, audit: Pipeline, store: LocalStore) -> None:
    """`callsheet audit check` holds, over each record; and sees a file that is gone."""
    code, found = check(job, audit)
    assert (code, found["holds"]) == (0, True), found
    records = [record for record in job.records(audit.topics) if record.value() is not None]
    assert sum(lane["compared"] for lane in found["lanes"]) == len(records)
    file = files(store, "titles")[0]
    content = store.read(file) or b""
    store.remove(file)
    code, found = check(job, audit)
    assert (code, found["holds"]) == (1, False)
    faults = " / ".join(fault for lane in found["lanes"] for fault in lane["faults"])
    assert f"{file} is gone" in faults
    assert "in no file and no dead letter" in faults
    store.put(file, BytesIO(content))


def assert_holds(job: MainJob, audit: Pipeline) -> None:
    code, found = check(job, audit)
    assert (code, found["holds"]) == (0, True), found


def check(job: MainJob, audit: Pipeline) -> tuple[int, Any]:
    words = [sys.executable, "-m", "callsheet.cli", "audit", "check", str(audit.path), "--json"]
    done = subprocess.run(words, env={**job.environ}, capture_output=True, check=False, text=True)
    assert done.returncode in {0, 1}, done.stderr
    return done.returncode, json.loads(done.stdout)


def assert_rebuilt(job: MainJob, store: LocalStore) -> None:
    """Every table, from nothing but its changes, into a database of another name."""
    with a_database(job.stack.environment()) as copy:
        copy.up()
        copy.execute(mysql_types.create(EVERY))
        for name in (*(table.name for table in BUSINESS_TABLES), EVERY):
            found = state(Archive(store).table(name))
            assert found.unknown == {}
            write_table(found, copy.engine(Role.ADMIN).url, name)
            theirs, ours = contents(copy, name), contents(job.database, name)
            assert theirs == ours, name
            assert len(ours) > 0, name


def fill_every_type(job: MainJob) -> None:
    job.database.execute(mysql_types.create(EVERY))
    with job.database.engine(Role.ADMIN).connect() as connection:
        connection.exec_driver_sql(mysql_types.SQL_MODE)
        for statement in mysql_types.insert(EVERY):
            connection.exec_driver_sql(statement.replace("%", "%%"))
        connection.commit()


def contents(database: Database, table: str) -> list[tuple[object, ...]]:
    """Every column, also those that MySQL's own clock writes."""
    columns = database.ask(
        "SELECT column_name, data_type, column_key FROM information_schema.columns "
        f"WHERE table_schema = '{database.name}' AND table_name = '{table}' ORDER BY 1"
    )
    shown = [f"HEX(`{name}`)" if kind == "vector" else f"`{name}`" for name, kind, _ in columns]
    key = [f"`{name}`" for name, _, key in columns if key == "PRI"]
    found = database.ask(f"SELECT {', '.join(shown)} FROM `{table}` ORDER BY {', '.join(key)}")
    return [tuple(map(without_zero_dates, row)) for row in found]


def without_zero_dates(value: object) -> object:
    """Debezium has none: they are null."""
    return None if isinstance(value, str) and value.startswith("0000-00-00") else value
