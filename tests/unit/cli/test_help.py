"""What each `--help` promises: an example that exists, and what the exit codes mean."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from callsheet import cli, errors
from callsheet.cli.epilog import EXIT_CODES

CHECKOUT = Path(__file__).parents[3]
DOC = (CHECKOUT / "docs/commands.md").read_text("utf-8")
INTERNAL = {"CALLSHEET_STACK_SERVER"}
"""Marks our own children; nobody sets it."""


def command_of(app: typer.Typer) -> Any:
    return typer.main.get_command(app)


def every(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from every(inner, (*path, name))


cli.mount()
ROOT = command_of(cli.app)
EVERY = dict(every(ROOT))
LEAVES = {path: command for path, command in EVERY.items() if not hasattr(command, "commands")}


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_a_command_shows_an_example_of_itself_that_parses(path: tuple[str, ...]) -> None:
    shown = " ".join(LEAVES[path].help.split())
    found = re.search(r"Example: (?:\[bold\])?(?:eval \"\$\()?(callsheet [^\[)]*)", shown)
    assert found, "no example"
    words = shlex.split(found[1])
    assert tuple(words[1 : 1 + len(path)]) == path
    LEAVES[path].make_context(" ".join(path), words[1 + len(path) :])


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_every_help_can_be_shown_and_says_what_the_exit_codes_mean(path: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(cli.app, [*path, "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    text = " ".join(shown.stdout.split())
    assert "Example: " in text
    assert EXIT_CODES in text


def test_the_exit_codes_are_those_of_the_errors() -> None:
    classes = [each for each in vars(errors).values() if isinstance(each, type)]
    codes = {each.exit_code for each in classes if issubclass(each, errors.CallsheetError)}
    told = {int(code) for code in re.findall(r"(\d+) [a-z]", EXIT_CODES)}
    assert told == codes | {0, 130}
    assert told == {int(code) for code in re.findall(r"^\| (\d+) \|", DOC, re.MULTILINE)}


def test_every_variable_is_documented() -> None:
    found: set[str] = set()
    for part in ("callsheet", "connectors", "sinks", "finance", "stack", "migrations"):
        for file in (CHECKOUT / part).rglob("*.py"):
            found |= set(re.findall(r"CALLSHEET_[A-Z_]*[A-Z]\b", file.read_text("utf-8")))
    assert len(found) > 20
    assert {name for name in found - INTERNAL if not re.search(rf"`{name}[`=]", DOC)} == set()
