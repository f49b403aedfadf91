"""MySQL behind the port of :mod:`sinks.sql.dialect`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

import polars as pl
import sqlalchemy as sa

from callsheet.schema import TableSchema
from sinks.sql.dialect import Diagnosis, Plan, Server, Statement
from sinks.sql.mysql import errors, session, statements, tables
from sinks.sql.settings import SqlSettings


class MySql:
    def __init__(self, settings: SqlSettings, folder: str) -> None:
        self._settings, self._folder = settings, folder
        self._cut = statements.cutting(settings.statement_rows, settings.statement_bytes)

    def engine(self, *, answer_timeout_s: float) -> sa.Engine:
        return session.engine(self._settings, self._folder, answer_timeout_s=answer_timeout_s)

    def server(self, connection: sa.Connection) -> Server:
        found = session.server(connection)
        settings = self._settings
        most_bytes = min(settings.statement_bytes, found.most_bytes // 2)
        self._cut = statements.cutting(settings.statement_rows, most_bytes)
        return found

    def diagnosis(self, error: sa.exc.DBAPIError) -> Diagnosis:
        return errors.diagnosis(error)

    def plan(self, connection: sa.Connection, table: str, schema: TableSchema) -> Plan:
        return tables.plan(connection, table, schema)

    def create_versions(self, table: str) -> str:
        return tables.create_versions(table)

    def refusals(self, schema: TableSchema, rows: pl.DataFrame) -> pl.Series:
        return statements.refusals(schema, rows)

    def upserts(self, table: str, schema: TableSchema, rows: pl.DataFrame) -> Iterator[Statement]:
        return statements.upserts(table, schema, rows, self._cut)

    def deletes(self, table: str, schema: TableSchema, keys: pl.DataFrame) -> Iterator[Statement]:
        return statements.deletes(table, schema, keys, self._cut)

    def known_versions(self, table: str, ids: pl.Series) -> Iterator[str]:
        return statements.known_versions(table, ids, self._cut)

    def note_versions(self, table: str, rows: pl.DataFrame, *, are_new: bool) -> Iterator[str]:
        return statements.note_versions(table, rows, self._cut, are_new=are_new)

    def attempt(self, connection: sa.Connection) -> AbstractContextManager[None]:
        """InnoDB takes back a failed statement by itself, and only that."""
        del connection
        return nullcontext()
