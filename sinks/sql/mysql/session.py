"""How we talk to a MySQL server: engine, session, and what it must be."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from callsheet.errors import ConfigError
from sinks.sql.dialect import Server
from sinks.sql.settings import SqlSettings, TlsSettings

IDLE_S: Final = 20
"""The server ends a session, and with it a transaction, that says nothing for so long. A frozen or
unreachable predecessor must not hold the offsets' locks for the default of eight hours."""

_OLDEST: Final = (8, 0, 19)
"""The first that knows the row alias in ON DUPLICATE KEY UPDATE."""

_SESSION: Final = (
    "SET time_zone = '+00:00',"
    " sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO',"
    " foreign_key_checks = 0,"
    " transaction_isolation = 'READ-COMMITTED',"
    " innodb_lock_wait_timeout = {lock_s}, lock_wait_timeout = {lock_s},"
    f" wait_timeout = {IDLE_S}"
)


def engine(settings: SqlSettings, folder: str, *, answer_timeout_s: float) -> sa.Engine:
    """One connection at a time, checked before each use, with neither parameters nor values in
    log or error.
    """
    url = settings.address.set(
        username=settings.username,
        password=settings.password.get_secret_value(),
        query={"charset": "utf8mb4"},
    )
    connect: dict[str, Any] = {
        "connect_timeout": settings.connect_timeout_seconds,
        "read_timeout": answer_timeout_s,
        "write_timeout": answer_timeout_s,
        "init_command": _SESSION.format(lock_s=settings.lock_timeout_seconds),
    }
    if settings.tls is not None:
        connect["ssl"] = _tls(settings.tls, Path(folder))
    return sa.create_engine(
        url,
        pool_size=1,
        max_overflow=1,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args=connect,
        execution_options={"no_parameters": True},
    )


def _tls(tls: TlsSettings, folder: Path) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=folder / tls.ca_file if tls.ca_file else None)
        if tls.certificate_file is not None and tls.key_file is not None:
            context.load_cert_chain(folder / tls.certificate_file, folder / tls.key_file)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(
            f"the replica's certificates cannot be read: {error.strerror or error}",
            hint="look at sink.tls in the pipeline file",
        ) from error
    return context


def server(connection: sa.Connection) -> Server:
    """Raises ConfigError where it is none that we can write to."""
    row = connection.exec_driver_sql("SELECT VERSION(), @@server_uuid, @@max_allowed_packet").one()
    version, identity, most_bytes = str(row[0]), str(row[1]), int(row[2])
    numbers = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    if "mariadb" in version.lower() or (
        numbers is None or tuple(map(int, numbers.groups())) < _OLDEST
    ):
        raise ConfigError(
            f"the replica's server is {version}; a replica needs MySQL 8.0.19 or later",
            hint="point sink.url to such a server",
        )
    return Server(version, identity, most_bytes)
