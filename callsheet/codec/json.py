"""The careful reading of one JSON value, and the schema that may travel with it."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from callsheet.codec.avro import malformed
from callsheet.codec.avro_schema import SchemaError

WRAPPED_PREFIX: Final = b'{"schema":'
_PLAIN: Final = {
    "boolean": "boolean",
    "int8": "int",
    "int16": "int",
    "int32": "int",
    "int64": "long",
    "float": "float",
    "double": "double",
    "string": "string",
    "bytes": "bytes",
}


class _Wrapped(msgspec.Struct, frozen=True):
    schema: msgspec.Raw
    payload: msgspec.Raw


class JsonReader:
    """Reads JSON values strictly: fractions as Decimal, so that money in a number stays exact."""

    def __init__(self) -> None:
        self._values = msgspec.json.Decoder(float_hook=Decimal)
        self._wrapped = msgspec.json.Decoder(_Wrapped)

    def read(self, value: bytes) -> Any:
        """The value.

        Raises:
            PoisonRecordError: MALFORMED.
        """
        try:
            return self._values.decode(value)
        except (msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError) as fault:
            raise malformed(f"not JSON: {type(fault).__name__}") from fault

    def unwrap(self, value: bytes) -> tuple[bytes | None, bytes]:
        """Schema and payload of what Connect's JsonConverter wrote with ``schemas.enable``; no
        schema, and the value itself, where it wrote without.

        Raises:
            PoisonRecordError: MALFORMED.
        """
        if not value.startswith(WRAPPED_PREFIX):
            return None, value
        try:
            wrapped = self._wrapped.decode(value)
        except (msgspec.MsgspecError, ValueError, RecursionError) as fault:
            raise malformed(f"not JSON: {type(fault).__name__}") from fault
        return bytes(wrapped.schema), bytes(wrapped.payload)


def avro_of_connect(schema: Any) -> Any:
    """Connect's schema in the form that its Avro converter would have registered.

    Raises:
        SchemaError: a type that has no such form, or no schema at all.
    """
    if not isinstance(schema, Mapping):
        raise SchemaError("the embedded schema is no object")
    node = _node(schema)
    return ["null", node] if schema.get("optional") else node


def _node(schema: Mapping[str, Any]) -> dict[str, Any]:
    kind, name = schema.get("type"), schema.get("name")
    node: dict[str, Any]
    if kind == "struct":
        node = {"type": "record", "name": _record_name(name), "fields": _fields(schema)}
    elif kind == "array":
        node = {"type": "array", "items": avro_of_connect(schema.get("items"))}
    elif kind in _PLAIN:
        node = {"type": _PLAIN[str(kind)]}
    else:
        raise SchemaError(f"the embedded schema has the type {kind}")
    if name:
        node["connect.name"] = name
    if schema.get("parameters"):
        node["connect.parameters"] = schema["parameters"]
    return node


def _record_name(name: Any) -> str:
    return str(name) if name else "Record"


def _fields(schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    fields = schema.get("fields")
    if not isinstance(fields, list) or not all(
        isinstance(field, dict) and isinstance(field.get("field"), str) for field in fields
    ):
        raise SchemaError("the embedded schema has a struct without fields")
    return [{"name": field["field"], "type": avro_of_connect(field)} for field in fields]
