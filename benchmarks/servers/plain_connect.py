"""A second Connect worker without exactly-once support, beside the stack's.

The setting belongs to the whole worker, so the two latencies need two of them. Everything else is
the stack's own: command, plugins, heap, properties.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from typing import Final

import psutil

from benchmarks.servers.bench import Servers
from benchmarks.worker import free_port
from callsheet.errors import CallsheetError, FatalError, PreconditionError
from connectors.client import ConnectClient

START_S: Final = 60.0
STOP_S: Final = 20.0
_OWN: Final = frozenset(
    {"group.id", "config.storage.topic", "offset.storage.topic", "status.storage.topic"}
)


@contextlib.contextmanager
def running(servers: Servers) -> Iterator[ConnectClient]:
    """For the length of the block."""
    model = _model(servers)
    properties = servers.scratch / "connect-plain.properties"
    url = f"http://127.0.0.1:{free_port()}"
    original = servers.stack.home / "connect" / "connect.properties"
    properties.write_text(plain(original.read_text("utf-8"), url), "utf-8")
    argv = [*model.cmdline()[:-1], str(properties)]
    with (servers.scratch / "connect-plain.log").open("wb") as log:
        process = subprocess.Popen(
            argv, cwd=model.cwd(), env=model.environ(), stdout=log, stderr=log
        )
    try:
        yield _ready(process, url)
    finally:
        _stop(process)


def plain(properties: str, url: str) -> str:
    """The stack's settings as a group of its own that does not know transactions."""
    lines = []
    for line in properties.splitlines():
        name, _, value = line.partition("=")
        match name:
            case _ if name in _OWN:
                value = f"{value}-plain"
            case "exactly.once.source.support":
                value = "disabled"
            case "listeners":
                value = url
        lines.append(f"{name}={value}" if "=" in line else line)
    return "\n".join(lines) + "\n"


def _model(servers: Servers) -> psutil.Process:
    for status in servers.stack.status():
        if status.server == "connect" and status.pid is not None:
            process = psutil.Process(status.pid)
            if process.cmdline()[-1].endswith(".properties"):
                return process
    raise PreconditionError("The stack's Kafka Connect does not run.")


def _ready(process: subprocess.Popen[bytes], url: str) -> ConnectClient:
    client = ConnectClient(url, deadline_s=5.0)
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise FatalError(f"The plain Connect worker ended with code {process.returncode}.")
        with contextlib.suppress(CallsheetError):
            client.connectors()
            return ConnectClient(url)
        time.sleep(0.2)
    raise FatalError(f"The plain Connect worker was not ready after {START_S:.0f} s.")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
