"""Runs the revisions in `migrations/` on a database: up, down, and where it stands.

The revisions are deployment data, found by path: they ship beside the programs, not inside them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.script.revision import RevisionError
from alembic.util.exc import CommandError
from pydantic import SecretStr

from callsheet.errors import PreconditionError, UsageError
from finance.database import Account, Role, open_engine, quoted, translated

LOCK_PATIENCE_S: Final = 30
CREATED_ACCOUNTS: Final = (Role.APP, Role.CAPTURE, Role.READER)


@dataclass(frozen=True, slots=True)
class Revision:
    number: str
    summary: str
    is_applied: bool


def find_revisions(explicit: Path | None = None) -> Path:
    """The folder with the revisions: the one given, else ./migrations, else beside the programs."""
    if explicit is not None:
        candidates = [explicit]
    else:
        candidates = [Path.cwd() / "migrations", Path(__file__).parents[1] / "migrations"]
    for folder in candidates:
        if (folder / "env.py").is_file():
            return folder.resolve()
    raise UsageError(
        f"No migrations found in {' or '.join(str(folder) for folder in candidates)}.",
        hint="Name the folder with --migrations; a checkout has it at the top.",
    )


class Migrations:
    """One database's way through the revisions. Two at once wait for each other (GET_LOCK)."""

    def __init__(self, admin: Account, folder: Path) -> None:
        self._admin = admin
        self._folder = folder

    def up(self, passwords: Mapping[Role, SecretStr], target: str = "head") -> Sequence[Revision]:
        """Creates the database if need be, applies what is missing, returns what it applied.

        `passwords` has one for each account that the revisions create (`CREATED_ACCOUNTS`).
        """
        given = {role.value: passwords[role] for role in CREATED_ACCOUNTS}
        if not self._has_database():
            # Not IF NOT EXISTS alone: that waits for every transaction on the schema's tables, as
            # long as a snapshot's, and all that comes meanwhile waits behind it.
            self._create_database()

        def upgrade(config: Config) -> None:
            config.attributes["passwords"] = given
            command.upgrade(config, target)

        return self._change(upgrade, applied=True)

    def down(self, target: str = "-1") -> Sequence[Revision]:
        """Takes back one revision, or all down to `target` ("base"); returns what it took back.

        The database itself stays. Tables that go take their rows with them.
        """
        return self._change(lambda config: command.downgrade(config, target), applied=False)

    def status(self) -> Sequence[Revision]:
        """Every revision, oldest first. All are open when the database does not exist."""
        if not self._has_database():
            return self._revisions(None)
        with self._connection() as connection:
            return self._revisions(connection)

    def _change(self, run: Callable[[Config], None], *, applied: bool) -> Sequence[Revision]:
        with self._connection() as connection, _exclusive(connection, self._admin.database):
            connection.exec_driver_sql(f"SET SESSION lock_wait_timeout = {LOCK_PATIENCE_S}")
            connection.commit()
            before = self._revisions(connection)
            config = _config(self._folder)
            config.attributes["connection"] = connection
            try:
                run(config)
            except CommandError as error:
                raise UsageError(
                    f"The migrations stopped: {error}", hint="See `callsheet migrate status`."
                ) from error
            connection.commit()
            after = self._revisions(connection)
        was = {revision.number: revision.is_applied for revision in before}
        return [now for now in after if now.is_applied is applied and was[now.number] != applied]

    def _revisions(self, connection: sa.Connection | None) -> Sequence[Revision]:
        scripts = ScriptDirectory.from_config(_config(self._folder))
        head = None
        if connection is not None:
            head = MigrationContext.configure(connection).get_current_revision()
            # Reading it opened a transaction; a command of Alembic's expects none.
            connection.rollback()
        applied: set[str] = set()
        if head is not None:
            applied = _ancestors(scripts, head)
        ordered = reversed(list(scripts.walk_revisions()))
        return [Revision(s.revision, s.doc, s.revision in applied) for s in ordered]

    @contextmanager
    def _connection(self) -> Iterator[sa.Connection]:
        engine = open_engine(self._admin)
        try:
            with translated(self._admin), engine.connect() as connection:
                yield connection
        finally:
            engine.dispose()

    def _create_database(self) -> None:
        statement = (
            f"CREATE DATABASE IF NOT EXISTS {quoted(self._admin.database)} "
            "CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci"
        )
        with self._server() as connection:
            connection.exec_driver_sql(statement.replace("%", "%%"))

    def _has_database(self) -> bool:
        with self._server() as connection:
            found = connection.exec_driver_sql(
                "SELECT 1 FROM information_schema.schemata WHERE schema_name = %s",
                (self._admin.database,),
            )
            return found.first() is not None

    @contextmanager
    def _server(self) -> Iterator[sa.Connection]:
        account = self._admin.without_database()
        engine = open_engine(account)
        try:
            with translated(account), engine.connect() as connection:
                yield connection
        finally:
            engine.dispose()


def _config(folder: Path) -> Config:
    config = Config()
    # Alembic's options go through configparser, where a percent sign starts a reference.
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _ancestors(scripts: ScriptDirectory, head: str) -> set[str]:
    try:
        return {script.revision for script in scripts.iterate_revisions(head, "base")}
    except RevisionError as error:
        raise PreconditionError(
            f"The database is at revision {head}, which these programs do not know.",
            hint="It was migrated by a newer version of Callsheet: use that version.",
        ) from error


@contextmanager
def _exclusive(connection: sa.Connection, database: str) -> Iterator[None]:
    # A lock's name may have 64 characters, a database's too: the start is enough to tell apart.
    name = f"callsheet-migrate-{database}"[:64]
    got = connection.exec_driver_sql("SELECT GET_LOCK(%s, %s)", (name, LOCK_PATIENCE_S)).scalar()
    connection.rollback()
    if got != 1:
        raise PreconditionError(
            f"Another `callsheet migrate` has been at work on {database!r} for "
            f"{LOCK_PATIENCE_S} s.",
            hint="Wait for it to end, then run the command again.",
        )
    yield  # the session ends after this, and its locks with it
