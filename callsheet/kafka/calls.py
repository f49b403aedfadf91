"""Blocking calls of the transactional client, each bounded whatever the brokers do."""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import Enum, auto
from queue import Empty, SimpleQueue

from confluent_kafka import KafkaError, KafkaException

from callsheet.kafka.verdicts import Verdict, stopping, verdict
from callsheet.ports import Clock, Deadline

_NAP_S = 0.05
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

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.refusal: KafkaError | None = None

    def insist(self, call: Callable[[float], object], doing: str, deadline: Deadline) -> None:
        """Never less than one try: it also hears of failures.

        Raises:
            LostError: it failed, or the deadline came first.
            FatalError, ConfigError: it will never succeed.
        """
        while True:
            fault = _fault_of(call, max(_NAP_S, deadline.remaining_s()), doing)
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


def _fault_of(call: Callable[[float], object], timeout_s: float, doing: str) -> KafkaError | None:
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
    try:
        error = outcome.get(timeout=timeout_s + _GRACE_S)
    except Empty as late:
        raise LostError(f"{doing}: no answer in time", State.STUCK) from late
    if error is None:
        return None
    if isinstance(error, KafkaException):
        fault: KafkaError = error.args[0]
        return fault
    raise error
