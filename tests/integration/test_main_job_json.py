"""The variant without a schema registry: JSON records, schemas declared in cdc-config/schemas/."""

from __future__ import annotations

from pathlib import Path

import pytest

from stack import Stack
from tests.support.main_job import a_main_job
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
