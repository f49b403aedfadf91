"""Whatever the rows and the rules: the columns come out as a look at each single value says."""

from __future__ import annotations

import decimal
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callsheet.codec.avro_schema import resolve
from callsheet.codec.binding import AvroDialect
from callsheet.codec.columnar import load_native
from callsheet.codec.debezium import DebeziumDecoder
from callsheet.codec.layout import Identity, layout_of
from callsheet.config.fields import FieldSettings
from callsheet.fields.columns import UNHASHABLE
from callsheet.fields.decoder import RuledDecoder
from callsheet.schema import Column, Kind, TableSchema
from tests.support.envelopes import AvroTable, FakeRegistry
from tests.support.every_type import COLUMNS, KEY, changes
from tests.support.examples import examples
from tests.support.field_oracle import DoesNotFitError, Oracle

SECRET = "a secret of at least 32 characters"
THOROUGH = settings(max_examples=examples(60))
REGISTRY = FakeRegistry()
TABLES = {
    KEY: AvroTable(REGISTRY, COLUMNS, KEY),
    KEY[:1]: AvroTable(REGISTRY, COLUMNS, KEY[:1], topic="studio.finance.films", key_id=3),
}
"""By key: what is no key column may be masked, so its text columns are drawn too."""
PLAIN = DebeziumDecoder(AvroDialect(REGISTRY), native=load_native())

VALUES: dict[Kind, tuple[Any, Any]] = {
    Kind.INTEGER: (-7, -7),
    Kind.UNSIGNED: (1 << 63, 1 << 63),
    Kind.YEAR: (1999, 1999),
    Kind.FLOAT: (0.5, 0.5),
    Kind.BOOLEAN: (True, True),
    Kind.ENUM: ("b,c", "b,c"),
    Kind.DATE: ("1970-01-01", date(1970, 1, 1)),
    Kind.DATETIME: ("1970-01-01T00:00:00", datetime(1970, 1, 1)),  # noqa: DTZ001 - a DATETIME has no zone
    Kind.TIMESTAMP: ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
    Kind.TIME: ("-838:59:59.5", -3_020_399_500_000),
}
"""Per kind a mask's value as it is written, and as it stands in a batch."""
MONEY = {"money": "12.5", "exact": "-1", "wide": "0.001", "price": "7.125"}
CASTS = {
    "tiny": ["boolean", "text", "integer"],
    "whole": ["text", "decimal(10,2)", "decimal(12,2)", "boolean"],
    "big": ["text", "decimal(9,0)", "decimal(38,2)"],
    "unsigned": ["integer", "text", "decimal(20,0)", "boolean"],
    "money": ["text", "integer", "decimal(14,1)", "decimal(38,10)"],
    "exact": ["text", "decimal(38,11)", "integer"],
    "wide": ["text"],
    "price": ["text", "decimal(9,2)"],
    "bit": ["integer", "text"],
    "kind": ["text", "integer"],
    "day": ["text"],
    "at_us": ["text", "date"],
    "moment": ["text"],
    "year": ["text", "integer", "decimal(4,0)"],
    "document": ["text"],
    "code": ["text", "integer", "decimal(5,2)", "date"],
}


def _schema() -> TableSchema:
    tree = resolve(REGISTRY.known[TABLES[KEY].value_id])
    return layout_of(tree, KEY).schema(Identity("mysql", "studio", "finance", "titles"))


SCHEMA = _schema()


@st.composite
def rules(draw: st.DrawFn, key: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A table's rules as a file has them, and what masked values become."""
    made: dict[str, Any] = {
        "table": draw(st.sampled_from(["finance.titles", "finance.*", "*.titles"])),
        "mask": {}, "hash": [], "cast": {}, "rename": {}, "constant": {"origin": "eu", "n": 3},
    }  # fmt: skip
    gone: list[str] = []
    becomes: dict[str, Any] = {}
    for column in SCHEMA.columns:
        choices = (
            ["keep", "hash"] if column.name in KEY else ["keep", "gone", "mask", "hash", "cast"]
        )
        match draw(st.sampled_from(choices)):
            case "gone":
                gone.append(column.name)
                continue
            case "mask":
                made["mask"][column.name] = _mask(draw, column, becomes)
            case "hash" if column.kind not in UNHASHABLE:
                made["hash"].append(column.name)
            case "cast" if column.name in CASTS:
                made["cast"][column.name] = draw(st.sampled_from(CASTS[column.name]))
        if draw(st.booleans()):
            made["rename"][column.name] = f"{column.name}_x"
    if draw(st.booleans()):
        made["exclude"] = gone
    else:
        made["include"] = [c.name for c in SCHEMA.columns if c.name not in gone]
    return made, becomes


def _mask(draw: st.DrawFn, column: Column, becomes: dict[str, Any]) -> dict[str, Any]:
    if column.kind is Kind.STRING:
        return draw(st.sampled_from([{}, {"mark": ""}, {"keep_last": 2}, {"keep_last": 4}]))
    becomes[column.name] = None
    if column.kind is Kind.DECIMAL and draw(st.booleans()):
        becomes[column.name] = Decimal(MONEY[column.name])
        if column.name == "wide":
            becomes[column.name] = MONEY["wide"].ljust(32, "0")
        return {"value": MONEY[column.name]}
    if column.kind in VALUES and draw(st.booleans()):
        written, becomes[column.name] = VALUES[column.kind]
        return {"value": written}
    return {}


@THOROUGH
@given(data=st.data(), poll=st.lists(changes(), min_size=1, max_size=6))
@pytest.mark.parametrize("key", TABLES)
def test_columns_are_what_each_row_says(
    key: tuple[str, ...], poll: list[dict[str, Any]], data: st.DataObject
) -> None:
    made, becomes = data.draw(rules(key))
    settings_ = FieldSettings.model_validate({"hash_key": SECRET, "tables": [made]})
    messages = [TABLES[key].message(change, offset=n) for n, change in enumerate(poll)]
    [plain] = PLAIN.decode(messages).batches
    oracle = Oracle(settings_.tables[0], plain.schema, SECRET, becomes)
    expected, dead = [], []
    with decimal.localcontext(prec=80):
        for row in plain.frame.iter_rows(named=True):
            try:
                images = {name: oracle.image(row[name]) for name in ("before", "after")}
            except DoesNotFitError:
                dead.append(row["offset"])
            else:
                expected.append(row | images | {"id": oracle.identifier(row["id"])})

    decoded = RuledDecoder(PLAIN, settings_).decode(messages)

    assert [p.message.offset() for p in decoded.poison] == dead
    found = [row for batch in decoded.batches for row in batch.frame.iter_rows(named=True)]
    assert found == expected
    for batch in decoded.batches:
        assert [m.offset() for m in batch.messages] == batch.frame["offset"].to_list()
        names = [column.name for column in batch.schema.columns]
        for image in ("before", "after"):
            dtype = batch.frame.schema[image]
            assert [field.name for field in dtype.fields] == names  # type: ignore[attr-defined]
        for column in batch.schema.columns:
            cells = batch.frame["after"].struct.field(column.name)
            is_live = batch.frame["after"].is_not_null()
            assert column.nullable or not cells.filter(is_live).null_count()


def test_every_kind_is_drawn() -> None:
    kinds = {column.kind for column in SCHEMA.columns}
    assert kinds >= set(Kind) - {Kind.SET}
