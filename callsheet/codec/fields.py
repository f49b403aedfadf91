"""How a column travels, and the :class:`~callsheet.schema.Kind` it becomes.

One table, read by the row path, the native plan and the tests alike::

    Avro type, connect.name                       kind        unit
    boolean                                       BOOLEAN
    int, long                                     INTEGER (UNSIGNED where the source says so)
    int, declared boolean                         BOOLEAN
    float, double                                 FLOAT (refused where the source says DECIMAL)
    string                                        STRING (DECIMAL where the source says so)
    bytes                                         BYTES
    bytes   ...connect.data.Decimal               DECIMAL (UNSIGNED: BIGINT UNSIGNED)
    int     io.debezium.time.Date, connect Date   DATE        days
    int     io.debezium.time.Time, connect Time   TIME        milliseconds
    long    MicroTime, NanoTime                   TIME        micro-, nanoseconds
    long    Timestamp, connect Timestamp          DATETIME    milliseconds
    long    MicroTimestamp, NanoTimestamp         DATETIME    micro-, nanoseconds
    string  ZonedTimestamp                        TIMESTAMP
    int     Year                                  YEAR
    string  Enum, EnumSet, Json                   ENUM, SET, JSON
    bytes   Bits                                  BITS
    record  geometry.Point, Geometry, Geography   GEOMETRY
    array   FloatVector                           VECTOR

What is not in the table parks the topic: a type guessed wrong would be a wrong value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import polars as pl

from callsheet.codec.avro_schema import Optional, SchemaError, optional, parameters
from callsheet.schema import Column, Kind

MAX_DECIMAL_DIGITS: Final = 38
_SOURCE: Final = "__debezium.source.column."
_DECIMAL_NAME: Final = "org.apache.kafka.connect.data.Decimal"
_MONEY: Final = ("DECIMAL", "NUMERIC", "DEC", "FIXED")
_BINARY: Final = ("BINARY", "VARBINARY", "TINYBLOB", "BLOB", "MEDIUMBLOB", "LONGBLOB")


class Unit(StrEnum):
    """What an integer on the wire counts."""

    NONE = "none"
    DAYS = "days"
    MILLIS = "millis"
    MICROS = "micros"
    NANOS = "nanos"


@dataclass(frozen=True, slots=True)
class Field:
    """One column and its wire form: ``wire`` is the Avro type's name, ``node`` the whole type."""

    column: Column
    wire: str
    unit: Unit
    null_branch: int | None
    node: Mapping[str, Any]

    @property
    def escaped_members(self) -> Mapping[str, str]:
        r"""ENUM members by what Debezium may write for them. A member with a comma comes as it is
        from a snapshot, but from the binlog as in the list of members: ``y\,z`` for ``y,z``.
        """
        if self.column.kind is not Kind.ENUM:
            return {}
        members = {m.replace(",", "\\,"): m for m in self.column.allowed if "," in m}
        return {text: m for text, m in members.items() if text not in self.column.allowed}

    @property
    def is_wide_decimal(self) -> bool:
        """Beyond what Decimal128 holds: exact text instead."""
        return (
            self.column.kind is Kind.DECIMAL and (self.column.precision or 0) > MAX_DECIMAL_DIGITS
        )


_TEMPORAL: Final[Mapping[str, tuple[Kind, str, Unit]]] = {
    "io.debezium.time.Date": (Kind.DATE, "int", Unit.DAYS),
    "org.apache.kafka.connect.data.Date": (Kind.DATE, "int", Unit.DAYS),
    "io.debezium.time.Time": (Kind.TIME, "int", Unit.MILLIS),
    "org.apache.kafka.connect.data.Time": (Kind.TIME, "int", Unit.MILLIS),
    "io.debezium.time.MicroTime": (Kind.TIME, "long", Unit.MICROS),
    "io.debezium.time.NanoTime": (Kind.TIME, "long", Unit.NANOS),
    "io.debezium.time.Timestamp": (Kind.DATETIME, "long", Unit.MILLIS),
    "org.apache.kafka.connect.data.Timestamp": (Kind.DATETIME, "long", Unit.MILLIS),
    "io.debezium.time.MicroTimestamp": (Kind.DATETIME, "long", Unit.MICROS),
    "io.debezium.time.NanoTimestamp": (Kind.DATETIME, "long", Unit.NANOS),
    "io.debezium.time.ZonedTimestamp": (Kind.TIMESTAMP, "string", Unit.NONE),
    "io.debezium.time.Year": (Kind.YEAR, "int", Unit.NONE),
}
_SEMANTIC: Final[Mapping[str, tuple[Kind, str]]] = {
    "io.debezium.data.Enum": (Kind.ENUM, "string"),
    "io.debezium.data.EnumSet": (Kind.SET, "string"),
    "io.debezium.data.Json": (Kind.JSON, "string"),
    "io.debezium.data.Bits": (Kind.BITS, "bytes"),
    "io.debezium.data.geometry.Point": (Kind.GEOMETRY, "record"),
    "io.debezium.data.geometry.Geometry": (Kind.GEOMETRY, "record"),
    "io.debezium.data.geometry.Geography": (Kind.GEOMETRY, "record"),
    "io.debezium.data.FloatVector": (Kind.VECTOR, "array"),
}
_PLAIN: Final[Mapping[str, Kind]] = {
    "boolean": Kind.BOOLEAN,
    "int": Kind.INTEGER,
    "long": Kind.INTEGER,
    "float": Kind.FLOAT,
    "double": Kind.FLOAT,
    "string": Kind.STRING,
    "bytes": Kind.BYTES,
}
_DTYPES: Final[Mapping[Kind, pl.DataType]] = {
    Kind.INTEGER: pl.Int64(),
    Kind.UNSIGNED: pl.UInt64(),
    Kind.BOOLEAN: pl.Boolean(),
    Kind.STRING: pl.String(),
    Kind.ENUM: pl.String(),
    Kind.SET: pl.String(),
    Kind.JSON: pl.String(),
    Kind.DATE: pl.Date(),
    Kind.TIME: pl.Int64(),
    Kind.DATETIME: pl.Datetime("us"),
    Kind.TIMESTAMP: pl.String(),
    Kind.YEAR: pl.Int64(),
    Kind.BYTES: pl.Binary(),
    Kind.BITS: pl.Binary(),
    Kind.GEOMETRY: pl.Struct({"wkb": pl.Binary(), "srid": pl.Int32()}),
    Kind.VECTOR: pl.List(pl.Float32()),
}


