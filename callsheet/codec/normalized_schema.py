"""The Avro schema of Callsheet's own event, and the wire form of each kind of column in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from callsheet.codec.fields import Field
from callsheet.errors import PoisonRecordError, Reason
from callsheet.schema import Column, Kind, TableSchema

KEY_PROPERTY: Final = "callsheet.key"
_DECIMAL: Final = "org.apache.kafka.connect.data.Decimal"
_SOURCE: Final = "__debezium.source.column."
_POSITION: Final = {"version": "long", "file": "string", "pos": "long", "row": "long"}
ORIGIN: Final[Mapping[str, Any]] = {
    "source": "string",
    "database": "string",
    "table": "string",
    "topic": "string",
    "partition": "int",
    "offset": "long",
    "server_id": "long",
    "gtid": ["null", "string"],
    "snapshot": "boolean",
    "transaction_id": ["null", "string"],
    "transaction_order": ["null", "long"],
}
_FORMS: Final[Mapping[Kind, tuple[str, str | None]]] = {
    Kind.INTEGER: ("long", None),
    Kind.UNSIGNED: ("bytes", _DECIMAL),
    Kind.DECIMAL: ("bytes", _DECIMAL),
    Kind.FLOAT: ("double", None),
    Kind.BOOLEAN: ("boolean", None),
    Kind.STRING: ("string", None),
    Kind.ENUM: ("string", "io.debezium.data.Enum"),
    Kind.SET: ("string", "io.debezium.data.EnumSet"),
    Kind.JSON: ("string", "io.debezium.data.Json"),
    Kind.DATE: ("int", "io.debezium.time.Date"),
    Kind.TIME: ("long", "io.debezium.time.MicroTime"),
    Kind.DATETIME: ("long", "io.debezium.time.MicroTimestamp"),
    Kind.TIMESTAMP: ("string", "io.debezium.time.ZonedTimestamp"),
    Kind.YEAR: ("int", "io.debezium.time.Year"),
    Kind.BYTES: ("bytes", None),
    Kind.BITS: ("bytes", "io.debezium.data.Bits"),
    Kind.VECTOR: ("array", "io.debezium.data.FloatVector"),
}
"""Per kind the Avro type and the semantic name, in the terms of ``fields.py``. FLOAT is 64 bits
wide here: wide enough for either, and exact."""


def event_schema(schema: TableSchema) -> dict[str, Any]:
    """The Avro schema of a table's events: to be registered by whoever writes them."""
    columns = [_field(c.name, _column_type(c)) for c in schema.columns]
    row = {"type": "record", "name": "Row", "fields": columns}
    parts: list[tuple[str, Any]] = [
        ("uuid", {"type": "string", "logicalType": "uuid"}),
        ("type", "string"),
        ("id", "string"),
        ("ts", {"type": "long", "logicalType": "timestamp-micros"}),
        ("position", _record("Position", _POSITION)),
        ("before", ["null", row]),
        ("after", ["null", "Row"]),
        ("origin", _record("Origin", ORIGIN)),
    ]
    return {
        "type": "record",
        "name": "Event",
        "namespace": ".".join(map(_name, ("callsheet", schema.database, schema.table))),
        "fields": [_field(name, node) for name, node in parts],
        KEY_PROPERTY: list(schema.key),
    }


def _record(name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    listed = [_field(field, node) for field, node in fields.items()]
    return {"type": "record", "name": name, "fields": listed}


def _field(name: str, node: Any) -> dict[str, Any]:
    """What may be null is null for readers of a value that was written before it was there."""
    field = {"name": name, "type": node}
    return field | {"default": None} if isinstance(node, list) else field


def _name(text: str) -> str:
    """A legal Avro name."""
    return re.sub(r"^(?=\d)|[^A-Za-z0-9_]", "_", text, flags=re.ASCII)


def _column_type(column: Column) -> Any:
    node = _geometry(column) if column.kind is Kind.GEOMETRY else _plain_type(column)
    parameters = _parameters(column)
    if parameters:
        node["connect.parameters"] = parameters
    return ["null", node] if column.nullable else node


def _plain_type(column: Column) -> dict[str, Any]:
    wire, semantic = _FORMS[column.kind]
    node: dict[str, Any] = {"type": wire}
    if semantic is not None:
        node["connect.name"] = semantic
    if wire == "array":
        node["items"] = "float"
    if semantic == _DECIMAL:
        precision, scale = (20, 0) if column.kind is Kind.UNSIGNED else _size(column)
        node |= {"logicalType": "decimal", "precision": precision, "scale": scale}
    return node


def _size(column: Column) -> tuple[int, int]:
    return column.precision or 0, column.scale or 0


def _geometry(column: Column) -> dict[str, Any]:
    parts = {"wkb": ["null", "bytes"], "srid": ["null", "int"]}
    named = _record(f"Geometry_{_name(column.name)}", parts)
    return named | {"connect.name": "io.debezium.data.geometry.Geometry"}


def _parameters(column: Column) -> dict[str, str]:
    """What :func:`field_of` needs to read the same column again."""
    given: dict[str, str] = {}
    if column.kind is Kind.UNSIGNED or column.source_type:
        given[_SOURCE + "type"] = column.source_type or "BIGINT UNSIGNED"
    length = column.fraction if column.fraction is not None else column.length
    if length is not None:
        given[_SOURCE + "length"] = str(length)
    if column.allowed:
        given["allowed"] = ",".join(member.replace(",", "\\,") for member in column.allowed)
    return given


def to_avro(field: Field, value: Any) -> Any:
    """The wire form of a canonical value."""
    match field.column.kind:
        case _ if value is None:
            return None
        case Kind.DECIMAL:
            return unscaled(Decimal(value), field.column.scale or 0)
        case Kind.UNSIGNED:
            return unscaled(Decimal(value), 0)
        case Kind.DATE:
            return (value - date(1970, 1, 1)).days
        case Kind.DATETIME:
            return _micros(value)
        case _:
            return value


def unscaled(value: Decimal, scale: int) -> bytes:
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int) or exponent + scale < 0:
        raise PoisonRecordError(Reason.UNREPRESENTABLE, f"a decimal of more than scale {scale}")
    whole: int = int("".join(map(str, digits))) * 10 ** (exponent + scale)
    signed: int = -whole if sign else whole
    return signed.to_bytes(signed.bit_length() // 8 + 1, "big", signed=True)


def _micros(value: datetime) -> int:
    since = value - datetime(1970, 1, 1)  # noqa: DTZ001 - a DATETIME has no zone
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
