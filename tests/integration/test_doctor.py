"""`callsheet doctor` and `apply` before real MySQL servers that cannot be captured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from stack import Stack
from tests.support.capture import Capture
from tests.support.main_job_files import CHECKOUT
from tests.support.second_mysql import SecondMysql, a_second_mysql

PRECONDITION = 75


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


@pytest.fixture
def binlogless(live_stack: Stack, tmp_path: Path) -> Iterator[SecondMysql]:
    with a_second_mysql(live_stack, tmp_path) as mysql:
        yield mysql


def test_a_mysql_without_binlog_is_refused_with_the_setting(
    binlogless: SecondMysql, capture: Capture
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
