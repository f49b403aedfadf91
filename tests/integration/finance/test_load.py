"""Films into a real MySQL."""

from __future__ import annotations

import time
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from finance import checks, tables
from finance.database import Role
from finance.load import Loader, find_films, read_rows
from tests.support.finance import FILMS, Database, assert_books_agree


def test_all_films_are_loaded_exactly(database: Database) -> None:
    rows = read_rows(find_films())
    report = Loader(database.engine(), time.monotonic).load(rows)
    assert (report.inserted, report.unchanged, report.kept, report.skipped) == (3201, 0, 0, 0)
    totals = checks.totals(database.engine(Role.READER))
    assert {name: table.rows for name, table in totals.items()} == dict(report.inserted_rows)
    budget = Decimal(sum(row["Production Budget"] or 0 for row in rows))
    assert totals["titles"].sums["total_budget"] == budget
    assert totals["budgets"].sums["amount"] == budget
    us_gross = Decimal(sum(row["US Gross"] or 0 for row in rows))
    assert totals["titles"].sums["us_gross"] == us_gross
    world = sum(row["Worldwide Gross"] or 0 for row in rows)
    dvd = sum(row["US DVD Sales"] or 0 for row in rows)
    assert totals["cash_flows"].sums["amount"] == Decimal(world + dvd)
    assert_books_agree(database)


def test_a_second_load_changes_nothing(loaded: Database) -> None:
    before = [loaded.rows(table) for table in tables.BUSINESS_TABLES]
    report = Loader(loaded.engine(), time.monotonic).load(read_rows(find_films())[:FILMS])
    assert (report.inserted, report.unchanged, report.kept) == (0, FILMS, 0)
    assert not any(report.inserted_rows.values())
    assert [loaded.rows(table) for table in tables.BUSINESS_TABLES] == before


def test_a_changed_title_is_kept_and_a_deleted_one_comes_back_with_its_books(
    loaded: Database,
) -> None:
    counts = checks.totals(loaded.engine(Role.READER))
    number, later = tables.TITLES.c.title_id, date(2027, 5, 1)
    loaded.execute(tables.TITLES.update().where(number == 3).values(launch_date=later), Role.APP)
    loaded.execute(tables.TITLES.delete().where(number == 24), Role.APP)
    assert checks.row_count(loaded.engine(), tables.BUDGETS) < counts["budgets"].rows
    report = Loader(loaded.engine(), time.monotonic).load(read_rows(find_films())[:FILMS])
    assert (report.inserted, report.unchanged, report.kept) == (1, FILMS - 2, 1)
    assert checks.totals(loaded.engine(Role.READER)) == counts
    assert loaded.rows(tables.TITLES)[2]["launch_date"] == later


def test_a_title_comes_with_its_books_or_not_at_all(database: Database) -> None:
    database.execute("ALTER TABLE talent_payments ADD CHECK (amount < 0)")
    with pytest.raises(DBAPIError):
        database.load()
    assert {t.rows for t in checks.totals(database.engine(Role.READER)).values()} == {0}


def test_dirty_rows_of_any_shape_are_reported_and_the_rest_is_loaded(database: Database) -> None:
    rows: list[Any] = [None, {"Title": "Lonely", "Release Date": "Jan 01 1901"}, 5, "text"]
    report = Loader(database.engine(), time.monotonic).load(rows)
    assert (report.rows, report.inserted, report.skipped) == (4, 1, 3)
    assert [row["title_id"] for row in database.rows(tables.TITLES)] == [2]
    assert report.counts["row_not_an_object"] == 3
