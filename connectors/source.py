"""What MySQL says about itself: collected once, judged elsewhere (`connectors.preflight`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import pymysql
import pymysql.cursors

from callsheet.absence import absence
from callsheet.errors import PreconditionError, UnavailableError
from connectors.masking import resolved
from connectors.progress import BinlogPosition
from connectors.tls import MYSQL_CA, mysql_tls

_CONNECT_TIMEOUT_S = 5
_READ_TIMEOUT_S = 60
_NO_SUCH_USER, _UNKNOWN_DATABASE, _NO_COMMAND, _NO_TABLE = 1045, 1049, 1227, 1142

_VARIABLES = (
    "version", "log_bin", "log_bin_basename", "binlog_format", "binlog_row_image",
    "binlog_row_value_options", "binlog_transaction_compression", "binlog_expire_logs_seconds",
    "binlog_expire_logs_auto_purge", "gtid_mode", "enforce_gtid_consistency", "server_id",
    "super_read_only", "time_zone", "system_time_zone",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SourceTable:
    schema: str
    name: str
    engine: str
    has_primary_key: bool

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class BinlogFile:
    position: BinlogPosition
    """Its first byte."""
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Compression:
    """Who may compress its transactions in the binlog, and whether anybody has."""

    may: tuple[str, ...]
    transactions: int


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """One MySQL server, as the capture user sees it."""

    variables: Mapping[str, str]
    grants: tuple[str, ...]
    """The lines of SHOW GRANTS."""
    tables: tuple[SourceTable, ...]
    position: BinlogPosition | None = None
    binlogs: tuple[BinlogFile, ...] = ()
    replica_ids: tuple[int, ...] = ()
    compression: Compression | None = field(default=None)
    """None where the account may not know: only an administrator sees it."""

    def on(self, variable: str) -> bool:
        return self.variables.get(variable, "").upper() in {"ON", "1"}


class Source(Protocol):
    """MySQL, as far as the supervisor needs it."""

    def position(self) -> BinlogPosition:
        """Where the binlog ends now.

        Raises:
            UnavailableError: MySQL does not answer.
            PreconditionError: it does not let us, or writes no binlog.
        """
        ...


@dataclass(frozen=True, slots=True)
class Address:
    """Where and as whom; its ``repr`` leaves the password out."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    tls_mode: str = "preferred"
    """``database.ssl.mode``."""
    tls_ca: str = ""
    """PEM file of the authority that signed the server's certificate: Debezium's own truststore is
    a Java one, which only Debezium can read."""

    @classmethod
    def of(cls, config: Mapping[str, str], environ: Mapping[str, str]) -> Address:
        """The connector's own, with its references resolved.

        Raises:
            PreconditionError: a variable that it names is not set, or the port is no number.
        """
        try:
            values = {
                key: resolved(config.get(f"database.{key}", ""), environ)
                for key in ("hostname", "port", "user", "password")
            }
            port = int(values["port"] or 3306)
        except KeyError as error:
            raise PreconditionError(
                f"The connector needs the variable {error.args[0]}, which is not set.",
                hint="`callsheet stack up` sets it for its own servers; else export it.",
            ) from error
        except ValueError as error:
            raise PreconditionError(
                "database.port is not a number.",
                hint="Correct it in the connector's file, or the variable that the file names "
                "(CALLSHEET_MYSQL_PORT); MySQL's usual port is 3306.",
            ) from error
        mode, ca = config.get("database.ssl.mode", "preferred").lower(), environ.get(MYSQL_CA, "")
        return cls(values["hostname"], port, values["user"], values["password"], mode, ca)


class MysqlSource:
    """Asks a real server, with a connection per question: a supervisor outlives connections."""

    def __init__(self, address: Address) -> None:
        self._address = address

    def position(self) -> BinlogPosition:
        with self._cursor() as cursor:
            found = _position(cursor)
        if found is None:
            raise PreconditionError("MySQL writes no binlog.", hint="Start it with log_bin.")
        return found

    def compression(self) -> Compression:
        """Who may compress transactions; needs an administrator's account.

        Raises:
            PreconditionError: the account may not look.
        """
        with self._cursor() as cursor:
            return _compression(cursor)

    def facts(self, schemas: tuple[str, ...]) -> SourceFacts:
        """Everything the preflight judges, but for `compression`.

        Raises:
            UnavailableError: MySQL does not answer.
            PreconditionError: it refuses the account, or a right that looking needs.
        """
        with self._cursor() as cursor:
            return SourceFacts(
                variables=_variables(cursor),
                grants=_grants(cursor),
                tables=_tables(cursor, schemas),
                position=_position(cursor),
                binlogs=_binlogs(cursor),
                replica_ids=tuple(int(row["Server_Id"]) for row in _rows(cursor, "SHOW REPLICAS")),
            )

    @contextmanager
    def _cursor(self) -> Iterator[pymysql.cursors.DictCursor]:
        address = self._address
        tls = mysql_tls(address.tls_mode, address.tls_ca)
        try:
            connection = pymysql.connect(
                host=address.host,
                port=address.port,
                user=address.user,
                password=address.password,
                ssl=tls,
                connect_timeout=_CONNECT_TIMEOUT_S,
                read_timeout=_READ_TIMEOUT_S,
                cursorclass=pymysql.cursors.DictCursor,
            )
            with connection, connection.cursor() as cursor:
                yield cursor
        except pymysql.MySQLError as error:
            raise self._translated(error) from error

    def _translated(self, error: pymysql.MySQLError) -> UnavailableError | PreconditionError:
        code = error.args[0] if error.args else 0
        where = f"{self._address.host}:{self._address.port}"
        if code == _NO_SUCH_USER:
            return PreconditionError(
                f"MySQL at {where} refuses the user {self._address.user!r} or its password.",
                hint="The migrations create it with the password CALLSHEET_CAPTURE_PASSWORD.",
            )
        if code in {_NO_COMMAND, _NO_TABLE}:
            return PreconditionError(
                f"MySQL does not let {self._address.user!r} look: {error.args[1]}.",
                hint="GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* to it.",
            )
        why = absence(error, f"error {code}")
        hint = "Is it up (`callsheet stack status`)? See CALLSHEET_MYSQL_HOST and _PORT."
        if "certificate" in why:
            hint = f"Name the file (PEM) of the authority that signed it in {MYSQL_CA}."
        return UnavailableError(f"MySQL at {where} does not answer: {why}.", hint=hint)


