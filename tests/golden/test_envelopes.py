"""Envelopes that a real Debezium wrote, snapshot and stream, and the events they are.

``every_mysql_type.avro.json``: a table with every MySQL type, with its registered schema.
``ledger/``: schemaless JSON, with what is declared for it in ``ledger/*.avsc``.
``pytest tests/golden --update-golden`` writes what comes out as what is expected.
"""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from polars.testing import assert_frame_equal

from callsheet.batch import Batch, Skip
from callsheet.codec.binding import AvroDialect, Dialect, JsonDialect
from callsheet.codec.columnar import NativeModule
from callsheet.codec.debezium import DebeziumDecoder
from callsheet.codec.declared import load_declared
from callsheet.codec.events import events
from callsheet.codec.topics import DecoderOptions
from callsheet.event import Event
from tests.support.envelopes import NATIVES, FakeMessage, FakeRegistry, compact

HERE = Path(__file__).parent
TYPES = json.loads((HERE / "every_mysql_type.avro.json").read_text("utf-8"))
TYPES_KEY = {
    "type": "record",
    "name": "Key",
    "fields": [{"name": "a", "type": "int"}, {"name": "b", "type": "string"}],
}


def avro_messages() -> list[FakeMessage]:
    return [
        FakeMessage(
            base64.b64decode(raw["value"]),
            base64.b64decode(raw["key"]),
            "ty1795389133.ty.t",
            raw["partition"],
            raw["offset"],
        )
        for raw in TYPES["records"]
    ]


def json_messages(*names: str) -> list[FakeMessage]:
    return [
        _json_message(json.loads((HERE / f"ledger/{n}.json").read_text("utf-8"))) for n in names
    ]


def _json_message(raw: dict[str, Any]) -> FakeMessage:
    value = None if raw["value"] is None else compact(raw["value"])
    return FakeMessage(value, compact(raw["key"]), raw["topic"], raw["partition"], raw["offset"])


def avro() -> Dialect:
    return AvroDialect(FakeRegistry({1: TYPES_KEY, 2: TYPES["schemas"]["2"]}))


def schemaless() -> Dialect:
    return JsonDialect(load_declared(HERE / "ledger"))


def decoder(dialect: Dialect, native: NativeModule | None) -> DebeziumDecoder:
    return DebeziumDecoder(dialect, native=native, options=DecoderOptions(topic_prefix="fin"))


# --- as text ------------------------------------------------------------------------------------


def shown(value: Any) -> Any:
    """A value as JSON shows it, its type beside it where JSON has none for it."""
    match value:
        case Decimal() | datetime() | date():
            return {type(value).__name__: str(value)}
        case bytes():
            return {"bytes": value.hex()}
        case dict():
            return {name: shown(inner) for name, inner in value.items()}
        case list():
            return [shown(inner) for inner in value]
        case None | bool() | int() | float() | str():
            return value
        case _:
            raise AssertionError(f"no golden form of {type(value).__name__}")


def golden_form(batches: Sequence[Batch]) -> dict[str, Any]:
    return {
        "types": {batch.topic: _types(batch) for batch in batches},
        "events": [_event(event) for batch in batches for event in events(batch)],
    }


def _types(batch: Batch) -> dict[str, str]:
    row = dict(batch.frame.schema["after"])  # type: ignore[call-overload]
    return {
        column.name: f"{column.kind.value}: {row[column.name]}" for column in batch.schema.columns
    }


def _event(event: Event) -> dict[str, Any]:
    plain = {field.name: getattr(event, field.name) for field in dataclasses.fields(event)}
    plain |= {
        "uuid": str(event.uuid),
        "op": event.op.value,
        "position": dataclasses.asdict(event.position),
        "origin": dataclasses.asdict(event.origin),
    }
    return {name: shown(value) for name, value in plain.items()}


def check(name: str, found: dict[str, Any], request: pytest.FixtureRequest) -> None:
    path = HERE / f"{name}.expected.json"
    if request.config.getoption("--update-golden"):
        text = json.dumps(found, indent=1, ensure_ascii=False, sort_keys=True)
        path.write_text(text + "\n", "utf-8")
    assert found == json.loads(path.read_text("utf-8"))


# --- tests --------------------------------------------------------------------------------------


@pytest.mark.parametrize("native", NATIVES)
def test_every_mysql_type(native: NativeModule | None, request: pytest.FixtureRequest) -> None:
    decoded = decoder(avro(), native).decode(avro_messages())

    assert not decoded.poison
    check("every_mysql_type", golden_form(decoded.batches), request)


@pytest.mark.parametrize("native", NATIVES)
def test_schemaless_json(native: NativeModule | None, request: pytest.FixtureRequest) -> None:
    messages = json_messages("r", "c", "u", "d", "tombstone", "transaction")

    decoded = decoder(schemaless(), native).decode(messages)

    assert not decoded.poison
    assert decoded.skipped == {Skip.TOMBSTONE: 1, Skip.TRANSACTION: 1}
    check("ledger", golden_form(decoded.batches), request)


@pytest.mark.parametrize("native", NATIVES)
@pytest.mark.parametrize("index", range(5))
def test_one_by_one_as_all_at_once(native: NativeModule | None, index: int) -> None:
    message = avro_messages()[index]
    alone = decoder(avro(), native).decode([message]).batches[0]
    together = decoder(avro(), None).decode(avro_messages()).batches[0]

    assert_frame_equal(alone.frame, together.frame[index], check_exact=True)
    assert decoder(avro(), native).decode_event(message) == next(events(alone))


def test_snapshot_and_stream_agree() -> None:
    """The same row, from the snapshot and as an update's before: no 8-hour shifts, and the ENUM
    member ``y,z`` is itself although Debezium escapes its comma in one of the two.
    """
    [batch] = decoder(avro(), None).decode(avro_messages()).batches
    snapshot, _, _, update, _ = events(batch)
    from_snapshot, from_stream = dict(snapshot.after or {}), dict(update.before or {})
    # MySQL's own text of a JSON value has spaces, that of the binlog none: the same value.
    texts = from_snapshot.pop("j"), from_stream.pop("j")

    assert from_snapshot == from_stream
    assert json.loads(texts[0]) == json.loads(texts[1])
