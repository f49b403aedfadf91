"""``callsheet dlq``: the records that could not be delivered, and what to do about them."""

from __future__ import annotations

import os
import signal
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from callsheet.cli import console
from callsheet.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from callsheet.cli.dlq_redrive import Outcome, Redrive, Wish
    from callsheet.config.models import PipelineSettings
    from callsheet.kafka.letters import LetterBook, StoredLetter

app = typer.Typer(
    name="dlq", help="Dead letters: list, look at, redrive or discard them.", no_args_is_help=True
)

Pipeline = Annotated[Path, typer.Argument(help="The pipeline file.", show_default=False)]
Letters = Annotated[
    list[int] | None,
    typer.Argument(help="Numbers of letters, as `dlq list` shows them.", show_default=False),
]
Reasons = Annotated[
    list[str] | None, typer.Option("--reason", help="Only this reason; may be repeated.")
]
Tables = Annotated[
    list[str] | None,
    typer.Option("--table", help="Only of this table (finance.titles) or topic; may be repeated."),
]
Since = Annotated[
    str | None,
    typer.Option(help="Only letters written since: 30m, 12h, 7d, or 2026-11-23T08:00:00Z."),
]
All = Annotated[bool, typer.Option("--all", help="Every open letter.")]
By = Annotated[
    str | None,
    typer.Option(help="Who is noted as having done it.  [you@this host]", show_default=False),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show it, change nothing.")]


@app.command("list")
def list_(
    pipeline: Pipeline,
    *,
    reason: Reasons = None,
    table: Tables = None,
    since: Since = None,
    state: Annotated[
        str, typer.Option(help="open, redriven, discarded, superseded, or all.")
    ] = "open",
    limit: Annotated[int, typer.Option(min=0, help="Most letters to list one by one.")] = 20,
    json: console.Json = False,
) -> None:
    """Count the letters by table and reason, and list the newest.

    Shows no value of any row. A letter is open until it is redriven, discarded, or superseded by a
    newer letter of the same record.

    Example: callsheet dlq list cdc-config/pipelines/search.yaml --since 24h
    """
    from callsheet.cli import dlq_view
    from callsheet.cli.dlq_choice import chosen_by
    from callsheet.kafka.letters import State

    if state != "all" and state not in set(State):
        raise UsageError(
            f"--state {state}: there is no such state", hint=f"{', '.join(State)}, or all"
        )
    book = _book(_settings(pipeline))
    choice = chosen_by((), reason, table, since)
    letters = [x for x in book.letters.values() if choice.takes(x) and state in ("all", x.state)]
    data = dlq_view.listing(book, letters, limit)
    console.emit(json, data, lambda out: dlq_view.render_listing(out, data, state))


@app.command()
def show(
    pipeline: Pipeline,
    letter: Annotated[int, typer.Argument(help="The letter's number.", show_default=False)],
    values: Annotated[
        bool, typer.Option("--values", help="Print the row's values: they are personal data.")
    ] = False,
    json: console.Json = False,
) -> None:
    """One letter: why it could not be delivered, and what the record says, decoded where possible.

    Example: callsheet dlq show cdc-config/pipelines/search.yaml 42 --values
    """
    from callsheet.app import decoder_of
    from callsheet.cli import dlq_view
    from callsheet.cli.dlq_workshop import letter_log

    loaded = _load(pipeline)
    log = letter_log(loaded.settings)
    found = log.book().letters.get(letter)
    if found is None:
        raise UsageError(
            f"there is no letter {letter}",
            hint=f"see them: callsheet dlq list {pipeline} --state all",
        )
    record = log.originals([found]).get(letter)
    data = dlq_view.details(found, record, decoder_of(loaded), with_values=values)
    console.emit(json, data, lambda out: dlq_view.render_details(out, data))


@app.command()
def redrive(
    pipeline: Pipeline,
    letters: Letters = None,
    *,
    every: All = False,
    reason: Reasons = None,
    table: Tables = None,
    since: Since = None,
    max_attempts: Annotated[
        int, typer.Option(min=1, help="Leave out letters that have failed so often.")
    ] = 3,
    force: Annotated[bool, typer.Option("--force", help="Also those.")] = False,
    patience: Annotated[
        float, typer.Option(min=1, help="Seconds to wait for a destination that is away.")
    ] = 120.0,
    by: By = None,
    dry_run: DryRun = False,
    json: console.Json = False,
) -> None:
    """Give letters to the pipeline's own destination once more, in the order of their log.

    Nothing goes back into the source's topics. A row that has changed since stays as it is: the
    older state is refused as stale. What fails again is a new letter with one attempt more. The
    pipeline may run meanwhile. Stopped at any moment, run it again: what is done is noted.

    Ends with 1 when letters failed again or are left, with 69 when the destination stayed away.

    Example: callsheet dlq redrive cdc-config/pipelines/search.yaml --reason rejected --dry-run
    """
    from callsheet.cli import dlq_view
    from callsheet.cli.dlq_choice import selected
    from callsheet.cli.dlq_redrive import Wish

    wish = Wish(selected(letters, reason, table, since, every), max_attempts, force)
    if dry_run:
        data = _preview(pipeline, wish)
        console.emit(json, data, lambda out: dlq_view.render_preview(out, data))
        return
    outcome = _redrive(pipeline, wish, by or _operator(), patience)
    data = asdict(outcome)
    console.emit(json, data, lambda out: dlq_view.render_outcome(out, outcome))
    if outcome.away:
        raise UnavailableError(
            f"the destination is away: {outcome.away}",
            hint="run the command again when it is back: what is done is noted",
        )
    if outcome.failed_again or outcome.remaining:
        raise typer.Exit(1)


@app.command()
def discard(
    pipeline: Pipeline,
    letters: Letters = None,
    *,
    why: Annotated[str, typer.Option(help="The reason, for whoever asks later.")],
    every: All = False,
    reason: Reasons = None,
    table: Tables = None,
    since: Since = None,
    by: By = None,
    dry_run: DryRun = False,
    json: console.Json = False,
) -> None:
    """Note that letters will never be delivered: who decided it, when, and why.

    Their bytes stay until the topic's retention takes them, and `dlq list --state discarded` shows
    them until then. Not while a redrive or an erase of the pipeline runs.

    Example: callsheet dlq discard cdc-config/pipelines/search.yaml 42 43 --why "test data"
    """
    from callsheet.cli import dlq_view
    from callsheet.cli.dlq_choice import selected
    from callsheet.cli.dlq_discard import Decision
    from callsheet.cli.dlq_discard import discard as run

    choice = selected(letters, reason, table, since, every)
    if not why.strip():
        raise UsageError("--why is empty", hint="a few words, kept with the letters")
    author = by or _operator()
    found = run(_settings(pipeline), Decision(choice, author, why), is_dry=dry_run)
    data = {
        "changed": bool(found) and not dry_run, "by": author, "why": why, "letters": found,
    }  # fmt: skip
    console.emit(json, data, lambda out: dlq_view.render_discarded(out, data))


# --- inside -------------------------------------------------------------------------------------


def _settings(file: Path) -> PipelineSettings:
    from callsheet.config.loading import load_core, read

    return load_core(read(file), file, os.environ)


def _load(file: Path) -> Any:
    from callsheet.config.loading import load
    from sinks import plugin

    return load(file, os.environ, plugin)


def _book(settings: PipelineSettings) -> LetterBook:
    from callsheet.cli.dlq_workshop import letter_log

    return letter_log(settings).book()


def _operator() -> str:
    import getpass
    import socket

    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in a container
        name = f"uid {os.getuid()}"
    return f"{name}@{socket.gethostname()}"


def _preview(file: Path, wish: Wish) -> dict[str, Any]:
    from callsheet.app import decoder_of
    from callsheet.cli.dlq_preview import chosen, verdicts
    from callsheet.cli.dlq_workshop import letter_log

    loaded = _load(file)
    log = letter_log(loaded.settings)
    takes, held, begun = chosen(log.book(), wish)
    rows = [
        _row(letter) | {"verdict": verdict, "begun": letter.offset in begun}
        for letter, verdict in verdicts(decoder_of(loaded), log, takes)
    ]
    return {"letters": rows, "guarded": [letter.offset for letter in held]}


def _row(letter: StoredLetter) -> dict[str, Any]:
    from callsheet.cli.dlq_view import row

    return row(letter)


def _redrive(file: Path, wish: Wish, by: str, patience_s: float) -> Outcome:
    from callsheet.cli.dlq_workshop import Operator
    from callsheet.cli.dlq_workshop import redrive as run
    from callsheet.observability.logging import configure

    def started(job: Redrive) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: job.stop())

    loaded = _load(file)
    log = configure("warning", pipeline=loaded.name)
    return run(loaded, wish, Operator(by, patience_s, log, started))
