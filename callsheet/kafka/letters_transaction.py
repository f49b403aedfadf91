"""Redriven rows, their marks and new letters in one transaction.

A destination in Kafka keeps neither offsets nor versions of its own, so a repeat would be seen.
Here is none: a REDRIVEN mark is committed with the rows of which it speaks, or neither is there.
The transactional id is the redrive's own, so a running worker of the pipeline is not replaced.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from callsheet.batch import Offset, Partition
from callsheet.errors import DeadLetterError, FencedError, RetryableError, UnavailableError
from callsheet.kafka.groups import KafkaGroups
from callsheet.kafka.letters import LetterBook, Mark, Record, StoredLetter
from callsheet.kafka.letters_redrive import Letters, MarkStore
from callsheet.kafka.producer import TransactionalProducer
from callsheet.kafka.settings import TRANSACTION_TIMEOUT_S
from callsheet.ports import Clock, Deadline

_OPEN_S = 30.0
_SETTLE_S = TRANSACTION_TIMEOUT_S + 15.0
"""A worker that is gone holds readers up for no longer."""
_NAP_S = 0.1


class Ends(Protocol):
    """How far a topic's only partition goes, for two kinds of readers."""

    def committed(self) -> Offset: ...
    def written(self) -> Offset:
        """Open transactions included."""
        ...


class TopicEnds:
    """Implements :class:`Ends`."""

    def __init__(self, groups: KafkaGroups, topic: str) -> None:
        self._groups, self._partition = groups, Partition(topic, 0)

    def committed(self) -> Offset:
        return self._groups.ends([self._partition], with_open=False).get(self._partition, 0)

    def written(self) -> Offset:
        return self._groups.ends([self._partition], with_open=True).get(self._partition, 0)


class DecidedLetters:
    """Implements :class:`callsheet.kafka.letters_redrive.Letters`. The book is read only once
    nothing can be added to it by whoever redrove before: else what an earlier redrive is about to
    commit would be redriven again.
    """

    def __init__(
        self, log: Letters, ends: Ends, producer: TransactionalProducer, clock: Clock
    ) -> None:
        self._log, self._ends, self._producer, self._clock = log, ends, producer, clock

    def book(self) -> LetterBook:
        """Raises:
        UnavailableError: the brokers are away, or a transaction stays undecided.
        """
        self._producer.start_over()
        try:
            self._producer.open(Deadline.after(self._clock, _OPEN_S))
        except RetryableError as error:
            raise UnavailableError(error.message, hint=error.hint) from error
        self._wait(Deadline.after(self._clock, _SETTLE_S))
        return self._log.book()

    def _wait(self, deadline: Deadline) -> None:
        """A mark may be committed and yet stand behind another's open transaction, where readers of
        what is committed do not see it.
        """
        written = self._ends.written()
        while self._ends.committed() < written:
            if deadline.expired():
                raise UnavailableError(
                    "a transaction reaches into the dead letters and does not end",
                    hint="is a worker of the pipeline frozen? Stop it, then redrive again",
                )
            self._clock.sleep(_NAP_S)

    def originals(self, letters: Collection[StoredLetter]) -> dict[Offset, Record]:
        return self._log.originals(letters)


class TransactionalMarks:
    """Implements :class:`callsheet.kafka.letters_redrive.MarkStore`: to put a mark commits the
    transaction, with all that was sent since the last one. What ``begins`` a redrive is stored by
    itself: it must be there before anything is sent.
    """

    def __init__(
        self,
        producer: TransactionalProducer,
        topic: str,
        begins: MarkStore,
        *,
        budget_s: float,
        clock: Clock,
    ) -> None:
        self._producer, self._topic, self._begins = producer, topic, begins
        self._budget_s, self._clock = budget_s, clock
        self._acknowledged = 0

    def put(self, mark: Mark) -> None:
        """Waits, at most for the budget."""
        record = (None, mark.value(), list(mark.headers().items()))
        if self._producer.send(self._topic, [record]):
            raise DeadLetterError(
                f"a mark of {len(mark.letters)} letters is too large for {self._topic}",
                hint="raise dead_letters.max_message_bytes; nothing of them is committed",
            )
        try:
            deadline = Deadline.after(self._clock, self._budget_s)
            if self._producer.commit({}, None, deadline):
                self._acknowledged += 1
        except RetryableError as error:
            self._producer.fail(error.message)

    def acknowledged(self) -> Offset | None:
        """Whether another mark is committed; where it stands is not told, so it is 0."""
        if self._acknowledged:
            self._acknowledged -= 1
            return 0
        if self._producer.failure:
            raise FencedError(
                f"the transaction is taken back: {self._producer.failure}",
                hint="run the redrive again: what was committed is noted, nothing is there twice",
            )
        return None

    def wait(self, deadline: Deadline) -> None:
        """:meth:`put` has waited."""

    def store(self, mark: Mark, deadline: Deadline) -> Offset:
        return self._begins.store(mark, deadline)
