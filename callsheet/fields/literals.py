"""A value as a pipeline file writes it, to the value that a column's kind holds in a batch."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from callsheet.schema import Column, Kind

Written = bool | int | float | str

_DECIMAL: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DATETIME: Final = re.compile(r"[0-9-]{10}[T ][0-9:]{8}(?:\.[0-9]{1,6})?")
_TIMESTAMP: Final = re.compile(r"[0-9-]{10}T[0-9:]{8}(?:\.[0-9]{1,9})?Z")
_TIME: Final = re.compile(r"(-?)([0-9]{2,3}):([0-5][0-9]):([0-5][0-9])(?:\.([0-9]{1,6}))?")


def literal(column: Column, written: Written) -> Any:
    """What stands in a batch for it.

    Raises:
        ValueError: it is no value of that kind; the text says what one looks like.
    """
    read = _READERS.get(column.kind)
    if read is None:
        raise ValueError(
            f"a {column.kind.value} column has no constant; leave `value` out for null"
        )
    return read(column, written)


def _whole(column: Column, written: Written) -> int:
    if type(written) is not int:
        raise ValueError("must be a whole number")
    lowest, highest = (0, 1 << 64) if column.kind is Kind.UNSIGNED else (-(1 << 63), 1 << 63)
    if not lowest <= written < highest:
        raise ValueError("does not fit the column")
    return written


def _decimal(column: Column, written: Written) -> Decimal | str:
    if type(written) is int:
        written = str(written)
    if not isinstance(written, str) or not _DECIMAL.fullmatch(written):
        raise ValueError('must be a decimal in quotes, such as "12.50"')
    value, scale, digits = Decimal(written), column.scale or 0, column.precision or 0
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int) or -exponent > scale or abs(value) >= 10 ** (digits - scale):
        raise ValueError(f"does not fit {digits} digits, {scale} of them behind the dot")
    sign, numbers, _ = value.as_tuple()
    exact = Decimal((sign, (*numbers, *(0 for _ in range(scale + exponent))), -scale))
    return format(exact, "f") if digits > 38 else exact


def _float(_: Column, written: Written) -> float:
    if isinstance(written, bool) or not isinstance(written, int | float):
        raise ValueError("must be a number")  # noqa: TRY004 - told as a fault of the file
    return float(written)


def _boolean(_: Column, written: Written) -> bool:
    if not isinstance(written, bool):
        raise ValueError("must be true or false")  # noqa: TRY004 - told as a fault of the file
    return written


def _text(_: Column, written: Written) -> str:
    if not isinstance(written, str):
        raise ValueError("must be text, in quotes")  # noqa: TRY004 - told as a fault of the file
    return written


def _member(column: Column, written: Written) -> str:
    text = _text(column, written)
    members = {text}
    if column.kind is Kind.SET:
        members = set(text.split(",")) if text else set()
    if column.allowed and not members <= set(column.allowed):
        raise ValueError(f"must be of {', '.join(column.allowed)}")
    return text


def _date(column: Column, written: Written) -> date:
    text = _text(column, written)
    if not _DATE.fullmatch(text):
        raise ValueError('must be a date in quotes, such as "1970-01-01"')
    return date.fromisoformat(text)


def _datetime(column: Column, written: Written) -> datetime:
    text = _text(column, written)
    if not _DATETIME.fullmatch(text):
        raise ValueError('must be a time without zone in quotes, such as "1970-01-01T00:00:00"')
    return datetime.fromisoformat(text)


def _timestamp(column: Column, written: Written) -> str:
    text = _text(column, written)
    if not _TIMESTAMP.fullmatch(text):
        raise ValueError('must be a time in UTC in quotes, such as "1970-01-01T00:00:00Z"')
    datetime.fromisoformat(text[:19])
    return text


def _time(column: Column, written: Written) -> int:
    match = _TIME.fullmatch(_text(column, written))
    if match is None:
        raise ValueError('must be a time in quotes, such as "08:30:00"')
    sign, hours, minutes, seconds, fraction = match.groups()
    whole = (int(hours) * 60 + int(minutes)) * 60 + int(seconds)
    micros = whole * 1_000_000 + int((fraction or "0").ljust(6, "0"))
    return -micros if sign else micros


_READERS: Final[Mapping[Kind, Callable[[Column, Written], Any]]] = {
    Kind.INTEGER: _whole,
    Kind.UNSIGNED: _whole,
    Kind.YEAR: _whole,
    Kind.DECIMAL: _decimal,
    Kind.FLOAT: _float,
    Kind.BOOLEAN: _boolean,
    Kind.ENUM: _member,
    Kind.SET: _member,
    Kind.DATE: _date,
    Kind.DATETIME: _datetime,
    Kind.TIMESTAMP: _timestamp,
    Kind.TIME: _time,
}
"""STRING is missing: text is masked by `mark`. So are those whose values no YAML scalar holds."""
