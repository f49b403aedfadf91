"""A table's deletes as Debezium would have written them: key, envelope, tombstone."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import fastavro
import msgspec

from callsheet.codec import avro
from callsheet.codec.fields import Field
from callsheet.errors import PreconditionError
from callsheet.event import SWEEP, Op
from callsheet.ports import OutgoingRecord
from callsheet.schema import TableSchema
from callsheet.sweep.keys import avro_key, json_key
from callsheet.sweep.watermark import Watermark

HEADER: Final = SWEEP
"""Of each record that a sweep writes: its cause and its watermark's place."""
CONNECTOR: Final = "mysql"


class Wire(Protocol):
    """How the topic's records are written."""

    def key(self, identifier: str) -> bytes:
        """Raises UnkeyedError."""
        ...

    def value(self, envelope: Mapping[str, Any]) -> bytes: ...


class AvroWire:
    """Framed Avro under the schemas that the connector registered last.

    Args:
        key, value: the registry's id of each, and its schema as parsed JSON.
    """

    def __init__(
        self, fields: Sequence[Field], key: tuple[int, Any], value: tuple[int, Any]
    ) -> None:
        self._fields = fields
        (self._key_id, key_schema), (self._value_id, value_schema) = key, value
        self._key = fastavro.parse_schema(avro.without_logical_types(key_schema))
        self._value = fastavro.parse_schema(avro.without_logical_types(value_schema))

    def key(self, identifier: str) -> bytes:
        return _framed(self._key_id, self._key, avro_key(self._fields, identifier))

    def value(self, envelope: Mapping[str, Any]) -> bytes:
        try:
            return _framed(self._value_id, self._value, envelope)
        except (ValueError, TypeError, KeyError) as error:
            raise PreconditionError(
                f"schema id {self._value_id} asks for a field that is not known: {error}",
                hint="is the connector of a Debezium version that Callsheet supports?",
            ) from error


def _framed(identifier: int, schema: Any, datum: Mapping[str, Any]) -> bytes:
    body = io.BytesIO()
    fastavro.schemaless_writer(body, schema, datum)
    return avro.framed(identifier, body.getvalue())


class JsonWire:
    """JSON without schemas."""

    def __init__(self, fields: Sequence[Field]) -> None:
        self._fields = fields

    def key(self, identifier: str) -> bytes:
        return json_key(self._fields, identifier)

    def value(self, envelope: Mapping[str, Any]) -> bytes:
        return msgspec.json.encode(envelope)


@dataclass(frozen=True, slots=True)
class Deletes:
    """Makes one table's records.

    The position is the byte before the watermark: above every version that is older, and below
    each row that the snapshot read or that came later. So a delete too many changes nothing.
    """

    topic: str
    schema: TableSchema
    watermark: Watermark
    wire: Wire
    now_us: Callable[[], int]

    def version(self, epoch: int) -> int:
        return self.watermark.version(epoch) - 1

    @property
    def origin(self) -> str:
        """As the transaction's id in every store that keeps it."""
        return f"{HEADER}:{self.watermark.cause}:{self.watermark.place}"

    def records(self, identifiers: Sequence[str], first: int = 1) -> Iterator[OutgoingRecord]:
        """A delete and its tombstone for each; ``first``: their number within the sweep.

        Raises:
            UnkeyedError: not an ID of this table.
        """
        mark = f"{self.watermark.cause} {self.watermark.place}".encode()
        headers: list[tuple[str, bytes | None]] = [(HEADER, mark)]
        for number, identifier in enumerate(identifiers, first):
            key = self.wire.key(identifier)
            yield key, self.wire.value(self._envelope(identifier, number)), headers
            yield key, None, headers

    def _envelope(self, identifier: str, number: int) -> dict[str, Any]:
        micros = self.now_us()
        times = {"ts_ms": micros // 1000, "ts_us": micros, "ts_ns": micros * 1000}
        return {
            "before": None,
            "after": None,
            "source": self._source(identifier) | times,
            "transaction": {
                "id": self.origin, "total_order": number, "data_collection_order": number,
            },
            "op": Op.DELETE.value,
            **times,
        }  # fmt: skip

    def _source(self, identifier: str) -> dict[str, Any]:
        place = self.watermark.place
        return {
            "version": HEADER,
            "connector": CONNECTOR,
            "name": self.schema.source,
            "snapshot": "false",
            "db": self.schema.database,
            "sequence": None,
            "table": self.schema.table,
            "server_id": 0,
            # The identity of a streamed change has no ID in it; so many deletes at one place need
            # it here. The same one again has the same UUID.
            "gtid": f"{self.origin}:{self.topic}:{identifier}",
            "file": place.file,
            "pos": place.pos + place.row - 1,
            "row": 0,
            "thread": None,
            "query": None,
        }


@dataclass(frozen=True, slots=True)
class Draft:
    """A record before it is sent, as the decoders read one."""

    topic_: str
    record: OutgoingRecord
    number: int

    def topic(self) -> str:
        return self.topic_

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self.number

    def key(self) -> bytes | None:
        return self.record[0]

    def value(self) -> bytes | None:
        return self.record[1]

    def headers(self) -> Sequence[tuple[str, bytes | None]]:
        return self.record[2]

    def timestamp(self) -> tuple[int, int]:
        return (0, 0)
