"""The parent process: each pipeline's workers as processes of their own, watched and restarted."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

import msgspec
from structlog.typing import FilteringBoundLogger

from callsheet.backoff import Backoff
from callsheet.child import Failure, Order, Report
from callsheet.errors import ConfigError, FatalError, Fault
from callsheet.observability.health import (
    HealthLimits,
    WorkerStatus,
    liveness,
    readiness,
)
from callsheet.observability.relay import Relay
from callsheet.ports import Clock
from callsheet.runtime import WorkerState

_LOOK_S = 0.1
_HEALTHY_S = 60.0
"""A worker that ran so long starts its count of failures anew."""
_CRASH = Backoff(base_s=1.0, cap_s=60.0)
_FATAL = Backoff(base_s=30.0, cap_s=600.0)
"""Where going on would lose data: mostly it needs a human, sometimes only time."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One worker that is to run."""

    pipeline: str
    file: str
    text: str
    worker: int
    health: HealthLimits
    grace_s: float
    """From SIGTERM to SIGKILL."""


@dataclass(slots=True)
class Slot:
    """One worker's place: at most one process at a time."""

    plan: Plan
    process: subprocess.Popen[bytes] | None = None
    report_fd: int | None = None
    buffer: bytearray = field(default_factory=bytearray)
    status: WorkerStatus | None = None
    failure: Failure | None = None
    is_failing: bool = False
    """It has told its failure, and is about to end."""
    started_s: float = 0.0
    start_at_s: float = 0.0
    failures: int = 0
    restarts: int = 0


