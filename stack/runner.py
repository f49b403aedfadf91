"""One server of one stack: started, repaired, stopped, and looked at."""

from __future__ import annotations

import signal
import threading
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from callsheet.errors import CallsheetError, PreconditionError, UnavailableError
from stack.clock import Clock
from stack.command import CommandFailedError
from stack.places import disk_errors_named
from stack.ports import is_free, require_free
from stack.process import ServerProcess
from stack.progress import Progress
from stack.server import Server, Site, SiteMaker

_POLL_S = 0.1
_SECOND_CHANCE_S = 10.0
_PORT_PATIENCE_S = 2.0
_LOG_TAIL_BYTES = 65_536


class State(StrEnum):
    """What a server does now."""

    RUNNING = "running"
    """Its API answers as it should."""
    STARTING = "starting"
    """Its process runs, and it may still take the time that it usually takes."""
    UNHEALTHY = "unhealthy"
    """Its process runs, but its API does not answer."""
    PAUSED = "paused"
    """Its process has been stopped by a signal (SIGSTOP)."""
    CRASHED = "crashed"
    """It was started, nobody stopped it, and its process is gone."""
    STOPPED = "stopped"
    """It was not started, or was stopped on purpose."""


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """The truth about one server. ``detail`` is empty where nothing need be said."""

    server: str
    state: State
    address: str
    version: str
    pid: int | None
    memory_bytes: int
    log: Path
    detail: str = ""


class StoppedWaitingError(CallsheetError):
    """Ctrl-C, or another server's failure, ended the wait; the server itself goes on."""


class ServerRunner:
    """Starts, repairs, stops and looks at one server."""

    def __init__(
        self,
        server: Server,
        site: SiteMaker,
        process: ServerProcess,
        log: Path,
        clock: Clock,
    ) -> None:
        self.server = server
        self.traits = server.traits
        self.process = process
        self.log = log
        self._site = site
        self._clock = clock

    def ensure(self, progress: Progress, cancelled: threading.Event) -> None:
        """Make it run: nothing to do when it answers, started when it does not run, repaired
        when it hangs.
        """
        began = self._clock.monotonic()
        if self.process.is_alive() and self._recovers(cancelled):
            self.server.settle(self._site())
            return
        self._start(progress, cancelled)
        took = self._clock.monotonic() - began
        address = self.server.address(self._site().ports)
        progress.say(f"{self.traits.name}: ready at {address} after {took:.1f} s")

    def stop(self, progress: Progress) -> None:
        """End it, and say so when it took SIGKILL."""
        if not self.process.members():
            self.process.forget()
            return
        progress.say(f"{self.traits.name}: stopping")
        if self.process.stop(self.traits.grace_s):
            progress.say(
                f"{self.traits.name}: did not end within {self.traits.grace_s:.0f} s of SIGTERM, "
                "so it was killed (SIGKILL)"
            )

    def status(self) -> ServerStatus:
        """Asked of its API; a pid alone proves nothing."""
        site = self._site()
        record = self.process.record()
        state, version, detail = self._looked_at(site)
        is_there = state not in {State.CRASHED, State.STOPPED}
        return ServerStatus(
            server=self.traits.name,
            state=state,
            address=self.server.address(site.ports),
            version=version,
            pid=record.pid if record and is_there else None,
            memory_bytes=self.process.memory_bytes() if is_there else 0,
            log=self.log,
            detail=detail,
        )

    def _looked_at(self, site: Site) -> tuple[State, str, str]:
        record = self.process.record()
        if record is None:
            return State.STOPPED, "", self._squatter(site)
        if not self.process.is_alive():
            return State.CRASHED, "", "its process is gone; `callsheet stack up` starts it again"
        if self.process.is_paused():
            return State.PAUSED, "", "its process was stopped by a signal"
        try:
            return State.RUNNING, self.server.probe(site), ""
        except UnavailableError as error:
            is_young = self._clock.wall() - record.started_at < self.traits.start_s
            return State.STARTING if is_young else State.UNHEALTHY, "", error.message

    def _squatter(self, site: Site) -> str:
        ports = self.server.listeners(site.ports).values()
        taken = [str(port) for port in ports if not is_free(port)]
        return f"another process listens on its port {', '.join(taken)}" if taken else ""

    def _recovers(self, cancelled: threading.Event) -> bool:
        """Does a running process answer, given the time that its age still allows?"""
        self.process.signal(signal.SIGCONT)
        record = self.process.record()
        age = self._clock.wall() - record.started_at if record else 0.0
        try:
            self._wait(max(self.traits.start_s - age, _SECOND_CHANCE_S), cancelled)
        except UnavailableError:
            return False
        return True

    def _start(self, progress: Progress, cancelled: threading.Event) -> None:
        self.process.stop(self.traits.grace_s)  # what hangs, and orphans of what crashed
        site = self._site(with_java=True)
        self._require_ports(site)
        progress.say(f"{self.traits.name}: starting {self.traits.title}")
        with disk_errors_named(site.home):
            self._prepare(site)
            if self.log.exists():
                self.log.replace(self.log.with_suffix(".previous.log"))
            self.process.start(self.server.launch(site), self.log)
        self._wait(self.traits.start_s, cancelled)
        self.server.settle(site)

    def _require_ports(self, site: Site) -> None:
        """The ports are free, if need be a moment later: a crashed process may still be ending."""
        listeners = self.server.listeners(site.ports)
        end = self._clock.monotonic() + _PORT_PATIENCE_S
        while not all(map(is_free, listeners.values())) and self._clock.monotonic() < end:
            self._clock.sleep(_POLL_S)
        for name, port in listeners.items():
            require_free(name, port)

    def _prepare(self, site: Site) -> None:
        try:
            self.server.prepare(site)
        except CommandFailedError as error:
            self.log.write_text(error.output, encoding="utf-8")
            raise self._failure(f"{self.traits.title} could not be set up") from error

    def _wait(self, seconds: float, cancelled: threading.Event) -> None:
        site = self._site()
        end = self._clock.monotonic() + seconds
        while True:
            if not self.process.is_alive():
                raise self._failure(f"{self.traits.title} ended while starting")
            try:
                self.server.probe(site)
            except UnavailableError:
                if self._clock.monotonic() >= end:
                    raise self._failure(
                        f"{self.traits.title} did not answer within {seconds:.0f} s"
                    ) from None
            else:
                return
            if cancelled.is_set():
                raise StoppedWaitingError(f"Stopped waiting for {self.traits.title}.")
            self._clock.sleep(_POLL_S)

    def _failure(self, what: str) -> CallsheetError:
        said = tail(self.log)
        if "No space left on device" in said:
            return PreconditionError(
                f"{what}: the disk with {self.log.parent} is full.",
                hint="Make room, then run `callsheet stack up` again.",
            )
        return UnavailableError(
            f"{what}. It said last: {complaint(said)}",
            hint=f"See all of it: callsheet stack logs {self.traits.name} (or {self.log}).",
        )


def complaint(said: str) -> str:
    """The line of a log that says best why a server gave up: a cause, an error, the last one."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    for sign in ("Caused by: ", "[ERROR]", " ERROR ", " FATAL ", "Exception"):
        if found := [line for line in lines if sign in line]:
            return found[-1]
    return lines[-1] if lines else "nothing"


def tail(log: Path) -> str:
    """The end of a log; empty when there is none."""
    try:
        with log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(file.tell() - _LOG_TAIL_BYTES, 0))
            return file.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""
