"""The films: real rows, many times over, as Debezium's own snapshot wrote them into Kafka.

The rows are those of ``examples/data/movies.json``, repeated with distinct ids and with cents that
differ from copy to copy, in a table ``bench.films_<rows>``. The topics stay on the stack, so that
only the first run pays for the snapshot.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from benchmarks.progress import Narrator
from benchmarks.servers.bench import Servers
from benchmarks.versions import CHECKOUT
from callsheet.errors import FatalError
from finance.database import Role

ROWS: Final = 400_000
QUICK_ROWS: Final = 40_000
PARTITIONS: Final = 4
DATABASE: Final = "bench"
GENERATION: Final = 1
"""Part of the topics' names: raise it when the table or the connector changes."""
SNAPSHOT_S: Final = 300.0

COLUMNS: Final = """
    film_id BIGINT NOT NULL PRIMARY KEY,
    title VARCHAR(255),
    us_gross DECIMAL(15,2),
    worldwide_gross DECIMAL(15,2),
    production_budget DECIMAL(15,2),
    release_date DATE NOT NULL,
    rating VARCHAR(16),
    running_time_minutes SMALLINT UNSIGNED,
    distributor VARCHAR(100),
    genre VARCHAR(40),
    director VARCHAR(120),
    votes INT UNSIGNED,
    booked_at DATETIME(6) NOT NULL
"""
_FIELDS: Final = (
    "Title", "US Gross", "Worldwide Gross", "Production Budget", "Release Date", "MPAA Rating",
    "Running Time min", "Distributor", "Major Genre", "Director", "IMDB Votes",
)  # fmt: skip


class Wire(StrEnum):
    JSON = "json"
    AVRO = "avro"


@dataclass(frozen=True, slots=True)
class Films:
    """A topic with one snapshot event per row."""

    wire: Wire
    rows: int

    @property
    def table(self) -> str:
        return f"films_{self.rows}"

    @property
    def prefix(self) -> str:
        return f"bench{GENERATION}_{self.wire.value}"

    @property
    def topic(self) -> str:
        return f"{self.prefix}.{DATABASE}.{self.table}"

    @property
    def connector(self) -> str:
        return f"{self.prefix}_{self.table}"

    @property
    def history(self) -> str:
        return f"_schema-history.{self.connector}"


def ensure(servers: Servers, films: Films, narrator: Narrator) -> None:
    """The topic holds exactly one committed record per row; made by Debezium if it does not."""
    if servers.kafka.count(films.topic) == films.rows:
        return
    _fill_table(servers, films, narrator)
    narrator.say(f"Debezium takes a snapshot of {films.rows:,} rows into {films.topic}")
    servers.connect.delete(films.connector)
    servers.kafka.delete([films.topic, films.history])
    # lz4 comes from the connector's producer; the topic keeps what it gets.
    servers.kafka.create(films.topic, PARTITIONS, {"retention.ms": "-1", "retention.bytes": "-1"})
    servers.kafka.create(films.history, 1, {"retention.ms": "-1"})
    servers.connect.put_config(films.connector, connector_config(films))
    try:
        _wait_for_snapshot(servers, films, narrator)
    finally:
        servers.connect.stop(films.connector)
        servers.connect.reset_offsets(films.connector)
        servers.connect.delete(films.connector)


def connector_config(films: Films) -> dict[str, str]:
    """The committed finance connector, pointed at the films; only what must differ does."""
    path = CHECKOUT / "cdc-config/connectors/finance-mysql.json"
    config: dict[str, str] = json.loads(path.read_text("utf-8"))["config"]
    for setting in list(config):
        if setting.startswith(("signal.", "heartbeat.")):
            del config[setting]
    config |= {
        "database.server.id": "184900" if films.wire is Wire.JSON else "184901",
        "topic.prefix": films.prefix,
        "database.include.list": DATABASE,
        "table.include.list": f"{DATABASE}.{films.table}",
        "schema.history.internal.kafka.topic": films.history,
        "include.schema.changes": "false",
        "snapshot.mode": "initial_only",
    }
    if films.wire is Wire.JSON:
        config |= _json_settings()
    return config


