"""A studio at work on a real MySQL."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from callsheet.errors import UnavailableError
from finance import checks, tables
from finance.database import Account, Role, open_engine
from finance.simulate import Progress, Simulator, Until
from finance.simulate.planner import Planner
from finance.simulate.studio import Studio
from tests.support.finance import Database, a_database, assert_books_agree


def test_a_seed_makes_the_same_rows_whatever_the_rate(
    loaded: Database, stack_env: Mapping[str, str]
) -> None:
    with a_database(stack_env) as twin:
        twin.up()
        twin.load()
        first = Simulator(loaded.engine(), 11).run(1e6, Until(changes=1500))
        second = Simulator(twin.engine(), 11).run(3000, Until(changes=1500))
        assert first.kinds == second.kinds
        for table in tables.BUSINESS_TABLES:
            assert loaded.rows(table) == twin.rows(table)


def test_the_books_agree_after_a_long_run_in_several_parts(loaded: Database) -> None:
    for seed in (1, 2, 3):
        summary = Simulator(loaded.engine(), seed).run(1e6, Until(changes=1500))
        assert summary.changes >= 1500
        assert sum(summary.kinds.values()) == sum(summary.operations.values()) == summary.changes
        assert_books_agree(loaded)


def test_plans_are_what_the_database_holds(loaded: Database) -> None:
    """What the planner believes after many transactions is what MySQL says, cascades included."""
    planner = Planner(random.Random(5), 20)
    with loaded.engine().connect() as connection:
        studio = Studio.read(connection)
        for _ in range(250):
            for change in planner.next_transaction(studio):
                connection.execute(change.statement, change.parameters)
            connection.commit()
        stored = Studio.read(connection)
    assert {t.title_id: _plain(t) for t in studio.titles} == {
        t.title_id: _plain(t) for t in stored.titles
    }
    assert sorted(studio.talent) == stored.talent


def _plain(title: Any) -> Any:
    return (
        title.name, title.launch_date, title.markets, title.budgets, title.productions, title.slate,
        title.flows, title.payments,
    )  # fmt: skip


def test_an_empty_database_gets_its_first_titles(database: Database) -> None:
    summary = Simulator(database.engine(), 1).run(1e6, Until(changes=600))
    assert summary.kinds["new_title"] > 0
    assert checks.row_count(database.engine(), tables.TITLES) >= 20
    assert_books_agree(database)


def test_a_steady_rate_is_kept(loaded: Database) -> None:
    started = time.monotonic()
    summary = Simulator(loaded.engine(), 1).run(200, Until(changes=400))
    elapsed = time.monotonic() - started
    # The last transaction may begin as soon as the one before it is due.
    assert elapsed >= (400 - 2 * 20) / 200
    assert summary.changes >= 400


def test_a_stop_ends_the_run_after_the_transaction_in_hand(loaded: Database) -> None:
    stop = threading.Event()

    def on_progress(_: Progress) -> None:
        stop.set()

    simulator = Simulator(loaded.engine(), 1, stop=stop, on_progress=on_progress)
    summary = simulator.run(500, Until(seconds=60))
    assert 0 < summary.seconds < 30
    assert_books_agree(loaded)


def test_a_killed_connection_is_survived(loaded: Database) -> None:
    killed: list[int] = []

    def kill(_: Progress) -> None:
        if not killed:
            killed.extend(_connections_of(loaded))
            for number in killed:
                loaded.execute(f"KILL {number}")

    summary = Simulator(loaded.engine(), 1, on_progress=kill).run(500, Until(changes=1500))
    assert killed
    assert summary.reconnects >= 1
    assert summary.changes >= 1500
    assert_books_agree(loaded)


def test_a_server_that_stays_away_is_an_error_with_a_hint(stack_env: Mapping[str, str]) -> None:
    account = Account.from_environment({**stack_env, "CALLSHEET_MYSQL_PORT": "1"}, Role.APP)
    with pytest.raises(UnavailableError) as caught:
        Simulator(open_engine(account), 1, patience_s=0.3).run(100, Until(seconds=60))
    assert caught.value.hint


def test_rows_that_someone_else_adds_are_stepped_around(loaded: Database) -> None:
    """A title numbered as the simulator would number its next one."""
    added: list[int] = []

    def add(_: Progress) -> None:
        with loaded.engine(Role.ADMIN).begin() as connection:
            result = connection.execute(
                tables.TITLES.insert().values(name="From outside", kind="film")
            )
            added.append(result.lastrowid)

    summary = Simulator(loaded.engine(), 1, on_progress=add).run(900, Until(changes=2500))
    assert added
    assert summary.changes >= 2500
    assert_books_agree(loaded)


def test_a_broken_rule_of_the_schema_is_not_tried_for_ever(loaded: Database) -> None:
    loaded.execute("ALTER TABLE titles ADD COLUMN must INT NOT NULL")
    with pytest.raises(DBAPIError):
        Simulator(loaded.engine(), 1).run(1e6, Until(changes=5000))


def _connections_of(database: Database) -> list[int]:
    found = database.ask(
        "SELECT id FROM performance_schema.processlist "
        f"WHERE db = '{database.name}' AND user = 'callsheet_app'"
    )
    return [number for (number,) in found]
