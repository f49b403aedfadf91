"""A table's messages in one format, and the decoders that its tests compare."""

from __future__ import annotations

import json
from typing import Any

from callsheet.batch import Decoded
from callsheet.codec.binding import AvroDialect, JsonDialect
from callsheet.codec.columnar import NativeModule
from callsheet.codec.debezium import DebeziumDecoder
from callsheet.codec.declared import declared_schema
from callsheet.codec.topics import DecoderOptions
from callsheet.errors import Reason
from tests.support.envelopes import (
    AvroTable,
    FakeMessage,
    FakeRegistry,
    JsonTable,
    an_envelope,
    envelope_schema,
    nullable,
    sourced,
)

TOPIC = "studio.finance.titles"


OTHER_TOPIC = "copied.finance.titles"


COLUMNS = {
    "title_id": "long",
    "region": "string",
    "name": nullable("string"),
    "is_public": sourced("int", "TINYINT", length="1"),
}


KEY = ("title_id", "region")


def a_title(title_id: int = 1, **changes: Any) -> dict[str, Any]:
    return {"title_id": title_id, "region": "eu", "name": "Alien", "is_public": 1} | changes


class Bench:
    """A table's messages in one format, and decoders for them."""

    def __init__(self, wire: str, native: NativeModule | None) -> None:
        self.wire, self.native = wire, native
        self.registry = FakeRegistry()
        self.table: AvroTable | JsonTable = (
            AvroTable(self.registry, COLUMNS, KEY) if wire == "avro" else JsonTable(KEY)
        )

    def decoder(self, epochs: dict[str, int] | None = None, **options: Any) -> DebeziumDecoder:
        schema = json.dumps(envelope_schema(COLUMNS) | {"callsheet.key": list(KEY)})
        dialect = (
            AvroDialect(self.registry)
            if self.wire == "avro"
            else JsonDialect(dict.fromkeys((TOPIC, OTHER_TOPIC), declared_schema(schema)))
        )
        return DebeziumDecoder(
            dialect, native=self.native, epochs=epochs, options=DecoderOptions(**options)
        )

    def message(self, envelope: Any, **place: int) -> FakeMessage:
        return self.table.message(envelope, **place)

    def titles(self, count: int) -> list[FakeMessage]:
        return [
            self.message(an_envelope(after=a_title(n), pos=1000 + n), offset=n)
            for n in range(count)
        ]


def reasons(decoded: Decoded) -> list[Reason]:
    return [poison.reason for poison in decoded.poison]