def dtype(field: Field) -> pl.DataType:
    """The polars type that holds this column in a batch's images."""
    if field.column.kind is Kind.DECIMAL:
        if field.is_wide_decimal:
            return pl.String()
        return pl.Decimal(field.column.precision, field.column.scale or 0)
    if field.column.kind is Kind.FLOAT:
        return pl.Float32() if field.wire == "float" else pl.Float64()
    return _DTYPES[field.column.kind]


def field_of(name: str, node: Any, *, is_boolean: bool = False) -> Field:
    """Reads one column off its resolved Avro type.

    ``is_boolean``: the configuration declares this TINYINT(1) a boolean.

    Raises:
        SchemaError: a type that is not in the table above.
    """
    try:
        found = optional(node)
        kind, unit = _kind_of(found.node)
        if is_boolean:
            kind = _declared_boolean(kind)
        column, wire = _column(name, kind, found), str(found.node["type"])
        return Field(column, wire, unit, found.null_branch, found.node)
    except SchemaError as fault:
        raise SchemaError(f"column {name}: {fault}", name) from None


def _declared_boolean(kind: Kind) -> Kind:
    if kind not in {Kind.INTEGER, Kind.BOOLEAN}:
        raise SchemaError(f"declared boolean, but it is {kind.value}")
    return Kind.BOOLEAN


def _kind_of(node: Mapping[str, Any]) -> tuple[Kind, Unit]:
    wire, name = str(node.get("type")), node.get("connect.name")
    if name is None:
        return _plain_kind(node, wire), Unit.NONE
    if name == _DECIMAL_NAME and wire == "bytes":
        return (Kind.UNSIGNED if _is_unsigned_bigint(node) else Kind.DECIMAL), Unit.NONE
    if name in _TEMPORAL:
        kind, expected, unit = _TEMPORAL[name]
    elif name in _SEMANTIC:
        (kind, expected), unit = _SEMANTIC[name], Unit.NONE
    else:
        raise SchemaError(f"the semantic type {name} is not supported")
    if wire != expected:
        raise SchemaError(f"{name} travels as {expected}, not as {wire}")
    if kind is Kind.VECTOR and node["items"].get("type") != "float":
        raise SchemaError("a vector of other than float")
    return kind, unit


def _plain_kind(node: Mapping[str, Any], wire: str) -> Kind:
    source = _source_type(node)
    is_money = source.startswith(_MONEY)
    if wire in {"float", "double"} and is_money:
        raise SchemaError(f"money as {wire}: set decimal.handling.mode to precise or string")
    if wire == "string" and source.startswith(_BINARY):
        raise SchemaError("binary as text: set binary.handling.mode to bytes")
    if wire == "string" and is_money:
        return Kind.DECIMAL
    if wire == "long" and _is_unsigned_bigint(node):
        return Kind.UNSIGNED
    if wire not in _PLAIN:
        raise SchemaError(f"the type {wire} is not supported")
    return _PLAIN[wire]


def _source_type(node: Mapping[str, Any]) -> str:
    return parameters(node).get(_SOURCE + "type", "").upper()


def _is_unsigned_bigint(node: Mapping[str, Any]) -> bool:
    return _source_type(node).startswith("BIGINT UNSIGNED")


def _column(name: str, kind: Kind, found: Optional) -> Column:
    given = parameters(found.node)
    length = _number(given.get("length", given.get(_SOURCE + "length")))
    precision = scale = fraction = None
    if kind is Kind.DECIMAL:
        precision, scale, length = *_decimal_size(found.node, length), None
    elif kind in {Kind.DATETIME, Kind.TIMESTAMP, Kind.TIME} and _source_type(found.node):
        fraction, length = length or 0, None
    return Column(
        name=name,
        kind=kind,
        nullable=found.null_branch is not None,
        precision=precision,
        scale=scale,
        fraction=fraction,
        length=length,
        allowed=_allowed(given.get("allowed", "")) if kind in {Kind.ENUM, Kind.SET} else (),
        source_type=given.get(_SOURCE + "type", ""),
    )


def _decimal_size(node: Mapping[str, Any], length: int | None) -> tuple[int, int]:
    given = parameters(node)
    if node["type"] == "bytes":
        precision = _number(given.get("connect.decimal.precision", node.get("precision")))
        scale = _number(given.get("scale", node.get("scale")))
    else:
        precision, scale = length, _number(given.get(_SOURCE + "scale"))
    if precision is None or not 0 <= (scale or 0) <= precision or precision < 1:
        raise SchemaError("a decimal whose precision and scale are not told")
    return precision, scale or 0


def _number(text: Any) -> int | None:
    try:
        return None if text is None else int(text)
    except (TypeError, ValueError):
        return None


def _allowed(text: str) -> tuple[str, ...]:
    r"""Debezium joins the members by commas and writes a comma within one as ``\,``."""
    if not text:
        return ()
    return tuple(member.replace("\\,", ",") for member in re.split(r"(?<!\\),", text))
