"""The variant without a schema registry: JSON records, schemas declared in cdc-config/schemas/."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stack import Stack
from tests.support.main_job import MainJob, a_main_job
from tests.support.main_job_files import CHECKOUT, Pipeline
from tests.support.polling import until

pytestmark = pytest.mark.slow


def test_json_with_declared_schemas_arrives_exactly(live_stack: Stack, tmp_path: Path) -> None:
    with a_main_job(live_stack, tmp_path, wire="json") as job:
        job.database.load()
        job.start_capture()
        pipeline = job.pipeline()
        worker = job.start(pipeline)
        job.wait_until_in_sync(pipeline)
        assert job.assert_equal(pipeline) > 200
        job.simulate(600, seed=5)
        job.wait_until_in_sync(pipeline)
        job.assert_equal(pipeline)
        until(lambda: worker.counters().missing == 0, "the conservation law holds")
        assert worker.counters().of("dead_lettered") == 0
        assert worker.parked() == {}
        job.snapshot_again("DELETE FROM titles ORDER BY title_id LIMIT 10")  # it cascades
        job.wait_until_in_sync(pipeline)
        assert not job.compare(pipeline).is_equal
        swept = sweep(job, pipeline)
        assert sum(row["deletes"] for row in swept["tables"]) > 10
        job.wait_until_in_sync(pipeline)
        job.assert_equal(pipeline)
        assert_known_keys(job, pipeline)
        assert worker.counters().of("dead_lettered") == 0


def sweep(job: MainJob, pipeline: Pipeline) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "callsheet.cli", "sweep", str(pipeline.path), "--json", "--yes"],
        cwd=CHECKOUT, env=dict(job.environ), capture_output=True, text=True, check=False,
        timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def assert_known_keys(job: MainJob, pipeline: Pipeline) -> None:
    """The sweep's deletes have the keys that Debezium wrote, in the same partitions."""
    known: dict[tuple[str | None, bytes], set[int]] = {}
    swept: dict[tuple[str | None, bytes], int] = {}
    for message in job.records(pipeline.topics):
        place, number = (message.topic(), message.key() or b""), int(message.partition() or 0)
        if "callsheet-sweep" in dict(message.headers() or ()):
            swept[place] = number
        else:
            known.setdefault(place, set()).add(number)
    assert swept
    assert {place: known.get(place) for place in swept} == {
        place: {number} for place, number in swept.items()
    }


def test_json_without_a_declared_schema_is_refused(live_stack: Stack, tmp_path: Path) -> None:
    with a_main_job(live_stack, tmp_path, wire="json") as job:
        job.database.load(40)
        job.start_capture()
        (tmp_path / "schemas" / f"{job.topic('talent')}.avsc").unlink()
        pipeline = job.pipeline(tables=["titles", "talent"])
        worker = job.start(pipeline)
        until(lambda: job.topic("talent") in worker.parked(), "the table is parked")
        job.wait_until_in_sync(pipeline, tables=["titles"])
        assert job.elastic.count(index=pipeline.alias("titles"))["count"] == 40
        assert not job.elastic.indices.exists(index=pipeline.alias("talent"))
        assert not job.dead_letters(pipeline)
