"""Builders of Debezium records: schemas, envelopes, framed Avro, JSON, fake Kafka messages."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import fastavro
import pytest

from callsheet.codec.columnar import load_native
from callsheet.codec.schema_registry import RegisteredSchema
from callsheet.errors import PoisonRecordError, Reason, RetryableError

ENVELOPE_TIME_MS = 1795385766047

NATIVES = [
    pytest.param(None, id="rows"),
    pytest.param(
        load_native(),
        id="columns",
        marks=pytest.mark.skipif(load_native() is None, reason="callsheet_native is not installed"),
    ),
]
"""Both paths of a decoder, as its ``native`` argument."""


@dataclass(frozen=True, slots=True)
class FakeMessage:
    """A Kafka record: the same methods as the client's own."""

    value_: bytes | None
    key_: bytes | None = None
    topic_: str = "studio.finance.titles"
    partition_: int = 0
    offset_: int = 0
    headers_: Sequence[tuple[str, bytes | None]] | None = None

    def topic(self) -> str:
        return self.topic_

    def partition(self) -> int:
        return self.partition_

    def offset(self) -> int:
        return self.offset_

    def key(self) -> bytes | None:
        return self.key_

    def value(self) -> bytes | None:
        return self.value_

    def headers(self) -> Sequence[tuple[str, bytes | None]] | None:
        return self.headers_

    def timestamp(self) -> tuple[int, int]:
        return (1, ENVELOPE_TIME_MS)


@dataclass(slots=True)
class FakeRegistry:
    """Schemas by id, and how often each was asked for."""

    known: dict[int, Any] = field(default_factory=dict)
    asked: list[int] = field(default_factory=list)
    is_away: bool = False

    def schema(self, identifier: int) -> RegisteredSchema:
        if self.is_away:
            raise RetryableError("the registry is away")
        self.asked.append(identifier)
        if identifier not in self.known:
            raise PoisonRecordError(Reason.UNKNOWN_SCHEMA, f"schema id {identifier}")
        return RegisteredSchema(identifier, "AVRO", json.dumps(self.known[identifier]))

    def lookups(self) -> AbstractContextManager[None]:
        return nullcontext()


# --- types of columns ---------------------------------------------------------------------------


def semantic(wire: str, name: str, **parameters: str) -> dict[str, Any]:
    """A type with Connect's name on it, as Debezium registers it."""
    node: dict[str, Any] = {"type": wire, "connect.version": 1, "connect.name": name}
    return node | ({"connect.parameters": parameters} if parameters else {})


def decimal(precision: int, scale: int) -> dict[str, Any]:
    """DECIMAL with decimal.handling.mode=precise."""
    return {
        "type": "bytes",
        "scale": scale,
        "precision": precision,
        "connect.version": 1,
        "connect.parameters": {"scale": str(scale), "connect.decimal.precision": str(precision)},
        "connect.name": "org.apache.kafka.connect.data.Decimal",
        "logicalType": "decimal",
    }


def sourced(wire: str | Mapping[str, Any], source_type: str, **more: str) -> dict[str, Any]:
    """A type that carries its MySQL type (column.propagate.source.type)."""
    node: dict[str, Any] = {"type": wire} if isinstance(wire, str) else dict(wire)
    extra = {f"__debezium.source.column.{name}": value for name, value in more.items()}
    node["connect.parameters"] = {
        **node.get("connect.parameters", {}),
        "__debezium.source.column.type": source_type,
        **extra,
    }
    return node


def nullable(node: Any) -> list[Any]:
    return ["null", node]


def unscaled(value: int) -> bytes:
    """As Java's BigInteger writes it."""
    return value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)


# --- schemas ------------------------------------------------------------------------------------

Columns = Mapping[str, Any]
_SNAPSHOT = {
    "type": "string",
    "connect.version": 1,
    "connect.parameters": {
        "allowed": "true,first,first_in_data_collection,last_in_data_collection,last,false,"
        "incremental"
    },
    "connect.default": "false",
    "connect.name": "io.debezium.data.Enum",
}
_SOURCE_FIELDS: Mapping[str, Any] = {
    "version": "string",
    "connector": "string",
    "name": "string",
    "ts_ms": "long",
    "snapshot": [_SNAPSHOT, "null"],
    "db": "string",
    "sequence": ["null", "string"],
    "ts_us": ["null", "long"],
    "ts_ns": ["null", "long"],
    "table": ["null", "string"],
    "server_id": "long",
    "gtid": ["null", "string"],
    "file": "string",
    "pos": "long",
    "row": "int",
    "thread": ["null", "long"],
    "query": ["null", "string"],
}
_BLOCK_FIELDS: Mapping[str, Any] = {
    "id": "string",
    "total_order": "long",
    "data_collection_order": "long",
}


