"""One value at a time, carefully: from what the wire gave to the canonical Python value.

The native decoder implements the same table in Rust (``native/src/cell.rs``); the property tests
hold it to this one.
"""

from __future__ import annotations

import binascii
import re
import struct
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, TypeVar

from callsheet.codec.fields import Field, Unit
from callsheet.errors import PoisonRecordError, Reason
from callsheet.schema import Kind

_T = TypeVar("_T")

Convert = Callable[[Any], Any]
"""Wire value, never None, to canonical value. Raises PoisonRecordError."""

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - a DATETIME has no zone
_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()
_UTC_TEXT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", re.ASCII)
_PLAIN_DECIMAL: Final = re.compile(r"(-?)(\d+)(?:\.(\d+))?", re.ASCII)
_INT_BITS: Final = {"int": 31, "long": 63}
_MICROS: Final = {Unit.MILLIS: (1000, 1), Unit.MICROS: (1, 1), Unit.NANOS: (1, 1000)}
_MAX_UNSIGNED: Final = (1 << 64) - 1
_NOT_FINITE: Final = {
    "NaN": float("nan"),
    "Infinity": float("inf"),
    "-Infinity": -float("inf"),
}


def mismatch(detail: str) -> PoisonRecordError:
    return PoisonRecordError(Reason.SCHEMA_MISMATCH, detail)


def unrepresentable(detail: str) -> PoisonRecordError:
    return PoisonRecordError(Reason.UNREPRESENTABLE, detail)


def from_avro(field: Field) -> Convert:
    """Converts what fastavro read, logical types off."""
    return _canonical(field)


def from_json(field: Field) -> Convert:  # noqa: PLR0911 - one return per wire type
    """Converts what the JSON parser read, fractions as Decimal."""
    canonical = _canonical(field)
    match field.wire:
        case "bytes" if field.column.kind in {Kind.DECIMAL, Kind.UNSIGNED}:
            return _decimal_in_json(field, canonical)
        case "bytes":
            return lambda raw: canonical(_base64(raw))
        case "string" if field.column.kind is Kind.DECIMAL:
            return _decimal_in_json(field, canonical)
        case "float" | "double":
            return lambda raw: canonical(_number(raw))
        case "record":
            return lambda raw: canonical(_geometry_in_json(raw))
        case "array":
            return lambda raw: canonical([_number(item) for item in _expect(raw, list)])
        case _:
            return canonical


def _canonical(field: Field) -> Convert:  # noqa: C901, PLR0911, PLR0912 - one line per kind
    match field.column.kind:
        case Kind.INTEGER | Kind.YEAR:
            return lambda raw: _integer(raw, field.wire)
        case Kind.UNSIGNED:
            return lambda raw: _unsigned(raw, field.wire)
        case Kind.BOOLEAN:
            return _boolean if field.wire == "boolean" else _declared_boolean
        case Kind.DECIMAL:
            return _decimal(field)
        case Kind.FLOAT:
            return _float32 if field.wire == "float" else lambda raw: _expect(raw, float)
        case Kind.DATE:
            return lambda raw: _date(_integer(raw, "int"))
        case Kind.TIME:
            return lambda raw: _micros(_integer(raw, field.wire), field.unit)
        case Kind.DATETIME:
            return lambda raw: _datetime(_micros(_integer(raw, field.wire), field.unit))
        case Kind.TIMESTAMP:
            return _utc_text
        case Kind.BYTES | Kind.BITS:
            return lambda raw: _expect(raw, bytes)
        case Kind.GEOMETRY:
            return _geometry
        case Kind.VECTOR:
            return lambda raw: [_float32(item) for item in _expect(raw, list)]
        case Kind.ENUM if field.escaped_members:
            return _member(field.escaped_members)
        case Kind.STRING | Kind.ENUM | Kind.SET | Kind.JSON:
            return lambda raw: _expect(raw, str)


def _expect(raw: Any, kind: type[_T]) -> _T:
    if type(raw) is not kind:
        raise mismatch(f"a {type(raw).__name__} where a {kind.__name__} is declared")
    return raw


def _integer(raw: Any, wire: str) -> int:
    value = _expect(raw, int)
    limit = 1 << _INT_BITS[wire]
    if not -limit <= value < limit:
        raise mismatch(f"an integer beyond {wire}")
    return value


def _unsigned(raw: Any, wire: str) -> int:
    value = _unscaled(_expect(raw, bytes)) if wire == "bytes" else _integer(raw, wire)
    if not 0 <= value <= _MAX_UNSIGNED:
        raise unrepresentable("a BIGINT UNSIGNED that is negative or beyond 64 bits")
    return value


def _boolean(raw: Any) -> bool:
    return _expect(raw, bool)


def _declared_boolean(raw: Any) -> bool:
    value = _integer(raw, "int")
    if value not in {0, 1}:
        raise mismatch("a column declared boolean holds neither 0 nor 1")
    return value == 1


def _float32(raw: Any) -> float:
    """As 32 bits hold it: JSON may spell more digits."""
    value = _expect(raw, float)
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        raise unrepresentable("a FLOAT beyond 32 bits") from None


