"""Applying, pausing, resetting and deleting a connector on the real Connect."""

from __future__ import annotations

import pytest

from callsheet.errors import (
    ConfigError,
    FatalError,
    PreconditionError,
)
from callsheet.ports import SystemClock
from connectors.plan import Action
from connectors.responses import State
from connectors.restarts import start_over
from tests.support.capture import Capture
from tests.support.polling import until


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
