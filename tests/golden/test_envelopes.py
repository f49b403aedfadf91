"""Envelopes that a real Debezium wrote, snapshot and stream, and the events they are.

``every_mysql_type.*.json``: a table with every MySQL type, as Avro and as JSON.
``ledger/``: schemaless JSON, with what is declared for it in ``ledger/*.avsc``.
``pytest tests/golden --update-golden`` writes what comes out as what is expected.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from polars.testing import assert_frame_equal

from callsheet.batch import Skip
from callsheet.codec.binding import Dialect, JsonDialect
from callsheet.codec.columnar import NativeModule
from callsheet.codec.declared import load_declared
from callsheet.codec.events import events
from tests.support.envelopes import NATIVES, FakeMessage, compact
from tests.support.golden import (
    EVERY_TYPE,
    HERE,
    WIRES,
    Check,
    check,
    decoder,
    dialect_of,
    golden_form,
    is_to_be_written,
    recording,
    rows_of,
)

__all__ = ["check", "is_to_be_written"]
RECORDINGS = {wire: recording(wire) for wire in WIRES}


def ledger_messages(*names: str) -> list[FakeMessage]:
    return [
        _ledger_message(json.loads((HERE / f"ledger/{n}.json").read_text("utf-8"))) for n in names
    ]


def _ledger_message(raw: dict[str, Any]) -> FakeMessage:
    value = None if raw["value"] is None else compact(raw["value"])
    return FakeMessage(value, compact(raw["key"]), raw["topic"], raw["partition"], raw["offset"])


def the_dialect(wire: str) -> Dialect:
    return dialect_of(wire, RECORDINGS[wire])


@pytest.mark.parametrize("native", NATIVES)
@pytest.mark.parametrize("wire", WIRES)
def test_every_mysql_type(wire: str, native: NativeModule | None, check: Check) -> None:
    decoded = decoder(the_dialect(wire), native).decode(RECORDINGS[wire].messages)

    assert not decoded.poison
    assert decoded.skipped == {Skip.TOMBSTONE: 1}
    check(f"{EVERY_TYPE}.{wire}", golden_form(decoded.batches))


@pytest.mark.parametrize("native", NATIVES)
def test_schemaless_json(native: NativeModule | None, check: Check) -> None:
    messages = ledger_messages("r", "c", "u", "d", "tombstone", "transaction")

    decoded = decoder(JsonDialect(load_declared(HERE / "ledger")), native).decode(messages)

    assert not decoded.poison
    assert decoded.skipped == {Skip.TOMBSTONE: 1, Skip.TRANSACTION: 1}
    check("ledger", golden_form(decoded.batches))


@pytest.mark.parametrize("native", NATIVES)
@pytest.mark.parametrize("wire", WIRES)
def test_one_by_one_as_all_at_once(wire: str, native: NativeModule | None) -> None:
    messages = [message for message in RECORDINGS[wire].messages if message.value() is not None]
    [together] = decoder(the_dialect(wire), None).decode(messages).batches

    for index, message in enumerate(messages):
        [alone] = decoder(the_dialect(wire), native).decode([message]).batches
        assert_frame_equal(alone.frame, together.frame[index], check_exact=True)
        assert decoder(the_dialect(wire), native).decode_event(message) == next(events(alone))


@pytest.mark.parametrize("wire", WIRES)
def test_snapshot_and_stream_agree(wire: str) -> None:
    """The same row, from the snapshot, as an insert and as an update's before: no shifts by a
    zone, and the ENUM member ``a,b`` is itself although Debezium escapes its comma in one of them.
    """
    [batch] = decoder(the_dialect(wire), None).decode(RECORDINGS[wire].messages).batches
    by_op = {event.op.value: event for event in events(batch) if event.id.startswith("-")}
    images = [
        dict(by_op["r"].after or {}),
        dict(by_op["c"].after or {}) | {"id": -7},
        dict(by_op["u"].before or {}),
    ]
    # MySQL's own text of a JSON value has spaces, that of the binlog none: the same value.
    facts = [json.loads(image.pop("facts")) for image in images]

    assert images[0]["kind"] == "a,b"
    assert images[0] == images[1] == images[2]
    assert facts[0] == facts[1] == facts[2]


@pytest.mark.parametrize("wire", ["json", "embedded"])
def test_json_is_what_avro_is(wire: str) -> None:
    """Types and values alike: a pipeline may change its wire and its stores need not."""
    forms = [
        golden_form(decoder(the_dialect(each), None).decode(RECORDINGS[each].messages).batches)
        for each in ("avro", wire)
    ]

    assert rows_of(forms[0]) == rows_of(forms[1])
