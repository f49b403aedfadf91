"""A Film as rows of the finance tables.

The file has totals; the books need lines. Every line here follows from the film by arithmetic
alone, so that two loads of one file make the same books, and every total is the exact sum of its
lines. Contact details are made up and can reach nobody: example.com, 555 numbers, taxpayer numbers
that are never issued.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import ROUND_DOWN, Decimal
from typing import Any, Final

from finance.films import Film
from finance.values import CENT, FIRST_YEAR

Row = Mapping[str, Any]

# Share of the budget in percent, and the fiscal year counted from the launch. The last line takes
# what rounding left over.
_BUDGET_LINES: Final = (
    ("above_the_line", 25, -1),
    ("production", 45, -1),
    ("post_production", 22, 0),
    ("contingency", 8, 0),
)
_ZERO: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class FilmRows:
    """One film's rows. Keys that MySQL numbers itself are left out; payments lack talent_id."""

    title: Row
    productions: Sequence[Row]
    slate_entries: Sequence[Row]
    budgets: Sequence[Row]
    cash_flows: Sequence[Row]
    payments: Sequence[Row]


def rows_of(film: Film) -> FilmRows:
    flows = _cash_flows(film)
    return FilmRows(
        title=_title(film, flows),
        productions=_productions(film),
        slate_entries=_slate_entries(film),
        budgets=budget_lines(film.title_id, film.budget, film.booking_year),
        cash_flows=flows,
        payments=_payments(film),
    )


def talent_row(name: str) -> Row:
    """A person as the books know them. Only the name is real."""
    digest = hashlib.blake2b(name.encode(), digest_size=16).digest()
    number = int.from_bytes(digest[:4], "big")
    return {
        "full_name": name,
        "roles": {"director"},
        "email": f"talent-{digest.hex()[:12]}@example.com",
        "phone": f"+1-555-{number % 100 + 100:04d}",
        "birth_date": None,
        "tax_number": f"000-{number % 99 + 1:02d}-{number % 9999 + 1:04d}",
        "payout_token": digest,
    }


def budget_lines(title_id: int, total: Decimal | None, year: int) -> Sequence[Row]:
    """Lines whose amounts sum to `total` to the cent; none where there is no total."""
    if not total:
        return ()
    lines, left = [], total
    for category, percent, offset in _BUDGET_LINES:
        amount = (total * percent / 100).quantize(CENT, rounding=ROUND_DOWN)
        if category == _BUDGET_LINES[-1][0]:
            amount = left
        left -= amount
        lines.append({
            "title_id": title_id,
            "fiscal_year": max(year + offset, FIRST_YEAR),
            "category": category,
            "amount": amount,
        })  # fmt: skip
    return lines


def _title(film: Film, flows: Sequence[Row]) -> Row:
    kinds = {flow["kind"] for flow in flows}
    facts = {"source": film.source, "creative_type": film.creative_type}
    return {
        "title_id": film.title_id,
        "name": film.name,
        "kind": film.kind,
        "launch_date": film.launch_date,
        "total_budget": film.budget,
        "us_gross": film.us_gross,
        "worldwide_gross": film.worldwide_gross,
        "distributor": film.distributor,
        "genre": film.genre,
        "rating": film.rating,
        "director": film.director,
        "running_time_minutes": film.running_time_minutes,
        "score": film.score,
        "votes": film.votes,
        "critics_percent": film.critics_percent,
        "markets": {_MARKETS[kind] for kind in kinds},
        "is_released": int(film.launch_date is not None or bool(flows)),
        "synopsis": _synopsis(film),
        "attributes": {key: fact for key, fact in facts.items() if fact is not None} or None,
    }


_MARKETS: Final = {
    "domestic_gross": "domestic",
    "international_gross": "international",
    "home_video": "home_video",
}


def _synopsis(film: Film) -> str:
    """The catalogue's line about the film, from its facts: nothing here is invented."""
    parts = [film.genre or film.kind.capitalize()]
    if film.creative_type:
        parts.append(film.creative_type.lower())
    if film.source:
        parts.append(film.source[0].lower() + film.source[1:])
    by = f" Directed by {film.director}." if film.director else ""
    year = f" Released in {film.launch_date.year}." if film.launch_date else ""
    return f"{', '.join(parts)}.{by}{year}"


