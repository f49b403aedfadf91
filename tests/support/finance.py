"""A finance database of one's own on the running MySQL, for tests."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import sqlalchemy as sa

from finance import checks
from finance.database import Account, Role, open_engine
from finance.load import Loader, find_films, read_rows
from finance.migrations import CREATED_ACCOUNTS, Migrations, find_revisions

FILMS = 40
"""Few enough to load in a moment."""


@dataclass
class Database:
    """A database with an underscore in its name, and a way in for each account."""

    environment: Mapping[str, str] = field(repr=False)  # passwords are in it
    engines: dict[Role, sa.Engine] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.environment["CALLSHEET_MYSQL_DATABASE"]

    def account(self, role: Role) -> Account:
        return Account.from_environment(self.environment, role)

    def engine(self, role: Role = Role.APP) -> sa.Engine:
        if role not in self.engines:
            self.engines[role] = open_engine(self.account(role))
        return self.engines[role]

    @property
    def migrations(self) -> Migrations:
        return Migrations(self.account(Role.ADMIN), find_revisions())

    def up(self, target: str = "head") -> list[str]:
        passwords = {role: self.account(role).password for role in CREATED_ACCOUNTS}
        return [revision.number for revision in self.migrations.up(passwords, target)]

    def down(self, target: str = "-1") -> list[str]:
        return [revision.number for revision in self.migrations.down(target)]

    def ask(self, question: str, role: Role = Role.ADMIN) -> list[Any]:
        with self.engine(role).connect() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(question)]

    def tables(self) -> list[str]:
        return sorted(name for (name,) in self.ask("SHOW TABLES"))

    def load(self, count: int = FILMS) -> None:
        Loader(self.engine(), time.monotonic).load(read_rows(find_films())[:count])

    def execute(self, statement: str | sa.Executable, role: Role = Role.ADMIN) -> None:
        with self.engine(role).begin() as connection:
            if isinstance(statement, str):
                connection.exec_driver_sql(statement)
            else:
                connection.execute(statement)

    def drop(self) -> None:
        self.up()  # whatever a test left: down takes back what all revisions granted
        self.down("base")
        self.execute(f"DROP DATABASE `{self.name}`")
        for engine in self.engines.values():
            engine.dispose()

    def rows(self, table: sa.Table) -> list[dict[str, Any]]:
        """Without what MySQL's own clock writes."""
        return [
            {name: value for name, value in row.items() if name != "updated_at"}
            for row in checks.row_stream(self.engine(Role.READER), table)
        ]


@contextmanager
def a_database(environment: Mapping[str, str]) -> Iterator[Database]:
    """Empty, not even migrated; gone afterwards, with all that was granted on it."""
    name = f"finance_{uuid4().hex[:10]}"
    database = Database({**environment, "CALLSHEET_MYSQL_DATABASE": name})
    yield database
    database.drop()


def assert_books_agree(database: Database) -> None:
    """Every title's totals are the exact sums of its lines."""
    assert database.ask(_UNEQUAL_BUDGETS, Role.READER) == []
    assert database.ask(_UNEQUAL_GROSSES, Role.READER) == []


_UNEQUAL_BUDGETS = (
    "SELECT t.title_id FROM titles t LEFT JOIN "
    "(SELECT title_id, SUM(amount) total FROM budgets GROUP BY title_id) b USING (title_id) "
    "WHERE COALESCE(t.total_budget, 0) <> COALESCE(b.total, 0)"
)
_UNEQUAL_GROSSES = (
    "SELECT t.title_id FROM titles t LEFT JOIN (SELECT title_id, "
    "SUM(IF(kind = 'domestic_gross', amount, 0)) us, "
    "SUM(IF(kind IN ('domestic_gross', 'international_gross'), amount, 0)) world "
    "FROM cash_flows GROUP BY title_id) c USING (title_id) "
    "WHERE COALESCE(t.us_gross, 0) <> COALESCE(c.us, 0) "
    "OR COALESCE(t.worldwide_gross, 0) <> COALESCE(c.world, 0)"
)
