"""The workers of all four stores, with traps on their ways."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import msgspec

from callsheet.runtime import WorkerState
from stack import Stack
from tests.support.every_store import PATIENCE_S, Scene, every_store
from tests.support.every_store_files import SINKS
from tests.support.main_job_files import CHECKOUT, Pipeline
from tests.support.polling import until
from tests.support.traps import FREEZE, Trap, Traps
from tests.support.worker_process import STOP_S, WorkerProcess


@dataclass(slots=True)
class Crew:
    """One worker per store, by the store's name."""

    scene: Scene
    label: str = "first"
    workers: dict[str, WorkerProcess] = field(default_factory=dict)

    @property
    def traps(self) -> Traps:
        return Traps(self.scene.job.folder / f"traps-{self.label}")

    # --- processes ------------------------------------------------------------------------------

    def hire(self, logs: Path | None = None, *, are_ready: bool = True) -> None:
        """Start `callsheet run`, one per store, as the scene's workers; all become members."""
        for sink in SINKS:
            self.workers[sink] = self._start(self.scene.pipelines[sink], logs)
        self.scene.workers.update(self.workers)
        for worker in self.workers.values():
            if are_ready:
                worker.wait_until_ready(PATIENCE_S)

    def hire_beside(self) -> None:
        """As members of their own names in the same groups."""
        for sink in SINKS:
            self.workers[sink] = self._start(self._namesake(self.scene.pipelines[sink]))

    def stop(self) -> None:
        """SIGTERM to all, once: a second one would kill. All end well."""
        for worker in self.workers.values():
            worker.process.terminate()
        for sink, worker in self.workers.items():
            assert worker.process.wait(STOP_S) == 0, f"{sink}\n{worker.last_words()}"

    def end(self) -> None:
        """kill -9."""
        for worker in self.workers.values():
            worker.end()

    def wait_until_gone(self) -> None:
        """Static members leave with their session, however they ended."""
        groups = self.scene.job.groups
        for pipeline in self.scene.pipelines.values():
            until(lambda: not groups.state(pipeline.group).members, "no member is left", PATIENCE_S)  # noqa: B023 - called at once

    def _start(self, pipeline: Pipeline, logs: Path | None = None) -> WorkerProcess:
        job = self.scene.job
        worker = WorkerProcess.start(
            ["run", str(pipeline.path)],
            job.environ,
            (logs or job.folder) / f"{pipeline.name}-{self.label}.log",
            cwd=CHECKOUT,
            module=("tests.support.trapped_run", str(self.traps.folder)),
        )
        job.workers.append(worker)
        return worker

    def _namesake(self, pipeline: Pipeline) -> Pipeline:
        """The same pipeline on another host."""
        path = self.scene.job.folder / self.label / pipeline.path.name
        document = json.loads(pipeline.path.read_text("utf-8"))
        document["kafka"]["instance_id"] = f"{pipeline.name}-{self.label}"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(document), "utf-8")
        return replace(pipeline, path=path)

    # --- traps ----------------------------------------------------------------------------------

    def trap(self, points: Mapping[str, str], *, number: int = 1, freeze: bool = False) -> None:
        """By store, at which point its worker is hit."""
        for sink, point in points.items():
            trap = Trap(point, number, FREEZE) if freeze else Trap(point, number)
            self.traps.set(self.scene.pipelines[sink].name, trap)

    def is_hit(self, sink: str) -> bool:
        return self.traps.victim(self.scene.pipelines[sink].name) is not None

    def wait_until_hit(self, points: Collection[str]) -> dict[str, int]:
        """The victims' pids by store."""
        return {sink: self.traps.wait_for(self.scene.pipelines[sink].name) for sink in points}

    # --- their state ----------------------------------------------------------------------------

    def state(self, sink: str) -> WorkerState | None:
        """None: nobody can tell just now."""
        if self.workers[sink].record is None:
            return None  # it has just been started
        with suppress(httpx.HTTPError):
            answer = self.workers[sink].get("/status")
            return next(iter(msgspec.json.decode(answer.content, type=list[WorkerState])), None)
        return None

    def wait_until_back(self, victims: Mapping[str, int | None]) -> None:
        """Each place has another process, and it is a member of its group."""

        def are_back() -> bool:
            states = {sink: self.state(sink) for sink in victims}
            return all(
                state is not None and state.is_ready and state.pid not in {None, victims[sink]}
                for sink, state in states.items()
            )

        until(are_back, f"the workers of {', '.join(victims)} are back", PATIENCE_S)

    def kill(self, sink: str) -> int | None:
        """kill -9, wherever it is; None: there was nobody to kill."""
        state = self.state(sink)
        if state is None or state.pid is None:
            return None
        with suppress(ProcessLookupError):
            os.kill(state.pid, signal.SIGKILL)
        return state.pid

    def rewrite(self, sink: str, **changes: Any) -> None:
        """Lay these over the ``sink:`` of its file; who runs it is to be hired anew."""
        path = self.scene.pipelines[sink].path
        document = json.loads(path.read_text("utf-8"))
        document["sink"] |= changes
        path.write_text(json.dumps(document), "utf-8")


@contextmanager
def a_crew(stack: Stack, folder: Path, *, rate_per_s: float) -> Iterator[Crew]:
    """Of a scene of its own."""

    def hire(scene: Scene) -> None:
        Crew(scene).hire()

    with every_store(stack, folder, hire, rate_per_s=rate_per_s) as scene:
        yield Crew(scene, workers=scene.workers)
