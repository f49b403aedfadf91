"""The demo's supervisor: started once, found again, stopped."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from callsheet.cli.demo import supervisor

pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
"""It is meant to outlive who started it."""
RECORD = ".runs/mine-supervisor.pid"
SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("CALLSHEET_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("CALLSHEET_STACK", "mine")
    monkeypatch.setattr(supervisor, "command", lambda *_: SLEEPER)
    yield
    supervisor.stop()


def started() -> psutil.Process:
    supervisor.start(Console(quiet=True))
    pid, _ = Path(os.environ["CALLSHEET_STATE_DIR"], RECORD).read_text("utf-8").split()
    return psutil.Process(int(pid))


def has_ended(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_it_is_started_once_and_stopped() -> None:
    first = started()
    assert started() == first
    supervisor.stop()
    assert has_ended(first)


def test_another_stack_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = started()
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("CALLSHEET_STACK", "other")
        supervisor.stop()
    assert not has_ended(mine)


def test_one_that_died_is_started_again() -> None:
    first = started()
    first.kill()
    first.wait()
    assert started() != first


@pytest.mark.parametrize("text", ["", "garbage", "{pid} 1.0"])
def test_what_is_not_ours_is_left_alone(tmp_path: Path, text: str) -> None:
    record = tmp_path / RECORD
    record.parent.mkdir()
    record.write_text(text.format(pid=os.getpid()), "utf-8")
    supervisor.stop()  # a signal to this very process would end the test
    assert not record.exists()
