"""The audit shown in Hive, once or again and again."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any, NoReturn

import structlog

from callsheet.cli.audit_pipeline import opened
from callsheet.errors import ConfigError, RetryableError, UnavailableError
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
    """Until interrupted. A server that is away is told once, and again when it is back."""
    log, dates, is_away = structlog.get_logger("hive"), NamedDates(), False
    while True:
        try:
            with opened(settings) as store:
                done = published(settings, store, dates)
        except UnavailableError as error:
            if not is_away:
                log.warning("hive is not told", cause=error.message, hint=error.hint)
            is_away = True
        else:
            if is_away or any(done.values()):
                log.info("hive is told", **{kind: what for kind, what in done.items() if what})
            is_away = False
        time.sleep(seconds)