def _date(days: int) -> date:
    try:
        return date.fromordinal(_EPOCH_ORDINAL + days)
    except (ValueError, OverflowError):
        raise unrepresentable("a date outside the years 1 to 9999") from None


def _micros(value: int, unit: Unit) -> int:
    factor, divisor = _MICROS[unit]
    if value % divisor:
        raise unrepresentable("a time finer than a microsecond")
    micros = value * factor // divisor
    if not -(1 << 63) <= micros < 1 << 63:
        raise unrepresentable("a time beyond 64 bits of microseconds")
    return micros


def _datetime(micros: int) -> datetime:
    try:
        return _EPOCH + timedelta(microseconds=micros)
    except OverflowError:
        raise unrepresentable("a datetime outside the years 1 to 9999") from None


def _utc_text(raw: Any) -> str:
    value = _expect(raw, str)
    if _UTC_TEXT.fullmatch(value) is None:
        raise mismatch("a TIMESTAMP that is not ISO-8601 in UTC")
    return value


def _member(escaped: Mapping[str, str]) -> Convert:
    def convert(raw: Any) -> str:
        text = _expect(raw, str)
        return escaped.get(text, text)

    return convert


def _geometry(raw: Any) -> dict[str, Any]:
    value = _expect(raw, dict)
    wkb, srid = value.get("wkb"), value.get("srid")
    return {
        "wkb": None if wkb is None else _expect(wkb, bytes),
        "srid": None if srid is None else _integer(srid, "int"),
    }


# --- decimals -----------------------------------------------------------------------------------


def _unscaled(raw: bytes) -> int:
    if not raw:
        raise mismatch("a decimal of no bytes")
    return int.from_bytes(raw, "big", signed=True)


def _decimal(field: Field) -> Convert:
    scale, precision = field.column.scale or 0, field.column.precision or 0
    is_wide = field.is_wide_decimal

    def convert(raw: Any) -> Decimal | str:
        if field.wire == "bytes":
            unscaled = _unscaled(_expect(raw, bytes))
        else:
            unscaled = _scaled(_expect(raw, str), scale)
        value = exact_decimal(unscaled, scale)
        if len(value.as_tuple().digits) > precision:
            raise unrepresentable(f"a decimal of more than {precision} digits")
        return format(value, "f") if is_wide else value

    return convert


def exact_decimal(unscaled: int, scale: int) -> Decimal:
    """``unscaled * 10^-scale`` exactly, whatever the arithmetic context's precision."""
    digits = tuple(int(digit) for digit in str(abs(unscaled)))
    return Decimal((int(unscaled < 0), digits, -scale))


def _scaled(text: str, scale: int) -> int:
    """The unscaled value of plain notation; no more fraction digits than the scale."""
    match = _PLAIN_DECIMAL.fullmatch(text)
    if match is None or len(match[3] or "") > scale:
        raise mismatch(f"text that is no decimal with {scale} fraction digits")
    return int(match[1] + match[2] + (match[3] or "").ljust(scale, "0"))


def _decimal_in_json(field: Field, canonical: Convert) -> Convert:
    """A JSON number (``decimal.format=NUMERIC``) is as exact as its text; a string is read as the
    schema says, base64 of the unscaled bytes or plain notation.
    """
    scale = field.column.scale or 0

    def convert(raw: Any) -> Any:
        if isinstance(raw, Decimal | int) and not isinstance(raw, bool):
            unscaled = _scaled(format(Decimal(raw), "f"), scale)
            if field.wire == "string":
                return canonical(format(exact_decimal(unscaled, scale), "f"))
            size = unscaled.bit_length() // 8 + 1
            return canonical(unscaled.to_bytes(size, "big", signed=True))
        return canonical(_base64(raw) if field.wire == "bytes" else raw)

    return convert


# --- JSON ---------------------------------------------------------------------------------------


def _base64(raw: Any) -> bytes:
    text = _expect(raw, str)
    try:
        value = binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError):
        raise mismatch("text that is not base64 where bytes are declared") from None
    if len(value) != len(text) // 4 * 3 - text.count("="):
        raise mismatch("text that is not base64 where bytes are declared")
    return value


def _number(raw: Any) -> float:
    if isinstance(raw, str) and raw in _NOT_FINITE:
        return _NOT_FINITE[raw]
    if isinstance(raw, bool) or not isinstance(raw, int | Decimal):
        raise mismatch(f"a {type(raw).__name__} where a number is declared")
    try:
        value = float(raw)
    except OverflowError:
        raise unrepresentable("a number beyond 64 bits of float") from None
    if value in {float("inf"), -float("inf")}:
        raise unrepresentable("a number beyond 64 bits of float")
    return value


def _geometry_in_json(raw: Any) -> dict[str, Any]:
    value: Mapping[str, Any] = _expect(raw, dict)
    wkb = value.get("wkb")
    return {"wkb": None if wkb is None else _base64(wkb), "srid": value.get("srid")}
