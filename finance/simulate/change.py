"""One statement of a planned transaction, and the prepared statements that plans are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import bindparam

from finance import tables


@dataclass(frozen=True, slots=True)
class Change:
    """`changes` counts rows, with those that foreign keys take along."""

    kind: str
    table: str
    operation: str
    statement: sa.Executable
    parameters: Sequence[Mapping[str, Any]]
    changes: int


def insert(kind: str, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> Change:
    return Change(kind, table.name, "insert", _INSERTS[table.name], rows, len(rows))


def update(
    kind: str, statement: sa.Update, *rows: Mapping[str, Any], changes: int | None = None
) -> Change:
    table = statement.table.description
    return Change(kind, table, "update", statement, rows, changes or len(rows))


def delete(kind: str, table: sa.Table, *keys: Mapping[str, Any], changes: int = 0) -> Change:
    return Change(kind, table.name, "delete", _DELETES[table.name], keys, changes or len(keys))


def _where_key(table: sa.Table) -> sa.ColumnElement[bool]:
    return sa.and_(*(column == bindparam(f"old_{column.name}") for column in table.primary_key))


def _update(table: sa.Table, *names: str, **computed: Any) -> sa.Update:
    """Sets the columns `names` from parameters of their name, where the key is `old_<column>`."""
    values: dict[str, Any] = {name: bindparam(name, type_=table.c[name].type) for name in names}
    return table.update().where(_where_key(table)).values(values | computed)


_INSERTS: Final = {table.name: table.insert() for table in tables.BUSINESS_TABLES}
_DELETES: Final = {
    table.name: table.delete().where(_where_key(table)) for table in tables.BUSINESS_TABLES
}

_titles, _budgets = tables.TITLES.c, tables.BUDGETS.c

MOVE_LAUNCH: Final = _update(tables.TITLES, "launch_date")
RENAME: Final = _update(tables.TITLES, "name", "synopsis")
REVIEW: Final = _update(
    tables.TITLES, "score", "critics_percent", "attributes",
    votes=sa.func.coalesce(_titles.votes, 0) + bindparam("more_votes"),
)  # fmt: skip
RENUMBER: Final = _update(tables.TITLES, "title_id")

# MySQL sums, so that the total is right even beside changes that someone else makes.
SUM_BUDGET: Final = _update(
    tables.TITLES,
    total_budget=sa.select(sa.func.sum(_budgets.amount))
    .where(_budgets.title_id == _titles.title_id)
    .scalar_subquery()
    .correlate(tables.TITLES),
)
ADD_GROSS: Final = _update(
    tables.TITLES, "markets",
    us_gross=sa.func.coalesce(_titles.us_gross, 0) + bindparam("more_us"),
    worldwide_gross=sa.func.coalesce(_titles.worldwide_gross, 0) + bindparam("more_worldwide"),
)  # fmt: skip
ADD_MARKET: Final = _update(tables.TITLES, "markets")

REVISE_BUDGET: Final = _update(
    tables.BUDGETS, "amount", "approved_at", revision=_budgets.revision + 1
)
MOVE_BUDGET: Final = _update(tables.BUDGETS, "fiscal_year")
CORRECT_CASH: Final = _update(tables.CASH_FLOWS, "amount", "is_estimate")
RESCHEDULE: Final = _update(
    tables.PRODUCTIONS, "starts_on", "ends_on", "call_time", "status", "rescheduled_at",
    revision=tables.PRODUCTIONS.c.revision + 1,
)  # fmt: skip
MOVE_SLATE: Final = _update(tables.SLATE_ENTRIES, "planned_on", "slate_year", "is_confirmed")
SETTLE: Final = _update(tables.TALENT_PAYMENTS, "paid_at")
NEW_CONTACT: Final = _update(tables.TALENT, "email", "phone")
