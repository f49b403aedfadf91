"""Declared schemas: ``cdc-config/schemas/<topic>.avsc``, for JSON that travels without one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from json import JSONDecodeError
from pathlib import Path
from typing import Any, Final

from callsheet.codec.avro import parse_schema
from callsheet.codec.avro_schema import SchemaError, resolve
from callsheet.codec.layout import is_envelope, layout_of
from callsheet.config.document import parse_json
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
        raise SchemaError(f"{KEY_PROPERTY} is a list of column names", KEY_PROPERTY)
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
            schemas[path.name.removesuffix(SUFFIX)] = _read(path)
        except ConfigError as error:
            faults += error.faults
    if faults:
        raise ConfigError(
            f"{len(faults)} declared schemas are unusable",
            hint="see the README beside them for the form",
            faults=faults,
        )
    return schemas


def _read(path: Path) -> DeclaredSchema:
    """Raises:
    ConfigError: with the line, as near as the schema's own words allow.
    """
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise _unusable(Fault("is not UTF-8", file=str(path))) from error
    try:
        return declared_schema(text)
    except SchemaError as error:
        fault = Fault(str(error), file=str(path), line=1)
        if isinstance(error.__cause__, JSONDecodeError):
            fault.message, fault.line = f"not JSON: {error.__cause__.msg}", error.__cause__.lineno
        elif error.about:
            fault.line = parse_json(text, str(path)).line_named(error.about)
        raise _unusable(fault) from error


def _unusable(fault: Fault) -> ConfigError:
    return ConfigError(f"{fault.file} is no declared schema", faults=[fault])
