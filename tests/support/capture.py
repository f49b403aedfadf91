"""The capture side on the real servers: a database, a connector and topics of a test's own."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pymysql
from confluent_kafka.admin import AdminClient

from callsheet.kafka.admin import KafkaTopics
from callsheet.ports import SystemClock
from connectors.apply import Applier
from connectors.client import ConnectClient
from connectors.files import ConnectorFile, load
from connectors.plan import Action
from connectors.responses import State
from connectors.source import Address
from connectors.subjects import RegistrySubjects
from connectors.survey import MysqlSurvey
from tests.support.polling import PATIENCE_S, until
from tests.unit.connectors.builders import FINANCE


@dataclass
class Capture:
    """A small database and the repository's connector, pointed at it."""

    environ: Mapping[str, str] = field(repr=False)  # passwords are in it
    folder: Path
    name: str = field(default_factory=lambda: f"cap_{uuid4().hex[:8]}")

    def __post_init__(self) -> None:
        self.connect = ConnectClient(self.environ["CALLSHEET_CONNECT_URL"])
        self.topics = KafkaTopics({"bootstrap.servers": self.environ["CALLSHEET_KAFKA_BOOTSTRAP"]})

    @property
    def path(self) -> Path:
        return self.folder / f"{self.name}.json"

    @property
    def titles(self) -> str:
        return f"{self.name}.{self.name}.titles"

    def sql(self, *statements: str) -> None:
        with self._connection() as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement.replace("@@", self.name))

    def ask(self, question: str) -> list[tuple[Any, ...]]:
        with self._connection() as connection, connection.cursor() as cursor:
            cursor.execute(question.replace("@@", self.name))
            return list(cursor.fetchall())

    def _connection(self) -> pymysql.Connection[Any]:
        address = Address(
            self.environ["CALLSHEET_MYSQL_HOST"],
            int(self.environ["CALLSHEET_MYSQL_PORT"]),
            self.environ["CALLSHEET_MYSQL_ADMIN_USER"],
            self.environ["CALLSHEET_MYSQL_ADMIN_PASSWORD"],
        )
        return pymysql.connect(
            host=address.host,
            port=address.port,
            user=address.user,
            password=address.password,
            autocommit=True,
        )

    def create_database(self) -> None:
        secret = self.environ["CALLSHEET_CAPTURE_PASSWORD"]
        self.sql(
            "CREATE DATABASE @@",
            "CREATE TABLE @@.titles (id BIGINT PRIMARY KEY, name VARCHAR(80))",
            "CREATE TABLE @@.callsheet_heartbeat (id INT PRIMARY KEY, beat_at TIMESTAMP(6))",
            "CREATE TABLE @@.callsheet_signal "
            "(id VARCHAR(42) PRIMARY KEY, type VARCHAR(32), data VARCHAR(2048))",
            "INSERT INTO @@.titles VALUES (1, 'Alien'), (2, 'Heat'), (3, 'Fargo')",
            f"CREATE USER @@ IDENTIFIED BY '{secret}'",
            "GRANT REPLICATION SLAVE, REPLICATION CLIENT, FLUSH_TABLES ON *.* TO @@",
            "GRANT SELECT, LOCK TABLES ON @@.* TO @@",
            "GRANT INSERT, UPDATE ON @@.callsheet_heartbeat TO @@",
            "GRANT INSERT, UPDATE, DELETE ON @@.callsheet_signal TO @@",
        )

    def write(self, changes: Mapping[str, str | None] | None = None, *tables: str) -> Path:
        """The connector's file and its topics file; ``tables`` are captured besides titles."""
        captured = ["titles", *tables, "callsheet_heartbeat"]
        data = json.loads(FINANCE.read_text().replace("finance.", f"{self.name}."))
        data["name"] = self.name
        data["config"] |= {
            "database.user": self.name,
            "database.server.id": str(int(self.name.removeprefix("cap_"), 16) % 2**31 + 1),
            "database.include.list": self.name,
            "table.include.list": ",".join(f"{self.name}.{table}" for table in captured),
            "topic.prefix": self.name,
            "schema.history.internal.kafka.topic": f"_schema-history.{self.name}",
            "connect.keep.alive.interval.ms": "2500",  # an idle beat every two seconds
            **(changes or {}),
        }
        self.path.write_text(json.dumps(data, indent=2))
        topics: dict[str, Any] = {
            "defaults": {"partitions": 2, "retention_hours": 2, "max_message_bytes": 8_400_000},
            "tables": {f"{self.name}.{table}": {} for table in (*captured, "callsheet_signal")},
            "heartbeat": {"partitions": 1},
            "transactions": {"partitions": 1},
            "schema_changes": {"partitions": 1},
            "schema_history": {
                "partitions": 1, "retention_hours": "unlimited", "cleanup_policy": "delete",
            },
        }  # fmt: skip
        self.path.with_suffix(".topics.yaml").write_text(json.dumps(topics))
        return self.path

    def file(self, changes: Mapping[str, str | None] | None = None, *tables: str) -> ConnectorFile:
        return load(self.write(changes, *tables))

    def applier(self) -> Applier:
        survey = MysqlSurvey(self.environ)
        subjects, clock = RegistrySubjects(self.environ), SystemClock()
        return Applier(
            self.connect, self.topics, survey, clock, subjects=subjects, wait_s=PATIENCE_S
        )

    def apply(self, file: ConnectorFile | None = None) -> Action:
        (outcome,) = self.applier().apply([file or self.file()])
        return outcome.action

    def state(self) -> State | None:
        status = self.connect.status(self.name)
        return status.state if status else None

    def records(self, topic: str = "") -> int:
        """Records and transaction markers: it grows with each commit."""
        return self.topics.end_offsets([topic or self.titles]).get(topic or self.titles, 0)

    def commits_a_row(self) -> None:
        """A change made now arrives: the only proof that capture works."""
        before = self.records()
        self.sql(f"INSERT INTO @@.titles VALUES ({time.time_ns()}, 'now')")
        until(lambda: self.records() > before, "a new row arrives")

    def remove_topics(self, *names: str) -> None:
        admin = AdminClient({"bootstrap.servers": self.environ["CALLSHEET_KAFKA_BOOTSTRAP"]})
        found = [name for name in admin.list_topics(timeout=10).topics if self.name in name]
        for future in admin.delete_topics(list(names) or found or ["_none"]).values():
            with suppress(Exception):
                future.result(10)

    def close(self) -> None:
        if self.connect.config(self.name) is not None:
            self.connect.stop(self.name)
            status = self.connect.status
            until(lambda: (s := status(self.name)) and not s.tasks, "it stops")
            self.connect.reset_offsets(self.name)
            self.connect.delete(self.name)
        self.remove_topics()
        self.sql("DROP DATABASE IF EXISTS @@", "DROP USER IF EXISTS @@")
        self.connect.close()
