"""What exists in the database, as far as planning the next change needs to know it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import sqlalchemy as sa

from finance import tables

BOOKS_OPEN: Final = datetime(2026, 1, 1, 9)  # noqa: DTZ001 - the books keep naive UTC
"""Where the business clock starts. It follows the seed, not the wall: two runs book alike."""

BudgetKey = tuple[int, str]
"""Fiscal year and category, within one title."""


@dataclass(slots=True)
class Title:
    """One title and its children, by their keys."""

    title_id: int
    name: str
    launch_date: date | None
    former_date: date | None = None
    """Where the launch moved away from, and may move back to."""
    markets: set[str] = field(default_factory=set)
    budgets: dict[BudgetKey, Decimal] = field(default_factory=dict)
    productions: dict[int, tuple[date, date]] = field(default_factory=dict)
    slate: dict[int, tuple[str, str, date]] = field(default_factory=dict)
    """Territory, window and planned date."""
    flows: dict[int, tuple[str, Decimal]] = field(default_factory=dict)
    payments: dict[int, bool] = field(default_factory=dict)
    """Whether it is paid."""

    @property
    def rows(self) -> int:
        """The title's own row and every row that a cascade reaches."""
        lines = len(self.budgets) + len(self.flows) + len(self.payments)
        return 1 + len(self.productions) + len(self.slate) + lines


class Titles:
    """A set of titles that a random one can be drawn from in constant time.

    The order depends on nothing but the calls made, so that a seed draws the same ones again.
    """

    def __init__(self) -> None:
        self._ordered: list[Title] = []
        self._place: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._ordered)

    def __iter__(self) -> Iterator[Title]:
        return iter(self._ordered)

    def __getitem__(self, title_id: int) -> Title:
        return self._ordered[self._place[title_id]]

    def add(self, title: Title) -> None:
        self._place[title.title_id] = len(self._ordered)
        self._ordered.append(title)

    def remove(self, title: Title) -> None:
        place, last = self._place.pop(title.title_id), self._ordered.pop()
        if last is not title:
            self._ordered[place] = last
            self._place[last.title_id] = place

    def draw(self, rng: random.Random) -> Title:
        """Some titles are in the news: the cube makes a few be drawn far more often."""
        return self._ordered[int(len(self._ordered) * rng.random() ** 3)]


class Studio:
    """The state that plans are made on. `now` is the business clock."""

    def __init__(self) -> None:
        self.titles = Titles()
        self.talent: list[int] = []
        self.now = BOOKS_OPEN
        self._next: dict[str, int] = {}

    @classmethod
    def read(cls, connection: sa.Connection) -> Studio:
        """Everything there is, read in key order, so that equal databases give equal states."""
        studio = cls()
        for row in _rows(connection, tables.TITLES, "title_id", "name", "launch_date", "markets"):
            title_id, name, launch_date, markets = row
            studio.titles.add(Title(title_id, name, launch_date, markets=set(markets)))
        for row in _rows(connection, tables.TALENT, "talent_id"):
            studio.talent.append(row[0])
        studio._read_children(connection)
        studio._number_on(connection)
        return studio

    def next_id(self, table: sa.Table) -> int:
        number = self._next.get(table.name, 1)
        self._next[table.name] = number + 1
        return number

    def tick(self) -> datetime:
        self.now += timedelta(seconds=37, microseconds=104_729)
        return self.now

    def _read_children(self, connection: sa.Connection) -> None:
        titles = self.titles
        columns: tuple[str, ...] = ("title_id", "fiscal_year", "category", "amount")
        for title_id, year, category, amount in _rows(connection, tables.BUDGETS, *columns):
            titles[title_id].budgets[year, category] = amount
        columns = ("title_id", "production_id", "starts_on", "ends_on")
        for title_id, number, first, last in _rows(connection, tables.PRODUCTIONS, *columns):
            titles[title_id].productions[number] = first, last
        columns = ("title_id", "slate_entry_id", "territory", "release_window", "planned_on")
        for title_id, number, *entry in _rows(connection, tables.SLATE_ENTRIES, *columns):
            titles[title_id].slate[number] = entry[0], entry[1], entry[2]
        columns = ("title_id", "cash_flow_id", "kind", "amount")
        for title_id, number, kind, amount in _rows(connection, tables.CASH_FLOWS, *columns):
            titles[title_id].flows[number] = kind, amount
        columns = ("title_id", "payment_id", "paid_at")
        for title_id, number, paid_at in _rows(connection, tables.TALENT_PAYMENTS, *columns):
            titles[title_id].payments[number] = paid_at is not None

    def _number_on(self, connection: sa.Connection) -> None:
        for table in tables.BUSINESS_TABLES:
            key, *more = table.primary_key.columns
            if not more:
                last = connection.execute(sa.select(sa.func.max(key))).scalar_one()
                self._next[table.name] = (last or 0) + 1


def _rows(connection: sa.Connection, table: sa.Table, *columns: str) -> Iterator[Any]:
    query = sa.select(*(table.c[name] for name in columns)).order_by(*table.primary_key.columns)
    with connection.execute(query) as result:
        yield from result
