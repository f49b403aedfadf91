"""From an ID back to the message key as Debezium writes it: the inverse of
:mod:`callsheet.codec.values`. Whoever uses it decodes what was made and compares.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec

from callsheet.codec.fields import Field, Unit
from callsheet.event import decode_id
from callsheet.schema import Kind

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - a DATETIME has no zone
_MICROSECOND: Final = timedelta(microseconds=1)
_PER_MICRO: Final = {Unit.MILLIS: (1, 1000), Unit.MICROS: (1, 1), Unit.NANOS: (1000, 1)}


class UnkeyedError(ValueError):
    """The ID is none of a row under this key: of a hashed column, or of an older key."""


def avro_key(fields: Sequence[Field], identifier: str) -> dict[str, Any]:
    """What an Avro writer takes, logical types off.

    Raises:
        UnkeyedError: these columns have no such values.
    """
    return {field.column.name: _wire(field, text) for field, text in _parts(fields, identifier)}


def json_key(fields: Sequence[Field], identifier: str) -> bytes:
    """As Connect's JsonConverter writes it (``schemas.enable=false``, decimals as numbers).

    Raises:
        UnkeyedError: as above.
    """
    cells = (
        f"{_quoted(field.column.name)}:{_json(field, _wire(field, text))}"
        for field, text in _parts(fields, identifier)
    )
    return b"{%b}" % ",".join(cells).encode()


def _parts(fields: Sequence[Field], identifier: str) -> list[tuple[Field, str]]:
    try:
        return list(zip(fields, decode_id(identifier), strict=True))
    except ValueError as error:
        raise UnkeyedError(str(error)) from None


def _wire(field: Field, text: str) -> Any:
    try:
        return _value(field, text)
    except (ValueError, InvalidOperation, ArithmeticError):
        kind = field.column.kind.value
        raise UnkeyedError(f"{field.column.name} is {kind}, and the ID has no such value") from None


def _value(field: Field, text: str) -> Any:  # noqa: PLR0911 - one return per kind
    match field.column.kind:
        case Kind.INTEGER | Kind.YEAR:
            return int(text)
        case Kind.UNSIGNED:
            return _minimal(int(text)) if field.wire == "bytes" else int(text)
        case Kind.BOOLEAN:
            value = {"true": True, "false": False}.get(text)
            if value is None:
                raise ValueError(text)
            return value if field.wire == "boolean" else int(value)
        case Kind.DECIMAL:
            return _unscaled(text, field.column.scale or 0) if field.wire == "bytes" else text
        case Kind.DATE:
            return date.fromisoformat(text).toordinal() - _EPOCH.toordinal()
        case Kind.TIME:
            return _counted(int(text), field.unit)
        case Kind.DATETIME:
            return _counted((datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND, field.unit)
        case Kind.BYTES | Kind.BITS:
            return bytes.fromhex(text)
        case _:
            return text


def _counted(micros: int, unit: Unit) -> int:
    factor, divisor = _PER_MICRO[unit]
    if micros % divisor:
        raise ValueError(micros)
    return micros * factor // divisor


def _unscaled(text: str, scale: int) -> bytes:
    sign, digits, exponent = Decimal(text).as_tuple()
    if exponent != -scale:
        raise ValueError(text)
    number = int("".join(map(str, digits)))
    return _minimal(-number if sign else number)


def _minimal(number: int) -> bytes:
    """Two's complement in as few bytes as hold it, as Java's BigInteger gives it."""
    magnitude = number if number >= 0 else ~number
    return number.to_bytes(magnitude.bit_length() // 8 + 1, "big", signed=True)


# --- JSON ---------------------------------------------------------------------------------------

_ESCAPES: Final[Mapping[str, str]] = {
    **{chr(code): f"\\u{code:04X}" for code in range(0x20)},
    '"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t",
}  # fmt: skip


def _json(field: Field, value: Any) -> str:
    match value:
        case bytes() if field.column.kind in {Kind.DECIMAL, Kind.UNSIGNED}:
            unscaled, scale = int.from_bytes(value, "big", signed=True), field.column.scale or 0
            digits = str(abs(unscaled)).rjust(scale + 1, "0")
            plain = f"{digits[:-scale]}.{digits[-scale:]}" if scale else digits
            return f"-{plain}" if unscaled < 0 else plain
        case bytes():
            return _quoted(b64encode(value).decode())
        case str():
            return _quoted(value)
        case _:
            return msgspec.json.encode(value).decode()


def _quoted(text: str) -> str:
    """As Jackson does it: the key's bytes decide the partition."""
    return f'"{"".join(_ESCAPES.get(character, character) for character in text)}"'
