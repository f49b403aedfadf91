"""How to reach the finance database: address and accounts from the environment, one engine each."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

import pymysql.err
import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy.exc import DBAPIError, OperationalError

from callsheet.absence import absence
from callsheet.errors import CallsheetError, FatalError, PreconditionError, UnavailableError

CONNECT_TIMEOUT_S: Final = 5
READ_TIMEOUT_S: Final = 60
"""Longer than any statement of ours takes, shorter than a person waits for a dead socket."""

# MySQL's own numbers; the driver's 2xxx are losses of the connection.
_ACCESS_DENIED = frozenset({1044, 1045, 1142, 1227, 1698})
_UNKNOWN_DATABASE = 1049
_NO_SUCH_TABLE = frozenset({1054, 1146})
_CONNECTION_LOST = frozenset({1040, 1053, 1077, 1079, 1080, 1152, 1158, 1159, 1160, 1161, 4031})
_LOCKED = 1205
_TRY_AGAIN = frozenset({_LOCKED, 1213, 1412})


class Role(StrEnum):
    """Who asks. Every role but ADMIN is an account that the migrations create."""

    ADMIN = "admin"
    APP = "callsheet_app"
    CAPTURE = "callsheet_capture"
    READER = "callsheet_reader"


@dataclass(frozen=True, slots=True)
class Account:
    """One way into one database. Its `repr` hides the password."""

    host: str
    port: int
    database: str
    user: str
    password: SecretStr
    tls_ca: str = ""
    """Path of the authority that signed the server's certificate; empty: TLS where the server
    offers it, and not verified."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], role: Role) -> Account:
        """Raises PreconditionError when the role's password or a usable port is not set."""
        user, variable = _credentials(environment, role)
        password = environment.get(variable)
        if password is None:
            raise PreconditionError(
                f"{variable} is not set: no password for {user} of MySQL.",
                hint="Start the stack (`callsheet stack up`), or export the variable.",
            )
        return cls(
            host=environment.get("CALLSHEET_MYSQL_HOST", "127.0.0.1"),
            port=_port(environment.get("CALLSHEET_MYSQL_PORT", "13306")),
            database=environment.get("CALLSHEET_MYSQL_DATABASE", "finance"),
            user=user,
            password=SecretStr(password),
            tls_ca=environment.get("CALLSHEET_MYSQL_TLS_CA", ""),
        )

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def without_database(self) -> Account:
        """The server itself, for when the database is still to be created."""
        return replace(self, database="")


def open_engine(account: Account) -> sa.Engine:
    """An engine whose sessions speak UTC and whose log and errors carry no parameters.

    It connects lazily; the first failure surfaces through `translated`.

    Raises:
        PreconditionError: the authority's file cannot be read, or holds no certificate.
    """
    url = sa.URL.create(
        "mysql+pymysql",
        username=account.user,
        password=account.password.get_secret_value(),
        host=account.host,
        port=account.port,
        database=account.database or None,
        query={"charset": "utf8mb4"},
    )
    connect: dict[str, Any] = {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "read_timeout": READ_TIMEOUT_S,
        "write_timeout": READ_TIMEOUT_S,
        # TIMESTAMP columns are shown in the session's zone: without this a laptop in Berlin and
        # a server in UTC would compute different documents from one row.
        "init_command": "SET time_zone = '+00:00'",
    }
    if account.tls_ca:
        _require_authority(account.tls_ca)  # the driver's own error would be a bare OSError
        connect["ssl"] = {"ca": account.tls_ca, "check_hostname": True}
    return sa.create_engine(url, hide_parameters=True, pool_recycle=1800, connect_args=connect)


def _require_authority(file: str) -> None:
    try:
        ssl.create_default_context(cafile=file)
    except OSError as error:  # ssl.SSLError is one
        raise PreconditionError(
            f"CALLSHEET_MYSQL_TLS_CA is {file}, which cannot be used: {error.strerror or error}.",
            hint="Name the file (PEM) of the authority that signed MySQL's certificate, or unset "
            "the variable.",
        ) from error


@contextmanager
def translated(account: Account) -> Iterator[None]:
    """Turns the driver's errors into ours, in words for the person at the terminal."""
    try:
        yield
    except DBAPIError as error:
        raise _translation(error, account) from error


def is_connection_lost(error: DBAPIError) -> bool:
    """The server went away; whether an open transaction was committed is not known."""
    number = _number(error)
    return (
        error.connection_invalidated
        or 2000 <= number < 3000
        or number in _CONNECTION_LOST
        # PyMySQL's own "the socket is closed", which carries no number of MySQL's.
        or (number == 0 and isinstance(error.orig, pymysql.err.InterfaceError))
    )


def is_worth_repeating(error: DBAPIError) -> bool:
    """A deadlock, a lock held too long, a table altered meanwhile: the same transaction may pass
    the next time.
    """
    return _number(error) in _TRY_AGAIN


def quoted(identifier: str) -> str:
    return "`" + identifier.replace("`", "``") + "`"


def _translation(error: DBAPIError, account: Account) -> CallsheetError:
    number, where = _number(error), f"MySQL at {account.address}"
    if number in _ACCESS_DENIED:
        return PreconditionError(
            f"{where} does not let {account.user} do this (error {number}).",
            hint="Check the password in the environment and run `callsheet migrate up`, "
            "which creates the accounts and their grants.",
        )
    if number == _UNKNOWN_DATABASE:
        return PreconditionError(
            f"{where} has no database {account.database!r}.",
            hint="Run `callsheet migrate up`.",
        )
    if number in _NO_SUCH_TABLE:
        return PreconditionError(
            f"A finance table is missing or out of date in {account.database!r} ({where}).",
            hint="Run `callsheet migrate up`.",
        )
    if is_connection_lost(error):
        return UnavailableError(
            f"{where} does not answer: {absence(error, f'error {number}')}.",
            hint="See `callsheet stack status`; `callsheet stack up` starts it.",
        )
    if number == _LOCKED:
        return UnavailableError(
            f"{where} has a lock that another session does not let go (error {number}).",
            hint="SHOW PROCESSLIST tells whose: a snapshot's or a long transaction's. Run it again "
            "when that is over.",
        )
    kind = "refused a statement" if isinstance(error, OperationalError) else "reported an error"
    return FatalError(
        f"{where} {kind} (error {number}).", hint="The server's own log has the details."
    )


def _number(error: DBAPIError) -> int:
    arguments = getattr(error.orig, "args", ())
    return arguments[0] if arguments and isinstance(arguments[0], int) else 0


def _credentials(environment: Mapping[str, str], role: Role) -> tuple[str, str]:
    if role is Role.ADMIN:
        user = environment.get("CALLSHEET_MYSQL_ADMIN_USER", "root")
        return user, "CALLSHEET_MYSQL_ADMIN_PASSWORD"
    return role.value, role.value.upper() + "_PASSWORD"


def _port(text: str) -> int:
    if text.isdecimal() and 0 < int(text) < 65536:
        return int(text)
    raise PreconditionError(
        f"CALLSHEET_MYSQL_PORT is {text!r}, which is no port.",
        hint="Set it to a number from 1 to 65535.",
    )
