"""A row of the films file as a Film: clean values, and findings about the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Final

from finance.findings import Finding, FindingKind
from finance.values import RowReader

FILE_HORIZON: Final = date(2011, 12, 31)
"""The collection was closed in 2010 and knows of releases planned until 2011."""

RATINGS: Final = ("G", "PG", "PG-13", "R", "NC-17", "Not Rated")
_KINDS: Final = {"Documentary": "documentary", "Concert/Performance": "special"}
_IMPLAUSIBLE_BUDGET: Final = Decimal(1000)
_ONE: Final = Decimal(1)

FIELDS: Final = frozenset({
    "Title", "US Gross", "Worldwide Gross", "US DVD Sales", "Production Budget", "Release Date",
    "MPAA Rating", "Running Time min", "Distributor", "Source", "Major Genre", "Creative Type",
    "Director", "Rotten Tomatoes Rating", "IMDB Rating", "IMDB Votes",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Film:
    """One film, clean. `title_id` is its row number in the file, from 1; money is in USD."""

    title_id: int
    name: str
    kind: str
    launch_date: date | None
    booking_year: int
    """The launch year, or what the file says in its place: money needs a year to be booked in."""
    budget: Decimal | None
    us_gross: Decimal | None
    worldwide_gross: Decimal | None
    home_video: Decimal | None
    distributor: str | None
    director: str | None
    genre: str | None
    rating: str | None
    source: str | None
    creative_type: str | None
    running_time_minutes: int | None
    score: Decimal | None
    votes: int | None
    critics_percent: int | None

    @property
    def international_gross(self) -> Decimal | None:
        if self.worldwide_gross is None:
            return None
        return self.worldwide_gross - (self.us_gross or Decimal(0))


@dataclass(frozen=True, slots=True)
class Reading:
    """`film` is None when the row is no film at all; a finding says why."""

    film: Film | None
    findings: Sequence[Finding]
    absent: Counter[str]


def read_film(row: int, raw: Any, horizon: date = FILE_HORIZON) -> Reading:
    if not isinstance(raw, Mapping):
        kind = FindingKind.ROW_NOT_AN_OBJECT
        return Reading(None, (Finding(row, "", kind, raw, "skipped"),), Counter())
    reader = RowReader(row, raw, horizon)
    for field in sorted(FIELDS - raw.keys()):
        reader.found(field, FindingKind.FIELD_MISSING, "taken as null")
    for field in sorted(raw.keys() - FIELDS):
        reader.found(field, FindingKind.FIELD_UNKNOWN, "ignored")
    film = _film(row, reader)
    return Reading(film, tuple(reader.findings), reader.absent)


def _film(row: int, reader: RowReader) -> Film:
    launch_date, booking_year = reader.day("Release Date")
    us_gross, worldwide_gross = _grosses(reader)
    genre = reader.text("Major Genre", 40)
    return Film(
        title_id=row,
        name=_name(row, reader),
        kind=_KINDS.get(genre or "", "film"),
        launch_date=launch_date,
        booking_year=booking_year,
        budget=_budget(reader),
        us_gross=us_gross,
        worldwide_gross=worldwide_gross,
        home_video=reader.money("US DVD Sales", is_expected=False),
        distributor=reader.text("Distributor", 100, placeholders=("Distributor Unknown",)),
        director=reader.text("Director", 120),
        genre=genre,
        rating=reader.choice("MPAA Rating", RATINGS),
        source=reader.text("Source", 80),
        creative_type=reader.text("Creative Type", 80),
        running_time_minutes=_whole(reader, "Running Time min", 1, 65535),
        score=reader.number("IMDB Rating", Decimal(0), Decimal(10), Decimal("0.1")),
        votes=_whole(reader, "IMDB Votes", 0, 4294967295),
        critics_percent=_whole(reader, "Rotten Tomatoes Rating", 0, 100),
    )


def _name(row: int, reader: RowReader) -> str:
    name = reader.text("Title", 255)
    if name is None:
        name = f"Untitled {row}"
        reader.found("Title", FindingKind.NAME_MISSING, f'stored as "{name}"')
        # It is a finding already, so not one of the fields that may be empty.
        del reader.absent["Title"]
    return name


def _budget(reader: RowReader) -> Decimal | None:
    budget = reader.money("Production Budget", is_expected=True)
    if budget is not None and 0 < budget < _IMPLAUSIBLE_BUDGET:
        reader.found("Production Budget", FindingKind.BUDGET_IMPLAUSIBLE, "kept as it is")
    return budget


def _grosses(reader: RowReader) -> tuple[Decimal | None, Decimal | None]:
    """US and worldwide; the world includes the US, so the smaller of the two gives way."""
    domestic = reader.money("US Gross", is_expected=True)
    worldwide = reader.money("Worldwide Gross", is_expected=True)
    if domestic is not None and worldwide is not None and worldwide < domestic:
        action = f"raised to the US gross, {domestic}"
        reader.found("Worldwide Gross", FindingKind.GROSS_CONTRADICTORY, action)
        worldwide = domestic
    if domestic is not None and worldwide is None:
        worldwide = domestic
    return domestic, worldwide


def _whole(reader: RowReader, field: str, low: int, high: int) -> int | None:
    number = reader.number(field, Decimal(low), Decimal(high), _ONE)
    return None if number is None else int(number)
