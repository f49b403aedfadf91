"""How a value reads in a document, one value at a time.

:mod:`columns` says the same in polars expressions; the property tests hold both to each other.
"""

from __future__ import annotations

import binascii
import math
import struct
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final

import msgspec
import orjson

from callsheet.errors import PoisonRecordError, Reason
from callsheet.schema import Column, Kind
from sinks.elasticsearch.geojson import geojson

LONGEST_ID: Final = 512
"""Bytes of an ``_id``: more is refused by the server."""

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - its text gets a Z
EARLIEST_US: Final = -62_135_596_800_000_000
"""Commit times that have a text: the years 1 to 9999."""
LATEST_US: Final = 253_402_300_799_999_999

_PREFIX_BYTES: Final = 440
_UTF8_BYTES: Final = 4
"""Of one character, at most."""

Render = Callable[[Any], Any]
"""A value of the batch, not null, to what orjson can write."""


def document_id(identifier: str) -> str:
    """``_id`` of an ID: itself, or where that is too long its beginning and a hash of all of it."""
    if len(identifier) * _UTF8_BYTES <= LONGEST_ID:  # mostly: then nothing need be encoded
        return identifier
    raw = identifier.encode()
    if len(raw) <= LONGEST_ID:
        return identifier
    prefix = raw[:_PREFIX_BYTES].decode(errors="ignore")
    return f"{prefix}~{blake2b(raw, digest_size=16).hexdigest()}"


def time_text(micros: int, fraction: int | None) -> str:
    """``HH:MM:SS[.ffffff]``; may be negative or beyond 24 hours.

    ``fraction`` digits where the source told how many; otherwise six, or none if all are zero.
    """
    sign, rest = ("-", -micros) if micros < 0 else ("", micros)
    seconds, rest = divmod(rest, 1_000_000)
    hours, seconds = divmod(seconds, 3600)
    return f"{sign}{hours:02d}:{seconds // 60:02d}:{seconds % 60:02d}{_digits(rest, fraction)}"


def datetime_text(value: datetime, fraction: int | None) -> str:
    """ISO-8601 without an offset: wall-clock time."""
    return f"{value.isoformat(timespec='seconds')}{_digits(value.microsecond, fraction)}"


def _digits(micros: int, fraction: int | None) -> str:
    if fraction is None:
        return f".{micros:06d}" if micros else ""
    return f".{micros:06d}"[: fraction + 1] if fraction else ""


def instant_text(ts_us: int) -> str:
    """Microseconds since the epoch as ISO-8601 in UTC.

    Raises:
        PoisonRecordError: not between ``EARLIEST_US`` and ``LATEST_US``.
    """
    seconds, micros = divmod(ts_us, 1_000_000)
    return f"{_second_text(seconds)}.{micros:06d}Z"


@lru_cache(maxsize=64)  # a batch is mostly of a few seconds
def _second_text(seconds: int) -> str:
    try:
        return (_EPOCH + timedelta(seconds=seconds)).isoformat()
    except OverflowError as error:
        detail = "a commit time outside the years 1 to 9999"
        raise PoisonRecordError(Reason.UNREPRESENTABLE, detail) from error


def members(value: str) -> list[str]:
    """A SET's members."""
    return value.split(",") if value else []


def base64(value: bytes) -> str:
    return binascii.b2a_base64(value, newline=False).decode("ascii")


def finite(value: float) -> float:
    if not math.isfinite(value):
        raise PoisonRecordError(Reason.UNREPRESENTABLE, "JSON has no NaN and no infinity")
    return value


_SMALLEST_NORMAL: Final = 2.0**-126
"""Of a 32-bit float: below it digits get lost, and six are more than there are."""


def short_float(value: float) -> float:
    """The shortest decimal that is this 32-bit float, so that 0.1 does not read 0.1000000015."""
    finite(value)
    fewest = 6 if abs(value) >= _SMALLEST_NORMAL else 1
    for digits in range(fewest, 10):  # nine digits tell any two of them apart
        short = float(f"{value:.{digits}g}")
        if struct.unpack("f", struct.pack("f", short))[0] == value:
            return short
    return value


_ANY_JSON: Final = msgspec.json.Decoder()


def is_object(text: str) -> bool:
    """``flattened`` takes objects only; any other JSON value is wrapped in one."""
    return text.lstrip(" \t\r\n").startswith("{")


def json_text(text: str) -> str:
    """JSON that may stand inside a line of NDJSON.

    Raises:
        PoisonRecordError: it is not one JSON value. Embedded as it is, it could break out of its
            field, or out of its document.
    """
    try:
        _ANY_JSON.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise PoisonRecordError(Reason.SCHEMA_MISMATCH, "the text is not JSON") from error
    return text.replace("\n", " ").replace("\r", " ")  # only whitespace between tokens can be one


def embedded(text: str) -> orjson.Fragment:
    return orjson.Fragment(embedded_text(text))


def embedded_text(text: str) -> str:
    clean = json_text(text)
    return clean if is_object(clean) else f'{{"value":{clean}}}'


def shape(value: dict[str, Any]) -> Any:
    wkb = value["wkb"]
    if wkb is None:  # Debezium's schema of a point allows it
        raise PoisonRecordError(Reason.SCHEMA_MISMATCH, "a geometry without its bytes")
    return geojson(wkb)


def renderer(column: Column, *, is_single: bool) -> Render | None:  # noqa: PLR0911 - one case per kind
    """None: :func:`encoded` writes the value as it is.

    ``is_single``: the batch holds the column's floats in 32 bits.
    """
    match column.kind:
        case Kind.FLOAT:
            return short_float if is_single else finite
        case Kind.SET:
            return members
        case Kind.JSON:
            return embedded
        case Kind.TIME:
            return lambda micros: time_text(micros, column.fraction)
        case Kind.DATETIME:
            return lambda value: datetime_text(value, column.fraction)
        case Kind.BYTES | Kind.BITS:
            return base64
        case Kind.GEOMETRY:
            return shape
        case Kind.VECTOR:
            return lambda values: [short_float(value) for value in values]
        case _:
            return None


def encoded(document: dict[str, Any]) -> bytes:
    """A document as JSON. Dates are ISO-8601 as orjson writes them, decimals exact texts."""
    return orjson.dumps(document, default=_exact)


def _exact(value: Any) -> str:
    if not isinstance(value, Decimal):
        raise TypeError(f"a {type(value).__name__} in a document")
    return format(value, "f")
