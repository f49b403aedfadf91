"""Time zones as connector files and MySQL write them: by name, or as an offset such as +02:00."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_OFFSET: Final = re.compile(r"([+-])(\d{1,2}):([0-5]\d)")
_MOST: Final = timedelta(hours=14)
"""MySQL takes offsets from -13:59 to +14:00."""
_YEARS: Final = range(2000, 2038)
"""Zones that agree in each month of them are one zone to us: CET and Europe/Berlin, say."""


def zone(text: str) -> tzinfo | None:
    """None if nobody knows a zone of that name."""
    if found := _OFFSET.fullmatch(text):
        sign, hours, minutes = found.groups()
        offset = timedelta(hours=int(hours), minutes=int(minutes))
        return timezone(-offset if sign == "-" else offset) if offset <= _MOST else None
    if text == "UTC":  # known also where no zone files are installed
        return UTC
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # a folder's name, a path, an empty one
        return None


def known(text: str) -> str:
    """
    Raises:
        ValueError: it names no zone.
    """
    if zone(text) is None:
        raise ValueError(f"{text!r} is no time zone: give a name such as UTC, or +02:00")
    return text


def same(one: str, other: str) -> bool:
    """Do their clocks show the same, at any time? A zone that is not known is only itself."""
    if one == other:
        return True
    first, second = zone(one), zone(other)
    if first is None or second is None:
        return False
    moments = [datetime(year, month, 1, tzinfo=UTC) for year in _YEARS for month in range(1, 13)]
    return all(
        moment.astimezone(first).utcoffset() == moment.astimezone(second).utcoffset()
        for moment in moments
    )
