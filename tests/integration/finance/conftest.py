"""A database of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from tests.support.finance import Database, a_database


@pytest.fixture
def fresh(stack_env: Mapping[str, str]) -> Iterator[Database]:
    """Not even created yet."""
    with a_database(stack_env) as database:
        yield database


@pytest.fixture
def database(fresh: Database) -> Database:
    """Migrated, without rows."""
    fresh.up()
    return fresh


@pytest.fixture
def loaded(database: Database) -> Database:
    """With the first films and their books."""
    database.load()
    return database
