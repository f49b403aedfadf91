"""The replica's tables: whose they are, made from the source's schema, widened by it."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import sqlalchemy as sa
from structlog.typing import FilteringBoundLogger

from callsheet.errors import ParkTableError
from callsheet.schema import TableSchema
from sinks.sql import control
from sinks.sql.control import PREFIX, Owner
from sinks.sql.dialect import Dialect, Plan, Trouble, Unfit
from sinks.sql.trouble import Failed, told

_LONGEST_NAME: Final = 64
_VERSIONS: Final = f"{PREFIX}versions_"
_REBUILD: Final = "rebuild this table: docs/sql.md says how"


@dataclass(frozen=True, slots=True)
class Target:
    """Where one table's rows and versions go."""

    table: str
    versions: str


def versions_table(table: str) -> str:
    """Name of the side table of ``table``; a long one is cut and made distinct by a hash."""
    name = _VERSIONS + table
    if len(name) <= _LONGEST_NAME:
        return name
    digest = blake2b(table.encode(), digest_size=5).hexdigest()
    return f"{name[: _LONGEST_NAME - len(digest) - 1]}_{digest}"


class Catalog:
    """Makes sure that a table is ours and fits, once per schema version and process."""

    def __init__(
        self,
        dialect: Dialect,
        engine: sa.Engine,
        *,
        pipeline: str,
        template: str,
        log: FilteringBoundLogger,
    ) -> None:
        self._dialect, self._engine = dialect, engine
        self._pipeline, self._template, self._log = pipeline, template, log
        self._ready: dict[tuple[str, str], Target] = {}

    def target(self, topic: str, schema: TableSchema) -> Target:
        """Raises ParkTableError, Failed."""
        known = self._ready.get((topic, schema.fingerprint))
        if known is None:
            try:
                known = self._ensure(topic, schema)
            except Unfit as misfit:
                raise ParkTableError(
                    topic, misfit.reason, misfit.detail, hint=misfit.hint
                ) from None
            self._ready[topic, schema.fingerprint] = known
        return known

    def forget(self, topic: str) -> None:
        """The next batch looks again."""
        self._ready = {key: value for key, value in self._ready.items() if key[0] != topic}

    def _ensure(self, topic: str, schema: TableSchema) -> Target:
        table = self._name(schema)
        target = Target(table, versions_table(table))
        with told(self._dialect), self._engine.connect() as connection:
            try:
                self._look(connection, target, schema)
            except Failed as failure:
                if failure.trouble is not Trouble.TABLE:
                    raise
                raise Unfit("refused", failure.detail, "docs/sql.md lists the grants") from None
        self._log.info("replica table ready", topic=topic, table=table)
        return target

    def _name(self, schema: TableSchema) -> str:
        name = self._template.format(
            source=schema.source, database=schema.database, table=schema.table
        )
        if len(name) > _LONGEST_NAME:
            raise Unfit("table name", f"{name!r} is longer than {_LONGEST_NAME} characters")
        if name.lower().startswith(PREFIX):
            raise Unfit(
                "table name",
                f"{name!r}: names that start with {PREFIX} are the replica's own",
                "set sink.table to another template, or leave the table out of source.topics",
            )
        return name

    def _look(self, connection: sa.Connection, target: Target, schema: TableSchema) -> None:
        with told(self._dialect):
            plan = self._dialect.plan(connection, target.table, schema)
            columns = self._guard(connection, target, schema, plan)
            connection.commit()
            for statement in plan.statements:
                self._log.info("replica DDL", table=target.table, added=sorted(plan.added))
                connection.exec_driver_sql(statement)
            connection.exec_driver_sql(self._dialect.create_versions(target.versions))
            names = [column.name for column in schema.columns]
            if columns != frozenset(names):
                control.note_columns(connection, target.table, names)
            connection.commit()

    def _guard(
        self, connection: sa.Connection, target: Target, schema: TableSchema, plan: Plan
    ) -> frozenset[str]:
        """Is it ours to write? Returns the columns of the last schema, empty for a new table."""
        us = Owner(schema.source, schema.qualified_name, self._pipeline)
        found = control.owner_of(connection, target.table)
        is_remembered = sa.inspect(connection).has_table(target.versions)
        if found is None:
            if plan.has_rows or is_remembered:
                raise Unfit(
                    "not ours",
                    f"{target.table} was there before, with rows that nobody replicated",
                    "a replica starts with an empty table, or with none; never with the source's",
                )
            control.own(connection, target.table, us)
            return frozenset()
        if found[0] != us:
            raise Unfit(
                "another master",
                f"{target.table} is the replica of {found[0].source_table} of "
                f"{found[0].source}, written by the pipeline {found[0].pipeline}",
                "give this pipeline another database, or another sink.table",
            )
        if (plan.is_new and is_remembered) or (plan.has_rows and not is_remembered):
            gone = target.table if plan.is_new else target.versions
            raise Unfit("table gone", f"somebody dropped {gone}", _REBUILD)
        _refuse_rename(found[1], schema, plan)
        return found[1]


def _refuse_rename(before: frozenset[str], schema: TableSchema, plan: Plan) -> None:
    """A schema does not say RENAME: one column goes, another comes. Taken for a new one it would
    stay null in every row that does not change, without anybody noticing.
    """
    gone = before - {column.name for column in schema.columns}
    if gone and plan.added and not plan.is_new:
        raise Unfit(
            "renamed column",
            f"{', '.join(sorted(gone))} went and {', '.join(sorted(plan.added))} came at once",
            "rename the column in the replica, or add it there if it is a new one; then restart",
        )
