from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from callsheet.runtime import (
    RunFile,
    RunRecord,
    run_dir,
    running_workers,
    started_s,
    states_of,
)


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"CALLSHEET_STATE_DIR": str(tmp_path)}


def a_record(pid: int = 0, http: str = "http://127.0.0.1:1") -> RunRecord:
    pid = pid or os.getpid()
    return RunRecord("search", "/x/search.yaml", "g", 2, pid, started_s(pid), http)


def test_what_runs_is_found_and_gone_when_it_says_goodbye(env: dict[str, str]) -> None:
    assert running_workers(env) == []
    file = RunFile(run_dir(env))
    file.write([a_record()])
    assert running_workers(env) == [a_record()]
    file.remove()
    assert running_workers(env) == []
    file.remove()


def test_what_a_killed_process_left_is_removed(env: dict[str, str]) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    RunFile(run_dir(env)).write([a_record(process.pid)])
    assert len(running_workers(env)) == 1
    process.kill()
    process.wait()
    assert process.stdin is not None
    process.stdin.close()
    assert running_workers(env) == []
    assert list(run_dir(env).iterdir()) == []


def test_a_pid_that_is_somebody_elses_by_now_does_not_count(env: dict[str, str]) -> None:
    RunFile(run_dir(env)).write([replace(a_record(), started_s=1.0)])
    assert running_workers(env) == []


def test_a_broken_file_is_nobody(env: dict[str, str]) -> None:
    run_dir(env).mkdir(parents=True)
    (run_dir(env) / "1.json").write_text("{")
    assert running_workers(env) == []


def test_a_parent_that_does_not_answer_is_told_as_such() -> None:
    record = a_record()
    assert list(states_of([record])) == [(record, None)]
