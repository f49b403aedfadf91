"""`callsheet demo` as a newcomer runs it: interrupted, run again, on an index that lies, ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import psutil
import pytest

from callsheet.runtime import running_workers
from stack import Ports, Stack
from stack.runner import State
from tests.support.main_job_files import CHECKOUT
from tests.support.polling import until
from tests.support.stack import a_stack_of_its_own

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(900)]
INTERRUPTED, DIFFERS = 130, 1
PATIENCE_S = 300
MOMENTS = (
    "ready at",  # the first server; the others are starting
    "\n2/9",  # the schema is made
    "\n3/9",  # films are loaded
    "\n4/9",  # the connector is made
    "\n5/9",  # the worker starts
    "\n6/9",  # the snapshot comes; what is left takes a second
)
AGAIN_S = 90
"""All that a second run may take; the one here finds the servers running, and is at fault."""


@pytest.fixture(scope="module")
def own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Nothing of it runs: the demo starts its servers, on ports of their own."""
    with ExitStack() as held:
        stack = a_stack_of_its_own(held, "demo-")
        held.callback(stack.down, purge=True)
        stack.up([], ports=Ports.free())
        # What a failed test leaves would hold the worker's port.
        held.callback(ended, stack, tmp_path_factory.mktemp("down") / "log", "--down")
        yield stack


def begun(stack: Stack, log: Path, *words: str) -> subprocess.Popen[bytes]:
    mine = {name: value for name, value in os.environ.items() if "CALLSHEET_" not in name}
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "callsheet.cli", "demo", *words],
            cwd=CHECKOUT,
            env={**mine, "CALLSHEET_STACK": stack.name, "CALLSHEET_ES_HEAP": "512m"},
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,
        )


def interrupted(stack: Stack, log: Path, moment: str) -> None:
    """Ctrl-C as a terminal sends it, to the demo and its command at once, when it says that."""
    demo = begun(stack, log)  # leads a process group, as a shell has it
    until(lambda: moment in _plain(log) or demo.poll() is not None, moment, PATIENCE_S)
    os.killpg(demo.pid, signal.SIGINT)
    assert demo.wait(PATIENCE_S) == INTERRUPTED, log.read_text("utf-8")
    assert "Run it again and it goes on" in log.read_text("utf-8")


def ended(stack: Stack, log: Path, *words: str) -> tuple[int, str]:
    code = begun(stack, log, *words).wait(PATIENCE_S)
    said = log.read_text("utf-8")
    assert "Traceback" not in said
    return code, said


def supervisors(stack: Stack) -> list[psutil.Process]:
    """Started by a demo on this stack."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            is_mine = process.environ().get("CALLSHEET_STACK") == stack.name
            if is_mine and process.cmdline()[-2:] == ["connectors", "supervise"]:
                found.append(process)
    return found


def test_a_newcomers_way(own_stack: Stack, tmp_path: Path) -> None:
    log = tmp_path / "demo.log"

    for moment in MOMENTS:
        interrupted(own_stack, log, moment)

    code, said = ended(own_stack, log)
    assert code == 0, said
    assert "The demo took" in said
    assert "Pirates" in said, "a search ends it"

    url = own_stack.environment()["CALLSHEET_ELASTICSEARCH_URL"]
    changed = httpx.post(
        f"{url}/finance-titles/_update_by_query?conflicts=proceed&refresh=true",
        json={
            "query": {"term": {"title_id": 7}},
            "script": "ctx._source.worldwide_gross = '0.01'",
        },
        timeout=60,
    )
    assert changed.json()["updated"] == 1, changed.text
    began = time.monotonic()
    code, said = ended(own_stack, log)
    assert code == DIFFERS, said
    assert "MySQL and the index differ" in said
    assert time.monotonic() - began < AGAIN_S
    assert said.count("It runs already") == 2, "the supervisor and the worker"

    (supervisor,) = supervisors(own_stack)
    (worker,) = [r for r in running_workers(os.environ) if r.brokers in _brokers(own_stack)]
    code, said = ended(own_stack, log, "--down")
    assert code == 0, said
    assert not psutil.pid_exists(worker.pid)
    assert not supervisor.is_running()
    assert {each.state for each in own_stack.status()} == {State.STOPPED}


def _plain(log: Path) -> str:
    return log.read_text("utf-8").replace("─", "")


def _brokers(stack: Stack) -> str:
    return stack.environment()["CALLSHEET_KAFKA_BOOTSTRAP"]
