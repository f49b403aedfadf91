"""A table rebuilt from an audit under field rules: what no rule touches is as at the source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa

from callsheet.batch import Batch, Partition
from callsheet.config.fields import TableRules
from callsheet.errors import PreconditionError
from callsheet.event import Op
from callsheet.fields.columns import KeyedHash
from callsheet.fields.projection import projection
from callsheet.schema import Column, Kind
from sinks.hive.archive import Archive
from sinks.hive.rebuild import write_file, write_table
from sinks.hive.state import State, state
from tests.support.batches import Row, a_batch, a_schema
from tests.support.hive import a_sink, memory_store, within

KEYED = KeyedHash("k" * 32)
SCHEMA = a_schema(
    Column("name", Kind.STRING, nullable=False),
    Column("email", Kind.STRING),
    Column("phone", Kind.STRING),
    Column("fee", Kind.DECIMAL, precision=12, scale=2, nullable=False),
    Column("budget", Kind.DECIMAL, precision=38, scale=4),
    Column("born", Kind.DATE),
    table="talent",
)
RULES = TableRules.model_validate(
    {
        "table": "finance.*",
        "mask": {"name": {}, "fee": {}},
        "hash": ["email"],
        "exclude": ["phone"],
    }
)
TOUCHED = {"name", "fee", "email", "phone"}


def person(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": number,
        "name": f"person {number}",
        "email": None if number == 3 else f"p{number}@example.org",
        "phone": "+1 555 0100",
        "fee": Decimal(f"{number}000.01"),
        "budget": Decimal("1234567890123456789012345678901234.0001") * (-1) ** number,
        "born": date(1970, 1, number),
        **changes,
    }


CHANGES: Sequence[Row] = [
    *(Row(Op.READ, str(n), person(n), n) for n in (1, 2, 3, 4)),
    Row(Op.UPDATE, "1", person(1, budget=None, name="renamed", fee=Decimal("0.10")), 10),
    Row(Op.DELETE, "2", None, 11),
    Row(Op.CREATE, "5", person(5), 12),
]


def ruled(batch: Batch) -> Batch:
    made = projection(RULES, SCHEMA, KEYED, {})
    return replace(batch, schema=made.schema, columns=made.frame(batch.frame))


def rebuilt(batch: Batch) -> State:
    store = memory_store()
    sink = a_sink(store)
    sink.open()
    sink.assigned([Partition(batch.topic, 0)])
    sink.write(batch, within())
    sink.flush(within())
    sink.close()
    return state(Archive(store).table("talent"), None, ())


@pytest.fixture
def source() -> State:
    return rebuilt(a_batch(CHANGES, SCHEMA))


@pytest.fixture
def masked() -> State:
    return rebuilt(ruled(a_batch(CHANGES, SCHEMA)))


def test_what_no_rule_touches_is_equal_and_the_rest_is_as_the_rules_made_it(
    source: State, masked: State, tmp_path: Path
) -> None:
    assert write_file(source, tmp_path / "source.parquet") == 4
    assert write_file(masked, tmp_path / "masked.parquet") == 4
    plain = pl.read_parquet(tmp_path / "source.parquet").sort("id")
    found = pl.read_parquet(tmp_path / "masked.parquet").sort("id")
    assert plain["id"].to_list() == [1, 3, 4, 5], "the deleted row is not there"
    untouched = [name for name in plain.columns if name not in TOUCHED]
    assert untouched == ["id", "budget", "born"]
    assert found.select(untouched).equals(plain.select(untouched))
    assert "phone" not in found.columns
    assert found["email"].to_list() == KEYED.of_all(plain["email"]).to_list()
    assert found["email"][0] != plain["email"][0]
    assert found["email"].null_count() == 1, "what was null is null"
    assert found["name"].n_unique() == 1
    assert not set(found["name"].to_list()) & {None, *plain["name"].to_list()}
    assert found["fee"].null_count() == 4, "a number has no mask but null"


def test_a_database_gets_the_same(source: State, masked: State, tmp_path: Path) -> None:
    url = sa.make_url(f"sqlite:///{tmp_path}/rebuilt.db")
    assert write_table(source, url, "plain") == 4
    assert write_table(masked, url, "masked") == 4
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        plain, found = (
            connection.exec_driver_sql(f"SELECT id, budget, born FROM {name} ORDER BY id").all()
            for name in ("plain", "masked")
        )
        (told,) = connection.exec_driver_sql("SELECT * FROM masked WHERE id = 1").mappings()
    engine.dispose()
    assert found == plain
    assert "phone" not in told
    assert told["name"] != "renamed"
    assert told["fee"] is None


def test_the_sources_own_table_takes_no_nulls_of_a_mask(masked: State, tmp_path: Path) -> None:
    url = sa.make_url(f"sqlite:///{tmp_path}/rebuilt.db")
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE talent (id INTEGER, name TEXT, email TEXT, fee TEXT NOT NULL, "
            "budget TEXT, born DATE)"
        )
    with pytest.raises(PreconditionError, match="Integrity"):
        write_table(masked, url, "talent")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT COUNT(*) FROM talent").scalar() == 0
    engine.dispose()
