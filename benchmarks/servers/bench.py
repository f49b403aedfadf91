"""The stack of the benchmarks: a stack of its own, so that nobody else's data is in the way."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Final

import pymysql
import pymysql.cursors
from pydantic import SecretStr

from benchmarks.servers.elastic import Elastic
from benchmarks.servers.kafka import Kafka
from callsheet.errors import PreconditionError
from connectors.client import ConnectClient
from finance.database import Account, Role
from finance.migrations import CREATED_ACCOUNTS, Migrations, find_revisions
from stack import Ports, Stack

STACK: Final = "bench"
PORT_BASE: Final = 24000
SERVERS: Final = ("mysql", "kafka", "connect", "registry", "elasticsearch")


class _Told:
    """The stack's progress, in the benchmarks' voice."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def say(self, message: str) -> None:
        self._say(message)

    def advance(self, task: str, done_bytes: int, total_bytes: int) -> None:
        """The downloads are the stack's own business."""

    def finish(self, task: str) -> None:
        """As `advance`."""


class Servers:
    """The running servers, and a client for each."""

    def __init__(self, stack: Stack, say: Callable[[str], None]) -> None:
        self.stack = stack
        self._say = say

    @classmethod
    def of_stack(cls, say: Callable[[str], None]) -> Servers:
        return cls(Stack.named(STACK), say)

    def start(self) -> None:
        """Start what does not run, also after a kill; bring the finance schema up to date."""
        ports = None if (self.stack.home / "ports.json").exists() else Ports.from_base(PORT_BASE)
        self.stack.up(SERVERS, _Told(self._say), ports=ports)
        admin = Account.from_environment(self.environment, Role.ADMIN)
        passwords = {
            role: SecretStr(self.environment[f"{role.value.upper()}_PASSWORD"])
            for role in CREATED_ACCOUNTS
        }
        Migrations(admin, find_revisions()).up(passwords)

    def stop(self) -> None:
        self.stack.down(_Told(self._say))

    @cached_property
    def environment(self) -> Mapping[str, str]:
        """Of the caller, with this stack's addresses and passwords over it."""
        return {**os.environ, **self.stack.environment(), "CALLSHEET_STACK": STACK}

    @cached_property
    def elastic(self) -> Elastic:
        return Elastic(self.environment["CALLSHEET_ELASTICSEARCH_URL"])

    @cached_property
    def kafka(self) -> Kafka:
        return Kafka(self.environment["CALLSHEET_KAFKA_BOOTSTRAP"])

    @cached_property
    def connect(self) -> ConnectClient:
        return ConnectClient(self.environment["CALLSHEET_CONNECT_URL"])

    @property
    def scratch(self) -> Path:
        """For pipeline files and logs of the workers."""
        folder = self.stack.home / "benchmarks"
        folder.mkdir(exist_ok=True)
        return folder

    def mysql(
        self, role: Role, database: str = "finance"
    ) -> pymysql.Connection[pymysql.cursors.Cursor]:
        """A new session, UTC, not in autocommit."""
        account = Account.from_environment(self.environment, role)
        return pymysql.connect(
            host=account.host,
            port=account.port,
            user=account.user,
            password=account.password.get_secret_value(),
            database=database or None,
            charset="utf8mb4",
            init_command="SET time_zone = '+00:00'",
            connect_timeout=5,
            read_timeout=600,
        )

    def versions(self) -> dict[str, str]:
        """As each server says of itself."""
        plugins = {plugin.class_name: plugin.version for plugin in self.connect.plugins()}
        return {
            "elasticsearch": self.elastic.version(),
            "kafka": self.connect.worker().version,
            "debezium": plugins["io.debezium.connector.mysql.MySqlConnector"],
            "mysql": self._mysql_version(),
        }

    def binlog_position(self) -> tuple[int, int]:
        """Where MySQL's log ends now: the file's ordinal, and the offset in it."""
        with self.mysql(Role.ADMIN, "") as session, session.cursor() as cursor:
            cursor.execute("SHOW BINARY LOG STATUS")
            row = cursor.fetchone()
            if row is None:
                raise PreconditionError("MySQL writes no binlog.")
            return int(str(row[0]).rpartition(".")[2]), int(row[1])

    def _mysql_version(self) -> str:
        with self.mysql(Role.ADMIN, "") as session, session.cursor() as cursor:
            cursor.execute("SELECT VERSION()")
            row = cursor.fetchone()
            if row is None:
                raise PreconditionError("MySQL does not say its version.")
            return str(row[0])