def _rows(
    cursor: pymysql.cursors.DictCursor, sql: str, args: tuple[object, ...] = ()
) -> list[dict[str, Any]]:
    cursor.execute(sql, args)
    return list(cursor.fetchall())


def _variables(cursor: pymysql.cursors.DictCursor) -> dict[str, str]:
    marks = ", ".join(["%s"] * len(_VARIABLES))
    sql = f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({marks})"
    return {row["Variable_name"]: row["Value"] for row in _rows(cursor, sql, _VARIABLES)}


def _grants(cursor: pymysql.cursors.DictCursor) -> tuple[str, ...]:
    """Rights that come from active roles included."""
    roles = _rows(cursor, "SELECT CURRENT_ROLE() AS roles")[0]["roles"]
    using = "" if roles in {None, "", "NONE"} else f" USING {roles}"
    rows = _rows(cursor, f"SHOW GRANTS FOR CURRENT_USER(){using}")
    return tuple(str(next(iter(row.values()))) for row in rows)


def _tables(
    cursor: pymysql.cursors.DictCursor, schemas: tuple[str, ...]
) -> tuple[SourceTable, ...]:
    if not schemas:
        return ()
    marks = ", ".join(["%s"] * len(schemas))
    sql = f"""
        SELECT t.TABLE_SCHEMA AS s, t.TABLE_NAME AS n, COALESCE(t.ENGINE, '') AS e,
               EXISTS (SELECT 1 FROM information_schema.TABLE_CONSTRAINTS AS c
                       WHERE c.TABLE_SCHEMA = t.TABLE_SCHEMA AND c.TABLE_NAME = t.TABLE_NAME
                         AND c.CONSTRAINT_TYPE = 'PRIMARY KEY') AS k
        FROM information_schema.TABLES AS t
        WHERE t.TABLE_TYPE = 'BASE TABLE' AND t.TABLE_SCHEMA IN ({marks})
        ORDER BY s, n"""  # noqa: S608  (only marks)
    rows = _rows(cursor, sql, schemas)
    return tuple(SourceTable(row["s"], row["n"], row["e"], bool(row["k"])) for row in rows)


def _position(cursor: pymysql.cursors.DictCursor) -> BinlogPosition | None:
    try:
        rows = _rows(cursor, "SHOW BINARY LOG STATUS")
    except pymysql.err.ProgrammingError:  # before 8.2 it had another name
        rows = _rows(cursor, "SHOW MASTER STATUS")
    return BinlogPosition.parse(rows[0]["File"], int(rows[0]["Position"])) if rows else None


def _binlogs(cursor: pymysql.cursors.DictCursor) -> tuple[BinlogFile, ...]:
    try:
        rows = _rows(cursor, "SHOW BINARY LOGS")
    except pymysql.err.OperationalError as error:
        if error.args[0] == 1381:  # "You are not using binary logging": said as a finding
            return ()
        raise
    return tuple(
        BinlogFile(BinlogPosition.parse(row["Log_name"], 4), int(row["File_size"])) for row in rows
    )


def _compression(cursor: pymysql.cursors.DictCursor) -> Compression:
    rights = ("SESSION_VARIABLES_ADMIN", "SYSTEM_VARIABLES_ADMIN", "SUPER", "BINLOG_ADMIN")
    may = _rows(
        cursor,
        "SELECT DISTINCT GRANTEE AS g FROM information_schema.USER_PRIVILEGES "
        "WHERE PRIVILEGE_TYPE IN (%s, %s, %s, %s) AND GRANTEE NOT LIKE %s ORDER BY g",
        (*rights, "'mysql.%"),
    )
    done = _rows(
        cursor,
        "SELECT COALESCE(SUM(TRANSACTION_COUNTER), 0) AS n "
        "FROM performance_schema.binary_log_transaction_compression_stats "
        "WHERE LOG_TYPE = 'BINARY' AND COMPRESSION_TYPE <> 'NONE'",
    )
    return Compression(tuple(row["g"] for row in may), int(done[0]["n"]))
