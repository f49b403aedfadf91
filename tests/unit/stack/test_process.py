"""On real processes: small ones, that live for a moment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest

from stack.clock import SystemClock
from stack.process import Launch, ServerProcess, identity_of

DEADLINE_S = 15.0
# A parent with a child, both saying that they are there.
FAMILY = """
import subprocess, sys, time
child = "import time; print(2, flush=True); time.sleep(60)"
subprocess.Popen([sys.executable, "-c", child])
print(1, flush=True)
time.sleep(60)
"""
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(1, flush=True)
time.sleep(60)
"""


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.01)


@pytest.fixture
def process(tmp_path: Path) -> Iterator[ServerProcess]:
    made = ServerProcess(tmp_path / "process.json", str(tmp_path), SystemClock())
    yield made
    made.kill()


def start(process: ServerProcess, tmp_path: Path, program: str, lines: int = 1) -> int:
    log = tmp_path / "log"
    launch = Launch([sys.executable, "-c", program], dict(os.environ), tmp_path)
    record = process.start(launch, log)
    until(lambda: log.read_text().count("\n") >= lines)
    return record.pid


def test_it_runs_in_its_own_session_and_is_found_again(
    process: ServerProcess, tmp_path: Path
) -> None:
    pid = start(process, tmp_path, FAMILY, lines=2)
    assert os.getsid(pid) == pid
    again = ServerProcess(tmp_path / "process.json", str(tmp_path), SystemClock())
    assert again.is_alive()
    assert len(again.members()) == 2
    assert again.memory_bytes() > 1 << 20


def test_stopping_ends_it_and_forgets_it(process: ServerProcess, tmp_path: Path) -> None:
    pid = start(process, tmp_path, "import time; print(1,flush=True); time.sleep(60)")
    assert process.stop(grace_s=DEADLINE_S) is False
    assert identity_of(pid) is None
    assert process.record() is None


def test_what_ignores_sigterm_is_killed_and_that_is_said(
    process: ServerProcess, tmp_path: Path
) -> None:
    pid = start(process, tmp_path, STUBBORN)
    assert process.stop(grace_s=0.2) is True
    assert identity_of(pid) is None


def test_orphans_are_found_and_stopped(process: ServerProcess, tmp_path: Path) -> None:
    pid = start(process, tmp_path, FAMILY, lines=2)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert not process.is_alive()
    (orphan,) = process.members()
    process.stop(grace_s=DEADLINE_S)
    assert not psutil.pid_exists(orphan.pid) or identity_of(orphan.pid) is None


def test_a_pid_that_another_process_has_now_is_left_alone(
    process: ServerProcess, tmp_path: Path
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True
    ) as stranger:
        try:
            begun = time.monotonic()
            until(lambda: time.monotonic() > begun + 0.05)  # the kernel's start times must differ
            start(process, tmp_path, "print(1,flush=True)")
            until(lambda: not process.members())
            record = process.record()
            assert record is not None
            stale = replace(record, pid=stranger.pid)
            (tmp_path / "process.json").write_text(json.dumps(asdict(stale)))
            assert not process.is_alive()
            assert process.members() == []
            assert process.stop(grace_s=1) is False
            process.kill()
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_a_paused_process_is_seen_as_such_and_can_be_stopped(
    process: ServerProcess, tmp_path: Path
) -> None:
    start(process, tmp_path, FAMILY, lines=2)
    process.pause()
    assert {each.status() for each in process.members()} == {psutil.STATUS_STOPPED}
    assert process.is_paused()
    assert process.is_alive()
    assert process.stop(grace_s=DEADLINE_S) is False
    assert process.members() == []


def test_a_killed_process_leaves_its_record(process: ServerProcess, tmp_path: Path) -> None:
    start(process, tmp_path, FAMILY, lines=2)
    process.kill()
    assert process.members() == []
    assert not process.is_alive()
    assert process.record() is not None


def test_without_a_record_there_is_nothing(process: ServerProcess) -> None:
    assert process.record() is None
    assert not process.is_alive()
    assert process.members() == []
    assert process.stop(grace_s=1) is False


def test_identity_is_of_this_very_process() -> None:
    mine = identity_of(os.getpid())
    assert mine is not None
    assert mine == identity_of(os.getpid())
    assert mine != identity_of(1)  # our parent may have started within the same tick
    assert identity_of(2**22 + 1) is None
