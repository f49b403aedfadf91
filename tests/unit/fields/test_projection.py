"""Single rules: what a column becomes, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from callsheet.config.fields import TableRules
from callsheet.fields.columns import KeyedHash
from callsheet.fields.projection import Projection, UnfitRulesError, projection
from callsheet.schema import Column, Kind, Rule, TableSchema
from tests.support.batches import a_batch, a_schema, upsert

KEYED = KeyedHash("a secret of at least 32 characters")


def compiled(schema: TableSchema, **rules: Any) -> Projection:
    types: Mapping[str, pl.DataType] = {}
    made = TableRules.model_validate({"table": "finance.*", **rules})
    return projection(made, schema, KEYED, types)


def column_of(column: Column, values: list[Any], **rules: Any) -> tuple[Column, list[Any]]:
    schema = a_schema(column)
    made = compiled(schema, **rules)
    frame = a_batch([upsert(n, **{column.name: v}) for n, v in enumerate(values)], schema).frame
    after = made.frame(frame)["after"].struct
    return made.schema.columns[1], after.field(made.schema.columns[1].name).to_list()


def faults(schema: TableSchema, **rules: Any) -> tuple[str, ...]:
    with pytest.raises(UnfitRulesError) as caught:
        compiled(schema, **rules)
    return caught.value.faults


TEXT = Column("tax", Kind.STRING, nullable=False, length=5)


def test_text_keeps_its_last_characters_unless_that_were_most_of_it() -> None:
    column, values = column_of(
        TEXT, ["123456789", "12345678", "1234567", "", None], mask={"tax": {"keep_last": 4}}
    )
    assert values == ["***6789", "***5678", "***", "***", None]
    assert column.length == 7, "a VARCHAR must take what is written into it"


def test_characters_are_counted_not_bytes() -> None:
    _, values = column_of(TEXT, ["日本語テキスト"], mask={"tax": {"keep_last": 2, "mark": "…"}})
    assert values == ["…スト"]


def test_what_is_masked_by_null_may_be_null() -> None:
    born = Column("born", Kind.DATE, nullable=False)
    column, values = column_of(born, [date(1980, 5, 17)], mask={"born": {}})
    assert (values, column.nullable, column.kind) == ([None], True, Kind.DATE)


def test_a_masked_null_stays_null() -> None:
    born = Column("born", Kind.DATE)
    _, values = column_of(born, [date(1980, 5, 17), None], mask={"born": {"value": "1900-01-01"}})
    assert values == [date(1900, 1, 1), None]


@pytest.mark.parametrize(
    ("text", "target", "expected"),
    [
        ("12", "integer", 12),
        ("-0", "integer", 0),
        ("012", "integer", None),
        ("+1", "integer", None),
        (" 1", "integer", None),
        ("1e3", "integer", None),
        ("٣", "integer", None),
        ("9223372036854775807", "integer", 9223372036854775807),
        ("9223372036854775808", "integer", None),
        ("1.50", "decimal(5,2)", Decimal("1.50")),
        ("1.5", "decimal(5,2)", Decimal("1.50")),
        ("1.505", "decimal(5,2)", None),
        ("1234", "decimal(5,2)", None),
        ("0.25", "decimal(2,2)", Decimal("0.25")),
        ("1.25", "decimal(2,2)", None),
        ("7", "decimal(3,0)", Decimal(7)),
        ("7.0", "decimal(3,0)", None),
        ("2026-02-28", "date", date(2026, 2, 28)),
        ("2026-02-29", "date", None),
        ("2026-2-8", "date", None),
    ],
)
def test_a_text_is_cast_exactly_or_not_at_all(text: str, target: str, expected: Any) -> None:
    column = Column("t", Kind.STRING)
    schema = a_schema(column)
    made = compiled(schema, cast={"t": target})
    frame = a_batch([upsert(1, t=text)], schema).frame
    ruled = made.frame(frame)
    assert ruled["after"].struct.field("t").to_list() == [expected]
    assert [m.index for m in made.misfits(frame, ruled)] == ([0] if expected is None else [])


def test_the_hash_is_hmac_sha256_in_hexadecimal() -> None:
    """RFC 4231, test case 2, and its key as text."""
    keyed = KeyedHash("Jefe")
    expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert keyed.of("what do ya want for nothing?") == expected


def test_equal_values_have_equal_hashes_whatever_their_column() -> None:
    schema = a_schema(Column("a", Kind.STRING), Column("b", Kind.STRING, length=3))
    made = compiled(schema, hash=["a", "b"])
    frame = a_batch([upsert(1, a="x", b="x")], schema).frame
    [row] = made.frame(frame)["after"].to_list()
    assert row["a"] == row["b"] == KEYED.of("x")
    assert {c.length for c in made.schema.columns if c.name != "id"} == {64}


def test_a_hashed_key_column_changes_the_id_with_it() -> None:
    schema = a_schema(Column("name", Kind.STRING), key=("name", "id"))
    made = compiled(schema, hash=["name"], rename={"name": "who"})
    frame = a_batch([upsert("a%7Cb|7", name="a|b")], schema).frame
    ruled = made.frame(frame)
    assert ruled["id"].to_list() == [f"{KEYED.of('a|b')}|7"]
    assert ruled["after"].struct.field("who").to_list() == [KEYED.of("a|b")]
    assert made.schema.key == ("who", "id")


def test_the_schema_has_a_fingerprint_of_its_own() -> None:
    schema = a_schema(Column("name", Kind.STRING))
    one, other = compiled(schema, rename={"name": "x"}), compiled(schema, rename={"name": "y"})
    again = compiled(schema, rename={"name": "x"})
    prints = {schema.fingerprint, one.schema.fingerprint, other.schema.fingerprint}
    assert len(prints) == 3
    assert one.schema == again.schema


def test_a_column_tells_which_rule_wrote_its_values() -> None:
    schema = a_schema(
        Column("tax", Kind.STRING),
        Column("born", Kind.DATE),
        Column("paid", Kind.DATE),
        Column("email", Kind.STRING),
        Column("code", Kind.STRING),
        Column("name", Kind.STRING),
    )
    made = compiled(
        schema,
        mask={"tax": {"keep_last": 2}, "born": {}, "paid": {"value": "1900-01-01"}},
        hash=["email"],
        cast={"code": "integer"},
        rename={"tax": "tax_number"},
        constant={"origin": "studio"},
    )
    assert {column.name: column.rule for column in made.schema.columns} == {
        "id": None,
        "tax_number": Rule.MASK,
        "born": Rule.MASK,
        "paid": Rule.MASK,
        "email": Rule.HASH,
        "code": None,
        "name": None,
        "origin": Rule.CONSTANT,
    }


def test_rules_that_write_no_values_leave_the_fingerprint_that_audits_have() -> None:
    """Files name it: it was the same before columns told of their rules."""
    schema = a_schema(Column("name", Kind.STRING), Column("score", Kind.FLOAT))
    made = compiled(schema, rename={"name": "title"}, exclude=["score"])
    assert made.schema.fingerprint == "68c13e5526a10bedcceb4389466c8cb8"


def test_a_mask_that_changes_no_type_has_a_fingerprint_of_its_own() -> None:
    schema = a_schema(Column("name", Kind.STRING), Column("other", Kind.STRING))
    rules = {"rename": {"other": "another"}}
    plain, masked = compiled(schema, **rules), compiled(schema, **rules, mask={"name": {}})
    assert repr(plain.schema.columns) == repr(masked.schema.columns)
    assert plain.schema.fingerprint != masked.schema.fingerprint


def test_a_column_added_later_stays_home_under_include() -> None:
    schema = a_schema(Column("name", Kind.STRING), Column("new", Kind.STRING))
    assert [c.name for c in compiled(schema, include=["name"]).schema.columns] == ["id", "name"]


def test_what_may_be_absent_parks_nothing() -> None:
    schema = a_schema(Column("name", Kind.STRING))
    rules = {"exclude": ["old"], "mask": {"name": {}}}
    assert faults(schema, **rules) == ("column old is not in the table",)
    assert compiled(schema, **rules, may_be_absent=["old"]).schema.columns[1].name == "name"


@pytest.mark.parametrize(
    ("rules", "fault"),
    [
        ({"exclude": ["id"]}, "column id is of the key"),
        ({"mask": {"id": {}}}, "column id is of the key"),
        ({"cast": {"id": "text"}}, "column id is of the key"),
        ({"rename": {"name": "id"}}, "two columns would be called id"),
        ({"constant": {"name": "x"}}, "two columns would be called name"),
        ({"mask": {"name": {"value": "x"}}}, "masked by `mark`"),
        ({"mask": {"score": {"mark": "x"}}}, "this is float: give `value`"),
        ({"mask": {"score": {"value": "x"}}}, "must be a number"),
        ({"mask": {"gross": {"value": 1.5}}}, "must be a decimal in quotes"),
        ({"mask": {"gross": {"value": "1.555"}}}, "does not fit 5 digits, 2 of them"),
        ({"mask": {"rating": {"value": "X"}}}, "must be of G, PG"),
        ({"mask": {"raw": {"value": "x"}}}, "a bytes column has no constant"),
        ({"hash": ["score"]}, "a float column cannot be hashed"),
        ({"cast": {"raw": "text"}}, "a bytes column cannot be cast to text"),
        ({"cast": {"score": "decimal(5,2)"}}, "a float column cannot be cast"),
    ],
)
def test_refused(rules: dict[str, Any], fault: str) -> None:
    schema = a_schema(
        Column("name", Kind.STRING),
        Column("score", Kind.FLOAT),
        Column("gross", Kind.DECIMAL, precision=5, scale=2),
        Column("rating", Kind.ENUM, allowed=("G", "PG")),
        Column("raw", Kind.BYTES),
    )
    assert any(fault in text for text in faults(schema, **rules))


def test_every_fault_is_told_at_once() -> None:
    found = faults(a_schema(), exclude=["id", "x"], mask={"name": {"value": 1}})
    assert len(found) == 3
