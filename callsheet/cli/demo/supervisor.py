"""The demo's `callsheet connectors supervise`, in the background as its worker is."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil
from rich.console import Console

from callsheet.cli.demo.steps import command
from callsheet.runtime import run_dir, started_s

_STOP_S: Final = 10.0


def start(out: Console) -> None:
    """Start it detached, unless it runs. It needs no wait: what it finds wrong it tries to mend."""
    sys.stdout.write("$ callsheet connectors supervise &\n")
    if (running := _running()) is not None:
        out.print(f"It runs already: process {running.pid}")
        return
    log = _path().with_suffix(".log")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        process = subprocess.Popen(
            command("connectors", "supervise"), stdout=file, stderr=file, start_new_session=True
        )
    try:
        _path().write_text(f"{process.pid} {started_s(process.pid)!r}", "utf-8")
    except BaseException:
        process.terminate()  # nobody would find it again
        raise
    out.print(f"Process {process.pid}, log in {log}")


def stop() -> None:
    """SIGTERM; SIGKILL after ten seconds: it holds nothing that could be lost."""
    process = _running()
    if process is not None:
        process.terminate()
        try:
            process.wait(timeout=_STOP_S)
        except psutil.TimeoutExpired:
            process.kill()
    _path().unlink(missing_ok=True)


def _path() -> Path:
    """Of this stack: another's demo may run beside this one. No `.json`: those are workers'."""
    return run_dir(os.environ) / f"{os.environ.get('CALLSHEET_STACK', 'dev')}-supervisor.pid"


def _running() -> psutil.Process | None:
    """None too where the pid is somebody else's by now."""
    with suppress(OSError, ValueError, psutil.NoSuchProcess):
        pid, began = _path().read_text("utf-8").split()
        process = psutil.Process(int(pid))
        is_same = process.create_time() == float(began)
        if is_same and process.status() != psutil.STATUS_ZOMBIE:
            return process
    return None
