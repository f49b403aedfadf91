"""What is read from the audit's files: a row's history, a table as it was, a table rebuilt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa

from callsheet.batch import Partition
from callsheet.errors import FatalError, PreconditionError, UnavailableError, UsageError
from callsheet.event import Op
from callsheet.schema import Column, Kind, TableSchema
from sinks.hive.archive import Archive, DamagedFileError
from sinks.hive.history import history
from sinks.hive.inventory import HiveInventory
from sinks.hive.rebuild import write_file, write_table
from sinks.hive.state import State, state
from sinks.hive.stores.port import LostFileError, Store
from tests.support.batches import Row, a_batch, a_schema
from tests.support.hive import a_sink, files, memory_store, settings, within

TOPIC = "studio.finance.plans"
START = datetime(2027, 1, 15, 8, tzinfo=UTC)
DAY_US = 86_400_000_000


def schema_of(*columns: Column, version: str = "1") -> TableSchema:
    return a_schema(*columns, table="plans", version=version)


NAME = Column("name", Kind.STRING)
FIRST = schema_of(NAME)


def change(op: Op, identifier: int, version: int, day: int = 0, **values: Any) -> Row:
    after = None if op is Op.DELETE else {"id": identifier, **values}
    ts_us = round(START.timestamp()) * 1_000_000 + day * DAY_US
    return Row(op, str(identifier), after, version, ts_us=ts_us)


class Audit:
    def __init__(self) -> None:
        self.store: Store = memory_store()
        self.offset = 0

    def take(
        self, rows: Sequence[Row], schema: TableSchema = FIRST, before: Sequence[Any] = ()
    ) -> None:
        """One range; ``before``: the rows' images before."""
        batch = a_batch(rows, schema, first_offset=self.offset)
        if before:
            images = pl.Series("before", list(before), dtype=batch.frame.schema["after"])
            batch = replace(batch, columns=batch.frame.with_columns(images))
        self.offset += len(rows)
        sink = a_sink(self.store)
        sink.open()
        sink.assigned([Partition(TOPIC, 0)])
        sink.write(batch, within())
        sink.flush(within())
        sink.close()

    def state(self, day: int | None = None, *ids: str, **more: Any) -> State:
        moment = None if day is None else START + timedelta(days=day)
        return state(Archive(self.store).table("plans"), moment, ids, **more)

    def names(self, day: int | None = None, *ids: str) -> dict[str, Any]:
        found = self.state(day, *ids)
        return dict(zip(found.ids, found.frame["name"], strict=True))


@pytest.fixture
def audit() -> Audit:
    """Three rows; on day 1 one changes, on day 2 another is deleted, on day 3 made anew."""
    made = Audit()
    made.take([change(Op.READ, n, 5, name=f"plan {n}") for n in (1, 2, 3)])
    made.take([change(Op.UPDATE, 1, 10, 1, name="better")], before=[{"id": 1, "name": "plan 1"}])
    made.take([change(Op.DELETE, 2, 20, 2)], before=[{"id": 2, "name": "plan 2"}])
    made.take([change(Op.CREATE, 2, 30, 3, name="again")])
    return made


def test_a_table_is_found_by_its_names_at_the_source_and_in_hive(audit: Audit) -> None:
    for name in ("plans", "finance.plans", "studio.finance.plans", "finance_plans"):
        assert Archive(audit.store).table(name).name == "finance_plans"
    with pytest.raises(UsageError, match="no table 'plan'") as caught:
        Archive(audit.store).table("plan")
    assert "finance_plans" in caught.value.hint


def test_a_history_is_every_change_once_with_what_it_changed(audit: Audit) -> None:
    # The source tells a change again, as after a crash without exactly-once: at another offset.
    audit.take([change(Op.UPDATE, 1, 10, 1, name="better")], before=[{"id": 1, "name": "plan 1"}])
    found = history(Archive(audit.store).table("plans"), "1")
    assert [(each.type, each.version, each.kafka_offset) for each in found] == [
        (Op.READ, 5, 0),
        (Op.UPDATE, 10, 3),
    ]
    assert found[0].before is None
    assert found[1].differences() == {"name": ("plan 1", "better")}
    assert found[1].ts == START + timedelta(days=1)


def test_a_history_goes_through_deletion_and_new_life(audit: Audit) -> None:
    found = history(Archive(audit.store).table("plans"), "2")
    assert [each.type for each in found] == [Op.READ, Op.DELETE, Op.CREATE]
    assert (found[1].before, found[1].after) == ({"id": 2, "name": "plan 2"}, None)
    assert history(Archive(audit.store).table("plans"), "77") == []


