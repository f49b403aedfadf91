"""A snapshot and what others do to its tables meanwhile."""

from __future__ import annotations

import threading

from tests.support.capture import Capture
from tests.support.polling import until

ROWS = 30
SECONDS_EACH = 0.2


def test_ddl_that_waits_for_a_snapshot_does_not_stop_it(capture: Capture) -> None:
    """The snapshot's thread writes the heartbeat's row as well. DDL stands between the two: it
    waits for the locks of the one, and the other waits behind it.
    """
    capture.sql(*(f"INSERT INTO @@.titles VALUES ({n}, 'x')" for n in range(100, 100 + ROWS)))
    table = f"{capture.name}.titles"
    slow = {
        "snapshot.select.statement.overrides": table,
        f"snapshot.select.statement.overrides.{table}": (
            f"SELECT * FROM {table} WHERE SLEEP({SECONDS_EACH}) = 0"
        ),
        "heartbeat.interval.ms": "100",
    }
    waiting = threading.Event()

    def alter_the_schema() -> None:
        until(lambda: reads(capture), "the snapshot reads")
        waiting.set()
        capture.sql("CREATE DATABASE IF NOT EXISTS @@")

    other = threading.Thread(target=alter_the_schema, daemon=True)
    other.start()
    capture.apply(capture.file(slow))
    assert waiting.wait(60)
    until(lambda: capture.records() >= ROWS, "the snapshot ends")
    other.join(60)
    assert not other.is_alive(), "the DDL has its turn"
    capture.commits_a_row()


def reads(capture: Capture) -> bool:
    asked = "SELECT 1 FROM information_schema.processlist WHERE user = '@@' AND info LIKE '%SLEEP%'"
    return bool(capture.ask(asked))
