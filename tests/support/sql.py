"""Replicas for tests: a database of one's own on the stack's MySQL, behind a proxy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import sqlalchemy as sa

from callsheet.batch import Batch
from callsheet.ports import Deadline, SystemClock
from callsheet.schema import Column, Kind, TableSchema
from callsheet.sink import Progress, Sink, SinkContext
from finance.database import Account, Role, open_engine
from sinks.sql.settings import SqlSettings
from sinks.sql.sink import SqlSink
from sinks.sql.store import Step
from tests.support.batches import Row, a_schema, upsert
from tests.support.tcp_proxy import TcpProxy

COLUMNS = (Column("name", Kind.STRING), Column("seen_at", Kind.TIMESTAMP))


@dataclass(slots=True)
class Replica:
    """A database, and how a sink gets there."""

    account: Account
    name: str
    port: int
    """Where the sinks connect to."""
    engine: sa.Engine = field(init=False)
    """Straight to the server, as its administrator."""

    def __post_init__(self) -> None:
        self.engine = open_engine(self.account)

    def settings(self, **settings: Any) -> SqlSettings:
        chosen: dict[str, Any] = {
            "url": f"mysql+pymysql://127.0.0.1:{self.port}/{self.name}",
            "username": self.account.user,
            "password": self.account.password.get_secret_value(),
        }
        return SqlSettings.model_validate(chosen | settings)

    def sink(
        self,
        pipeline: str = "test",
        at: Callable[[Step], None] = lambda _: None,
        **settings: Any,
    ) -> SqlSink:
        """Not opened."""
        return SqlSink(self.settings(**settings), SinkContext(pipeline, SystemClock()), at)

    def ask(self, question: str) -> list[tuple[Any, ...]]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(question)]

    def ask_nothing(self, statement: str) -> None:
        with self.engine.connect() as connection:
            connection.exec_driver_sql(statement)

    def execute(self, *statements: str) -> None:
        with self.engine.begin() as connection:
            connection.exec_driver_sql(f"USE `{self.name}`")
            for statement in statements:
                connection.exec_driver_sql(statement)

    def create(self) -> None:
        with self.engine.begin() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE `{self.name}`")

    def rows(self, table: str) -> list[dict[str, Any]]:
        with self.engine.connect() as connection:
            kinds = connection.exec_driver_sql(
                "SELECT column_name, data_type FROM information_schema.columns WHERE "
                f"table_schema = '{self.name}' AND table_name = '{table}' ORDER BY ordinal_position"
            )
            # The driver takes a vector for text.
            shown = ", ".join(
                f"UNHEX(HEX(`{name}`)) AS `{name}`" if kind == "vector" else f"`{name}`"
                for name, kind in kinds
            )
            found = connection.exec_driver_sql(
                f"SELECT {shown} FROM `{self.name}`.`{table}` ORDER BY 1"
            )
            return [dict(row) for row in found.mappings()]

    def versions(self, table: str) -> dict[str, tuple[int, bool]]:
        """ID to version and whether it is deleted."""
        found = self.ask(
            f"SELECT COALESCE(long_id, id), version, is_deleted "
            f"FROM `{self.name}`.`callsheet_versions_{table}`"
        )
        return {bytes(row[0]).decode(): (row[1], bool(row[2])) for row in found}

    def dispose(self) -> None:
        with self.engine.begin() as connection:
            connection.exec_driver_sql(f"DROP DATABASE IF EXISTS `{self.name}`")
        self.engine.dispose()


@contextmanager
def a_replica(environment: Mapping[str, str], *, port: int | None = None) -> Iterator[Replica]:
    account = Account.from_environment(environment, Role.ADMIN).without_database()
    replica = Replica(account, f"replica_{uuid4().hex[:12]}", port or account.port)
    replica.create()
    try:
        yield replica
    finally:
        replica.dispose()


@contextmanager
def a_replica_behind_a_proxy(environment: Mapping[str, str]) -> Iterator[tuple[Replica, TcpProxy]]:
    account = Account.from_environment(environment, Role.ADMIN)
    with (
        TcpProxy((account.host, account.port)) as proxy,
        a_replica(environment, port=proxy.port) as replica,
    ):
        yield replica, proxy


@dataclass(slots=True)
class SqlDestination:
    """For the sink laws."""

    replica: Replica
    proxy: TcpProxy
    schema: TableSchema = field(default_factory=lambda: a_schema(*COLUMNS))

    def sink(self) -> SqlSink:
        return self.replica.sink(in_flight_bytes=2 << 20)

    def names(self) -> Mapping[str, str | None]:
        return {str(row["id"]): row["name"] for row in self.replica.rows("titles")}

    def poison(self, identifier: int) -> Row:
        return upsert(identifier, name="poison", seen_at="4000-01-01T00:00:00Z")

    def freeze(self) -> None:
        self.proxy.freeze()

    def thaw(self) -> None:
        self.proxy.thaw()


Opened = Callable[..., SqlSink]


def put(sink: Sink, *batches: Batch) -> Progress:
    for batch in batches:
        sink.write(batch, within(60))
    sink.flush(within(60))
    return sink.progress()


def within(seconds: float) -> Deadline:
    return Deadline.after(SystemClock(), seconds)