def test_a_state_is_the_latest_change_of_each_row_up_to_a_time(audit: Audit) -> None:
    assert audit.names(0) == {"1": "plan 1", "2": "plan 2", "3": "plan 3"}
    assert audit.names(1) == {"1": "better", "2": "plan 2", "3": "plan 3"}
    assert audit.names(2) == {"1": "better", "3": "plan 3"}
    assert audit.names() == {"1": "better", "2": "again", "3": "plan 3"}
    assert audit.names(2, "1", "2") == {"1": "better"}
    assert audit.names(None, "77") == {}
    with pytest.raises(UsageError, match="has nothing of finance_plans up to"):
        audit.state(-1)


def test_an_older_change_that_comes_late_changes_no_state(audit: Audit) -> None:
    """As a redrive brings it, or a source that repeats."""
    audit.take([change(Op.UPDATE, 1, 7, name="late"), change(Op.READ, 2, 5, name="plan 2")])
    assert audit.names() == {"1": "better", "2": "again", "3": "plan 3"}


def test_a_change_at_a_snapshots_own_position_came_after_it() -> None:
    made = Audit()
    row = change(Op.READ, 1, 5, name="found")
    made.take([change(Op.UPDATE, 1, 5, name="changed")])
    batch = a_batch([row], FIRST, first_offset=1)
    frame = batch.frame.with_columns(pl.lit(True).alias("snapshot"))
    sink = a_sink(made.store)
    sink.open()
    sink.assigned([Partition(TOPIC, 0)])
    sink.write(replace(batch, columns=frame), within())
    sink.flush(within())
    sink.close()
    assert made.names() == {"1": "changed"}


PRICED = schema_of(
    Column("title", Kind.STRING), Column("price", Kind.DECIMAL, precision=8, scale=4), version="3"
)


def test_columns_that_came_changed_or_went_are_matched_by_name() -> None:
    made = Audit()
    cheap = Column("price", Kind.DECIMAL, precision=6, scale=2)
    made.take([change(Op.READ, 1, 1, name="one")])
    made.take(
        [change(Op.READ, 2, 2, name="two", price=Decimal("1.50"))],
        schema_of(NAME, cheap, version="2"),
    )
    made.take([change(Op.READ, 3, 3, title="three", price=Decimal("1.0001"))], PRICED)
    found = made.state()
    assert found.frame.to_dicts() == [
        {"id": 1, "title": None, "price": None},
        {"id": 2, "title": None, "price": Decimal("1.5000")},
        {"id": 3, "title": "three", "price": Decimal("1.0001")},
    ]
    assert found.unknown == {"title": 2, "price": 1}
    renamed = made.state(renamed={"title": "name"})
    assert renamed.frame["title"].to_list() == ["one", "two", "three"]
    assert renamed.unknown == {"price": 1}
    # One old row alone is still shown under the newest schema.
    assert made.state(None, "1").frame.columns == ["id", "title", "price"]


def test_a_value_that_does_not_fit_its_new_type_is_told() -> None:
    made = Audit()
    made.take([change(Op.READ, 1, 1, name="no number")])
    made.take([change(Op.READ, 2, 2, name=5)], schema_of(Column("name", Kind.INTEGER), version="2"))
    with pytest.raises(FatalError, match="does not fit the type") as caught:
        made.state()
    assert "no number" not in str(caught.value) + caught.value.hint


