"""Structured logs: a constant message plus fields; JSON, unless a person watches the terminal.

Row values never appear in a log; keys only at DEBUG.
"""

from __future__ import annotations

import json
import logging
import sys
from io import FileIO
from typing import Any, TextIO, cast

import structlog
from structlog.typing import FilteringBoundLogger


def configure(
    level: str = "info", stream: TextIO | None = None, **fields: Any
) -> FilteringBoundLogger:
    """Set up a process's logs, once, where the process is composed; returns its logger.

    Lines go to ``stream`` (stderr) and carry ``fields``. Loggers that libraries and sinks get from
    structlog by themselves write the same lines to the same place. A line that cannot be written is
    dropped: a full disk of logs must stop neither the data nor the one who would stop a worker.
    """
    out = stream or sys.stderr
    processors = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        *_rendering(is_terminal=out.isatty()),
    ]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", _Lines(out))),
        cache_logger_on_first_use=False,
    )
    return cast("FilteringBoundLogger", structlog.get_logger().bind(**fields))


def _rendering(*, is_terminal: bool) -> list[Any]:
    if is_terminal:
        return [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    return [structlog.processors.EventRenamer("message"), structlog.processors.JSONRenderer()]


class _Lines:
    """What a logger needs of a stream, and no error from it."""

    def __init__(self, out: TextIO) -> None:
        self._out, self._lost = out, 0
        buffer = getattr(out, "buffer", None)
        raw = getattr(buffer, "raw", buffer)
        # Past the buffer: a line that it could not get rid of would be tried again at the end of
        # the process, and make its exit code 120.
        self._file = raw if isinstance(raw, FileIO) else None

    def write(self, line: str) -> None:
        try:
            self._put(line)
            if self._lost:
                self._put(self._gap())
        except OSError:
            self._lost += 1
        else:
            self._lost = 0

    def flush(self) -> None:
        """Every line was."""

    def _put(self, line: str) -> None:
        if self._file is None:
            self._out.write(line)
            self._out.flush()
            return
        rest = line.encode("utf-8", "backslashreplace")
        while rest:
            written = self._file.write(rest)
            if written is None:
                raise BlockingIOError("nobody reads the log")
            rest = rest[written:]

    def _gap(self) -> str:
        told = {"message": "log could not be written", "lines_lost": self._lost, "level": "warning"}
        return f"{json.dumps(told)}\n"
