"""Letters and marks, folded: what is open, what is settled, and by whom."""

from __future__ import annotations

from dataclasses import replace

import pytest

from callsheet.batch import Partition
from callsheet.errors import Reason
from callsheet.kafka.dead_letters import fitted, letter_headers
from callsheet.kafka.letters import (
    FIRST_REDRIVE_PARTITION,
    MARK,
    Choice,
    CutValue,
    Deed,
    LetterBook,
    Mark,
    Record,
    State,
    StoredLetter,
    letter_of,
    mark_of,
    original_of,
    presented,
)
from tests.support.batches import RawMessage

RECORD = RawMessage("studio.finance.titles", 3, 77, b"key", b"value", (("own", b"x"),))


class Log:
    """A dead-letter topic: offsets count up."""

    def __init__(self) -> None:
        self.book, self.next = LetterBook(), 0

    def _put(self, message: RawMessage) -> int:
        self.book.take(message)
        self.next += 1
        return self.next - 1

    def letter(self, offset: int = 77, reason: Reason = Reason.REJECTED) -> int:
        return self._put(stored(replace(RECORD, _offset=offset), self.next, reason))

    def mark(self, deed: Deed, *letters: int, run: int = 0) -> int:
        mark = Mark(deed, letters, "ann", "2026-11-23T00:00:00+00:00", "why", run)
        headers = tuple(mark.headers().items())
        return self._put(RawMessage("letters", 0, self.next, None, mark.value(), headers))

    def states(self) -> dict[int, State]:
        return {offset: letter.state for offset, letter in self.book.letters.items()}


def stored(record: RawMessage | Record, at: int, reason: Reason = Reason.REJECTED) -> RawMessage:
    headers = letter_headers(record, reason, "because", pipeline="p", version="1")
    return RawMessage("letters", 0, at, record.key(), record.value(), tuple(headers))


def a_letter(message: RawMessage) -> StoredLetter:
    letter = letter_of(message)
    assert letter is not None
    return letter


def test_a_letter_is_read_as_it_was_written() -> None:
    letter = a_letter(stored(RECORD, 5))
    assert letter.offset == 5
    assert letter.source == Partition("studio.finance.titles", 3)
    assert (letter.source_offset, letter.reason, letter.detail) == (77, "rejected", "because")
    assert (letter.attempts, letter.timestamp, letter.cut) == (1, (1, 1_800_000_000_000), None)


def test_a_letter_gives_its_record_back() -> None:
    message = stored(RECORD, 5)
    record = original_of(a_letter(message), message)
    assert (record.topic(), record.partition(), record.offset()) == (RECORD.topic(), 3, 77)
    assert (record.key(), record.value()) == (b"key", b"value")
    assert record.timestamp() == RECORD.timestamp()
    assert record.headers() == (("own", b"x"), ("callsheet.count", b"1"))


def test_what_fails_again_is_a_letter_of_the_same_place_with_one_attempt_more() -> None:
    message = stored(RECORD, 5)
    letter = a_letter(message)
    again = presented(letter, original_of(letter, message), run=9, place=4)
    assert (again.partition(), again.offset()) == (FIRST_REDRIVE_PARTITION + 9, 4)
    second = a_letter(stored(again.original, 12))
    assert (second.place, second.attempts) == (letter.place, 2)


def test_a_cut_letter_knows_what_it_lacks() -> None:
    big = replace(RECORD, _value=b"v" * 50_000)
    headers = letter_headers(big, Reason.OVERSIZE, "x", pipeline="p", version="1")
    small = fitted(big, headers, 20_000)
    letter = a_letter(RawMessage("letters", 0, 1, small.key, small.value, tuple(small.headers)))
    assert isinstance(letter.cut, CutValue)
    assert letter.cut.size_bytes == 50_000


