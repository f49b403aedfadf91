"""Plan and apply against a Kafka Connect in memory that behaves as the real one was seen to."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import httpx
import pytest

from callsheet.doctor import Finding
from callsheet.errors import ConfigError, FatalError, PreconditionError, UnavailableError
from callsheet.kafka.topics import TopicState
from connectors.apply import Applier
from connectors.client import ConnectClient
from connectors.files import ConnectorFile, load
from connectors.plan import Action, compare
from connectors.progress import BinlogPosition
from connectors.responses import State, Validation
from connectors.validation import validation_faults
from tests.unit.connectors.builders import (
    FINANCE,
    FakeClock,
    FakeTopics,
    a_connector,
    write_connector,
)
from tests.unit.connectors.test_traces import DENIED


class FakeConnect:
    """One connector's life: Connect keeps the offsets of a deleted one."""

    def __init__(self) -> None:
        self.config: dict[str, str] | None = None
        self.state = "RUNNING"
        self.trace = ""
        self.stuck = False
        self.offset: dict[str, Any] | None = None
        self.errors: dict[str, list[str]] = {}
        self.written: list[str] = []
        self.changes: list[str] = []
        self.known = set(json.loads(FINANCE.read_text())["config"])

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path, body = request.url.path, json.loads(request.content or b"null")
        if request.method != "GET" and not path.endswith("/validate"):
            self.changes.append(f"{request.method} {path}")
        for (method, pattern), handle in self._routes().items():
            if method == request.method and re.fullmatch(pattern, path):
                return handle(body)
        raise AssertionError(f"unexpected {request.method} {path}")

    def _routes(self) -> dict[tuple[str, str], Callable[[Any], httpx.Response]]:
        one = "/connectors/finance-mysql"
        return {
            ("GET", "/connectors"): lambda _: self._list(),
            ("POST", "/connectors"): self._create,
            ("PUT", "/connector-plugins/.*/config/validate"): lambda _: self._validate(),
            ("PUT", f"{one}/config"): self._put,
            ("PUT", f"{one}/resume"): lambda _: self._resume(),
            ("GET", f"{one}/status"): lambda _: self._status(),
            ("GET", f"{one}/offsets"): lambda _: self._offsets(),
            ("GET", f"{one}/topics"): lambda _: self._ok(
                {"finance-mysql": {"topics": self.written}}
            ),
        }

    def _ok(self, body: object) -> httpx.Response:
        return httpx.Response(200, json=body)

    def _create(self, body: Any) -> httpx.Response:
        self.config, self.state = body["config"], body["initial_state"]
        return httpx.Response(201, json={})

    def _put(self, body: Any) -> httpx.Response:
        self.config, self.trace = body, ""
        return self._ok({})

    def _resume(self) -> httpx.Response:
        self.state = "RUNNING"
        return httpx.Response(202)

    def _list(self) -> httpx.Response:
        if self.config is None:
            return self._ok({})
        info = {"config": {**self.config, "name": "finance-mysql"}}
        return self._ok({"finance-mysql": {"info": info, "status": self._status().json()}})

    def _status(self) -> httpx.Response:
        task = "FAILED" if self.trace else self.state
        tasks = [{"id": 0, "state": task, "worker_id": "w", "trace": self.trace}]
        return self._ok(
            {
                "name": "finance-mysql",
                "connector": {"state": self.state, "worker_id": "w"},
                "tasks": [] if self.state == "STOPPED" else tasks,
            }
        )

    def _offsets(self) -> httpx.Response:
        if self.config is None:
            return httpx.Response(404, json={"message": "Connector finance-mysql not found"})
        if self.state == "RUNNING" and not self.trace and not self.stuck:
            pos = (self.offset or {"pos": 0})["pos"] + 100
            self.offset = {"file": "binlog.000007", "pos": pos}
            self.written = ["studio.finance.titles"]
        entries = [{"partition": {"server": "studio"}, "offset": self.offset}]
        return self._ok({"offsets": entries if self.offset else []})

    def _validate(self) -> httpx.Response:
        configs = [
            {"definition": {"name": name}, "value": {"name": name, "errors": errors}}
            for name in sorted(self.known)
            for errors in [self.errors.get(name, [])]
        ]
        return self._ok({"configs": configs})


