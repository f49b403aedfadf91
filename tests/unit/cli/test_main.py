"""`callsheet` as a process: what is a user's trouble, and no defect, is never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from callsheet.errors import PreconditionError
from callsheet.runtime import RunFile


def test_an_output_that_cannot_be_written_is_one_sentence() -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-m", "callsheet.cli", "--version"],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60,
        )  # fmt: skip
    assert done.returncode == PreconditionError.exit_code
    assert done.stderr.splitlines() == [
        "error: the output cannot be written: no space left on device.",
        "hint: Make room on that disk and run the command again.",
    ]


def test_a_reader_that_hangs_up_is_no_traceback() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "w") as broken:
        done = subprocess.run(
            [sys.executable, "-m", "callsheet.cli", "--help"],
            stdout=broken, stderr=subprocess.PIPE, text=True, check=False, timeout=60,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "")


_HANGS_UP = """
import socket, sys
from callsheet import cli

def talk():
    one, other = socket.socketpair()
    other.close()
    try:
        one.sendall(b"x")
    except BrokenPipeError:
        print("told")
    one.close()

cli.mount = lambda: None
cli.app = talk
cli.main()
"""


def test_a_server_that_hangs_up_does_not_end_a_command() -> None:
    """A worker's parent, `audit publish --every`: SIGPIPE would end them in silence."""
    done = subprocess.run(
        [sys.executable, "-c", _HANGS_UP], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "told\n", "")


def test_a_worker_that_cannot_be_recorded_says_where(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file, not a folder")
    folder = tmp_path / "state" / ".runs"
    with pytest.raises(PreconditionError, match="cannot be recorded in") as caught:
        RunFile(folder).write([])
    assert str(folder) in caught.value.message
    assert "CALLSHEET_STATE_DIR" in caught.value.hint
