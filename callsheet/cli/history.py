"""``callsheet history`` and ``callsheet as-of``: what the audit knows of a row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from callsheet.cli import console
from callsheet.cli.audit_pipeline import (
    DEFAULT,
    Partial,
    PipelineOption,
    TableArgument,
    audit_of,
    instant,
    opened,
    plain,
    shown,
)

if TYPE_CHECKING:
    from datetime import date

    from rich.console import Console

    from sinks.hive.history import Change
    from sinks.hive.state import State

_WORDS: Final = {
    "c": "[green]created[/]",
    "r": "[blue]found by a snapshot[/]",
    "u": "[yellow]changed[/]",
    "d": "[red]deleted[/]",
}


def history(
    table: TableArgument,
    identifier: Annotated[
        str,
        typer.Argument(metavar="ID", help="Of several columns: joined by |.", show_default=False),
    ],
    pipeline: PipelineOption = DEFAULT,
    full: Annotated[bool, typer.Option("--full", help="Whole rows, not only differences.")] = False,
    json: console.Json = False,
) -> None:
    """Every change of one row, oldest first, each once. Prints the row's values.

    Reads the audit's files themselves: Hive need not run. Times are UTC.

    Example: callsheet history titles 42
    """
    from sinks.hive.archive import Archive
    from sinks.hive.history import history as read

    with opened(audit_of(pipeline)[1]) as store:
        audited = Archive(store).table(table)
        changes, horizon = read(audited, identifier), audited.horizon
    data = {
        "table": table,
        "id": identifier,
        "complete_from": plain(horizon),
        "changes": [_change(each) for each in changes],
    }

    def render(out: Console) -> None:
        _render(out, table, identifier, changes, full)
        render_horizon(out, horizon)

    console.emit(json, data, render)


def as_of(  # noqa: PLR0917 - typer turns each into an option
    table: TableArgument,
    time: Annotated[
        str, typer.Argument(help="`now`, a date, or an ISO time; UTC if it does not say.")
    ],
    identifiers: Annotated[
        list[str] | None, typer.Option("--id", help="Only this row; may be repeated.")
    ] = None,
    partial: Partial = False,
    limit: Annotated[int, typer.Option(min=1, help="Rows to print; --json prints all.")] = 20,
    pipeline: PipelineOption = DEFAULT,
    json: console.Json = False,
) -> None:
    """Rows as they were at a time: what was committed up to it. Prints their values.

    Example: callsheet as-of budgets '2026-03-01 00:00' --id 7
    """
    from sinks.hive.archive import Archive
    from sinks.hive.state import state

    moment = instant(time)
    with opened(audit_of(pipeline)[1]) as store:
        audited = Archive(store).table(table)
        found = state(audited, moment, identifiers or (), is_partial=partial)
    data = {
        "table": table,
        "as_of": plain(moment),
        "count": found.frame.height,
        "unknown": found.unknown,
        "complete_from": plain(found.horizon),
        "rows": [{k: plain(v) for k, v in row.items()} for row in found.frame.to_dicts()],
    }
    console.emit(json, data, lambda out: _render_state(out, plain(moment) or "now", found, limit))


def _change(change: Change) -> dict[str, Any]:
    return {
        "uuid": change.uuid,
        "type": change.type.value,
        "ts": plain(change.ts),
        "version": change.version,
        "transaction_id": change.transaction_id,
        "source_file": change.source_file,
        "source_pos": change.source_pos,
        "kafka": f"{change.kafka_topic}-{change.kafka_partition}@{change.kafka_offset}",
        "before": _image(change.before),
        "after": _image(change.after),
    }


def _image(image: Any) -> Any:
    return image and {name: plain(value) for name, value in image.items()}


def _render(out: Console, table: str, identifier: str, changes: list[Change], full: bool) -> None:
    from rich.markup import escape

    if not changes:
        out.print(f"The audit has no change of {escape(table)} {escape(identifier)}.")
        return
    for change in changes:
        place = f"{change.source_file}:{change.source_pos}"
        transaction = f"  {change.transaction_id}" if change.transaction_id else ""
        head = f"[bold]{plain(change.ts)}[/]  {_WORDS[change.type.value]}"
        out.print(f"{head}  [dim]{escape(place + transaction)}[/]")
        is_changed = change.before is not None and change.after is not None
        for name, (old, new) in change.differences().items():
            if is_changed:
                out.print(f"    {escape(f'{name}: {shown(old)} → {shown(new)}')}")
        if full or not is_changed:
            image = change.after if change.after is not None else change.before
            for name, value in (image or {}).items():
                out.print(f"    [dim]{escape(f'{name}: {shown(value)}')}[/]")


def _render_state(out: Console, moment: str, found: State, limit: int) -> None:
    from rich.markup import escape

    rows = found.frame.head(limit).to_dicts()
    noun = "row" if found.frame.height == 1 else "rows"
    out.print(f"[bold]{found.frame.height:,}[/] {noun} of {found.schema.source_table} at {moment}")
    for identifier, row in zip(found.ids, rows, strict=False):
        out.print(f"\n[bold]{escape(identifier)}[/]")
        for name, value in row.items():
            out.print(f"    {escape(f'{name}: {shown(value)}')}")
    if found.frame.height > limit:
        out.print(f"\n… and {found.frame.height - limit:,} more (--limit, --json)")
    render_unknown(out, found)
    render_horizon(out, found.horizon)


def render_horizon(out: Console, horizon: date | None) -> None:
    if horizon is not None:
        out.print(
            f"[yellow]Changes before {horizon} have expired[/], and with them what is known of "
            "rows that have not changed since."
        )


def render_unknown(out: Console, found: State) -> None:
    for name, count in found.unknown.items():
        out.print(
            f"[yellow]{name}[/] came after the last change of {count:,} of these rows: null here, "
            "whatever the source has."
        )