class FakeSurvey:
    """Fit, but for a connector that has run and lost its history."""

    def __init__(self) -> None:
        self.extra: list[Finding] = []
        self.committed: list[BinlogPosition | None] = []

    def findings(
        self,
        file: ConnectorFile,
        *,
        committed: BinlogPosition | None = None,
        history: TopicState | None = None,
    ) -> list[Finding]:
        self.committed.append(committed)
        lost = Finding("kafka", "history", "fail", "is gone", "recover it")
        return [*self.extra, *([lost] if committed and history is None else [])]


class FakeSubjects:
    def __init__(self) -> None:
        self.open: list[str] = []

    def accept_any(self, file: ConnectorFile, topics: Iterable[str]) -> None:
        self.open += topics


class World:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.connect, self.topics, self.survey = FakeConnect(), FakeTopics(), FakeSurvey()
        self.clock, self.subjects = FakeClock(), FakeSubjects()
        self.applier = Applier(
            ConnectClient(
                "http://connect:8083",
                transport=httpx.MockTransport(self.connect),
                clock=self.clock,
            ),
            self.topics,
            self.survey,
            self.clock,
            subjects=self.subjects,
            wait_s=30,
        )

    def file(self, **changes: object) -> ConnectorFile:
        return a_connector(self.folder, {k.replace("_", "."): v for k, v in changes.items()})


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_create_then_nothing_to_do(world: World) -> None:
    file = world.file()
    (first,) = world.applier.apply([file])
    assert (first.action, first.state) == (Action.CREATE, State.RUNNING)
    assert world.connect.changes == ["POST /connectors", "PUT /connectors/finance-mysql/resume"]
    assert world.topics.states["studio.finance.titles"].partitions == 4
    assert world.applier.plan([file]).empty
    (second,) = world.applier.apply([file])
    assert second.action is Action.UNCHANGED
    assert len(world.connect.changes) == 2


def test_planning_changes_nothing(world: World) -> None:
    plan = world.applier.plan([world.file()])
    assert [entry.action for entry in plan.connectors] == [Action.CREATE]
    assert len(plan.topics["finance-mysql"].create) == 13
    assert world.connect.changes == []
    assert world.topics.states == {}
    assert world.subjects.open == []


def test_each_topic_takes_any_schema_before_the_connector_runs(world: World) -> None:
    world.applier.apply([world.file()])
    assert set(world.subjects.open) == set(world.topics.states)


def test_an_update_shows_its_differences_and_puts_them(world: World) -> None:
    world.applier.apply([world.file()])
    changed = world.file(poll_interval_ms="20")
    (entry,) = world.applier.plan([changed]).connectors
    assert [(c.setting, c.before, c.after) for c in entry.changes] == [
        ("poll.interval.ms", "5", "20")
    ]
    (outcome,) = world.applier.apply([changed])
    assert outcome.action is Action.UPDATE
    assert world.connect.config is not None
    assert world.connect.config["poll.interval.ms"] == "20"


def test_a_connector_in_no_file_is_shown_and_left_alone(world: World, tmp_path: Path) -> None:
    world.applier.apply([world.file()])
    other = load(write_connector(tmp_path, name="other"))
    plan = world.applier.plan([other])
    assert {e.name: e.action for e in plan.connectors} == {
        "finance-mysql": Action.ORPHAN,
        "other": Action.CREATE,
    }


def test_an_unfit_mysql_is_refused_before_anything_changes(world: World) -> None:
    world.survey.extra = [
        Finding("mysql", "gtid_mode", "fail", "is OFF", "Set gtid_mode=ON."),
        Finding("mysql", "time_zone", "warn", "is CET"),
    ]
    with pytest.raises(PreconditionError, match="gtid_mode: is OFF") as caught:
        world.applier.apply([world.file()])
    assert "time_zone" not in caught.value.message
    assert caught.value.hint == "Set gtid_mode=ON."
    assert world.connect.changes == []
    assert world.topics.states == {}


