"""The process of one worker, ``python -m callsheet.child``; :mod:`callsheet.supervision` starts it.

It gets its order as one line of JSON on stdin, and stops when stdin ends: then its parent is gone.
It tells its parent how it is through the pipe that the order names, once a second.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from callsheet.errors import CallsheetError, ConfigError
from callsheet.observability.health import WorkerStatus
from callsheet.observability.relay import FamilySnapshot

if TYPE_CHECKING:
    from callsheet.app import Assembly
    from callsheet.delivery import Step

EXIT_BUG = 70
"""An exception that is none of ours."""
REPORT_INTERVAL_S = 1.0
LAG_INTERVAL_S = 5.0
_COLLECT_AFTER = (20_000, 20, 50)


@dataclass(frozen=True, slots=True)
class Order:
    """What a child is to do. The file's text travels along: all workers run the same one."""

    file: str
    text: str
    worker: int
    report_fd: int
    log_level: str = "info"


@dataclass(frozen=True, slots=True)
class Failure:
    """An error on its way to the parent."""

    message: str
    hint: str = ""
    faults: list[tuple[str, str, int, str]] = field(default_factory=list)
    """message, file, line, path of each."""


@dataclass(frozen=True, slots=True)
class Report:
    status: WorkerStatus | None = None
    metrics: list[FamilySnapshot] = field(default_factory=list)
    failure: Failure | None = None


class ReportPipe:
    """The child's end: whole lines, from one thread at a time."""

    def __init__(self, fd: int) -> None:
        self._file = os.fdopen(fd, "wb", buffering=0)
        self._lock = threading.Lock()

    def send(self, report: Report) -> None:
        line = msgspec.json.encode(report) + b"\n"
        with self._lock:
            try:
                while line:
                    line = line[self._file.write(line) :]
            except BrokenPipeError:
                return  # the parent is gone; stdin's end says so too, and stops the worker


def main(at: Callable[[Step], None] | None = None) -> None:
    """``at`` is called at each step of the loop: fault tests kill the process there."""
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=Order)
    pipe = ReportPipe(order.report_fd)
    code = EXIT_BUG
    try:
        code = _work(order, pipe, at)
    finally:
        with suppress(OSError):  # nobody can be told that the log's disk is full
            sys.stderr.flush()
        # Not sys.exit: a thread of a Kafka client that a dead broker holds would keep us alive.
        os._exit(code)


def _work(order: Order, pipe: ReportPipe, at: Callable[[Step], None] | None) -> int:
    from callsheet.observability.logging import configure

    log = configure(order.log_level, worker=order.worker, file=order.file)
    try:
        _run(order, pipe, log, at)
    except ConfigError as error:
        faults = [(f.message, f.file, f.line, f.path) for f in error.faults]
        pipe.send(Report(failure=Failure(error.message, error.hint, faults)))
        return error.exit_code
    except CallsheetError as error:
        kind = type(error).__name__
        log.error("stopped", error=error.message, hint=error.hint, kind=kind)  # noqa: TRY400 - a stated case
        pipe.send(Report(failure=Failure(error.message, error.hint)))
        return error.exit_code
    except BaseException as error:
        log.exception("stopped by a defect")
        pipe.send(Report(failure=Failure(f"{type(error).__name__}: {error}")))
        raise
    return 0


def _run(order: Order, pipe: ReportPipe, log: Any, at: Callable[[Step], None] | None) -> None:
    from callsheet.app import assemble, ensure_dead_letter_topic, loaded

    pipeline = loaded(order.text, Path(order.file))
    log = log.bind(pipeline=pipeline.name)
    ensure_dead_letter_topic(pipeline.settings)
    assembly = assemble(pipeline, order.worker, log, at or (lambda _: None))
    _obey(assembly, log)
    ended = threading.Event()
    watchers = [
        threading.Thread(target=_tell, args=(assembly, pipe, ended), daemon=True),
        threading.Thread(target=assembly.lag.run, args=(ended, LAG_INTERVAL_S), daemon=True),
    ]
    for watcher in watchers:
        watcher.start()
    try:
        log.info("worker starts", topics=list(pipeline.settings.source.subscription()))
        _calm_collector()
        assembly.worker.run()
        log.info("worker stopped")
    finally:
        ended.set()
        watchers[0].join()  # the last report: what was counted must not be lost


def _calm_collector() -> None:
    """Look for reference cycles more rarely, and never again in what is there for good.

    The loop makes none, but a thousand messages at a time: at Python's thresholds the collector
    walked all modules' objects over and over, for a third of the CPU time of an event (measured).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)


def _obey(assembly: Assembly, log: Any) -> None:
    """SIGTERM and the parent's end stop the worker; Ctrl-C is the parent's business."""

    def stop(*_: object) -> None:
        assembly.worker.stop()

    def stop_when_orphaned() -> None:
        sys.stdin.buffer.read()
        log.warning("the parent process is gone")
        assembly.worker.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=stop_when_orphaned, daemon=True).start()


def _tell(assembly: Assembly, pipe: ReportPipe, ended: threading.Event) -> None:
    from callsheet.observability.relay import balanced, snapshot

    is_last = False
    while not is_last:
        is_last = ended.wait(REPORT_INTERVAL_S)
        status = assembly.lag.amended(assembly.pulse.read())
        metrics = balanced(snapshot([assembly.registry]), assembly.pulse.balance)
        pipe.send(Report(status, metrics))


if __name__ == "__main__":
    main()
