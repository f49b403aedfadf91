"""Offsets and dead letters in the transaction that carries the rows."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Final, Protocol

from structlog.typing import FilteringBoundLogger

from callsheet.batch import Message, Offset, Partition
from callsheet.errors import DeadLetterError, FencedError, Reason, RetryableError
from callsheet.kafka.dead_letters import Scribe
from callsheet.kafka.producer import TransactionalProducer
from callsheet.ports import Clock, Consumer, Deadline, RebalanceListener


class Member(Consumer, Protocol):
    """A consumer that can prove its membership to a transaction."""

    def membership(self) -> object:
        """Raises:
        FencedError: we are no member of the group.
        """
        ...

    @property
    def waiting(self) -> frozenset[Partition]:
        """Ours, but that nobody could say yet where to start."""
        ...


HELD_S: Final = 15.0
"""Offsets that are not told for so long are asked for in another way: see
:meth:`TransactionalProducer.disown`. Any transaction that ends by itself has ended sooner, but for
one of another worker that died, and that one we leave alone.
"""
_OURS_S: Final = 1.0
"""The same where a transaction of our own may hold them."""


class TransactionalConsumer:
    """Implements :class:`callsheet.ports.Consumer`: a commit ends the producer's transaction.

    When the transaction is lost, whatever the reason, :meth:`committed` says so as if the group had
    moved on without us: the worker forgets all it has in hand and joins anew, which makes it read
    again from what is committed. So nothing of a lost transaction needs to be told apart.
    """

    def __init__(
        self,
        consumer: Member,
        producer: TransactionalProducer,
        *,
        budget_s: float,
        clock: Clock,
    ) -> None:
        self._consumer, self._producer = consumer, producer
        self._budget_s, self._clock = budget_s, clock
        self._answers: deque[Mapping[Partition, Offset] | RetryableError] = deque()
        self._waiting_since_s: float | None = None
        producer.join(self._group)

    def _group(self) -> tuple[Collection[Partition], object]:
        held = self._consumer.assignment() | self._consumer.waiting
        return held, self._consumer.membership()

    def subscribe(self, topics: Sequence[str], listener: RebalanceListener) -> None:
        self._answers.clear()
        self._producer.start_over()
        self._consumer.subscribe(topics, _Listener(listener, self))

    def poll(self, max_events: int, timeout_s: float) -> Sequence[Message]:
        self._producer.revive()
        self._free_offsets()
        return self._consumer.poll(max_events, timeout_s)

    def _free_offsets(self) -> None:
        waiting, now_s = self._consumer.waiting, self._clock.monotonic()
        if not waiting:
            self._waiting_since_s = None
        elif self._waiting_since_s is None:
            self._waiting_since_s = now_s
        elif now_s >= self._waiting_since_s + (_OURS_S if self._producer.has_leftovers else HELD_S):
            self._waiting_since_s = now_s
            with suppress(FencedError):
                self._producer.disown()

    def ends(self) -> Mapping[Partition, Offset]:
        return self._consumer.ends()

    def assignment(self) -> frozenset[Partition]:
        return self._consumer.assignment()

    def pause(self, partitions: Collection[Partition]) -> None:
        self._consumer.pause(partitions)

    def resume(self, partitions: Collection[Partition]) -> None:
        self._consumer.resume(partitions)

    def seek(self, partition: Partition, offset: Offset) -> None:
        self._consumer.seek(partition, offset)

    # --- committing -----------------------------------------------------------------------------

    def commit(self, offsets: Mapping[Partition, Offset]) -> None:
        """Waits, at most for the budget: what is sent after a commit belongs to the next one."""
        try:
            membership = self._consumer.membership()
            deadline = Deadline.after(self._clock, self._budget_s)
            if self._producer.commit(offsets, membership, deadline):
                self._answers.append(dict(offsets))
        except FencedError as error:
            self._producer.fail(error.message)
        except RetryableError as error:
            self._answers.append(error)

    def committed(self) -> Mapping[Partition, Offset] | None:
        if self._producer.failure:
            raise FencedError(f"the transaction is taken back: {self._producer.failure}")
        if not self._answers:
            return None
        answer = self._answers.popleft()
        if isinstance(answer, RetryableError):
            raise answer
        return answer

    def close(self) -> None:
        self._producer.close()
        self._consumer.close()

    # --- the group ------------------------------------------------------------------------------

    def after_revoke(self) -> None:
        """What could not be committed now is for the next owner to write."""
        if self._producer.is_open:
            self._producer.fail("partitions were revoked before their events were committed")

    def after_loss(self, lost: Collection[Partition]) -> None:
        """Others may have written the same events already."""
        self._answers.clear()
        if self._consumer.assignment() <= frozenset(lost):
            self._producer.start_over()
        else:
            self._producer.fail("partitions were lost")


class _Listener:
    """The worker's own, and what its transaction needs after it."""

    def __init__(self, listener: RebalanceListener, consumer: TransactionalConsumer) -> None:
        self._listener, self._consumer = listener, consumer

    def on_assigned(self, partitions: Collection[Partition]) -> Mapping[Partition, Offset]:
        return self._listener.on_assigned(partitions)

    def on_revoked(self, partitions: Collection[Partition]) -> None:
        self._listener.on_revoked(partitions)
        if partitions:
            self._consumer.after_revoke()

    def on_lost(self, partitions: Collection[Partition]) -> None:
        self._listener.on_lost(partitions)
        self._consumer.after_loss(partitions)


class TransactionalLetters:
    """Implements :class:`callsheet.ports.DeadLetters` through the pipeline's producer: a letter is
    seen if, and only if, its record's offset is committed.
    """

    def __init__(  # noqa: PLR0913 - what a letter says, and how it travels
        self,
        producer: TransactionalProducer,
        topic: str,
        *,
        pipeline: str,
        version: str,
        max_message_bytes: int,
        log: FilteringBoundLogger,
    ) -> None:
        self._producer, self._topic = producer, topic
        self._scribe = Scribe(pipeline, version, max_message_bytes, log)

    def put(self, message: Message, reason: Reason, detail: str) -> None:
        letter = self._scribe.letter(message, reason, detail)
        if self._producer.send(self._topic, [(letter.key, letter.value, letter.headers)]):
            raise DeadLetterError(
                f"a dead letter is too large for {self._topic}",
                hint="raise dead_letters.max_message_bytes; the record is not committed",
            )

    def flush(self, deadline: Deadline) -> None:
        """The commit waits for them."""
