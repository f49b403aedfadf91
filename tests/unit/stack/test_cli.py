"""`callsheet stack` without servers: its options, its words, its exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from callsheet.cli import stack as command
from callsheet.errors import PreconditionError, UsageError
from stack import DEFAULT_SERVERS, Ports, Stack, environment
from stack.jdk import JdkSearch


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLSHEET_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("CALLSHEET_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("CALLSHEET_STACK", raising=False)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command.app, arguments)


def made(name: str = "dev") -> Stack:
    stack = Stack.named(name)
    (stack.home / "logs").mkdir(parents=True)
    ports = Ports.free()
    (stack.home / "ports.json").write_text(json.dumps(ports.as_dict()))
    environment.write(stack.environment_file, ports)
    return stack


def test_status_as_json_has_all_that_a_machine_wants() -> None:
    made()
    result = run("status", "--json")
    assert result.exit_code == 0
    servers = json.loads(result.stdout)
    assert [each["server"] for each in servers] == list(DEFAULT_SERVERS)
    assert servers[0].keys() == {
        "server", "state", "address", "version", "pid", "memory_bytes", "log", "detail",
    }  # fmt: skip


def test_status_for_people_keeps_addresses_whole_in_a_pipe() -> None:
    stack = made()
    result = run("status")
    assert f"http://127.0.0.1:{stack.ports.registry}/apis/ccompat/v7" in result.stdout


def test_the_stack_is_chosen_by_option_or_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    other = made("other")
    assert json.loads(run("env", "--stack", "other", "--json").stdout) == other.environment()
    monkeypatch.setenv("CALLSHEET_STACK", "other")
    assert json.loads(run("env", "--json").stdout) == other.environment()
    monkeypatch.delenv("CALLSHEET_STACK")
    assert isinstance(run("env").exception, PreconditionError)


def test_the_environment_can_be_taken_over_by_a_shell() -> None:
    stack = made()
    lines = run("env", "--export").stdout.splitlines()
    assert f"export CALLSHEET_MYSQL_PORT={stack.ports.mysql}" in lines
    assert all(line.startswith("export CALLSHEET_") for line in lines)


def test_the_end_of_a_log() -> None:
    stack = made()
    stack.log("kafka").write_text("".join(f"line {n}\n" for n in range(100)))
    assert run("logs", "kafka", "-n", "2").stdout == "line 98\nline 99\n"
    assert isinstance(run("logs", "mysql").exception, UsageError)


def test_destroy_asks_before_it_removes_data() -> None:
    stack = made()
    refused = run("destroy")
    assert isinstance(refused.exception, UsageError)
    assert stack.home.exists()
    assert run("destroy", "--yes").exit_code == 0
    assert not stack.home.exists()


def test_down_keeps_the_data_unless_told_otherwise() -> None:
    stack = made()
    assert run("down").exit_code == 0
    assert stack.home.exists()
    assert run("down", "--purge").exit_code == 0
    assert not stack.home.exists()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], dict[str, Any]]]:
    calls: list[tuple[list[str], dict[str, Any]]] = []

    def up(_self: Stack, names: list[str], _progress: object, **options: Any) -> None:
        calls.append((names, options))

    monkeypatch.setattr(Stack, "up", up)
    return calls


Asked = list[tuple[list[str], dict[str, Any]]]


def test_up_starts_all_and_more_on_request(asked: Asked) -> None:
    run("up")
    run("up", "--with", "hive")
    run("up", "kafka", "mysql")
    assert [names for names, _ in asked] == [
        [*DEFAULT_SERVERS],
        [*DEFAULT_SERVERS, "hive"],
        ["kafka", "mysql"],
    ]
    assert [options["ports"] for _, options in asked] == [None] * 3


def test_ports_by_base_by_name_and_by_themselves(asked: Asked) -> None:
    run("up", "--port-base", "30000", "--port", "kafka=40000")
    run("up", "--port", "mysql=3306")
    run("up", "--port-base", "auto")
    by_base, by_name, auto = [options["ports"] for _, options in asked]
    assert by_base == Ports.from_base(30_000).with_ports({"kafka": 40_000})
    assert by_name == Ports().with_ports({"mysql": 3306})
    assert 20_000 <= auto.mysql < 32_000


def test_auto_keeps_the_ports_of_a_stack_that_has_some(asked: Asked) -> None:
    stack = made()
    run("up", "--port-base", "auto")
    assert asked[0][1]["ports"] == stack.ports


@pytest.mark.parametrize(
    "arguments",
    [
        ["--port-base", "many"],
        ["--port-base", "80"],
        ["--port", "kafka"],
        ["--port", "kafka=0"],
        ["--port", "kafak=4000"],
    ],
)
def test_a_port_that_is_none_is_refused(arguments: list[str], asked: Asked) -> None:
    assert isinstance(run("up", *arguments).exception, UsageError)
    assert asked == []


@pytest.mark.parametrize(("java", "is_enough"), [("", False), ("17.0.9", False), ("25.0.1", True)])
def test_up_without_a_fitting_java_names_it_before_anything_is_fetched(
    java: str, is_enough: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "jdk"
    if java:
        (home / "bin").mkdir(parents=True)
        (home / "bin" / "java").touch()
        (home / "release").write_text(f'JAVA_VERSION="{java}"\nMODULES="java.base"\n')
    monkeypatch.setattr(JdkSearch, "_homes", lambda _self: iter([home]))

    def fetch(*_: object) -> None:
        raise UsageError("fetched")

    monkeypatch.setattr(Stack, "fetch", fetch)
    error = run("up", "kafka", "registry").exception
    if is_enough:
        assert isinstance(error, UsageError), "the next step"
        return
    assert isinstance(error, PreconditionError)
    assert error.message == "Schema Registry needs Java 21 or newer, and none was found."
    assert "nstall" in error.hint
