"""Records as the connector's converter wrote them, whatever they are about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from callsheet.batch import Message
from callsheet.codec import avro
from callsheet.codec.avro_schema import SchemaError
from callsheet.codec.json import JsonReader
from callsheet.codec.schema_registry import Schemas
from callsheet.errors import PoisonRecordError

Read = Callable[[bytes], Any]


def avro_values(schemas: Schemas) -> Read:
    """Raises (the function): PoisonRecordError, SchemaError, RetryableError."""
    readers: dict[int, avro.AvroReader] = {}

    def read(value: bytes) -> Any:
        identifier = avro.schema_id(value)
        reader = readers.get(identifier)
        if reader is None:
            found = schemas.schema(identifier)
            references = [avro.parse_schema(text) for text in found.references]
            reader = avro.AvroReader(avro.parse_schema(found.text), references)
            readers[identifier] = reader
        return reader.read(value)

    return read


def json_values() -> Read:
    """Raises (the function): PoisonRecordError."""
    reader = JsonReader()
    return lambda value: reader.read(reader.unwrap(value)[1])


def record_of(message: Message, read: Read) -> Mapping[str, Any] | None:
    """None for a tombstone, and for what is none of the connector's records."""
    value = message.value()
    if value is None:
        return None
    try:
        found = read(value)
    except (PoisonRecordError, SchemaError):
        return None
    return found if isinstance(found, Mapping) else None
