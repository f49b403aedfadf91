"""Every MySQL type's wire form becomes the stated kind, or parks."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from callsheet.codec.avro_schema import SchemaError, resolve
from callsheet.codec.fields import Unit, dtype, field_of
from callsheet.schema import Kind
from tests.support.envelopes import decimal, nullable, record, semantic, sourced

CONNECT = "org.apache.kafka.connect.data."
TIME = "io.debezium.time."
GEOMETRY = record("Geometry", {"wkb": "bytes", "srid": ["null", "int"]})


@pytest.mark.parametrize(
    ("node", "kind", "unit", "expected"),
    [
        ("boolean", Kind.BOOLEAN, Unit.NONE, pl.Boolean()),
        ("int", Kind.INTEGER, Unit.NONE, pl.Int64()),
        ("long", Kind.INTEGER, Unit.NONE, pl.Int64()),
        (sourced("long", "INT UNSIGNED"), Kind.INTEGER, Unit.NONE, pl.Int64()),
        (sourced("long", "BIGINT UNSIGNED"), Kind.UNSIGNED, Unit.NONE, pl.UInt64()),
        (sourced(decimal(20, 0), "BIGINT UNSIGNED"), Kind.UNSIGNED, Unit.NONE, pl.UInt64()),
        (
            sourced(decimal(20, 0), "BIGINT UNSIGNED ZEROFILL"),
            Kind.UNSIGNED,
            Unit.NONE,
            pl.UInt64(),
        ),
        (decimal(20, 0), Kind.DECIMAL, Unit.NONE, pl.Decimal(20, 0)),
        (decimal(38, 10), Kind.DECIMAL, Unit.NONE, pl.Decimal(38, 10)),
        (decimal(39, 10), Kind.DECIMAL, Unit.NONE, pl.String()),
        (
            sourced("string", "DECIMAL", length="15", scale="2"),
            Kind.DECIMAL,
            Unit.NONE,
            pl.Decimal(15, 2),
        ),
        (
            sourced("string", "DECIMAL UNSIGNED", length="9"),
            Kind.DECIMAL,
            Unit.NONE,
            pl.Decimal(9, 0),
        ),
        ("float", Kind.FLOAT, Unit.NONE, pl.Float32()),
        ("double", Kind.FLOAT, Unit.NONE, pl.Float64()),
        ("string", Kind.STRING, Unit.NONE, pl.String()),
        (semantic("int", TIME + "Date"), Kind.DATE, Unit.DAYS, pl.Date()),
        (semantic("int", CONNECT + "Date"), Kind.DATE, Unit.DAYS, pl.Date()),
        (semantic("int", TIME + "Time"), Kind.TIME, Unit.MILLIS, pl.Int64()),
        (semantic("int", CONNECT + "Time"), Kind.TIME, Unit.MILLIS, pl.Int64()),
        (semantic("long", TIME + "MicroTime"), Kind.TIME, Unit.MICROS, pl.Int64()),
        (semantic("long", TIME + "NanoTime"), Kind.TIME, Unit.NANOS, pl.Int64()),
        (semantic("long", TIME + "Timestamp"), Kind.DATETIME, Unit.MILLIS, pl.Datetime("us")),
        (semantic("long", CONNECT + "Timestamp"), Kind.DATETIME, Unit.MILLIS, pl.Datetime("us")),
        (semantic("long", TIME + "MicroTimestamp"), Kind.DATETIME, Unit.MICROS, pl.Datetime("us")),
        (semantic("long", TIME + "NanoTimestamp"), Kind.DATETIME, Unit.NANOS, pl.Datetime("us")),
        (semantic("string", TIME + "ZonedTimestamp"), Kind.TIMESTAMP, Unit.NONE, pl.String()),
        (semantic("int", TIME + "Year"), Kind.YEAR, Unit.NONE, pl.Int64()),
        (semantic("string", "io.debezium.data.Json"), Kind.JSON, Unit.NONE, pl.String()),
        (
            semantic("bytes", "io.debezium.data.Bits", length="12"),
            Kind.BITS,
            Unit.NONE,
            pl.Binary(),
        ),
        ("bytes", Kind.BYTES, Unit.NONE, pl.Binary()),
        (
            GEOMETRY | {"connect.name": "io.debezium.data.geometry.Geometry"},
            Kind.GEOMETRY,
            Unit.NONE,
            pl.Struct({"wkb": pl.Binary(), "srid": pl.Int32()}),
        ),
        (
            {"type": "array", "items": "float", "connect.name": "io.debezium.data.FloatVector"},
            Kind.VECTOR,
            Unit.NONE,
            pl.List(pl.Float32()),
        ),
    ],
)
def test_a_wire_form_becomes_its_kind(
    node: Any, kind: Kind, unit: Unit, expected: pl.DataType
) -> None:
    field = field_of("c", resolve(nullable(node)))

    assert (field.column.kind, field.unit, dtype(field)) == (kind, unit, expected)
    assert field.column.nullable
    assert not field_of("c", resolve(node)).column.nullable


@pytest.mark.parametrize(
    ("node", "said"),
    [
        (sourced("double", "DECIMAL", length="15", scale="2"), "money as double"),
        (sourced("float", "NUMERIC"), "money as float"),
        (sourced("string", "VARBINARY"), "binary as text"),
        (sourced("string", "DECIMAL"), "precision and scale are not told"),
        (semantic("string", "io.debezium.time.IsoDate"), "IsoDate is not supported"),
        (semantic("string", TIME + "Date"), "travels as int"),
        ({"type": "array", "items": "double"}, "array is not supported"),
        (
            {"type": "array", "items": "double", "connect.name": "io.debezium.data.FloatVector"},
            "other than float",
        ),
        (["null", "int", "long"], "a union of other than null and one type"),
        (record("Other", {"x": "int"}), "record is not supported"),
    ],
)
def test_what_is_not_in_the_table_is_refused_by_name(node: Any, said: str) -> None:
    with pytest.raises(SchemaError, match=f"column price: .*{said}"):
        field_of("price", resolve(node))


def test_a_tinyint_is_boolean_only_where_declared() -> None:
    node = resolve(sourced("int", "TINYINT", length="1"))

    assert field_of("is_public", node).column.kind is Kind.INTEGER
    assert field_of("is_public", node, is_boolean=True).column.kind is Kind.BOOLEAN
    with pytest.raises(SchemaError, match="declared boolean, but it is string"):
        field_of("name", resolve("string"), is_boolean=True)


def test_a_column_knows_what_the_source_told() -> None:
    enum = semantic("string", "io.debezium.data.Enum", allowed="x,y\\,z,")
    moment = sourced(semantic("long", TIME + "MicroTimestamp"), "DATETIME", length="6")
    second = sourced(semantic("string", TIME + "ZonedTimestamp"), "TIMESTAMP")

    assert field_of("e", resolve(enum)).column.allowed == ("x", "y,z", "")
    assert field_of("m", resolve(moment)).column.fraction == 6
    assert field_of("s", resolve(second)).column.fraction == 0
    assert field_of("u", resolve(semantic("long", TIME + "Timestamp"))).column.fraction is None
    assert field_of("v", resolve(sourced("string", "VARCHAR", length="9"))).column.length == 9
    assert field_of("v", resolve(sourced("string", "varchar"))).column.source_type == "varchar"


def test_names_are_resolved_in_their_namespace() -> None:
    inner = record("Value", {"a": "int"})
    outer = record("Envelope", {"x": ["null", inner], "y": ["null", "Value"]}, namespace="s.f.t")
    tree = resolve(outer)
    x, y = (field["type"] for field in tree["fields"])

    assert x == y
    assert y[1]["fullname"] == "s.f.t.Value"


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ("Nobody", "Nobody is not defined"),
        (record("A", {"next": ["null", "A"]}), "A contains itself"),
        ({"type": "record", "name": "A"}, "no proper list of fields"),
        ({"type": "record", "fields": []}, "without a name"),
        (7, "7 is no Avro type"),
    ],
)
def test_a_broken_schema_is_refused(schema: Any, said: str) -> None:
    with pytest.raises(SchemaError, match=said):
        resolve(schema)
