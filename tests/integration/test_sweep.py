"""A snapshot taken again, and a TRUNCATE: what the source no longer has goes from every store."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from callsheet.event import encode_id, id_part
from sinks.hive.archive import Archive
from sinks.hive.state import state
from sinks.hive.stores.local import LocalStore
from stack import Stack
from tests.support.downstream import records
from tests.support.equality import documents
from tests.support.hive import rows
from tests.support.main_job import MainJob, a_main_job
from tests.support.main_job_files import CHECKOUT, Pipeline
from tests.support.polling import until
from tests.support.sql import Replica, a_replica
from tests.support.tables import contents
from tests.support.worker_process import WorkerProcess

KEYED = "keyed"
EMPTIED = "emptied"
TABLES = (KEYED, EMPTIED)
ROWS, GONE = 60, 25
KEYS = {KEYED: ("id", "code", "day", "label"), EMPTIED: ("id",)}
SHOWN = {KEYED: "note", EMPTIED: "amount"}


@dataclass(frozen=True)
class Running:
    """Four stores of one capture, one worker process for each, under one parent."""

    job: MainJob
    replica: Replica
    pipelines: dict[str, Pipeline]
    worker: WorkerProcess
    audit: LocalStore

    def settle(self, *, without: str = "") -> None:
        tables = [table for table in TABLES if table != without]
        for pipeline in self.pipelines.values():
            self.job.wait_until_in_sync(pipeline, tables=tables)

    def sweep(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """As a user calls it: its exit code, and what it says of each table."""
        files = [str(pipeline.path) for pipeline in self.pipelines.values()]
        done = subprocess.run(
            [sys.executable, "-m", "callsheet.cli", "sweep", *files, "--json", *arguments],
            cwd=CHECKOUT, env=dict(self.job.environ), capture_output=True, text=True, check=False,
            timeout=180,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        if not done.stdout:
            return done.returncode, {"error": done.stderr}
        found = json.loads(done.stdout)
        tables = {row["table"].partition(".")[2]: row for row in found["tables"]}
        return done.returncode, {"changed": found["changed"], **tables}

    # --- what is in the stores ------------------------------------------------------------------

    def ids(self, table: str) -> dict[str, set[str]]:
        """What each store shows, by its name."""
        job = self.job
        hits = documents(job.elastic, self.pipelines["search"].alias(table))
        latest: dict[str, bool] = {}
        for message in records(job.bootstrap, f"{job.name}.latest.{table}"):
            latest[(message.key() or b"").decode()] = message.value() is not None
        return {
            "search": {hit["_id"] for hit in hits},
            "audit": set(state(Archive(self.audit).table(table)).ids),
            "latest": {identifier for identifier, is_there in latest.items() if is_there},
        }

    def assert_equal(self, table: str) -> int:
        """All stores are MySQL; returns the number of rows."""
        job = self.job
        source = contents(job.database.ask, job.database.name, table)
        assert contents(self.replica.ask, self.replica.name, table) == source
        there = {identifier(row, KEYS[table]): row[SHOWN[table]] for row in source.values()}
        shown = self.ids(table)
        assert all(ids == set(there) for ids in shown.values()), shown
        hits = documents(job.elastic, self.pipelines["search"].alias(table))
        assert {hit["_id"]: hit["_source"][SHOWN[table]] for hit in hits} == {
            key: value if isinstance(value, str) else str(value) for key, value in there.items()
        }
        return len(source)

    def audited_deletes(self, table: str) -> pl.DataFrame:
        """Those that a sweep has told of."""
        swept = pl.col("transaction_id").str.starts_with("callsheet-sweep:")
        return rows(self.audit, table).filter((pl.col("type") == "d") & swept)

    def ends(self) -> list[int | None]:
        return [place.end for place in self.job.offsets(self.pipelines["search"])]


@pytest.fixture(scope="module")
def running(live_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("sweep")
    with (
        a_main_job(live_stack, folder, tables=TABLES) as job,
        a_replica(job.environ) as replica,
    ):
        job.database.execute(
            f"CREATE TABLE {KEYED} (id BIGINT UNSIGNED, code VARBINARY(8), day DATE, "
            "label VARCHAR(40), note VARCHAR(20) NOT NULL, PRIMARY KEY (id, code, day, label))"
        )
        job.database.execute(
            f"CREATE TABLE {EMPTIED} (id INT PRIMARY KEY, amount DECIMAL(12,2) NOT NULL)"
        )
        for number in range(ROWS):
            insert(job, number)
        job.database.execute(f"INSERT INTO {EMPTIED} VALUES (1, 1.10), (2, 2.20), (3, 3.30)")
        job.start_capture()
        pipelines = {
            name: a_pipeline(job, replica, name, folder)
            for name in ("search", "replica", "audit", "latest")
        }
        others = [str(each.path) for name, each in pipelines.items() if name != "search"]
        worker = job.start(pipelines["search"], *others)
        yield Running(job, replica, pipelines, worker, LocalStore(folder / "audit"))


def identifier(row: dict[str, Any], key: tuple[str, ...]) -> str:
    return encode_id([id_part(row[name]) for name in key])


def insert(job: MainJob, number: int) -> None:
    """Keys whose parts need care: beyond 63 bits, bytes, a date, text that an ID escapes."""
    job.database.execute(
        f"INSERT INTO {KEYED} VALUES ({2**64 - 1 - number}, X'00FF{number:02X}', "
        f"'19{number + 10}-02-28', 'a|b {number} %% \"ü\"', 'note {number}')"
    )


def a_pipeline(job: MainJob, replica: Replica, name: str, folder: Path) -> Pipeline:
    """The committed source; TRUNCATE of one table is swept, but the audit passes over it."""
    allowed = f"{job.database.name}.{EMPTIED}"
    policy: dict[str, Any] = {"truncate": "sweep", "truncate_tables": [allowed]}
    if name == "audit":
        policy = {"truncate": "skip"}
    made = job.pipeline(name, tables=TABLES, **policy)
    document = json.loads(made.path.read_text("utf-8"))
    settings = replica.settings()
    sinks: dict[str, dict[str, Any]] = {
        "search": document["sink"],
        "replica": {
            "type": "sql",
            "url": settings.url,
            "username": settings.username,
            "password": "${env:CALLSHEET_MYSQL_ADMIN_PASSWORD}",
        },
        "audit": {
            "type": "hive",
            "store": {"type": "local", "root": str(folder / "audit")},
            "table": "{table}",
            "rotation": {"seconds": 1},
        },
        "latest": {
            "type": "kafka",
            "topic": f"{job.name}.latest.{{table}}",
            "mode": "latest",
            "partitions": 2,
            "replication_factor": 1,
            "registry": {"url": job.environ["CALLSHEET_REGISTRY_URL"]},
        },
    }
    document["sink"] = sinks[name]
    made.path.write_text(json.dumps(document), "utf-8")
    return made


def test_a_snapshot_tells_no_deletes_and_a_dry_run_finds_them(running: Running) -> None:
    running.settle()
    assert running.assert_equal(KEYED) == ROWS
    running.job.snapshot_again(
        f"DELETE FROM {KEYED} ORDER BY id LIMIT {GONE}",
        f"UPDATE {KEYED} SET note = 'while away' ORDER BY id DESC LIMIT 3",
        f"INSERT INTO {KEYED} VALUES (7, X'07', '2026-11-23', 'new', 'while away')",
    )
    running.settle()
    assert {len(ids) for ids in running.ids(KEYED).values()} == {ROWS + 1}
    before = running.ends()
    code, found = running.sweep("--dry-run")
    assert (code, found["changed"]) == (0, False), found
    assert (found[KEYED]["verdict"], found[KEYED]["deletes"]) == ("found", GONE)
    assert {store["orphans"] for store in found[KEYED]["stores"]} == {GONE}
    assert running.ends() == before


def test_what_a_new_snapshot_no_longer_contains_goes_from_every_store(running: Running) -> None:
    code, found = running.sweep()
    assert (code, found["changed"]) == (0, True), found
    assert (found[KEYED]["verdict"], found[KEYED]["deletes"]) == ("swept", GONE)
    assert found[EMPTIED]["verdict"] == "clean"
    running.settle()
    assert running.assert_equal(KEYED) == ROWS - GONE + 1
    told = running.audited_deletes(KEYED)
    assert told["uuid"].n_unique() == told.height == GONE
    letters = [running.job.dead_letters(each) for each in running.pipelines.values()]
    assert not any(letters)


def test_a_delete_of_a_sweep_is_where_the_rows_records_are(running: Running) -> None:
    """The same key, byte for byte, so the same partition as Connect's producer chose."""
    places: dict[bytes, set[int]] = {}
    swept: set[bytes] = set()
    for message in running.job.records([running.job.topic(KEYED)]):
        key = message.key()
        if key is not None:
            places.setdefault(key, set()).add(int(message.partition() or 0))
            if "callsheet-sweep" in dict(message.headers() or ()):
                swept.add(key)
    assert len(swept) == GONE
    assert len(places) == ROWS + 1, "no key that Debezium did not write"
    assert {len(found) for found in places.values()} == {1}
    assert {min(places[key]) for key in swept} == {0, 1}


