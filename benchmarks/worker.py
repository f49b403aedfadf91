"""Running `callsheet run` as a user would, and weighing what it costs."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import psutil

from benchmarks.versions import CHECKOUT
from callsheet.errors import CallsheetError, FatalError

START_S: Final = 60.0
STOP_S: Final = 30.0
READY_POLL_S: Final = 0.01


@dataclass(frozen=True, slots=True)
class Cost:
    """Of all processes of one worker.

    Attributes:
        cpu_s: user and system time.
        peak_mb: the sum of each process's highest resident set. Pages that they share count
            once per process, so the truth is a little lower.
        processes: pid to (CPU seconds, peak MB).
    """

    cpu_s: float
    peak_mb: float
    processes: Mapping[int, tuple[float, float]]


class Worker:
    """A started worker. The context manager of `running` ends it."""

    def __init__(self, process: subprocess.Popen[bytes], health: str, log: Path) -> None:
        self.process, self.health, self.log = process, health, log
        self._http = httpx.Client(base_url=health, timeout=5.0, trust_env=False)

    def pids(self) -> list[int]:
        parent = psutil.Process(self.process.pid)
        return [parent.pid, *(child.pid for child in parent.children(recursive=True))]

    def cost(self) -> Cost:
        processes = {}
        for pid in self.pids():
            with contextlib.suppress(psutil.NoSuchProcess, FileNotFoundError):
                times = psutil.Process(pid).cpu_times()
                processes[pid] = (times.user + times.system, _peak_mb(pid))
        return Cost(
            cpu_s=sum(cpu for cpu, _ in processes.values()),
            peak_mb=sum(peak for _, peak in processes.values()),
            processes=processes,
        )

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """SIGSTOP for the length of the block: what happens in it finds it away and costs it
        nothing. Keep it shorter than the group's session timeout.
        """
        pids = self.pids()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def wait_until_ready(self, patience_s: float = START_S) -> float:
        """When it was last seen *not* ready (monotonic): consumption began after that moment.

        Raises:
            FatalError: it ended, or never became ready; the message has its last words.
        """
        deadline = time.monotonic() + patience_s
        before = time.monotonic()
        while time.monotonic() < deadline:
            asked = time.monotonic()
            with contextlib.suppress(httpx.HTTPError):
                if self._http.get("/readyz").status_code == 200:
                    return before
            before = asked
            self.require_alive()
            time.sleep(READY_POLL_S)
        raise FatalError(f"The worker was not ready after {patience_s:.0f} s.\n{self.last_words()}")

    def metrics(self) -> str:
        return self._http.get("/metrics").text

    def require_alive(self) -> None:
        if self.process.poll() is not None:
            raise FatalError(
                f"The worker ended with code {self.process.returncode}.\n{self.last_words()}"
            )

    def last_words(self) -> str:
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-15:])

    def kill(self) -> None:
        """kill -9 of the process that the user started, and of whatever it had started."""
        with contextlib.suppress(psutil.NoSuchProcess):
            for pid in self.pids():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """SIGTERM, as an operator would; it must end by itself.

        Raises:
            FatalError: it did not, or not with success.
        """
        self._http.close()
        if self.process.poll() is None:
            self.process.terminate()
        try:
            code = self.process.wait(STOP_S)
        except subprocess.TimeoutExpired as error:
            self.kill()
            raise FatalError(f"The worker did not stop within {STOP_S:.0f} s.") from error
        if code != 0:
            raise FatalError(f"The worker stopped with code {code}.\n{self.last_words()}")


def _peak_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def start(
    pipeline: Path, health_port: int, environment: Mapping[str, str], log: Path, workers: int = 1
) -> Worker:
    command = [sys.executable, "-m", "callsheet.cli", "run", str(pipeline)]
    command += ["--http", f"127.0.0.1:{health_port}", "--workers", str(workers)]
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, cwd=CHECKOUT, env=dict(environment), stdout=output, stderr=output
        )
    return Worker(process, f"http://127.0.0.1:{health_port}", log)


@contextlib.contextmanager
def running(
    pipeline: Path, health_port: int, environment: Mapping[str, str], log: Path, workers: int = 1
) -> Iterator[Worker]:
    """A worker for the length of the block; an error in the block kills it."""
    worker = start(pipeline, health_port, environment, log, workers)
    try:
        yield worker
    except BaseException:
        with contextlib.suppress(CallsheetError, psutil.NoSuchProcess):
            worker.kill()
        raise
    worker.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
