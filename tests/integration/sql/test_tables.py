"""The replica's tables: made, widened, or parked; ours, or refused."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from callsheet.batch import Batch
from callsheet.errors import FatalError, ParkTableError
from callsheet.schema import Column, Kind, TableSchema
from callsheet.sink import Progress
from sinks.sql.sink import SqlSink
from tests.support.batches import a_batch, a_schema, upsert
from tests.support.sql import Opened, Replica, put, within

NAME = Column("name", Kind.STRING, source_type="VARCHAR", length=10)


def types(replica: Replica, table: str = "titles") -> dict[str, str]:
    found = replica.ask(
        "SELECT column_name, column_type FROM information_schema.columns "
        f"WHERE table_schema = '{replica.name}' AND table_name = '{table}'"
    )
    return {name: kind.decode() if isinstance(kind, bytes) else kind for name, kind in found}


def parked(progress: Progress) -> tuple[str, str]:
    [park] = progress.parked
    return park.reason, park.detail


def first(*columns: Column) -> Batch:
    return a_batch([upsert(1, name="a")], a_schema(*columns))


def later(*columns: Column, key: tuple[str, ...] = ("id",), **values: object) -> Batch:
    schema = a_schema(*columns, version="2", key=key)
    return a_batch([upsert(2, 50, **values)], schema, first_offset=50)


# --- what a DDL of the source does here -----------------------------------------------------------


def test_a_new_column_is_added_and_older_events_still_fit(replica: Replica, opened: Opened) -> None:
    sink = opened()
    new = Column("genre", Kind.STRING)
    put(sink, first(NAME))
    put(sink, later(NAME, new, name="b", genre="drama"))
    put(sink, a_batch([upsert(3, 60, name="c")], a_schema(NAME), first_offset=60))
    assert [(row["id"], row["genre"]) for row in replica.rows("titles")] == [
        (1, None), (2, "drama"), (3, None),
    ]  # fmt: skip


def test_a_dropped_column_stays_and_is_asked_for_no_more(replica: Replica, opened: Opened) -> None:
    replica.execute(
        "CREATE TABLE titles (id BIGINT PRIMARY KEY, name VARCHAR(10) NOT NULL, "
        "kind VARCHAR(5) NOT NULL) COLLATE utf8mb4_0900_bin"
    )
    sink = opened()
    put(sink, first(NAME, Column("kind", Kind.STRING, source_type="VARCHAR", length=5)))
    assert put(sink, later(NAME, name="b")).rejections == ()
    assert [row["name"] for row in replica.rows("titles")] == ["a", "b"]
    assert "kind" in types(replica)


@pytest.mark.parametrize(
    ("before", "after", "value", "there"),
    [
        (NAME, replace(NAME, length=300), "x" * 300, "varchar(300)"),
        (NAME, replace(NAME, source_type="TEXT", length=None), "x" * 9_000, "longtext"),
        (replace(NAME, length=300), NAME, "short", "varchar(300)"),
        (
            Column("name", Kind.DECIMAL, precision=15, scale=2),
            Column("name", Kind.DECIMAL, precision=15, scale=4),
            Decimal("12345678901.2345"),
            "decimal(17,4)",
        ),
        (
            Column("name", Kind.DECIMAL, precision=15, scale=4),
            Column("name", Kind.DECIMAL, precision=15, scale=2),
            Decimal("1234567890123.45"),
            "decimal(17,4)",
        ),
        (
            Column("name", Kind.INTEGER, source_type="INT"),
            Column("name", Kind.INTEGER, source_type="BIGINT"),
            2**62,
            "bigint",
        ),
        (
            Column("name", Kind.INTEGER, source_type="TINYINT UNSIGNED"),
            Column("name", Kind.INTEGER, source_type="SMALLINT"),
            -32_768,
            "smallint",
        ),
    ],
)
def test_a_wider_type_widens_the_column(
    replica: Replica, opened: Opened, before: Column, after: Column, value: object, there: str
) -> None:
    sink = opened()
    put(sink, a_batch([upsert(1, name=None)], a_schema(before)))
    assert put(sink, later(after, name=value)).rejections == ()
    assert types(replica)["name"] == there
    assert replica.rows("titles")[1]["name"] == value


@pytest.mark.parametrize(
    ("after", "key", "reason", "detail"),
    [
        ((Column("name", Kind.INTEGER),), ("id",), "column type", "name is varchar(10)"),
        ((Column("title", Kind.STRING),), ("id",), "renamed column", "name went and title came"),
        (
            (NAME, Column("year", Kind.YEAR)),
            ("id", "year"),
            "key",
            "the replica's primary key is (id)",
        ),
    ],
    ids=["another type", "renamed", "another key"],
)
def test_what_would_change_values_parks_the_table_and_no_other(
    replica: Replica,
    opened: Opened,
    after: tuple[Column, ...],
    key: tuple[str, ...],
    reason: str,
    detail: str,
) -> None:
    sink = opened()
    put(sink, first(NAME))
    bad = later(*after, key=key, year=2026)
    sink.write(bad, within(5))
    progress = put(sink, a_batch([upsert(1, name="other")], a_schema(NAME, table="talent")))
    assert parked(progress)[0] == reason
    assert detail in parked(progress)[1]
    assert progress.durable == dict.fromkeys(progress.durable, 1), "not past the parked one"
    with pytest.raises(ParkTableError, match=reason):
        sink.write(bad, within(5))
    assert len(replica.rows("talent")) == len(replica.rows("titles")) == 1


def test_after_a_rename_by_hand_it_goes_on(replica: Replica, opened: Opened) -> None:
    put(opened(), first(NAME))
    renamed = later(replace(NAME, name="title"), title="b")
    assert put(opened(), renamed).parked
    replica.execute("ALTER TABLE titles RENAME COLUMN name TO title")
    assert not put(opened(), renamed).parked
    assert [row["title"] for row in replica.rows("titles")] == ["a", "b"]


def test_many_long_columns_fit_into_a_row(replica: Replica, opened: Opened) -> None:
    wide = [Column(f"c{n}", Kind.STRING, source_type="VARCHAR", length=2_000) for n in range(20)]
    values: dict[str, Any] = {column.name: "x" * 2_000 for column in wide}
    batch = a_batch([upsert(1, **values)], a_schema(*wide))
    assert put(opened(), batch).rejections == ()
    assert set(types(replica).values()) == {"bigint", "varchar(2000)", "longtext"}


# --- whose table it is ----------------------------------------------------------------------------


def test_two_pipelines_do_not_write_one_table(replica: Replica, opened: Opened) -> None:
    put(opened("east"), first(NAME))
    reason, detail = parked(put(opened("west"), later(NAME, name="b")))
    assert reason == "another master"
    assert "written by the pipeline east" in detail
    assert [row["name"] for row in replica.rows("titles")] == ["a"]


def test_two_sources_do_not_share_one_table(replica: Replica, opened: Opened) -> None:
    sink = opened()
    put(sink, first(NAME))
    other = replace(a_schema(NAME, version="2"), source="elsewhere")
    batch = a_batch([upsert(2, name="b")], other, topic="elsewhere.finance.titles")
    assert parked(put(sink, batch))[0] == "another master"


@pytest.mark.parametrize("has_rows", [True, False])
def test_a_table_that_was_there_is_taken_only_when_it_is_empty(
    replica: Replica, opened: Opened, has_rows: bool
) -> None:
    replica.execute("CREATE TABLE titles (id INT PRIMARY KEY, name VARCHAR(3), KEY (name))")
    if has_rows:
        replica.execute("INSERT INTO titles VALUES (7, 'own')")
    progress = put(opened(), a_batch([upsert(1, name="b" * 10)], a_schema(NAME)))
    if has_rows:
        assert parked(progress)[0] == "not ours"
        assert replica.rows("titles") == [{"id": 7, "name": "own"}]
    else:
        assert not progress.parked
        assert types(replica) == {"id": "bigint", "name": "varchar(10)"}


@pytest.mark.parametrize(
    ("ddl", "reason"),
    [
        ("id BIGINT PRIMARY KEY, name VARCHAR(10), UNIQUE (name)", "unique index"),
        ("id BIGINT PRIMARY KEY, name VARCHAR(10) CHARACTER SET latin1", "character set"),
        ("id BIGINT PRIMARY KEY, name VARCHAR(10) AS ('x')", "generated column"),
        ("id BIGINT, name VARCHAR(10)", "key"),
    ],
)
def test_a_table_of_ones_own_must_take_what_comes(
    replica: Replica, opened: Opened, ddl: str, reason: str
) -> None:
    replica.execute(f"CREATE TABLE titles ({ddl})")
    assert parked(put(opened(), first(NAME)))[0] == reason


def test_a_key_that_takes_different_ids_for_equal_ones_parks(
    replica: Replica, opened: Opened
) -> None:
    replica.execute(
        "CREATE TABLE titles (id VARCHAR(20) COLLATE utf8mb4_0900_ai_ci PRIMARY KEY, name TEXT)"
    )
    schema = a_schema(Column("id", Kind.STRING, source_type="VARCHAR", length=20), NAME)
    rows = a_batch([replace(upsert(1, name="x"), after={"id": "1", "name": "x"})], schema)
    reason, detail = parked(put(opened(), rows))
    assert reason == "key"
    assert "takes different IDs for equal ones" in detail


@pytest.mark.parametrize("table", ["titles", "callsheet_versions_titles"])
def test_a_table_dropped_by_hand_is_not_made_again_with_holes(
    replica: Replica, opened: Opened, table: str
) -> None:
    sink = opened()
    put(sink, first(NAME))
    replica.execute(f"DROP TABLE {table}")
    assert parked(put(sink, later(NAME, name="b")))[0] in {"table gone", "table changed"}
    restarted = opened()
    assert parked(put(restarted, later(NAME, name="b")))[0] == "table gone"


def test_a_column_dropped_by_hand_while_running_parks(replica: Replica, opened: Opened) -> None:
    sink = opened()
    put(sink, first(NAME))
    replica.execute("ALTER TABLE titles DROP COLUMN name")
    again = a_batch([upsert(2, 50, name="b")], a_schema(NAME), first_offset=50)
    assert parked(put(sink, again)) == (
        "table changed",
        "titles is not as it was: MySQL error 1054 in column name",
    )


def test_our_own_names_are_refused(replica: Replica, opened: Opened) -> None:
    batch = a_batch([upsert(1, name="a")], a_schema(NAME, table="callsheet_offsets"))
    assert parked(put(opened(), batch))[0] == "table name"


def test_a_source_is_not_its_own_replica(replica: Replica, opened: Opened) -> None:
    [(identity,)] = replica.ask("SELECT @@server_uuid")
    schema = replace(a_schema(NAME), database=replica.name)
    batch = a_batch([upsert(1, name="a")], schema)
    frame = batch.frame.with_columns(gtid=pl.lit(f"{identity}:17"))
    sink = opened()
    with pytest.raises(FatalError, match="is the source of"):
        sink.write(replace(batch, columns=frame), within(5))
    # Another database of the same server is a replica like any other.
    put(sink, replace(batch, columns=frame, schema=a_schema(NAME)))
    assert len(replica.rows("titles")) == 1


# --- what an account needs ------------------------------------------------------------------------


def test_the_documented_grants_are_enough_and_without_them_it_says_so(
    replica: Replica,
) -> None:
    account = f"`{replica.name[:20]}`@`%%`"
    replica.ask_nothing(f"CREATE USER {account} IDENTIFIED BY 'secret-of-nobody'")
    login: dict[str, Any] = {"username": replica.name[:20], "password": "secret-of-nobody"}
    try:
        sink = replica.sink(**login)
        with pytest.raises(FatalError, match="refuses us: MySQL error 1044"):
            sink.open()
        replica.ask_nothing(
            f"GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER ON `{replica.name}`.* "
            f"TO {account}"
        )
        sink = replica.sink(**login)
        sink.open()
        try:
            _exercise(sink)
        finally:
            sink.close()
    finally:
        replica.ask_nothing(f"DROP USER {account}")


def _exercise(sink: SqlSink) -> None:
    put(sink, first(NAME))
    wider = later(replace(NAME, length=20), Column("genre", Kind.STRING), name="b")
    assert not put(sink, wider).parked


def test_a_wrong_password_is_told_without_it(replica: Replica) -> None:
    with pytest.raises(FatalError) as caught:
        replica.sink(password="wrong-secret").open()
    assert "1045" in str(caught.value)
    assert "wrong-secret" not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_a_schema_is_told_apart_by_its_fingerprint(replica: Replica, opened: Opened) -> None:
    """One sink, two versions in turn: no DDL but the first of each."""
    schemas: list[TableSchema] = [a_schema(NAME), a_schema(NAME, version="2")]
    sink = opened()
    for n in range(6):
        batch = a_batch([upsert(n, 10 + n, name="x")], schemas[n % 2], first_offset=n)
        assert not put(sink, batch).parked
    assert len(replica.rows("titles")) == 6
