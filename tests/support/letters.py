"""A dead-letter topic in memory, with what a crash makes of it; and rows whose version is where
they stood in their source.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import cast

import polars as pl

from callsheet.batch import Batch, Decoded, Message, Offset
from callsheet.errors import Reason
from callsheet.kafka.dead_letters import letter_headers
from callsheet.kafka.letters import LetterBook, Mark, Record, Redriven, StoredLetter, original_of
from callsheet.ports import Deadline
from tests.support.batches import RawMessage
from tests.support.kafka import LineDecoder

Headers = Sequence[tuple[str, bytes | None]]


@dataclass(slots=True)
class LetterTopic:
    """What is stored. Letters and marks are on their way until somebody waits for them, or some
    of them arrive by themselves; a crash drops the rest.
    """

    random: Random
    is_slow: bool = False
    """No letter arrives before somebody waits for it."""
    log: list[RawMessage] = field(default_factory=list)
    letters: list[tuple[bytes | None, bytes | None, Headers]] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    answers: list[Offset] = field(default_factory=list)

    def crash(self) -> None:
        self._arrive_some()
        self._store(self.random.randint(0, len(self.marks)))
        self.letters, self.marks, self.answers = [], [], []

    def _append(self, key: bytes | None, value: bytes | None, headers: Headers) -> Offset:
        self.log.append(RawMessage("letters", 0, len(self.log), key, value, tuple(headers)))
        return len(self.log) - 1

    def _arrive_some(self) -> None:
        if not self.is_slow:
            self._arrive(self.random.randint(0, len(self.letters)))

    def _arrive(self, number: int) -> None:
        for letter in self.letters[:number]:
            self._append(*letter)
        del self.letters[:number]

    def _store(self, number: int) -> None:
        for mark in self.marks[:number]:
            self.answers.append(self._append(None, mark.value(), tuple(mark.headers().items())))
        del self.marks[:number]

    # --- as the letters' log --------------------------------------------------------------------

    def book(self) -> LetterBook:
        book = LetterBook()
        for message in self.log:
            book.take(message)
        return book

    def originals(self, letters: Collection[StoredLetter]) -> dict[Offset, Record]:
        return {x.offset: original_of(x, self.log[x.offset]) for x in letters}

    # --- as dead letters ------------------------------------------------------------------------

    def put_letter(self, message: Message, reason: Reason, detail: str) -> None:
        headers = letter_headers(message, reason, detail, pipeline="p", version="1")
        self.letters.append((message.key(), message.value(), headers))
        self._arrive_some()

    def flush(self, deadline: Deadline) -> None:
        del deadline
        self._arrive(len(self.letters))

    # --- as marks -------------------------------------------------------------------------------

    def put(self, mark: Mark) -> None:
        self.marks.append(mark)

    def acknowledged(self) -> Offset | None:
        self._store(self.random.randint(0, len(self.marks)))
        return self.answers.pop(0) if self.answers else None

    def wait(self, deadline: Deadline) -> None:
        del deadline
        self._store(len(self.marks))

    def store(self, mark: Mark, deadline: Deadline) -> Offset:
        self.put(mark)
        self.wait(deadline)
        return self.answers.pop(0)


@dataclass(frozen=True, slots=True)
class TopicLetters:
    """Implements :class:`callsheet.ports.DeadLetters` on a topic in memory."""

    topic: LetterTopic

    def put(self, message: Message, reason: Reason, detail: str) -> None:
        self.topic.put_letter(message, reason, detail)

    def flush(self, deadline: Deadline) -> None:
        self.topic.flush(deadline)


class SourceVersions(LineDecoder):
    """A row's version is where it stands in its source, whatever place it has in a redrive."""

    def decode(self, messages: Sequence[Message]) -> Decoded:
        decoded = super().decode(messages)
        return replace(decoded, batches=[_versioned(batch) for batch in decoded.batches])


def _versioned(batch: Batch) -> Batch:
    versions = [cast("Redriven", m).original.offset() + 1 for m in batch.messages]
    column = pl.Series("version", versions, dtype=pl.Int64)
    return replace(batch, columns=batch.frame.with_columns(column))
