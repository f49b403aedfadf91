"""What differs between databases: the one port behind which each is implemented.

MySQL is (:mod:`sinks.sql.mysql`). The shape is made so that PostgreSQL fits as well: it needs a
savepoint around each statement of values (:meth:`Dialect.attempt`), ``ON CONFLICT`` in
:meth:`Dialect.upserts`, and types of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

import polars as pl
import sqlalchemy as sa

from callsheet.schema import TableSchema


class Trouble(Enum):
    """What a database's error asks for."""

    AWAY = auto()
    """Unreachable, starting, read-only, out of space or of connections: try again."""
    AGAIN = auto()
    """A deadlock, a lock waited for too long, somebody was quicker: the transaction may pass."""
    VALUE = auto()
    """The statement holds a value that its column does not take."""
    TABLE = auto()
    """The table is not what it was when we looked: gone, altered, forbidden."""
    REFUSED = auto()
    """Nothing that waiting or another row would mend."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """An error without any row's value in it."""

    trouble: Trouble
    detail: str
    is_account: bool = False
    """The user, the password, the database's name or a grant is what is wrong."""


@dataclass(frozen=True, slots=True)
class Server:
    """What is at the other end."""

    version: str
    identity: str
    """Of this server and no other; the first part of the GTIDs that it gives out."""
    most_bytes: int
    """Of one statement."""


class Unfit(Exception):  # noqa: N818 - the table does not fit; the caller parks it
    """The replica's table cannot hold the source's, or is not ours: why, and what to do."""

    def __init__(self, reason: str, detail: str, hint: str = "") -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail, self.hint = reason, detail, hint


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL for some rows of a frame: ``first`` to ``first + rows``."""

    sql: str
    first: int
    rows: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What it takes to make a table fit: statements, in order; none when it fits already."""

    statements: Sequence[str]
    is_new: bool
    added: frozenset[str] = frozenset()
    """Columns that the table gets."""
    has_rows: bool = False


class Dialect(Protocol):
    """SQL is text with literals in it: rendered by columns, it costs a few microseconds a row."""

    def engine(self, *, answer_timeout_s: float) -> sa.Engine:
        """Sessions as the replica needs them: no foreign keys, UTC, strict, read committed."""
        ...

    def server(self, connection: sa.Connection) -> Server:
        """Raises ConfigError where it is none that we can write to."""
        ...

    def diagnosis(self, error: sa.exc.DBAPIError) -> Diagnosis: ...

    def plan(self, connection: sa.Connection, table: str, schema: TableSchema) -> Plan:
        """How to make ``table`` hold what ``schema`` says.

        Raises:
            Unfit: by no change that keeps every value.
        """
        ...

    def create_versions(self, table: str) -> str:
        """The side table: id, version, is_deleted, kafka_partition, kafka_offset."""
        ...

    def refusals(self, schema: TableSchema, rows: pl.DataFrame) -> pl.Series:
        """Per row the reason why a value of it cannot be written at all; null where all can."""
        ...

    def upserts(self, table: str, schema: TableSchema, rows: pl.DataFrame) -> Iterator[Statement]:
        """Rows of the schema's columns."""
        ...

    def deletes(self, table: str, schema: TableSchema, keys: pl.DataFrame) -> Iterator[Statement]:
        """Rows of the schema's key columns."""
        ...

    def known_versions(self, table: str, ids: pl.Series) -> Iterator[str]:
        """SELECT id, version of those of ``ids`` (Binary) that are known, locked until the end."""
        ...

    def note_versions(self, table: str, rows: pl.DataFrame, *, are_new: bool) -> Iterator[str]:
        """Remember id (Binary), version, is_deleted, kafka_partition, kafka_offset. ``are_new``:
        a row that exists is an error (AGAIN), because another transaction was quicker.
        """
        ...

    def attempt(self, connection: sa.Connection) -> AbstractContextManager[None]:
        """A statement in it that fails with VALUE leaves the transaction usable."""
        ...
