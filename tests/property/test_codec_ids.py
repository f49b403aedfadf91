"""IDs: reversible, distinct, and the same whoever makes them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callsheet.codec.binding import AvroDialect
from callsheet.codec.columnar import load_native
from callsheet.codec.debezium import DebeziumDecoder
from callsheet.event import decode_id, encode_id
from tests.support.envelopes import AvroTable, FakeRegistry, an_envelope
from tests.support.every_type import EVERY

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.text("%|-7C", max_size=6)
PARTS = st.lists(TEXT, min_size=1, max_size=4)
KEY = (
    "id", "code", "tiny", "unsigned", "money", "wide", "price", "bit", "kind", "day", "clock_us",
    "at_us", "moment", "year", "bits", "raw",
)  # fmt: skip
"""Every kind of column that can be part of a key."""


@given(PARTS)
def test_an_id_is_reversible(parts: list[str]) -> None:
    assert decode_id(encode_id(parts)) == tuple(parts)


@given(PARTS, PARTS)
def test_different_parts_make_different_ids(left: list[str], right: list[str]) -> None:
    assert (encode_id(left) == encode_id(right)) == (left == right)


@pytest.mark.parametrize("text", ["", "a||b", "100%", "%7c", "%"])
def test_other_text_is_no_id(text: str) -> None:
    with pytest.raises(ValueError, match="not an ID"):
        decode_id(text)


def _node(name: str) -> Any:
    node = EVERY[name].node
    return node[1] if isinstance(node, list) else node


@pytest.mark.skipif(load_native() is None, reason="callsheet_native is not installed")
@given(st.fixed_dictionaries({name: EVERY[name].values for name in KEY}))
def test_the_native_decoder_makes_the_same_ids(row: dict[str, Any]) -> None:
    registry = FakeRegistry()
    table = AvroTable(registry, {name: _node(name) for name in KEY}, KEY)
    message = table.message(an_envelope(after=row))

    native, rows = (
        DebeziumDecoder(AvroDialect(registry), native=native).decode([message]).batches[0].frame
        for native in (load_native(), None)
    )

    assert native["id"].to_list() == rows["id"].to_list()
    assert len(decode_id(rows["id"][0])) == len(KEY)
