"""The stack's own mysqld started once more, elsewhere and with other options."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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


class SecondMysql:
    """A server whose root has no password; it is empty when it starts for the first time."""

    def __init__(self, argv: Sequence[str], port: int, log: Path) -> None:
        self.port = port
        self._argv, self._log = argv, log
        self._process: subprocess.Popen[bytes] | None = None

    def connect(self) -> pymysql.Connection[Any]:
        return pymysql.connect(host="127.0.0.1", port=self.port, user="root", autocommit=True)

    def is_up(self) -> bool:
        try:
            self.connect().close()
        except pymysql.MySQLError:
            return False
        return True

    def start(self) -> None:
        """Again, on the same data, if it was killed; returns when it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._argv, stderr=log, stdout=log)
        until(self.is_up, "the second MySQL answers")

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(60)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(60)

    def processes(self) -> list[psutil.Process]:
        running = self._process is not None and self._process.poll() is None
        return [psutil.Process(self._process.pid)] if running and self._process else []


@contextmanager
def a_second_mysql(stack: Stack, folder: Path, *options: str) -> Iterator[SecondMysql]:
    """From the running one's command line, without what capture rests on: it writes no binlog."""
    (status,) = [each for each in stack.status() if each.server == "mysql"]
    assert status.pid is not None
    running = psutil.Process(status.pid).cmdline()
    kept = [word for word in running if not word.startswith((*_CAPTURE, *_PLACES))]
    port, log = Ports.free().mysql, folder / "log"
    argv = [
        *kept, f"--datadir={folder / 'data'}", f"--tmpdir={folder}", f"--port={port}",
        f"--pid-file={folder / 'pid'}", "--user=root", "--disable-log-bin", "--server-id=1",
        "--innodb-buffer-pool-size=32M", "--performance-schema=OFF",
    ]  # fmt: skip
    with log.open("wb") as file:
        subprocess.run([*argv, "--initialize-insecure"], check=True, stderr=file, timeout=120)
    made = SecondMysql([*argv, *options], port, log)
    try:
        made.start()
        yield made
    finally:
        made.stop()
