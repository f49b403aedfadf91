"""``callsheet erase``: one person's rows, out of every store that can be reached."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from callsheet.cli import console
from callsheet.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from callsheet.cli.erasure import Erasure

_RETENTION = "its retention alone empties it: docs/privacy.md"


def erase(
    pipelines: Annotated[list[Path], typer.Argument(help="Pipeline files.", show_default=False)],
    *,
    table: Annotated[
        str, typer.Option(help="The table (finance.talent), or its topic.", show_default=False)
    ],
    identifier: Annotated[
        list[str], typer.Option("--id", help="ID of a row; may be repeated.", show_default=False)
    ],
    doubtful: Annotated[
        bool,
        typer.Option(
            "--doubtful", help="Also letters of the table that do not decode, settled or not."
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show it, change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it: it cannot be undone.")] = False,
    json: console.Json = False,
) -> None:
    """Take rows out of index, replica, audit, compacted topics and dead letters. Delete them at the
    source first: what the source has comes again.

    A row's ID and its version stay, so that no replay brings it back; the audit keeps its changes
    without their values. What only retention takes (the source's topics, logs downstream) is said.

    Ends with 1 when something is left that a further call, or somebody, has to deal with.

    Example: callsheet erase cdc-config/pipelines/*.yaml --table finance.talent --id 42 --dry-run
    """
    from callsheet.cli.erasure import Wish, gone
    from callsheet.cli.erasure import erase as run
    from callsheet.config.loading import load
    from callsheet.observability.logging import configure
    from sinks import plugin

    if not yes and not dry_run:
        raise UsageError(
            "what is erased cannot be brought back", hint="say --yes, or look first: --dry-run"
        )
    wish = Wish(table, tuple(dict.fromkeys(identifier)), doubtful, dry_run)
    loaded = [load(file, os.environ, plugin) for file in pipelines]
    found = [
        erased
        for each in loaded
        if (erased := run(each, wish, configure("warning", pipeline=each.name))) is not None
    ]
    if not found:
        raise UsageError(
            f"no pipeline of these reads {table}", hint="--table finance.talent, or a topic's name"
        )
    data = {"changed": not dry_run, "pipelines": [as_data(each) for each in found]}
    console.emit(json, data, lambda out: render(out, found, is_dry=dry_run))
    if not dry_run and not gone(found):
        raise typer.Exit(1)


def as_data(found: Erasure) -> dict[str, Any]:
    letters = found.letters
    return {
        "pipeline": found.pipeline, "sink": found.sink, "topic": found.topic,
        "can_erase": found.can_erase, "unread": found.unread,
        "rows": [
            {"id": each, "had_values": before.has_values,
             "has_values": found.after[each].has_values, "version": found.after[each].version}
            for each, before in found.before.items()
        ],
        "letters": None if letters is None else {
            "erased": sorted(letters.erased), "doubtful": sorted(letters.doubtful),
            "kept": len(letters.kept), "settled": letters.settled,
        },
    }  # fmt: skip


def render(out: Console, found: Sequence[Erasure], *, is_dry: bool) -> None:
    for each in found:
        out.print(f"[bold]{each.pipeline}[/bold] ({each.sink}), {each.topic}")
        for line in [*_rows(each, is_dry=is_dry), *_letters(each, is_dry=is_dry), *_unread(each)]:
            out.print(f"  {line}")


def _rows(found: Erasure, *, is_dry: bool) -> list[str]:
    if not found.can_erase:
        return [f"{found.sink}: {_RETENTION}"]
    lines = []
    for identifier, before in found.before.items():
        after = found.after[identifier]
        remains = (
            "nothing is known of it" if after.version is None else f"version {after.version} stays"
        )
        if is_dry:
            state = "has values" if before.has_values else "no values"
        elif after.has_values:
            state = "still has values"
        else:
            state = "erased" if before.has_values else "no values"
        lines.append(f"ID {identifier}: {state}; {remains}")
    return lines


def _letters(found: Erasure, *, is_dry: bool) -> list[str]:
    letters = found.letters
    if letters is None:
        return ["no dead letters"]
    done = "to erase" if is_dry else "erased"
    lines = [f"dead letters: {len(letters.erased)} {done}, {len(letters.kept)} others open"]
    if letters.erased:
        lines.append(f"  {letters.settled} settled ones of others go with them, and their notes")
    left = len(letters.doubtful) if is_dry else found.letters_left
    if left:
        lines.append(
            f"  {left} of the table do not decode, so nobody can tell whose they are: --doubtful "
            "erases them too"
        )
    if len(letters.doubtful) > left:
        lines.append(f"  {len(letters.doubtful) - left} that do not decode went too")
    return lines


def _unread(found: Erasure) -> list[str]:
    if found.unread == 0:
        return []
    number = "an unknown number of" if found.unread is None else found.unread
    return [f"{number} records of the table are not read yet: run it again when they are"]
