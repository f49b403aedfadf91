"""The books of a film: every total is the exact sum of its lines."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from finance.films import Film
from finance.ledger import budget_lines, rows_of, talent_row
from finance.values import FIRST_YEAR

money = st.decimals(min_value=0, max_value=Decimal("9999999999999.99"), places=2)
films = st.builds(
    Film,
    title_id=st.integers(1, 999_999),
    name=st.text(min_size=1, max_size=255),
    kind=st.just("film"),
    launch_date=st.none() | st.dates(date(FIRST_YEAR, 1, 1), date(2111, 1, 1)),
    booking_year=st.integers(FIRST_YEAR, 2111),
    budget=st.none() | money,
    us_gross=st.none() | money,
    worldwide_gross=st.none(),
    home_video=st.none() | money,
    distributor=st.none(),
    director=st.none() | st.just("Agnès Varda"),
    genre=st.none() | st.just("Drama"),
    rating=st.none(),
    source=st.none() | st.just("Remake"),
    creative_type=st.none(),
    running_time_minutes=st.none() | st.integers(1, 65535),
    score=st.none(),
    votes=st.none(),
    critics_percent=st.none(),
)


@st.composite
def consistent_films(draw: st.DrawFn) -> Film:
    """As the reader makes them: the world's gross includes the US gross."""
    film = draw(films)
    abroad = draw(money)
    total = (film.us_gross or Decimal(0)) + abroad
    return replace(film, worldwide_gross=draw(st.sampled_from([film.us_gross, total])))


@given(total=money, year=st.integers(FIRST_YEAR, 2155))
def test_budget_lines_sum_to_the_total_to_the_cent(total: Decimal, year: int) -> None:
    lines = budget_lines(1, total, year)
    assert sum(line["amount"] for line in lines) == total
    assert all(line["amount"] >= 0 for line in lines)
    assert len({(line["fiscal_year"], line["category"]) for line in lines}) == len(lines)
    assert all(FIRST_YEAR <= line["fiscal_year"] <= 2155 for line in lines)


@given(film=consistent_films())
def test_the_books_agree_with_the_film(film: Film) -> None:
    rows = rows_of(film)
    flows = {flow["kind"]: flow["amount"] for flow in rows.cash_flows}
    domestic = flows.get("domestic_gross", 0)
    assert domestic == (film.us_gross or 0)
    assert domestic + flows.get("international_gross", 0) == (film.worldwide_gross or 0)
    assert flows.get("home_video", 0) == (film.home_video or 0)
    assert sum(line["amount"] for line in rows.budgets) == (film.budget or 0)
    assert all(payment["amount"] > 0 for payment in rows.payments)
    assert len(rows.title["markets"]) == len(rows.cash_flows)


@given(film=consistent_films())
def test_dates_hold_what_the_tables_check(film: Film) -> None:
    rows = rows_of(film)
    assert all(row["ends_on"] >= row["starts_on"] for row in rows.productions)
    assert all(row["slate_year"] == row["planned_on"].year for row in rows.slate_entries)
    windows = [(row["territory"], row["release_window"]) for row in rows.slate_entries]
    assert len(set(windows)) == len(windows)
    if film.launch_date is None:
        assert not rows.productions
        assert not rows.slate_entries


@given(film=consistent_films())
def test_the_same_film_makes_the_same_books(film: Film) -> None:
    assert rows_of(film) == rows_of(film)


def test_contact_details_reach_nobody() -> None:
    person = talent_row("Agnès Varda")
    assert person == talent_row("Agnès Varda")
    assert person["email"].endswith("@example.com")
    assert "-555-01" in person["phone"]
    assert person["tax_number"].startswith("000-")
    assert len(person["tax_number"]) == 11
    assert person["birth_date"] is None
