"""Telling how far a benchmark is: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

PLAIN_INTERVAL_S: Final = 15.0
"""On a log nobody watches a bar move: a line now and then shows that it is alive."""


class Task(Protocol):
    def at(self, done: float) -> None:
        """So much of the total is done."""


class _BarTask:
    def __init__(self, bar: Progress, label: str, total: float) -> None:
        self._bar, self._id = bar, bar.add_task(label, total=total)

    def at(self, done: float) -> None:
        self._bar.update(self._id, completed=done)


class _PlainTask:
    def __init__(self, console: Console, label: str, total: float) -> None:
        self._console, self._label, self._total = console, label, total
        self._next_s = time.monotonic() + PLAIN_INTERVAL_S

    def at(self, done: float) -> None:
        if time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + PLAIN_INTERVAL_S
            self._console.print(f"    {self._label}: {done:,.0f} of {self._total:,.0f}")


class Narrator:
    """Speaks on stderr, so that ``--json`` has stdout to itself."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, text: str) -> None:
        self._console.print(f"  {text}", markup=False)

    def warn(self, text: str) -> None:
        self._console.print(f"  warning: {text}", style="yellow", markup=False)

    @contextmanager
    def tracking(self, label: str, total: float) -> Iterator[Task]:
        if not self._console.is_terminal:
            yield _PlainTask(self._console, label, total)
            return
        columns = (
            TextColumn("    {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        # Ten frames a second of drawing would be measured along with everything else.
        with Progress(*columns, console=self._console, transient=True, refresh_per_second=2) as bar:
            yield _BarTask(bar, label, total)