def _productions(film: Film) -> Sequence[Row]:
    launch = film.launch_date
    if launch is None:
        return ()
    shooting_days = 35 + min(film.running_time_minutes or 100, 240) // 4
    first = launch - timedelta(days=390 + film.title_id * 37 % 120)
    wrap = first + timedelta(days=shooting_days)
    return (
        _production(film, "principal_photography", first, wrap),
        _production(
            film, "post_production", wrap + timedelta(days=14), launch - timedelta(days=45)
        ),
    )


def _production(film: Film, phase: str, first: date, last: date) -> Row:
    return {
        "title_id": film.title_id,
        "phase": phase,
        "status": "wrapped",
        "starts_on": first,
        "ends_on": last,
        "call_time": time(5 + film.title_id % 5, 30 * (film.title_id % 2)),
        "studio": f"Stage {film.title_id % 24 + 1}",
    }


def _slate_entries(film: Film) -> Sequence[Row]:
    launch = film.launch_date
    if launch is None:
        return ()
    entries = [_slate_entry(film, "US", "theatrical", launch)]
    if film.international_gross:
        entries.append(_slate_entry(film, "GB", "theatrical", launch + timedelta(days=14)))
    if film.home_video:
        later = launch + timedelta(days=120 + film.title_id % 60)
        entries.append(_slate_entry(film, "US", "home_video", later))
    return entries


def _slate_entry(film: Film, territory: str, window: str, planned_on: date) -> Row:
    return {
        "title_id": film.title_id,
        "territory": territory,
        "release_window": window,
        "slate_year": planned_on.year,
        "planned_on": planned_on,
        "is_confirmed": 1,
    }


def _cash_flows(film: Film) -> Sequence[Row]:
    from_launch = film.launch_date or date(film.booking_year, 1, 1)
    candidates = (
        ("domestic_gross", film.us_gross, 90),
        ("international_gross", film.international_gross, 180),
        ("home_video", film.home_video, 365),
    )
    return [
        {
            "title_id": film.title_id,
            "kind": kind,
            "amount": amount,
            "booked_on": from_launch + timedelta(days=days),
            "statement_number": _statement_number(film.title_id, kind),
        }
        for kind, amount, days in candidates
        if amount
    ]


def _statement_number(title_id: int, kind: str) -> int:
    digest = hashlib.blake2b(f"{title_id}/{kind}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def _payments(film: Film) -> Sequence[Row]:
    """The director's fee is 4 % of the budget, and a hit pays 0.5 % of its gross on top."""
    if film.director is None or not film.budget:
        return ()
    fee = (film.budget * 4 / 100).quantize(CENT, rounding=ROUND_DOWN)
    advance = (fee * 40 / 100).quantize(CENT, rounding=ROUND_DOWN)
    launch = film.launch_date or date(film.booking_year, 1, 1)
    payments = [
        _payment(film, "advance", advance, launch - timedelta(days=480)),
        _payment(film, "salary", fee - advance, launch - timedelta(days=240)),
    ]
    gross = film.worldwide_gross or _ZERO
    if gross > film.budget * 3:
        bonus = (gross / 200).quantize(CENT, rounding=ROUND_DOWN)
        payments.append(_payment(film, "bonus", bonus, launch + timedelta(days=200)))
    return [payment for payment in payments if payment["amount"] > 0]


def _payment(film: Film, kind: str, amount: Decimal, due_on: date) -> Row:
    return {
        "title_id": film.title_id,
        "kind": kind,
        "amount": amount,
        "withholding_rate": Decimal("0.3000") if kind == "bonus" else Decimal("0.2400"),
        "due_on": due_on,
        "paid_at": datetime.combine(due_on, time(12, 0, 0, film.title_id)),
        "memo": f"{kind.capitalize()} for {film.name}"[:200],
    }
