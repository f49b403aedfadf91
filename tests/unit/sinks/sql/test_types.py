"""Which type holds which: a table, so that a change to it is seen."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from callsheet.schema import Column, Kind
from sinks.sql.dialect import Unfit
from sinks.sql.mysql.tables import wanted_types
from sinks.sql.mysql.types import SqlType, fitted, parsed, wanted
from tests.support.batches import a_schema


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (Column("c", Kind.INTEGER), "bigint"),
        (Column("c", Kind.INTEGER, source_type="TINYINT", length=1), "tinyint"),
        (Column("c", Kind.INTEGER, source_type="INT UNSIGNED"), "int unsigned"),
        (Column("c", Kind.INTEGER, source_type="INT UNSIGNED ZEROFILL"), "int unsigned"),
        (Column("c", Kind.INTEGER, source_type="SERIAL"), "bigint"),
        (Column("c", Kind.UNSIGNED), "bigint unsigned"),
        (Column("c", Kind.DECIMAL, precision=15, scale=2), "decimal(15,2)"),
        (Column("c", Kind.FLOAT, source_type="FLOAT"), "float"),
        (Column("c", Kind.FLOAT), "double"),
        (Column("c", Kind.BOOLEAN, source_type="BIT"), "bit(1)"),
        (Column("c", Kind.BOOLEAN, source_type="TINYINT"), "tinyint"),
        (Column("c", Kind.STRING, source_type="VARCHAR", length=80), "varchar(80)"),
        (Column("c", Kind.STRING, source_type="VARCHAR", length=20_000), "longtext"),
        (Column("c", Kind.STRING, source_type="CHAR", length=5), "varchar(5)"),
        (Column("c", Kind.STRING, source_type="TINYTEXT", length=255), "longtext"),
        (Column("c", Kind.STRING), "longtext"),
        (Column("c", Kind.ENUM), "varchar(255)"),
        (Column("c", Kind.SET), "longtext"),
        (Column("c", Kind.JSON), "json"),
        (Column("c", Kind.TIME), "time(6)"),
        (Column("c", Kind.DATETIME, fraction=0), "datetime"),
        (Column("c", Kind.TIMESTAMP, fraction=3), "timestamp(3)"),
        (Column("c", Kind.BYTES, source_type="BINARY", length=16), "varbinary(16)"),
        (Column("c", Kind.BYTES), "longblob"),
        (Column("c", Kind.BITS, length=12), "bit(12)"),
        (Column("c", Kind.BITS), "bit(64)"),
        (Column("c", Kind.GEOMETRY), "geometry"),
        (Column("c", Kind.VECTOR, length=3), "vector(3)"),
    ],
)
def test_a_columns_type(column: Column, kind: str) -> None:
    assert str(wanted(column)) == kind
    assert parsed(kind) == wanted(column), "and is known again"


@pytest.mark.parametrize(
    ("found", "needed", "then"),
    [
        ("bigint", "int", "bigint"),
        ("int", "bigint", "bigint"),
        ("int unsigned", "int", "bigint"),
        ("int", "int unsigned", "bigint"),
        ("bigint", "int unsigned", "bigint"),
        ("tinyint unsigned", "smallint", "smallint"),
        ("bigint unsigned", "bigint", None),
        ("int(11)", "int", "int"),
        ("int", "decimal(15,2)", "decimal(15,2)"),
        ("bigint", "decimal(15,2)", "decimal(22,2)"),
        ("decimal(15,2)", "int", "decimal(15,2)"),
        ("decimal(15,2)", "decimal(15,4)", "decimal(17,4)"),
        ("decimal(15,4)", "decimal(15,2)", "decimal(17,4)"),
        ("decimal(17,4)", "decimal(15,2)", "decimal(17,4)"),
        ("decimal(65,0)", "decimal(65,30)", None),
        ("varchar(10)", "varchar(20)", "varchar(20)"),
        ("varchar(20)", "varchar(10)", "varchar(20)"),
        ("char(20)", "varchar(10)", "varchar(20)"),
        ("varchar(20)", "longtext", "longtext"),
        ("longtext", "varchar(20)", "longtext"),
        ("text", "varchar(16000)", "text"),
        ("tinytext", "varchar(80)", "varchar(80)"),
        ("longtext", "json", "longtext"),
        ("varchar(20)", "json", "longtext"),
        ("json", "longtext", None),
        ("varbinary(4)", "varbinary(8)", "varbinary(8)"),
        ("varbinary(4)", "varchar(8)", None),
        ("float", "double", "double"),
        ("double", "float", "double"),
        ("double", "decimal(15,2)", None),
        ("date", "datetime(6)", "datetime(6)"),
        ("datetime(6)", "date", "datetime(6)"),
        ("datetime", "datetime(3)", "datetime(3)"),
        ("datetime(6)", "datetime(3)", "datetime(6)"),
        ("datetime(6)", "timestamp(6)", None),
        ("bit(4)", "bit(9)", "bit(9)"),
        ("tinyint", "bit(1)", "tinyint"),
        ("bit(1)", "tinyint", None),
        ("year", "int", None),
        ("enum('a')", "varchar(255)", None),
    ],
)
def test_whether_a_type_fits(found: str, needed: str, then: str | None) -> None:
    if then is None:
        with pytest.raises(Unfit, match="does not fit"):
            fitted(parsed(found), parsed(needed))
    else:
        assert str(fitted(parsed(found), parsed(needed))) == then


DECIMALS = st.integers(1, 65).flatmap(
    lambda size: st.integers(0, min(size, 30)).map(lambda scale: SqlType("decimal", size, scale))
)
INTEGERS = st.sampled_from(["tinyint", "smallint", "mediumint", "int", "bigint"]).flatmap(
    lambda name: st.booleans().map(lambda unsigned: SqlType(name, unsigned=unsigned))
)
BITS = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}


def bounds(kind: SqlType) -> tuple[int, int, int]:
    """Least and greatest value in units of 10^-30, and the smallest step between values."""
    if kind.name == "decimal":
        most = (10**kind.size - 1) * 10 ** (30 - kind.scale)
        return -most, most, 10 ** (30 - kind.scale)
    bits = BITS[kind.name]
    least, most = (0, 2**bits - 1) if kind.unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return least * 10**30, most * 10**30, 10**30


@given(found=DECIMALS | INTEGERS, needed=DECIMALS | INTEGERS)
def test_a_number_that_was_there_and_one_that_comes_both_fit(
    found: SqlType, needed: SqlType
) -> None:
    try:
        merged = bounds(fitted(found, needed))
    except Unfit:
        return
    for least, most, step in (bounds(found), bounds(needed)):
        assert merged[0] <= least
        assert merged[1] >= most
        assert step % merged[2] == 0
    if bounds(found) == bounds(needed):
        assert fitted(found, needed) == found


def test_a_key_of_texts_without_length_fits_an_index() -> None:
    columns = [Column(name, Kind.STRING, nullable=False) for name in "abc"]
    types = wanted_types(a_schema(*columns, key=("id", "a", "b", "c")))
    assert all(types[name].name == "varchar" for name in "abc")
    assert sum(4 * types[name].size for name in "abc") <= 3_072 - 20


def test_a_key_too_long_for_an_index_parks() -> None:
    long = Column("id", Kind.STRING, source_type="VARCHAR", length=900)
    with pytest.raises(Unfit, match="3072 bytes"):
        wanted_types(a_schema(long))
