"""Reading dirty values: what is stored, and that each oddity is reported."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from finance.films import Film, read_film
from finance.findings import FindingKind as Kind
from finance.load import find_films, read_rows

CLEAN: dict[str, Any] = {
    "Title": "Heat",
    "US Gross": 67436818,
    "Worldwide Gross": 187436818,
    "US DVD Sales": None,
    "Production Budget": 60000000,
    "Release Date": "Dec 15 1995",
    "MPAA Rating": "R",
    "Running Time min": 170,
    "Distributor": "Warner Bros.",
    "Source": "Remake",
    "Major Genre": "Drama",
    "Creative Type": "Contemporary Fiction",
    "Director": "Michael Mann",
    "Rotten Tomatoes Rating": 87,
    "IMDB Rating": Decimal("8.2"),
    "IMDB Votes": 139000,
}


def read(**odd: Any) -> tuple[Film, dict[str, Kind]]:
    reading = read_film(7, CLEAN | odd)
    assert reading.film is not None
    assert all(finding.row == 7 for finding in reading.findings)
    return reading.film, {finding.field: finding.kind for finding in reading.findings}


def test_a_clean_row_has_no_findings_and_exact_money() -> None:
    film, findings = read()
    assert findings == {}
    assert film.title_id == 7
    assert film.kind == "film"
    assert film.budget == Decimal("60000000.00")
    assert film.budget.as_tuple().exponent == -2
    assert film.international_gross == Decimal("120000000.00")
    assert film.launch_date == date(1995, 12, 15)
    assert film.score == Decimal("8.2")


@pytest.mark.parametrize(
    ("odd", "attribute", "stored", "kind"),
    [
        ({"Title": 1776}, "name", "1776", Kind.TEXT_NOT_TEXT),
        ({"Title": None}, "name", "Untitled 7", Kind.NAME_MISSING),
        ({"Title": "  "}, "name", "Untitled 7", Kind.NAME_MISSING),
        ({"Title": "LÈon"}, "name", "Léon", Kind.TEXT_MISENCODED),
        ({"Title": "The Naked Gun 2Ω"}, "name", "The Naked Gun 2½", Kind.TEXT_MISENCODED),
        ({"Title": "x" * 300}, "name", "x" * 255, Kind.TEXT_TOO_LONG),
        ({"Distributor": "Distributor Unknown"}, "distributor", None, Kind.TEXT_PLACEHOLDER),
        ({"Release Date": "Dec 31 2046"}, "launch_date", date(1946, 12, 31), Kind.DATE_CENTURY),
        ({"Release Date": "Feb 29 2020"}, "launch_date", date(1920, 2, 29), Kind.DATE_CENTURY),
        ({"Release Date": "Jan 01 1970"}, "launch_date", None, Kind.DATE_EPOCH),
        ({"Release Date": "Dec 31 1969"}, "launch_date", None, Kind.DATE_EPOCH),
        ({"Release Date": "Unknown"}, "launch_date", None, Kind.DATE_UNREADABLE),
        ({"Release Date": None}, "launch_date", None, Kind.DATE_UNREADABLE),
        ({"Release Date": "Feb 30 1999"}, "launch_date", None, Kind.DATE_UNREADABLE),
        ({"Release Date": "Jan 01 0001"}, "launch_date", None, Kind.DATE_UNREADABLE),
        ({"Release Date": "Jan 01 9999"}, "launch_date", None, Kind.DATE_UNREADABLE),
        ({"Production Budget": None}, "budget", None, Kind.MONEY_MISSING),
        ({"Production Budget": 0}, "budget", Decimal("0.00"), Kind.MONEY_ZERO),
        ({"Production Budget": -5}, "budget", None, Kind.MONEY_UNREADABLE),
        ({"Production Budget": "20M"}, "budget", None, Kind.MONEY_UNREADABLE),
        ({"Production Budget": True}, "budget", None, Kind.MONEY_UNREADABLE),
        ({"Production Budget": Decimal("1.005")}, "budget", None, Kind.MONEY_UNREADABLE),
        ({"Production Budget": Decimal("NaN")}, "budget", None, Kind.MONEY_UNREADABLE),
        ({"Production Budget": float("nan")}, "budget", None, Kind.MONEY_UNREADABLE),
        ({"Production Budget": 10**13}, "budget", None, Kind.MONEY_UNREADABLE),
        ({"Production Budget": 10**400}, "budget", None, Kind.MONEY_UNREADABLE),
        ({"Production Budget": 218}, "budget", Decimal("218.00"), Kind.BUDGET_IMPLAUSIBLE),
        ({"MPAA Rating": "Open"}, "rating", None, Kind.CHOICE_UNKNOWN),
        ({"MPAA Rating": ["R"]}, "rating", None, Kind.CHOICE_UNKNOWN),
        ({"IMDB Rating": 11}, "score", None, Kind.NUMBER_UNREADABLE),
        ({"IMDB Rating": Decimal("6.15")}, "score", None, Kind.NUMBER_UNREADABLE),
        ({"Running Time min": 0}, "running_time_minutes", None, Kind.NUMBER_UNREADABLE),
        ({"Rotten Tomatoes Rating": 101}, "critics_percent", None, Kind.NUMBER_UNREADABLE),
    ],
)  # fmt: skip
def test_an_odd_value_is_stored_as_stated_and_reported(
    odd: Any, attribute: Any, stored: Any, kind: Any
) -> None:
    film, findings = read(**odd)
    assert getattr(film, attribute) == stored
    assert findings[next(iter(odd))] is kind


def test_a_text_that_only_looks_misencoded_stays() -> None:
    film, findings = read(Title="Alien³")
    assert film.name == "Alien³"
    assert findings == {}


def test_a_world_gross_below_the_us_gross_gives_way() -> None:
    film, findings = read(**{"US Gross": 10, "Worldwide Gross": 4})
    assert film.worldwide_gross == Decimal("10.00")
    assert film.international_gross == 0
    assert findings == {"Worldwide Gross": Kind.GROSS_CONTRADICTORY}


def test_an_unbelievable_date_still_names_a_year_to_book_under() -> None:
    assert read(**{"Release Date": "Jan 01 1970"})[0].booking_year == 1970
    assert read(**{"Release Date": "soon"})[0].booking_year == 2011


def test_fields_too_few_and_too_many_are_reported() -> None:
    row = {name: value for name, value in CLEAN.items() if name != "Director"}
    reading = read_film(1, row | {"Colour": "yes"})
    assert {(f.field, f.kind) for f in reading.findings} == {
        ("Director", Kind.FIELD_MISSING),
        ("Colour", Kind.FIELD_UNKNOWN),
    }


@pytest.mark.parametrize("raw", [None, 5, "Heat", ["Heat"]])
def test_a_row_that_is_no_object_is_skipped_and_reported(raw: Any) -> None:
    reading = read_film(3, raw)
    assert reading.film is None
    assert [finding.kind for finding in reading.findings] == [Kind.ROW_NOT_AN_OBJECT]


def test_the_films_we_ship_have_just_the_dirt_we_know_of() -> None:
    """A change of the file or of the rules must be looked at by someone."""
    counts: dict[str, int] = {}
    for number, raw in enumerate(read_rows(find_films()), start=1):
        for finding in read_film(number, raw).findings:
            counts[finding.kind.value] = counts.get(finding.kind.value, 0) + 1
    assert counts == {
        "money_zero": 113,
        "date_century": 22,
        "text_misencoded": 18,
        "money_missing": 15,
        "date_epoch": 13,
        "text_not_text": 9,
        "choice_unknown": 2,
        "text_placeholder": 1,
        "budget_implausible": 1,
        "name_missing": 1,
    }


def test_numbers_in_a_file_are_read_exactly(tmp_path: Path) -> None:
    file = tmp_path / "films.json"
    file.write_text(json.dumps([{"IMDB Rating": 6.1}]), "utf-8")
    assert read_rows(file)[0]["IMDB Rating"] == Decimal("6.1")
