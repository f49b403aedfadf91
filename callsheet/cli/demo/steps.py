"""The demo's steps as the commands that they are, and its worker in the background."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import httpx
import psutil
from rich.console import Console
from rich.rule import Rule

from callsheet.errors import CallsheetError
from callsheet.runtime import RunRecord, run_dir, running_workers

_STEPS: Final = 9
_READY_S: Final = 60.0
_STOP_S: Final = 60.0
_ASK_S: Final = 3.0
_POLL_S: Final = 0.1


def announce(out: Console, number: int, what: str) -> None:
    out.print()
    out.print(Rule(f"[bold]{number}/{_STEPS}  {what}[/]", align="left"))


def command(*arguments: str) -> list[str]:
    """How to call the program that runs now."""
    return [sys.executable, "-m", "callsheet.cli", *arguments]


def run(*arguments: str) -> None:
    """Run one callsheet command in the foreground; its failure is ours.

    Raises:
        SystemExit: with its exit code; it has said itself what is wrong.
    """
    sys.stdout.write(f"$ callsheet {' '.join(arguments)}\n")
    sys.stdout.flush()
    code = subprocess.run(command(*arguments), check=False).returncode
    if code:
        raise SystemExit(code)


def start_worker(out: Console, pipeline: str) -> None:
    """Start the pipeline's worker detached, unless one runs; wait until it is ready.

    Raises:
        CallsheetError: it did not become ready; the error names its log.
    """
    sys.stdout.write(f"$ callsheet run {pipeline} &\n")
    name = Path(pipeline).stem
    if (running := _record(name)) is not None:
        out.print(f"It runs already: process {running.pid}, {running.http}")
        return
    stack = os.environ.get("CALLSHEET_STACK", "dev")  # another's demo may run beside this one
    log = run_dir(os.environ) / f"{stack}-{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        process = subprocess.Popen(
            command("run", pipeline), stdout=file, stderr=file, start_new_session=True
        )
    try:
        started = _ready(process, name, log)
    except KeyboardInterrupt:
        process.terminate()  # half a start is no worker; the next run starts another
        raise
    out.print(f"Ready: process {process.pid}, {started.http}, log in {log}")


def _ready(process: subprocess.Popen[bytes], name: str, log: Path) -> RunRecord:
    until_s = time.monotonic() + _READY_S
    while time.monotonic() < until_s:
        if process.poll() is not None:
            raise CallsheetError(
                f"The worker ended with exit code {process.returncode}: {_last_line(log)}",
                hint=f"Its whole log: {log}",
            )
        record = _record(name)
        if record is not None and _answers(f"{record.http}/readyz"):
            return record
        time.sleep(_POLL_S)
    raise CallsheetError(
        f"The worker was not ready after {_READY_S:.0f} s.",
        hint=f"`callsheet status` says what it waits for; its log: {log}",
    )


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=_ASK_S, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def _record(name: str) -> RunRecord | None:
    """Of this stack: another stack's worker has the same name, and other brokers."""
    mine = {os.environ.get("CALLSHEET_KAFKA_BOOTSTRAP"), ""}
    running = running_workers(os.environ)
    return next((r for r in running if r.pipeline == name and r.brokers in mine), None)


def _last_line(log: Path) -> str:
    lines = log.read_text("utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def stop_worker(pipeline: str) -> None:
    """SIGTERM: it finishes and commits what it has in hand. SIGKILL after a minute."""
    record = _record(Path(pipeline).stem)
    if record is None:
        return
    process = psutil.Process(record.pid)
    process.terminate()
    try:
        process.wait(timeout=_STOP_S)
    except psutil.TimeoutExpired:
        process.kill()
        sys.stdout.write(f"The worker {record.pid} had to be killed; nothing is lost by that.\n")
