"""Structured logs: a constant message plus fields; JSON, unless a person watches the terminal.

Row values never appear in a log; keys only at DEBUG.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, TextIO, cast

import structlog
from structlog.typing import FilteringBoundLogger


def configure(
    level: str = "info", stream: TextIO | None = None, **fields: Any
) -> FilteringBoundLogger:
    """Set up a process's logs, once, where the process is composed; returns its logger.

    Lines go to ``stream`` (stderr) and carry ``fields``. Loggers that libraries and sinks get from
    structlog by themselves write the same lines to the same place.
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
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    return cast("FilteringBoundLogger", structlog.get_logger().bind(**fields))


def _rendering(*, is_terminal: bool) -> list[Any]:
    if is_terminal:
        return [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    return [structlog.processors.EventRenamer("message"), structlog.processors.JSONRenderer()]
