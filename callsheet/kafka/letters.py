"""Dead letters read back: what each says, and what became of it.

The letters' topic is a log of two kinds of records. A *letter* is a record that could not be
delivered (:mod:`callsheet.kafka.dead_letters` writes it). A *mark* says what somebody did about
letters, by their offsets: a redrive began, these are redriven, these are discarded. A mark stands
behind its letters in the same partition, so retention never takes it before them.

Of several letters of one place in a source topic only the newest counts: a crash repeats a letter,
and a letter that fails again is followed by its successor.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final, cast

import msgspec

from callsheet.batch import Message, Offset, Partition
from callsheet.kafka.dead_letters import PREFIX, original_place

MARK: Final = f"{PREFIX}mark"
"""Header of a mark: which :class:`Deed`."""

Headers = Sequence[tuple[str, bytes | None]]


class Deed(StrEnum):
    BEGUN = "begun"
    """A redrive presents these letters, in this order."""
    REDRIVEN = "redriven"
    """The destination has them, or they have become letters anew."""
    DISCARDED = "discarded"
    """Somebody decided that they will never be delivered."""


class State(StrEnum):
    OPEN = "open"
    REDRIVEN = "redriven"
    DISCARDED = "discarded"
    SUPERSEDED = "superseded"
    """There is a newer letter of the same record."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Somebody's deed. ``run`` is the offset of the redrive's BEGUN, 0 for other deeds."""

    deed: Deed
    letters: tuple[Offset, ...]
    by: str
    at: str
    why: str = ""
    run: Offset = 0

    def value(self) -> bytes:
        return msgspec.json.encode(self)

    def headers(self) -> Mapping[str, bytes]:
        return {MARK: self.deed.value.encode()}


@dataclass(frozen=True, slots=True)
class CutValue:
    """What a letter knows of a value too large for it."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class StoredLetter:
    """A letter without its bytes, which may be many.

    Attributes:
        offset: in the letters' topic: how people name a letter.
        written_ms: when it was written.
        source, source_offset: where the record stood.
        timestamp: of the record, as the client gives it.
        attempts: how often it has failed.
        cut: None where the letter carries the whole record.
    """

    offset: Offset
    written_ms: int
    source: Partition
    source_offset: Offset
    timestamp: tuple[int, int]
    reason: str
    detail: str
    version: str
    attempts: int
    size_bytes: int
    cut: CutValue | None = None
    state: State = State.OPEN
    mark: Mark | None = None
    """What settled it."""

    @property
    def place(self) -> tuple[str, int, Offset]:
        """Sorted by this, the records of one ID are in the order of their log."""
        return self.source.topic, self.source.number, self.source_offset


def letter_of(message: Message) -> StoredLetter | None:
    """None for a record that is no letter of ours."""
    headers = dict(message.headers() or ())
    try:
        topic, number, offset = original_place(headers)
        reason, detail, version = (_text(headers, name) for name in ("reason", "detail", "version"))
        attempts, timestamp_ms = int(_text(headers, "count")), int(_text(headers, "timestamp_ms"))
        kind = {"create": 1, "append": 2}.get(_text(headers, "timestamp_type"), 0)
        cut = _cut(headers)
    except (KeyError, ValueError, AttributeError):
        return None
    return StoredLetter(
        offset=message.offset(),
        written_ms=message.timestamp()[1],
        source=Partition(topic, number),
        source_offset=offset,
        timestamp=(kind, timestamp_ms),
        reason=reason,
        detail=detail,
        version=version,
        attempts=attempts,
        size_bytes=len(message.value() or b"") + len(message.key() or b""),
        cut=cut,
    )


def _text(headers: Mapping[str, bytes | None], name: str) -> str:
    return cast("bytes", headers[PREFIX + name]).decode("utf-8", "replace")


def _cut(headers: Mapping[str, bytes | None]) -> CutValue | None:
    if f"{PREFIX}cut" not in headers:
        return None
    return CutValue(int(_text(headers, "value_bytes")), _text(headers, "value_sha256"))


def mark_of(message: Message) -> Mark | None:
    """None for a record that is no mark, or one that we cannot read: it settles nothing."""
    if MARK not in dict(message.headers() or ()):
        return None
    try:
        return msgspec.json.decode(message.value() or b"", type=Mark)
    except msgspec.DecodeError:
        return None


@dataclass(frozen=True, slots=True)
class Run:
    """One redrive: its number, and its letters in the order in which they are presented. A letter
    keeps its place in there for good, so that a destination can tell a repeat.
    """

    number: Offset
    letters: tuple[Offset, ...]


@dataclass(slots=True)
class LetterBook:
    """All that the letters' topic holds, folded in the order of the log."""

    letters: dict[Offset, StoredLetter] = field(default_factory=dict)
    strange: int = 0
    """Records that are neither letter nor mark."""
    _newest: dict[tuple[str, int, Offset], Offset] = field(default_factory=dict)
    _runs: list[Run] = field(default_factory=list)

    def take(self, message: Message) -> None:
        mark = mark_of(message)
        if mark is not None:
            self._heed(mark, message.offset())
            return
        letter = letter_of(message)
        if letter is None:
            self.strange += 1
            return
        before = self._newest.get(letter.place)
        if before is not None:
            self._settle([before], State.SUPERSEDED, None)
        self._newest[letter.place] = letter.offset
        self.letters[letter.offset] = letter

    def _heed(self, mark: Mark, offset: Offset) -> None:
        match mark.deed:
            case Deed.BEGUN:
                self._runs.append(Run(offset, mark.letters))
            case Deed.REDRIVEN:
                self._settle(mark.letters, State.REDRIVEN, mark)
            case Deed.DISCARDED:
                self._settle(mark.letters, State.DISCARDED, mark)

    def _settle(self, offsets: Iterable[Offset], state: State, mark: Mark | None) -> None:
        for offset in offsets:
            letter = self.letters.get(offset)  # retention may have taken it
            if letter is not None and letter.state is State.OPEN:
                self.letters[offset] = replace(letter, state=state, mark=mark)

    def open(self) -> list[StoredLetter]:
        return [letter for letter in self.letters.values() if letter.state is State.OPEN]

    def unfinished(self) -> list[Run]:
        """Redrives of which a letter is open still, in the order of their beginning."""
        found = []
        for run in self._runs:
            letters = (self.letters.get(offset) for offset in run.letters)
            if any(letter is not None and letter.state is State.OPEN for letter in letters):
                found.append(run)
        return found


