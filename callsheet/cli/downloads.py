"""How downloads and starts are shown: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TransferSpeedColumn,
)

from callsheet.cli import console


class Bars:
    """Progress for a terminal: a bar for each download, and lines above them."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def say(self, message: str) -> None:
        self._bars.console.print(message, markup=False)

    def advance(self, task: str, done_bytes: int, total_bytes: int) -> None:
        if task not in self._tasks:
            self._tasks[task] = self._bars.add_task(task)
        self._bars.update(self._tasks[task], completed=done_bytes, total=total_bytes)

    def finish(self, task: str) -> None:
        if (known := self._tasks.pop(task, None)) is not None:
            self._bars.remove_task(known)


class Lines:
    """Progress for a log file: lines, at most one for each tenth of a download."""

    def __init__(self) -> None:
        self._tenths: dict[str, int] = {}

    def say(self, message: str) -> None:
        sys.stderr.write(f"{message}\n")

    def advance(self, task: str, done_bytes: int, total_bytes: int) -> None:
        tenth = done_bytes * 10 // max(total_bytes, 1)
        if tenth > self._tenths.get(task, 0):
            self._tenths[task] = tenth
            self.say(f"{task}: {done_bytes >> 20} of {total_bytes >> 20} MiB")

    def finish(self, task: str) -> None:
        self._tenths.pop(task, None)


@contextmanager
def progress_shown() -> Iterator[Bars | Lines]:
    """A `stack.Progress` that fits where standard error goes."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(
        *columns, TransferSpeedColumn(), console=console.stderr(), transient=True
    ) as bars:
        yield Bars(bars)
