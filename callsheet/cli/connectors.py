"""``callsheet connectors``: the capture side, through Kafka Connect's REST API."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from callsheet.cli import connectors_view as view
from callsheet.cli import console
from callsheet.cli.connect import client, connected_applier, topics
from callsheet.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from connectors.client import ConnectClient

app = typer.Typer(name="connectors", help="Capture: connectors as files, planned and applied.")
offsets_app = typer.Typer(help="How far a connector has read; start it over.")
app.add_typer(offsets_app, name="offsets")

DEFAULT_FOLDER = Path("cdc-config/connectors")
_LOOK_DEADLINE_S = 10.0
"""Who only looks wants to know soon that Connect is away; who changes something waits for it."""
Files = Annotated[
    list[Path] | None, typer.Argument(help=f"Connector files or folders.  [{DEFAULT_FOLDER}]")
]
Name = Annotated[str, typer.Argument(help="A connector's name, as finance-mysql.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it: it cannot be undone.")]
Budget = Annotated[
    float,
    typer.Option(
        "--downtime-budget-hours",
        min=0.1,
        help="How long capture may be down: MySQL must keep its binlogs for longer.",
    ),
]


@app.command()
def plan(files: Files = None, json: console.Json = False) -> None:
    """Show what `apply` would change; change nothing.

    Example: callsheet connectors plan cdc-config/connectors
    """
    from connectors.files import load_all

    wanted = load_all(files or [DEFAULT_FOLDER])
    with connected_applier(deadline_s=_LOOK_DEADLINE_S) as applier:
        found = applier.plan(wanted)
    console.emit(json, found, lambda out: view.render_plan(out, found))


@app.command()
def apply(
    files: Files = None, downtime_budget_hours: Budget = 24.0, json: console.Json = False
) -> None:
    """Check MySQL, create the topics, put the connectors, wait until they move.

    Applied again it changes nothing. Refuses, before anything is changed, if MySQL is not fit to
    be captured or Connect rejects a setting.

    Example: callsheet connectors apply
    """
    from connectors.files import load_all

    wanted = load_all(files or [DEFAULT_FOLDER])
    report = console.stderr().print
    with connected_applier(report=report, downtime_budget_hours=downtime_budget_hours) as applier:
        outcomes = applier.apply(wanted)

    def render(out: Console) -> None:
        for outcome in outcomes:
            took = f" after {outcome.seconds:.1f} s" if outcome.seconds else ""
            out.print(f"{outcome.name}: {outcome.action}, {outcome.state.value}{took}")

    console.emit(json, outcomes, render)


@app.command()
def preflight(
    files: Files = None, downtime_budget_hours: Budget = 24.0, json: console.Json = False
) -> None:
    """Look whether each connector's MySQL is fit to be captured. Needs no Kafka.

    Example: callsheet connectors preflight --downtime-budget-hours 72
    """
    from connectors.files import load_all
    from connectors.survey import MysqlSurvey, diagnose

    survey = MysqlSurvey(os.environ, downtime_budget_hours=downtime_budget_hours)
    found = [
        finding
        for file in load_all(files or [DEFAULT_FOLDER])
        for finding in diagnose(survey, file)
    ]

    console.emit(json, found, lambda out: view.render_findings(out, found))
    if any(finding.level == "fail" for finding in found):
        raise typer.Exit(75)


@app.command()
def status(
    name: Annotated[str | None, typer.Argument(help="One connector; all if left out.")] = None,
    json: console.Json = False,
) -> None:
    """What Connect says of its connectors, how far they have read, and why one failed.

    RUNNING is Connect's claim; `supervise` judges by progress.

    Example: callsheet connectors status --json
    """
    with client(deadline_s=_LOOK_DEADLINE_S) as connect:
        rows = [view.status_row(connect, found) for found in connect.connectors()]
    if name is not None:
        rows = [row for row in rows if row["name"] == name]
        if not rows:
            raise _unknown(name)
    console.emit(json, rows, lambda out: view.render_status(out, rows))


@app.command()
def pause(name: Name) -> None:
    """Stop reading, keep the connections; `resume` goes on where it was.

    Example: callsheet connectors pause finance-mysql
    """
    with client() as connect:
        _must_exist(connect, name)
        connect.pause(name)
    console.stdout().print(f"{name}: pausing")


@app.command()
def resume(name: Name) -> None:
    """Go on after a pause or a stop.

    Example: callsheet connectors resume finance-mysql
    """
    with client() as connect:
        _must_exist(connect, name)
        connect.resume(name)
    console.stdout().print(f"{name}: resuming")


@app.command()
def restart(
    name: Name,
    everything: Annotated[
        bool, typer.Option("--all", help="Also what runs, not only what FAILED.")
    ] = False,
) -> None:
    """Restart what failed; with --all, the connector and each of its tasks.

    Example: callsheet connectors restart finance-mysql --all
    """
    with client() as connect:
        _must_exist(connect, name)
        connect.restart(name, only_failed=not everything)
    console.stdout().print(f"{name}: restarting")


@app.command()
def delete(name: Name, yes: Yes = False) -> None:
    """Delete a connector. Its topics and its offsets stay: created again, it goes on.

    Example: callsheet connectors delete finance-mysql --yes
    """
    _confirm(yes, f"delete connector {name}")
    with client() as connect:
        _must_exist(connect, name)
        connect.delete(name)
    console.stdout().print(f"{name}: deleted")


@offsets_app.command("show")
def show_offsets(name: Name, json: console.Json = False) -> None:
    """Print the source offsets that a connector has committed.

    Example: callsheet connectors offsets show finance-mysql --json
    """
    with client(deadline_s=_LOOK_DEADLINE_S) as connect:
        _must_exist(connect, name)
        found = connect.offsets(name)
    console.emit(json, found, lambda out: view.render_offsets(out, name, found))


@offsets_app.command("reset")
def reset_offsets(name: Name, yes: Yes = False) -> None:
    """Forget how far a connector has read: it takes a new snapshot of every table.

    It is stopped for it, and goes on afterwards if it ran before. A snapshot tells no deletes:
    `callsheet sweep` finds what has gone meanwhile.

    Example: callsheet connectors offsets reset finance-mysql --yes
    """
    from callsheet.ports import SystemClock
    from connectors.restarts import start_over

    _confirm(yes, f"forget the offsets of {name}")
    with client() as connect:
        resumed = start_over(connect, name, SystemClock())
    then = "and goes on" if resumed else "and stays stopped"
    console.stdout().print(f"{name}: offsets forgotten, {then}")


@app.command()
def supervise(
    files: Files = None,
    stall_seconds: Annotated[
        float, typer.Option(min=5, help="RUNNING without progress for so long is a stall.")
    ] = 60.0,
    json: console.Json = False,
) -> None:
    """Watch the connectors until SIGTERM or Ctrl-C, and restart what failed or stands still.

    Prints a line whenever its judgement changes.

    Example: callsheet connectors supervise --stall-seconds 30
    """
    from callsheet.cli.supervision import run
    from connectors.files import load_all
    from connectors.source import Address, MysqlSource
    from connectors.supervisor import Policy
    from connectors.watch import ConnectorWatch

    wanted = load_all(files or [DEFAULT_FOLDER])
    known = topics()
    # A short patience: an absence of Connect is itself news.
    with client(deadline_s=10.0) as connect:
        watches = [
            ConnectorWatch(file, connect, known, MysqlSource(Address.of(file.config, os.environ)))
            for file in wanted
        ]
        run(watches, Policy(stall_s=stall_seconds), as_json=json)


# --- what the commands share --------------------------------------------------------------------


def _must_exist(connect: ConnectClient, name: str) -> None:
    if connect.config(name) is None:
        raise _unknown(name)


def _unknown(name: str) -> UsageError:
    return UsageError(
        f"Connect knows no connector {name!r}.",
        hint="`callsheet connectors status` lists those it knows.",
    )


def _confirm(yes: bool, what: str) -> None:
    if not yes:
        raise UsageError(f"This would {what}.", hint="Say --yes if that is meant.")
