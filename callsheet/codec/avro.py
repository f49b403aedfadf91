"""The careful reading of one Avro value: fastavro, and proof that nothing was misread."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final

import fastavro

from callsheet.codec.avro_schema import SchemaError
from callsheet.errors import PoisonRecordError, Reason

MAGIC: Final = b"\x00"
FRAME_BYTES: Final = 5
_MISREAD: Final = (
    EOFError, IndexError, KeyError, MemoryError, OverflowError, TypeError, ValueError, struct.error,
)  # fmt: skip
"""What fastavro raises on bytes that are not of the schema (UnicodeDecodeError is a ValueError)."""


def malformed(detail: str) -> PoisonRecordError:
    return PoisonRecordError(Reason.MALFORMED, detail)


def schema_id(value: bytes) -> int:
    """The registry id in a value's frame: a zero byte, then four bytes of id.

    Raises:
        PoisonRecordError: MALFORMED or SCHEMALESS, there is no such frame.
    """
    if len(value) < FRAME_BYTES or value[:1] != MAGIC:
        if value[:1] in {b"{", b"["}:
            raise PoisonRecordError(
                Reason.SCHEMALESS, "JSON without schema on a topic that is read as Avro"
            )
        raise malformed("no Avro frame: a zero byte and a schema id are missing")
    return int.from_bytes(value[1:FRAME_BYTES], "big")


class AvroReader:
    """Reads values of one writer's schema, each only if it is that schema's canonical encoding.

    fastavro alone is lenient: spare bytes, a negative union index, overlong integers pass. So what
    it read is written again and must give the same bytes. Logical types are off.
    """

    def __init__(self, schema: Any, references: Sequence[Any] = ()) -> None:
        """Parses the schema.

        Raises:
            SchemaError: not a valid Avro schema.
        """
        names: dict[str, Any] = {}
        try:
            for reference in references:
                fastavro.parse_schema(without_logical_types(reference), named_schemas=names)
            self._schema = fastavro.parse_schema(without_logical_types(schema), named_schemas=names)
        except (fastavro.schema.SchemaParseException, *_MISREAD) as fault:
            raise SchemaError(str(fault)) from fault

    def read(self, value: bytes) -> Any:
        """The value behind the frame.

        Raises:
            PoisonRecordError: MALFORMED.
        """
        body = memoryview(value)[FRAME_BYTES:]
        source = io.BytesIO(body)
        try:
            datum = fastavro.schemaless_reader(source, self._schema, None)
            again = io.BytesIO()
            fastavro.schemaless_writer(again, self._schema, datum)
        except _MISREAD as fault:
            raise malformed(f"not of its schema: {type(fault).__name__}") from fault
        if source.tell() != len(body):
            raise malformed(f"{len(body) - source.tell()} spare bytes after the record")
        if again.getbuffer() != body:
            raise malformed("not the encoding of what it seems to say")
        return datum


def framed(identifier: int, body: bytes) -> bytes:
    """A value as the registry's serializers write it: see :func:`schema_id`."""
    return MAGIC + identifier.to_bytes(FRAME_BYTES - 1, "big") + body


def without_logical_types(node: Any) -> Any:
    """The schema such that values are read and written as they are on the wire."""
    if isinstance(node, Mapping):
        return {k: without_logical_types(v) for k, v in node.items() if k != "logicalType"}
    if isinstance(node, list):
        return [without_logical_types(item) for item in node]
    return node


def parse_schema(text: str) -> Any:
    """The schema's JSON.

    Raises:
        SchemaError: not JSON.
    """
    try:
        return json.loads(text)
    except ValueError as fault:
        raise SchemaError(f"not JSON: {fault}") from fault
