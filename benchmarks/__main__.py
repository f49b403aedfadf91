"""``python -m benchmarks``: measure, judge, write one JSON file per benchmark."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

os.environ.setdefault("POLARS_MAX_THREADS", "1")  # as a worker runs; read when polars is imported

from benchmarks import machine, report, versions
from benchmarks.harness import Benchmark, Run
from benchmarks.progress import Narrator
from benchmarks.resources import Resources
from callsheet.cli import console
from callsheet.errors import CallsheetError


def main(  # noqa: PLR0913, PLR0917 - a command's options
    names: Annotated[list[str] | None, typer.Argument(help="Which ones; all by default.")] = None,
    quick: Annotated[  # noqa: FBT002
        bool, typer.Option("--quick", help="Small loads, nothing judged, no result files.")
    ] = False,
    list_only: Annotated[bool, typer.Option("--list", help="Say which there are.")] = False,  # noqa: FBT002
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,  # noqa: FBT002
    minutes: Annotated[float, typer.Option(help="How long the soak lasts.", min=0.5)] = 20.0,
    output: Annotated[Path, typer.Option(help="Folder of the result files.")] = report.RESULTS,
    keep_servers: Annotated[  # noqa: FBT002
        bool, typer.Option("--keep-servers", help="Leave the servers running.")
    ] = False,
) -> None:
    """Measure what Callsheet promises, on servers of its own.

    A bound that does not hold makes exit code 1.

    Example: python -m benchmarks bulk-json ceiling
    """
    from benchmarks.catalogue import catalogue, chosen

    known = catalogue()
    if list_only:
        summaries = {benchmark.name: benchmark.summary for benchmark in known.values()}
        console.emit(as_json, summaries, lambda out: _list(out, summaries))
        return
    benchmarks = chosen(names or [], known)
    folder = None if quick else output
    results = _measure(benchmarks, folder, minutes=minutes, keep_servers=keep_servers)
    console.emit(as_json, results, lambda out: report.show(out, results, judged=not quick))
    if not quick and report.failures(results):
        raise typer.Exit(1)


def _list(out: Any, summaries: dict[str, str]) -> None:
    for name, summary in summaries.items():
        out.print(f"{name:<16} {summary}", markup=False)


def _measure(
    benchmarks: Sequence[Benchmark], folder: Path | None, *, minutes: float, keep_servers: bool
) -> list[dict[str, Any]]:
    """``folder``: where results go, each as soon as it is there; None makes it a quick run."""
    quick = folder is None
    # SIGTERM ends it as Ctrl-C does: workers are stopped, what they made is removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    narrator = Narrator(console.stderr())
    selected = frozenset(benchmark.name for benchmark in benchmarks)
    resources = Resources(narrator, selected, quick=quick, keep_servers=keep_servers)
    run = Run(quick, minutes, selected, narrator, resources)
    try:
        results = []
        for benchmark in benchmarks:
            results.append(_result(benchmark, run))
            if folder is not None:
                report.write(results[-1], folder)
        return results
    finally:
        resources.close()


def _result(benchmark: Benchmark, run: Run) -> dict[str, Any]:
    run.narrator.say(f"{benchmark.name}: {benchmark.summary}")
    if benchmark.needs_servers:
        run.resources.servers.start()
    calm = machine.wait_for_calm(patience_s=0 if run.quick else machine.PATIENCE_S)
    if not calm.is_idle:
        run.narrator.warn(
            f"others use {calm.busy_share:.0%} of this machine: the numbers are only indicative"
        )
    outcome = benchmark.run(run)
    result = report.document(
        benchmark,
        outcome,
        machine={**machine.describe(), **calm.as_dict()},
        versions=versions.merged(run.resources.server_versions()),
        date=datetime.now(UTC),
    )
    for measure in outcome.measures:
        verdict = "" if run.quick or measure.bound is None else f" (bound {measure.bound})"
        value = f"{report.rounded(measure.value):,.10g} {measure.unit}".rstrip()
        run.narrator.say(f"  {measure.name}: {value}{verdict}")
    return result


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    app.command()(main)
    try:
        app()
    except CallsheetError as error:
        sys.exit(console.report(error))
    except KeyboardInterrupt:
        sys.exit(130)
