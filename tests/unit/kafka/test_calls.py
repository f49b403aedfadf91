"""Calls of the transactional client end in time, whatever becomes of the brokers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import cast

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer

from callsheet.kafka.calls import Calls, LostError, State, is_flushed
from callsheet.ports import Deadline, SystemClock

CLOCK = SystemClock()


@pytest.fixture
def never() -> Iterator[threading.Event]:
    """Set in the end, so that no thread is left behind."""
    event = threading.Event()
    yield event
    event.set()


def test_a_call_that_hangs_is_left_behind(never: threading.Event) -> None:
    with pytest.raises(LostError, match="committing: no answer in time") as lost:
        Calls(CLOCK).insist(lambda _: never.wait(), "committing", Deadline.after(CLOCK, 0.1))
    assert lost.value.state is State.STUCK


def test_a_call_does_not_outlast_its_brokers(never: threading.Event) -> None:
    calls, began_s = Calls(CLOCK, lambda: True), time.monotonic()
    with pytest.raises(LostError, match="brokers were lost") as lost:
        calls.insist(lambda _: never.wait(), "committing", Deadline.after(CLOCK, 60))
    assert lost.value.state is State.STUCK
    assert time.monotonic() - began_s < 10


def test_a_call_that_waits_for_brokers_does(never: threading.Event) -> None:
    calls = Calls(CLOCK, lambda: True)
    calls.insist(
        lambda _: never.wait(0.2), "opening", Deadline.after(CLOCK, 60), outlasts_loss=True
    )


def test_a_call_that_has_its_answer_needs_no_brokers() -> None:
    Calls(CLOCK, lambda: True).insist(lambda _: None, "committing", Deadline.after(CLOCK, 60))


class AtItsEnd:
    """As confluent_kafka's producer whose error callback met a fatal error while it flushed."""

    def __init__(self, cause: BaseException) -> None:
        self._cause = cause

    def flush(self, timeout_s: float) -> int:
        raise SystemError("returned a result with an exception set") from self._cause


def test_a_client_that_ends_while_it_flushes_says_why() -> None:
    why = KafkaException(KafkaError(KafkaError._FENCED))
    with pytest.raises(KafkaException) as raised:
        is_flushed(cast("Producer", AtItsEnd(why)), 1.0)
    assert raised.value is why
    with pytest.raises(SystemError):
        is_flushed(cast("Producer", AtItsEnd(ValueError())), 1.0)
