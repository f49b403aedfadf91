"""HiveServer2, for DDL and partitions only. No row of the audit goes through it, so its absence
delays what Hive shows, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, Self

from pyhive import hive
from pyhive.exc import Error as HiveError
from thrift.protocol.TProtocol import TProtocolException
from thrift.transport.TSocket import TSocket
from thrift.transport.TTransport import TBufferedTransport, TTransportException
from thrift_sasl import TSaslClientTransport

from callsheet.absence import absence
from callsheet.errors import FatalError, RetryableError
from sinks.hive.settings import HiveServerSettings


class Catalog(Protocol):
    """Takes statements.

    Raises (each method):
        RetryableError: it is away.
        FatalError: it refuses the statement.
    """

    def run(self, statement: str) -> None: ...
    def rows(self, statement: str) -> list[tuple[Any, ...]]: ...


class HiveServer:
    """Implements :class:`Catalog`; one session, opened by ``with``."""

    def __init__(self, settings: HiveServerSettings) -> None:
        self._settings = settings
        self._connection: hive.Connection | None = None
        self._socket: TSocket | None = None

    def __enter__(self) -> Self:
        settings = self._settings
        socket = self._socket = TSocket(settings.host, settings.port)
        # With timeouts, which PyHive's own lacks: a frozen server must not hold us for ever. A
        # session is opened in a second or two; only statements may take long.
        socket.setTimeout(round(settings.session_timeout_seconds * 1000))
        with self._told("opening a session"):
            self._connection = hive.Connection(
                thrift_transport=self._transport(socket), username=settings.username
            )
            socket.setTimeout(round(settings.timeout_seconds * 1000))
        return self

    def __exit__(self, *_: object) -> None:
        connection, self._connection = self._connection, None
        try:
            if connection is not None:
                connection.close()
        except (HiveError, TTransportException, TProtocolException, OSError):
            return  # the session ends by itself; what was done is done
        finally:
            if self._socket is not None:
                self._socket.close()  # PyHive leaves it open when the session's end is not answered

    def run(self, statement: str) -> None:
        with self._told(statement), self._cursor() as cursor:
            cursor.execute(statement)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        with self._told(statement), self._cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        if self._connection is None:
            raise RuntimeError("no session is open")
        cursor = self._connection.cursor()
        try:
            yield cursor
        finally:
            cursor.close()

    def _transport(self, socket: TSocket) -> Any:
        settings = self._settings
        if settings.authentication == "NOSASL":
            return TBufferedTransport(socket)
        # Without authentication any password will do, but there must be one.
        password = settings.password.get_secret_value() if settings.password else "x"

        def client() -> Any:
            return hive.get_installed_sasl(
                host=settings.host, sasl_auth="PLAIN", username=settings.username, password=password
            )

        return TSaslClientTransport(client, "PLAIN", socket)

    @contextmanager
    def _told(self, doing: str) -> Iterator[None]:
        try:
            yield
        except HiveError as error:
            raise FatalError(
                f"Hive refused {doing.splitlines()[0][:200]}: {_reason(error)}",
                hint="look at the rights of sink.server.username, and at Hive's own log",
            ) from error
        except (TTransportException, TProtocolException, OSError) as error:
            where = f"{self._settings.host}:{self._settings.port}"
            # Thrift's own words name no cause.
            cause = getattr(error, "inner", None) or error
            is_end = getattr(error, "type", None) == TTransportException.END_OF_FILE
            said = absence(cause, "it hung up" if is_end else str(error))
            raise RetryableError(
                f"HiveServer2 at {where} does not answer: {said}",
                hint="the audit's files are written all the same; Hive shows them later",
            ) from error


def _reason(error: HiveError) -> str:
    """Hive's own sentence, out of the answer that PyHive raises."""
    status = getattr(error.args[0], "status", None) if error.args else None
    return str(getattr(status, "errorMessage", None) or error)
