"""The supervisor with tiny processes instead of workers: each runs a line of Python."""

from __future__ import annotations

import sys
import textwrap
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import structlog

from callsheet.errors import ConfigError, FatalError
from callsheet.observability.health import HealthLimits
from callsheet.observability.relay import Relay
from callsheet.ports import SystemClock
from callsheet.runtime import WorkerState
from callsheet.supervision import Plan, Supervisor
from tests.support.kafka import eventually

PRELUDE = """
import os, signal, sys, threading, time
import msgspec
from pathlib import Path
from callsheet.child import Failure, Order, Report, ReportPipe
from callsheet.observability.health import WorkerStatus
from callsheet.observability.relay import FamilySnapshot, SampleSnapshot
from callsheet.stop import Stop
order = msgspec.json.decode(sys.stdin.buffer.readline(), type=Order)
pipe = ReportPipe(order.report_fd)
marks = Path(order.file)
def tell(seen=1.0, turned=None):
    family = FamilySnapshot("seen", "t", "counter", [SampleSnapshot("seen_total", {}, seen)])
    now = time.monotonic() if turned is None else turned
    pipe.send(Report(WorkerStatus(turned_s=now, has_joined=True), [family]))
def is_first():
    try: marks.touch(exist_ok=False)
    except FileExistsError: return False
    return True
stopping = Stop()
signal.signal(signal.SIGTERM, lambda *_: stopping.set())
"""


class SkippingClock(SystemClock):
    """The real one, but that a test may have it later than it is."""

    skipped_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.skipped_s


class Played:
    """A supervisor in a thread over processes that run ``code``."""

    def __init__(
        self,
        code: str,
        marks: Path,
        *,
        turn_s: float = 60.0,
        grace_s: float = 30.0,
        workers: Sequence[tuple[str, int]] = (("search", 0),),
    ):
        plans = [
            # What a worker plays is up to its pipeline's name, which it finds in its text.
            Plan(name, f"{marks}-{name}", name, number, HealthLimits(turn_s), grace_s)
            for name, number in workers
        ]
        self.relay, self.clock = Relay(), SkippingClock()
        self.supervisor = Supervisor(
            plans,
            self.relay,
            self.clock,
            structlog.get_logger(),
            command=[sys.executable, "-c", PRELUDE + textwrap.dedent(code)],
        )
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.supervisor.run()
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.error = error

    @property
    def state(self) -> WorkerState:
        return self.supervisor.states()[0]

    def of(self, pipeline: str) -> list[WorkerState]:
        return [state for state in self.supervisor.states() if state.pipeline == pipeline]

    def seen(self) -> float:
        return sum(s.value for f in self.relay.collect() for s in f.samples)

    def end(self) -> None:
        self.supervisor.stop()
        self.thread.join(30)
        assert not self.thread.is_alive()


Play = Callable[..., Played]


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    return tmp_path / "marks"


def test_a_worker_is_started_heard_and_stopped(marks: Path) -> None:
    played = Played("tell(5.0); stopping.wait(); tell(6.0)", marks)
    eventually(lambda: played.state.is_ready, "ready")
    assert (played.state.is_live, played.state.detail) == (True, "delivering")
    assert played.seen() == 5.0
    played.end()
    assert played.error is None
    assert played.seen() == 6.0  # its last words count


def test_a_crashed_worker_is_started_again_and_its_counters_stay(marks: Path) -> None:
    played = Played("tell(5.0)\nif is_first(): os._exit(9)\nstopping.wait()", marks)
    eventually(lambda: played.state.restarts == 1 and played.state.is_ready, "started again")
    assert played.seen() == 10.0
    played.end()
    assert played.error is None


def test_a_refused_configuration_stops_everything(marks: Path) -> None:
    code = """
    pipe.send(Report(failure=Failure("p.yaml: 1 fault", "read", [("bad", "p.yaml", 3, "a.b")])))
    os._exit(78)
    """
    played = Played(code, marks)
    played.thread.join(30)
    assert isinstance(played.error, ConfigError)
    assert played.error.message == "p.yaml: 1 fault"
    assert [str(fault) for fault in played.error.faults] == ["p.yaml:3: a.b: bad"]


