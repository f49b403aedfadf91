"""Edges of every kind: what is exact passes, what is not is refused, never bent."""

from __future__ import annotations

import base64
import math
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest

from callsheet.codec.avro_schema import resolve
from callsheet.codec.fields import field_of
from callsheet.codec.values import exact_decimal, from_avro, from_json
from callsheet.errors import PoisonRecordError, Reason
from tests.support.envelopes import decimal, record, semantic, sourced, unscaled

at = datetime.fromisoformat
TIME = "io.debezium.time."
UNSIGNED = sourced(decimal(20, 0), "BIGINT UNSIGNED")
MONEY_TEXT = sourced("string", "DECIMAL", length="7", scale="2")
WIDE = decimal(65, 30)
GEOMETRY = record("Point", {"x": "double", "y": "double", "wkb": "bytes", "srid": ["null", "int"]})
POINT = GEOMETRY | {"connect.name": "io.debezium.data.geometry.Point"}
VECTOR = {"type": "array", "items": "float", "connect.name": "io.debezium.data.FloatVector"}


def avro(node: Any, raw: Any, *, is_boolean: bool = False) -> Any:
    return from_avro(field_of("c", resolve(node), is_boolean=is_boolean))(raw)


def json(node: Any, raw: Any) -> Any:
    return from_json(field_of("c", resolve(node)))(raw)


@pytest.mark.parametrize(
    ("node", "raw", "value"),
    [
        ("long", -(2**63), -(2**63)),
        ("long", 2**63 - 1, 2**63 - 1),
        (UNSIGNED, unscaled(2**64 - 1), 2**64 - 1),
        (UNSIGNED, b"\x00", 0),
        (sourced("long", "BIGINT UNSIGNED"), 2**63 - 1, 2**63 - 1),
        (decimal(15, 2), unscaled(-1), Decimal("-0.01")),
        (decimal(15, 2), unscaled(0), Decimal("0.00")),
        (decimal(38, 0), unscaled(10**38 - 1), Decimal(10**38 - 1)),
        (decimal(38, 38), unscaled(1 - 10**38), Decimal("-0." + "9" * 38)),
        (WIDE, unscaled(-1), "-0." + "0" * 29 + "1"),
        (WIDE, unscaled(10**65 - 1), "9" * 35 + "." + "9" * 30),
        (MONEY_TEXT, "-12345.67", Decimal("-12345.67")),
        (MONEY_TEXT, "5", Decimal("5.00")),
        (MONEY_TEXT, "-0.00", Decimal("0.00")),
        (semantic("int", TIME + "Date"), -719162, date(1, 1, 1)),
        (semantic("int", TIME + "Date"), 2932896, date(9999, 12, 31)),
        (semantic("int", TIME + "Time"), -1, -1000),
        (semantic("long", TIME + "MicroTime"), -3020399000000, -3020399000000),
        (semantic("long", TIME + "NanoTime"), 1_000, 1),
        (semantic("long", TIME + "Timestamp"), -1, at("1969-12-31T23:59:59.999")),
        (
            semantic("long", TIME + "MicroTimestamp"),
            253402300799999999,
            at("9999-12-31T23:59:59.999999"),
        ),
        (
            semantic("long", TIME + "NanoTimestamp"),
            -1000,
            at("1969-12-31T23:59:59.999999"),
        ),
        (semantic("string", TIME + "ZonedTimestamp"), "2026-11-22T01:02:03.456Z", None),
        ("string", "", ""),
        ("string", "a\x00b 😀", "a\x00b 😀"),
        ("bytes", b"\x00\xff", b"\x00\xff"),
        ("float", 1.5, 1.5),
        (VECTOR, [1.0, -0.5], [1.0, -0.5]),
        (POINT, {"x": 1.0, "y": 2.0, "wkb": b"\x01", "srid": 4326}, {"wkb": b"\x01", "srid": 4326}),
    ],
)
def test_an_exact_value_passes(node: Any, raw: Any, value: Any) -> None:
    result = avro(node, raw)

    assert result == (raw if value is None else value)
    assert str(result) == str(raw if value is None else value)  # 5.00 is not 5


