"""A decoder with rules: what parks, what is poison, what is left alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from callsheet.batch import Decoded, Message, Poison, Skip
from callsheet.config.fields import FieldSettings
from callsheet.errors import Reason
from callsheet.fields.decoder import RuledDecoder, with_rules
from callsheet.schema import Column, Kind, TableSchema
from tests.support.batches import RawMessage, Row, a_batch, a_schema, upsert

TITLES = a_schema(Column("name", Kind.STRING), table="titles")
TALENT = a_schema(Column("email", Kind.STRING), table="talent")


@dataclass(slots=True)
class ScriptedDecoder:
    """A message's value says what it is: a column's text, ``poison``, or a tombstone."""

    schemas: dict[str, TableSchema]
    polls: list[int] = field(default_factory=list)

    def decode(self, messages: Sequence[Message]) -> Decoded:
        self.polls.append(len(messages))
        batches = []
        for topic in dict.fromkeys(m.topic() for m in messages):
            schema = self.schemas[topic]
            rows = [
                m for m in messages if m.topic() == topic and m.value() not in (None, b"poison")
            ]
            name = schema.columns[1].name
            batches.append(
                a_batch(
                    [_row(m, name) for m in rows],
                    schema,
                    topic=topic,
                    first_offset=rows[0].offset(),
                )
            )
        poison = [Poison(m, Reason.MALFORMED, "x") for m in messages if m.value() == b"poison"]
        tombstones = sum(m.value() is None for m in messages)
        return Decoded(batches, {Skip.TOMBSTONE: tombstones}, poison)


def _row(message: Message, name: str) -> Row:
    values: dict[str, Any] = {name: (message.value() or b"").decode()}
    return upsert(message.offset(), **values)


def messages(topic: str, *values: bytes | None) -> list[RawMessage]:
    return [RawMessage(topic, 0, n, b"k", value) for n, value in enumerate(values)]


def ruled(*tables: dict[str, Any]) -> tuple[RuledDecoder, ScriptedDecoder]:
    inner = ScriptedDecoder({"titles": TITLES, "talent": TALENT})
    return RuledDecoder(inner, FieldSettings.model_validate({"tables": tables})), inner


def test_without_rules_the_decoder_itself_serves() -> None:
    inner = ScriptedDecoder({})
    assert with_rules(inner, FieldSettings()) is inner


def test_only_the_tables_that_match_are_changed() -> None:
    decoder, _ = ruled({"table": "finance.talent", "mask": {"email": {}}})
    decoded = decoder.decode([*messages("titles", b"It"), *messages("talent", b"a@b.c")])
    images = {b.schema.table: b.frame["after"].to_list() for b in decoded.batches}
    assert images == {"titles": [{"id": 0, "name": "It"}], "talent": [{"id": 0, "email": "***"}]}
    assert [b.schema is TITLES for b in decoded.batches] == [True, False]


def test_the_first_entry_that_matches_decides() -> None:
    decoder, _ = ruled(
        {"table": "finance.talent", "mask": {"email": {"mark": "?"}}},
        {"table": "finance.t*", "exclude": ["name"]},
    )
    decoded = decoder.decode([*messages("titles", b"It"), *messages("talent", b"a@b.c")])
    images = [b.frame["after"].to_list() for b in decoded.batches]
    assert images == [[{"id": 0}], [{"id": 0, "email": "?"}]]


def test_the_raw_messages_are_untouched() -> None:
    decoder, _ = ruled({"table": "finance.talent", "mask": {"email": {}}})
    [batch] = decoder.decode(messages("talent", b"a@b.c")).batches
    assert [m.value() for m in batch.messages] == [b"{}"]  # as the inner decoder gave them
    assert batch.size_bytes == 200


def test_a_rule_without_its_column_parks_the_topic_and_counts_nothing_of_it() -> None:
    decoder, inner = ruled({"table": "finance.talent", "exclude": ["emial"]})
    poll = [*messages("titles", b"It", None), *messages("talent", b"a@b.c", None, b"poison")]
    decoded = decoder.decode(poll)
    [park] = decoded.parked
    assert (park.topic, park.reason) == ("talent", "field_rules")
    assert park.detail == "column emial is not in the table"
    assert [b.topic for b in decoded.batches] == ["titles"]
    assert decoded.skipped == {Skip.TOMBSTONE: 1}
    assert decoded.poison == []
    assert inner.polls == [5, 2]


def test_a_value_that_cannot_be_cast_is_poison_and_its_row_goes() -> None:
    decoder, _ = ruled({"table": "finance.titles", "cast": {"name": "integer"}})
    decoded = decoder.decode(messages("titles", b"1", b"x", b"poison", b"3"))
    [batch] = decoded.batches
    assert batch.frame["after"].to_list() == [{"id": 0, "name": 1}, {"id": 3, "name": 3}]
    assert [(p.message.offset(), p.reason) for p in decoded.poison] == [
        (2, Reason.MALFORMED),
        (1, Reason.UNREPRESENTABLE),
    ]
    assert "x" not in decoded.poison[1].detail.split()


def test_a_batch_of_misfits_only_is_no_batch() -> None:
    decoder, _ = ruled({"table": "finance.titles", "cast": {"name": "integer"}})
    decoded = decoder.decode(messages("titles", b"x"))
    assert decoded.batches == []
    assert len(decoded.poison) == 1


@pytest.mark.parametrize(
    ("block", "fault"),
    [
        ({"tables": [{"table": "titles"}]}, "database.table"),
        ({"tables": [{"table": "f.t", "include": ["a"], "exclude": ["b"]}]}, "either include or"),
        ({"tables": [{"table": "f.t", "exclude": ["a"], "mask": {"a": {}}}]}, "a is excluded"),
        ({"tables": [{"table": "f.t", "include": ["a"], "rename": {"b": "c"}}]}, "not in include"),
        ({"tables": [{"table": "f.t", "mask": {"a": {}}, "cast": {"a": "text"}}]}, "a is there tw"),
        ({"tables": [{"table": "f.t", "rename": {"a": "c", "b": "c"}}]}, "c is there twice"),
        ({"tables": [{"table": "f.t", "cast": {"a": "decimal(39,2)"}}]}, "1 to 38 digits"),
        ({"tables": [{"table": "f.t", "cast": {"a": "double"}}]}, "must be text, integer"),
        ({"tables": [{"table": "f.t", "may_be_absent": ["z"]}]}, "no rule names z"),
        ({"tables": [{"table": "f.t", "hash": ["a"]}]}, "needs a hash_key"),
        ({"tables": [{"table": "f.*"}, {"table": "f.t"}]}, "f.t comes too late"),
        ({"hash_key": "short"}, "at least 32 characters"),
    ],
)
def test_what_no_schema_is_needed_to_see(block: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        FieldSettings.model_validate(block)
