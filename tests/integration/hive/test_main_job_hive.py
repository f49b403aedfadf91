"""MySQL to the audit, end to end: each record of the topics is one row of the files, also after
kill -9 and a compaction in the midst of it, and the latest images are the tables.
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
from sinks.hive.stores.local import LocalStore
from stack import Stack
from tests.support import mysql_types
from tests.support.audit_proof import check, places, rebuilt_otherwise
from tests.support.hive import ranges, rows
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
        "compaction": {"spare_files": 1},
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
        # While it writes, today's date too: as soon as it has written files enough.
        until(lambda: bool(compact(job, audit)), "a date is merged")
        assert_holds(job, audit)
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
    expected = places(job.records(audit.topics))
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
    records = len(places(job.records(audit.topics)))
    assert sum(lane["compared"] for lane in found["lanes"]) == records
    table = Archive(store).table("titles")
    file = next(each.path for each in table.files() if each.path.startswith("titles.merged/"))
    content = store.read(file) or b""
    store.remove(file)
    code, found = check(job, audit)
    assert (code, found["holds"]) == (1, False)
    faults = " / ".join(fault for lane in found["lanes"] for fault in lane["faults"])
    assert f"{file} is gone" in faults
    assert "in no file and no dead letter" in faults
    store.put(file, BytesIO(content))


def compact(job: MainJob, audit: Pipeline) -> list[Any]:
    """`callsheet audit compact`; the dates that it merged."""
    words = [sys.executable, "-m", "callsheet.cli", "audit", "compact", str(audit.path), "--json"]
    words += ["--older-than", "0"]
    done = subprocess.run(words, env={**job.environ}, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
    found: list[Any] = json.loads(done.stdout)["partitions"]
    return found


def assert_holds(job: MainJob, audit: Pipeline) -> None:
    code, found = check(job, audit)
    assert (code, found["holds"]) == (0, True), found


def assert_rebuilt(job: MainJob, store: LocalStore) -> None:
    """Every table, from nothing but its changes."""
    tables = [*(table.name for table in BUSINESS_TABLES), EVERY]
    assert rebuilt_otherwise(job.database, store, tables) == []
    assert all(job.database.ask(f"SELECT COUNT(*) FROM {name}") != [(0,)] for name in tables)


def fill_every_type(job: MainJob) -> None:
    job.database.execute(mysql_types.create(EVERY))
    with job.database.engine(Role.ADMIN).connect() as connection:
        connection.exec_driver_sql(mysql_types.SQL_MODE)
        for statement in mysql_types.insert(EVERY):
            connection.exec_driver_sql(statement.replace("%", "%%"))
        connection.commit()
