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
import traceback
from collections.abc import Callable, Iterator
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
_ROOT = Path(__file__).parents[1]
_PACKAGES = frozenset({"callsheet", "connectors", "finance", "sinks", "stack"})
_DEFECT_HINT = "nothing is lost, the offsets are kept; please report it with the worker's log"


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
    _log_threads(log)
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
    except BaseException as error:  # noqa: BLE001 - told here, and it ends the process
        where = defect_of(error)
        log.error("stopped by a defect", error=where, exception=traceback_of(error))  # noqa: TRY400 - its own would quote
        pipe.send(Report(failure=Failure(f"a defect: {where}", _DEFECT_HINT)))
        return EXIT_BUG
    return 0


def defect_of(error: BaseException) -> str:
    """As ``KeyError at callsheet/worker.py:12``: its kind, and the innermost line that is ours.

    Never its own words: they may quote what it was about, and that may be a row's values.
    """
    places = [
        f" at {path.as_posix()}:{line}"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if (path := _ours(frame.f_code.co_filename)) is not None
    ]
    return type(error).__name__ + (places[-1] if places else "")


def _ours(file: str) -> Path | None:
    path = Path(file)
    inner = path.relative_to(_ROOT) if path.is_relative_to(_ROOT) else None
    return inner if inner is not None and inner.parts[0] in _PACKAGES else None


def traceback_of(error: BaseException) -> str:
    """Lines of code and kinds of errors, the first cause first; no error's own words."""
    steps = [
        "".join(traceback.format_tb(e.__traceback__)) + type(e).__name__ for e in _chain(error)
    ]
    return "\n\nthen:\n\n".join(reversed(steps))


def _chain(error: BaseException) -> Iterator[BaseException]:
    told: list[int] = []
    link: BaseException | None = error
    while link is not None and id(link) not in told:
        yield link
        told.append(id(link))
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def _log_threads(log: Any) -> None:
    """Python itself would print what ends a thread with the error's own words."""

    def told(found: threading.ExceptHookArgs) -> None:
        if found.exc_value is not None and not isinstance(found.exc_value, SystemExit):
            where, trace = defect_of(found.exc_value), traceback_of(found.exc_value)
            log.error("a thread ended by a defect", error=where, exception=trace)

    threading.excepthook = told


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
