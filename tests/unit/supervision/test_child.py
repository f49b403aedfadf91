"""What a worker's process says of its end. No server is asked."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from callsheet import child
from callsheet.child import EXIT_BUG, Order, Report
from callsheet.observability.logging import configure

SECRET = "4111 1111 1111 1111"
PIPELINE = """\
name: a
source: {{format: json, topics: [studio.finance.titles]}}
kafka: {{bootstrap_servers: 'localhost:1', properties: {{{properties}}}}}
http: {{port: 0}}
sink: {{type: discard}}
"""


class Heard:
    """In place of the pipe to the parent."""

    def __init__(self) -> None:
        self.reports: list[Report] = []

    def send(self, report: Report) -> None:
        self.reports.append(report)


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    before, hook = structlog.get_config(), threading.excepthook
    yield
    structlog.configure(**before)
    threading.excepthook = hook


def work(text: str = "") -> tuple[int, Report]:
    pipe: Any = Heard()
    code = child._work(Order("pipelines/a.yaml", text, 0, -1), pipe, None)
    return code, pipe.reports[-1]


def decode(row: dict[str, str]) -> None:
    try:
        row[SECRET]
    except KeyError as error:
        raise ValueError(f"no column {SECRET}") from error


def test_a_defect_is_told_by_kind_and_place_never_by_its_own_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*_: object) -> None:
        child._ours(None)  # type: ignore[arg-type]  # a line of ours that fails

    monkeypatch.setattr(child, "_run", run)
    code, report = work()
    (log,) = capsys.readouterr().err.splitlines()
    assert (code, report.failure is not None) == (EXIT_BUG, True)
    assert report.failure is not None
    assert report.failure.message.startswith("a defect: TypeError at callsheet/child.py:")
    assert report.failure.hint
    line = json.loads(log)
    assert line["error"].startswith("TypeError at callsheet/child.py:")


def test_no_value_of_a_row_reaches_log_or_status(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "_run", lambda *_: decode({}))
    _, report = work()
    (log,) = capsys.readouterr().err.splitlines()
    assert SECRET not in log + str(report)
    trace = json.loads(log)["exception"]
    assert trace.index("KeyError") < trace.index("then:") < trace.rindex("ValueError")
    assert "in decode" in trace


def test_bytes_that_are_no_text_are_not_quoted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "_run", lambda *_: (SECRET.encode() + b"\xff").decode("utf-8"))
    _, report = work()
    (log,) = capsys.readouterr().err.splitlines()
    assert SECRET not in log + str(report)
    assert report.failure is not None
    assert "UnicodeDecodeError at callsheet/child.py:" in report.failure.message


def test_a_thread_that_fails_says_so_in_the_same_way() -> None:
    log = io.StringIO()
    child._log_threads(configure("info", log))
    thread = threading.Thread(target=decode, args=({},))
    thread.start()
    thread.join()
    (line,) = log.getvalue().splitlines()
    assert json.loads(line)["error"] == "ValueError"
    assert SECRET not in line


@pytest.mark.parametrize(
    ("properties", "said"),
    [
        ("security.protocol: FOO", 'configuration property "security.protocol"'),
        ("ssl.no.such: 5", 'No such configuration property: "ssl.no.such"'),
        (
            "security.protocol: SSL, ssl.ca.location: /nonexistent/ca.pem",
            "ssl.ca.location: there is no file /nonexistent/ca.pem",
        ),
    ],
)
def test_a_wrong_kafka_property_is_no_defect(properties: str, said: str) -> None:
    code, report = work(PIPELINE.format(properties=properties))
    assert code == 78
    assert report.failure is not None
    assert said in report.failure.message
    assert "kafka.properties" in report.failure.hint


def test_the_place_is_of_a_path_of_ours_only() -> None:
    assert child._ours("/usr/lib/python3/json/decoder.py") is None
    root = Path(child.__file__).parents[1]
    assert child._ours(str(root / "tests/unit/x.py")) is None
    assert child._ours(str(root / "sinks/sql/store.py")) == Path("sinks/sql/store.py")
