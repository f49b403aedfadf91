"""`callsheet history`, `as-of` and `audit rebuild` on an audit in a folder."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from callsheet import cli
from callsheet.batch import Partition
from callsheet.cli.audit_pipeline import instant, plain, shown
from callsheet.errors import CallsheetError, UsageError
from callsheet.event import Op
from callsheet.schema import Column, Kind
from sinks.hive.stores.local import LocalStore
from tests.support.batches import Row, a_batch, a_schema
from tests.support.hive import a_sink, within

AUDIT = Path(__file__).parents[3] / "cdc-config/pipelines/audit.yaml"
SCHEMA = a_schema(
    Column("name", Kind.STRING), Column("amount", Kind.DECIMAL, precision=8, scale=2), table="plans"
)
DAY_US = 86_400_000_000
T0_US = 1_800_000_000_000_000

cli.mount()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "audit"
    monkeypatch.setenv("CALLSHEET_AUDIT_ROOT", str(root))
    monkeypatch.setenv("CALLSHEET_STACK", "none")
    rows = [
        Row(Op.CREATE, "1", {"id": 1, "name": "[one]", "amount": Decimal("1.50")}, ts_us=T0_US),
        Row(Op.CREATE, "2", {"id": 2, "name": "two", "amount": None}, ts_us=T0_US),
        Row(Op.DELETE, "2", None, ts_us=T0_US + DAY_US),
    ]
    sink = a_sink(LocalStore(root))
    sink.open()
    sink.assigned([Partition("studio.finance.plans", 0)])
    sink.write(a_batch(rows, SCHEMA), within())
    sink.flush(within())
    sink.close()
    return root


def said(*words: str, pipeline: Path = AUDIT) -> str:
    result = CliRunner().invoke(cli.app, [*words, "--pipeline", str(pipeline)])
    if isinstance(result.exception, CallsheetError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def told(*words: str) -> Any:
    return json.loads(said(*words, "--json"))


def test_a_history_for_machines_is_exact(root: Path) -> None:
    found = told("history", "plans", "1")["changes"]
    (change,) = found
    assert change["after"] == {"id": 1, "name": "[one]", "amount": "1.50"}
    assert (change["type"], change["before"], change["ts"]) == ("c", None, "2027-01-15T08:00:00Z")
    assert change["kafka"] == "studio.finance.plans-0@0"


def test_a_history_for_people_names_what_happened(root: Path) -> None:
    found = said("history", "finance.plans", "2")
    assert "created" in found
    assert "deleted" in found
    assert "name: [one]" in said("history", "plans", "1")
    assert "no change of plans 9" in said("history", "plans", "9")


def test_rows_as_they_were(root: Path) -> None:
    assert told("as-of", "plans", "2027-01-15 08:00")["count"] == 2
    now = told("as-of", "plans", "now")
    assert now["rows"] == [{"id": 1, "name": "[one]", "amount": "1.50"}]
    assert told("as-of", "plans", "2027-01-15T10:00+02:00", "--id", "2")["rows"][0]["name"] == "two"
    shown_ = said("as-of", "plans", "2027-01-16T07:59:59Z", "--limit", "1")
    assert "2 rows of plans" in shown_
    assert "and 1 more" in shown_
    with pytest.raises(UsageError, match="has nothing of"):
        said("as-of", "plans", "2027-01-15 07:00")


def test_a_table_is_rebuilt_into_a_file_or_a_database(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "plans.parquet"
    words = ("audit", "rebuild", "plans")
    assert told(*words, "--as-of", "2027-01-15 08:00", "--into", str(file))["rows"] == 2
    assert pl.read_parquet(file)["name"].to_list() == ["[one]", "two"]
    url = f"sqlite:///{tmp_path}/rebuilt.db"
    assert "1 rows of plans written" in said(*words, "--into", url, "--name", "mine")
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT id, name FROM mine").all() == [(1, "[one]")]
    engine.dispose()


def test_a_password_that_is_not_set_is_told_and_never_shown(root: Path) -> None:
    words = ("audit", "rebuild", "plans", "--into")
    with pytest.raises(UsageError, match="NO_SUCH_VARIABLE is not set"):
        said(*words, "mysql+pymysql://me:${env:NO_SUCH_VARIABLE}@127.0.0.1:1/x")
    with pytest.raises(CallsheetError) as caught:
        said(*words, "mysql+pymysql://me:secret@127.0.0.1:1/x")
    assert caught.value.exit_code == 69
    assert "secret" not in caught.value.message + caught.value.hint


def test_wrong_words_are_told(root: Path) -> None:
    search = AUDIT.with_name("search.yaml")
    with pytest.raises(UsageError, match="not to an audit"):
        said("history", "plans", "1", pipeline=search)
    with pytest.raises(UsageError, match="write OLD=NEW"):
        said("audit", "rebuild", "plans", "--into", "x.csv", "--renamed", "a")
    with pytest.raises(UsageError, match="--name is for a table"):
        said("audit", "rebuild", "plans", "--into", "x.csv", "--name", "a")


def test_a_time_is_utc_where_it_does_not_say() -> None:
    assert instant("2026-03-01") == datetime(2026, 3, 1, tzinfo=UTC)
    assert instant("2026-03-01T02:00+02:00") == datetime(2026, 3, 1, tzinfo=UTC)
    with pytest.raises(UsageError, match="'yesterday' is no time"):
        instant("yesterday")


def test_values_are_shown_exactly_and_on_one_line() -> None:
    assert plain(Decimal("1E+3")) == "1000"
    assert plain(b"\x00\xff") == "AP8="
    assert shown(None) == "null"
    assert shown("a\n" + "b" * 99) == "a " + "b" * 57 + "…"
