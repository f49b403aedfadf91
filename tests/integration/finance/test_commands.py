"""`callsheet migrate`, `load` and `simulate` as a user runs them: in a process of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from finance import checks, tables
from tests.support.finance import Database, assert_books_agree

CALLSHEET = [sys.executable, "-m", "callsheet.cli"]
PATIENCE_S = 60


def call(environment: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CALLSHEET, *arguments],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def answer(environment: Mapping[str, str], *arguments: str) -> Any:
    done = call(environment, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_from_nothing_to_a_studio_at_work(fresh: Database, tmp_path: Path) -> None:
    films = tmp_path / "films.json"
    films.write_text('[{"Title": 1776, "Production Budget": 1000000}]', "utf-8")
    environment = fresh.environment

    assert [revision["number"] for revision in answer(environment, "migrate", "up")] == [
        "0001", "0002", "0003", "0004", "0005",
    ]  # fmt: skip
    assert all(revision["is_applied"] for revision in answer(environment, "migrate", "status"))

    report = answer(environment, "load", str(films))
    assert report["inserted"] == 1
    found = {(finding["row"], finding["field"]): finding["kind"] for finding in report["findings"]}
    assert found[1, "Title"] == "text_not_text"

    summary = answer(environment, "simulate", "--rate", "5000", "--max-changes", "300")
    assert summary["changes"] >= 300
    assert_books_agree(fresh)

    undone = answer(environment, "migrate", "down", "--to", "base", "--yes")
    assert len(undone) == 5
    assert fresh.tables() == ["alembic_version"]


def test_people_get_tables_to_read(fresh: Database) -> None:
    fresh.up()
    done = call(fresh.environment, "load")
    assert done.returncode == 0, done.stderr
    assert "3,201 titles inserted" in done.stdout
    assert "date_century" in done.stdout
    assert "--all" in done.stdout


def test_going_down_needs_a_yes(database: Database) -> None:
    done = call(database.environment, "migrate", "down")
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert tables.TITLES.name in database.tables()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_simulation_with_its_summary(loaded: Database, number: int) -> None:
    before = checks.totals(loaded.engine())
    with subprocess.Popen(
        [*CALLSHEET, "simulate", "--rate", "500", "--json"],
        env={**os.environ, **loaded.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        _wait_for_changes(loaded, before, process)
        process.send_signal(number)
        printed, complaints = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, complaints
    assert json.loads(printed)["changes"] > 0
    assert_books_agree(loaded)


def test_a_server_that_is_away_is_one_sentence_and_exit_69(database: Database) -> None:
    done = call({**database.environment, "CALLSHEET_MYSQL_PORT": "1"}, "load")
    assert done.returncode == 69
    assert "does not answer" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_schema_says_what_to_run(fresh: Database) -> None:
    done = call(fresh.environment, "load")
    assert done.returncode == 75
    assert "callsheet migrate up" in done.stderr
    assert "Traceback" not in done.stderr


def _wait_for_changes(
    database: Database,
    before: Mapping[str, checks.TableTotals],
    process: subprocess.Popen[str],
) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while checks.totals(database.engine()) == before:
        assert process.poll() is None, "the simulation ended by itself"
        assert time.monotonic() < deadline_s, "the simulation changed nothing"
