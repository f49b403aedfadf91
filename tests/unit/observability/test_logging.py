from __future__ import annotations

import io
import json
from collections.abc import Iterator

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
