from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from callsheet.stop import Stop


@pytest.fixture
def alarmed() -> Iterator[Stop]:
    """Set by signals that come all the time, wherever the main thread is."""
    stop = Stop()
    before = signal.signal(signal.SIGALRM, lambda *_: stop.set())
    signal.setitimer(signal.ITIMER_REAL, 1e-4, 1e-4)
    yield stop
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.timeout(30)
def test_a_signal_may_come_while_it_is_waited_for_or_set(alarmed: Stop) -> None:
    """With an Event this stands still after some hundred turns."""
    for _ in range(5_000):
        alarmed.clear()
        alarmed.wait(1e-4)
        alarmed.set()
    assert alarmed.is_set()


def test_all_who_wait_are_told() -> None:
    stop = Stop()
    assert not stop.wait(0.01)
    told: list[bool] = []
    waiting = [threading.Thread(target=lambda: told.append(stop.wait(10))) for _ in range(3)]
    for thread in waiting:
        thread.start()
    stop.set()
    for thread in waiting:
        thread.join(10)
    assert told == [True] * 3
    assert stop.wait(0)
