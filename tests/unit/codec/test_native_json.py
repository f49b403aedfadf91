"""Odd JSON, in a field that is kept and in one that is skipped: both paths agree on every form."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from polars.testing import assert_frame_equal

from callsheet.batch import Decoded
from callsheet.codec.binding import JsonDialect
from callsheet.codec.columnar import NativeDecoder, load_native
from callsheet.codec.debezium import DebeziumDecoder
from callsheet.codec.declared import declared_schema
from callsheet.codec.plan import PLAN_VERSION
from tests.support.envelopes import (
    FakeMessage,
    an_envelope,
    compact,
    decimal,
    envelope_schema,
    nullable,
    sourced,
)

pytestmark = pytest.mark.skipif(load_native() is None, reason="callsheet_native is not installed")
COLUMNS = {
    "id": "long",
    "text": nullable("string"),
    "whole": nullable("int"),
    "real": nullable("double"),
    "big": nullable(sourced(decimal(20, 0), "BIGINT UNSIGNED")),
}
TOPIC = "studio.finance.titles"
DECLARED = declared_schema(json.dumps(envelope_schema(COLUMNS) | {"callsheet.key": ["id"]}))
NATIVE = DebeziumDecoder(JsonDialect({TOPIC: DECLARED}), native=load_native())
ROWS = DebeziumDecoder(JsonDialect({TOPIC: DECLARED}), native=None)

STRINGS = [
    '""', '"\\u0000"', '"\\"\\\\\\/\\b\\f\\n\\r\\t"', '"\\u00e9\\ud83d\\ude00"', '"😀 plain"',
    '"\\ud83d"', '"\\ude00\\ud83d"', '"\\ud83dx"', '"\\u12g4"', '"\\x41"', '"\\', '"a\x01b"',
    '"no end', "'single'", '"eight by"', '"seven b\\t"', '"1234567\\u0041 and more than sixteen"',
    '"\x7f"', '"' + "x" * 5000 + '"',
]  # fmt: skip
NUMBERS = [
    "18446744073709551615", "18446744073709551616", '"AP//////////"', '"AQAAAAAAAAAA"', "1E0",
    "0", "-0", "7", "-7", "2147483647", "2147483648", "-2147483648", "9223372036854775808",
    "01", "-", "+1", ".5", "1.", "1.5", "1e3", "1E+3", "1e-400", "1e400", "1e", "0x10", "NaN",
    "Infinity", '"NaN"', '"-Infinity"', '"1"', "1 2", "--1", "123456789012345678901234567890",
    "0.1000000000000000055511151231257827021181583404541015625", "-0.0", "5e-324",
]  # fmt: skip
OTHERS = [
    "null", "nul", "nullx", "true", "false", "True", "[]", "[1,]", "[,1]", "[1 2]", "{}",
    '{"a":1,}', '{"a"}', '{"a":}', "{1:2}", '{"a":1 "b":2}', "[[[[]]]]", "[" * 60 + "]" * 60, "",
    " \t\r\n1 ", "//1", "[1]]", "\ufeff1",
]  # fmt: skip


def poll_of(field: str, text: str) -> list[FakeMessage]:
    envelope = an_envelope(after={"id": 7, "text": "t", "whole": 1, "real": 1.5, "big": 9})
    whole = compact(envelope)
    fields = {
        "text": b'"text":"t"',
        "whole": b'"whole":1',
        "real": b'"real":1.5',
        "big": b'"big":9',
        "query": b'"query":null',
    }
    name = fields[field].split(b":")[0]
    spoiled = whole.replace(fields[field], name + b":" + text.encode())
    assert spoiled != whole or fields[field].endswith(b":" + text.encode())
    return [FakeMessage(value, b'{"id":7}', TOPIC) for value in (whole, spoiled, whole)]


def assert_same(columns: Decoded, rows: Decoded) -> None:
    assert [(p.reason, p.detail) for p in columns.poison] == [
        (p.reason, p.detail) for p in rows.poison
    ]
    for batch, oracle in zip(columns.batches, rows.batches, strict=True):
        assert_frame_equal(batch.frame, oracle.frame, check_exact=True)


@pytest.mark.parametrize("field", ["text", "whole", "real", "big", "query"])
@pytest.mark.parametrize("text", [*STRINGS, *NUMBERS, *OTHERS])
def test_both_paths_agree(field: str, text: str) -> None:
    poll = poll_of(field, text)

    assert_same(NATIVE.decode(poll), ROWS.decode(poll))


@pytest.mark.parametrize(
    "change",
    [
        (b'"op":"c"', b'"o\\u0070":"c"'),
        (b'"op":"c"', b' "op" : "c" '),
        (b'"op":"c"', b'"op":"d","op":"c"'),
        (b'"op":"c"', b'"unheard":{"of":[1,{"x":null}]},"op":"c"'),
        (b'"op":"c"', b'"unheard":"\\ud800","op":"c"'),
        (b'"gtid":', b'"gt\\u0069d":'),
        (b'"id":7,"text":"t"', b'"text":"t","id":7'),
        (b'"id":7,', b'"id":7,"id":8,'),
        (b'"ts_us":1795385766012854', b'"ts_us":1795385766012854.0'),
    ],
)
def test_both_paths_agree_on_keys(change: tuple[bytes, bytes]) -> None:
    whole = compact(an_envelope(after={"id": 7, "text": "t", "whole": 1, "real": 1.5, "big": 9}))
    assert change[0] in whole
    poll = [FakeMessage(whole.replace(*change), b'{"id":7}', TOPIC)] * 2

    assert_same(NATIVE.decode(poll), ROWS.decode(poll))


def test_a_number_beyond_63_bits_stays_in_columns() -> None:
    """Connect's ``decimal.format=NUMERIC`` writes a BIGINT UNSIGNED so."""
    refused: list[tuple[int, str]] = []
    decoder = DebeziumDecoder(JsonDialect({TOPIC: DECLARED}), native=Witness(refused))

    decoded = decoder.decode(poll_of("big", "18446744073709551615"))

    values = decoded.batches[0].frame["after"].struct.field("big").to_list()
    assert (values, refused) == ([9, 18446744073709551615, 9], [])


class Witness:
    """The native module, and what its decoders refused."""

    def __init__(self, refused: list[tuple[int, str]]) -> None:
        self.PLAN_VERSION = PLAN_VERSION
        self.Decoder: Callable[[str], NativeDecoder] = lambda plan: Recording(plan, refused)


class Recording:
    def __init__(self, plan: str, refused: list[tuple[int, str]]) -> None:
        native = load_native()
        assert native is not None
        self._inner, self._refused = native.Decoder(plan), refused

    def decode(self, *columns: Any) -> tuple[Any, list[tuple[int, str]]]:
        found, refused = self._inner.decode(*columns)
        self._refused.extend(refused)
        return found, refused
