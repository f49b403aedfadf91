"""The stack manager on the real servers; the last tests break servers, and mend them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import psutil
import pymysql
import pytest

from callsheet.errors import PreconditionError, UsageError
from stack import DEFAULT_SERVERS, Ports, Stack, State
from stack.ports import is_free
from tests.unit.stack.fakes import Told

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 60.0


def states(stack: Stack) -> dict[str, State]:
    return {each.server: each.state for each in stack.status()}


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.05)


def call(method: str, url: str, body: object = None) -> Any:
    with httpx.Client(trust_env=False, timeout=30) as client:
        return client.request(method, url, json=body).raise_for_status().json()


def callsheet(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "callsheet.cli", *arguments],
        cwd=ROOT,
        env=os.environ | env,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def mended(live_stack: Stack) -> Iterator[Stack]:
    """For tests that break something: whatever they left, it works again afterwards."""
    yield live_stack
    live_stack.up()


def test_every_server_answers_through_its_api(live_stack: Stack) -> None:
    for each in live_stack.status():
        assert each.state is State.RUNNING, each
        assert each.version[0].isdecimal()
        assert each.memory_bytes > 100 << 20
        assert each.log.stat().st_size > 0


def test_everything_listens_on_loopback_only(live_stack: Stack) -> None:
    pids = {member.pid for name in DEFAULT_SERVERS for member in live_stack.processes(name)}
    addresses, ports = set(), set()
    for connection in psutil.net_connections("inet"):
        if connection.pid in pids and connection.status == psutil.CONN_LISTEN:
            address, port = cast("tuple[str, int]", connection.laddr)
            addresses.add(address.removeprefix("::ffff:"))
            ports.add(port)
    assert addresses == {"127.0.0.1"}
    assert ports <= set(live_stack.ports.as_dict().values())


def test_a_second_up_starts_nothing_and_needs_no_network(
    live_stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {each.server: each.pid for each in live_stack.status()}
    monkeypatch.setenv("PATH", "/nonexistent")  # neither mvn nor apt-get nor pip can be reached
    told = Told()
    live_stack.up(progress=told)
    assert {each.server: each.pid for each in live_stack.status()} == before
    assert told.said == []


def test_mysql_is_a_source_that_can_be_captured(stack_env: dict[str, str]) -> None:
    wanted = {
        "log_bin": 1,
        "binlog_format": "ROW",
        "binlog_row_image": "FULL",
        "binlog_row_metadata": "FULL",
        "binlog_transaction_compression": 0,
        "gtid_mode": "ON",
        "enforce_gtid_consistency": "ON",
        "time_zone": "+00:00",
    }
    with _admin(stack_env) as connection, connection.cursor() as cursor:
        for name, value in wanted.items():
            cursor.execute(f"SELECT @@GLOBAL.{name}")
            assert cursor.fetchone() == (value,), name


def test_root_has_a_password(stack_env: dict[str, str]) -> None:
    with pytest.raises(pymysql.MySQLError, match="Access denied"):
        _admin(stack_env | {"CALLSHEET_MYSQL_ADMIN_PASSWORD": ""})


def _admin(env: dict[str, str]) -> pymysql.Connection[Any]:
    return pymysql.connect(
        host=env["CALLSHEET_MYSQL_HOST"],
        port=int(env["CALLSHEET_MYSQL_PORT"]),
        user=env["CALLSHEET_MYSQL_ADMIN_USER"],
        password=env["CALLSHEET_MYSQL_ADMIN_PASSWORD"],
    )


def test_connect_has_debezium_and_the_avro_converter(stack_env: dict[str, str]) -> None:
    plugins = call(
        "GET", f"{stack_env['CALLSHEET_CONNECT_URL']}/connector-plugins?connectorsOnly=false"
    )
    classes = {plugin["class"] for plugin in plugins}
    assert "io.debezium.connector.mysql.MySqlConnector" in classes
    assert "io.confluent.connect.avro.AvroConverter" in classes


def test_connect_fills_in_the_stacks_variables_but_not_the_administrators(
    stack_env: dict[str, str],
) -> None:
    url = f"{stack_env['CALLSHEET_CONNECT_URL']}/connector-plugins/MySqlConnector/config/validate"

    def errors(password: str) -> list[str]:
        config = {
            "connector.class": "io.debezium.connector.mysql.MySqlConnector",
            "name": "trial",
            "topic.prefix": "trial",
            "database.hostname": "${env:CALLSHEET_MYSQL_HOST}",
            "database.port": "${env:CALLSHEET_MYSQL_PORT}",
            "database.server.id": "777",
            "database.user": "nobody_at_all",
            "database.password": password,
        }
        found = call("PUT", url, config)["configs"]
        values = (each["value"] or {} for each in found)
        return [error for value in values for error in value.get("errors", ())]

    # It reached MySQL, so host and port were filled in; this account does not exist.
    assert any("Access denied" in error for error in errors("${env:CALLSHEET_CAPTURE_PASSWORD}"))
    assert "CALLSHEET_MYSQL_ADMIN_PASSWORD" not in _environment_names(stack_env)


def _environment_names(stack_env: dict[str, str]) -> str:
    port = int(stack_env["CALLSHEET_CONNECT_URL"].rsplit(":", 1)[1])
    (pid,) = {
        connection.pid
        for connection in psutil.net_connections("tcp")
        if connection.laddr[1:] == (port,) and connection.status == psutil.CONN_LISTEN
    }
    return " ".join(psutil.Process(pid).environ())


def test_incompatible_schemas_are_refused_from_the_first_one_on(stack_env: dict[str, str]) -> None:
    registry = stack_env["CALLSHEET_REGISTRY_URL"]
    assert call("GET", f"{registry}/config")["compatibilityLevel"] == "BACKWARD"
    subject = f"{registry}/subjects/trial-{time.time_ns()}/versions"

    def register(fields: list[dict[str, str]]) -> int:
        schema = {"type": "record", "name": "R", "fields": fields}
        with httpx.Client(trust_env=False, timeout=30) as client:
            return client.post(subject, json={"schema": json.dumps(schema)}).status_code

    assert register([{"name": "a", "type": "int"}]) == 200
    assert register([{"name": "a", "type": "string"}]) == 409


def test_ports_cannot_change_under_running_servers(live_stack: Stack) -> None:
    with pytest.raises(UsageError, match="cannot change"):
        live_stack.up(ports=Ports.free())


def test_the_command_line_tells_the_same(live_stack: Stack) -> None:
    status = callsheet("stack", "status", "--stack", live_stack.name, "--json")
    assert status.returncode == 0, status.stderr
    states = {each["server"]: each["state"] for each in json.loads(status.stdout)}
    assert states.keys() >= set(DEFAULT_SERVERS)  # other tests may have asked for more
    assert set(states.values()) == {"running"}
    env = callsheet("stack", "env", "--stack", live_stack.name, "--json")
    assert json.loads(env.stdout) == live_stack.environment()
    logs = callsheet("stack", "logs", "kafka", "-n", "3", "--stack", live_stack.name)
    assert len(logs.stdout.splitlines()) == 3


def test_a_crash_is_told_and_repaired(mended: Stack) -> None:
    before = {each.server: each.pid for each in mended.status()}
    mended.kill("registry")
    assert states(mended)["registry"] is State.CRASHED
    status = callsheet("stack", "status", "--stack", mended.name)
    assert status.returncode == 1
    assert "crashed" in status.stdout
    mended.up()
    after = {each.server: each.pid for each in mended.status()}
    assert set(states(mended).values()) == {State.RUNNING}
    assert {name for name in before if before[name] != after[name]} == {"registry"}


def test_schema_ids_survive_a_restart_of_the_registry(
    mended: Stack, stack_env: dict[str, str]
) -> None:
    registry = stack_env["CALLSHEET_REGISTRY_URL"]
    subject = f"{registry}/subjects/lasting-{time.time_ns()}/versions"
    number = call("POST", subject, {"schema": '"string"'})["id"]
    mended.kill("registry")
    mended.up()
    assert call("GET", f"{registry}/schemas/ids/{number}")["schema"] == '"string"'


def test_a_frozen_server_is_told_and_goes_on(mended: Stack) -> None:
    before = {each.server: each.pid for each in mended.status()}
    mended.pause("elasticsearch")
    assert states(mended)["elasticsearch"] is State.PAUSED
    mended.resume("elasticsearch")
    until(lambda: states(mended)["elasticsearch"] is State.RUNNING)
    assert {each.server: each.pid for each in mended.status()} == before


def test_a_launcher_that_dies_leaves_nothing_behind(mended: Stack) -> None:
    launcher, *children = mended.processes("elasticsearch")
    assert children, "the launcher has the server as its child"
    launcher.kill()
    until(lambda: states(mended)["elasticsearch"] is State.CRASHED)
    mended.up(["elasticsearch"])
    assert states(mended)["elasticsearch"] is State.RUNNING
    assert not any(each.is_running() for each in children)


@pytest.fixture
def second(live_stack: Stack) -> Iterator[Stack]:
    stack = Stack.named(f"{live_stack.name}-second")
    stack.down(purge=True)
    yield stack
    stack.down(purge=True)


def test_two_stacks_run_side_by_side_and_down_really_ends_one(
    live_stack: Stack, second: Stack
) -> None:
    second.up(["kafka"], ports=Ports.free())
    running = {each.server for each in second.status() if each.state is State.RUNNING}
    assert running == {"kafka"}
    processes = second.processes("kafka")
    told = Told()
    second.down(told)
    assert told.said == ["kafka: stopping"]
    assert not any(each.is_running() for each in processes)
    assert is_free(second.ports.kafka)
    assert set(states(live_stack).values()) == {State.RUNNING}


def test_a_port_taken_by_a_stranger_is_named(live_stack: Stack, second: Stack) -> None:
    ports = Ports.free().with_ports({"kafka": live_stack.ports.kafka})
    with pytest.raises(PreconditionError) as caught:
        second.up(["kafka"], ports=ports)
    assert f"Port {live_stack.ports.kafka} for kafka is taken by java (pid" in caught.value.message
    assert "--port kafka=PORT" in caught.value.hint


def test_an_up_that_is_interrupted_is_continued_by_the_next(second: Stack) -> None:
    up = [sys.executable, "-m", "callsheet.cli", "stack", "up", "mysql", "kafka"]
    with subprocess.Popen(
        [*up, "--stack", second.name, "--port-base", "auto"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert "starting" in process.stderr.readline()
        process.send_signal(2)
        said = process.stderr.read()
    assert process.returncode == 130, said
    assert "Interrupted" in said
    assert "Traceback" not in said
    second.up(["mysql", "kafka"])
    assert {each.server for each in second.status() if each.state is State.RUNNING} == {
        "mysql",
        "kafka",
    }


@pytest.mark.slow
def test_hive_starts_when_asked_for(second: Stack) -> None:
    assert "hive" not in states(second)
    try:
        second.up(["hive"], ports=Ports.free())
    except PreconditionError as error:
        pytest.skip(error.message)  # it needs a Java that nothing else does
    assert states(second)["hive"] is State.RUNNING
