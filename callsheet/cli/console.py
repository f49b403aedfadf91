"""What every command shares: output for people or machines, and errors without tracebacks."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console

from callsheet.errors import CallsheetError, ConfigError, PreconditionError

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


def stdout() -> Console:
    """Made anew for each use, so that a captured or redirected stdout is the one written to."""
    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def stderr() -> Console:
    return Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())


def emit(as_json: bool, data: object, render: Callable[[Console], None]) -> None:
    """Print ``data`` as JSON, or let ``render`` draw it for a person."""
    if as_json:
        sys.stdout.write(to_json(data))
    else:
        render(stdout())


def to_json(data: object) -> str:
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS
    return orjson.dumps(data, default=_plain, option=options).decode()


def _plain(value: Any) -> Any:
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    return str(value)


def report(error: CallsheetError) -> int:
    """Say what went wrong and what to do next; returns the exit code."""
    console = stderr()
    console.print(f"[bold red]error:[/] {_escape(error.message)}")
    if isinstance(error, ConfigError):
        for fault in error.faults:
            console.print(f"  {_escape(str(fault))}")
    if error.hint:
        console.print(f"[bold]hint:[/] {_escape(error.hint)}")
    if os.environ.get("CALLSHEET_TRACEBACK"):
        console.print_exception()
    return error.exit_code


def report_full(error: OSError) -> int:
    """A disk is full, or a quota used up; where it is not known which file, it is the output."""
    # Python would try once more to write what is left in stdout, and complain.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    what = error.filename or "the output"
    return report(
        PreconditionError(
            f"{what} cannot be written: {(error.strerror or str(error)).lower()}.",
            hint="Make room on that disk and run the command again.",
        )
    )


def _escape(text: str) -> str:
    return text.replace("[", r"\[")
