"""The layout of Debezium's envelope: what a value schema and a key schema say of a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

from callsheet.codec.avro_schema import SchemaError, fields_of, optional
from callsheet.codec.fields import Field, field_of
from callsheet.schema import Kind, TableSchema

_NO_KEY: Final = frozenset({Kind.FLOAT, Kind.GEOMETRY, Kind.VECTOR, Kind.JSON})


@dataclass(frozen=True, slots=True)
class Identity:
    """Which table the records of one layout belong to."""

    connector: str
    source: str
    database: str
    table: str


@dataclass(frozen=True, slots=True)
class Layout:
    """What one pair of value schema and key schema says.

    ``tree`` is the resolved envelope, ``fields`` the row's columns, ``key`` those of the message
    key in the key's order.
    """

    tree: Mapping[str, Any]
    fields: tuple[Field, ...]
    key: tuple[Field, ...]

    def schema(self, identity: Identity) -> TableSchema:
        columns = tuple(field.column for field in self.fields)
        key = tuple(field.column.name for field in self.key)
        said = repr((identity.source, identity.database, identity.table, columns, key))
        return TableSchema(
            source=identity.source,
            database=identity.database,
            table=identity.table,
            columns=columns,
            key=key,
            fingerprint=blake2b(said.encode(), digest_size=16).hexdigest(),
        )


def is_envelope(tree: Any) -> bool:
    """Whether a resolved schema is a change envelope at all."""
    if not isinstance(tree, Mapping) or tree.get("type") != "record":
        return False
    names = {field["name"] for field in tree["fields"]}
    return {"before", "after", "source", "op"} <= names


def layout_of(
    tree: Mapping[str, Any],
    key: Mapping[str, Any] | tuple[str, ...] | None,
    booleans: frozenset[str] = frozenset(),
) -> Layout:
    """Reads an envelope's layout. ``key`` is the key's resolved record, or the names of its
    columns where it has no schema of its own; None for messages without key, of which only a
    truncation can be read.

    Raises:
        SchemaError: a column that Callsheet cannot carry, or a key that makes no ID.
    """
    parts = fields_of(tree)
    row = optional(parts["after"]).node
    fields = tuple(
        field_of(name, node, is_boolean=name in booleans) for name, node in fields_of(row).items()
    )
    if optional(parts["before"]).node != row:
        raise SchemaError("before and after have different columns")
    by_name = {field.column.name: field for field in fields}
    if key is None:
        return Layout(tree, fields, ())
    _check_key(tuple(fields_of(key)) if isinstance(key, Mapping) else key, by_name)
    if isinstance(key, tuple):
        return Layout(tree, fields, tuple(by_name[name] for name in key))
    keys = tuple(
        field_of(name, node, is_boolean=name in booleans) for name, node in fields_of(key).items()
    )
    return Layout(tree, fields, keys)


def _check_key(names: tuple[str, ...], columns: Mapping[str, Field]) -> None:
    if not names:
        raise SchemaError("the message key has no columns")
    for name in names:
        if name not in columns:
            raise SchemaError(f"the key column {name} is not a column of the row", name)
        if columns[name].column.kind in _NO_KEY:
            raise SchemaError(
                f"the key column {name} is {columns[name].column.kind.value}, which makes no ID",
                name,
            )
