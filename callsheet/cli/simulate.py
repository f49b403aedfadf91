"""`callsheet load` and `callsheet simulate`: films into MySQL, and a studio at work on them."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from callsheet.cli import console
from callsheet.stop import Stop

if TYPE_CHECKING:
    from finance.findings import LoadReport
    from finance.simulate import Progress, Summary

_FINDINGS_SHOWN = 20


def load(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="JSON list of films.", show_default="examples/data/movies.json", metavar="[FILE]"
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Show every finding.")] = False,
    as_json: console.Json = False,
) -> None:
    """Load films with their budgets, grosses, dates and directors into MySQL.

    Dirty values are reported with row and field, and with what was stored in their place. Titles
    that are there already are left alone, so a second run changes nothing.

    Example: [bold]callsheet load examples/data/movies.json --all[/]
    """
    from finance.database import Account, Role, open_engine, translated
    from finance.load import Loader, find_films, read_rows

    account = Account.from_environment(os.environ, Role.APP)
    found = find_films(file)
    rows = read_rows(found)
    with translated(account):
        report = Loader(open_engine(account), time.monotonic).load(rows, str(found))
    console.emit(as_json, report.as_dict(), lambda out: _render_report(out, report, every=every))


def simulate(
    *,
    rate: Annotated[
        float, typer.Option(help="Changed rows a second.", min=0.1, max=1_000_000)
    ] = 500,
    seconds: Annotated[float | None, typer.Option(help="End after this long.", min=0)] = None,
    max_changes: Annotated[
        int | None, typer.Option(help="End after this many changed rows.", min=1)
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed makes the same changes.")] = 7,
    commit_size: Annotated[
        int, typer.Option(help="Rows in a large transaction.", min=1, max=10_000)
    ] = 20,
    patience: Annotated[
        float, typer.Option(help="Seconds to wait for a MySQL that went away.", min=0)
    ] = 60,
    as_json: console.Json = False,
) -> None:
    """Change the finance tables as a studio at work would: a seeded stream at a steady rate.

    Launch dates move forth and back, budgets are revised, people are paid, titles come, go and
    get new numbers. Ends with --seconds, --max-changes, Ctrl-C or SIGTERM, after the transaction
    in hand.

    Example: [bold]callsheet simulate --rate 500 --seconds 60[/]
    """
    from finance.database import Account, Role, open_engine, translated
    from finance.simulate import Simulator, Until

    account = Account.from_environment(os.environ, Role.APP)
    engine = open_engine(account)
    with translated(account), engine.connect():
        pass  # patience is for a MySQL that went away, not for a wrong address
    with _stopped_by_signals() as stop, translated(account):
        simulator = Simulator(
            engine,
            seed,
            commit_changes=commit_size,
            patience_s=patience,
            stop=stop,
            on_progress=_progress_printer(),
        )
        summary = simulator.run(rate, Until(seconds=seconds, changes=max_changes))
    console.emit(as_json, summary, lambda out: _render_summary(out, summary))


@contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    """SIGINT and SIGTERM set the event; a second one does what it always did."""
    stop = Stop()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()
        restore()

    for number in before:
        signal.signal(number, on_signal)
    try:
        yield stop
    finally:
        restore()


def _progress_printer() -> Callable[[Progress], None]:
    """A line on stderr each second for a person watching; nothing into a pipe or a log."""
    out = console.stderr()
    if not out.is_terminal:
        return lambda _: None

    def show(progress: Progress) -> None:
        late = f", {progress.behind_s:.1f} s behind" if progress.behind_s > 1 else ""
        out.print(
            f"{progress.elapsed_s:7.0f} s  {progress.changes:>10,} changes  "
            f"{progress.changes_per_s:>8,.0f}/s{late}"
        )

    return show


def _render_report(out: Console, report: LoadReport, *, every: bool) -> None:
    out.print(
        f"{report.file}: {report.rows:,} rows in {report.seconds:.1f} s: "
        f"{report.inserted:,} titles inserted, {report.unchanged:,} unchanged, "
        f"{report.kept:,} kept as changed since, {report.skipped:,} skipped"
    )
    if report.inserted:
        tables = Table("table", "rows inserted")
        for name, count in report.inserted_rows.items():
            tables.add_row(name, f"{count:,}")
        out.print(tables)
    _render_findings(out, report, every=every)


def _render_findings(out: Console, report: LoadReport, *, every: bool) -> None:
    if not report.findings:
        out.print("No dirty values.")
        return
    counts = Table("dirty values", "count")
    for kind, count in report.counts.items():
        counts.add_row(kind, f"{count:,}")
    out.print(counts)
    shown = report.findings if every else report.findings[:_FINDINGS_SHOWN]
    details = Table("row", "field", "value", "what was done")
    for finding in shown:
        value = repr(finding.value) if isinstance(finding.value, str) else str(finding.value)
        cells = (finding.field, value, finding.action)
        details.add_row(str(finding.row), *(escape(cell) for cell in cells))
    out.print(details)
    if len(shown) < len(report.findings):
        out.print(f"... and {len(report.findings) - len(shown):,} more: --all shows them.")


def _render_summary(out: Console, summary: Summary) -> None:
    out.print(
        f"{summary.changes:,} changes in {summary.transactions:,} transactions and "
        f"{summary.seconds:.1f} s: {summary.changes_per_s:,.0f}/s (seed {summary.seed})"
    )
    if summary.reconnects or summary.conflicts:
        out.print(
            f"{summary.reconnects} connections lost, {summary.unconfirmed} commits unconfirmed, "
            f"{summary.conflicts} conflicts with others"
        )
    table = Table("what happened", "changed rows")
    for kind, count in summary.kinds.items():
        table.add_row(kind, f"{count:,}")
    out.print(table)
