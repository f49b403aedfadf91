"""Blocking calls of the transactional client, each bounded whatever the brokers do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from enum import Enum, auto
from queue import Empty, SimpleQueue

from confluent_kafka import KafkaError, KafkaException, Producer

from callsheet.kafka.verdicts import Verdict, stopping, verdict
from callsheet.ports import Clock, Deadline

_NAP_S = _LOOK_S = 0.05
_GRACE_S = 0.5
"""Beyond a call's own timeout, until it counts as stuck."""


class State(Enum):
    """Of a client after a call that failed."""

    LOST = auto()
    """The transaction can only be aborted."""
    UNKNOWN = auto()
    """The call may still succeed."""
    STUCK = auto()
    """It has not even returned."""


class LostError(Exception):
    """A call on the transaction failed."""

    def __init__(self, why: str, state: State) -> None:
        super().__init__(why)
        self.state = state


class Calls:
    """Makes them, and repeats what may be repeated.

    ``refusal``: what a delivery report said that no repetition mends. A call itself tells only that
    something was not delivered.
    """

    def __init__(self, clock: Clock, is_cut_off: Callable[[], bool] = lambda: False) -> None:
        """``is_cut_off``: has the client lost brokers lately? librdkafka 2.16 was seen to wait to
        its time limit for a group's coordinator that had been back for long.
        """
        self._clock, self._is_cut_off = clock, is_cut_off
        self.refusal: KafkaError | None = None

    def insist(
        self,
        call: Callable[[float], object],
        doing: str,
        deadline: Deadline,
        *,
        outlasts_loss: bool = False,
    ) -> None:
        """Never less than one try: it also hears of failures. ``outlasts_loss``: of brokers.

        Raises:
            LostError: it failed, or the deadline came first.
            FatalError, ConfigError: it will never succeed.
        """
        while True:
            timeout_s = max(_NAP_S, deadline.remaining_s())
            is_cut_off = _never if outlasts_loss else self._is_cut_off
            fault = _fault_of(call, timeout_s, doing, is_cut_off)
            if fault is None:
                return
            fault = self.refusal or fault
            found = verdict(fault)
            if found is Verdict.STOP:
                raise stopping(fault, doing)
            if found is Verdict.ABORT or deadline.expired():
                state = State.LOST if found is Verdict.ABORT else State.UNKNOWN
                raise LostError(f"{doing}: {fault.str()}", state)
            self._clock.sleep(_NAP_S)


def is_flushed(client: Producer, timeout_s: float) -> bool:
    """Have the brokers all that was sent?

    Raises:
        KafkaException: the client is at its end.
    """
    try:
        return not client.flush(timeout_s)
    except SystemError as error:  # so confluent_kafka 2.16 raises what its error callback meets
        if isinstance(error.__cause__, KafkaException):
            raise error.__cause__ from error
        raise


def _never() -> bool:
    return False


def _fault_of(
    call: Callable[[float], object], timeout_s: float, doing: str, is_cut_off: Callable[[], bool]
) -> KafkaError | None:
    """Make a blocking call in a thread of its own: the client's timeouts do not bound what waits
    for the answer of a broker that hangs. It was seen to stay for minutes.

    Raises:
        LostError: it has not returned.
    """
    outcome: SimpleQueue[BaseException | None] = SimpleQueue()

    def run() -> None:
        try:
            call(timeout_s)
        except BaseException as error:  # noqa: BLE001 - raised by who waits
            outcome.put(error)
        else:
            outcome.put(None)

    threading.Thread(target=run, name="kafka-transaction", daemon=True).start()
    error = _answer(outcome, time.monotonic() + timeout_s + _GRACE_S, doing, is_cut_off)
    if error is None:
        return None
    if isinstance(error, KafkaException):
        fault: KafkaError = error.args[0]
        return fault
    raise error


def _answer(
    outcome: SimpleQueue[BaseException | None],
    end_s: float,
    doing: str,
    is_cut_off: Callable[[], bool],
) -> BaseException | None:
    while True:
        try:
            return outcome.get(timeout=_LOOK_S)
        except Empty as late:
            if is_cut_off():
                raise LostError(f"{doing}: brokers were lost", State.STUCK) from late
            if time.monotonic() >= end_s:
                raise LostError(f"{doing}: no answer in time", State.STUCK) from late
