"""The end of every ``--help``: an example for a group, and what the exit codes mean."""

from __future__ import annotations

import inspect
import re
from typing import Final

import typer

EXIT_CODES: Final = (
    "Exit codes: 0 done; 1 failed; 2 wrong usage; 69 a server is away; 75 something is missing "
    "here; 78 a file must be edited; 130 interrupted. docs/commands.md says more."
)
_EXAMPLE: Final = re.compile(r"Example: (?:\[bold\])?(.*?)(?:\[/\])?$", re.MULTILINE)


def explain(app: typer.Typer) -> None:
    """Give every command and group below ``app`` its epilog; a group borrows an example."""
    for command in app.registered_commands:
        command.epilog = EXIT_CODES
    for group in app.registered_groups:
        inner = group.typer_instance
        if inner is not None:
            group.epilog = f"Example: {_an_example(inner)}. {EXIT_CODES}"
            explain(inner)


def _an_example(app: typer.Typer) -> str:
    """The first command's own."""
    first = app.registered_commands[0].callback
    found = _EXAMPLE.search(inspect.getdoc(first) or "") if first else None
    return found[1] if found else ""
