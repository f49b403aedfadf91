"""The supervisor, and what it sees when servers die, fail or hang."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pymysql
import pytest

from callsheet.ports import SystemClock
from connectors.client import ConnectClient
from connectors.files import load
from connectors.progress import measure
from connectors.source import Address, MysqlSource
from connectors.supervisor import Decision, Health, Policy, supervise
from connectors.topics import load_topics
from connectors.watch import ConnectorWatch
from stack import Stack
from tests.support.capture import Capture
from tests.support.polling import PATIENCE_S, until


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
    # A lock on the heartbeat row: the query that writes it, and with it the reader, blocks. As
    # shipped, it waits for a second only.
    query = json.loads(capture.write().read_text())["config"]["heartbeat.action.query"]
    patient = query.replace("lock_wait_timeout=1)", "lock_wait_timeout=600)")
    assert patient != query
    capture.apply(
        capture.file({"database.query.timeout.ms": "0", "heartbeat.action.query": patient})
    )
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