def test_a_second_sweep_does_nothing_and_a_row_that_comes_back_stays(running: Running) -> None:
    insert(running.job, ROWS - 1)
    running.settle()
    before = running.ends()
    code, found = running.sweep()
    assert (code, found["changed"], found[KEYED]["verdict"]) == (0, False, "clean"), found
    assert running.ends() == before
    assert running.assert_equal(KEYED) == ROWS - GONE + 2


def test_a_truncate_of_an_allowed_table_is_carried_out_by_the_sweep(running: Running) -> None:
    job = running.job
    job.database.execute(f"TRUNCATE TABLE {EMPTIED}")
    job.database.execute(f"INSERT INTO {EMPTIED} VALUES (2, 9.90), (9, 9.99)")
    running.settle()
    shown = running.ids(EMPTIED)
    assert all(ids == {"1", "2", "3", "9"} for ids in shown.values()), shown
    code, found = running.sweep("--table", EMPTIED)
    assert (code, found["changed"]) == (0, True), found
    assert found[EMPTIED]["watermark"]["cause"] == "truncate"
    assert found[EMPTIED]["deletes"] == 2, "row 2 is there again"
    running.settle()
    assert running.assert_equal(EMPTIED) == 2
    assert set(running.audited_deletes(EMPTIED)["id"]) == {"1", "3"}


def test_a_truncate_of_any_other_table_parks_it_and_is_not_swept(running: Running) -> None:
    job = running.job
    job.database.execute(f"TRUNCATE TABLE {KEYED}")
    until(lambda: job.topic(KEYED) in running.worker.parked(), "the table is parked")
    code, found = running.sweep("--patience", "0")
    assert code == 1
    assert found[KEYED]["verdict"] == "refused"
    assert "has not come to the watermark" in found[KEYED]["why"]
    assert found[EMPTIED]["verdict"] == "clean", "its TRUNCATE is carried out already"
    assert len(running.ids(KEYED)["search"]) > ROWS - GONE
