"""`callsheet migrate`: the finance schema, up, down, and where it stands."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from callsheet.cli import console
from callsheet.errors import UsageError

if TYPE_CHECKING:
    from finance.migrations import Migrations, Revision

app = typer.Typer(
    help="Create, change or remove the finance tables and their accounts.",
    no_args_is_help=True,
)

Folder = Annotated[
    Path | None,
    typer.Option("--migrations", help="Folder with the revisions.", show_default="./migrations"),
]


@app.command()
def up(
    to: Annotated[str, typer.Option(help="Stop at this revision.")] = "head",
    migrations: Folder = None,
    as_json: console.Json = False,
) -> None:
    """Create the database if need be and apply every revision that is missing.

    Creates the accounts callsheet_app, callsheet_capture and callsheet_reader with the passwords
    from CALLSHEET_APP_PASSWORD, CALLSHEET_CAPTURE_PASSWORD and CALLSHEET_READER_PASSWORD.

    Example: [bold]callsheet migrate up[/]
    """
    from finance.database import Account
    from finance.migrations import CREATED_ACCOUNTS

    passwords = {
        role: Account.from_environment(os.environ, role).password for role in CREATED_ACCOUNTS
    }
    applied = _migrations(migrations).up(passwords, to)
    _emit(as_json, applied, done="applied", nothing="Nothing to apply: the schema is up to date.")


@app.command()
def down(
    to: Annotated[
        str, typer.Option(help='The revision to go back to: "base" is none, "-1" one back.')
    ] = "-1",
    migrations: Folder = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: console.Json = False,
) -> None:
    """Take revisions back. Tables that go take their rows with them.

    Example: [bold]callsheet migrate down --to base --yes[/]
    """
    _confirm(to, yes=yes)
    undone = _migrations(migrations).down(to)
    _emit(as_json, undone, done="taken back", nothing="Nothing to take back.")


@app.command()
def status(migrations: Folder = None, as_json: console.Json = False) -> None:
    """List the revisions and which of them this database has.

    Example: [bold]callsheet migrate status --json[/]
    """
    revisions = _migrations(migrations).status()

    def render(out: Console) -> None:
        table = Table("revision", "what", "applied")
        for revision in revisions:
            mark = "yes" if revision.is_applied else "[bold yellow]no[/]"
            table.add_row(revision.number, revision.summary, mark)
        out.print(table)

    console.emit(as_json, revisions, render)


def _migrations(folder: Path | None) -> Migrations:
    from finance.database import Account, Role
    from finance.migrations import Migrations, find_revisions

    return Migrations(Account.from_environment(os.environ, Role.ADMIN), find_revisions(folder))


def _confirm(target: str, *, yes: bool) -> None:
    if yes:
        return
    database = os.environ.get("CALLSHEET_MYSQL_DATABASE", "finance")
    if not sys.stdin.isatty():
        raise UsageError(
            "Going down deletes rows and nobody is here to confirm it.", hint="Add --yes."
        )
    typer.confirm(f"Take {database!r} back to {target}, deleting rows?", abort=True, err=True)


def _emit(as_json: bool, revisions: Sequence[Revision], *, done: str, nothing: str) -> None:
    def render(out: Console) -> None:
        for revision in revisions:
            out.print(f"{revision.number} {done}: {revision.summary}")
        if not revisions:
            out.print(nothing)

    console.emit(as_json, revisions, render)