@dataclass(frozen=True, slots=True)
class Choice:
    """Which letters a command is about; what is left out restricts nothing."""

    offsets: frozenset[Offset] = frozenset()
    reasons: frozenset[str] = frozenset()
    tables: frozenset[str] = frozenset()
    """Source topics, or how they end: ``finance.titles``."""
    since_ms: int = 0

    def __bool__(self) -> bool:
        return bool(self.offsets or self.reasons or self.tables or self.since_ms)

    def takes(self, letter: StoredLetter) -> bool:
        topic = letter.source.topic
        return (
            (not self.offsets or letter.offset in self.offsets)
            and (not self.reasons or letter.reason in self.reasons)
            and (not self.tables or any(_is_of(topic, table) for table in self.tables))
            and letter.written_ms >= self.since_ms
        )


def _is_of(topic: str, table: str) -> bool:
    return topic == table or topic.endswith(f".{table}")


# --- presented again ----------------------------------------------------------------------------

FIRST_REDRIVE_PARTITION: Final = 1_000_000
"""A redrive is a partition of its own: this number plus its own. Under the record's old place a
destination that keeps its own offsets would take the record for one that it has, and skip it.
"""


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it stood in its source topic."""

    at: Partition
    number: Offset
    time: tuple[int, int]
    key_: bytes | None
    value_: bytes | None
    headers_: Headers

    def topic(self) -> str:
        return self.at.topic

    def partition(self) -> int:
        return self.at.number

    def offset(self) -> int:
        return self.number

    def key(self) -> bytes | None:
        return self.key_

    def value(self) -> bytes | None:
        return self.value_

    def headers(self) -> Headers:
        return self.headers_

    def timestamp(self) -> tuple[int, int]:
        return self.time


@dataclass(frozen=True, slots=True)
class Redriven(Record):
    """The same, presented at ``at`` and ``number`` of a redrive. ``original``: what a new letter
    must say, should it fail again.
    """

    original: Record
    letter: StoredLetter


def original_of(letter: StoredLetter, message: Message) -> Record:
    """The record that a letter carries. Its own headers, and how often it failed already."""
    headers = message.headers() or ()
    own = [h for h in headers if not h[0].startswith(PREFIX)]
    count: Any = (f"{PREFIX}count", str(letter.attempts).encode())
    return Record(
        letter.source,
        letter.source_offset,
        letter.timestamp,
        message.key(),
        message.value(),
        (*own, count),
    )


def presented(letter: StoredLetter, original: Record, run: Offset, place: int) -> Redriven:
    """``place``: of the letter in its run."""
    return Redriven(
        at=Partition(letter.source.topic, FIRST_REDRIVE_PARTITION + run),
        number=place,
        time=original.time,
        key_=original.key_,
        value_=original.value_,
        headers_=original.headers_,
        original=original,
        letter=letter,
    )
