"""A column may not change its meaning under readers, also where Avro would let it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from callsheet.codec.normalized_schema import event_schema
from callsheet.schema import Column, Kind
from sinks.kafka.drift import drift
from tests.support.batches import a_schema

MONEY = Column("c", Kind.DECIMAL, precision=10, scale=2)
TEXT = Column("c", Kind.STRING)
NUMBER = Column("c", Kind.INTEGER)


def between(old: Column, new: Column) -> str:
    return drift(event_schema(a_schema(old)), event_schema(a_schema(new)))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (MONEY, replace(MONEY, scale=4), "c was Decimal of scale 2 and is Decimal of scale 4"),
        (MONEY, NUMBER, "c was Decimal of scale 2 and is long"),
        (MONEY, TEXT, "c was Decimal of scale 2 and is string"),
        (Column("c", Kind.TIME), NUMBER, "c was MicroTime and is long"),
        (Column("c", Kind.DATE), Column("c", Kind.YEAR), "c was Date and is Year"),
        (NUMBER, Column("c", Kind.FLOAT), "c was long and is double"),
        (TEXT, Column("c", Kind.TIMESTAMP), "c was string and is ZonedTimestamp"),
    ],
)
def test_another_meaning_is_told(old: Column, new: Column, said: str) -> None:
    assert between(old, new) == said


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (MONEY, MONEY),
        (MONEY, replace(MONEY, precision=12)),
        (MONEY, replace(MONEY, nullable=False)),
        (Column("c", Kind.ENUM, allowed=("a",)), Column("c", Kind.ENUM, allowed=("a", "b"))),
        (Column("c", Kind.ENUM, allowed=("a",)), TEXT),
        (NUMBER, Column("other", Kind.STRING)),
        (Column("c", Kind.GEOMETRY), Column("c", Kind.GEOMETRY)),
    ],
)
def test_what_readers_can_live_with_is_not(old: Column, new: Column) -> None:
    assert between(old, new) == ""


@pytest.mark.parametrize(
    "foreign",
    [
        {},
        {"type": "object", "properties": {}},
        {"type": "record", "fields": [{"name": "before", "type": "string"}]},
        {"type": "record", "fields": [{"name": "before", "type": ["null", "string"]}]},
        {"type": "record", "fields": [{"name": "before", "type": ["null", {"type": "array"}]}]},
    ],
)
def test_of_what_is_no_event_the_registry_tells(foreign: dict[str, Any]) -> None:
    assert drift(foreign, event_schema(a_schema(TEXT))) == ""