def test_a_fatal_worker_waits_longer_and_says_why(marks: Path) -> None:
    code = "tell(); pipe.send(Report(failure=Failure('the fuse has blown'))); os._exit(1)"
    played = Played(code, marks)
    eventually(lambda: played.state.restarts >= 1, "it has ended")
    eventually(lambda: played.state.last_error == "the fuse has blown", "why is told")
    assert not played.state.is_ready
    assert played.state.is_live  # killing the parent would help nobody
    played.end()


def test_a_worker_that_hangs_is_killed_and_replaced(marks: Path) -> None:
    late_s = 121.0  # more than two turns
    code = f"""
    if is_first(): tell(); time.sleep(600)
    while not stopping.wait(0.1): tell(turned=time.monotonic() + {late_s})
    """
    played = Played(code, marks, turn_s=60.0)
    eventually(lambda: played.state.is_ready, "ready")
    played.clock.skipped_s = late_s
    eventually(lambda: played.state.restarts == 1 and played.state.is_ready, "replaced")
    played.end()
    assert played.error is None


def test_a_worker_that_does_not_stop_in_time_is_killed(marks: Path) -> None:
    played = Played("tell(); time.sleep(600)", marks, grace_s=0.3)
    eventually(lambda: played.state.is_ready, "ready")
    played.end()
    assert isinstance(played.error, FatalError)
    assert "search/0" in played.error.message


def test_a_second_stop_does_not_wait(marks: Path) -> None:
    played = Played("tell(); time.sleep(600)", marks, grace_s=600)
    eventually(lambda: played.state.is_ready, "ready")
    played.supervisor.stop()
    played.end()
    assert isinstance(played.error, FatalError)


def test_a_process_that_writes_nonsense_is_no_worker(marks: Path) -> None:
    played = Played("os.write(order.report_fd, b'nonsense\\n'); stopping.wait()", marks)
    played.thread.join(30)
    assert played.error is not None


# --- several pipelines ----------------------------------------------------------------------------

REFUSED = """
if order.text == "refused":
    pipe.send(Report(failure=Failure("p.yaml: 1 fault", "read", [("bad", "p.yaml", 3, "a.b")])))
    os._exit(78)
"""
WORKS = "tell()\nwhile not stopping.wait(0.1): tell()"


def test_a_pipeline_whose_configuration_is_refused_takes_no_other_down(marks: Path) -> None:
    workers = [("refused", 0), ("refused", 1), ("well", 0)]
    played = Played(REFUSED + WORKS, marks, workers=workers)
    eventually(
        lambda: all("must be edited" in s.detail for s in played.of("refused")), "it is told"
    )
    eventually(lambda: played.of("well")[0].is_ready, "the other one works")
    refused = played.of("refused")
    assert [(s.pid, s.is_ready, s.is_live, s.restarts) for s in refused] == [
        (None, False, True, 0)
    ] * 2
    assert played.thread.is_alive()
    assert played.of("well")[0].restarts == 0
    played.end()
    assert isinstance(played.error, ConfigError), "whoever started it is told at the end"
    assert played.error.message == "p.yaml: 1 fault"


def test_when_all_are_refused_nothing_is_left_to_run(marks: Path) -> None:
    code = REFUSED.replace('if order.text == "refused":', "if True:")
    played = Played(code, marks, workers=[("one", 0), ("two", 0)])
    played.thread.join(30)
    assert isinstance(played.error, ConfigError)


@pytest.mark.parametrize(
    "dies",
    ["os._exit(9)", "os._exit(1)", pytest.param("time.sleep(600)", marks=pytest.mark.slow)],
)
def test_a_pipeline_that_fails_or_hangs_takes_no_other_down(marks: Path, dies: str) -> None:
    code = f"tell()\nif order.text == 'bad': {dies}\n{WORKS}"
    played = Played(code, marks, turn_s=4.0, workers=[("bad", 0), ("well", 0)])
    eventually(lambda: played.of("bad")[0].restarts >= 1, "it is started again")
    eventually(lambda: played.of("well")[0].is_ready, "the other one works")
    assert played.of("well")[0].restarts == 0
    assert played.of("well")[0].pid is not None
    played.supervisor.stop()
    played.end()
