"""`callsheet` as a user runs it: a process with its log, health and metrics; killed or stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families

from callsheet.runtime import RunRecord, WorkerState, running_workers, worker_states

START_S: Final = 60.0
STOP_S: Final = 60.0
_LOOK_S: Final = 0.05

LAW: Final = ("written", "superseded", "stale", "skipped", "dead_lettered", "given_back")
"""Where a consumed record can be, besides in hand."""


@dataclass(frozen=True, slots=True)
class Counters:
    """One reading of /metrics, summed over labels and workers."""

    values: Mapping[str, float]
    labelled: Mapping[tuple[str, str], float] = field(default_factory=dict)

    def of(self, name: str) -> int:
        """``consumed`` is ``callsheet_consumed_events_total``."""
        return round(self.values.get(f"callsheet_{name}_events_total", 0))

    def by(self, name: str, label: str) -> int:
        """The same of one label's value."""
        return round(self.labelled.get((f"callsheet_{name}_events_total", label), 0))

    def gauge(self, name: str) -> float:
        return self.values.get(f"callsheet_{name}", 0.0)

    @property
    def missing(self) -> int:
        """What the conservation law cannot account for: 0 whenever it holds."""
        accounted = sum(self.of(name) for name in LAW) + round(self.gauge("in_hand_events"))
        return self.of("consumed") - accounted


class WorkerProcess:
    """One `callsheet run` with all its children."""

    def __init__(
        self, process: subprocess.Popen[bytes], environ: Mapping[str, str], log: Path
    ) -> None:
        self.process, self.log = process, log
        self._environ = environ
        self._http = httpx.Client(timeout=5.0, trust_env=False)

    @classmethod
    def start(
        cls,
        arguments: Sequence[str],
        environ: Mapping[str, str],
        log: Path,
        *,
        cwd: Path,
        module: Sequence[str] = ("callsheet.cli",),
    ) -> Self:
        """``module``: what is run instead of the command, and its own arguments."""
        command = [sys.executable, "-m", *module, *arguments]
        with log.open("ab") as output:
            process = subprocess.Popen(
                command, cwd=cwd, env=dict(environ), stdout=output, stderr=output
            )
        return cls(process, environ, log)

    # --- what it tells --------------------------------------------------------------------------

    @property
    def record(self) -> RunRecord | None:
        """How it registered itself; None before that."""
        mine = [r for r in running_workers(self._environ) if r.pid == self.process.pid]
        return mine[0] if mine else None

    def get(self, path: str) -> httpx.Response:
        record = self.record
        assert record is not None, f"the worker is not running\n{self.last_words()}"
        return self._http.get(record.http + path)

    def states(self) -> list[WorkerState]:
        record = self.record
        return worker_states(record) if record else []

    def counters(self) -> Counters:
        values: dict[str, float] = {}
        labelled: dict[tuple[str, str], float] = {}
        for family in text_string_to_metric_families(self.get("/metrics").text):
            for sample in family.samples:
                values[sample.name] = values.get(sample.name, 0.0) + sample.value
                for label in ("kind", "reason", "topic"):
                    if label in sample.labels:
                        key = sample.name, sample.labels[label]
                        labelled[key] = labelled.get(key, 0.0) + sample.value
        return Counters(values, labelled)

    def parked(self) -> dict[str, str]:
        """Topic to reason and detail, of what waits for a human."""
        return {
            table.topic: f"{table.reason}: {table.detail}"
            for state in self.states()
            if state.status is not None
            for table in state.status.parked
        }

    def logged(self) -> list[dict[str, Any]]:
        """Its log's lines; each is one JSON object."""
        return [json.loads(line) for line in self.log.read_text("utf-8").splitlines() if line]

    def last_words(self) -> str:
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-15:])

    def complaints(self) -> str:
        """The last warnings and errors of its log, each cut to what can be read."""
        lines = self.log.read_text("utf-8", "replace").splitlines()
        grave = [line for line in lines if '"level": "info"' not in line][-10:]
        return "\n".join([self.log.name, *(f"  {line[:600]}" for line in grave)])

    # --- waiting, stopping ----------------------------------------------------------------------

    def wait_until_ready(self, patience_s: float = START_S) -> None:
        end = time.monotonic() + patience_s
        while not self._is_ready():
            assert self.process.poll() is None, (
                f"it ended with code {self.process.returncode}\n{self.last_words()}"
            )
            assert time.monotonic() < end, f"not ready in time\n{self.last_words()}"
            time.sleep(_LOOK_S)

    def _is_ready(self) -> bool:
        with suppress(httpx.HTTPError):
            record = self.record
            return record is not None and self._http.get(f"{record.http}/readyz").is_success
        return False

    def pids(self) -> list[int]:
        """The parent, then its children."""
        with suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self.process.pid)
            return [parent.pid, *(child.pid for child in parent.children(recursive=True))]
        return []

    def kill(self) -> None:
        """kill -9 of the parent and its children at once, as a power cut would."""
        pids = self.pids()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        psutil.wait_procs([psutil.Process(p) for p in pids if psutil.pid_exists(p)], timeout=10)

    def stop(self) -> int:
        """SIGTERM, as an operator would; returns its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(STOP_S)

    def end(self) -> None:
        """Whatever state it is in."""
        self._http.close()
        if self.process.poll() is None:
            self.kill()
