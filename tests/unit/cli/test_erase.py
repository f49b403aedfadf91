"""What `callsheet erase` says, and when it is content."""

from __future__ import annotations

import io
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Self, cast

import pytest
from rich.console import Console

from callsheet.cli import erasure
from callsheet.cli.erase import as_data, render
from callsheet.cli.erase import erase as command
from callsheet.cli.erasure import Erasure, Wish, _insist, _Opened, chosen, schema_of
from callsheet.config.loading import Pipeline
from callsheet.errors import FencedError, UnavailableError, UsageError
from callsheet.kafka.letters import Deed
from callsheet.kafka.letters_erasure import Sorted
from callsheet.sink import Holding
from tests.support.kafka import LineDecoder
from tests.unit.kafka.test_letters_erasure import Log

TOPIC = "studio.finance.talent"
GONE, THERE, UNKNOWN = Holding(False, 7), Holding(True, 7), Holding(False, None)


def an_erasure(**more: Any) -> Erasure:
    known: dict[str, Any] = {
        "can_erase": True, "before": {"42": THERE}, "after": {"42": GONE},
        "letters": Sorted(9, frozenset({3}), frozenset(), frozenset({1, 2}), 4),
    }  # fmt: skip
    return Erasure("search", "elasticsearch", TOPIC, **{**known, **more})


def shown(found: Erasure, *, is_dry: bool = False) -> str:
    out = io.StringIO()
    render(Console(file=out, width=200), [found], is_dry=is_dry)
    return out.getvalue()


def test_what_was_erased_and_what_stays() -> None:
    text = shown(an_erasure())
    assert "ID 42: erased; version 7 stays" in text
    assert "1 erased, 2 others open" in text
    assert "4 settled ones of others go with them" in text
    assert an_erasure().is_complete


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"after": {"42": THERE}}, "still has values"),
        ({"unread": 5}, "5 records of the table are not read yet"),
        ({"unread": None}, "an unknown number of records"),
        ({"letters_left": 1, "letters": Sorted(9, frozenset(), frozenset({1}), frozenset(), 0)},
         "1 of the table do not decode"),
    ],
)  # fmt: skip
def test_it_is_not_content_while_anything_is_left(more: dict[str, Any], says: str) -> None:
    found = an_erasure(**more)
    assert not found.is_complete
    assert says in shown(found)


def test_a_look_changes_no_words_into_deeds() -> None:
    text = shown(an_erasure(after={"42": THERE}), is_dry=True)
    assert "ID 42: has values" in text
    assert "1 to erase" in text
    assert "erased" not in text


def test_a_destination_that_only_retention_empties_is_said() -> None:
    found = an_erasure(before={}, after={}, can_erase=False, letters=None)
    assert "its retention alone" in shown(found)
    assert "no dead letters" in shown(found)


def test_nothing_known_of_a_row() -> None:
    assert "no values; nothing is known" in shown(
        an_erasure(before={"42": UNKNOWN}, after={"42": UNKNOWN})
    )


def test_the_report_is_data_without_values() -> None:
    data = as_data(an_erasure())
    assert data["rows"] == [{"id": "42", "had_values": True, "has_values": False, "version": 7}]
    assert data["letters"] == {"erased": [3], "doubtful": [], "kept": 2, "settled": 4}


def test_it_does_nothing_unless_it_is_told_to() -> None:
    with pytest.raises(UsageError, match="cannot be brought back"):
        command([], table="finance.talent", identifier=["42"], doubtful=False)


@pytest.mark.parametrize("table", ["finance.talent", "talent", TOPIC])
def test_a_table_is_named_in_short_or_in_full(table: str) -> None:
    assert (
        chosen({TOPIC, "studio.finance.talent_payments", "studio.finance.titles"}, table) == TOPIC
    )


def test_a_table_that_two_sources_have_must_be_named_in_full() -> None:
    topics = {TOPIC, "other.finance.talent"}
    with pytest.raises(UsageError, match=r"other\.finance\.talent, studio\.finance\.talent"):
        chosen(topics, "finance.talent")
    assert chosen(topics, TOPIC) == TOPIC
    assert chosen(topics, "finance.titles") is None


def test_a_topics_name_says_whose_table_it_is() -> None:
    schema = schema_of("studio.eu.finance.talent")
    assert (schema.source, schema.qualified_name) == ("studio.eu", "finance.talent")
    with pytest.raises(UsageError, match=r"source\.database\.table"):
        schema_of("talent")