class Supervisor:
    """Runs the plans until :meth:`stop`, or until every pipeline is refused for its configuration:
    one that is, is put down, and the others go on.
    """

    def __init__(  # noqa: PLR0913 - its neighbours, and how a worker's process is started
        self,
        plans: Sequence[Plan],
        relay: Relay,
        clock: Clock,
        log: FilteringBoundLogger,
        *,
        command: Sequence[str] = (sys.executable, "-m", "callsheet.child"),
        log_level: str = "info",
    ) -> None:
        self._slots = [Slot(plan) for plan in plans]
        self._relay, self._clock, self._log = relay, clock, log
        self._command, self._log_level = list(command), log_level
        self._selector = selectors.DefaultSelector()
        self._random = Random()  # noqa: S311 - jitter, no secret
        self._stop_at_s: float | None = None
        self._refused: dict[str, ConfigError] = {}
        """By pipeline. What is in here is not started again."""

    def stop(self) -> None:
        """Let all workers finish; a second call kills them. Safe in a signal handler."""
        if self._stop_at_s is None:
            self._stop_at_s = self._clock.monotonic()
        else:
            self._stop_at_s = float("-inf")

    def run(self) -> None:
        """Raises:
        ConfigError: a pipeline's configuration was refused: now, if it was the last one; else
            when the others have been stopped.
        FatalError: a worker had to be killed, or ended badly while stopping.
        """
        try:
            while self._stop_at_s is None and not self._is_nothing_left():
                self._turn()
        finally:
            self._end()
        for error in self._refused.values():
            raise error

    def _is_nothing_left(self) -> bool:
        return {slot.plan.pipeline for slot in self._slots} == self._refused.keys()

    def states(self) -> list[WorkerState]:
        """How each worker is, as far as we heard. From any thread."""
        return [self._state(slot) for slot in self._slots]

    # --- one turn -------------------------------------------------------------------------------

    def _turn(self) -> None:
        now_s = self._clock.monotonic()
        for slot in self._slots:
            if slot.process is None:
                if now_s >= slot.start_at_s and slot.plan.pipeline not in self._refused:
                    self._start(slot)
            else:
                self._kill_if_hung(slot)
        self._listen(_LOOK_S)
        for slot in self._slots:
            if slot.process is not None and slot.process.poll() is not None:
                self._ended(slot, slot.process.returncode)

    def _start(self, slot: Slot) -> None:
        read_fd, write_fd = os.pipe()
        plan = slot.plan
        order = Order(plan.file, plan.text, plan.worker, write_fd, self._log_level)
        # One thread: with two or more, polars and the sink's senders fight for the cores.
        env = {"POLARS_MAX_THREADS": "1", **os.environ}
        process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, pass_fds=(write_fd,), env=env
        )
        os.close(write_fd)
        if process.stdin is not None:
            process.stdin.write(msgspec.json.encode(order) + b"\n")
            process.stdin.flush()
        slot.process, slot.report_fd, slot.started_s = process, read_fd, self._clock.monotonic()
        slot.status, slot.is_failing, slot.buffer = None, False, bytearray()
        os.set_blocking(read_fd, False)
        self._selector.register(read_fd, selectors.EVENT_READ, slot)
        self._log.info(
            "worker started", pipeline=plan.pipeline, worker=plan.worker, pid=process.pid
        )

    def _listen(self, timeout_s: float) -> None:
        if not self._selector.get_map():
            self._clock.sleep(timeout_s)
            return
        for key, _ in self._selector.select(timeout_s):
            self._read(key.data)

    def _read(self, slot: Slot) -> None:
        if slot.report_fd is None:
            return
        try:
            while chunk := os.read(slot.report_fd, 1 << 16):
                slot.buffer += chunk
        except BlockingIOError:
            pass
        else:
            self._hang_up(slot)
        *lines, rest = bytes(slot.buffer).split(b"\n")
        slot.buffer = bytearray(rest)
        for line in lines:
            self._heard(slot, msgspec.json.decode(line, type=Report))

    def _heard(self, slot: Slot, report: Report) -> None:
        if report.failure is not None:
            slot.failure, slot.is_failing = report.failure, True
        if report.status is not None:
            slot.status = report.status
            self._relay.heard(slot.plan.pipeline, slot.plan.worker, report.metrics)

    def _hang_up(self, slot: Slot) -> None:
        if slot.report_fd is not None:
            self._selector.unregister(slot.report_fd)
            os.close(slot.report_fd)
            slot.report_fd = None

    def _kill_if_hung(self, slot: Slot) -> None:
        now_s, limits = self._clock.monotonic(), slot.plan.health
        spoken_s = slot.status.turned_s if slot.status else slot.started_s
        if slot.process is not None and now_s - spoken_s > 2 * limits.turn_s:
            self._log.error("worker hangs, killed", **self._names(slot))
            slot.process.kill()

    def _ended(self, slot: Slot, code: int) -> None:
        self._read(slot)
        self._hang_up(slot)
        self._reap(slot)
        self._relay.ended(slot.plan.pipeline, slot.plan.worker)
        if code == ConfigError.exit_code:
            self._put_down(slot)
        if slot.plan.pipeline in self._refused:
            return
        now_s = self._clock.monotonic()
        slot.failures = 0 if now_s - slot.started_s > _HEALTHY_S else slot.failures
        backoff = _FATAL if code == FatalError.exit_code else _CRASH
        delay_s = backoff.delay_s(slot.failures, self._random)
        slot.failures, slot.restarts = slot.failures + 1, slot.restarts + 1
        slot.start_at_s = now_s + delay_s
        self._log.error(
            "worker ended", **self._names(slot), code=code, restart_in_s=round(delay_s, 1)
        )

    def _put_down(self, refused: Slot) -> None:
        """Its other workers would be refused as well; the pipelines beside it are not concerned."""
        pipeline = refused.plan.pipeline
        error = self._refused.setdefault(pipeline, _config_error(refused.failure))
        faults = [str(fault) for fault in error.faults]
        self._log.error("pipeline stopped", pipeline=pipeline, cause=str(error), faults=faults)
        for slot in self._slots:
            if slot.plan.pipeline == pipeline and slot.process is not None:
                slot.process.send_signal(signal.SIGTERM)

    def _reap(self, slot: Slot) -> None:
        process, slot.process, slot.status = slot.process, None, None
        if process is not None and process.stdin is not None:
            process.stdin.close()

    # --- the end --------------------------------------------------------------------------------

    def _end(self) -> None:
        """SIGTERM to all, wait for the grace, SIGKILL. A second stop() ends the waiting."""
        running = [slot for slot in self._slots if slot.process is not None]
        for slot in running:
            if slot.process is not None:
                slot.process.send_signal(signal.SIGTERM)
        begun_s = self._clock.monotonic()
        killed: list[str] = []
        while running := [s for s in running if not self._is_over(s)]:
            self._listen(_LOOK_S)
            for slot in running:
                is_late = self._clock.monotonic() - begun_s > slot.plan.grace_s
                if slot.process is not None and (is_late or self._stop_at_s == float("-inf")):
                    slot.process.kill()
                    killed.append(f"{slot.plan.pipeline}/{slot.plan.worker}")
        self._selector.close()
        if killed and sys.exc_info()[0] is None:
            raise FatalError(
                f"killed, because it did not stop in time: {', '.join(sorted(set(killed)))}",
                hint="nothing is lost: what was not committed is read again at the next start",
            )

    def _is_over(self, slot: Slot) -> bool:
        if slot.process is None:
            return True
        code = slot.process.poll()
        if code is None:
            return False
        self._read(slot)
        self._hang_up(slot)
        self._reap(slot)
        self._relay.ended(slot.plan.pipeline, slot.plan.worker)
        self._log.info("worker stopped", pipeline=slot.plan.pipeline, code=code)
        return True

    # --- telling --------------------------------------------------------------------------------

    def _names(self, slot: Slot) -> Mapping[str, object]:
        return {"pipeline": slot.plan.pipeline, "worker": slot.plan.worker}

    def _state(self, slot: Slot) -> WorkerState:
        plan, process, status = slot.plan, slot.process, slot.status
        now_s = self._clock.monotonic()
        error = slot.failure.message if slot.failure else ""
        live = ready = None
        if process is not None and status is not None:
            live = liveness(status, plan.health, now_s)
            ready = readiness(status, plan.health, now_s)
        if process is None and plan.pipeline in self._refused:
            detail = f"stopped, a file must be edited: {self._refused[plan.pipeline].message}"
        elif process is None:
            wait_s = max(0.0, slot.start_at_s - now_s)
            detail = f"starts in {wait_s:.0f} s" + (f" after: {error}" if error else "")
        else:
            detail = ready.detail if ready else "starting"
        return WorkerState(
            pipeline=plan.pipeline,
            worker=plan.worker,
            pid=process.pid if process else None,
            # A worker that we are about to start again is no reason to kill us all.
            is_live=live.is_well if live else True,
            is_ready=ready is not None and ready.is_well and not slot.is_failing,
            detail=detail,
            restarts=slot.restarts,
            last_error=error,
            status=status,
        )


def _config_error(failure: Failure | None) -> ConfigError:
    if failure is None:
        return ConfigError("a worker refused its configuration", hint="look at its log")
    faults = [Fault(m, file=file, line=line, path=path) for m, file, line, path in failure.faults]
    return ConfigError(failure.message, hint=failure.hint, faults=faults)
