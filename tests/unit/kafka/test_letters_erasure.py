"""Letters of one row leave their topic; everybody else's stay, however often it is interrupted."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from random import Random

import pytest

from callsheet.batch import Message, Offset, Partition
from callsheet.errors import DeadLetterError, PreconditionError, Reason
from callsheet.kafka.letters import Deed, LetterBook, Mark, Record, State, StoredLetter
from callsheet.kafka.letters_erasure import Sorted, rewrite, sort_out
from tests.support.kafka import LineDecoder
from tests.support.letters import LetterTopic, TopicLetters

TALENT, TITLES = "studio.finance.talent", "studio.finance.titles"


@dataclass
class Log:
    """The topic, with a beginning that can be moved."""

    topic: LetterTopic = field(default_factory=lambda: LetterTopic(Random(1)))
    begin: Offset = 0
    fails: bool = False
    gone: set[Offset] = field(default_factory=set)
    """Cut letters whose record nobody has any more."""

    def letter(self, topic: str, offset: Offset, key: str, text: str = "x") -> Offset:
        record = Record(Partition(topic, 0), offset, (1, 0), key.encode(), text.encode(), ())
        TopicLetters(self.topic).put(record, Reason.REJECTED, "x")
        self.topic.flush(None)  # type: ignore[arg-type]
        return len(self.topic.log) - 1

    def mark(self, deed: Deed, *letters: Offset) -> None:
        self.topic.store(Mark(deed, letters, "me", "now"), None)  # type: ignore[arg-type]

    def end(self) -> Offset:
        return len(self.topic.log)

    def messages(self, before: Offset) -> Iterator[Message]:
        return iter(self.topic.log[self.begin : before])

    def behind(self, first: Offset) -> Iterator[Message]:
        return iter(self.topic.log[first:])

    def originals(self, letters: Collection[StoredLetter]) -> dict[Offset, Record]:
        there = [x for x in letters if x.offset not in self.gone]
        return self.topic.originals(there)

    def put(self, message: Message) -> None:
        self.topic._append(message.key(), message.value(), message.headers() or ())

    def flush(self) -> None:
        if self.fails:
            raise DeadLetterError("no acknowledgement")

    def delete_before(self, offset: Offset) -> None:
        self.begin = offset

    # --- what the test does and sees ------------------------------------------------------------

    def sorted(self, *identifiers: str) -> Sorted:
        return sort_out(self, LineDecoder(), TALENT, identifiers)

    def erase(self, *identifiers: str, with_doubtful: bool = False) -> None:
        plan = self.sorted(*identifiers)
        stays = plan.stays(with_doubtful=with_doubtful)
        rewrite(self, self, self.delete_before, plan.end, stays)

    def book(self) -> LetterBook:
        book = LetterBook()
        for message in self.messages(self.end()):
            book.take(message)
        return book

    def open(self) -> list[tuple[str, Offset]]:
        return sorted((x.source.topic, x.source_offset) for x in self.book().open())

    def holds(self, text: bytes) -> bool:
        return any(m.value() == text or m.key() == text for m in self.messages(self.end()))


def test_only_the_rows_own_letters_go() -> None:
    log = Log()
    log.letter(TALENT, 1, "42", "secret")
    log.letter(TALENT, 2, "7")
    log.letter(TITLES, 3, "42")
    log.erase("42")
    assert log.open() == [(TALENT, 2), (TITLES, 3)]
    assert not log.holds(b"secret")
    assert log.sorted("42") == Sorted(log.end(), frozenset(), frozenset(), frozenset({3, 4}), 0)


def test_settled_letters_of_the_row_go_too_and_no_settled_one_comes_back() -> None:
    log = Log()
    mine, other = log.letter(TALENT, 1, "42", "secret"), log.letter(TALENT, 2, "7")
    log.letter(TALENT, 3, "8")
    log.mark(Deed.REDRIVEN, mine)
    log.mark(Deed.DISCARDED, other)
    assert log.sorted("42").erased == {mine}
    assert log.sorted("42").settled == 1
    log.erase("42")
    assert not log.holds(b"secret")
    assert log.open() == [(TALENT, 3)]


def test_what_nobody_can_read_stays_unless_it_is_wished() -> None:
    log = Log()
    log.letter(TALENT, 1, "42")
    doubtful = log.letter(TALENT, 2, "42", "bad")
    log.letter(TITLES, 3, "42", "bad")
    assert log.sorted("42").doubtful == {doubtful}
    log.erase("42")
    assert log.open() == [(TALENT, 2), (TITLES, 3)]
    log.erase("42", with_doubtful=True)
    assert log.open() == [(TITLES, 3)]


@pytest.mark.parametrize("deed", [Deed.DISCARDED, Deed.REDRIVEN])
@pytest.mark.parametrize("is_cut", [False, True])
def test_a_settled_letter_that_nobody_can_read_is_doubtful_too(deed: Deed, *, is_cut: bool) -> None:
    log = Log()
    settled = log.letter(TALENT, 1, "42", "secret" if is_cut else "bad")
    log.gone = {settled} if is_cut else set()
    log.letter(TALENT, 2, "7")
    log.letter(TITLES, 3, "42", "bad")
    log.mark(deed, settled)
    plan = log.sorted("42")
    assert plan.doubtful == {settled}
    assert (plan.open_doubtful, plan.settled) == (frozenset(), 0)
    assert plan.kept == {1, 2}, "what others have open"
    log.erase("42", with_doubtful=True)
    assert log.open() == [(TALENT, 2), (TITLES, 3)]
    assert len(log.book().letters) == 2
    assert not log.sorted("42").doubtful


def test_a_superseded_letter_that_nobody_can_read_is_doubtful_too() -> None:
    log = Log()
    first, second = log.letter(TALENT, 1, "42", "bad"), log.letter(TALENT, 1, "42", "bad")
    plan = log.sorted("42")
    assert plan.doubtful == {first, second}
    assert plan.open_doubtful == {second}


def test_a_discarded_letter_that_nobody_can_read_is_not_opened_again() -> None:
    log = Log()
    log.letter(TALENT, 1, "42")
    log.mark(Deed.DISCARDED, log.letter(TALENT, 2, "7", "bad"))
    log.letter(TALENT, 3, "7", "bad")
    log.erase("42")
    assert log.open() == [(TALENT, 3)]


def test_cut_short_before_the_deletion_each_letter_still_counts_once() -> None:
    log = Log()
    log.letter(TALENT, 1, "42", "secret")
    log.letter(TALENT, 2, "7")
    log.fails = True
    with pytest.raises(DeadLetterError):
        log.erase("42")
    assert log.begin == 0
    assert log.open() == [(TALENT, 1), (TALENT, 2)]
    log.fails = False
    log.erase("42")
    assert log.open() == [(TALENT, 2)]
    assert not log.holds(b"secret")


def test_letters_that_arrive_meanwhile_stay_where_they_are() -> None:
    log = Log()
    log.letter(TALENT, 1, "42")
    plan = log.sorted("42")
    late = log.letter(TALENT, 9, "7")
    rewrite(log, log, log.delete_before, plan.end, plan.kept)
    assert log.open() == [(TALENT, 9)]
    assert log.topic.log[late].offset() == late


def test_no_old_copy_stands_behind_a_letter_that_failed_again_meanwhile() -> None:
    log = Log()
    log.letter(TALENT, 1, "42", "secret")
    old = log.letter(TALENT, 2, "7")
    log.letter(TALENT, 3, "8")
    plan = log.sorted("42")
    late = log.letter(TALENT, 2, "7")  # a worker met the record once more
    rewrite(log, log, log.delete_before, plan.end, plan.stays(with_doubtful=False))
    assert old in plan.kept
    assert log.open() == [(TALENT, 2), (TALENT, 3)]
    book = log.book()
    assert book.letters[late].state is State.OPEN
    assert {x.state for x in book.letters.values()} == {State.OPEN}


def test_a_mark_behind_the_end_takes_no_copy_away() -> None:
    log = Log()
    log.letter(TALENT, 1, "42")
    log.letter(TALENT, 2, "7")
    plan = log.sorted("42")
    log.mark(Deed.REDRIVEN, 99)
    rewrite(log, log, log.delete_before, plan.end, plan.kept)
    assert log.open() == [(TALENT, 2)]


def test_a_redrive_that_has_not_ended_keeps_its_numbers() -> None:
    log = Log()
    log.mark(Deed.BEGUN, log.letter(TALENT, 1, "7"))
    log.letter(TALENT, 2, "42")
    with pytest.raises(PreconditionError, match="has not ended"):
        log.sorted("42")


def test_attempts_and_reason_are_kept() -> None:
    log = Log()
    log.letter(TALENT, 1, "42")
    kept = log.letter(TALENT, 2, "7")
    log.erase("42")
    book = LetterBook()
    for message in log.messages(log.end()):
        book.take(message)
    [letter] = book.letters.values()
    assert letter.offset > kept
    assert (letter.state, letter.attempts, letter.reason) == (State.OPEN, 1, "rejected")
