"""Running other programs to their end: mvn, apt-get, pip, and the servers' own set-up tools."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from callsheet.errors import CallsheetError

_TICK_S = 0.2


class CommandFailedError(CallsheetError):
    """A program ended with a failure; ``output`` is all it said."""

    def __init__(self, program: str, code: int, output: str) -> None:
        super().__init__(f"{program} ended with code {code}: {last_words(output)}")
        self.program, self.code, self.output = program, code, output


def last_words(output: str, *, lines: int = 1) -> str:
    """The last lines that say something."""
    said = [line.strip() for line in output.splitlines() if line.strip()]
    return "\n".join(said[-lines:]) or "it said nothing"


class Command(Protocol):
    """Runs a program; ``tick`` is called several times a second meanwhile."""

    def __call__(
        self,
        argv: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        tick: Callable[[], None] | None = None,
    ) -> str:
        """Its output, both streams. CommandFailedError unless it ended with 0."""


@dataclass(frozen=True, slots=True)
class SystemCommand:
    """The real one. Whatever ends the wait (Ctrl-C too) ends the program first."""

    def __call__(
        self,
        argv: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        tick: Callable[[], None] | None = None,
    ) -> str:
        """Its output, both streams. CommandFailedError unless it ended with 0."""
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
            # A file, not a pipe: a pipe nobody reads while we wait fills up and blocks the program.
            with subprocess.Popen(
                argv,
                cwd=cwd,
                env=_in_english(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            ) as process:
                try:
                    _wait(process, tick)
                except BaseException:
                    process.terminate()
                    raise
            output.seek(0)
            said = output.read()
        if process.returncode != 0:
            raise CommandFailedError(Path(argv[0]).name, process.returncode, said)
        return said


def _in_english(env: Mapping[str, str] | None) -> dict[str, str]:
    """What programs say is read by us too, so it must not depend on the user's language."""
    return {**(os.environ if env is None else env), "LC_ALL": "C.UTF-8"}


def _wait(process: subprocess.Popen[bytes], tick: Callable[[], None] | None) -> None:
    while True:
        try:
            process.wait(_TICK_S)
        except subprocess.TimeoutExpired:
            if tick:
                tick()
        else:
            return
