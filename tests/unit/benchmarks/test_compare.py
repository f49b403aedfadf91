"""The comparison must find every kind of difference, or the soak proves nothing."""

# ruff: noqa: DTZ001 - MySQL's own values have no zone
from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from benchmarks.compare import compare, is_same
from finance.tables import BUDGETS, TALENT

TABLE = sa.Table(
    "things",
    sa.MetaData(),
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("amount", sa.DECIMAL(15, 2)),
    sa.Column("day", sa.Date),
)


def a_row(**changes: Any) -> dict[str, Any]:
    return {"id": 1, "amount": Decimal("10.50"), "day": date(2026, 1, 2)} | changes


def a_hit(**changes: Any) -> dict[str, Any]:
    source = {"id": 1, "amount": "10.50", "day": "2026-01-02"} | changes
    return {"_id": str(source["id"]), "_source": source}


def differences(rows: list[Mapping[str, Any]], hits: list[Mapping[str, Any]]) -> list[str]:
    return [str(difference) for difference in compare(TABLE, rows, hits).shown]


def test_equal_sides_are_equal_and_every_cell_was_looked_at() -> None:
    result = compare(TABLE, [a_row(), a_row(id=2)], [a_hit(id=2), a_hit()])
    assert result.is_equal
    assert (result.rows, result.documents, result.cells) == (2, 2, 6)


def test_a_missing_document_is_found() -> None:
    result = compare(TABLE, [a_row(), a_row(id=2)], [a_hit()])
    assert not result.is_equal
    assert [d.identifier for d in result.shown] == ["2"]


def test_a_document_without_a_row_is_found() -> None:
    assert not compare(TABLE, [], [a_hit()]).is_equal


def test_a_document_that_comes_twice_is_found() -> None:
    assert not compare(TABLE, [a_row()], [a_hit(), a_hit()]).is_equal


def test_one_cent_is_found() -> None:
    assert differences([a_row()], [a_hit(amount="10.51")]) == [
        "1.amount: MySQL Decimal('10.50'), index '10.51'"
    ]


def test_a_missing_field_is_no_null() -> None:
    hit = a_hit()
    del hit["_source"]["day"]
    assert differences([a_row(day=None)], [hit]) == ["1.day: MySQL None, index has no such field"]


def test_all_differences_are_counted_though_few_are_kept() -> None:
    rows = [a_row(id=number) for number in range(1, 101)]
    result = compare(TABLE, rows, [])
    assert result.differences == 100
    assert len(result.shown) == 20


def test_a_composite_key_is_joined_by_a_bar() -> None:
    key = {"title_id": 7, "fiscal_year": 2026, "category": "production"}
    row: dict[str, Any] = dict.fromkeys(column.name for column in BUDGETS.columns)
    row |= key
    source = dict(row)
    assert compare(BUDGETS, [row], [{"_id": "7|2026|production", "_source": source}]).is_equal


SAME = [
    (sa.DECIMAL(15, 2), Decimal("0.10"), "0.10"),
    (sa.Date(), date(1914, 8, 1), "1914-08-01"),
    (mysql.DATETIME(fsp=6), datetime(2026, 1, 2, 3, 4, 5, 6), "2026-01-02T03:04:05.000006"),
    (mysql.DATETIME(), datetime(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05"),
    (mysql.TIMESTAMP(fsp=6), datetime(2026, 1, 2, 3, 4, 5, 6), "2026-01-02T03:04:05.000006Z"),
    (mysql.TIME(), timedelta(hours=7, minutes=30), "07:30:00"),
    (mysql.TIME(fsp=6), -timedelta(hours=838, seconds=1, microseconds=5), "-838:00:01.000005"),
    (mysql.YEAR(), 2026, 2026),
    (mysql.BIGINT(unsigned=True), 2**64 - 1, 2**64 - 1),
    (mysql.SET("a", "b"), {"a", "b"}, ["b", "a"]),
    (mysql.SET("a", "b"), set(), []),
    (mysql.ENUM("x"), "x", "x"),
    (sa.JSON(), {"a": [1, 2.5]}, {"a": [1, 2.5]}),
    (mysql.BINARY(2), b"\x00\xff", base64.b64encode(b"\x00\xff").decode()),
    (sa.String(10), "é|\x00", "é|\x00"),
    (sa.String(10), None, None),
]
DIFFERENT = [
    (sa.DECIMAL(15, 2), Decimal("0.10"), 0.1),
    (sa.DECIMAL(15, 2), Decimal("0.10"), "0.1"),
    (sa.DECIMAL(15, 2), Decimal("12345678901.23"), "12345678901.24"),
    (sa.Date(), date(1914, 8, 1), "1914-08-02"),
    (mysql.DATETIME(fsp=6), datetime(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05Z"),
    (mysql.TIMESTAMP(fsp=6), datetime(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05+01:00"),
    (mysql.TIME(), timedelta(hours=7), "08:00:00"),
    (mysql.TINYINT(1), 1, True),
    (mysql.BIGINT(unsigned=True), 2**64 - 1, float(2**64 - 1)),
    (mysql.SET("a", "b"), {"a", "b"}, ["a"]),
    (sa.String(10), "", None),
    (sa.String(10), None, ""),
    (sa.String(10), "a", "a "),
    (mysql.BINARY(2), b"\x00\xff", "not base64!"),
]


@pytest.mark.parametrize(("kind", "row", "document"), SAME)
def test_the_documented_form_of_a_type_is_equal(kind: Any, row: Any, document: Any) -> None:
    assert is_same(kind, row, document)


@pytest.mark.parametrize(("kind", "row", "document"), DIFFERENT)
def test_anything_else_is_not(kind: Any, row: Any, document: Any) -> None:
    assert not is_same(kind, row, document)


def test_every_type_of_the_finance_tables_has_a_reading() -> None:
    row = {
        "talent_id": 1, "full_name": "A", "roles": {"actor"}, "email": None, "phone": None,
        "birth_date": date(1990, 1, 1), "tax_number": None, "payout_token": b"\x01" * 16,
        "updated_at": datetime(2026, 1, 1),
    }  # fmt: skip
    source = row | {
        "roles": ["actor"],
        "birth_date": "1990-01-01",
        "payout_token": base64.b64encode(b"\x01" * 16).decode(),
        "updated_at": "2026-01-01T00:00:00Z",
    }
    assert compare(TALENT, [row], [{"_id": "1", "_source": source}]).is_equal