@pytest.mark.parametrize("missing", ["topic", "offset", "reason", "count", "timestamp_ms"])
def test_what_lacks_a_header_is_no_letter(missing: str) -> None:
    message = stored(RECORD, 0)
    kept = tuple(h for h in message.headers() if h[0] != f"callsheet.{missing}")
    assert letter_of(replace(message, _headers=kept)) is None


def test_a_mark_is_read_as_it_was_written() -> None:
    mark = Mark(Deed.DISCARDED, (1, 2), "ann", "2026-11-23T00:00:00+00:00", "why", 7)
    message = RawMessage("letters", 0, 3, None, mark.value(), tuple(mark.headers().items()))
    assert mark_of(message) == mark


@pytest.mark.parametrize("value", [None, b"", b"{", b'{"deed": "burnt"}', b"[]"])
def test_a_mark_that_cannot_be_read_settles_nothing(value: bytes | None) -> None:
    log = Log()
    log.letter()
    log.book.take(RawMessage("letters", 0, 9, None, value, ((MARK, b"redriven"),)))
    assert log.states() == {0: State.OPEN}
    assert log.book.strange == 1


def test_the_newest_letter_of_a_record_counts() -> None:
    log = Log()
    log.letter(1)
    log.letter(2)
    log.letter(1)
    assert log.states() == {0: State.SUPERSEDED, 1: State.OPEN, 2: State.OPEN}


def test_redriven_discarded_and_what_comes_after() -> None:
    log = Log()
    first, second = log.letter(1), log.letter(2)
    log.mark(Deed.REDRIVEN, first)
    log.mark(Deed.DISCARDED, second, first)
    assert log.states() == {first: State.REDRIVEN, second: State.DISCARDED}
    mark = log.book.letters[second].mark
    assert mark is not None
    assert (mark.by, mark.why) == ("ann", "why")
    third = log.letter(1)  # the source was replayed, and it failed again
    assert log.states()[first] is State.REDRIVEN
    assert log.states()[third] is State.OPEN


def test_a_letter_that_failed_again_before_its_mark_stays_superseded() -> None:
    log = Log()
    first = log.letter()
    begun = log.mark(Deed.BEGUN, first)
    second = log.letter()
    assert log.book.unfinished() == [], "its only letter has a successor"
    log.mark(Deed.REDRIVEN, first, run=begun)
    assert log.states() == {first: State.SUPERSEDED, second: State.OPEN}


def test_a_redrive_is_unfinished_while_one_of_its_letters_is_open() -> None:
    log = Log()
    first, second = log.letter(1), log.letter(2)
    begun = log.mark(Deed.BEGUN, second, first)
    log.mark(Deed.REDRIVEN, second, run=begun)
    [run] = log.book.unfinished()
    assert (run.number, run.letters) == (begun, (second, first))
    log.mark(Deed.DISCARDED, first)
    assert log.book.unfinished() == []


def test_letters_that_retention_took_are_no_business_of_a_mark() -> None:
    log = Log()
    log.mark(Deed.BEGUN, 500, 501)
    log.mark(Deed.REDRIVEN, 500)
    assert (log.book.unfinished(), log.states()) == ([], {})


@pytest.mark.parametrize(
    ("choice", "taken"),
    [
        (Choice(), True),
        (Choice(offsets=frozenset({5})), True),
        (Choice(offsets=frozenset({6})), False),
        (Choice(reasons=frozenset({"rejected", "foreign"})), True),
        (Choice(reasons=frozenset({"foreign"})), False),
        (Choice(tables=frozenset({"finance.titles"})), True),
        (Choice(tables=frozenset({"titles"})), True),
        (Choice(tables=frozenset({"studio.finance.titles"})), True),
        (Choice(tables=frozenset({"itles"})), False),
        (Choice(since_ms=1_800_000_000_000), True),
        (Choice(since_ms=1_800_000_000_001), False),
        (Choice(offsets=frozenset({5}), reasons=frozenset({"foreign"})), False),
    ],
)
def test_a_choice(choice: Choice, *, taken: bool) -> None:
    assert choice.takes(a_letter(stored(RECORD, 5))) is taken
