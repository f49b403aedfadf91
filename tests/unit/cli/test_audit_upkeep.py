"""`callsheet audit compact` and `audit expire` on an audit in a folder."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from callsheet import cli
from callsheet.batch import Partition
from callsheet.errors import CallsheetError, PreconditionError, UsageError
from callsheet.schema import Column, Kind
from sinks.hive.partitions import PartitionLog, PartitionState
from sinks.hive.stores.local import LocalStore
from tests.support.batches import a_batch, a_schema, upsert
from tests.support.hive import a_sink, counting, files, within

AUDIT = Path(__file__).parents[3] / "cdc-config/pipelines/audit.yaml"
SCHEMA = a_schema(Column("name", Kind.STRING), table="plans")
TABLE = "finance_plans"
LONG_AGO_US = 1_700_000_000_000_000
"""2023-11-14: older than any retention of these tests, whatever today is."""

cli.mount()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalStore:
    """Three ranges of one day."""
    monkeypatch.setenv("CALLSHEET_AUDIT_ROOT", str(tmp_path / "audit"))
    monkeypatch.setenv("CALLSHEET_STACK", "none")
    made = LocalStore(tmp_path / "audit")
    sink = a_sink(made)
    sink.open()
    sink.assigned([Partition("studio.finance.plans", 0)])
    for n in range(3):
        row = replace(upsert(n, name="x"), ts_us=LONG_AGO_US + n)
        sink.write(a_batch([row], SCHEMA, first_offset=n, first_version=n + 1), within())
        sink.flush(within())
    sink.close()
    return made


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    file = tmp_path / "audit.yaml"
    rules = "  retention_days: 30\n  compaction: {spare_files: 2, grace_hours: 0}\n"
    file.write_text(AUDIT.read_text("utf-8").rstrip() + "\n" + rules, "utf-8")
    return file


def said(*words: str) -> str:
    result = CliRunner().invoke(cli.app, ["audit", *words])
    if isinstance(result.exception, CallsheetError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def told(*words: str) -> Any:
    return json.loads(said(*words, "--json"))


def test_small_files_are_merged_and_said_before(store: LocalStore, pipeline: Path) -> None:
    before = counting(store, TABLE)
    plan = told("compact", str(pipeline), "--dry-run")
    assert (plan["dry_run"], len(files(store, TABLE))) == (True, 3)
    (partition,) = plan["partitions"]
    assert (partition["table"], partition["date"], partition["files"]) == (TABLE, "2023-11-14", 3)
    assert said("compact", str(pipeline), "--dry-run", "--table", "plans").splitlines() == [
        f"{TABLE} 2023-11-14: 3 files into 1, 3 rows, 0.0 MiB",
        "1 date to be merged.",
    ]
    done = told("compact", str(pipeline), "--table", "plans", "--older-than", "1")
    assert (done["cleaned_files"], done["hive_is_away"]) == (3, None)
    assert files(store, TABLE) == []
    assert counting(store, TABLE) == before
    assert said("compact", str(pipeline)) == "0 dates merged.\n"


def test_a_run_that_is_known_to_be_dead_is_taken_over(store: LocalStore, pipeline: Path) -> None:
    claim = PartitionState(TABLE, "2023-11-14").following(
        owner="dead", claimed_at="2999-01-01T00:00:00Z"
    )
    PartitionLog(store).add(claim)
    with pytest.raises(PreconditionError, match="somebody works on") as caught:
        said("compact", str(pipeline))
    assert "--take-over" in caught.value.hint
    assert len(told("compact", str(pipeline), "--take-over")["partitions"]) == 1


def test_old_dates_expire_when_asked_twice(store: LocalStore, pipeline: Path) -> None:
    with pytest.raises(UsageError, match="cannot be had back"):
        said("expire", str(pipeline))
    plan = told("expire", str(pipeline), "--dry-run")
    assert [each["rows"] for each in plan["partitions"]] == [3]
    assert len(counting(store, TABLE)) == 3
    assert "3 files removed that no longer count." in said("expire", str(pipeline), "--yes")
    assert (counting(store, TABLE), files(store, TABLE)) == ([], [])
    words = ("--pipeline", str(pipeline))
    result = CliRunner().invoke(cli.app, ["history", "plans", "1", *words])
    assert "Changes before 2023-11-15 have expired" in result.stdout
    result = CliRunner().invoke(cli.app, ["as-of", "plans", "now", *words])
    assert isinstance(result.exception, UsageError)
    assert "have expired" in result.exception.message


def test_nothing_expires_where_no_retention_is_set(store: LocalStore) -> None:
    with pytest.raises(UsageError, match="keeps everything"):
        said("expire", str(AUDIT), "--yes")
    assert len(counting(store, TABLE)) == 3
