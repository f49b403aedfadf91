"""Avro schemas as plain trees: names resolved, optional types told apart.

Everything that reads a schema (the column table, the row reader, the native plan) reads the tree
that :func:`resolve` makes, so no two of them can understand a name differently.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

PRIMITIVES: Final = frozenset(
    {"null", "boolean", "int", "long", "float", "double", "string", "bytes"}
)
_NAMED: Final = frozenset({"record", "enum", "fixed"})


class SchemaError(ValueError):
    """The schema itself is unusable: not Avro, a name that is not defined, a recursive type.

    ``about``: the column, type or property in question, by which a file's line is found.
    """

    def __init__(self, message: str, about: str = "") -> None:
        super().__init__(message)
        self.about = about


@dataclass(frozen=True, slots=True)
class Optional:
    """A type and the branch of its union that means null; None where it cannot be null."""

    node: Mapping[str, Any]
    null_branch: int | None


def resolve(schema: Any, names: MutableMapping[str, Mapping[str, Any]] | None = None) -> Any:
    """The schema with every named reference replaced by its definition.

    Primitive types become ``{"type": "int"}``; unions stay lists. ``logicalType`` is left out:
    what a value means is read from ``connect.name``, by us, the same way on every path.

    ``names`` holds definitions of referenced schemas by full name; those met here are added.

    Raises:
        SchemaError: not a valid schema, or one that contains itself.
    """
    return _resolve(schema, {} if names is None else names, "", frozenset())


def _resolve(
    schema: Any,
    names: MutableMapping[str, Mapping[str, Any]],
    namespace: str,
    open_names: frozenset[str],
) -> Any:
    match schema:
        case str():
            return _named(schema, names, namespace, open_names)
        case list():
            return [_resolve(branch, names, namespace, open_names) for branch in schema]
        case dict():
            return _complex(schema, names, namespace, open_names)
        case _:
            raise SchemaError(f"{json.dumps(schema)} is no Avro type")


def _named(
    name: str,
    names: Mapping[str, Mapping[str, Any]],
    namespace: str,
    open_names: frozenset[str],
) -> Mapping[str, Any]:
    if name in PRIMITIVES:
        return {"type": name}
    full = name if "." in name or not namespace else f"{namespace}.{name}"
    for candidate in (full, name):
        if candidate in open_names:
            raise SchemaError(f"the type {candidate} contains itself", name)
        if candidate in names:
            return names[candidate]
    raise SchemaError(f"the type {full} is not defined", name)


def _complex(
    schema: Mapping[str, Any],
    names: MutableMapping[str, Mapping[str, Any]],
    namespace: str,
    open_names: frozenset[str],
) -> Any:
    kind = schema.get("type")
    if not isinstance(kind, str):  # {"type": {...}}: one level too many, yet legal
        return _resolve(kind, names, namespace, open_names)
    rest = {key: value for key, value in schema.items() if key != "logicalType"}
    if kind in _NAMED:
        return _definition(rest, names, namespace, open_names)
    if kind == "array":
        return rest | {"items": _resolve(schema.get("items"), names, namespace, open_names)}
    if kind == "map":
        return rest | {"values": _resolve(schema.get("values"), names, namespace, open_names)}
    if kind in PRIMITIVES:
        return rest
    return _named(kind, names, namespace, open_names)


def _definition(
    schema: dict[str, Any],
    names: MutableMapping[str, Mapping[str, Any]],
    namespace: str,
    open_names: frozenset[str],
) -> Mapping[str, Any]:
    name = schema.get("name")
    if not isinstance(name, str) or not name:
        raise SchemaError(f"a {schema['type']} without a name")
    space = schema.get("namespace", namespace)
    full = name if "." in name or not space else f"{space}.{name}"
    if schema["type"] == "record":
        inner = full.rpartition(".")[0]
        schema["fields"] = [
            {**field, "type": _resolve(field["type"], names, inner, open_names | {full})}
            for field in _fields(schema, full)
        ]
    schema["fullname"] = full
    names[full] = schema
    return schema


def _fields(schema: Mapping[str, Any], full: str) -> Sequence[Mapping[str, Any]]:
    fields = schema.get("fields")
    if not isinstance(fields, list) or not all(
        isinstance(field, dict) and isinstance(field.get("name"), str) and "type" in field
        for field in fields
    ):
        raise SchemaError(f"the record {full} has no proper list of fields", schema["name"])
    return fields


def optional(node: Any) -> Optional:
    """A resolved type that is either plain or a union of null and one other.

    Raises:
        SchemaError: any other union.
    """
    if not isinstance(node, list):
        return Optional(node, None)
    others = [branch for branch in node if branch.get("type") != "null"]
    if len(node) != 2 or len(others) != 1:
        raise SchemaError("a union of other than null and one type")
    return Optional(others[0], 1 if node[0] is others[0] else 0)


def fields_of(node: Mapping[str, Any]) -> dict[str, Any]:
    """Types of a resolved record's fields by name, in order.

    Raises:
        SchemaError: not a record.
    """
    if node.get("type") != "record":
        raise SchemaError(f"a record is wanted where {node.get('type')} is")
    return {field["name"]: field["type"] for field in node["fields"]}


def parameters(node: Mapping[str, Any]) -> Mapping[str, str]:
    """What Kafka Connect attached to a type (``connect.parameters``)."""
    found = node.get("connect.parameters") or {}
    return found if isinstance(found, dict) else {}
