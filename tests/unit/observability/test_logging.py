from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from callsheet.observability.logging import configure


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def test_a_line_is_one_json_object_with_the_processes_fields() -> None:
    out = io.StringIO()
    log = configure("info", out, worker=3)
    log.info("worker starts", topics=["a"])
    log.debug("not now")
    line = json.loads(out.getvalue())
    assert line.pop("timestamp").endswith("Z")
    assert line == {"message": "worker starts", "topics": ["a"], "worker": 3, "level": "info"}


def test_an_exception_stays_on_its_line() -> None:
    out = io.StringIO()
    log = configure("info", out)
    try:
        int("why")
    except ValueError:
        log.exception("stopped")
    (line,) = out.getvalue().splitlines()
    assert "ValueError: invalid literal" in json.loads(line)["exception"]


def test_libraries_log_to_the_same_place() -> None:
    out = io.StringIO()
    configure("warning", out)
    structlog.get_logger().warning("from a sink", alias="x")
    assert json.loads(out.getvalue())["message"] == "from a sink"


def test_people_get_text() -> None:
    out = Terminal()
    configure("info", out).info("worker starts", topics=["a"])
    assert "worker starts" in out.getvalue()
    assert not out.getvalue().startswith("{")


class Disk(io.StringIO):
    """Full, for a while."""

    is_full = False

    def flush(self) -> None:
        if self.is_full:
            raise OSError(28, "No space left on device")


def test_a_full_disk_stops_nothing_and_the_gap_is_told() -> None:
    out = Disk()
    log = configure("info", out)
    out.is_full = True
    log.info("one")
    log.info("two")
    out.is_full = False
    log.info("three")
    log.info("four")
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert lines[-3]["message"] == "three"
    assert lines[-2] == {
        "message": "log could not be written", "lines_lost": 2, "level": "warning",
    }  # fmt: skip
    assert lines[-1]["message"] == "four"


def test_a_process_whose_log_is_on_a_full_device_ends_well() -> None:
    program = (
        "from callsheet.observability.logging import configure\n"
        "log = configure()\n"
        "for _ in range(3_000): log.info('more than any buffer holds')"
    )
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", program], stderr=full, check=False, timeout=60,
            env={k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"},
        )  # fmt: skip
    assert done.returncode == 0
