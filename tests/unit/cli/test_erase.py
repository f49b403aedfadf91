"""What `callsheet erase` says, and when it is content."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from callsheet.cli.erase import as_data, render
from callsheet.cli.erase import erase as command
from callsheet.cli.erasure import Erasure, _insist, _Opened, chosen, schema_of
from callsheet.errors import UnavailableError, UsageError
from callsheet.kafka.letters_erasure import Sorted
from callsheet.sink import Holding

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