def record(name: str, fields: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    listed = [{"name": column, "type": node} for column, node in fields.items()]
    return {"type": "record", "name": name, **more, "fields": listed}


def envelope_schema(columns: Columns, namespace: str = "studio.finance.titles") -> dict[str, Any]:
    """The Avro schema that Debezium registers for a table's values."""
    source = record("Source", _SOURCE_FIELDS, namespace="io.debezium.connector.mysql")
    return record(
        "Envelope",
        {
            "before": ["null", record("Value", columns)],
            "after": ["null", "Value"],
            "source": source,
            "transaction": ["null", record("block", _BLOCK_FIELDS, namespace="event")],
            "op": "string",
            "ts_ms": ["null", "long"],
            "ts_us": ["null", "long"],
            "ts_ns": ["null", "long"],
        },
        namespace=namespace,
    )


def key_schema(columns: Columns, key: Sequence[str]) -> dict[str, Any]:
    return record("Key", {name: columns[name] for name in key}, namespace="studio.finance.titles")


# --- envelopes ----------------------------------------------------------------------------------

Row = Mapping[str, Any]


def a_source(**changes: Any) -> dict[str, Any]:
    return {
        "version": "3.6.1.Final",
        "connector": "mysql",
        "name": "studio",
        "ts_ms": 1795385766012,
        "snapshot": "false",
        "db": "finance",
        "sequence": None,
        "ts_us": 1795385766012854,
        "ts_ns": 1795385766012854000,
        "table": "titles",
        "server_id": 4242,
        "gtid": "3adf3bc6-e6c2-11f1-ae3c-02fc00000001:13",
        "file": "binlog.000001",
        "pos": 4901,
        "row": 0,
        "thread": 9,
        "query": None,
    } | changes


def an_envelope(
    op: str = "c",
    *,
    before: Row | None = None,
    after: Row | None = None,
    transaction: tuple[str, int] | None = None,
    **source: Any,
) -> dict[str, Any]:
    """A raw envelope; ``source`` changes single fields of its source block."""
    block = None
    if transaction is not None:
        block = {"id": transaction[0], "total_order": transaction[1], "data_collection_order": 1}
    return {
        "before": before,
        "after": after,
        "source": a_source(**source),
        "transaction": block,
        "op": op,
        "ts_ms": ENVELOPE_TIME_MS,
        "ts_us": ENVELOPE_TIME_MS * 1000,
        "ts_ns": ENVELOPE_TIME_MS * 1000000,
    }


def framed(schema_id: int, parsed: Any, datum: Any) -> bytes:
    body = io.BytesIO()
    fastavro.schemaless_writer(body, parsed, datum)
    return b"\x00" + schema_id.to_bytes(4, "big") + body.getvalue()


class AvroTable:
    """One table's Avro messages, under schemas registered in a fake registry."""

    def __init__(
        self,
        registry: FakeRegistry,
        columns: Columns,
        key: Sequence[str],
        *,
        topic: str = "studio.finance.titles",
        value_id: int = 2,
        key_id: int = 1,
    ) -> None:
        self.topic, self.key_columns = topic, tuple(key)
        self.value_id, self.key_id = value_id, key_id
        registry.known[value_id] = envelope_schema(columns)
        registry.known[key_id] = key_schema(columns, key)
        self._value = fastavro.parse_schema(_plain(registry.known[value_id]))
        self._key = fastavro.parse_schema(_plain(registry.known[key_id]))

    def value(self, envelope: Mapping[str, Any]) -> bytes:
        return framed(self.value_id, self._value, envelope)

    def key(self, row: Row) -> bytes:
        return framed(self.key_id, self._key, {name: row[name] for name in self.key_columns})

    def message(
        self, envelope: Mapping[str, Any], *, partition: int = 0, offset: int = 0
    ) -> FakeMessage:
        row = envelope["after"] or envelope["before"]
        key = None if row is None else self.key(row)
        return FakeMessage(self.value(envelope), key, self.topic, partition, offset)


class JsonTable:
    """One table's schemaless JSON messages."""

    def __init__(self, key: Sequence[str], *, topic: str = "studio.finance.titles") -> None:
        self.topic, self.key_columns = topic, tuple(key)

    def message(
        self, envelope: Mapping[str, Any], *, partition: int = 0, offset: int = 0
    ) -> FakeMessage:
        row = envelope["after"] or envelope["before"]
        key = None if row is None else compact({name: row[name] for name in self.key_columns})
        return FakeMessage(compact(envelope), key, self.topic, partition, offset)


def compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _plain(node: Any) -> Any:
    """Without logical types: the builders give raw wire values."""
    if isinstance(node, dict):
        return {key: _plain(value) for key, value in node.items() if key != "logicalType"}
    return [_plain(item) for item in node] if isinstance(node, list) else node
