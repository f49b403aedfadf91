"""Is the audit whole? By its own command, by the topics, and by the tables made of it again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from confluent_kafka import Message

from finance.database import Role, open_engine
from sinks.hive.archive import Archive
from sinks.hive.rebuild import write_table
from sinks.hive.state import state
from sinks.hive.stores.port import Store
from tests.support.finance import Database
from tests.support.main_job import MainJob
from tests.support.main_job_files import Pipeline
from tests.support.tables import contents

Place = tuple[str, int, int]
"""Topic, partition, offset of a record."""


def check(job: MainJob, audit: Pipeline) -> tuple[int, Any]:
    """`callsheet audit check`: its exit code and what it says."""
    words = [sys.executable, "-m", "callsheet.cli", "audit", "check", str(audit.path), "--json"]
    done = subprocess.run(words, env={**job.environ}, capture_output=True, check=False, text=True)
    assert done.returncode in {0, 1}, done.stderr
    return done.returncode, json.loads(done.stdout)


def places(messages: Sequence[Message]) -> list[Place]:
    """Of records that change a row, sorted."""
    return sorted(
        (str(each.topic()), int(each.partition() or 0), int(each.offset() or 0))
        for each in messages
        if each.value() is not None
    )


def rebuilt_otherwise(database: Database, store: Store, tables: Sequence[str]) -> list[str]:
    """Those tables of which the audit makes something else than MySQL has."""
    with _copy(database, tables) as copy:
        url = copy.url
        for name in tables:
            found = state(Archive(store).table(name))
            assert found.unknown == {}, f"{name}: {found.unknown}"
            write_table(found, url, name)
        ours, theirs = database.name, str(url.database)
        return [
            name
            for name in tables
            if contents(database.ask, theirs, name) != contents(database.ask, ours, name)
        ]


@contextmanager
def _copy(database: Database, tables: Sequence[str]) -> Iterator[sa.Engine]:
    """Empty tables like these, in a database of their own on the same server."""
    name = f"rebuilt_{uuid4().hex[:10]}"
    database.execute(f"CREATE DATABASE `{name}`")
    try:
        for table in tables:
            database.execute(f"CREATE TABLE `{name}`.`{table}` LIKE `{table}`")
        engine = open_engine(replace(database.account(Role.ADMIN), database=name))
        yield engine
        engine.dispose()
    finally:
        database.execute(f"DROP DATABASE `{name}`")
