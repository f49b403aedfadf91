"""Is the index the table? Every row and every column of both, streamed and compared by value.

The expectation is computed here from MySQL's own rows and the documented form of each type, with
none of the product's decoding or rendering: a mistake that both sides share cannot hide.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Difference:
    """``column`` is empty where the whole row is missing or too much."""

    identifier: str
    column: str
    in_mysql: str
    in_index: str

    def __str__(self) -> str:
        where = f"{self.identifier}.{self.column}" if self.column else self.identifier
        return f"{where}: MySQL {self.in_mysql}, index {self.in_index}"


@dataclass(slots=True)
class Comparison:
    """Of one table. Equal only if nothing differs and nothing is missing on either side."""

    table: str
    rows: int = 0
    documents: int = 0
    cells: int = 0
    differences: int = 0
    shown: list[Difference] = field(default_factory=list)

    @property
    def is_equal(self) -> bool:
        return self.differences == 0 and self.rows == self.documents

    def note(self, difference: Difference) -> None:
        self.differences += 1
        if len(self.shown) < SHOWN:
            self.shown.append(difference)

    def as_dict(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "documents": self.documents,
            "cells_compared": self.cells,
            "differences": self.differences,
            "examples": [str(difference) for difference in self.shown],
        }


def compare(
    table: sa.Table, rows: Iterable[Mapping[str, Any]], hits: Iterable[Mapping[str, Any]]
) -> Comparison:
    """``rows``: of MySQL. ``hits``: of the index, with ``_id`` and ``_source``.

    The rows are kept (a table of the benchmarks fits into memory), the hits pass by.
    """
    result = Comparison(table.name)
    expected = {identifier_of(table, row): row for row in rows}
    result.rows = len(expected)
    for hit in hits:
        result.documents += 1
        row = expected.pop(hit["_id"], None)
        if row is None:
            result.note(Difference(hit["_id"], "", "has no such row", "has it"))
            continue
        for difference in _row_differences(table, hit["_id"], row, hit["_source"]):
            result.note(difference)
        result.cells += len(table.columns)
    for identifier in expected:
        result.note(Difference(identifier, "", "has it", "has no such document"))
    return result


def identifier_of(table: sa.Table, row: Mapping[str, Any]) -> str:
    """The documented ID for keys of plain integers, years and words: joined by a bar."""
    return "|".join(str(row[column.name]) for column in table.primary_key.columns)


def _row_differences(
    table: sa.Table, identifier: str, row: Mapping[str, Any], source: Mapping[str, Any]
) -> Iterator[Difference]:
    for column in table.columns:
        wanted = row[column.name]
        if column.name not in source:
            yield Difference(identifier, column.name, repr(wanted), "has no such field")
            continue
        found = source[column.name]
        if not is_same(column.type, wanted, found):
            yield Difference(identifier, column.name, repr(wanted), repr(found))


def is_same(kind: sa.types.TypeEngine[Any], wanted: Any, found: Any) -> bool:
    """Do MySQL's value and the document's JSON value mean the same, to the last digit?"""
    if wanted is None or found is None:
        return wanted is None and found is None
    try:
        return bool(_read(kind, found) == _plain(wanted))
    except (ValueError, TypeError, ArithmeticError):
        return False


def _read(kind: sa.types.TypeEngine[Any], found: Any) -> Any:  # noqa: PLR0911 - a table
    """A document's value as the Python value that the MySQL driver gives for this type."""
    match kind:
        case mysql.SET():
            return set(found)
        case sa.JSON():
            return found
        case sa.Numeric() if kind.asdecimal:
            return _exact_text(found)
        case mysql.TIME() | sa.Time():
            return _duration(found)
        case mysql.TIMESTAMP():
            return datetime.fromisoformat(found).astimezone(UTC).replace(tzinfo=None)
        case sa.DateTime():
            return _wall_clock(found)
        case sa.Date():
            return date.fromisoformat(found)
        case mysql.YEAR() | sa.Integer():
            return _whole(found)
        case sa.LargeBinary() | mysql.BINARY() | mysql.VARBINARY():
            return base64.b64decode(found, validate=True)
        case _:
            return found


def _plain(value: Any) -> Any:
    if isinstance(value, time):
        return timedelta(
            hours=value.hour, minutes=value.minute, seconds=value.second,
            microseconds=value.microsecond,
        )  # fmt: skip
    if isinstance(value, Decimal):
        return format(value, "f")
    return value


def _exact_text(found: Any) -> str:
    """Money must be text, digit for digit with its scale: a JSON number would have been a float."""
    if not isinstance(found, str):
        raise TypeError("a decimal that is no text")
    return found


def _whole(found: Any) -> int:
    if isinstance(found, bool) or not isinstance(found, int):
        raise TypeError("an integer that is none")
    return found


def _wall_clock(found: str) -> datetime:
    value = datetime.fromisoformat(found)
    if value.tzinfo is not None:
        raise ValueError("a DATETIME has no offset")
    return value


def _duration(found: str) -> timedelta:
    sign = -1 if found.startswith("-") else 1
    hours, minutes, seconds = found.lstrip("-").split(":")
    whole, _, fraction = seconds.partition(".")
    micros = int(fraction.ljust(6, "0")) if fraction else 0
    return sign * timedelta(
        hours=int(hours), minutes=int(minutes), seconds=int(whole), microseconds=micros
    )