def test_connects_complaints_come_field_by_field_before_anything_changes(world: World) -> None:
    world.connect.errors = {"max.batch.size": ["must be a number", "must be positive"]}
    with pytest.raises(ConfigError) as caught:
        world.applier.apply([world.file()])
    assert [(fault.path, fault.message) for fault in caught.value.faults] == [
        ("max.batch.size", "must be a number"),
        ("max.batch.size", "must be positive"),
    ]
    assert caught.value.faults[0].line > 1
    assert world.connect.changes == []
    assert world.topics.states == {}


def test_a_misspelt_setting_is_a_fault(world: World) -> None:
    file = a_connector(world.folder, {"max.bach.size": "1", "producer.override.acks": "all"})
    known = frozenset(file.config) - {"max.bach.size"}
    (fault,) = validation_faults(file, Validation(known=known))
    assert fault.path == "max.bach.size"
    assert "did you mean max.batch.size" in fault.message


def test_offsets_of_an_earlier_connector_are_looked_at_before_a_new_one_runs(world: World) -> None:
    world.connect.offset = {"file": "binlog.000003", "pos": 4}  # left by a deleted connector
    with pytest.raises(PreconditionError, match="history: is gone"):
        world.applier.apply([world.file()])
    assert world.survey.committed == [None, BinlogPosition(3, 4, "binlog.000003")]
    assert world.connect.state == "STOPPED"
    assert world.topics.states == {}
    with pytest.raises(PreconditionError):  # and it is not forgotten
        world.applier.apply([world.file()])
    world.connect.offset = None  # `offsets reset`
    (outcome,) = world.applier.apply([world.file()])
    assert outcome.state is State.RUNNING


def test_an_apply_interrupted_after_creating_goes_on(world: World) -> None:
    file = world.file()
    world.connect.config, world.connect.state = dict(file.config), "STOPPED"
    (outcome,) = world.applier.apply([file])
    assert (outcome.action, outcome.state) == (Action.UNCHANGED, State.RUNNING)
    assert world.connect.changes == ["PUT /connectors/finance-mysql/resume"]


@pytest.mark.parametrize("state", ["PAUSED", "STOPPED"])
def test_what_somebody_paused_stays_paused(world: World, state: str) -> None:
    world.applier.apply([world.file()])
    world.connect.state = state
    (outcome,) = world.applier.apply([world.file(poll_interval_ms="20")])
    assert outcome.state is State[state]
    assert "PUT /connectors/finance-mysql/config" in world.connect.changes
    assert world.connect.state == state


def test_a_failure_names_its_root_cause_and_what_to_do(world: World) -> None:
    world.applier.apply([world.file()])
    world.connect.trace = DENIED
    with pytest.raises(FatalError, match="Access denied for user") as caught:
        world.applier.apply([world.file()])
    assert "password" in caught.value.hint


def test_a_failure_of_the_time_before_a_change_does_not_count(world: World) -> None:
    world.applier.apply([world.file()])
    world.connect.trace = DENIED
    (outcome,) = world.applier.apply([world.file(poll_interval_ms="20")])
    assert outcome.state is State.RUNNING


def test_running_without_progress_is_not_enough(world: World) -> None:
    world.connect.stuck = True
    with pytest.raises(UnavailableError, match="no progress in 30 s; it is RUNNING"):
        world.applier.apply([world.file()])


def test_secrets_are_masked_in_differences() -> None:
    (change,) = compare({"database.password": "hunter2"}, {"database.password": "${env:X}"})
    assert change.before == "********"
    assert change.after == "${env:X}"


def test_a_url_in_clear_is_planned_without_user_and_password() -> None:
    setting = "value.converter.schema.registry.url"
    before, after = "http://bob:hunter2@old", "http://bob:hunter3@new:8081,http://eve:pw@two"
    (change,) = compare({setting: before}, {setting: after})
    assert change.before == "http://old"
    assert change.after == "http://new:8081,http://two"
