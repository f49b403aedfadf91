"""`callsheet demo` beside other stacks, and when a server dies under it. Nothing is started."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest
from elasticsearch import Elasticsearch

from callsheet.cli.demo import steps
from callsheet.cli.demo.hops import _Watch
from callsheet.cli.demo.totals import _sources, answered
from callsheet.errors import UnavailableError
from callsheet.runtime import RunFile, RunRecord, run_dir, started_s

NOBODY = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLSHEET_STATE_DIR", str(tmp_path))


def runs(brokers: str) -> RunRecord:
    pid = os.getpid()
    record = RunRecord("search", "search.yaml", "g", 1, pid, started_s(pid), NOBODY, brokers)
    RunFile(run_dir(os.environ)).write([record])
    return record


def test_only_a_worker_of_this_stack_is_the_demos(monkeypatch: pytest.MonkeyPatch) -> None:
    record = runs("127.0.0.1:19092")
    monkeypatch.setenv("CALLSHEET_KAFKA_BOOTSTRAP", "127.0.0.1:19092")
    assert steps._record("search") == record
    assert steps._record("audit") is None
    monkeypatch.setenv("CALLSHEET_KAFKA_BOOTSTRAP", "127.0.0.1:20092")
    assert steps._record("search") is None
    monkeypatch.delenv("CALLSHEET_KAFKA_BOOTSTRAP")
    assert steps._record("search") is None


def test_another_stacks_worker_is_not_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(_: psutil.Process) -> None:
        pytest.fail("it would have been stopped")

    runs("127.0.0.1:19092")
    monkeypatch.setenv("CALLSHEET_KAFKA_BOOTSTRAP", "127.0.0.1:20092")
    monkeypatch.setattr("psutil.Process.terminate", stopped)
    steps.stop_worker("cdc-config/pipelines/search.yaml")


def test_an_index_that_dies_is_away() -> None:
    with (
        Elasticsearch(NOBODY, max_retries=0) as index,
        pytest.raises(UnavailableError, match="does not answer") as caught,
        answered("http://me:secret@127.0.0.1:9"),
    ):
        list(_sources(index, "finance-titles", []))
    assert "127.0.0.1:9" in caught.value.message
    assert "secret" not in caught.value.message
    assert "callsheet stack logs elasticsearch" in caught.value.hint


def test_what_a_watch_meets_is_told_in_the_same_words() -> None:
    with (
        Elasticsearch(NOBODY, max_retries=0) as index,
        pytest.raises(UnavailableError),
        answered(NOBODY),
    ):
        _Watch(lambda: bool(index.count())).result_ms(0)
