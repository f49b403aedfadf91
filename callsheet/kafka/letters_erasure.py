"""Single letters taken out of the letters' topic.

A log loses records only from its beginning. So what is to stay is written again behind the rest,
and then everything up to there is deleted:

1. The turn is held, so that no redrive presents a letter while it moves.
2. Letters that are open and stay are appended as they were, with the time of their own, and
   acknowledged. A crash after this leaves letters twice, of which only the newest counts. One that
   has failed again meanwhile, behind the end, is not appended: its copy would count instead.
3. All before the end that the topic had in the beginning is deleted: what was to be erased, and
   with it letters that were settled long ago, and their marks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as ClientMessage

from callsheet.batch import Message, Offset
from callsheet.errors import ConfigError, DeadLetterError, PreconditionError
from callsheet.kafka.letters import LetterBook, Record, StoredLetter, letter_of
from callsheet.kafka.settings import Connection, producer_config
from callsheet.ports import Decoder


class ErasableLog(Protocol):
    """The letters' topic as an erasure reads it."""

    def end(self) -> Offset: ...
    def messages(self, before: Offset) -> Iterator[Message]: ...
    def behind(self, first: Offset) -> Iterator[Message]: ...
    def originals(self, letters: Collection[StoredLetter]) -> dict[Offset, Record]: ...


class Copies(Protocol):
    """Where letters are appended."""

    def put(self, message: Message) -> None: ...
    def flush(self) -> None:
        """Until all replicas have them."""
        ...


@dataclass(frozen=True, slots=True)
class Sorted:
    """The letters before ``end``, by what an erasure has to do with them."""

    end: Offset
    erased: frozenset[Offset]
    """Of the row, in whatever state."""
    doubtful: frozenset[Offset]
    """Of the table, in whatever state, and nobody can tell of which row: they do not decode, or
    were cut and their record is gone.
    """
    kept: frozenset[Offset]
    """Open, and of other rows."""
    settled: int
    """Dealt with, and of other rows: they go, and the notes on them."""
    open_doubtful: frozenset[Offset] = frozenset()
    """Those of the doubtful that are open."""

    def stays(self, *, with_doubtful: bool) -> frozenset[Offset]:
        """What is written again. A settled letter never is: without its mark it would be open."""
        return self.kept if with_doubtful else self.kept | self.open_doubtful


def sort_out(
    log: ErasableLog, decoder: Decoder, topic: str, identifiers: Collection[str]
) -> Sorted:
    """Raises:
    PreconditionError: a redrive has begun and not ended; its letters must keep their numbers.
    """
    end, book = log.end(), LetterBook()
    for message in log.messages(end):
        book.take(message)
    if book.unfinished():
        raise PreconditionError(
            "a redrive was begun and has not ended",
            hint="let `callsheet dlq redrive` end it, or discard what it cannot deliver",
        )
    of_table = [letter for letter in book.letters.values() if letter.source.topic == topic]
    whose = _rows_of(log, decoder, of_table)
    erased = frozenset(offset for offset, row in whose.items() if row in identifiers)
    doubtful = frozenset(x.offset for x in of_table) - whose.keys()
    is_open = frozenset(letter.offset for letter in book.open())
    settled = len(book.letters.keys() - is_open - erased - doubtful)
    kept = is_open - erased - doubtful
    return Sorted(end, erased, doubtful, kept, settled, is_open & doubtful)


def _rows_of(
    log: ErasableLog, decoder: Decoder, letters: Sequence[StoredLetter]
) -> dict[Offset, str]:
    """The ID of the row of each letter that decodes."""
    found: dict[Offset, str] = {}
    for offset, record in log.originals(letters).items():
        for batch in decoder.decode([record]).batches:
            found[offset] = cast("str", batch.frame["id"].item())
    return found


def rewrite(
    log: ErasableLog,
    copies: Copies,
    delete_before: Callable[[Offset], None],
    end: Offset,
    stays: Collection[Offset],
) -> None:
    """Everything before ``end`` goes, but for what ``stays``, which then stands behind it. Of a
    place that has a letter there already, only that one stays.

    Raises:
        DeadLetterError: what is to stay could not be written again; nothing is deleted.
    """
    # One that comes after this look is superseded by the copy: the same record, an attempt less.
    newer = {letter.place for message in log.behind(end) if (letter := letter_of(message))}
    for message in log.messages(end):
        letter = letter_of(message)
        if letter is not None and letter.offset in stays and letter.place not in newer:
            copies.put(message)
    copies.flush()
    delete_before(end)


class LetterCopies:
    """Implements :class:`Copies`; idempotent, acknowledged by all replicas."""

    def __init__(
        self, connection: Connection, topic: str, *, max_message_bytes: int, budget_s: float
    ) -> None:
        self._topic, self._budget_s, self._failure = topic, budget_s, ""
        config = producer_config(connection, max_message_bytes=max_message_bytes, budget_s=budget_s)
        try:
            self._producer = Producer({**config, "log_level": 0})
        except KafkaException as error:
            raise ConfigError(
                f"the Kafka client does not take its settings: {error.args[0].str()}",
                hint="look at kafka.properties in the pipeline file",
            ) from error

    def put(self, message: Message) -> None:
        """With its own time, so that its retention goes on."""
        while True:
            try:
                self._producer.produce(
                    self._topic,
                    message.value(),
                    message.key(),
                    headers=list(message.headers() or ()),
                    timestamp=max(0, message.timestamp()[1]),
                    on_delivery=self._delivered,
                )
            except BufferError:
                self._producer.poll(self._budget_s)
            except KafkaException as error:
                raise self._failed(error.args[0].str()) from error
            else:
                return

    def flush(self) -> None:
        if self._producer.flush(self._budget_s):
            raise self._failed("no acknowledgement in time")
        if self._failure:
            raise self._failed(self._failure)

    def _delivered(self, error: KafkaError | None, _message: ClientMessage) -> None:
        if error is not None:
            self._failure = self._failure or error.str()

    def _failed(self, why: str) -> DeadLetterError:
        return DeadLetterError(
            f"letters could not be written again to {self._topic}: {why}",
            hint="nothing is deleted; run the command again: what is there twice counts once",
        )
