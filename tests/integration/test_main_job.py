"""MySQL to Elasticsearch, end to end: after any course of changes the index is the tables."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from finance.tables import TALENT, TITLES
from stack import Stack
from tests.support.equality import documents
from tests.support.main_job import MainJob, a_main_job
from tests.support.main_job_files import CHECKOUT, Pipeline
from tests.support.polling import until
from tests.support.worker_process import WorkerProcess

CHANGES = 1_500


@dataclass(frozen=True)
class Running:
    """A captured studio, and a worker that follows it."""

    job: MainJob
    pipeline: Pipeline
    worker: WorkerProcess

    def settle(self) -> None:
        self.job.wait_until_in_sync(self.pipeline)


@pytest.fixture(scope="module")
def running(live_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Some films and some changes are in the snapshot already."""
    with a_main_job(live_stack, tmp_path_factory.mktemp("main_job")) as job:
        job.database.load()
        job.simulate(200, seed=1)
        job.start_capture()
        pipeline = job.pipeline()
        yield Running(job, pipeline, job.start(pipeline))


def callsheet(job: MainJob, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "callsheet.cli", *arguments],
        cwd=CHECKOUT, env=dict(job.environ), capture_output=True, text=True, check=False,
        timeout=120,
    )  # fmt: skip


def test_snapshot_and_stream_arrive_exactly(running: Running) -> None:
    running.settle()
    assert running.job.assert_equal(running.pipeline) > 200
    summary = running.job.simulate(CHANGES)
    happened = set(summary.operations)
    assert {"titles.insert", "titles.update", "titles.delete", "budgets.update"} <= happened
    assert summary.kinds["renumber_title"], "no primary key changed: choose another seed"
    assert summary.transactions < summary.changes
    running.settle()
    running.job.assert_equal(running.pipeline)


def test_every_record_is_accounted_for(running: Running) -> None:
    running.job.simulate(300, seed=11)
    running.settle()
    # The worker tells its parent once a second: wait for what it counted last.
    records = running.job.records(running.pipeline.topics)
    counters = running.worker.counters
    until(lambda: counters().of("consumed") == len(records), "all was consumed")
    # Gauges follow the counters within a second.
    until(lambda: counters().gauge("in_hand_events") == 0, "nothing is in hand")
    counted = counters()
    tombstones = sum(record.value() is None for record in records)
    assert tombstones > 0
    assert counted.by("skipped", "tombstone") == counted.of("skipped") == tombstones
    assert counted.of("dead_lettered") == 0
    assert counted.missing == 0
    assert not running.job.dead_letters(running.pipeline)


def test_what_is_no_row_change_is_skipped_and_counted(running: Running) -> None:
    """A pipeline that reads all that the connector writes: beats, transactions, DDL."""
    job = running.job
    pattern = rf"({job.name}|{job.name}\..*|__debezium-heartbeat\.{job.name})$"
    everything = job.pipeline("everything", source={"topics_pattern": pattern})
    worker = job.start(everything)
    counted = worker.counters
    kinds = ("heartbeat", "transaction", "schema_change", "tombstone")
    until(lambda: all(counted().by("skipped", kind) for kind in kinds), f"each of {kinds}")
    job.wait_until_in_sync(everything)
    until(lambda: counted().missing == 0, "the conservation law holds")
    assert counted().of("dead_lettered") == 0
    job.assert_equal(everything)
    assert worker.stop() == 0


def test_cascades_and_key_changes_leave_nothing_behind(running: Running) -> None:
    job = running.job
    (title,) = job.database.ask(
        "SELECT title_id FROM budgets JOIN cash_flows USING (title_id) GROUP BY 1 LIMIT 1"
    )[0]
    moved = title + 700_000
    job.database.execute(f"UPDATE titles SET title_id = {moved} WHERE title_id = {title}")
    running.settle()
    assert ids(running, "titles", title) == []
    assert ids(running, "titles", moved) == [str(moved)]
    budgets = ids(running, "budgets", moved)
    assert budgets
    assert all(identifier.startswith(f"{moved}|") for identifier in budgets)
    job.database.execute(f"DELETE FROM titles WHERE title_id = {moved}")
    running.settle()
    for table in ("titles", "budgets", "cash_flows", "slate_entries", "productions"):
        assert ids(running, table, moved) == []
    job.assert_equal(running.pipeline)


