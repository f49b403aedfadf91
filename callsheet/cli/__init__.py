"""The ``callsheet`` command. Each module here is one command, or one group of them.

What its exit codes mean is in `epilog`, and so at the end of every ``--help``.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Annotated, Any

import typer

from callsheet import __version__
from callsheet.cli import console
from callsheet.cli.epilog import EXIT_CODES, explain
from callsheet.errors import CallsheetError

_GROUPS = ("stack", "migrate", "connectors", "offsets", "dlq", "audit")
"""Modules that have an ``app`` of several subcommands."""

_COMMANDS = (
    ("demo", "demo"),
    ("doctor", "doctor"),
    ("validate", "validate"),
    ("run", "run"),
    ("erase", "erase"),
    ("search", "search"),
    ("history", "history"),
    ("as-of", "history"),
    ("status", "status"),
    ("sweep", "sweep"),
    ("load", "simulate"),
    ("simulate", "simulate"),
)
"""Commands, and the module that has each as a function."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

app = typer.Typer(
    name="callsheet",
    help="Every store follows the log: MySQL changes to Elasticsearch, exact and in step.",
    epilog=f"Example: callsheet demo. {EXIT_CODES}",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"callsheet {__version__}\n")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[  # noqa: ARG001 - its callback does the work
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print it, exit."),
    ] = False,
) -> None:
    fill_environment()


def fill_environment() -> None:
    """Where a native stack has been started, its addresses and passwords serve as defaults: what
    the environment says already stays.
    """
    from stack import Stack, environment

    for name, value in environment.read(Stack.named().environment_file).items():
        os.environ.setdefault(name, value)


def mount() -> None:
    """Put the commands into ``app``, once."""
    if app.registered_commands:
        return
    # Modules import what is heavy inside their functions, so that --help stays quick.
    for name in _GROUPS:
        app.add_typer(_module(name).app, name=name)
    for name, module in _COMMANDS:
        command: Callable[..., Any] = getattr(_module(module), name.replace("-", "_"))
        app.command(name)(command)
    explain(app)


def _module(name: str) -> Any:
    return import_module(f"callsheet.cli.{name}")


def main() -> None:
    """Entry point: a user's mistake is a sentence and an exit code, never a traceback.

    SIGPIPE stays ignored, as Python has it: a reader of ours that hangs up (``| head``) is told by
    typer from the error, and ends us; a server that hangs up must not.
    """
    mount()
    try:
        try:
            app()
        finally:
            sys.stdout.flush()  # what did not fit on the disk is to be known here, not at exit
    except CallsheetError as error:
        sys.exit(console.report(error))
    except OSError as error:
        if error.errno not in _FULL:
            raise
        sys.exit(console.report_full(error))
    except KeyboardInterrupt:
        sys.exit(130)
