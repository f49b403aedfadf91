"""The audit shown in Hive, once or again and again."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any, NoReturn

import structlog

from callsheet.cli.audit_pipeline import opened
from callsheet.errors import (
    CallsheetError,
    ConfigError,
    RetryableError,
    UnavailableError,
    UsageError,
)
from sinks.hive.hiveserver import HiveServer
from sinks.hive.ranges import RangeLog
from sinks.hive.registration import Registration
from sinks.hive.settings import HiveSettings
from sinks.hive.stores.port import Store
from sinks.hive.visibility import NamedDates


def published(
    settings: HiveSettings, store: Store, dates: NamedDates | None = None
) -> dict[str, Any]:
    """What was done, by its kind; ``dates``: known from the time before.

    Raises:
        ConfigError: the pipeline names no HiveServer2.
        UnavailableError: it does not answer.
        FatalError: it refuses a statement, or the audit's log or one of its files is damaged.
    """
    server = settings.server
    if server is None:
        raise ConfigError(
            "the pipeline names no HiveServer2", hint="give it sink.server: {host, location}"
        )
    try:
        with HiveServer(server) as hive:
            log = RangeLog(store)
            done = Registration(log, hive, server.database, server.location, dates).run()
            return asdict(done)
    except RetryableError as error:
        raise UnavailableError(error.message, hint=error.hint) from error


def repeatedly(settings: HiveSettings, seconds: float) -> NoReturn:
    """Until interrupted. Trouble is told once, each cause of it, and again when it is over.

    Any trouble may pass: a HiveServer2 whose metastore is away refuses what it is told, and a file
    may be cleaned away between the log and us.

    Raises:
        ConfigError, UsageError: the pipeline file is wrong, and stays so.
    """
    log, dates, causes = structlog.get_logger("hive"), NamedDates(), set[str]()
    while True:
        try:
            with opened(settings) as store:
                done = published(settings, store, dates)
        except (ConfigError, UsageError):
            raise
        except CallsheetError as error:
            if error.message not in causes:
                log.warning("hive is not told", cause=error.message, hint=error.hint)
            causes.add(error.message)
        else:
            if causes or any(done.values()):
                log.info("hive is told", **{kind: what for kind, what in done.items() if what})
            causes.clear()
        time.sleep(seconds)