def ids(running: Running, table: str, title: int) -> list[str]:
    """IDs of the documents that a search for this title finds."""
    alias, client = running.pipeline.alias(table), running.job.elastic
    client.indices.refresh(index=alias)
    found = client.search(index=alias, query={"term": {"title_id": title}}, size=100)
    return sorted(hit["_id"] for hit in found["hits"]["hits"])


def test_a_dry_run_shows_documents_and_leaves_no_trace(running: Running) -> None:
    job = running.job
    untried = job.pipeline("untried")
    done = callsheet(job, "run", "--dry-run", "--limit", "5", str(untried.path))
    assert done.returncode == 0, done.stderr
    shown = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(shown) == 5
    assert job.indices(f"{untried.name}*") == []
    assert job.groups.committed(untried.group) == {}
    assert untried.letters not in job.kafka.describe([untried.letters])


@pytest.mark.slow
def test_a_replay_is_refused_while_the_worker_runs_and_changes_nothing_afterwards(
    running: Running,
) -> None:
    job = running.job
    (gone,) = job.database.ask("SELECT MIN(title_id) FROM titles")[0]
    job.database.execute(f"DELETE FROM titles WHERE title_id = {gone}")
    pipeline = job.pipeline("replayed")
    worker = job.start(pipeline)
    job.wait_until_in_sync(pipeline)
    before = contents(job, pipeline)
    command = ("offsets", "reset", str(pipeline.path), "--to", "earliest")

    refused = callsheet(job, *command)
    assert refused.returncode == 2, refused.stderr
    assert "Traceback" not in refused.stderr

    assert worker.stop() == 0
    done = callsheet(job, *command, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["changed"] is True
    again = job.start(pipeline)
    job.wait_until_in_sync(pipeline)
    records = job.records(pipeline.topics)
    until(lambda: again.counters().of("consumed") == len(records), "all was read again")
    counted = again.counters()
    assert counted.of("written") == 0
    assert counted.of("stale") + counted.of("superseded") + counted.of("skipped") == len(records)
    assert contents(job, pipeline) == before
    assert before["titles", str(gone)][1]["_callsheet"]["deleted"] is True
    job.assert_equal(pipeline)
    assert again.stop() == 0


def contents(job: MainJob, pipeline: Pipeline) -> dict[tuple[str, str], tuple[int, Any]]:
    """Every document, tombstones included, with its version."""
    found: dict[tuple[str, str], tuple[int, Any]] = {}
    for table in job.captured:
        index = f"{pipeline.alias(table)}-v1"
        job.elastic.indices.refresh(index=index)
        hits = job.elastic.search(index=index, size=10_000, version=True)["hits"]["hits"]
        found |= {(table, hit["_id"]): (hit["_version"], hit["_source"]) for hit in hits}
    return found


def test_health_and_status_tell_of_a_worker_that_delivers(running: Running) -> None:
    for path in ("/livez", "/readyz"):
        answer = running.worker.get(path)
        assert answer.status_code == httpx.codes.OK
        assert answer.json()["ok"] is True
    done = callsheet(running.job, "status", "--json")
    assert done.returncode == 0, done.stderr
    assert running.pipeline.name in done.stdout


def test_the_comparison_itself_sees_what_differs(running: Running) -> None:
    """Else all tests that rest on it prove nothing; and it repeats no person's values."""
    job = running.job
    pipeline = job.pipeline("tampered", tables=["titles", "talent"])
    worker = job.start(pipeline)
    job.wait_until_in_sync(pipeline)
    assert worker.stop() == 0
    tables = (TITLES, TALENT)
    job.assert_equal(pipeline, tables)
    person, title = (
        next(iter(documents(job.elastic, pipeline.alias(t.name)))) for t in (TALENT, TITLES)
    )
    forged = person["_source"] | {"email": "somebody@else.example"}
    job.elastic.index(index=f"{pipeline.alias('talent')}-v1", id=person["_id"], document=forged)
    job.elastic.delete(index=f"{pipeline.alias('titles')}-v1", id=title["_id"])
    said = str(job.compare(pipeline, tables))
    assert f"  {person['_id']}.email differs" in said
    assert "else.example" not in said
    assert f"  {title['_id']}: MySQL has it" in said
