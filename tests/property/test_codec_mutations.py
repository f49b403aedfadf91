"""Bytes gone wrong in every way: never a hang, never a wrong value, always what the oracle says."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from callsheet.batch import Decoded
from callsheet.codec.columnar import load_native
from callsheet.codec.debezium import DebeziumDecoder
from callsheet.errors import FatalError
from tests.property.test_codec_paths import avro_decoder, json_decoder, messages
from tests.support.envelopes import FakeMessage, an_envelope, unscaled
from tests.support.examples import examples

pytestmark = [
    pytest.mark.skipif(load_native() is None, reason="callsheet_native is not installed"),
    pytest.mark.timeout(120),
]
THOROUGH = settings(max_examples=examples(100))
RECORDS = 4


def a_row(number: int) -> dict[str, Any]:
    return {
        "id": number,
        "code": "k😀|",
        "tiny": 1,
        "whole": -number,
        "big": 2**40,
        "unsigned": unscaled(2**64 - 1),
        "unsigned_long": 7,
        "money": unscaled(-123456),
        "exact": unscaled(10**30),
        "wide": unscaled(-(10**50)),
        "price": "12.500",
        "single": 1.5,
        "double": -2.25,
        "bit": True,
        "kind": "b\\,c",
        "day": 20484,
        "clock": 1,
        "clock_us": -3020399000000,
        "clock_ns": 5000,
        "at_ms": 1769903999123,
        "at_us": 1769903999123456,
        "at_ns": 1769903999123456000,
        "moment": "2026-11-22T01:02:03.5Z",
        "year": 2026,
        "document": '{"a": [1, null]}',
        "bits": b"\xaa\x0a",
        "raw": b"\x00\xff",
        "place": {"x": 1.0, "y": 2.0, "wkb": b"\x01\x01", "srid": None},
        "shape": {"wkb": b"\x01", "srid": 4326},
        "vector": [1.0, 2.0],
    }


def sound(wire: str) -> list[FakeMessage]:
    poll = [
        an_envelope("u", before=a_row(n), after=a_row(n), transaction=("t:1", n), pos=1000 + n)
        for n in range(RECORDS)
    ]
    return messages(wire, poll)


SOUND = {wire: sound(wire) for wire in ("avro", "json")}
DECODERS = {
    "avro": (avro_decoder(is_native=True), avro_decoder(is_native=False)),
    "json": (json_decoder(is_native=True), json_decoder(is_native=False)),
}
for _wire, _decoders in DECODERS.items():
    for _decoder in _decoders:
        _decoder.decode(SOUND[_wire])  # which table it is, is learnt from a sound record


# --- mutations ----------------------------------------------------------------------------------

Mutation = Callable[[list[bytes]], list[bytes]]


def _at(values: list[bytes], index: int, value: bytes) -> list[bytes]:
    return [*values[:index], value, *values[index + 1 :]]


@st.composite
def mutations(draw: st.DrawFn) -> Mutation:
    """One change to one or two of the values of a poll."""
    index = draw(st.integers(0, RECORDS - 1))
    other = draw(st.integers(0, RECORDS - 1))
    place, span = draw(st.integers(0, 4000)), draw(st.integers(1, 6))
    extra = draw(st.binary(min_size=1, max_size=6))
    kind = draw(
        st.sampled_from(["flip", "drop", "insert", "cut", "append", "glue", "shift", "swap"])
    )

    def mutate(values: list[bytes]) -> list[bytes]:
        value = values[index]
        at = place % max(1, len(value))
        match kind:
            case "flip":
                return _at(values, index, value[:at] + extra[:1] + value[at + 1 :])
            case "drop":
                return _at(values, index, value[:at] + value[at + span :])
            case "insert":
                return _at(values, index, value[:at] + extra + value[at:])
            case "cut":
                return _at(values, index, value[:at])
            case "append":
                return _at(values, index, value + extra)
            case "glue":
                return _at(values, index, value + values[other])
            case "shift":  # the end of one record becomes the beginning of the next one's body
                moved = _at(values, index, value[:-span])
                return _at(moved, other, moved[other][:5] + value[-span:] + moved[other][5:])
            case _:
                return _at(_at(values, index, values[other]), other, value)

    return mutate


def result(decoder: DebeziumDecoder, poll: list[FakeMessage]) -> Decoded | str:
    try:
        return decoder.decode(poll)
    except FatalError as fault:
        return fault.message


def assert_same(found: Decoded | str, oracle: Decoded | str) -> None:
    if isinstance(found, str) or isinstance(oracle, str):
        assert found == oracle
        return
    assert sorted(map(_poison, found.poison)) == sorted(map(_poison, oracle.poison))
    assert found.truncations == oracle.truncations
    assert found.skipped == oracle.skipped
    assert len(found.batches) == len(oracle.batches)
    for batch, expected in zip(found.batches, oracle.batches, strict=True):
        assert batch.schema == expected.schema
        assert batch.messages == expected.messages
        assert len(batch) == batch.frame.height
        assert_frame_equal(batch.frame, expected.frame, check_exact=True)


def _poison(poison: Any) -> tuple[int, str, str]:
    return (poison.message.offset(), poison.reason.value, poison.detail)


@pytest.mark.parametrize("wire", ["avro", "json"])
@given(several=st.lists(mutations(), min_size=1, max_size=2))
@THOROUGH
def test_mutated_values_are_what_the_oracle_says(wire: str, several: list[Mutation]) -> None:
    values = [message.value() or b"" for message in SOUND[wire]]
    for mutate in several:
        values = mutate(values)
    poll = [
        dataclasses.replace(message, value_=value)
        for message, value in zip(SOUND[wire], values, strict=True)
    ]

    columns, rows = (result(decoder, poll) for decoder in DECODERS[wire])

    assert_same(columns, rows)


@pytest.mark.parametrize("wire", ["avro", "json"])
@given(mutate=mutations())
@THOROUGH
def test_mutated_keys_are_what_the_oracle_says(wire: str, mutate: Mutation) -> None:
    keys = mutate([message.key() or b"" for message in SOUND[wire]])
    poll = [
        dataclasses.replace(message, key_=key)
        for message, key in zip(SOUND[wire], keys, strict=True)
    ]

    columns, rows = (result(decoder, poll) for decoder in DECODERS[wire])

    assert_same(columns, rows)


@pytest.mark.parametrize("wire", ["avro", "json"])
def test_a_value_cut_anywhere_is_malformed(wire: str) -> None:
    whole = SOUND[wire][1].value() or b""
    for end in range(len(whole)):
        poll = [SOUND[wire][0], dataclasses.replace(SOUND[wire][1], value_=whole[:end])]
        decoded = DECODERS[wire][0].decode(poll)
        assert len(decoded.poison) == 1
        assert [len(batch) for batch in decoded.batches] == [1]


def test_a_byte_moved_to_the_neighbour_is_never_a_row() -> None:
    """What a reader without boundaries decodes "OK", with an ID read wrong."""
    values = [message.value() or b"" for message in SOUND["avro"]]
    for span in range(1, 40):
        shifted = values[0][:-span]
        swollen = values[1][:5] + values[0][-span:] + values[1][5:]
        poll = [
            dataclasses.replace(SOUND["avro"][0], value_=shifted),
            dataclasses.replace(SOUND["avro"][1], value_=swollen),
            SOUND["avro"][2],
        ]
        decoded = DECODERS["avro"][0].decode(poll)
        assert {poison.message.offset() for poison in decoded.poison} == {0, 1}
        assert [batch.frame["offset"].to_list() for batch in decoded.batches] == [[2]]
