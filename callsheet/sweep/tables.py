"""What it takes to write a delete of one table: its schema, its key, its topic's wire format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from callsheet.codec.avro import parse_schema
from callsheet.codec.avro_schema import SchemaError
from callsheet.codec.binding import AvroDialect, JsonDialect, JsonSignature, Shape
from callsheet.codec.declared import DeclaredSchema
from callsheet.codec.layout import Identity, Layout
from callsheet.codec.schema_registry import RegisteredSchema, Schemas
from callsheet.errors import ParkTableError, PoisonRecordError, PreconditionError
from callsheet.schema import TableSchema
from callsheet.sweep.records import CONNECTOR, AvroWire, JsonWire, Wire


class LatestSchemas(Schemas, Protocol):
    def latest(self, subject: str) -> int | None: ...


@dataclass(frozen=True, slots=True)
class SweptTable:
    topic: str
    schema: TableSchema
    wire: Wire

    @property
    def name(self) -> str:
        return self.schema.qualified_name


def named(topic: str, prefix: str) -> tuple[str, str] | None:
    """Database and table of one of the connector's topics; None for its other ones."""
    parts = topic.removeprefix(f"{prefix}.").split(".")
    if not topic.startswith(f"{prefix}.") or len(parts) != 2 or not all(parts):
        return None
    return parts[0], parts[1]


def avro_table(
    topic: str, identity: tuple[str, str, str], booleans: frozenset[str], schemas: LatestSchemas
) -> SweptTable | None:
    """None where the connector has never written a row of it.

    Raises:
        PreconditionError: its schemas are none that a delete can be written under.
        RetryableError: the registry is away.
    """
    key_id, value_id = schemas.latest(f"{topic}-key"), schemas.latest(f"{topic}-value")
    if key_id is None or value_id is None:
        return None
    layout = _layout(topic, AvroDialect(schemas), (value_id, key_id), booleans)
    key, value = (_parsed(topic, schemas.schema(each)) for each in (key_id, value_id))
    wire = AvroWire(layout.key, (key_id, key), (value_id, value))
    return SweptTable(topic, layout.schema(Identity(CONNECTOR, *identity)), wire)


def json_table(
    topic: str,
    identity: tuple[str, str, str],
    booleans: frozenset[str],
    declared: Mapping[str, DeclaredSchema],
) -> SweptTable:
    """
    Raises:
        PreconditionError: no schema is declared, or it does not say which columns are the key.
    """
    found = declared.get(topic)
    if found is None or found.key is None:
        raise PreconditionError(
            f"{topic}: a delete in JSON needs the table's declared schema, with its key",
            hint=f"declare it in cdc-config/schemas/{topic}.avsc, with callsheet.key",
        )
    signature = JsonSignature(None, found.key)
    layout = _layout(topic, JsonDialect(declared), signature, booleans)
    return SweptTable(topic, layout.schema(Identity(CONNECTOR, *identity)), JsonWire(layout.key))


def _layout(
    topic: str,
    dialect: AvroDialect | JsonDialect,
    signature: tuple[int, int | None] | JsonSignature,
    booleans: frozenset[str],
) -> Layout:
    try:
        shape = dialect.shape(topic, signature)  # type: ignore[arg-type]  # each its own
        if isinstance(shape, Shape):
            return shape.layout(booleans)
    except (SchemaError, ParkTableError, PoisonRecordError) as fault:
        raise _unusable(topic, str(fault)) from fault
    raise _unusable(topic, "it is no change envelope")


def _parsed(topic: str, found: RegisteredSchema) -> object:
    if found.references:
        raise _unusable(topic, "it refers to other schemas")
    return parse_schema(found.text)


def _unusable(topic: str, why: str) -> PreconditionError:
    return PreconditionError(
        f"{topic}: no delete can be written under its schema: {why}",
        hint="is the table parked? `callsheet status`",
    )
