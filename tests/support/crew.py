"""One `callsheet run` of several pipelines, and traps on its workers' ways."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import httpx
import msgspec

from callsheet.runtime import WorkerState
from tests.support.main_job_files import CHECKOUT, Pipeline
from tests.support.polling import until
from tests.support.traps import FREEZE, Trap, Traps
from tests.support.worker_process import WorkerProcess


@dataclass(frozen=True, slots=True)
class Crew:
    """``pipelines`` by the name that a test calls them by."""

    pipelines: Mapping[str, Pipeline]
    traps: Traps
    process: WorkerProcess

    @classmethod
    def start(
        cls, pipelines: Mapping[str, Pipeline], folder: Path, environ: Mapping[str, str]
    ) -> Self:
        """All are members of their groups."""
        folder.mkdir(parents=True, exist_ok=True)
        traps = Traps(folder / "traps")
        process = WorkerProcess.start(
            ["run", *(str(each.path) for each in pipelines.values())],
            environ,
            folder / "workers.log",
            cwd=CHECKOUT,
            module=("tests.support.trapped_run", str(traps.folder)),
        )
        made = cls(pipelines, traps, process)
        try:
            process.wait_until_ready()
        except BaseException:
            process.end()
            raise
        return made

    # --- traps ----------------------------------------------------------------------------------

    def trap(self, points: Mapping[str, str], *, number: int = 1, freeze: bool = False) -> None:
        """By pipeline, at which point its worker is hit."""
        for label, point in points.items():
            trap = Trap(point, number, FREEZE) if freeze else Trap(point, number)
            self.traps.set(self.pipelines[label].name, trap)

    def is_hit(self, label: str) -> bool:
        return self.traps.victim(self.pipelines[label].name) is not None

    def wait_until_hit(self, points: Mapping[str, str]) -> dict[str, int]:
        """The victims' pids by pipeline."""
        return {label: self.traps.wait_for(self.pipelines[label].name) for label in points}

    # --- workers --------------------------------------------------------------------------------

    def states(self) -> dict[str, WorkerState]:
        answer = self.process.get("/status")
        answer.raise_for_status()
        found = msgspec.json.decode(answer.content, type=list[WorkerState])
        labels = {pipeline.name: label for label, pipeline in self.pipelines.items()}
        return {labels[state.pipeline]: state for state in found}

    def wait_until_ready(self) -> None:
        def are_ready() -> bool:
            with suppress(httpx.HTTPError):
                return all(state.is_ready for state in self.states().values())
            return False

        until(are_ready, "all workers are members of their groups")

    def wait_until_back(self, label: str, victim: int) -> None:
        """Another process has its place."""

        def is_back() -> bool:
            with suppress(httpx.HTTPError):
                state = self.states()[label]
                return state.is_ready and state.pid not in {None, victim}
            return False

        until(is_back, f"the worker of {label} is back")

    def kill(self, label: str) -> int | None:
        """kill -9 of one worker, wherever it is; None: it is not running just now."""
        pid = self.states()[label].pid
        if pid is None:
            return None
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return pid

    def stop(self) -> None:
        assert self.process.stop() == 0, self.process.last_words()

    def end(self) -> None:
        """Whatever state it is in, frozen workers included."""
        self.process.end()
