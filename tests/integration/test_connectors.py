"""Capture on the real servers: each test has a connector, a database and topics of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pymysql
import pytest
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner, Result

from callsheet.cli.connectors import app
from callsheet.errors import (
    CallsheetError,
    ConfigError,
    FatalError,
    PreconditionError,
    UnavailableError,
)
from callsheet.kafka.admin import KafkaTopics
from callsheet.kafka.topics import Topic
from callsheet.ports import SystemClock
from connectors.apply import Applier
from connectors.client import ConnectClient
from connectors.files import ConnectorFile, load
from connectors.plan import Action
from connectors.progress import measure
from connectors.responses import State
from connectors.restarts import start_over
from connectors.source import Address, MysqlSource
from connectors.subjects import RegistrySubjects
from connectors.supervisor import Decision, Health, Policy, supervise
from connectors.survey import MysqlSurvey
from connectors.topics import load_topics
from connectors.watch import ConnectorWatch
from stack import Stack
from tests.unit.connectors.builders import FINANCE

PATIENCE_S = 90.0


def until(is_true: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    end = time.monotonic() + patience_s
    while not is_true():
        assert time.monotonic() < end, f"not within {patience_s:.0f} s: {what}"
        time.sleep(0.2)


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
        address = Address(
            self.environ["CALLSHEET_MYSQL_HOST"],
            int(self.environ["CALLSHEET_MYSQL_PORT"]),
            self.environ["CALLSHEET_MYSQL_ADMIN_USER"],
            self.environ["CALLSHEET_MYSQL_ADMIN_PASSWORD"],
        )
        connection = pymysql.connect(
            host=address.host,
            port=address.port,
            user=address.user,
            password=address.password,
            autocommit=True,
        )
        with connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement.replace("@@", self.name))

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


@pytest.fixture
def capture(stack_env: dict[str, str], tmp_path: Path) -> Iterator[Capture]:
    made = Capture(stack_env, tmp_path)
    try:
        made.create_database()
        yield made
    finally:
        made.close()


def test_apply_runs_it_and_applied_again_changes_nothing(capture: Capture) -> None:
    file = capture.file()
    assert capture.apply(file) is Action.CREATE
    assert capture.topics.describe([capture.titles])[capture.titles].partitions == 2
    until(lambda: capture.records() >= 3, "the snapshot's rows arrive")
    capture.commits_a_row()
    assert capture.applier().plan([file]).empty
    assert capture.apply(file) is Action.UNCHANGED

    changed = capture.file({"max.batch.size": "1024"})
    (entry,) = [c for c in capture.applier().plan([changed]).connectors if c.name == capture.name]
    assert [(c.setting, c.before, c.after) for c in entry.changes] == [
        ("max.batch.size", "2048", "1024")
    ]
    assert capture.apply(changed) is Action.UPDATE
    capture.commits_a_row()


def test_what_connect_rejects_is_told_by_field_and_nothing_is_changed(capture: Capture) -> None:
    file = capture.file(
        {"max.batch.size": "many", "snapshot.fetch.sizes": "1", "heartbeat.topic": "x"}
    )
    with pytest.raises(ConfigError) as caught:
        capture.apply(file)
    found = {fault.path: fault for fault in caught.value.faults}
    assert found.keys() == {"max.batch.size", "snapshot.fetch.sizes", "heartbeat.topic"}
    assert "did you mean snapshot.fetch.size?" in found["snapshot.fetch.sizes"].message
    lines = capture.path.read_text().splitlines()
    assert all(path in lines[fault.line - 1] for path, fault in found.items())
    assert capture.connect.config(capture.name) is None
    assert capture.topics.describe([capture.titles]) == {}


def test_a_table_without_primary_key_is_refused_by_name(capture: Capture) -> None:
    capture.sql("CREATE TABLE @@.keyless (a INT)")
    with pytest.raises(PreconditionError, match=rf"{capture.name}\.keyless: no primary key"):
        capture.apply(capture.file(None, "keyless"))
    assert capture.connect.config(capture.name) is None


def test_missing_rights_are_refused_by_name(capture: Capture) -> None:
    capture.sql(
        "REVOKE REPLICATION CLIENT ON *.* FROM @@",
        "REVOKE UPDATE ON @@.callsheet_heartbeat FROM @@",
    )
    with pytest.raises(PreconditionError, match="REPLICATION CLIENT"):
        capture.apply()
    capture.sql("GRANT REPLICATION CLIENT ON *.* TO @@")
    with pytest.raises(PreconditionError, match=rf"lack UPDATE ON {capture.name}\."):
        capture.apply()


def test_pause_and_resume(capture: Capture) -> None:
    capture.apply()
    capture.connect.pause(capture.name)
    until(lambda: capture.state() is State.PAUSED, "it pauses")
    assert capture.apply() is Action.UNCHANGED  # and leaves it paused
    assert capture.state() is State.PAUSED
    capture.connect.resume(capture.name)
    capture.commits_a_row()
    capture.connect.restart(capture.name, only_failed=False)
    capture.commits_a_row()


def test_a_reset_takes_a_new_snapshot(capture: Capture) -> None:
    capture.apply()
    until(lambda: capture.records() >= 3, "the first snapshot")
    before = capture.records()
    assert start_over(capture.connect, capture.name, SystemClock())
    until(lambda: capture.records() >= before + 3, "the same rows again")
    assert capture.connect.offsets(capture.name)


def test_deleted_and_created_again_it_goes_on_but_not_without_its_history(
    capture: Capture,
) -> None:
    capture.apply()
    capture.commits_a_row()
    capture.connect.delete(capture.name)
    until(lambda: capture.state() is None, "it is gone")
    capture.sql("INSERT INTO @@.titles VALUES (77, 'meanwhile')")
    before = capture.records()
    assert capture.apply() is Action.CREATE
    until(lambda: capture.records() > before, "what was committed meanwhile")

    capture.connect.delete(capture.name)
    until(lambda: capture.state() is None, "it is gone")
    history = f"_schema-history.{capture.name}"
    capture.remove_topics(history)
    until(lambda: not capture.topics.describe([history]), "its history is gone")
    with pytest.raises(PreconditionError, match="is gone, but the connector has run"):
        capture.apply()
    assert capture.state() is State.STOPPED
    assert not start_over(capture.connect, capture.name, SystemClock())
    assert capture.apply() is Action.UNCHANGED
    capture.commits_a_row()


def test_a_failure_names_its_root_cause(capture: Capture) -> None:
    capture.apply()
    capture.sql("ALTER USER @@ IDENTIFIED BY 'changed behind our back'")
    capture.connect.restart(capture.name, only_failed=False)
    status = capture.connect.status
    until(lambda: (s := status(capture.name)) and s.failed, "it fails")
    capture.sql(f"ALTER USER @@ IDENTIFIED BY '{capture.environ['CALLSHEET_CAPTURE_PASSWORD']}'")
    with pytest.raises(FatalError, match="Access denied for user") as caught:
        capture.apply()
    assert "password" in caught.value.hint
    capture.connect.restart(capture.name)
    capture.commits_a_row()


# --- topics -------------------------------------------------------------------------------------


def test_topics_are_created_altered_and_never_repartitioned(capture: Capture) -> None:
    wanted = Topic(f"{capture.name}.t", 2, config={"retention.ms": "60000"})
    capture.topics.create([wanted])
    capture.topics.create([Topic(wanted.name, 5)])  # somebody was quicker: left as it is
    capture.topics.alter(wanted.name, {"retention.ms": "70000"})
    until(
        lambda: (
            capture.topics.describe([wanted.name])[wanted.name].config["retention.ms"] == "70000"
        ),
        "the new retention",
    )
    found = capture.topics.describe([wanted.name, f"{capture.name}.nope"])
    assert [(state.partitions, state.replication_factor) for state in found.values()] == [(2, 1)]
    assert capture.topics.end_offsets([wanted.name, f"{capture.name}.nope"]) == {wanted.name: 0}


@pytest.mark.parametrize(
    ("topic", "said"),
    [
        (Topic("@@.r", 1, replication_factor=3), "too few|replicat"),
        (Topic("@@.c", 1, config={"retention.ms": "soon"}), "retention.ms"),
    ],
)
def test_what_kafka_refuses_is_a_precondition(capture: Capture, topic: Topic, said: str) -> None:
    named = Topic(
        topic.name.replace("@@", capture.name),
        topic.partitions,
        topic.replication_factor,
        topic.config,
    )
    with pytest.raises(PreconditionError, match=said):
        capture.topics.create([named])


def test_an_absent_kafka_is_unavailable() -> None:
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:1 does not answer"):
        KafkaTopics({"bootstrap.servers": "127.0.0.1:1"}, timeout_s=2).describe(["x"])


# --- the commands -------------------------------------------------------------------------------


@dataclass
class Command:
    environ: Mapping[str, str] = field(repr=False)
    said: list[str] = field(default_factory=list)

    def __call__(self, *words: str) -> Result:
        result = CliRunner().invoke(app, [str(word) for word in words], env=dict(self.environ))
        error = result.exception
        shown = f"{error.message} {error.hint}" if isinstance(error, CallsheetError) else ""
        self.said.append(result.output + shown)
        return result


def test_the_commands_and_that_no_secret_is_ever_shown(capture: Capture) -> None:
    run, path = Command(capture.environ), str(capture.write())
    assert "+ topic" in run("plan", path).output
    assert run("preflight", path).exit_code == 0
    assert run("apply", path).exit_code == 0
    assert run("plan", path).output.endswith("Nothing to do.\n")
    assert json.loads(run("plan", path, "--json").stdout)["connectors"]
    (row,) = json.loads(run("status", capture.name, "--json").stdout)
    assert (row["state"], row["tasks"]) == ("RUNNING", [{"id": 0, "state": "RUNNING"}])
    assert row["position"].startswith("binlog.")
    assert capture.name in run("status").output
    assert json.loads(run("offsets", "show", capture.name, "--json").stdout)[0]["offset"]["file"]
    assert "file: binlog." in run("offsets", "show", capture.name).output

    run("pause", capture.name)
    until(lambda: capture.state() is State.PAUSED, "it pauses")
    run("resume", capture.name)
    until(lambda: capture.state() is State.RUNNING, "it resumes")
    assert run("restart", capture.name, "--all").exit_code == 0

    assert run("offsets", "reset", capture.name).exit_code != 0  # without --yes
    assert run("delete", capture.name).exit_code != 0
    assert capture.state() is not None
    assert "forgotten" in run("offsets", "reset", capture.name, "--yes").output

    capture.sql("ALTER USER @@ IDENTIFIED BY 'changed'")
    assert run("preflight", path).exit_code == 75
    capture.connect.restart(capture.name, only_failed=False)
    status = capture.connect.status
    until(lambda: (s := status(capture.name)) and s.failed, "it fails")
    assert "Access denied" in run("status").output
    assert "deleted" in run("delete", capture.name, "--yes").output
    assert run("status", capture.name).exit_code != 0

    secrets = [v for k, v in capture.environ.items() if k.endswith("_PASSWORD") and v]
    assert len(secrets) >= 3
    assert not [secret for secret in secrets if any(secret in said for said in run.said)]


# --- the supervisor -----------------------------------------------------------------------------


def watched(
    capture: Capture, goal: Callable[[list[Decision]], bool], stall_s: float = 30.0
) -> list[Decision]:
    """Supervise until the decisions so far are what is waited for."""
    file = load(capture.path)
    patient = ConnectClient(capture.environ["CALLSHEET_CONNECT_URL"], deadline_s=5)
    source = MysqlSource(Address.of(file.config, capture.environ))
    heard: list[Decision] = []
    end = time.monotonic() + 2 * PATIENCE_S
    with patient:
        supervise(
            [ConnectorWatch(file, patient, capture.topics, source)],
            Policy(stall_s=stall_s, backoff_minute_s=0.5),
            SystemClock(),
            report=lambda _, decision: heard.append(decision),
            stopped=lambda: goal(heard) or time.monotonic() > end,
            every_s=0.5,
        )
    assert goal(heard), [(d.health, d.action, d.reason) for d in heard[-10:]]
    return heard


def moved_after(*healths: Health) -> Callable[[list[Decision]], bool]:
    """Whether these came, in this order, and movement after them."""

    def is_reached(heard: list[Decision]) -> bool:
        left = [*healths, Health.MOVING]
        for decision in heard:
            if left and decision.health is left[0]:
                left.pop(0)
        return not left

    return is_reached


@pytest.mark.slow
def test_after_kill_9_of_connect_progress_is_seen_again_and_nothing_is_lost(
    capture: Capture, live_stack: Stack
) -> None:
    capture.apply()
    capture.commits_a_row()
    live_stack.kill("connect")
    capture.sql("INSERT INTO @@.titles VALUES (88, 'while it was dead')")
    before = capture.records()
    seen: list[Health] = []

    def goal(heard: list[Decision]) -> bool:
        seen[:] = [decision.health for decision in heard]
        if seen.count(Health.CONNECT_AWAY) == 1 and seen[-1] is Health.CONNECT_AWAY:
            live_stack.restart("connect")
        return moved_after(Health.CONNECT_AWAY)(heard) and capture.records() > before

    watched(capture, goal, stall_s=60)
    capture.commits_a_row()


@pytest.mark.slow
def test_a_task_that_failed_with_the_registry_is_restarted_when_that_is_back(
    capture: Capture, live_stack: Stack
) -> None:
    capture.apply(capture.file(None))
    live_stack.kill("registry")
    # A column added: its schema is not registered yet, so the converter needs the registry.
    capture.sql(
        "ALTER TABLE @@.titles ADD COLUMN gross DECIMAL(12,2)",
        "INSERT INTO @@.titles VALUES (99, 'new schema', 1.25)",
    )
    status = capture.connect.status
    try:
        until(lambda: (s := status(capture.name)) and s.failed, "the task fails")
        before = capture.records()
    finally:
        live_stack.restart("registry")
    heard = watched(capture, moved_after(Health.FAILED))
    assert any(decision.action == "restart failed" for decision in heard)
    until(lambda: capture.records() > before, "the row that failed")


@pytest.mark.slow
def test_a_task_that_hangs_while_it_claims_to_run_is_restarted(
    capture: Capture, live_stack: Stack
) -> None:
    """Connect's own lie: RUNNING, while the worker that says so does nothing."""
    # A lock on the heartbeat row: the query that writes it, and with it the reader, blocks.
    capture.apply(capture.file({"database.query.timeout.ms": "0"}))
    capture.commits_a_row()
    address = Address.of(load(capture.path).config, capture.environ)
    locker = pymysql.connect(
        host=address.host,
        port=address.port,
        user=capture.environ["CALLSHEET_MYSQL_ADMIN_USER"],
        password=capture.environ["CALLSHEET_MYSQL_ADMIN_PASSWORD"],
    )
    with locker, locker.cursor() as cursor:
        cursor.execute(f"LOCK TABLES {capture.name}.callsheet_heartbeat WRITE")
        heard = watched(capture, lambda all_: any(d.health is Health.STALLED for d in all_), 10.0)
    stalled = next(d for d in heard if d.health is Health.STALLED)
    assert stalled.action == "restart all"
    assert stalled.reason.startswith("RUNNING, but no progress")
    watched(capture, moved_after())
    capture.commits_a_row()


def test_the_supervisors_view_of_mysql_and_connector_agree(capture: Capture) -> None:
    capture.apply()
    file = load(capture.path)
    end = MysqlSource(Address.of(file.config, capture.environ)).position()

    def caught_up() -> bool:
        position = measure(capture.connect.offsets(capture.name), {}).position
        return position is not None and position >= end

    until(caught_up, "the connector reaches MySQL's position")
    stated = {topic.name for topic in load_topics(file)}
    assert set(capture.connect.topics(capture.name)) <= stated
