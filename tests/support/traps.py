"""Faults at exact points of a running worker, set while it runs.

A test sets a trap for one worker of a pipeline; whoever runs as that worker (its process is a
``tests.support.trapped_child``) steps into it at the stated point and is killed, or frozen. Each
trap is sprung once: the process that replaces it finds none.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import psutil

from tests.support.polling import until

PATIENCE_S: Final = 240.0
KILL: Final = int(signal.SIGKILL)
FREEZE: Final = int(signal.SIGSTOP)


class Trap(msgspec.Struct, frozen=True):
    """``number``: at which arrival at the point, counted from when the trap was set."""

    point: str
    number: int = 1
    signal: int = KILL


@dataclass(frozen=True, slots=True)
class Traps:
    """Of all workers; one folder, one file per worker."""

    folder: Path

    def set(self, pipeline: str, trap: Trap, worker: int = 0) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self._file(pipeline, worker)
        self._victim(pipeline, worker).unlink(missing_ok=True)
        aside = file.with_suffix(".new")
        aside.write_bytes(msgspec.json.encode(trap))
        aside.rename(file)

    def victim(self, pipeline: str, worker: int = 0) -> int | None:
        """The process that stepped into it; None: nobody has."""
        with suppress(FileNotFoundError):
            return int(self._victim(pipeline, worker).read_text())
        return None

    def wait_for(self, pipeline: str, worker: int = 0) -> int:
        """Until it was sprung, and its victim is dead, or frozen."""
        trap = f"{pipeline}/{worker}"
        until(lambda: self.victim(pipeline, worker), f"{trap} steps into its trap", PATIENCE_S)
        pid = self.victim(pipeline, worker) or 0
        until(lambda: _is_hit(pid), f"{trap} is hit")
        return pid

    def clear(self) -> None:
        """What nobody stepped into is no danger any more."""
        for file in self.folder.glob("*"):
            file.unlink(missing_ok=True)

    def _file(self, pipeline: str, worker: int) -> Path:
        return self.folder / f"{pipeline}.{worker}.trap"

    def _victim(self, pipeline: str, worker: int) -> Path:
        return self.folder / f"{pipeline}.{worker}.victim"

    # --- in the worker's process ----------------------------------------------------------------

    def look(self, pipeline: str, worker: int) -> Trap | None:
        with suppress(FileNotFoundError):
            return msgspec.json.decode(self._file(pipeline, worker).read_bytes(), type=Trap)
        return None

    def spring(self, pipeline: str, worker: int, trap: Trap) -> None:
        """Noted first: a dead process writes nothing."""
        aside = self._file(pipeline, worker).with_suffix(".sprung")
        aside.write_text(str(os.getpid()))
        aside.rename(self._victim(pipeline, worker))
        self._file(pipeline, worker).unlink(missing_ok=True)
        os.kill(os.getpid(), trap.signal)


def _is_hit(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() in {psutil.STATUS_ZOMBIE, psutil.STATUS_STOPPED}
    except psutil.NoSuchProcess:
        return True


class Walker:
    """One worker's way past the points where traps may be. From any thread."""

    def __init__(self, traps: Traps) -> None:
        self._traps = traps
        self._name: tuple[str, int] | None = None
        self._trap: Trap | None = None
        self._left = 0
        self._lock = threading.Lock()

    def introduce(self, pipeline: str, worker: int) -> None:
        self._name = pipeline, worker

    def is_due(self, point: str) -> bool:
        """Is the next arrival at this point the last?"""
        with self._lock:
            return self._look(point) is not None and self._left == 1

    def reach(self, point: str) -> None:
        with self._lock:
            trap = self._look(point)
            if trap is None or self._name is None:
                return
            self._left -= 1
            if not self._left:
                self._trap = None
                self._traps.spring(*self._name, trap)

    def _look(self, point: str) -> Trap | None:
        trap = self._traps.look(*self._name) if self._name else None
        if trap != self._trap:
            self._trap, self._left = trap, trap.number if trap else 0
        return trap if trap and trap.point == point else None
