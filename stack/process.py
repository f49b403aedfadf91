"""Processes that outlive the command that started them, and are found again without mistake."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from stack.clock import Clock
from stack.places import read_record, write_atomically

MARK = "CALLSHEET_STACK_SERVER"
_POLL_S = 0.05
_KILL_WAIT_S = 10.0
_PAUSE_WAIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Launch:
    """What to start. ``user`` and ``group`` are numbers, or None for our own."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    user: int | None = None
    group: int | None = None


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """Which process a server is.

    A pid alone is not enough, since pids are used again: ``identity`` also names the boot and the
    kernel's start time of the process, which no clock adjustment moves.
    """

    pid: int
    identity: str
    started_at: float


class _Detached(subprocess.Popen[bytes]):
    """Meant to outlive us, so that losing sight of it is no mistake to warn of."""

    def __del__(self) -> None:
        """Leave it running."""


class ServerProcess:
    """One server's process and all its children, known by a record on disk."""

    def __init__(self, record: Path, mark: str, clock: Clock) -> None:
        self._path = record
        self._mark = mark
        self._clock = clock

    def start(self, launch: Launch, log: Path) -> ProcessRecord:
        """Start it in a session of its own, its output appended to ``log``."""
        with log.open("ab") as output:
            process = _Detached(
                launch.argv,
                cwd=launch.cwd,
                env={**launch.env, MARK: self._mark},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=launch.user,
                group=launch.group,
                extra_groups=[] if launch.user is not None else None,
            )
        record = ProcessRecord(process.pid, identity_of(process.pid) or "gone", self._clock.wall())
        write_atomically(self._path, json.dumps(asdict(record)))
        return record

    def record(self) -> ProcessRecord | None:
        """What was started last and not stopped since.

        Raises:
            PreconditionError: the record is damaged.
        """
        hint = (
            "Remove it. If the server still runs, `callsheet stack up` then names the process that "
            "has its port: end it."
        )
        return read_record(self._path, ProcessRecord, hint)

    def forget(self) -> None:
        """It is stopped, on purpose."""
        self._path.unlink(missing_ok=True)

    def is_alive(self) -> bool:
        """Does the process that was started still run?"""
        record = self.record()
        return record is not None and identity_of(record.pid) == record.identity

    def members(self) -> list[psutil.Process]:
        """The process and its children, orphans included: all of its session that bear our mark."""
        record = self.record()
        if record is None:
            return []
        leader = identity_of(record.pid)
        if leader is not None and leader != record.identity:
            # The kernel gives no pid away while a session of that number lives: ours has ended.
            return []
        return [each for each in psutil.process_iter() if self._is_member(each, record)]

    def _is_member(self, process: psutil.Process, record: ProcessRecord) -> bool:
        try:
            if os.getsid(process.pid) != record.pid or identity_of(process.pid) is None:
                return False
            return process.pid == record.pid or process.environ().get(MARK) == self._mark
        except (ProcessLookupError, psutil.Error):
            return False

    def memory_bytes(self) -> int:
        """Resident memory of all members."""
        total = 0
        for each in self.members():
            with suppress(psutil.Error):
                total += each.memory_info().rss
        return total

    def is_paused(self) -> bool:
        """Has any member been stopped by a signal?"""
        return any(map(_is_stopped, self.members()))

    def pause(self) -> None:
        """SIGSTOP to all members; returns once every one of them stands still."""
        self.signal(signal.SIGSTOP)
        end = self._clock.monotonic() + _PAUSE_WAIT_S
        while not all(map(_is_stopped, self.members())) and self._clock.monotonic() < end:
            self._clock.sleep(_POLL_S)

    def signal(self, number: signal.Signals) -> int:
        """Send a signal to all members. Returns to how many."""
        return _send(number, self.members())

    def stop(self, grace_s: float) -> bool:
        """End it and wait. Returns True when it took SIGKILL.

        SIGTERM goes to the process itself, which ends its children in good order; to the children
        only once it is gone.
        """
        record = self.record()
        if record is None:
            return False
        members = self.members()
        leader = [each for each in members if each.pid == record.pid]
        _send(signal.SIGTERM, leader)
        _send(signal.SIGCONT, members)  # a paused process sees no SIGTERM
        ended = self._ended_within(grace_s, leader)
        orphans = self.members() if ended else []
        if orphans:
            _send(signal.SIGTERM, orphans)
            ended = self._ended_within(grace_s, orphans)
        if not ended:
            self.kill()
        self.forget()
        return not ended

    def kill(self) -> None:
        """SIGKILL to all members, and wait until they are gone; the record stays."""
        members = self.members()
        _send(signal.SIGKILL, members)
        self._ended_within(_KILL_WAIT_S, members)

    def _ended_within(self, seconds: float, processes: Sequence[psutil.Process]) -> bool:
        # Asked of each process, not by `members()`: one that is ending has lost its mark while it
        # still holds its ports.
        end = self._clock.monotonic() + seconds
        while True:
            if not any(map(is_running, processes)):
                self._reap()
                return True
            if self._clock.monotonic() >= end:
                return False
            self._clock.sleep(_POLL_S)

    def _reap(self) -> None:
        """Where we are its parent, take its exit status, or it stays a zombie."""
        if record := self.record():
            with suppress(ChildProcessError):
                os.waitpid(record.pid, os.WNOHANG)


def _send(number: signal.Signals, processes: Sequence[psutil.Process]) -> int:
    for each in processes:
        with suppress(psutil.NoSuchProcess):
            each.send_signal(number)
    return len(processes)


def _is_stopped(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_STOPPED
    except psutil.Error:
        return False


def is_running(process: psutil.Process) -> bool:
    """Does this very process still hold anything?"""
    return process.is_running() and identity_of(process.pid) is not None


def identity_of(pid: int) -> str | None:
    """Boot and start time of a running process; None when there is none, or only its zombie.

    A process whose first thread is a zombie while others still end is not gone: it holds its
    ports and files until the last one has ended.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *rest = stat.rpartition(")")[2].split()  # a name may hold spaces and brackets
    threads, start = int(rest[16]), rest[18]
    is_gone = state == "X" or (state == "Z" and threads <= 1)
    return None if is_gone else f"{boot}:{start}"