def _json_settings() -> dict[str, str]:
    """Envelopes without schemas. Money is exact text: base64 of two's complement is for nobody."""
    converter = "org.apache.kafka.connect.json.JsonConverter"
    return {
        "key.converter": converter,
        "key.converter.schemas.enable": "false",
        "value.converter": converter,
        "value.converter.schemas.enable": "false",
        "decimal.handling.mode": "string",
    }


def _wait_for_snapshot(servers: Servers, films: Films, narrator: Narrator) -> None:
    deadline = time.monotonic() + SNAPSHOT_S
    with narrator.tracking("snapshot", films.rows) as task:
        while time.monotonic() < deadline:
            written = sum(servers.kafka.ends([films.topic]).values())
            task.at(min(written, films.rows))
            status = servers.connect.status(films.connector)
            failed = [task for task in status.tasks if task.trace] if status else []
            if failed:
                raise FatalError(f"The snapshot failed: {failed[0].trace}")
            # Offsets count transactions' markers as well: only reading tells.
            if written >= films.rows and servers.kafka.count(films.topic) == films.rows:
                return
            time.sleep(0.5)
    raise FatalError(f"{films.topic} was not complete after {SNAPSHOT_S:.0f} s.")


# --- the table ----------------------------------------------------------------------------------


def _fill_table(servers: Servers, films: Films, narrator: Narrator) -> None:
    with servers.mysql(Role.ADMIN, "") as session, session.cursor() as cursor:
        # The rows reach Kafka by snapshot: in the binlog they would only delay other connectors.
        cursor.execute("SET SESSION sql_log_bin = 0")
        cursor.execute(f"CREATE DATABASE IF NOT EXISTS {DATABASE}")
        cursor.execute(f"GRANT SELECT, LOCK TABLES ON {DATABASE}.* TO callsheet_capture@'%'")
        cursor.execute(f"USE {DATABASE}")
        cursor.execute(f"CREATE TABLE IF NOT EXISTS {films.table} ({COLUMNS})")
        cursor.execute(f"SELECT COUNT(*) FROM {films.table}")
        if cursor.fetchone() == (films.rows,):
            return
        narrator.say(f"filling {DATABASE}.{films.table} with {films.rows:,} rows")
        cursor.execute(f"TRUNCATE {films.table}")
        base = base_rows()
        places = ", ".join(["%s"] * len(base[0]))
        cursor.executemany(f"INSERT INTO {films.table} VALUES ({places})", base)
        _repeat(cursor, films, len(base))
        session.commit()


def _repeat(cursor: Any, films: Films, base: int) -> None:
    """Copy the first rows as often as needed, each copy with ids and cents of its own."""
    copies = -(-films.rows // base)
    cursor.execute("SET SESSION cte_max_recursion_depth = 1000000")
    cents = ", ".join(
        f"{column} + copy / 100" for column in ("us_gross", "worldwide_gross", "production_budget")
    )
    cursor.execute(
        f"INSERT INTO {films.table} "
        "WITH RECURSIVE copies (copy) AS "
        f"(SELECT 1 UNION ALL SELECT copy + 1 FROM copies WHERE copy < {copies - 1}) "
        f"SELECT film_id + copy * {base}, title, {cents}, release_date, rating, "
        "running_time_minutes, distributor, genre, director, votes, "
        "booked_at + INTERVAL copy SECOND "
        f"FROM copies, {films.table} WHERE film_id + copy * {base} <= {films.rows}"
    )


def base_rows() -> list[tuple[Any, ...]]:
    """One row per film of the file, numbered from 1."""
    raw = json.loads((CHECKOUT / "examples/data/movies.json").read_text("utf-8"))
    return [_row(number, film) for number, film in enumerate(raw, start=1)]


def _row(number: int, film: dict[str, Any]) -> tuple[Any, ...]:
    values = [film[name] for name in _FIELDS]
    released = datetime.strptime(film["Release Date"], "%b %d %Y")  # noqa: DTZ007 - a plain date
    values[0] = None if values[0] is None else str(values[0])
    values[4] = released.date()
    # A booking time with microseconds, so that the conversion of DATETIME(6) is measured too.
    return (number, *values, released.replace(hour=12, microsecond=number))
