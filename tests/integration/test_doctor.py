"""`callsheet doctor` and `apply` before real MySQL servers that cannot be captured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pymysql
import pytest

from stack import Ports, Stack
from tests.support.capture import Capture
from tests.support.main_job_files import CHECKOUT
from tests.support.polling import until

PRECONDITION = 75
_CAPTURE = ("--server-id", "--log-bin", "--binlog-", "--gtid-mode", "--enforce-gtid-consistency")
_PLACES = ("--datadir", "--port", "--pid-file", "--init-file", "--tmpdir", "--user")


@pytest.fixture
def capture(stack_env: dict[str, str], tmp_path: Path) -> Iterator[Capture]:
    made = Capture(stack_env, tmp_path)
    try:
        made.create_database()
        yield made
    finally:
        made.close()


def call(environ: Mapping[str, str], *arguments: str) -> tuple[int, str]:
    """Its exit code, and all it said."""
    done = subprocess.run(
        [sys.executable, "-m", "callsheet.cli", *arguments],
        cwd=CHECKOUT, env={**os.environ, **environ, "CALLSHEET_STACK": "none"},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    for name, secret in environ.items():
        assert not name.endswith("_PASSWORD") or not secret or secret not in said, name
    return done.returncode, said


def findings(environ: Mapping[str, str], file: Path) -> dict[str, dict[str, Any]]:
    """What doctor says is to be mended in MySQL."""
    code, said = call(environ, "doctor", "--connectors", str(file), "--json")
    failed = [each for each in json.loads(said) if each["level"] == "fail"]
    assert code == (PRECONDITION if failed else 0)
    return {each["name"]: each for each in failed if each["area"] == "mysql"}


def test_a_fit_mysql_has_nothing_to_mend(capture: Capture) -> None:
    assert findings(capture.environ, capture.write()) == {}


def test_a_wrong_password_is_named_and_not_shown(capture: Capture) -> None:
    environ = {**capture.environ, "CALLSHEET_CAPTURE_PASSWORD": "open-sesame"}
    (found,) = findings(environ, capture.write()).values()
    assert f"refuses the user '{capture.name}'" in found["message"]
    assert "CALLSHEET_CAPTURE_PASSWORD" in found["hint"]


def test_a_missing_right_is_named(capture: Capture) -> None:
    capture.sql("REVOKE REPLICATION SLAVE ON *.* FROM @@")
    (found,) = findings(capture.environ, capture.write()).values()
    assert "REPLICATION SLAVE" in f"{found['message']} {found['hint']}"


def test_a_table_without_primary_key_is_named(capture: Capture) -> None:
    capture.sql("CREATE TABLE @@.keyless (a INT)")
    (found,) = findings(capture.environ, capture.write(None, "keyless")).values()
    assert f"{capture.name}.keyless" in found["message"]


# --- a server that writes no binlog -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mysqld:
    port: int

    def connect(self) -> pymysql.Connection[Any]:
        return pymysql.connect(host="127.0.0.1", port=self.port, user="root", autocommit=True)

    def is_up(self) -> bool:
        try:
            self.connect().close()
        except pymysql.MySQLError:
            return False
        return True


@pytest.fixture
def binlogless(live_stack: Stack, tmp_path: Path) -> Iterator[Mysqld]:
    """The stack's own mysqld started once more, elsewhere and without what capture rests on."""
    (status,) = [each for each in live_stack.status() if each.server == "mysql"]
    assert status.pid is not None
    running = psutil.Process(status.pid).cmdline()
    kept = [word for word in running if not word.startswith((*_CAPTURE, *_PLACES))]
    port = Ports.free().mysql
    argv = [
        *kept, f"--datadir={tmp_path / 'data'}", f"--tmpdir={tmp_path}", f"--port={port}",
        f"--pid-file={tmp_path / 'pid'}", "--user=root", "--disable-log-bin", "--server-id=1",
        "--innodb-buffer-pool-size=32M", "--performance-schema=OFF",
    ]  # fmt: skip
    with (tmp_path / "log").open("wb") as log:
        subprocess.run([*argv, "--initialize-insecure"], check=True, stderr=log, timeout=120)
        process = subprocess.Popen(argv, stderr=log, stdout=log)
    try:
        mysqld = Mysqld(port)
        until(mysqld.is_up, "the second MySQL answers")
        yield mysqld
    finally:
        process.terminate()
        process.wait(60)


def test_a_mysql_without_binlog_is_refused_with_the_setting(
    binlogless: Mysqld, capture: Capture
) -> None:
    environ = {**capture.environ, "CALLSHEET_MYSQL_PORT": str(binlogless.port)}
    # As on the server that can be captured: accounts, tables and rights are right.
    there = Capture({**environ, "CALLSHEET_MYSQL_ADMIN_PASSWORD": ""}, capture.folder, capture.name)
    there.create_database()
    file = there.write()
    del environ["CALLSHEET_MYSQL_ADMIN_PASSWORD"]

    found = findings(environ, file)
    assert "log_bin" in found
    assert "log_bin" in f"{found['log_bin']['message']} {found['log_bin']['hint']}"
    code, said = call(environ, "connectors", "apply", str(file))
    assert code == PRECONDITION
    assert "log_bin" in said
    assert capture.connect.config(capture.name) is None, "nothing was changed"
    assert capture.topics.describe([capture.titles]) == {}
    there.connect.close()
