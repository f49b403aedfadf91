"""One row out of a replica: its values go, and no replay brings them back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest

from callsheet.errors import PreconditionError
from callsheet.event import encode_id, id_part
from callsheet.schema import Column, Kind, TableSchema
from callsheet.sink import Counts, Holding
from sinks.sql.erasure import SqlEraser
from tests.support.batches import a_batch, a_schema, delete, upsert
from tests.support.sql import Opened, Replica, put

TOPIC = "studio.finance.titles"
TITLES = TableSchema("studio", "finance", "titles", (), (), "")


@pytest.fixture
def eraser(replica: Replica) -> Iterator[SqlEraser]:
    made = SqlEraser(replica.settings(), "test", "")
    yield made
    made.close()


def held(eraser: SqlEraser, identifier: str) -> Holding:
    return eraser.look(TOPIC, TITLES, [identifier])[identifier]


def test_the_row_goes_and_its_version_stays(
    replica: Replica, opened: Opened, eraser: SqlEraser
) -> None:
    sink = opened()
    batch = a_batch([upsert(1, name="secret", version=10), upsert(2, name="other", version=11)])
    put(sink, batch)
    assert held(eraser, "1") == Holding(has_values=True, version=10)
    for _ in range(2):
        eraser.erase(TOPIC, TITLES, ["1"])
    assert held(eraser, "1") == Holding(has_values=False, version=10)
    assert [row["name"] for row in replica.rows("titles")] == ["other"]
    assert replica.versions("titles") == {"1": (10, True), "2": (11, False)}
    assert put(sink, batch).counts == Counts(stale=2)
    assert [row["name"] for row in replica.rows("titles")] == ["other"]


def test_what_is_not_there_is_said_and_nothing_is_made(
    replica: Replica, opened: Opened, eraser: SqlEraser
) -> None:
    assert held(eraser, "1") == Holding(has_values=False, version=None)
    eraser.erase(TOPIC, TITLES, ["1"])
    put(opened(), a_batch([upsert(2, name="other"), delete(3)]))
    assert held(eraser, "1") == Holding(has_values=False, version=None)
    assert held(eraser, "3").has_values is False
    eraser.erase(TOPIC, TITLES, ["1"])
    assert "1" not in replica.versions("titles")


def test_a_table_of_another_pipeline_is_not_touched(replica: Replica, opened: Opened) -> None:
    put(opened("mine"), a_batch([upsert(1, name="secret")]))
    other = SqlEraser(replica.settings(), "other", "")
    with pytest.raises(PreconditionError, match="is not what other replicates"):
        other.erase(TOPIC, TITLES, ["1"])
    other.close()
    assert len(replica.rows("titles")) == 1


KEYS: list[tuple[Column, Any]] = [
    (Column("k", Kind.INTEGER, source_type="BIGINT"), 2**62 + 1),
    (Column("k", Kind.STRING, source_type="VARCHAR", length=40), "a|b é"),
    (Column("k", Kind.DATE, source_type="DATE"), date(2026, 11, 23)),
    (Column("k", Kind.BYTES, source_type="VARBINARY", length=8), b"\x00\xff"),
]


@pytest.mark.parametrize(("column", "value"), KEYS, ids=lambda each: str(each)[:12])
def test_every_kind_of_key_finds_its_row(
    replica: Replica, opened: Opened, eraser: SqlEraser, column: Column, value: Any
) -> None:
    columns = (column, Column("part", Kind.INTEGER), Column("name", Kind.STRING))
    schema = TableSchema("studio", "finance", "titles", columns, ("k", "part"), "1")
    identifier = encode_id([id_part(value), "7"])
    rows = [upsert(identifier, k=value, part=7, name="secret")]
    put(opened(), a_batch(rows, schema))
    assert held(eraser, identifier).has_values
    eraser.erase(TOPIC, TITLES, [identifier])
    assert replica.rows("titles") == []


def test_an_id_that_is_none_of_the_tables_is_said(opened: Opened, eraser: SqlEraser) -> None:
    put(opened(), a_batch([upsert(1, name="x")], a_schema()))
    with pytest.raises(PreconditionError, match="whose key is id"):
        held(eraser, "1|2")