@pytest.mark.parametrize(
    ("node", "raw", "reason"),
    [
        ("int", 2**31, Reason.SCHEMA_MISMATCH),
        ("int", True, Reason.SCHEMA_MISMATCH),
        ("long", "1", Reason.SCHEMA_MISMATCH),
        (UNSIGNED, unscaled(-1), Reason.UNREPRESENTABLE),
        (UNSIGNED, unscaled(2**64), Reason.UNREPRESENTABLE),
        (sourced("long", "BIGINT UNSIGNED"), -1, Reason.UNREPRESENTABLE),
        (decimal(15, 2), b"", Reason.SCHEMA_MISMATCH),
        (decimal(3, 2), unscaled(1000), Reason.UNREPRESENTABLE),
        (MONEY_TEXT, "1e3", Reason.SCHEMA_MISMATCH),
        (MONEY_TEXT, "1.234", Reason.SCHEMA_MISMATCH),
        (MONEY_TEXT, "+1", Reason.SCHEMA_MISMATCH),
        (MONEY_TEXT, "1.", Reason.SCHEMA_MISMATCH),
        (MONEY_TEXT, "\u0661", Reason.SCHEMA_MISMATCH),
        (MONEY_TEXT, "123456.00", Reason.UNREPRESENTABLE),
        (semantic("int", TIME + "Date"), -719163, Reason.UNREPRESENTABLE),
        (semantic("int", TIME + "Date"), 2932897, Reason.UNREPRESENTABLE),
        (semantic("long", TIME + "NanoTime"), 1, Reason.UNREPRESENTABLE),
        (semantic("long", TIME + "Timestamp"), 2**62, Reason.UNREPRESENTABLE),
        (semantic("long", TIME + "MicroTimestamp"), 2**62, Reason.UNREPRESENTABLE),
        (semantic("string", TIME + "ZonedTimestamp"), "2026-11-22T01:02:03+02:00", None),
        (semantic("string", TIME + "ZonedTimestamp"), "2026-11-22T01:02:03Z\n", None),
        ("float", 1e39, Reason.UNREPRESENTABLE),
    ],
)
def test_what_would_be_bent_is_refused(node: Any, raw: Any, reason: Reason | None) -> None:
    with pytest.raises(PoisonRecordError) as caught:
        avro(node, raw)

    assert caught.value.reason is (reason or Reason.SCHEMA_MISMATCH)
    assert str(raw) not in caught.value.detail or not str(raw)  # no row value in an error


def test_a_declared_boolean_is_0_or_1() -> None:
    assert avro("int", 1, is_boolean=True) is True
    assert avro("int", 0, is_boolean=True) is False
    with pytest.raises(PoisonRecordError, match="neither 0 nor 1"):
        avro("int", 2, is_boolean=True)


def test_floats_that_are_no_numbers_pass() -> None:
    assert math.isnan(avro("double", float("nan")))
    assert math.isnan(json("double", "NaN"))
    assert json("float", "-Infinity") == -math.inf


@pytest.mark.parametrize(
    ("node", "raw", "value"),
    [
        (decimal(15, 2), base64.b64encode(unscaled(1234)).decode(), Decimal("12.34")),
        (decimal(15, 2), Decimal("12.3"), Decimal("12.30")),
        (decimal(15, 2), 12, Decimal("12.00")),
        (MONEY_TEXT, "12.34", Decimal("12.34")),
        (MONEY_TEXT, Decimal("12.34"), Decimal("12.34")),
        (UNSIGNED, base64.b64encode(unscaled(2**64 - 1)).decode(), 2**64 - 1),
        ("bytes", "AP8Q", b"\x00\xff\x10"),
        ("bytes", "", b""),
        ("double", 2, 2.0),
        ("float", Decimal("0.1"), 0.10000000149011612),
        (VECTOR, [1, Decimal("0.5")], [1.0, 0.5]),
        (POINT, {"x": 1.0, "y": 2.0, "wkb": "AQ==", "srid": None}, {"wkb": b"\x01", "srid": None}),
        (sourced(decimal(20, 0), "BIGINT UNSIGNED"), 2**64 - 1, 2**64 - 1),
        (sourced(decimal(20, 0), "BIGINT UNSIGNED"), "AP//////////", 2**64 - 1),
    ],
)
def test_json_has_its_own_forms(node: Any, raw: Any, value: Any) -> None:
    assert str(json(node, raw)) == str(value)


@pytest.mark.parametrize(
    ("node", "raw"),
    [
        ("bytes", "AP8"),
        ("bytes", "AP8Q\n"),
        ("bytes", "é"),
        ("bytes", 1),
        (decimal(15, 2), "12.34"),
        (decimal(15, 2), Decimal("0.001")),
        (decimal(15, 2), True),
        ("double", Decimal("1e999")),
        ("double", "inf"),
        ("long", Decimal("1.0")),
        (VECTOR, ["x"]),
    ],
)
def test_other_json_is_refused(node: Any, raw: Any) -> None:
    with pytest.raises(PoisonRecordError):
        json(node, raw)


def test_a_decimal_is_exact_beyond_the_context() -> None:
    value = exact_decimal(-(10**64) - 1, 30)

    assert format(value, "f") == "-1" + "0" * 34 + "." + "0" * 29 + "1"
