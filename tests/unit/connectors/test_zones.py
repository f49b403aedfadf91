"""Time zones by name and by offset."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from connectors.zones import known, same, zone

SUMMER = datetime(2026, 7, 1)  # noqa: DTZ001 - a wall clock, as a DATETIME


@pytest.mark.parametrize(
    ("text", "hours"),
    [("UTC", 0), ("+00:00", 0), ("+05:30", 5.5), ("-8:00", -8), ("Europe/Berlin", 2)],
)
def test_a_zone_by_name_or_offset(text: str, hours: float) -> None:
    found = zone(known(text))
    assert found is not None
    assert found.utcoffset(SUMMER) == timedelta(hours=hours)


@pytest.mark.parametrize("text", ["", "SYSTEM", "Mars/Olympus", "../passwd", "Europe", "+25:00"])
def test_what_is_no_zone(text: str) -> None:
    assert zone(text) is None
    with pytest.raises(ValueError, match="no time zone"):
        known(text)


@pytest.mark.parametrize(
    ("one", "other"),
    [("UTC", "Etc/UTC"), ("UTC", "+00:00"), ("CET", "Europe/Berlin"), ("PDT", "PDT")],
)
def test_two_names_of_one_clock(one: str, other: str) -> None:
    assert same(one, other)
    assert same(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [("Europe/Berlin", "+01:00"), ("UTC", "Europe/London"), ("PDT", "America/Los_Angeles")],
)
def test_clocks_that_differ_in_summer_or_are_not_known(one: str, other: str) -> None:
    assert not same(one, other)
