"""`callsheet dlq discard`: it decides only while nobody else moves or presents the letters."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any, Self, cast

import pytest

from callsheet.batch import Offset, Partition
from callsheet.cli import dlq_discard
from callsheet.cli.dlq_discard import Decision, discard
from callsheet.config.models import PipelineSettings
from callsheet.errors import FencedError, Reason, UsageError
from callsheet.kafka.letters import Choice, LetterBook, Mark, Record, State
from tests.support.letters import LetterTopic, TopicLetters

EVERYTHING = Decision(Choice(), "ann", "test data")


@dataclass
class Dead:
    budget_seconds: float = 1.0


@dataclass
class Settings:
    group_id: str = "search"
    dead_letters: Dead = field(default_factory=Dead)


@dataclass
class Desk:
    """The letters, and the turn at them."""

    letters: LetterTopic = field(default_factory=lambda: LetterTopic(Random(1)))
    topic: str = "letters"
    is_there: bool = True
    taken_by_another: bool = False
    lost_after: int = 1_000
    """So many marks."""
    is_held: bool = False
    turns: int = 0
    marks: list[tuple[Offset, ...]] = field(default_factory=list)

    def letter(self, offset: Offset) -> None:
        at = Partition("studio.finance.titles", 0)
        record = Record(at, offset, (1, 0), b"key", b"value", ())
        TopicLetters(self.letters).put(record, Reason.REJECTED, "x")
        self.letters.flush(None)  # type: ignore[arg-type]

    def discard(self, decision: Decision = EVERYTHING, *, is_dry: bool = False) -> list[Offset]:
        return discard(cast("PipelineSettings", Settings()), decision, is_dry=is_dry)

    def states(self) -> list[State]:
        return [letter.state for letter in self.letters.book().letters.values()]

    # --- as the log and the marks ---------------------------------------------------------------

    def exists(self) -> bool:
        return self.is_there

    def book(self) -> LetterBook:
        return self.letters.book()

    def store(self, mark: Mark, deadline: Any) -> Offset:
        assert self.is_held
        self.marks.append(mark.letters)
        return self.letters.store(mark, deadline)

    # --- as the turn ----------------------------------------------------------------------------

    def __enter__(self) -> Self:
        if self.taken_by_another:
            raise UsageError("another redrive, discard or erase", hint="wait for it")
        self.is_held = True
        self.turns += 1
        return self

    def __exit__(self, *_: object) -> None:
        self.is_held = False

    def keep(self) -> None:
        if len(self.marks) >= self.lost_after:
            raise FencedError("the group has gone on without us")


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    made = Desk()
    for name in ("letter_log", "marks_of", "RedriveTurn", "connection_of"):
        monkeypatch.setattr(dlq_discard, name, lambda *_: made)
    return made


def test_letters_are_discarded_by_somebody_for_a_reason(desk: Desk) -> None:
    desk.letter(1)
    desk.letter(2)
    assert desk.discard(Decision(Choice(frozenset({1})), "ann", "test data")) == [1]
    assert desk.states() == [State.OPEN, State.DISCARDED]
    mark = desk.letters.book().letters[1].mark
    assert mark is not None
    assert (mark.by, mark.why) == ("ann", "test data")
    assert (desk.turns, desk.is_held) == (1, False)


def test_while_somebody_else_has_the_turn_nothing_is_noted(desk: Desk) -> None:
    desk.letter(1)
    desk.taken_by_another = True
    with pytest.raises(UsageError, match="another redrive"):
        desk.discard()
    assert (desk.marks, desk.states()) == ([], [State.OPEN])


def test_the_letters_are_those_that_are_there_once_the_turn_is_held(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an erase has moved meanwhile is named by its new number."""
    desk.letter(1)

    def turn(*_: object) -> Desk:
        desk.letter(1)
        return desk

    monkeypatch.setattr(dlq_discard, "RedriveTurn", turn)
    assert desk.discard() == [1]
    assert desk.states() == [State.SUPERSEDED, State.DISCARDED]


def test_with_the_turn_the_rest_is_lost_but_not_what_is_noted(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dlq_discard, "RUN_LETTERS", 1)
    desk.letter(1)
    desk.letter(2)
    desk.lost_after = 1
    with pytest.raises(FencedError):
        desk.discard()
    assert desk.states() == [State.DISCARDED, State.OPEN]


def test_to_look_takes_no_turn(desk: Desk) -> None:
    desk.letter(1)
    desk.taken_by_another = True
    assert desk.discard(is_dry=True) == [0]
    assert desk.marks == []


def test_where_nothing_was_ever_put_aside_nothing_is_discarded(desk: Desk) -> None:
    desk.is_there = False
    assert desk.discard() == []
    assert desk.turns == 0


def test_nothing_is_noted_of_no_letter(desk: Desk) -> None:
    assert desk.discard() == []
    assert desk.marks == []
