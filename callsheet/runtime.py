"""Which workers run on this machine: one small file per `callsheet run`, and how to ask them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
import platformdirs
import psutil

from callsheet.errors import PreconditionError
from callsheet.observability.health import WorkerStatus

_START_TOLERANCE_S = 0.05


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One pipeline of one `callsheet run`."""

    pipeline: str
    file: str
    group_id: str
    workers: int
    pid: int
    """Of the parent process: it takes SIGTERM, and serves ``http``."""
    started_s: float
    """When that process began, as the kernel has it: a pid alone may be somebody else's by now."""
    http: str
    """Base address of /livez, /readyz, /metrics, /status."""
    brokers: str = ""
    """``kafka.bootstrap_servers``: several stacks share a machine, and groups of one name."""


@dataclass(frozen=True, slots=True)
class WorkerState:
    """One worker process as its parent sees it."""

    pipeline: str
    worker: int
    pid: int | None
    """None while it waits to be started again."""
    is_live: bool
    is_ready: bool
    detail: str
    restarts: int
    last_error: str = ""
    status: WorkerStatus | None = None
    """As the worker last told; None before its first word."""


def run_dir(env: Mapping[str, str]) -> Path:
    """Beside the native stacks' state; a dot, because their names never start with one."""
    given = env.get("CALLSHEET_STATE_DIR")
    if given:
        state = Path(given).expanduser().absolute()
    elif os.geteuid() == 0:
        state = Path("/var/lib/callsheet")
    else:
        state = platformdirs.user_state_path("callsheet")
    return state / ".runs"


class RunFile:
    """Our own entries, there for as long as we run."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"{os.getpid()}.json"

    def write(self, records: list[RunRecord]) -> None:
        """Whole or not at all: a reader never sees half a file.

        Raises:
            PreconditionError: it cannot be written, as on a full disk.
        """
        part = self._path.with_suffix(".part")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(msgspec.json.encode(records))
            part.replace(self._path)
        except OSError as error:
            with suppress(OSError):
                part.unlink()
            raise PreconditionError(
                f"What runs here cannot be recorded in {self._path.parent}: {error.strerror}.",
                hint="Make room there, or set CALLSHEET_STATE_DIR to a folder that can be written.",
            ) from error

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)


def started_s(pid: int) -> float:
    return float(psutil.Process(pid).create_time())


def running_workers(env: Mapping[str, str]) -> list[RunRecord]:
    """All pipelines that run on this machine now; what a killed process left behind is removed."""
    found: list[RunRecord] = []
    for path in sorted(run_dir(env).glob("*.json")):
        records = _read(path)
        if records and all(map(_is_running, records)):
            found += records
        else:
            path.unlink(missing_ok=True)
    return found


def _read(path: Path) -> list[RunRecord]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[RunRecord])
    except (OSError, msgspec.DecodeError):
        return []


def _is_running(record: RunRecord) -> bool:
    try:
        process = psutil.Process(record.pid)
        is_same = abs(process.create_time() - record.started_s) < _START_TOLERANCE_S
        return is_same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def worker_states(record: RunRecord, *, timeout_s: float = 3.0) -> list[WorkerState]:
    """What the parent process says of that pipeline's workers.

    Raises:
        httpx.HTTPError: it does not answer.
    """
    import httpx

    answer = httpx.get(f"{record.http}/status", timeout=timeout_s, trust_env=False)
    answer.raise_for_status()
    states = msgspec.json.decode(answer.content, type=list[WorkerState])
    return [state for state in states if state.pipeline == record.pipeline]


def states_of(records: list[RunRecord]) -> Iterator[tuple[RunRecord, list[WorkerState] | None]]:
    """Each with its workers; None where the parent process does not answer."""
    import httpx

    for record in records:
        try:
            yield record, worker_states(record)
        except (httpx.HTTPError, msgspec.DecodeError):
            yield record, None
