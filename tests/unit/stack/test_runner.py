"""A server of a few lines stands in for the real ones: a process with an HTTP port."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from callsheet.errors import PreconditionError, UnavailableError
from stack.clock import SystemClock
from stack.command import CommandFailedError, SystemCommand
from stack.ports import Ports, is_free
from stack.process import Launch, ServerProcess
from stack.runner import ServerRunner, State, StoppedWaitingError, complaint
from stack.server import Site, Traits, http
from tests.unit.stack.fakes import Told

ANSWERING = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b'{"version": "1.0"}')
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
MUTE = "import time; time.sleep(60)"
DYING = "import sys; print('[ERROR] the configuration is wrong'); print('bye'); sys.exit(3)"


class SmallServer:
    traits: ClassVar = Traits(name="mysql", title="Small", components=(), start_s=20, grace_s=10)

    def __init__(self, program: str = ANSWERING) -> None:
        self.program = program
        self.settled = 0
        self.fault: Exception | None = None

    def listeners(self, ports: Ports) -> Mapping[str, int]:
        return {"mysql": ports.mysql}

    def address(self, ports: Ports) -> str:
        return f"http://127.0.0.1:{ports.mysql}/"

    def prepare(self, site: Site) -> None:
        if self.fault:
            raise self.fault

    def launch(self, site: Site) -> Launch:
        argv = [sys.executable, "-c", self.program, str(site.ports.mysql)]
        return Launch(argv, dict(os.environ), site.home)

    def probe(self, site: Site) -> str:
        return str(http("GET", self.address(site.ports))["version"])

    def settle(self, site: Site) -> None:
        self.settled += 1


class Impatient(SmallServer):
    traits: ClassVar = replace(SmallServer.traits, start_s=0.3, grace_s=0.3)


Make = Callable[[SmallServer], ServerRunner]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    ports = Ports.free()
    process = ServerProcess(tmp_path / "process.json", str(tmp_path), SystemClock())

    def runner(server: SmallServer) -> ServerRunner:
        def site(*, with_java: bool = False) -> Site:
            return Site("t", tmp_path, {}, ports, None, {}, {}, None, SystemCommand())

        return ServerRunner(server, site, process, tmp_path / "small.log", SystemClock())

    yield runner
    process.kill()


def start(runner: ServerRunner, told: Told | None = None) -> None:
    runner.ensure(told or Told(), threading.Event())


def test_started_once_and_left_alone_after_that(make: Make) -> None:
    server = SmallServer()
    runner = make(server)
    assert runner.status().state is State.STOPPED
    start(runner)
    first = runner.status()
    told = Told()
    start(runner, told)
    second = runner.status()
    assert (first.state, first.version) == (State.RUNNING, "1.0")
    assert first.pid == second.pid is not None
    assert first.memory_bytes > 0
    assert told.said == []
    assert server.settled == 2


def test_what_crashed_is_said_to_have_crashed_and_is_started_again(make: Make) -> None:
    runner = make(SmallServer())
    start(runner)
    before = runner.status().pid
    runner.process.kill()
    crashed = runner.status()
    assert (crashed.state, crashed.pid, crashed.memory_bytes) == (State.CRASHED, None, 0)
    start(runner)
    assert runner.status().state is State.RUNNING
    assert runner.status().pid != before


def test_what_is_paused_is_said_to_be_and_goes_on(make: Make) -> None:
    runner = make(SmallServer())
    start(runner)
    before = runner.status().pid
    runner.process.pause()
    assert runner.status().state is State.PAUSED
    start(runner)
    assert (runner.status().state, runner.status().pid) == (State.RUNNING, before)


def test_stopped_on_purpose_is_no_crash(make: Make) -> None:
    runner = make(SmallServer())
    start(runner)
    told = Told()
    runner.stop(told)
    assert runner.status().state is State.STOPPED
    assert told.said == ["mysql: stopping"]


def test_one_that_ends_at_once_is_reported_with_its_reason(make: Make) -> None:
    runner = make(SmallServer(DYING))
    with pytest.raises(UnavailableError, match="configuration is wrong") as caught:
        start(runner)
    assert "ended while starting" in caught.value.message
    assert "stack logs mysql" in caught.value.hint


def test_one_that_never_answers_is_reported_and_shown_as_unhealthy(make: Make) -> None:
    runner = make(Impatient(MUTE))
    with pytest.raises(UnavailableError, match="did not answer within"):
        start(runner)
    assert runner.status().state is State.UNHEALTHY


def test_a_young_one_is_starting_not_unhealthy(make: Make) -> None:
    runner = make(SmallServer(MUTE))
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(StoppedWaitingError):
        runner.ensure(Told(), cancelled)
    assert runner.status().state is State.STARTING


def test_a_taken_port_is_said_and_nothing_is_started(make: Make) -> None:
    runner = make(SmallServer())
    with socket.create_server(("127.0.0.1", port_of(runner))):
        assert "another process" in runner.status().detail
        with pytest.raises(PreconditionError, match="for mysql is taken"):
            start(runner)
    assert runner.status().state is State.STOPPED


def port_of(runner: ServerRunner) -> int:
    return int(runner.status().address.rsplit(":", 1)[1].rstrip("/"))


def test_a_failed_set_up_keeps_what_the_tool_said(make: Make) -> None:
    server = SmallServer()
    server.fault = CommandFailedError("mysqld", 1, "x\n[ERROR] cannot create the data folder\n")
    runner = make(server)
    with pytest.raises(UnavailableError, match="cannot create the data folder"):
        start(runner)
    assert "cannot create" in runner.log.read_text()


def test_a_full_disk_is_said_plainly(make: Make) -> None:
    runner = make(SmallServer("print('java.io.IOException: No space left on device')"))
    with pytest.raises(PreconditionError, match="is full"):
        start(runner)


def test_the_port_is_free_after_a_stop(make: Make) -> None:
    runner = make(SmallServer())
    start(runner)
    assert not is_free(port_of(runner))
    runner.stop(Told())
    assert is_free(port_of(runner))


@pytest.mark.parametrize(
    ("log", "line"),
    [
        ("a\nCaused by: x\n\tat y\nCaused by: the root\n\t... 4 more\n", "Caused by: the root"),
        ("2026 [ERROR] bad option\n2026 [Note] shutting down\n", "2026 [ERROR] bad option"),
        ("one\ntwo\n\n", "two"),
        ("", "nothing"),
    ],
)
def test_the_line_that_tells_most(log: str, line: str) -> None:
    assert complaint(log) == line
