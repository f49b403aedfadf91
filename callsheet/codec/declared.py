"""Declared schemas: ``cdc-config/schemas/<topic>.avsc``, for JSON that travels without one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from callsheet.codec.avro import parse_schema
from callsheet.codec.avro_schema import SchemaError, resolve
from callsheet.codec.envelope import is_envelope, layout_of
from callsheet.errors import ConfigError, Fault

KEY_PROPERTY: Final = "callsheet.key"
SUFFIX: Final = ".avsc"


@dataclass(frozen=True, slots=True)
class DeclaredSchema:
    """A topic's envelope, resolved. ``key`` names the ID's columns in order; None: as the message
    key has them.
    """

    tree: Mapping[str, Any]
    key: tuple[str, ...] | None


def declared_schema(text: str) -> DeclaredSchema:
    """Reads one declared schema.

    Raises:
        SchemaError: it is no Debezium envelope, or has a column that Callsheet cannot carry.
    """
    raw = parse_schema(text)
    tree = resolve(raw)
    if not is_envelope(tree):
        raise SchemaError("not a Debezium envelope: before, after, source and op are wanted")
    key = raw.get(KEY_PROPERTY)
    if key is None:
        layout_of(tree, None)
        return DeclaredSchema(tree, None)
    if not isinstance(key, list) or not all(isinstance(name, str) for name in key):
        raise SchemaError(f"{KEY_PROPERTY} is a list of column names")
    layout_of(tree, tuple(key))
    return DeclaredSchema(tree, tuple(key))


def load_declared(directory: Path) -> dict[str, DeclaredSchema]:
    """Every declared schema of a directory, by topic.

    Raises:
        ConfigError: with all faults of all files.
    """
    schemas: dict[str, DeclaredSchema] = {}
    faults: list[Fault] = []
    for path in sorted(directory.glob(f"*{SUFFIX}")):
        try:
            schemas[path.name.removesuffix(SUFFIX)] = declared_schema(path.read_text("utf-8"))
        except (SchemaError, UnicodeDecodeError) as fault:
            faults.append(Fault(str(fault), file=str(path)))
    if faults:
        raise ConfigError(
            f"{len(faults)} declared schemas are unusable",
            hint="see the README beside them for the form",
            faults=faults,
        )
    return schemas