class Stubborn:
    """Loses its transaction so often."""

    def __init__(self, losses: int) -> None:
        self.losses, self.erased = losses, 0

    def look(self, *_: Any) -> dict[str, Holding]:
        return {"42": THERE}

    def erase(self, *_: Any) -> None:
        self.erased += 1

    def close(self) -> None: ...

    def settle(self) -> bool:
        self.losses -= 1
        return self.losses < 0


def test_a_row_that_is_written_meanwhile_is_tried_again_but_not_for_ever() -> None:
    once, always = Stubborn(1), Stubborn(99)
    _insist(_Opened(once, once.settle), TOPIC, schema_of(TOPIC), ["42"])
    assert once.erased == 2
    with pytest.raises(UnavailableError, match="again and again"):
        _insist(_Opened(always, always.settle), TOPIC, schema_of(TOPIC), ["42"])


# --- its dead letters ---------------------------------------------------------------------------


@dataclass
class Letters(Log):
    """As the log, the turn, and where copies go."""

    keeps: int = 1_000
    """So often the turn is still ours."""

    def exists(self) -> bool:
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def keep(self) -> None:
        self.keeps -= 1
        if self.keeps < 0:
            raise FencedError("the group has gone on without us")


@pytest.fixture
def letters(monkeypatch: pytest.MonkeyPatch) -> Letters:
    made = Letters()
    topics = SimpleNamespace(delete_before=lambda _topic, _number, end: made.delete_before(end))
    for name, value in {
        "letter_log": made, "RedriveTurn": made, "LetterCopies": made, "KafkaTopics": topics,
        "connection_of": SimpleNamespace(common=dict), "decoder_of": LineDecoder(),
    }.items():  # fmt: skip
        monkeypatch.setattr(erasure, name, lambda *_, _value=value, **__: _value)
    return made


def from_letters(*, with_doubtful: bool = False, is_dry: bool = False) -> Erasure:
    dead = SimpleNamespace(max_message_bytes=1 << 20, budget_seconds=1.0)
    settings = SimpleNamespace(group_id="search", dead_letters=dead)
    pipeline = cast("Pipeline", SimpleNamespace(settings=settings))
    found = an_erasure(letters=None)
    wish = Wish("finance.talent", ("42",), with_doubtful, is_dry)
    erasure._from_letters(pipeline, wish, TOPIC, found)
    return found


def test_a_discarded_letter_that_nobody_can_read_is_left_until_it_is_wished(
    letters: Letters,
) -> None:
    letters.mark(Deed.DISCARDED, letters.letter(TOPIC, 1, "42", "bad"))
    letters.letter(TOPIC, 2, "7")
    left = from_letters()
    assert (left.letters_left, left.is_complete) == (1, False)
    assert "1 of the table do not decode" in shown(left)
    assert "--doubtful erases them too" in shown(left)
    assert letters.holds(b"bad")

    done = from_letters(with_doubtful=True)
    assert done.is_complete
    assert not letters.holds(b"bad")
    assert letters.open() == [(TOPIC, 2)]
    assert "1 that do not decode went too" in shown(done)
    assert "--doubtful" not in shown(done)
    assert from_letters().is_complete


def test_settled_doubtful_letters_go_with_the_rows_own_and_open_ones_are_left(
    letters: Letters,
) -> None:
    letters.letter(TOPIC, 1, "42", "secret")
    letters.mark(Deed.DISCARDED, letters.letter(TOPIC, 2, "7", "bad"))
    letters.letter(TOPIC, 3, "7", "bad")
    done = from_letters()
    assert (done.letters_left, done.is_complete) == (1, False)
    assert letters.open() == [(TOPIC, 3)]
    assert "1 of the table do not decode" in shown(done)
    assert "1 that do not decode went too" in shown(done)


def test_a_look_takes_nothing(letters: Letters) -> None:
    letters.letter(TOPIC, 1, "42", "secret")
    letters.letter(TOPIC, 2, "42", "bad")
    seen = from_letters(with_doubtful=True, is_dry=True)
    assert (seen.letters_left, letters.begin) == (2, 0)
    assert "went too" not in shown(seen, is_dry=True)


@pytest.mark.parametrize("keeps", [0, 1])
def test_nothing_is_deleted_once_somebody_else_may_have_the_turn(
    letters: Letters, keeps: int
) -> None:
    letters.letter(TOPIC, 1, "42", "secret")
    letters.letter(TOPIC, 2, "7")
    letters.keeps = keeps
    with pytest.raises(FencedError):
        from_letters()
    assert (letters.begin, letters.end()) == (0, 2 + keeps)
    assert letters.open() == [(TOPIC, 1), (TOPIC, 2)]
