"""``callsheet audit``: is the audit whole, and what can be made of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from callsheet.cli import console
from callsheet.cli.audit_pipeline import (
    DEFAULT,
    Partial,
    PipelineArgument,
    PipelineOption,
    TableArgument,
    audit_of,
    instant,
    opened,
    plain,
)
from callsheet.cli.audit_upkeep import compact, expire
from callsheet.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from callsheet.cli.audit_check import LaneReport
    from sinks.hive.state import State

_ABOUT = "Is the audit whole; a table rebuilt from it; shown in Hive; kept small."
app = typer.Typer(name="audit", help=_ABOUT)
app.command()(compact)
app.command()(expire)


@app.callback()
def group() -> None:
    """Is the audit whole; a table rebuilt from it; shown in Hive."""


@app.command()
def check(pipeline: PipelineArgument, json: console.Json = False) -> None:
    """Prove that the audit has every record once: its ranges, its files, and the topics agree.

    Reads all files and topics; changes nothing, shows no value. A worker may run meanwhile.
    Exits with 1 when something does not hold.

    Example: callsheet audit check cdc-config/pipelines/audit.yaml
    """
    from callsheet.app import decoder_of
    from callsheet.cli.audit_check import Check
    from callsheet.cli.audit_kafka import KafkaTopics
    from callsheet.ports import SystemClock

    loaded, settings = audit_of(pipeline)
    core, clock = loaded.settings, SystemClock()
    with opened(settings) as store:
        reports = Check(
            store,
            KafkaTopics(core, clock),
            decoder_of(loaded),
            settings.generations,
            core.dead_letters.retention_hours,
            clock,
        ).run()
    holds = not any(report.book.faults for report in reports)
    data = {"holds": holds, "lanes": [report.as_data() for report in reports]}
    console.emit(json, data, lambda out: _render(out, reports, holds))
    if not holds:
        raise typer.Exit(1)


def _render(out: Console, reports: list[LaneReport], holds: bool) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table()
    names = ("range", "ranges", "files", "rows", "in Kafka", "letters", "no change", "waiting")
    table.add_column("lane")
    for name in names:
        table.add_column(name, justify="right")
    for report in reports:
        book = report.book
        numbers = (report.compared, report.letters, report.no_change, report.waiting)
        compared = ("-",) * 4 if report.begin is None else tuple(f"{n:,}" for n in numbers)
        table.add_row(
            book.lane.name + (" (redriven)" if report.is_redrive else ""),
            f"{book.first:,}-{book.end:,}",
            *(f"{n:,}" for n in (book.ranges, book.files, book.rows)),
            *compared,
        )
    out.print(table)
    for report in reports:
        for fault in report.book.faults:
            out.print(f"[red]{escape(report.book.lane.name)}[/]: {escape(fault)}")
        if report.expired:
            out.print(
                f"[yellow]{escape(report.book.lane.name)}[/]: {report.expired:,} records cannot be "
                "taken; they are older than dead letters are kept"
            )
        if report.book.dropped:
            out.print(
                f"[yellow]{escape(report.book.lane.name)}[/]: retention has dropped "
                f"{report.book.dropped:,} rows, up to and with {max(report.book.expired)}"
            )
    rows = sum(report.book.rows for report in reports)
    verdict = "[green]holds[/]" if holds else "[bold red]does not hold[/]"
    out.print(f"The audit {verdict}: {rows:,} rows.")


@app.command()
def publish(
    pipeline: PipelineArgument,
    every: Annotated[
        float | None,
        typer.Option(min=1, help="Again and again, so many seconds apart; outlives outages."),
    ] = None,
    json: console.Json = False,
) -> None:
    """Show the audit in Hive: tables, new columns, partitions, and views over them.

    Idempotent. The worker needs none of it: while Hive is away the files are written all the same.

    Example: callsheet audit publish cdc-config/pipelines/audit.yaml --every 60
    """
    from callsheet.cli.audit_publish import published, repeatedly

    settings = audit_of(pipeline)[1]
    if every is not None:
        repeatedly(settings, every)
    with opened(settings) as store:
        done = published(settings, store)
    console.emit(json, done, lambda out: _listed(out, done))


def _listed(out: Console, done: Mapping[str, Any]) -> None:
    for kind, what in done.items():
        if what:
            names = what if isinstance(what, list) else [f"{k}: {n}" for k, n in what.items()]
            out.print(f"{kind}: {', '.join(names)}")
    if not any(done.values()):
        out.print("Hive shows all of it already.")


@app.command()
def rebuild(  # noqa: PLR0917 - typer turns each into an option
    table: TableArgument,
    into: Annotated[
        str,
        typer.Option(
            help="A file (.parquet, .csv, .ndjson) or a database's URL; ${env:NAME} may stand for "
            "its password."
        ),
    ],
    as_of: Annotated[
        str, typer.Option("--as-of", help="`now`, a date, or an ISO time (UTC if it does not say).")
    ] = "now",
    name: Annotated[
        str | None, typer.Option(help="Of the table in the database; the source's if not given.")
    ] = None,
    renamed: Annotated[
        list[str] | None,
        typer.Option(help="OLD=NEW: a column that was renamed at the source; may be repeated."),
    ] = None,
    partial: Partial = False,
    pipeline: PipelineOption = DEFAULT,
    json: console.Json = False,
) -> None:
    """Make a table as it was, from the log of its changes. Writes its values.

    A table in a database may exist, empty, with types of its own; else it is made.

    Example: callsheet audit rebuild titles --as-of '2026-03-01' --into titles.parquet
    """
    from sinks.hive.archive import Archive
    from sinks.hive.state import state

    moment = instant(as_of)
    with opened(audit_of(pipeline)[1]) as store:
        audited = Archive(store).table(table)
        renames = _renames(renamed or [])
        found = state(audited, moment, renamed=renames, is_partial=partial)
    rows = _written(found, into, name)
    data: dict[str, Any] = {"table": table, "as_of": plain(moment), "rows": rows}
    data |= {"unknown": found.unknown, "complete_from": plain(found.horizon)}
    console.emit(json, data, lambda out: _told(out, found, rows))


def _renames(pairs: list[str]) -> dict[str, str]:
    """New name to old name."""
    found: dict[str, str] = {}
    for pair in pairs:
        old, equals, new = pair.partition("=")
        if not (old and equals and new):
            raise UsageError(
                f"--renamed {pair}: write OLD=NEW",
                hint="the column's names before and since: --renamed title=name",
            )
        found[new] = old
    return found


def _written(found: State, into: str, name: str | None) -> int:
    from sinks.hive.rebuild import write_file, write_table

    if "://" in into:
        return write_table(found, _url(into), name or found.schema.source_table)
    if name is not None:
        raise UsageError(
            "--name is for a table in a database",
            hint="leave it out, or give --into a database's URL",
        )
    return write_file(found, Path(into))


def _url(text: str) -> Any:
    """With its password resolved; that is never shown."""
    import os

    import sqlalchemy as sa

    from callsheet.config.interpolation import Interpolation

    faults: list[str] = []
    resolve = Interpolation(os.environ, Path.cwd(), lambda _, message: faults.append(message)).of
    try:
        url = sa.make_url(text)
    except sa.exc.ArgumentError as error:
        raise UsageError(
            "--into is no database URL", hint="such as mysql+pymysql://user@host:3306/database"
        ) from error
    if url.password is not None:
        url = url.set(password=resolve(str(url.password)))
    if faults:
        raise UsageError(
            f"--into: {faults[0]}", hint="set what ${env:…} or ${file:…} names, or correct it"
        )
    return url


def _told(out: Console, found: State, rows: int) -> None:
    from callsheet.cli.history import render_horizon, render_unknown

    out.print(f"{rows:,} rows of {found.schema.source_table} written.")
    render_unknown(out, found)
    render_horizon(out, found.horizon)
