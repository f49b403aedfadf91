"""The table in docs/reliability.md is what the fault tests have found."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import reliability
from tests.support.every_store_proof import DifferenceError


def test_the_document_shows_the_results() -> None:
    document = reliability.DOCUMENT.read_text("utf-8")
    told = "run `python -m tests.support.reliability`"
    assert document == reliability.with_table(document, reliability.read()), told


def test_runs_of_one_fault_are_one_line(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    reliability.record("kafka", "frozen", 1, 1_000, 0, 3.0, 60.0, results=file)
    reliability.record("worker killed", "at random", 10, 70, 2, 9.96, results=file)
    reliability.record("kafka", "frozen", 1, 2_500, 0, 5.4, 60.0, results=file)
    reliability.record("kafka", "frozen", 1, 10, 0, 1.0, 10.0, results=file)
    assert reliability.table(reliability.read(file)).splitlines()[2:] == [
        "| kafka | frozen | 60 s | 2 | 3,500 | nothing | 5 s |",
        "| worker killed | at random |  | 10 | 70 | **2 differences** | 10 s |",
        "| kafka | frozen | 10 s | 1 | 10 | nothing | 1 s |",
    ]


def test_nothing_recorded_is_said() -> None:
    assert reliability.table([]) == "No run of the whole matrix is recorded yet."


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "results.json"
    monkeypatch.setattr(reliability, "RESULTS", file)
    return file


class _Matrix:
    """As much of pytest's configuration as is asked."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds

    def getoption(self, name: str) -> float | None:
        assert name == reliability.OPTION
        return self.seconds


@pytest.mark.parametrize(("seconds", "rows"), [(None, 0), (60.0, 1)])
def test_only_the_whole_matrix_is_recorded(results: Path, seconds: float | None, rows: int) -> None:
    with reliability.measured(_Matrix(seconds), "kafka", "frozen", 60.0) as found:
        found.changes, found.recovery_s = 5, 1.5
    assert len(reliability.read(results)) == rows


def failing(error: BaseException) -> None:
    with reliability.measured(_Matrix(60.0), "kafka", "frozen", 60.0) as found:
        found.recovery_s = 1.0
        raise error


def test_what_was_lost_is_recorded_too(results: Path) -> None:
    with pytest.raises(DifferenceError):
        failing(DifferenceError(["audit: 1 lost", "search: differs"]))
    assert [row.lost for row in reliability.read(results)] == [2]


def test_a_run_that_proved_nothing_is_not_recorded(results: Path) -> None:
    with pytest.raises(TimeoutError):
        failing(TimeoutError())
    assert reliability.read(results) == []
