"""The stack's own mysqld started once more, elsewhere and with other options."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil
import pymysql

from stack import Ports, Stack
from tests.support.polling import until

_CAPTURE: Final = (
    "--server-id", "--log-bin", "--binlog-", "--gtid-mode", "--enforce-gtid-consistency",
)  # fmt: skip
_PLACES: Final = ("--datadir", "--port", "--pid-file", "--init-file", "--tmpdir", "--user")


@dataclass(frozen=True, slots=True)
class SecondMysql:
    """An empty server, whose root has no password."""

    port: int

    def connect(self) -> pymysql.Connection[Any]:
        return pymysql.connect(host="127.0.0.1", port=self.port, user="root", autocommit=True)

    def is_up(self) -> bool:
        try:
            self.connect().close()
        except pymysql.MySQLError:
            return False
        return True


@contextmanager
def a_second_mysql(stack: Stack, folder: Path, *options: str) -> Iterator[SecondMysql]:
    """From the running one's command line, without what capture rests on: it writes no binlog."""
    (status,) = [each for each in stack.status() if each.server == "mysql"]
    assert status.pid is not None
    running = psutil.Process(status.pid).cmdline()
    kept = [word for word in running if not word.startswith((*_CAPTURE, *_PLACES))]
    made = SecondMysql(Ports.free().mysql)
    argv = [
        *kept, f"--datadir={folder / 'data'}", f"--tmpdir={folder}", f"--port={made.port}",
        f"--pid-file={folder / 'pid'}", "--user=root", "--disable-log-bin", "--server-id=1",
        "--innodb-buffer-pool-size=32M", "--performance-schema=OFF",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        subprocess.run([*argv, "--initialize-insecure"], check=True, stderr=log, timeout=120)
        process = subprocess.Popen([*argv, *options], stderr=log, stdout=log)
    try:
        until(made.is_up, "the second MySQL answers")
        yield made
    finally:
        process.terminate()
        process.wait(60)
