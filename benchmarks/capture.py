"""The finance connector under another name, for as long as a benchmark needs it."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.servers.bench import Servers
from benchmarks.versions import CHECKOUT
from callsheet.errors import FatalError
from connectors.client import ConnectClient
from finance.database import Account, Role, open_engine
from finance.load import Loader, find_films, read_rows
from finance.tables import BUSINESS_TABLES

START_S: Final = 60.0
CONNECTOR: Final = CHECKOUT / "cdc-config/connectors/finance-mysql.json"


@dataclass(frozen=True, slots=True)
class Capture:
    """``snapshot``: Debezium's mode; ``no_data`` begins with the changes from now on."""

    name: str
    server_id: int
    exactly_once: bool
    snapshot: str = "no_data"

    @property
    def prefix(self) -> str:
        return f"bench-{self.name}"

    @property
    def topics(self) -> Sequence[str]:
        return [f"{self.prefix}.finance.{table.name}" for table in BUSINESS_TABLES]

    @property
    def heartbeat(self) -> str:
        return f"{self.prefix}.finance.callsheet_heartbeat"

    @property
    def other_topics(self) -> Sequence[str]:
        return [
            self.heartbeat,
            f"{self.prefix}.finance.callsheet_signal",
            f"__debezium-heartbeat.{self.prefix}",
            f"{self.prefix}.transaction",
            self.prefix,
            self.history,
        ]

    @property
    def history(self) -> str:
        return f"_schema-history.{self.prefix}"

    def config(self) -> dict[str, str]:
        """The committed connector; beside names and snapshot only exactly-once may differ."""
        config: dict[str, str] = json.loads(CONNECTOR.read_text("utf-8"))["config"]
        config |= {
            "database.server.id": str(self.server_id),
            "topic.prefix": self.prefix,
            "schema.history.internal.kafka.topic": self.history,
            "snapshot.mode": self.snapshot,
        }
        if not self.exactly_once:
            del config["exactly.once.support"], config["transaction.boundary"]
        return config


@contextlib.contextmanager
def capturing(servers: Servers, connect: ConnectClient, capture: Capture) -> Iterator[None]:
    """From fresh topics; the connector has streamed its first heartbeat when the block begins."""
    connect.delete(capture.name)
    servers.kafka.delete([*capture.topics, *capture.other_topics])
    for topic in capture.topics:
        servers.kafka.create(topic, 4, {"compression.type": "producer"})
    for topic in capture.other_topics:
        servers.kafka.create(topic, 1, {})
    connect.put_config(capture.name, capture.config())
    try:
        _wait_until_streaming(servers, connect, capture)
        yield
    finally:
        connect.stop(capture.name)
        connect.reset_offsets(capture.name)
        connect.delete(capture.name)


def _wait_until_streaming(servers: Servers, connect: ConnectClient, capture: Capture) -> None:
    """A heartbeat row that made the whole way proves it; RUNNING would not."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        status = connect.status(capture.name)
        if status is not None and status.failed:
            raise FatalError(f"The connector failed: {status.traces[0]}")
        if sum(servers.kafka.ends([capture.heartbeat]).values()) > 2:
            return
        time.sleep(0.2)
    raise FatalError(f"The connector {capture.name} does not stream after {START_S:.0f} s.")


def load_finance(servers: Servers) -> int:
    """The films in the finance tables, loaded if they are not there yet; returns the titles."""
    with servers.mysql(Role.READER) as session, session.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM titles")
        row = cursor.fetchone()
        if row is not None and row[0]:
            return int(row[0])
    engine = open_engine(Account.from_environment(servers.environment, Role.APP))
    try:
        path = find_films(CHECKOUT / "examples/data/movies.json")
        return Loader(engine, time.monotonic).load(read_rows(path), str(path)).inserted
    finally:
        engine.dispose()
