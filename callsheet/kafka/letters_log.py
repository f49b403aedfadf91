"""The letters' topic on real brokers: read whole, read by offsets, appended to."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator
from hashlib import sha256

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as ClientMessage

from callsheet.batch import Message, Offset, Partition
from callsheet.errors import ConfigError, DeadLetterError, PreconditionError, UnavailableError
from callsheet.kafka.groups import KafkaGroups
from callsheet.kafka.letters import LetterBook, Mark, Record, StoredLetter, original_of
from callsheet.kafka.peek import Peek
from callsheet.kafka.settings import Connection, producer_config
from callsheet.ports import Clock, Deadline

_POLL_EVENTS = 1_000
_SILENCE_S = 30.0


class LetterLog:
    """Raises (each method):
    UnavailableError: no broker answers.
    """

    def __init__(self, connection: Connection, topic: str, clock: Clock) -> None:
        self._connection, self._clock, self.topic = connection, clock, topic
        self._partition = Partition(topic, 0)

    def exists(self) -> bool:
        """Raises:
        PreconditionError: it has more than one partition, so its marks have no order.
        """
        found = KafkaGroups(self._connection).partitions([self.topic])
        if len(found) > 1:
            raise PreconditionError(
                f"{self.topic} has {len(found)} partitions; a dead-letter topic has one",
                hint="name another topic in dead_letters.topic, and copy the letters there",
            )
        return bool(found)

    def book(self) -> LetterBook:
        """Everything; an empty book where nothing was ever put aside."""
        book = LetterBook()
        if self.exists():
            for message in self._scan(self._partition, None, None):
                book.take(message)
        return book

    def message(self, offset: Offset) -> Message | None:
        """One record of the topic as it is; None where there is none any more."""
        return next(self._scan(self._partition, offset, offset), None)

    def messages(self, before: Offset) -> Iterator[Message]:
        """All that stands before this offset, letters and marks."""
        return self._scan(self._partition, None, before - 1) if before else iter(())

    def behind(self, first: Offset) -> Iterator[Message]:
        """All that stands at this offset and after it by now, letters and marks."""
        return self._scan(self._partition, first, None)

    def end(self) -> Offset:
        """After the last record that is committed."""
        found = KafkaGroups(self._connection).ends([self._partition], with_open=False)
        return found.get(self._partition, 0)

    def originals(self, letters: Collection[StoredLetter]) -> dict[Offset, Record]:
        """The records that these letters stand for, by the letters' offsets. One that is gone, from
        here or (of a cut letter) from its own topic, is not among them.
        """
        wanted = {letter.offset: letter for letter in letters if letter.cut is None}
        found: dict[Offset, Record] = {}
        if wanted:
            for message in self._scan(self._partition, min(wanted), max(wanted)):
                letter = wanted.get(message.offset())
                if letter is not None:
                    found[letter.offset] = original_of(letter, message)
        for letter in letters:
            if letter.cut is not None and (record := self._uncut(letter)) is not None:
                found[letter.offset] = record
        return found

    def _uncut(self, letter: StoredLetter) -> Record | None:
        """A cut letter's record, read where it came from, if it still is what it was."""
        at = letter.source_offset
        message = next(self._scan(letter.source, at, at), None)
        if message is None or letter.cut is None:
            return None
        if sha256(message.value() or b"").hexdigest() != letter.cut.sha256:
            return None
        return original_of(letter, message)

    def _scan(
        self, partition: Partition, first: Offset | None, last: Offset | None
    ) -> Iterator[Message]:
        """Records from ``first`` to ``last``, both included; None: no bound."""
        heard_s = self._clock.monotonic()
        with Peek(self._connection, {partition: first}) as peek:
            while not peek.is_at_end:
                messages = peek.poll(_POLL_EVENTS, 0.2)
                if messages:
                    heard_s = self._clock.monotonic()
                elif self._clock.monotonic() > heard_s + _SILENCE_S and not peek.is_at_end:
                    raise UnavailableError(
                        f"Kafka sends nothing of {partition}",
                        hint="is it up? `callsheet stack status`",
                    )
                for message in messages:
                    if last is not None and message.offset() > last:
                        return
                    # A reader whose offset is gone is put at the log's beginning.
                    if first is None or message.offset() >= first:
                        yield message


class KafkaMarks:
    """Appends marks to the letters' topic; acknowledged by all replicas before they count."""

    def __init__(
        self, connection: Connection, topic: str, *, max_message_bytes: int, budget_s: float
    ) -> None:
        self._topic = topic
        self._acknowledged: deque[Offset] = deque()
        self._failure = ""
        config = producer_config(connection, max_message_bytes=max_message_bytes, budget_s=budget_s)
        try:
            self._producer = Producer({**config, "log_level": 0})
        except KafkaException as error:
            raise ConfigError(
                f"the Kafka client does not take its settings: {error.args[0].str()}",
                hint="look at kafka.properties in the pipeline file",
            ) from error

    def put(self, mark: Mark) -> None:
        """Send it; :meth:`acknowledged` tells when it is stored. In the order of the calls."""
        self._send(mark, self._acknowledged.append)

    def _send(self, mark: Mark, stored: Callable[[Offset], None]) -> None:
        def delivered(error: KafkaError | None, message: ClientMessage) -> None:
            if error is not None:
                self._failure = self._failure or error.str()
            else:
                stored(message.offset() or 0)

        try:
            self._producer.produce(
                self._topic,
                value=mark.value(),
                headers=dict(mark.headers()),
                on_delivery=delivered,
            )
        except (KafkaException, BufferError) as error:
            why = error.args[0].str() if isinstance(error, KafkaException) else "no room"
            raise self._failed(why) from error

    def acknowledged(self) -> Offset | None:
        """Where the next mark is stored; None when nothing new is.

        Raises:
            DeadLetterError: one could not be stored.
        """
        self._producer.poll(0)
        if self._failure:
            raise self._failed(self._failure)
        return self._acknowledged.popleft() if self._acknowledged else None

    def wait(self, deadline: Deadline) -> None:
        """Until all are stored, or the deadline."""
        self._producer.flush(deadline.remaining_s())

    def store(self, mark: Mark, deadline: Deadline) -> Offset:
        """The same, waiting for it; returns the offset of this very mark. :meth:`acknowledged` does
        not tell any more of those that were put before it.

        Raises:
            DeadLetterError: it is not stored in time, or one before it could not be stored.
        """
        own: list[Offset] = []
        self._send(mark, own.append)
        self.wait(deadline)
        if self._failure:
            raise self._failed(self._failure)
        if not own:
            raise self._failed("no acknowledgement in time")
        # A run that did not wait for its last mark is over. The next one must not take the late
        # answer for that to a mark of its own.
        self._acknowledged.clear()
        return own[0]

    def _failed(self, why: str) -> DeadLetterError:
        return DeadLetterError(
            f"what was done could not be noted in {self._topic}: {why}",
            hint="mend the dead-letter topic, then run the command again: repeats are harmless",
        )
