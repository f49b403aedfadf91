"""One MySQL table with every type: what is inserted, and the document that must come of it."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any, Final

SQL_MODE: Final = "SET SESSION sql_mode = ''"
"""Zero dates are legal only so; many an old database has them."""

LONG: Final = "12345678901234567890123456789012345.678901234567890123456789012345"


@dataclass(frozen=True, slots=True)
class Column:
    """``literal`` is SQL, ``document`` is what ``_source`` shows for it.

    ``other`` is a second row's value, (SQL, document); null where there is none.
    """

    name: str
    ddl: str
    literal: str
    document: Any
    other: tuple[str, Any] = ("NULL", None)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _point(x: float, y: float) -> dict[str, Any]:
    return {"type": "Point", "coordinates": [x, y]}


KEY: Final = (
    Column("id", "BIGINT NOT NULL", "-7", -7, ("8", 8)),
    Column("code", "VARCHAR(40) NOT NULL", "'a|b%😀'", "a|b%😀", ("''", "")),
)

COLUMNS: Final = (
    Column("tiny", "TINYINT", "-128", -128, ("0", 0)),
    Column("tiny_u", "TINYINT UNSIGNED", "255", 255),
    Column("flag", "TINYINT(1)", "1", 1, ("0", 0)),
    Column("small", "SMALLINT", "-32768", -32768),
    Column("medium", "MEDIUMINT UNSIGNED", "16777215", 16777215),
    Column("whole_u", "INT UNSIGNED", "4294967295", 4294967295),
    Column("big", "BIGINT", "-9223372036854775808", -(2**63), ("9223372036854775807", 2**63 - 1)),
    Column("big_u", "BIGINT UNSIGNED", "18446744073709551615", 2**64 - 1, ("0", 0)),
    Column("money", "DECIMAL(15,2)", "9999999999999.90", "9999999999999.90", ("-0.01", "-0.01")),
    Column("rate", "DECIMAL(38,10)", "-0.0000000001", "-0.0000000001", ("0", "0.0000000000")),
    Column("long_decimal", "DECIMAL(65,30)", LONG, LONG, (f"-{LONG}", f"-{LONG}")),
    Column("count_of", "DECIMAL(10,0)", "-5", "-5"),
    Column("single", "FLOAT", "0.1", 0.1, ("-3.4e38", -3.4e38)),
    Column("precise", "DOUBLE", "1.7976931348623157e308", 1.7976931348623157e308, ("0", 0.0)),
    Column("bit_one", "BIT(1)", "b'1'", True, ("b'0'", False)),
    Column("bits", "BIT(12)", "b'101000000001'", _base64(b"\x01\x0a")),
    Column("day", "DATE", "'9999-12-31'", "9999-12-31", ("'1000-01-01'", "1000-01-01")),
    Column("no_day", "DATE", "'0000-00-00'", None),
    Column("clock", "TIME", "'-838:59:59'", "-838:59:59", ("'838:59:59'", "838:59:59")),
    Column("clock_us", "TIME(6)", "'12:34:56.000001'", "12:34:56.000001"),
    Column("wall", "DATETIME", "'2026-11-22 01:02:03'", "2026-11-22T01:02:03"),
    Column("wall_ms", "DATETIME(3)", "'1969-12-31 23:59:59.125'", "1969-12-31T23:59:59.125"),
    Column("wall_us", "DATETIME(6)", "'9999-12-31 23:59:59.000001'", "9999-12-31T23:59:59.000001"),
    Column("no_wall", "DATETIME", "'0000-00-00 00:00:00'", None),
    Column("moment", "TIMESTAMP NULL", "'2026-03-29 02:30:00'", "2026-03-29T02:30:00Z"),
    Column("moment_us", "TIMESTAMP(6) NULL", "'2038-01-19 03:14:07.499999'",
           "2038-01-19T03:14:07.499999Z"),
    Column("no_moment", "TIMESTAMP NULL", "'0000-00-00 00:00:00'", None),
    Column("year_of", "YEAR", "2155", 2155, ("1901", 1901)),
    Column("fixed", "CHAR(5)", "'ab  '", "ab", ("''", "")),
    Column("text_4", "VARCHAR(80)", r"CONCAT('q\"\\b', CHAR(0), '\n😀')", 'q"\\b\x00\n😀',
           ("''", "")),
    Column("latin", "VARCHAR(20) CHARACTER SET latin1", "'é£ÿ'", "é£ÿ"),
    Column("words", "LONGTEXT", "REPEAT('wort ', 9000)", "wort " * 9000),
    Column("kind", "ENUM('film','a,b','')", "'a,b'", "a,b", ("''", "")),
    Column("markets", "SET('us','intl','home')", "'home,us'", ["us", "home"], ("''", [])),
    Column("facts", "JSON", """'{"m": 1000.50, "n": null, "d": {"é": [1, "x"]}}'""",
           {"m": 1000.5, "n": None, "d": {"é": [1, "x"]}}, ("'[1, 2]'", {"value": [1, 2]})),
    Column("pair", "BINARY(4)", r"X'00FF'", _base64(b"\x00\xff\x00\x00")),
    Column("raw", "VARBINARY(20)", "X'DEADBEEF'", _base64(b"\xde\xad\xbe\xef"), ("''", "")),
    Column("blob_of", "BLOB", "X'00'", _base64(b"\x00")),
    Column("place", "POINT", "POINT(1.5, -2)", _point(1.5, -2.0)),
    Column("earth", "GEOMETRY SRID 4326", "ST_GeomFromText('POINT(48.2 16.4)', 4326)",
           _point(16.4, 48.2)),
    Column("area", "GEOMETRY", "ST_GeomFromText('POLYGON((0 0,4 0,4 4,0 0))')",
           {"type": "Polygon", "coordinates": [[[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [0.0, 0.0]]]}),
    Column("embedding", "VECTOR(3)", "STRING_TO_VECTOR('[0.1,-2,3]')", [0.1, -2.0, 3.0]),
)  # fmt: skip


def create(table: str) -> str:
    columns = ", ".join(f"`{column.name}` {column.ddl}" for column in (*KEY, *COLUMNS))
    return f"CREATE TABLE `{table}` ({columns}, PRIMARY KEY (id, code))"


def insert(table: str, **literals: str) -> list[str]:
    """One row of each column's first value, one of its other. ``literals`` are SQL for the first
    row, instead of a column's own.
    """
    every = (*KEY, *COLUMNS)
    first = [literals.get(column.name, column.literal) for column in every]
    rows = (first, [column.other[0] for column in every])
    return [f"INSERT INTO `{table}` VALUES ({', '.join(row)})" for row in rows]


def expected() -> dict[str, dict[str, Any]]:
    """By ``_id``."""
    every = (*KEY, *COLUMNS)
    return {
        "-7|a%7Cb%25😀": {column.name: column.document for column in every},
        "8|%-": {column.name: column.other[1] for column in every},
    }
