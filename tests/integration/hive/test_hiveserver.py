"""The audit in a real HiveServer2: every type reads back equal, views are the commands' answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from callsheet.batch import Partition
from callsheet.errors import FatalError, PreconditionError, RetryableError
from callsheet.event import Op
from callsheet.schema import Column, Kind, TableSchema
from sinks.hive.archive import Archive
from sinks.hive.compaction import Compaction
from sinks.hive.hiveserver import HiveServer
from sinks.hive.maintenance import Maintenance
from sinks.hive.ranges import RangeLog
from sinks.hive.registration import Registered, Registration
from sinks.hive.settings import HiveServerSettings
from sinks.hive.spool import SpoolOptions
from sinks.hive.state import state
from sinks.hive.stores.local import LocalStore
from sinks.hive.stores.webhdfs import HdfsStore
from stack import Stack
from tests.support.batches import Row, a_batch, a_schema
from tests.support.clock import FakeClock
from tests.support.hdfs import hdfs_root, hdfs_store, webhdfs
from tests.support.hive import a_sink, within
from tests.support.hive import settings as hive_settings
from tests.support.polling import until
from tests.support.tcp_proxy import TcpProxy

__all__ = ["hdfs_root", "hdfs_store", "webhdfs"]

pytestmark = pytest.mark.slow
AUDIT = Path(__file__).parents[3] / "cdc-config/pipelines/audit.yaml"
T0 = datetime(2027, 1, 15, 8, tzinfo=UTC)
DAY_US = 86_400_000_000
TOPIC = "studio.finance.plans"


@pytest.fixture(scope="session")
def hive_port(live_stack: Stack) -> int:
    """It starts only for those who ask."""
    try:
        live_stack.up(["hive"])
    except PreconditionError as error:
        pytest.skip(error.message)  # it needs a Java that nothing else does
    return int(live_stack.environment()["CALLSHEET_HIVE_PORT"])


class Shown:
    """An audit on local files, and a Hive database of its own that shows it."""

    def __init__(self, root: Path, server: HiveServer, database: str) -> None:
        self.root, self.server, self.database = root, server, database
        self.store = LocalStore(root)
        self.offset = 0

    def take(self, rows: Sequence[Row], schema: TableSchema) -> None:
        sink = a_sink(self.store)
        sink.open()
        sink.assigned([Partition(TOPIC, 0)])
        sink.write(a_batch(rows, schema, first_offset=self.offset), within())
        sink.flush(within())
        sink.close()
        self.offset += len(rows)

    def register(self) -> Registered:
        location = f"file://{self.root}"
        return Registration(RangeLog(self.store), self.server, self.database, location).run()

    def upkeep(self, clock: FakeClock, **rules: Any) -> Maintenance:
        wanted = hive_settings(compaction={"spare_files": 1, **rules})
        return Maintenance(RangeLog(self.store), wanted, clock, show=self.register)

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        return self.server.rows(query.format(db=self.database))


@pytest.fixture
def shown(hive_port: int, tmp_path: Path) -> Iterator[Shown]:
    # HiveServer2 need not be the user that we are.
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    database = f"audit_{uuid4().hex[:8]}"
    location = f"file://{tmp_path}"
    settings = HiveServerSettings(host="127.0.0.1", port=hive_port, location=location)
    with HiveServer(settings) as server:
        yield Shown(tmp_path / "audit", server, database)
        server.run(f"DROP DATABASE IF EXISTS {database} CASCADE")


def row(op: Op, identifier: int, version: int, day: int = 0, **values: Any) -> Row:
    after = None if op is Op.DELETE else {"id": identifier, **values}
    ts_us = round(T0.timestamp()) * 1_000_000 + day * DAY_US
    return Row(op, str(identifier), after, version, ts_us=ts_us)


EVERY: list[tuple[Column, Any, Any]] = [
    (Column("whole", Kind.INTEGER), -(2**63), -(2**63)),
    (Column("big", Kind.UNSIGNED), 2**64 - 1, Decimal(2**64 - 1)),
    (Column("money", Kind.DECIMAL, precision=15, scale=2), Decimal("-1.50"), Decimal("-1.50")),
    (
        Column("wide", Kind.DECIMAL, precision=38, scale=30),
        Decimal("12345678.000000000000000000000000000001"),
        Decimal("12345678.000000000000000000000000000001"),
    ),
    (Column("digits", Kind.DECIMAL, precision=65, scale=2), "9" * 63 + ".99", "9" * 63 + ".99"),
    (Column("ratio", Kind.FLOAT), 0.1, 0.1),
    (Column("flag", Kind.BOOLEAN), True, True),
    (Column("text", Kind.STRING), "é 'x' 😀\n\t\\", "é 'x' 😀\n\t\\"),
    (Column("doc", Kind.JSON), '{"a": [1]}', '{"a": [1]}'),
    (Column("born", Kind.DATE), date(1753, 2, 28), "1753-02-28"),
    (Column("old", Kind.DATE), date(1, 1, 1), "0001-01-01"),
    (Column("time", Kind.TIME), -3_020_399_000_001, "-838:59:59.000001"),
    (
        Column("moment", Kind.DATETIME),
        datetime(2026, 3, 29, 2, 30, 0, 123456),  # noqa: DTZ001 - in no zone, and in many none at all
        datetime(2026, 3, 29, 2, 30, 0, 123456),  # noqa: DTZ001
    ),
    (
        Column("first", Kind.DATETIME),
        datetime(1, 1, 1, 0, 0, 0, 1),  # noqa: DTZ001
        datetime(1, 1, 1, 0, 0, 0, 1),  # noqa: DTZ001
    ),
    (
        Column("last", Kind.DATETIME),
        datetime(9999, 12, 31, 23, 59, 59, 999999),  # noqa: DTZ001
        datetime(9999, 12, 31, 23, 59, 59, 999999),  # noqa: DTZ001
    ),
    (
        Column("stamp", Kind.TIMESTAMP),
        "1969-12-31T23:59:59.999999Z",
        datetime(1969, 12, 31, 23, 59, 59, 999999),  # noqa: DTZ001
    ),
    (Column("year", Kind.YEAR), 2155, 2155),
    (Column("bytes", Kind.BYTES), b"\x00\xff", b"\x00\xff"),
    (Column("vector", Kind.VECTOR), [1.0, 2.5], [1.0, 2.5]),
]


def test_every_type_reads_back_equal(shown: Shown) -> None:
    schema = a_schema(*(column for column, *_ in EVERY), table="plans")
    values = {column.name: value for column, value, _ in EVERY}
    shown.take([row(Op.CREATE, 1, 1, **values), row(Op.CREATE, 2, 2)], schema)
    done = shown.register()
    assert (done.tables, done.partitions) == (["finance_plans"], {"finance_plans": 1})
    names = ", ".join(f"`after_{name}`" for name in values)
    query = f"SELECT {names} FROM {{db}}.finance_plans WHERE after_id = "
    (found,) = shown.ask(query + "1")
    told = dict(zip(values, found, strict=True))
    told["vector"] = json.loads(told["vector"])
    assert told == {column.name: stored for column, _, stored in EVERY}
    (nothing,) = shown.ask(query + "2")
    assert set(nothing) == {None}
    assert shown.ask("SELECT ts FROM {db}.finance_plans WHERE id = '1'") == [
        (T0.replace(tzinfo=None),)
    ]


def test_what_is_there_is_left_alone_and_what_is_new_is_added(shown: Shown) -> None:
    money = Column("price", Kind.DECIMAL, precision=6, scale=2)
    first = a_schema(Column("name", Kind.STRING), money, table="plans")
    shown.take([row(Op.CREATE, 1, 1, name="one", price=Decimal("1234.56"))], first)
    shown.register()
    assert not shown.register()
    finer = Column("price", Kind.DECIMAL, precision=8, scale=4)
    later = a_schema(
        Column("name", Kind.STRING), finer, Column("note", Kind.STRING), table="plans", version="2"
    )
    shown.take([row(Op.CREATE, 2, 2, 1, name="two", price=Decimal("0.0001"), note="new")], later)
    # In the same partition as the old file, whose columns are fewer.
    shown.take([row(Op.CREATE, 3, 3, 0, name="three", price=Decimal(3), note="n")], later)
    done = shown.register()
    assert done.tables == []
    assert done.partitions == {"finance_plans": 1}
    assert done.columns == {"finance_plans": 3}
    found = shown.ask(
        "SELECT after_id, after_price, after_note FROM {db}.finance_plans ORDER BY after_id"
    )
    assert found == [
        (1, Decimal("1234.5600"), None),
        (2, Decimal("0.0001"), "new"),
        (3, Decimal("3.0000"), "n"),
    ]
    assert not shown.register()


def test_a_column_of_another_kind_is_text(shown: Shown) -> None:
    shown.take([row(Op.CREATE, 1, 1, n=7)], a_schema(Column("n", Kind.INTEGER), table="plans"))
    shown.register()
    later = a_schema(Column("n", Kind.STRING), table="plans", version="2")
    shown.take([row(Op.CREATE, 2, 2, n="seven")], later)
    shown.register()
    query = "SELECT after_n FROM {db}.finance_plans ORDER BY after_id"
    assert shown.ask(query) == [("7",), ("seven",)]


def test_views_are_what_the_commands_say(shown: Shown) -> None:
    schema = a_schema(Column("name", Kind.STRING), table="plans")
    shown.take([row(Op.READ, n, n, name=f"plan {n}") for n in (1, 2, 3)], schema)
    shown.take([row(Op.UPDATE, 1, 10, 1, name="better"), row(Op.DELETE, 2, 20, 2)], schema)
    shown.take([row(Op.UPDATE, 1, 10, 1, name="better")], schema)  # the source repeats itself
    shown.take([row(Op.CREATE, 2, 40, 4, name="again"), row(Op.UPDATE, 3, 50, 3, name="x")], schema)
    shown.take([row(Op.UPDATE, 3, 60, 2, name="the clock went back")], schema)
    done = shown.register()
    assert done.views == [f"finance_plans_{view}" for view in ("history", "latest", "as_of")]
    assert shown.ask("SELECT COUNT(*) FROM {db}.finance_plans") == [(9,)]
    assert shown.ask("SELECT COUNT(*), COUNT(DISTINCT uuid) FROM {db}.finance_plans_history") == [
        (8, 8)
    ]
    table = Archive(shown.store).table("plans")
    latest = shown.ask("SELECT id, name FROM {db}.finance_plans_latest ORDER BY id")
    assert latest == state(table).frame.rows()
    for hours in (0, 24, 48, 60, 72, 96, 120):
        moment = T0 + timedelta(hours=hours)
        told = shown.ask(
            "SELECT id, name FROM {db}.finance_plans_as_of "
            f"WHERE valid_from <= TIMESTAMP '{moment:%Y-%m-%d %H:%M:%S}' AND "
            f"(valid_to IS NULL OR valid_to > TIMESTAMP '{moment:%Y-%m-%d %H:%M:%S}') ORDER BY id"
        )
        assert told == state(table, moment).frame.rows(), hours


def test_another_table_of_that_name_is_not_touched(shown: Shown) -> None:
    schema = a_schema(Column("name", Kind.STRING), table="plans")
    shown.take([row(Op.READ, 1, 5, name="plan")], schema)
    shown.server.run(f"CREATE DATABASE {shown.database}")
    shown.server.run(f"CREATE TABLE {shown.database}.finance_plans (x INT)")
    with pytest.raises(FatalError, match="that is not ours"):
        shown.register()


def test_a_refusal_and_an_absence_are_told_apart(shown: Shown, hive_port: int) -> None:
    with pytest.raises(FatalError, match="Hive refused SELECT nonsense"):
        shown.ask("SELECT nonsense FROM nowhere")
    gone = HiveServerSettings(host="127.0.0.1", port=1, location="file:///x")
    with pytest.raises(RetryableError, match="does not answer"), HiveServer(gone):
        pass
    slow = gone.model_copy(update={"port": hive_port, "session_timeout_seconds": 0.001})
    with pytest.raises(RetryableError, match="does not answer"), HiveServer(slow):
        pass
    brief = gone.model_copy(update={"port": hive_port, "timeout_seconds": 0.001})
    with HiveServer(brief) as server, pytest.raises(RetryableError, match="does not answer"):
        server.rows("SHOW DATABASES")


def test_an_audit_on_hdfs_is_shown_too(
    hive_port: int, live_stack: Stack, hdfs_store: HdfsStore, hdfs_root: str
) -> None:
    location = live_stack.environment()["CALLSHEET_HDFS_URL"] + hdfs_root
    database = f"audit_{uuid4().hex[:8]}"
    settings = HiveServerSettings(host="127.0.0.1", port=hive_port, location=location)
    sink = a_sink(hdfs_store)
    sink.open()
    sink.assigned([Partition(TOPIC, 0)])
    schema = a_schema(Column("name", Kind.STRING), table="plans")
    sink.write(a_batch([row(Op.CREATE, 1, 1, name="one")], schema), within())
    sink.flush(within())
    with HiveServer(settings) as server:
        Registration(RangeLog(hdfs_store), server, database, location).run()
        found = server.rows(f"SELECT id, name FROM {database}.finance_plans_latest")
        server.run(f"DROP DATABASE {database} CASCADE")
    assert found == [(1, "one")]
    assert state(Archive(hdfs_store).table("plans")).frame.rows() == found


EVERYTHING = "SELECT kafka_offset, id, ts, after_name FROM {db}.finance_plans"
"""Without an order, so that Hive reads the files at once and starts no job."""


def test_no_query_notices_a_compaction(shown: Shown) -> None:
    """Before it, between any two of its steps, after it, and after what was replaced is removed."""
    schema = a_schema(Column("name", Kind.STRING), table="plans")
    later = a_schema(
        Column("name", Kind.STRING), Column("note", Kind.STRING), table="plans", version="2"
    )
    for n in range(4):
        shown.take([row(Op.CREATE, n, n + 1, n % 2, name=f"plan {n}")], schema)
    shown.register()
    for n in range(4, 6):
        shown.take([row(Op.CREATE, n, n + 1, n % 2, name=f"plan {n}", note="n")], later)
    shown.register()
    before = sorted(shown.ask(EVERYTHING))
    assert len(before) == 6

    def look(_: object) -> None:
        assert sorted(shown.ask(EVERYTHING)) == before

    clock = FakeClock(30 * 86_400)
    upkeep = shown.upkeep(clock, grace_hours=24)
    log = RangeLog(shown.store)
    options = SpoolOptions(None, "zstd", 65_536)
    compaction = Compaction(log, options, lambda: datetime.fromtimestamp(clock.time(), UTC), look)
    found = upkeep.compactable()
    assert [len(each.bundles) for each in found] == [2, 2]  # a file per schema
    for candidate in found:
        compaction.run(candidate)
        look(None)
    done = shown.register()
    assert done.moved == {"finance_plans": 2}
    look(None)
    assert not shown.register()
    clock.advance(86_400)
    assert upkeep.compact(()).cleaned_files == 6
    look(None)
    assert shown.ask("SELECT after_note FROM {db}.finance_plans WHERE id = '4'") == [("n",)]
    # A worker goes on in a date that has been compacted: shown by the next publication.
    shown.take([row(Op.UPDATE, 1, 99, 1, name="late", note=None)], later)
    shown.register()
    *rest, late = sorted(shown.ask(EVERYTHING))
    assert (rest, late[3]) == (before, "late")
    # Then the older of the two dates expires.
    expiry = shown.upkeep(FakeClock(11 * 86_400), grace_hours=0)
    assert len(expiry.expire(expiry.expirable(10)).partitions) == 1
    assert sorted(shown.ask(EVERYTHING)) == [before[1], before[3], before[5], late]
    assert shown.ask("SHOW PARTITIONS {db}.finance_plans") == [("event_date=2027-01-16",)]
    assert not shown.register()


def with_server(shown: Shown, port: int) -> str:
    """The committed pipeline, with a HiveServer2."""
    server = {
        "host": "127.0.0.1",
        "port": port,
        "database": shown.database,
        "location": f"file://{shown.root}",
        "timeout_seconds": 10,
    }
    return f"{AUDIT.read_text('utf-8').rstrip()}\n  server: {json.dumps(server)}\n"


def test_the_command_publishes_again_and_again_and_outlives_an_absence(
    shown: Shown, hive_port: int, tmp_path: Path
) -> None:
    schema = a_schema(Column("name", Kind.STRING), table="plans")
    shown.take([row(Op.CREATE, 1, 1, name="one")], schema)
    environ = {**os.environ, "CALLSHEET_AUDIT_ROOT": str(shown.root)}
    pipeline, said = tmp_path / "audit.yaml", tmp_path / "said"
    words = [sys.executable, "-m", "callsheet.cli", "audit", "publish", str(pipeline)]
    with TcpProxy(("127.0.0.1", hive_port)) as proxy, said.open("wb") as out:
        pipeline.write_text(with_server(shown, proxy.port), "utf-8")
        once = subprocess.run([*words, "--json"], env=environ, capture_output=True, check=True)
        assert json.loads(once.stdout)["partitions"] == {"finance_plans": 1}
        proxy.freeze()
        shown.take([row(Op.CREATE, 2, 2, 1, name="two")], schema)
        again = subprocess.Popen([*words, "--every", "1"], env=environ, stdout=out, stderr=out)
        try:
            until(lambda: b"hive is not told" in said.read_bytes(), "it says that Hive is away")
            proxy.thaw()
            count = "SELECT COUNT(*) FROM {db}.finance_plans"
            until(lambda: shown.ask(count) == [(2,)], "Hive shows it")
        finally:
            again.terminate()
            again.wait(30)
