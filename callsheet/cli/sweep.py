"""``callsheet sweep``: rows that the source no longer has go from every store, as events."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from callsheet.cli import console

Pipelines = Annotated[
    list[Path],
    typer.Argument(help="The pipeline files of all stores of one connector.", show_default=False),
]


def sweep(
    pipelines: Pipelines,
    *,
    connector: Annotated[
        str | None,
        typer.Option(help="Its name or file.  [the one that writes to the pipelines' topics]"),
    ] = None,
    table: Annotated[
        list[str] | None,
        typer.Option("--table", help="Only this one (titles, finance.titles); may be repeated."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, write nothing.")] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Also where more than --max-share would go.")
    ] = False,
    max_share: Annotated[
        float,
        typer.Option(min=0, max=100, help="Percent of a store's rows that a snapshot may remove."),
    ] = 50.0,
    patience: Annotated[
        float, typer.Option(min=0, help="Seconds to wait until the pipelines have caught up.")
    ] = 60.0,
    follow: Annotated[
        bool, typer.Option("--follow", help="Again and again until SIGTERM or Ctrl-C.")
    ] = False,
    every: Annotated[float, typer.Option(min=1, help="Seconds between runs of --follow.")] = 60.0,
    json: console.Json = False,
) -> None:
    """Remove what a new snapshot no longer contains, and what a TRUNCATE took.

    A snapshot tells no deletes. Rows that a store still shows in a version older than the table's
    last completed snapshot are gone at the source; for each of them a delete is written into the
    table's topic, so every store and the audit read the same. TRUNCATE likewise, of tables that
    the pipelines list in truncate_tables. Run twice, it does nothing the second time.

    Ends with 1 when a table was refused, and says why; the other tables are done.

    Example: callsheet sweep --dry-run cdc-config/pipelines/search.yaml
    """
    from callsheet.cli import sweep_view as view
    from callsheet.cli.connect import client
    from callsheet.cli.sweep_capture import ConnectCapture, connector_name
    from callsheet.cli.sweep_parts import scene_of, sweep_of
    from callsheet.cli.sweep_runs import once, repeatedly
    from callsheet.sweep.sweep import Rules

    scene = scene_of(pipelines)
    rules = Rules(max_share / 100, yes, patience, dry_run)
    with client() as connect:
        capture = ConnectCapture(connect, connector_name(connect, scene.prefix, connector))
        job = sweep_of(scene, capture, rules, console.stderr().print)
        if follow:
            repeatedly(scene, job, table or (), every, as_json=json)
        outcomes = once(scene, job, table or ())
    data = view.as_data(outcomes)
    console.emit(json, data, lambda out: view.render(out, outcomes))
    if view.is_refused(outcomes):
        raise typer.Exit(1)