def test_a_file_that_is_gone_is_told(audit: Audit) -> None:
    audit.store.remove(files(audit.store, "finance_plans")[0])
    with pytest.raises(LostFileError):
        audit.names()


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def overwritten(content: bytes) -> bytes:
    """Its footer is whole, its pages are not."""
    return b"PAR1" + b"\xff" * (len(content) // 2) + content[4 + len(content) // 2 :]


@pytest.mark.parametrize("damage", [truncated, overwritten])
def test_a_damaged_file_is_told_by_its_name_whatever_is_asked(
    audit: Audit, damage: Callable[[bytes], bytes]
) -> None:
    path = files(audit.store, "finance_plans")[0]
    audit.store.put(path, BytesIO(damage(audit.store.read(path) or b"")))
    table = Archive(audit.store).table("plans")
    inventory = HiveInventory(settings(), audit.store)
    for ask in (
        lambda: history(table, "1"),
        lambda: state(table),
        lambda: state(table, ids=["1"]),
        lambda: inventory.alive(TOPIC, FIRST),
    ):
        with pytest.raises(DamagedFileError, match=f"{path} cannot be read") as caught:
            ask()
        assert "audit check" in caught.value.hint


# --- into a file, into a database -----------------------------------------------------------------

EVERY = schema_of(
    Column("amount", Kind.DECIMAL, precision=38, scale=2),
    Column("big", Kind.UNSIGNED),
    Column("born", Kind.DATE),
    Column("at", Kind.DATETIME),
    Column("data", Kind.BYTES),
    Column("vector", Kind.VECTOR),
    NAME,
)
VALUES: dict[str, Any] = {
    "amount": Decimal("-123456789012345678901234567890123456.78"),
    "big": 2**64 - 1,
    "born": START.date(),
    "at": datetime(2026, 2, 28, 23, 59, 59, 999999),  # noqa: DTZ001
    "data": b"\x00\xff",
    "vector": [1.0, 2.5],
    "name": 'é "x", 😀',
}


@pytest.fixture
def every() -> State:
    made = Audit()
    made.take([change(Op.READ, 1, 1, **VALUES), change(Op.READ, 2, 2, name="")], EVERY)
    return made.state()


def test_a_file_holds_every_value_exactly(every: State, tmp_path: Path) -> None:
    for suffix in ("parquet", "csv", "ndjson"):
        assert write_file(every, tmp_path / f"plans.{suffix}") == 2
    first, second = pl.read_parquet(tmp_path / "plans.parquet").to_dicts()
    assert first == {"id": 1, **VALUES, "big": Decimal(2**64 - 1)}
    assert second == {"id": 2, **dict.fromkeys(VALUES), "name": ""}
    as_text = {
        "id": 1,
        "amount": "-123456789012345678901234567890123456.78",
        "big": "18446744073709551615",
        "born": "2027-01-15",
        "at": "2026-02-28T23:59:59.999999",
        "data": "AP8=",
        "vector": "[1.0, 2.5]",
        "name": 'é "x", 😀',
    }
    csv = pl.read_csv(tmp_path / "plans.csv", infer_schema=False)
    assert csv.to_dicts()[0] == {**as_text, "id": "1"}
    lines = pl.read_ndjson(tmp_path / "plans.ndjson").to_dicts()
    assert lines == [as_text, {"id": 2, **dict.fromkeys(VALUES), "name": ""}]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "plans.csv", "plans.ndjson", "plans.parquet",
    ]  # fmt: skip
    with pytest.raises(UsageError, match="is there already"):
        write_file(every, tmp_path / "plans.csv")
    with pytest.raises(UsageError, match="what kind of file"):
        write_file(every, tmp_path / "plans.xls")


def test_a_table_is_made_or_filled_and_never_mixed(every: State, tmp_path: Path) -> None:
    url = sa.make_url(f"sqlite:///{tmp_path}/rebuilt.db")
    assert write_table(every, url, "plans") == 2
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        first, second = connection.exec_driver_sql("SELECT * FROM plans ORDER BY id").mappings()
        connection.exec_driver_sql("CREATE TABLE narrow (id INTEGER)")
        connection.exec_driver_sql("CREATE TABLE picky AS SELECT * FROM plans WHERE 1 = 0")
        connection.exec_driver_sql("CREATE UNIQUE INDEX one ON picky (name <> 'Q')")
    engine.dispose()
    assert first["amount"] == "-123456789012345678901234567890123456.78"
    assert (first["big"], first["data"], first["name"]) == (
        str(2**64 - 1),
        b"\x00\xff",
        'é "x", 😀',
    )
    assert (second["amount"], second["name"]) == (None, "")
    with pytest.raises(UsageError, match="has rows already"):
        write_table(every, url, "plans")
    with pytest.raises(UsageError, match="has no column amount"):
        write_table(every, url, "narrow")
    with pytest.raises(PreconditionError, match="could not be written: Integrity") as caught:
        write_table(every, url, "picky")
    assert "é" not in str(caught.value) + caught.value.hint
    with pytest.raises(UnavailableError, match="does not let us in") as away:
        write_table(every, sa.make_url("mysql+pymysql://me:secret@127.0.0.1:1/x"), "plans")
    assert "secret" not in away.value.message + away.value.hint
    with pytest.raises(UsageError, match="no driver for mysql"):
        write_table(every, sa.make_url("mysql://me@127.0.0.1/x"), "plans")
    with pytest.raises(UsageError, match="no driver for nonsense"):
        write_table(every, sa.make_url("nonsense://me@127.0.0.1/x"), "plans")
