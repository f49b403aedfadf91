"""What real Debezium records are decoded to, as text that a person can read and compare.

``every_mysql_type.{wire}.json`` are records of one table with every MySQL type; the wires are Avro,
JSON as ``finance-mysql-json.json.example`` writes it (no schema in it), and JSON with its schema.
``tests/integration/test_golden_envelopes.py`` records them.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest

from callsheet.batch import Batch
from callsheet.codec.binding import AvroDialect, Dialect, JsonDialect
from callsheet.codec.columnar import NativeModule
from callsheet.codec.debezium import DebeziumDecoder
from callsheet.codec.declared import declared_schema
from callsheet.codec.events import events
from callsheet.codec.topics import DecoderOptions
from callsheet.event import Event
from tests.support.envelopes import FakeRegistry
from tests.support.recorded import Recording, load

HERE: Final = Path(__file__).parents[1] / "golden"
EVERY_TYPE: Final = "every_mysql_type"
WIRES: Final = ("avro", "json", "embedded")


def path_of(wire: str) -> Path:
    return HERE / f"{EVERY_TYPE}.{wire}.json"


def recording(wire: str) -> Recording:
    return load(path_of(wire))


def decoder(dialect: Dialect, native: NativeModule | None) -> DebeziumDecoder:
    return DebeziumDecoder(dialect, native=native, options=DecoderOptions(topic_prefix="fin"))


def dialect_of(wire: str, recorded: Recording) -> Dialect:
    match wire:
        case "avro":
            return AvroDialect(FakeRegistry(dict(recorded.schemas)))
        case "json":
            # As cdc-config/schemas/README.md says: what the Avro converter registered.
            declared = declared_schema(json.dumps(declared_form(_envelope(recording("avro")))))
            return JsonDialect({message.topic(): declared for message in recorded.messages})
        case "embedded":
            return JsonDialect({})
        case _:
            raise AssertionError(f"no such wire: {wire}")


def _envelope(recorded: Recording) -> Any:
    (found,) = (schema for schema in recorded.schemas.values() if schema["name"] == "Envelope")
    return found


def declared_form(envelope: Any) -> Any:
    """The schema under ``decimal.handling.mode=string``: DECIMAL travels as its digits."""
    declared = copy.deepcopy(envelope)
    for node in _nodes(declared):
        parameters = node.get("connect.parameters", {})
        if parameters.get("__debezium.source.column.type") == "DECIMAL":
            kept = {key: each for key, each in parameters.items() if key.startswith("__debezium")}
            node.clear()
            node |= {"type": "string", "connect.parameters": kept}
    return declared


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
    if isinstance(tree, dict | list):
        for inner in tree.values() if isinstance(tree, dict) else tree:
            yield from _nodes(inner)


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


def rows_of(form: dict[str, Any]) -> Any:
    """What of a golden form is the same whenever and on whichever wire it is recorded."""
    kept = ("op", "id", "before", "after")
    return list(form["types"].values()), [
        {name: event[name] for name in kept} for event in form["events"]
    ]


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


Check = Callable[[str, dict[str, Any]], None]


@pytest.fixture
def check(is_to_be_written: bool) -> Check:
    """Compares a golden form with the file of that name, or writes it there."""

    def compare(name: str, found: dict[str, Any]) -> None:
        path = HERE / f"{name}.expected.json"
        if is_to_be_written:
            text = json.dumps(found, indent=1, ensure_ascii=False, sort_keys=True)
            path.write_text(text + "\n", "utf-8")
        assert found == json.loads(path.read_text("utf-8"))

    return compare


@pytest.fixture
def is_to_be_written(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))
