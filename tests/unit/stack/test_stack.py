from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from callsheet.errors import PreconditionError, UsageError
from stack import DEFAULT_SERVERS, Ports, Stack, State, environment
from stack.inspection import machine_findings
from stack.locks import exclusive
from stack.store import Store
from tests.unit.stack.fakes import Told


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {
        "CALLSHEET_CACHE_DIR": str(tmp_path / "cache"),
        "CALLSHEET_STATE_DIR": str(tmp_path / "state"),
        "HOME": str(tmp_path),
        "PATH": "",
    }


def test_the_name_comes_from_the_caller_then_the_environment_then_dev(env: dict[str, str]) -> None:
    assert Stack.named("mine", env).name == "mine"
    assert Stack.named("", env | {"CALLSHEET_STACK": "other"}).name == "other"
    assert Stack.named("", env).name == "dev"


@pytest.mark.parametrize("name", ["../evil", "A", "a b", "-a", "x" * 50])
def test_a_name_is_a_plain_word(name: str, env: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        Stack.named(name, env)


def test_what_was_never_started_is_stopped_and_has_no_environment(env: dict[str, str]) -> None:
    stack = Stack.named("fresh", env)
    assert [each.server for each in stack.status()] == list(DEFAULT_SERVERS)
    assert not stack.is_made
    with pytest.raises(PreconditionError, match="no stack named fresh"):
        stack.environment()
    stack.down(purge=True)
    assert not stack.home.exists()


def test_an_unknown_server_is_named(env: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="mysq") as caught:
        Stack.named("x", env).fetch(["mysq"])
    assert "elasticsearch" in caught.value.hint
    with pytest.raises(UsageError):
        Stack.named("x", env).log("mysq")


def test_ports_and_passwords_last(env: dict[str, str]) -> None:
    stack = Stack.named("x", env)
    stack.home.mkdir(parents=True)
    ports = Ports.from_base(31_000)
    (stack.home / "ports.json").write_text(json.dumps(ports.as_dict()))
    environment.write(stack.environment_file, ports)
    again = Stack.named("x", env)
    assert again.ports == ports
    assert again.environment()["CALLSHEET_MYSQL_PORT"] == "31000"


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"kafka": "x"}', '{"kafka": 99999}', '{"kafka": 0}', "\0", ""],
)
def test_damaged_ports_are_told_with_their_file(env: dict[str, str], text: str) -> None:
    stack = Stack.named("x", env)
    stack.home.mkdir(parents=True)
    (stack.home / "ports.json").write_text(text)
    with pytest.raises(PreconditionError, match=r"x/ports\.json is damaged") as caught:
        stack.status()
    assert "remove it" in caught.value.hint


def test_a_damaged_record_of_a_process_is_told(env: dict[str, str]) -> None:
    stack = Stack.named("x", env)
    (stack.home / "kafka").mkdir(parents=True)
    (stack.home / "kafka" / "process.json").write_text('{"pid": "1"}')
    with pytest.raises(PreconditionError, match=r"kafka/process\.json is damaged") as caught:
        stack.status()
    assert "Remove it" in caught.value.hint


def test_what_was_never_up_is_not_restarted(env: dict[str, str]) -> None:
    stack = Stack.named("fresh", env)
    with pytest.raises(PreconditionError, match="no stack named fresh") as caught:
        stack.restart("mysql")
    assert "callsheet stack up" in caught.value.hint
    with pytest.raises(UsageError, match="mysq"):
        stack.restart("mysq")
    assert not stack.home.exists()


def test_what_was_never_fetched_is_not_restarted(env: dict[str, str]) -> None:
    stack = made("x", env)
    with pytest.raises(PreconditionError, match="HiveServer2 is not here") as caught:
        stack.restart("hive")
    assert "callsheet stack up hive" in caught.value.hint


def made(name: str, env: dict[str, str]) -> Stack:
    stack = Stack.named(name, env)
    stack.home.mkdir(parents=True)
    environment.write(stack.environment_file, Ports())
    return stack


class Restarted:
    """In place of a server's runner."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def stop(self, *_: object) -> None:
        self.done.append("stop")

    def ensure(self, *_: object) -> None:
        self.done.append("start")


def test_a_restart_waits_for_another_callsheet(
    env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stack, runner, told = made("x", env), Restarted(), Told()
    monkeypatch.setattr(Store, "missing", lambda *_: [])
    monkeypatch.setattr(Stack, "_runner", lambda *_: runner)
    with exclusive(stack.home / "lock", lambda: None):
        thread = threading.Thread(target=stack.restart, args=("mysql", told))
        thread.start()
        while not told.said:
            assert thread.is_alive()
        assert "Another callsheet works on the stack x" in told.said[0]
        assert runner.done == []
    thread.join()
    assert runner.done == ["stop", "start"]


def test_several_lie_side_by_side(env: dict[str, str]) -> None:
    one, two = Stack.named("one", env), Stack.named("two", env)
    assert one.home != two.home
    assert one.log("kafka") != two.log("kafka")


def test_down_removes_what_up_made_and_nothing_else(env: dict[str, str]) -> None:
    one, two = Stack.named("one", env), Stack.named("two", env)
    for stack in (one, two):
        stack.home.mkdir(parents=True)
    one.down(purge=True)
    assert not one.home.exists()
    assert two.home.exists()


def test_a_missing_java_is_said_before_anything_is_fetched(
    env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stack.setup.JdkSearch", lambda *_: NoJdks())
    monkeypatch.setenv("PATH", "/nonexistent")
    stack = Stack.named("x", env)
    with pytest.raises(PreconditionError, match="needs Java 17 or newer"):
        stack.up(["kafka"])
    assert not stack.home.exists()
    assert not Path(env["CALLSHEET_CACHE_DIR"]).exists()


class NoJdks:
    def choose(self, *_: object, **__: object) -> None:
        return None


def test_the_machines_findings_say_what_to_do(
    env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr("stack.setup.JdkSearch", lambda *_: NoJdks())
    findings = {each.name: each for each in machine_findings(env)}
    for name in ("mvn", "apt-get", "java for kafka", "java for elasticsearch"):
        assert findings[name].level == "fail"
        assert findings[name].hint
    assert findings["downloads"].level == "warn"
    assert findings["platform"].level == "ok"


def test_another_system_is_sent_to_the_containers(
    env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    with pytest.raises(PreconditionError, match="arm64") as caught:
        Stack.named("x", env).fetch()
    assert "docker compose" in caught.value.hint
    platform = next(each for each in machine_findings(env) if each.name == "platform")
    assert platform.level == "fail"


def test_all_are_stopped_at_first(env: dict[str, str]) -> None:
    ports = Ports.free()
    stack = Stack.named("x", env)
    stack.home.mkdir(parents=True)
    (stack.home / "ports.json").write_text(json.dumps(ports.as_dict()))
    assert {each.state for each in stack.status()} == {State.STOPPED}
    assert {each.detail for each in stack.status()} == {""}
