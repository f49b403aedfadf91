"""What happens to the money: budgets are revised, cash comes and goes, people are paid.

After every one of these a title's totals equal the sum of its lines, in the same transaction.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from finance import tables
from finance.ledger import budget_lines
from finance.simulate import change
from finance.simulate.change import Change
from finance.simulate.studio import BudgetKey, Studio, Title
from finance.values import CENT

_CASH_KINDS: Final = {
    "domestic_gross": "domestic",
    "international_gross": "international",
    "home_video": "home_video",
    "licence": "streaming",
    "streaming": "streaming",
}
"""And the market in which a title earns it."""

_FULL: Final = 24
"""So many lines of one sort under a title are enough: instead of adding, old ones are closed.
It keeps a database from growing without end under a long run."""

_FIRST_NAMES: Final = ("Ana", "Björn", "Chloé", "Daiki", "Efua", "Farid", "Giulia", "Hana")
_LAST_NAMES: Final = ("Åkesson", "Brandt", "Contreras", "Dubois", "Ekström", "Fujita", "Garcia")


def revise_budget(studio: Studio, rng: random.Random) -> Sequence[Change]:
    """Some lines of a budget change together, and the total with them."""
    title = studio.titles.draw(rng)
    if not title.budgets:
        return _first_budget(studio, title, rng)
    lines = rng.sample(list(title.budgets), rng.randint(1, len(title.budgets)))
    approved_at = studio.tick()
    rows = []
    for line in lines:
        title.budgets[line] = _varied(title.budgets[line], rng)
        values = {"amount": title.budgets[line], "approved_at": approved_at}
        rows.append(_line_key(title, line) | values)
    return (change.update("revise_budget", change.REVISE_BUDGET, *rows), _sum_budget(title))


def move_budget(studio: Studio, rng: random.Random) -> Sequence[Change]:
    """A line moves to the next or the last fiscal year: part of its primary key changes."""
    title = studio.titles.draw(rng)
    if not title.budgets:
        return ()
    year, category = rng.choice(list(title.budgets))
    new_year = year + rng.choice((-1, 1))
    if (new_year, category) in title.budgets or not 1901 <= new_year <= 2155:
        return ()
    values = _line_key(title, (year, category)) | {"fiscal_year": new_year}
    title.budgets[new_year, category] = title.budgets.pop((year, category))
    return (change.update("move_budget", change.MOVE_BUDGET, values),)


def rewrite_budget(studio: Studio, rng: random.Random) -> Sequence[Change]:
    """A line is deleted and written anew under the same key, in one transaction."""
    title = studio.titles.draw(rng)
    if not title.budgets:
        return ()
    line = rng.choice(list(title.budgets))
    title.budgets[line] = _varied(title.budgets[line], rng)
    year, category = line
    row = {
        "title_id": title.title_id,
        "fiscal_year": year,
        "category": category,
        "amount": title.budgets[line],
        "approved_at": studio.tick(),
    }
    return (
        change.delete("rewrite_budget", tables.BUDGETS, _line_key(title, line)),
        change.insert("rewrite_budget", tables.BUDGETS, [row]),
        _sum_budget(title, kind="rewrite_budget"),
    )


def book_cash(studio: Studio, rng: random.Random) -> Sequence[Change]:
    title = studio.titles.draw(rng)
    if len(title.flows) >= _FULL:
        return reverse_cash(studio, rng, title)
    booked_on, rows, booked = studio.tick().date(), [], []
    for _ in range(rng.randint(1, 4)):
        kind, amount = rng.choice(list(_CASH_KINDS)), _amount(rng, 1_000, 4_000_000)
        number = studio.next_id(tables.CASH_FLOWS)
        title.flows[number] = kind, amount
        booked.append((kind, amount))
        rows.append({
            "cash_flow_id": number,
            "title_id": title.title_id,
            "kind": kind,
            "amount": amount,
            "booked_on": booked_on,
            "is_estimate": rng.randint(0, 1),
            "statement_number": rng.getrandbits(64),
        })  # fmt: skip
    insert = change.insert("book_cash", tables.CASH_FLOWS, rows)
    return (insert, *_earn("book_cash", title, booked))


def correct_cash(studio: Studio, rng: random.Random) -> Sequence[Change]:
    title = studio.titles.draw(rng)
    if not title.flows:
        return ()
    number = rng.choice(list(title.flows))
    kind, old = title.flows[number]
    new = _varied(old, rng)
    title.flows[number] = kind, new
    values = {"old_cash_flow_id": number, "amount": new, "is_estimate": 0}
    correction = change.update("correct_cash", change.CORRECT_CASH, values)
    return (correction, *_earn("correct_cash", title, [(kind, new - old)]))


def reverse_cash(
    studio: Studio, rng: random.Random, title: Title | None = None
) -> Sequence[Change]:
    """Up to four flows of a title turn out never to have happened."""
    title = title or studio.titles.draw(rng)
    if not title.flows:
        return ()
    numbers = rng.sample(list(title.flows), rng.randint(1, min(4, len(title.flows))))
    gone = [title.flows.pop(number) for number in numbers]
    keys = [{"old_cash_flow_id": number} for number in numbers]
    deletion = change.delete("reverse_cash", tables.CASH_FLOWS, *keys)
    back = [(kind, -amount) for kind, amount in gone]
    return (deletion, *_earn("reverse_cash", title, back))


def pay(studio: Studio, rng: random.Random) -> Sequence[Change]:
    """New payments become due for a title."""
    if not studio.talent:
        return hire(studio, rng)
    title = studio.titles.draw(rng)
    if len(title.payments) >= _FULL:
        return void(studio, rng, title)
    due_on, rows = (studio.tick() + timedelta(days=30)).date(), []
    for _ in range(rng.randint(1, 5)):
        number = studio.next_id(tables.TALENT_PAYMENTS)
        title.payments[number] = False
        rows.append({
            "payment_id": number,
            "talent_id": rng.choice(studio.talent),
            "title_id": title.title_id,
            "kind": rng.choice(("advance", "salary", "bonus", "residual")),
            "amount": _amount(rng, 100, 250_000),
            "withholding_rate": Decimal(rng.choice((0, 1500, 2400, 3000))) / 10_000,
            "due_on": due_on,
        })  # fmt: skip
    return (change.insert("pay", tables.TALENT_PAYMENTS, rows),)


def settle(studio: Studio, rng: random.Random) -> Sequence[Change]:
    """What is owed for a title is paid."""
    title = studio.titles.draw(rng)
    owed = [number for number, is_paid in title.payments.items() if not is_paid][:4]
    if not owed:
        return ()
    paid_at = studio.tick()
    title.payments.update(dict.fromkeys(owed, True))
    rows = [{"old_payment_id": number, "paid_at": paid_at} for number in owed]
    return (change.update("settle", change.SETTLE, *rows),)


def void(studio: Studio, rng: random.Random, title: Title | None = None) -> Sequence[Change]:
    title = title or studio.titles.draw(rng)
    if not title.payments:
        return ()
    numbers = rng.sample(list(title.payments), rng.randint(1, min(4, len(title.payments))))
    for number in numbers:
        del title.payments[number]
    keys = [{"old_payment_id": number} for number in numbers]
    return (change.delete("void", tables.TALENT_PAYMENTS, *keys),)


def hire(studio: Studio, rng: random.Random) -> Sequence[Change]:
    number = studio.next_id(tables.TALENT)
    studio.talent.append(number)
    row: dict[str, Any] = {
        "talent_id": number,
        "full_name": f"{rng.choice(_FIRST_NAMES)} {rng.choice(_LAST_NAMES)}",
        "roles": set(rng.sample(("actor", "composer", "director", "producer", "writer"), 2)),
        "email": f"talent-{number}@example.com",
        "phone": f"+1-555-{rng.randint(100, 199):04d}",
        "birth_date": (studio.tick() - timedelta(days=rng.randint(7_000, 28_000))).date(),
        "tax_number": f"000-{rng.randint(1, 99):02d}-{rng.randint(1, 9999):04d}",
        "payout_token": rng.randbytes(16),
    }
    return (change.insert("hire", tables.TALENT, [row]),)


def new_contact(studio: Studio, rng: random.Random) -> Sequence[Change]:
    if not studio.talent:
        return hire(studio, rng)
    number = rng.choice(studio.talent)
    values = {
        "old_talent_id": number,
        "email": f"talent-{number}.{rng.getrandbits(32):08x}@example.com",
        "phone": rng.choice((None, f"+1-555-{rng.randint(100, 199):04d}")),
    }
    return (change.update("new_contact", change.NEW_CONTACT, values),)


def _first_budget(studio: Studio, title: Title, rng: random.Random) -> Sequence[Change]:
    year = (title.launch_date or studio.tick().date()).year
    lines = budget_lines(title.title_id, _amount(rng, 500_000, 90_000_000), year)
    title.budgets.update(
        {(line["fiscal_year"], line["category"]): line["amount"] for line in lines}
    )
    return (change.insert("revise_budget", tables.BUDGETS, lines), _sum_budget(title))


def _sum_budget(title: Title, kind: str = "revise_budget") -> Change:
    return change.update(kind, change.SUM_BUDGET, {"old_title_id": title.title_id})


def _line_key(title: Title, line: BudgetKey) -> dict[str, Any]:
    year, category = line
    return {"old_title_id": title.title_id, "old_fiscal_year": year, "old_category": category}


def _earn(kind: str, title: Title, booked: Sequence[tuple[str, Decimal]]) -> Sequence[Change]:
    """The title's grosses and markets after `booked` was added to (or taken from) its flows."""
    domestic = sum((money for sort, money in booked if sort == "domestic_gross"), Decimal(0))
    abroad = sum((money for sort, money in booked if sort == "international_gross"), Decimal(0))
    markets = {_CASH_KINDS[sort] for sort, _ in title.flows.values()}
    is_known, title.markets = markets == title.markets, markets
    values = {"old_title_id": title.title_id, "markets": markets}
    if domestic or abroad:
        values |= {"more_us": domestic, "more_worldwide": domestic + abroad}
        return (change.update(kind, change.ADD_GROSS, values),)
    return () if is_known else (change.update(kind, change.ADD_MARKET, values),)


def _amount(rng: random.Random, low: int, high: int) -> Decimal:
    """Small sums are more common than large ones; cents always matter."""
    return (Decimal(low * 100) + int((high - low) * 100 * rng.random() ** 2)) * CENT


def _varied(amount: Decimal, rng: random.Random) -> Decimal:
    """Within a fifth of it, in cents, above nothing, and never the same: MySQL logs no update
    that changes nothing, and the summary counts what is logged.
    """
    varied = max((amount * rng.randint(8_000, 12_000) / 10_000).quantize(CENT), CENT)
    return varied if varied != amount else amount + CENT
